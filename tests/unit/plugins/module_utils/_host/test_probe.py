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


HELP = """usage: qemu-system-x86_64 [options] [disk_image]

Standard options:
-h or -help     display this help and exit
-machine [type=]name[,prop[=value][,...]]
                selects emulated machine
-m [size=]megs[,slots=n,maxmem=size]
-fda/-fdb file  use 'file' as floppy disk 0/1 image
-no-acpi        disable ACPI
-enable-sync-profile
                enable synchronization profiling
--preconfig     pause QEMU before machine is initialized (experimental)
"""


def test_options_are_read_from_the_help(tmp_path: Path) -> None:
    emulator = tmp_path / "qemu"
    emulator.write_text(f"#!/bin/sh\ncat <<'EOF'\n{HELP}EOF\n", encoding="utf-8")
    emulator.chmod(0o755)
    without = ("-h", "-help", "-no-acpi", "-enable-sync-profile", "-preconfig")
    assert host_probe._emulator_options(str(emulator)) == {
        **dict.fromkeys(without, False),
        **dict.fromkeys(("-machine", "-m", "-fda", "-fdb", "-M", "-qtest", "-qtest-log"), True),
    }
    emulator.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    assert host_probe._emulator_options(str(emulator)) == {}
