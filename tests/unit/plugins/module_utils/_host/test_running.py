# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the units of vms say of them."""

from __future__ import annotations

import json

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._host import running
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths


@pytest.mark.parametrize("identity", ["nbd:h:10809/a b", "path:/srv/\u2028\x85\u00e9", 'nbd:h:1/"\n\\'])
def test_a_unit_says_what_its_machine_opens(identity: str) -> None:
    line = paths.OPENED + json.dumps({identity: True}, ensure_ascii=False)
    assert running.opened_by(f"# a comment\n{line}\n[Unit]\n") == {identity: True}


def test_a_unit_of_an_earlier_release_says_nothing_of_it() -> None:
    assert running.opened_by("[Unit]\n") == {}
