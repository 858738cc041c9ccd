# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cached answers of a host."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import probe as host_probe


def test_cached_answers_hold_until_the_questions_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probes: list[str] = []
    monkeypatch.setattr(host_probe, "CACHE", str(tmp_path / "cache" / "capabilities.json"))
    monkeypatch.setattr(host_probe, "_probe", lambda: {"probe": probes.append("probed") or len(probes)})
    assert [host_probe.probe(), host_probe.probe()] == [{"probe": 1}, {"probe": 1}]
    monkeypatch.setattr(host_probe, "text_of", lambda _module: "another version of the collection")
    assert host_probe.probe() == {"probe": 2}


def test_a_host_of_another_architecture_is_refused_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_probe, "CACHE", str(tmp_path / "capabilities.json"))
    monkeypatch.setattr(host_probe.os, "uname", lambda: SimpleNamespace(machine="aarch64"))
    with pytest.raises(HostError, match=r"^this host is of architecture aarch64, and the "):
        host_probe.probe()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path(host_probe.EMULATORS[0]).exists(), reason="QEMU is not installed")
def test_the_installed_qemu_has_every_device_and_shows_folders() -> None:
    answers = host_probe._probe_emulator(host_probe.EMULATORS[0])
    assert (answers.no_devices, answers.drivers["vvfat"]) == ([], "")
    assert {"q35", "pc"} < set(answers.machines)


def test_boards_have_other_names() -> None:
    boards = [{"name": "pc-q35-rhel9.6.0", "alias": "q35"}, {"name": "none"}]
    assert host_probe._boards({"return": boards}) == ["none", "pc-q35-rhel9.6.0", "q35"]
    assert host_probe._boards({"error": {}}) == []


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
