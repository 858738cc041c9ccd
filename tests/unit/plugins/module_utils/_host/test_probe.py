# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cached answers of a host."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._host import probe as host_probe


def test_cached_answers_hold_until_the_questions_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probes: list[str] = []
    monkeypatch.setattr(host_probe, "CACHE", str(tmp_path / "cache" / "capabilities.json"))
    monkeypatch.setattr(host_probe, "_probe", lambda: {"probe": probes.append("probed") or len(probes)})
    assert [host_probe.probe(), host_probe.probe()] == [{"probe": 1}, {"probe": 1}]
    monkeypatch.setattr(host_probe, "text_of", lambda _module: "another version of the collection")
    assert host_probe.probe() == {"probe": 2}
