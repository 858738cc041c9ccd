# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines that run by hand are found in processes and units, and nothing else is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt import unit_file
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._host.unmanaged import unmanaged_vms

EMULATOR = "/usr/bin/qemu-system-x86_64"
RBD = "-nodefaults -drive file=rbd:vms/%s:id=x:key=AAp4ss==,format=raw,if=virtio"


class Host:
    """The folders of a host in which VMs show."""

    def __init__(self, root: Path) -> None:
        self.proc, self.units = root / "proc", root / "units"
        self.units.mkdir()
        self.proc.mkdir()

    def process(self, pid: int, *words: str, unit: str = "") -> None:
        folder = self.proc / str(pid)
        folder.mkdir()
        (folder / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in words))
        (folder / "cgroup").write_text(f"0::/system.slice/{unit}\n" if unit else "0::/user.slice/session-1.scope\n")
        (folder / "cwd").symlink_to("/srv/vms")

    def opens(self, pid: int, *paths: str) -> None:
        (self.proc / str(pid) / "fd").mkdir()
        for number, path in enumerate(paths):
            (self.proc / str(pid) / "fd" / str(number)).symlink_to(path)

    def unit(self, name: str, command: str) -> None:
        (self.units / name).write_text(f"[Service]\nExecStart={command}\n")

    def vms(self) -> list[dict[str, Any]]:
        return unmanaged_vms(proc=str(self.proc), folders=(str(self.units), str(self.units / "none")))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_processes_and_units_that_start_vms_are_found_once(host: Host) -> None:
    host.process(2)
    host.process(11, "/bin/sh", "-c", "qemu-system-x86_64")
    host.process(12, EMULATOR, "-name", "ours", unit="qemu-vm-ours.service")
    host.process(100, "kvm", "-name", "web1", "-drive", "file=a.img,format=raw,if=virtio")
    host.process(9, EMULATOR, *(RBD % "b").split(), unit="db.service")
    host.unit("db.service", f"{EMULATOR} -m 1")
    host.unit("spare.service", f"-{EMULATOR} {RBD % 'c'}")
    host.unit("qemu-vm-gone.service", f"{EMULATOR} -m 1")
    host.unit("other.service", "/usr/bin/true\n# qemu-system-x86_64")
    found = host.vms()
    assert [(one["name"], one["pid"], one["unit"]) for one in found] == [
        ("db", 9, "db.service"),
        ("web1", 100, ""),
        ("spare", 0, "spare.service"),
    ]
    assert found[1]["declaration"]["disks"]["disk"]["file"] == {"filename": "/srv/vms/a.img"}
    assert [one["secrets"][0]["variable"] for one in (found[0], found[2])] == [
        "vault_db_disk_key",
        "vault_spare_disk_key",
    ]
    assert "p4ss" not in repr(found)


def test_vms_of_one_name_have_two_and_so_have_their_secrets(host: Host) -> None:
    for pid, image in ((1, "a"), (2, "b"), (3, "c")):
        host.process(pid, EMULATOR, "-name", "web", *(RBD % image).split())
    found = host.vms()
    assert [one["name"] for one in found] == ["web", "web-2", "web-3"]
    assert [one["secrets"][0]["variable"] for one in found][1:] == ["vault_web_2_disk_key", "vault_web_3_disk_key"]
    assert found[1]["notes"] == ["another VM is named web, too"]


def test_what_cannot_be_read_is_said(host: Host) -> None:
    host.process(1, EMULATOR, "-M", "microvm")
    host.unit("vm@.service", f"{EMULATOR} -name %i")
    host.unit("wrapped.service", f"/opt/start-vm -N 0 {EMULATOR}")
    assert [(one["name"], one["problem"], one["declaration"]) for one in host.vms()] == [
        ("vm", "-machine: 'microvm' cannot be declared; q35 and pc can", {}),
        ("vm", "ExecStart: has a specifier of systemd (%), whose value is not known", {}),
        ("wrapped", "ExecStart: /opt/start-vm starts QEMU; start the unit and run this again", {}),
    ]


@pytest.mark.parametrize(
    "text, commands",
    [
        ("ExecStart=-/q 'a b' \"c\\\"d'\" e\\x20f\\t g%%h $$i", [["/q", "a b", "c\"d'", "e f\t", "g%h", "$i"]]),
        ("ExecStart=/q \\\n  # no word\n; nor this\n  a'b c'd \\\n  e\n", [["/q", "ab cd", "e"]]),
        ("ExecStart=/q\nExecStart=\n  ExecStart = /r a", [["/r", "a"]]),
        ("ExecStart=/q\nExecStart=+/r", [["/q"], ["/r"]]),
        ("ExecStart=:@/q shown $$a", [["/q", "$$a"]]),
        ("[Service]\n#ExecStart=/q", []),
    ],
)
def test_a_unit_is_read_as_systemd_reads_it(text: str, commands: list[list[str]]) -> None:
    assert unit_file.start_commands(text) == commands


@pytest.mark.parametrize(
    "command, problem",
    [("/q 'a", "quote"), ("/q $A", "a variable"), ("/q %n", "a specifier"), ("/q \\q", r"the escape \\q")],
)
def test_a_command_whose_words_are_not_known_is_refused(command: str, problem: str) -> None:
    with pytest.raises(DeclarationError, match=problem):
        unit_file.start_commands(f"ExecStart={command}")


DAEMON = ("-nodefaults", "-daemonize", "-drive", "file=vms/data.qcow2,format=qcow2,if=virtio")


def test_a_process_that_went_to_the_background_has_the_file_that_it_has_open(host: Host) -> None:
    host.process(5, EMULATOR, *DAEMON)
    host.opens(5, "/dev/null", "socket:[1]", "/srv/vms/data.qcow2", "/srv/vms/data.qcow2", "/srv/other/data.qcow2")
    disk = host.vms()[0]["declaration"]["disks"]["disk"]
    assert disk["file"] == {"filename": "/srv/vms/data.qcow2"}


@pytest.mark.parametrize(
    "paths",
    [[], ["/srv/data.qcow2"], ["/a/vms/data.qcow2", "/b/vms/data.qcow2"], ["/srv/vms/data.qcow2 (deleted)"]],
)
def test_a_file_of_such_a_process_is_not_guessed(host: Host, paths: list[str]) -> None:
    host.process(5, EMULATOR, *DAEMON)
    host.opens(5, *paths)
    found = host.vms()[0]
    assert "disks" not in found["declaration"]
    assert "-drive: 'vms/data.qcow2' is relative to the folder where QEMU was started" in "".join(found["left"])


def test_a_process_that_shows_other_memory_as_its_arguments_is_no_vm(host: Host) -> None:
    """Any user can have it read as far as its memory reaches (PR_SET_MM_MAP in prctl(2))."""
    host.process(7, EMULATOR, *["-drive"] * (1 << 19))
    assert host.vms() == []


def test_a_command_line_that_is_too_long_to_be_read_is_named(host: Host) -> None:
    host.process(7, EMULATOR, *["-drive", "file=nbd://h/x,format=raw,if=virtio"] * 2000)
    (found,) = host.vms()
    assert (found["pid"], found["declaration"]) == (7, {})
    assert found["problem"] == "its command line has 4001 arguments, and one of more than 2000 is not read"
