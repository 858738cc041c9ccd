# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rule by which a restart is due."""

from __future__ import annotations

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._units.restart_rule import THIS_RUN, is_restart_due


@pytest.mark.parametrize(
    ("started", "times", "due"),
    [
        (10.0, [9.0, 10.0], False),
        (10.0, [9.0, 10.5], True),
        (10.0, [THIS_RUN], True),
        (None, [11.0], False),
        (None, [THIS_RUN], True),
        (10.0, [], False),
    ],
)
def test_a_restart_is_due_if_a_source_is_newer(started: float | None, times: list[float], due: bool) -> None:
    assert is_restart_due(started, {"a.service": [], "b.service": times}) is due
    assert not is_restart_due(started, {"b.service": times}, ["b.service"])
