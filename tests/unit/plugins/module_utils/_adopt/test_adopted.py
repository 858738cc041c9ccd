# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Command lines, scripts and XML that people have are declared as the files in adopted/ have it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.command_line import Process
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.convert import convert
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError
from ansible_collections.directdisk.qemu.tests.unit.support import ADOPTED

UNASKED = ("the VGA adapter and the window that QEMU adds unasked", "the network card that QEMU adds unasked")
GOOD = [case for case in ADOPTED if "declaration" in case]
BAD = [case for case in ADOPTED if "problem" in case]


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case["name"])
def test_what_people_have_is_declared(case: dict[str, Any]) -> None:
    found = convert(case["given"], name="web1", process=Process(directory=case.get("directory", "")))
    assert found.declaration == case["declaration"]
    assert list(found.declaration.get("disks", {})) == list(case["declaration"].get("disks", {}))
    assert [text for text in found.left if not text.startswith(UNASKED)] == case.get("left", [])
    assert found.notes == case.get("notes", [])
    for secret in case.get("secrets", []):
        assert secret not in repr(found)


@pytest.mark.parametrize("case", BAD, ids=lambda case: case["name"])
def test_what_cannot_be_declared_says_why(case: dict[str, Any]) -> None:
    with pytest.raises(DirectDiskError) as raised:
        convert(case["given"], name="web1", process=Process(directory=case.get("directory", "")))
    assert str(raised.value) == case["problem"]
