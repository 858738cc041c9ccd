# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restarts of VMs in turn, with the real QEMU and guests of one boot sector, some of which know the power button."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import QmpError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import restarts
from ansible_collections.directdisk.qemu.plugins.module_utils._host.probe import EMULATORS
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths

EMULATOR = next((path for path in EMULATORS if Path(path).exists()), "")
# mov dx,3f8h; each letter: mov al,X; out dx,al
SAYS_UP = bytes.fromhex("ba f803") + b"".join(bytes([0xB0, letter, 0xEE]) for letter in b"up!\n")
# mov dx,602h; mov ax,100h; out dx,ax: the power button sets its bit of the ACPI status (PM1_EN).
# wait: mov dx,600h; in ax,dx; test ah,1; jz wait
# mov dx,604h; mov ax,2000h; out dx,ax: power off (SLP_EN).
OBEYS = bytes.fromhex("fa ba0206 b80001 ef ba0006 ed f6c401 74f7 ba0406 b80020 ef")
HALT = bytes.fromhex("ebfe")


class Host:
    """systemd's part: a unit is a QEMU process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.calls: list[tuple[str, list[str]]] = []

    def systemctl(self, verb: str, units: Iterable[str] = (), *_options: str) -> None:
        units = list(units)
        self.calls.append((verb, [paths.vm_of_unit(unit) for unit in units]))
        for name in map(paths.vm_of_unit, units):
            process = self.processes.get(name)
            if verb == "stop" and process:
                process.kill()
                process.wait()
            if verb == "start":
                self.start(name)

    def start(self, name: str) -> None:
        monitor, log = self.folder / f"{name}.qmp", self.folder / f"{name}.log"
        monitor.unlink(missing_ok=True)
        command = [EMULATOR, "-machine", "q35", "-accel", "tcg", "-m", "16", "-nodefaults", "-display", "none"]
        command += [
            "-drive",
            f"file={self.folder / name}.img,format=raw,if=ide",
            "-qmp",
            f"unix:{monitor},server=on,wait=off",
        ]
        command += ["-chardev", f"file,id=log,path={log},append=on", "-serial", "chardev:log"]
        self.processes[name] = subprocess.Popen(command)
        # Its socket exists before it listens.
        while self.processes[name].poll() is None:
            with contextlib.suppress(QmpError):
                Monitor.connect(str(monitor), seconds=10).close()
                return
            time.sleep(0.02)

    def show(self, units: Iterable[str]) -> dict[str, dict[str, str]]:
        alive = {unit: self.processes[paths.vm_of_unit(unit)].poll() is None for unit in units}
        return {unit: {"active": "active" if alive[unit] else "inactive"} for unit in alive}

    def add(self, name: str, *code: bytes) -> None:
        sector = b"".join([*code, HALT])
        (self.folder / f"{name}.img").write_bytes(sector.ljust(510, b"\0") + b"\x55\xaa" + bytes(1 << 20))
        self.start(name)
        deadline = time.monotonic() + 60
        while not self.executes(name, code) and time.monotonic() < deadline:
            time.sleep(0.1)

    def executes(self, name: str, code: Sequence[bytes]) -> bool:
        """Return if a guest is in its boot sector, and has said what it says."""
        log = self.folder / f"{name}.log"
        if SAYS_UP in code and not (log.exists() and log.read_bytes().endswith(b"up!\n")):
            return False
        with Monitor.connect(str(self.folder / f"{name}.qmp"), seconds=10) as monitor:
            registers = monitor.execute("human-monitor-command", {"command-line": "info registers"})
        return "EIP=00007c" in registers


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    if not EMULATOR:
        pytest.skip(f"none of {', '.join(EMULATORS)} is installed")
    host = Host(tmp_path)
    monkeypatch.setattr(restarts.systemd, "systemctl", host.systemctl)
    monkeypatch.setattr(restarts.systemd, "show", host.show)
    monkeypatch.setattr(restarts.systemd, "last_log_lines", lambda units, _count: [f"log of {units[0]}"])
    monkeypatch.setattr(paths, "qmp_socket", lambda vm: str(tmp_path / f"{vm}.qmp"))
    monkeypatch.setattr(paths, "console_log", lambda vm: str(tmp_path / f"{vm}.log"))
    monkeypatch.setattr(restarts, "INTERVAL", 0.1)
    yield host
    for process in host.processes.values():
        process.kill()
        process.wait()


def desired(*names: str, serial: int = 1, force: bool = False, **settings: Any) -> Any:
    common = {"staged": [], "stop_timeout": 60, "ready_console": "up!", "ready_timeout": 60, **settings}
    vms = {name: {"unit": paths.unit_name(name), "units": [paths.unit_name(name)], **common} for name in names}
    return {"vms": vms, "restarts": {"serial": serial, "force": force}}


def test_guests_are_shut_down_and_awaited_one_after_the_other(host: Host, tmp_path: Path) -> None:
    for name in ("a", "b"):
        host.add(name, SAYS_UP, OBEYS)
    before = dict(host.processes)
    assert restarts.restart_in_turn(desired("a", "b"), ["a", "b"]) == {}
    assert host.calls == [("stop", ["a"]), ("start", ["a"]), ("stop", ["b"]), ("start", ["b"])]
    # Both have ended by themselves, not by a signal.
    assert [process.returncode for process in before.values()] == [0, 0]
    assert [(tmp_path / f"{name}.log").read_bytes().count(b"up!") for name in ("a", "b")] == [2, 2]


def test_all_are_restarted_together_without_a_number(host: Host) -> None:
    for name in ("a", "b"):
        host.add(name, SAYS_UP, OBEYS)
    assert restarts.restart_in_turn(desired("a", "b", serial=0), ["a", "b"]) == {}
    assert host.calls == [("stop", ["a", "b"]), ("start", ["a", "b"])]


def test_a_guest_that_ignores_the_power_button_runs_on_and_the_next_is_restarted(host: Host) -> None:
    host.add("a", SAYS_UP)
    host.add("b", SAYS_UP, OBEYS)
    failures = restarts.restart_in_turn(desired("a", "b", stop_timeout=2), ["a", "b"])
    assert list(failures) == ["a"]
    assert "its guest has not shut down within stop_timeout (2 s) and runs on" in failures["a"][0]
    assert host.processes["a"].poll() is None
    assert host.calls == [("stop", ["b"]), ("start", ["b"])]
    assert restarts.restart_in_turn(desired("a", force=True), ["a"]) == {}
    assert host.calls[2:] == [("stop", ["a"]), ("start", ["a"])]


@pytest.mark.parametrize("force", [False, True])
def test_helpers_have_stopped_before_the_vm_starts_again(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    """One whose stop is still to come would stay, with the storage of its former unit below the VM's new overlay."""
    monkeypatch.setattr(paths, "UNIT_DIRECTORY", str(tmp_path))
    (tmp_path / f"{paths.unit_name('a')[:-8]}.root.nbdkit.service").touch()
    host.add("a", SAYS_UP, OBEYS)
    assert restarts.restart_in_turn(desired("a", force=force), ["a"]) == {}
    assert host.calls == [("stop", ["a", "a"]), ("start", ["a"])]


def test_a_guest_that_does_not_come_up_ends_the_restarts(host: Host) -> None:
    host.add("a", OBEYS)
    host.add("b", SAYS_UP, OBEYS)
    failures = restarts.restart_in_turn(desired("a", "b", ready_timeout=2), ["a", "b"])
    assert "its console has not shown 'up!' within 2 s (ready_when)" in failures["a"][0]
    assert failures["b"] == ["vm b: is not restarted, because a is not up after its restart"]
    assert host.calls == [("stop", ["a"]), ("start", ["a"])]


def test_a_vm_that_does_not_start_has_its_log(host: Host) -> None:
    host.add("a", SAYS_UP, OBEYS)
    (host.folder / "a.img").unlink()
    assert restarts.restart_in_turn(desired("a"), ["a"]) == {"a": ["log of qemu-vm-a.service"]}


def test_a_vm_whose_monitor_does_not_answer_runs_on(host: Host, tmp_path: Path) -> None:
    host.add("a", SAYS_UP, OBEYS)
    os.unlink(tmp_path / "a.qmp")
    failures = restarts.restart_in_turn(desired("a"), ["a"])
    assert failures["a"][0].startswith("vm a: is not restarted: its guest cannot be asked to shut down: ")
    assert host.calls == []


def test_only_what_is_written_after_the_restart_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    monkeypatch.setattr(paths, "console_log", lambda _vm: str(log))
    log.write_bytes(b"login: ")
    searched = {"a": 7}
    assert not restarts._is_written("a", "login:", searched)
    log.write_bytes(b"login: boot log")
    assert not restarts._is_written("a", "login:", searched)
    log.write_bytes(b"login: boot login: ")
    assert restarts._is_written("a", "login:", searched)
    # The log was shortened from its beginning.
    log.write_bytes(b"xlogin:")
    assert restarts._is_written("a", "login:", {"a": 500})
    log.unlink()
    assert not restarts._is_written("a", "login:", {"a": 0})
