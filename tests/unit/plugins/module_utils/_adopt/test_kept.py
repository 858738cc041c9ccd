# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stays in extra_args is what QEMU of today starts with; what does not stay is named."""

from __future__ import annotations

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.command_line import Process
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.convert import convert
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.result import Converted

DISK = "-drive file=/a,format=raw,if=none,id=a -device virtio-blk-pci,drive=a,id=d"


def converted(words: str, **process: str) -> Converted:
    return convert(f"kvm -nodefaults {words}", process=Process(**process))


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ("-watchdog i6300esb", ["-device", "i6300esb"]),
        ("-balloon virtio", ["-device", "virtio-balloon-pci"]),
        ("-balloon virtio,id=b", ["-device", "virtio-balloon-pci,id=b"]),
        ("-startdate 2006-06-17", ["-rtc", "base=2006-06-17"]),
        ("-realtime mlock=on", ["-overcommit", "mem-lock=on"]),
        ("-tpmdev passthrough,id=t -device tpm-tis,tpmdev=t", None),
        (
            "-tpmdev emulator,id=t,chardev=qmp -chardev socket,id=qmp,path=/x -device tpm-spapr,tpmdev=t",
            ["-tpmdev", "emulator,id=t,chardev=kept-qmp", "-chardev", "socket,id=kept-qmp,path=/x"]
            + ["-device", "tpm-spapr,tpmdev=t"],
        ),
    ],
)
def test_what_is_kept_is_known_to_qemu(words: str, kept: list[str] | None) -> None:
    assert converted(words).declaration.get("extra_args") == (kept or words.split())


@pytest.mark.parametrize(
    "words",
    [
        "-soundhw hda",
        "-alt-grab",
        "-enable-fips",
        "-balloon none",
        "-sd /a",
        "-drive file=/a,format=raw,if=scsi",
        "-drive file=/a,format=raw,if=mtd",
        "-device virtio-vga-gl",
        "-device virtio-gpu-gl-pci",
        "-drive file=/proc/self/fd/3,format=raw,if=virtio",
        "-drive file=/dev/fd/3,media=cdrom",
        "-machine pc-1.0",
        f"{DISK} -set drive.a.format=qcow2",
        "-object iothread,id=i,poll-max-ns=0",
    ],
)
def test_what_qemu_would_refuse_is_named_and_not_kept(words: str) -> None:
    result = converted(words)
    assert "extra_args" not in result.declaration
    assert any(words.split(" -")[-1].split()[-1] in text for text in result.left)


def test_a_setting_of_a_device_that_stays_is_a_part_of_it() -> None:
    found = converted("-device virtio-balloon,id=b -set device.b.x=5")
    assert found.declaration["extra_args"] == ["-device", "virtio-balloon,id=b,x=5"]


def test_a_setting_that_a_disk_does_not_know_is_named() -> None:
    assert converted(f"{DISK} -set device.d.x=1").left == ["disk d: x=1: not declared"]


def test_old_options_of_a_drive_do_not_keep_it_from_being_declared() -> None:
    result = converted("-drive file=/a,format=raw,if=virtio,serial=abc,addr=5,boot=on,cyls=1")
    assert result.declaration["disks"] == {"disk": {"file": {"filename": "/a"}, "serial": "abc"}}
    assert [text.split()[2] for text in result.left if text.startswith("disk")] == ["addr=5:", "boot=on:", "cyls=1:"]


@pytest.mark.parametrize(
    ("words", "path"),
    [
        ("-fsdev local,id=f,path=x,security_model=none -device virtio-9p-pci,fsdev=f", "local,id=f,path=/srv/x"),
        ("-virtfs local,path=x,mount_tag=y,security_model=none", "local,path=/srv/x,mount_tag=y"),
        ("-acpitable file=x", "file=/srv/x"),
        ("-chardev file,id=c,path=x -device isa-debugcon,chardev=c", "file,id=c,path=/srv/x"),
        ("-object rng-random,id=r,filename=x -device virtio-rng-pci,rng=r", "rng-random,id=r,filename=/srv/x"),
    ],
)
def test_relative_paths_become_those_of_the_folder_where_qemu_was_started(words: str, path: str) -> None:
    assert converted(words, directory="/srv").declaration["extra_args"][1].startswith(path)
    assert any("relative" in text for text in converted(words).left)
