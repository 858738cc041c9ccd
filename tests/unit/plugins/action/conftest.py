# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of action qemu_vms have in common."""

from __future__ import annotations

import pytest
from ansible.plugins.action import ActionBase


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The warnings of the action, which runs without a task of Ansible's."""
    # Imported here: the collection can be imported only once all conftest.py have been read.
    from ansible_collections.directdisk.qemu.plugins.action.qemu_vms import display

    said: list[str] = []
    monkeypatch.setattr(display, "warning", said.append)
    monkeypatch.setattr(ActionBase, "run", lambda self, tmp=None, task_vars=None: {})
    return said
