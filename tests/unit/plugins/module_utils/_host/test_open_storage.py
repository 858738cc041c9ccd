# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""QEMU processes that are not the collection's, and what they have open."""

from __future__ import annotations

import os
from pathlib import Path

from ansible_collections.directdisk.qemu.plugins.module_utils._host.open_storage import unmanaged_processes

EMULATOR = "/usr/bin/qemu-system-x86_64"


def process(proc: Path, pid: int, *words: str, unit: str = "", files: dict[Path, int] | None = None) -> None:
    folder = proc / str(pid)
    (folder / "fd").mkdir(parents=True)
    (folder / "fdinfo").mkdir()
    (folder / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in words))
    (folder / "cgroup").write_text(f"0::/system.slice/{unit}\n" if unit else "0::/user.slice/session-1.scope\n")
    for number, (path, flags) in enumerate((files or {}).items()):
        (folder / "fd" / str(number)).symlink_to(path)
        (folder / "fdinfo" / str(number)).write_text(f"pos:\t0\nflags:\t{flags:07o}\n")


def test_only_processes_of_others_are_found(tmp_path: Path) -> None:
    process(tmp_path, 2)
    process(tmp_path, 11, "/bin/sh", "-c", "qemu-system-x86_64")
    process(tmp_path, 12, EMULATOR, "-name", "ours", unit="qemu-vm-ours.service")
    assert unmanaged_processes([], proc=str(tmp_path)) == []
    process(tmp_path, 100, "kvm", "-name", "web1", "-uuid", "ABC-1", "-drive", "file=nbd://h/x,if=virtio,format=raw")
    process(tmp_path, 9, "qemu-nbd", "/srv/a", unit="export.service")
    assert unmanaged_processes([], proc=str(tmp_path)) == [
        {"pid": 9, "unit": "export.service", "uuid": "", "name": "qemu-nbd", "vm": False, "disks": {}, "opens": {}},
        {
            "pid": 100,
            "unit": "",
            "uuid": "abc-1",
            "name": "web1",
            "vm": True,
            "disks": {"disk": {"nbd": {"host": "h", "export": "x"}}},
            "opens": {},
        },
    ]


def test_disks_of_a_command_line_that_cannot_be_declared_are_told_one_by_one(tmp_path: Path) -> None:
    drives = ("-drive", "file=nbd://h/x,if=virtio,format=raw", "-drive", "file=nbd://h/y,format=raw,file.x=y")
    process(tmp_path, 1, EMULATOR, "-M", "microvm", *drives)
    (found,) = unmanaged_processes([], proc=str(tmp_path))
    assert [disk["nbd"]["export"] for disk in found["disks"].values()] == ["x"]


def test_a_file_is_found_under_any_name(tmp_path: Path) -> None:
    written, read, free = (tmp_path / name for name in ("written", "read", "free"))
    for path in (written, read, free):
        path.touch()
    other, link = tmp_path / "other", tmp_path / "link"
    os.link(written, other)
    link.symlink_to(read)
    proc = tmp_path / "proc"
    process(proc, 1, EMULATOR, files={written: os.O_RDWR, read: os.O_RDONLY})
    paths = [*map(str, (other, link, free)), str(tmp_path / "none")]
    (found,) = unmanaged_processes(paths, proc=str(proc))
    assert found["opens"] == {str(other): True, str(link): False}


def test_a_descriptor_that_cannot_be_read_counts_as_a_writer(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.touch()
    proc = tmp_path / "proc"
    process(proc, 1, EMULATOR, files={disk: os.O_RDONLY})
    (proc / "1" / "fdinfo" / "0").unlink()
    (found,) = unmanaged_processes([str(disk)], proc=str(proc))
    assert found["opens"] == {str(disk): True}


def test_a_process_whose_command_line_is_too_long_is_reported_with_its_open_files(tmp_path: Path) -> None:
    image = tmp_path / "a"
    image.touch()
    process(tmp_path, 7, EMULATOR, *["-drive", "file=nbd://h/x"] * 2000, files={image: os.O_RDWR})
    (found,) = unmanaged_processes([str(image)], proc=str(tmp_path))
    assert (found["vm"], found["disks"], found["opens"]) == (True, {}, {str(image): True})
