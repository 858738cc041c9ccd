# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The library libiscsi, where distributions have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._programs import iscsi_library


def test_the_library_with_the_highest_version_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    places = (tmp_path / "x86_64-linux-gnu", tmp_path / "lib64")
    monkeypatch.setattr(iscsi_library, "PLACES", tuple(f"{place}/libiscsi.so.*" for place in places))
    assert iscsi_library.find_library() == ""
    for place, version in ((places[0], "9"), (places[0], "8.0.1"), (places[1], "11.0.2")):
        place.mkdir(exist_ok=True)
        (place / f"libiscsi.so.{version}").touch()
    assert iscsi_library.find_library() == f"{places[1]}/libiscsi.so.11.0.2"
