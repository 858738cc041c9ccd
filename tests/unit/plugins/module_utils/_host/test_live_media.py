# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Media of a running QEMU's CD drives: with a real one, and with guests that lock the tray."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError, QmpError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import live_disks, live_media
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live import part_of
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_media import empty_drive, without_medium
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_state import LiveDisk
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.running_parts import Part
from ansible_collections.directdisk.qemu.tests.unit.fake_qmp import FakeQemu
from ansible_collections.directdisk.qemu.tests.unit.real_vm import needs_emulator, running_vm

DEVICES = {
    "ide": ["ide-cd,bus=ide.0,id=cd0,serial=cd0"],
    "virtio-scsi": ["scsi-cd,bus=machine.scsi-0.0,scsi-id=0,id=cd0,serial=cd0"],
    "usb": ["usb-bot,bus=machine.usb.0,id=cd0.usb", "scsi-cd,bus=cd0.usb.0,id=cd0,serial=cd0"],
}


def started(socket: Path, *devices: str) -> Iterator[Monitor]:
    words = ["-m", "64"]
    for device in ("virtio-scsi-pci,id=machine.scsi-0", "qemu-xhci,id=machine.usb", *devices):
        words += ["-device", device]
    with running_vm(socket, *words) as monitor:
        yield monitor


@pytest.fixture
def drives(tmp_path: Path) -> Iterator[Monitor]:
    """The monitor of a VM with a CD drive on its SATA controller."""
    yield from started(tmp_path / "qmp", *DEVICES["ide"])


def image(folder: Path, letter: bytes) -> Path:
    path = folder / f"{letter.decode()}.iso"
    path.write_bytes(letter * 2048 * 4)
    return path


def medium(path: Path, bus: str = "ide", **more: Any) -> LiveDisk:
    nodes = [
        {"driver": "file", "filename": str(path), "node-name": "cd0.storage", "read-only": True},
        {"driver": "raw", "file": "cd0.storage", "node-name": "cd0.format", "read-only": True},
    ]
    devices = [*DEVICES[bus][:-1], DEVICES[bus][-1].replace("id=cd0,", "drive=cd0.format,id=cd0,")]
    files: Any = {str(path): {"path": str(path), "mode": "r"}}
    whole: LiveDisk = {**empty_drive(Part(devices=tuple(devices))), "nodes": nodes, "files": files}
    return {**whole, **more}  # type: ignore[typeddict-item]


def inside(monitor: Monitor) -> tuple[str, int]:
    """The node in the drive, empty without one, and the number of nodes and descriptors."""
    nodes = monitor.execute("query-named-block-nodes", {"flat": True})
    media = live_media.media(monitor.execute("query-blockstats"))
    return media["cd0"], len(nodes) + len(monitor.execute("query-fdsets"))


@needs_emulator
def test_a_medium_is_inserted_changed_and_ejected(drives: Monitor, tmp_path: Path) -> None:
    first, second = medium(image(tmp_path, b"a")), medium(image(tmp_path, b"b"))
    assert inside(drives) == ("", 0)
    live_media.insert(drives, "cd0", first, {}, {}.update)
    assert inside(drives) == ("cd0.format", 3)
    live_media.eject(drives, "cd0", part_of(first))
    assert inside(drives) == ("", 0)
    live_media.insert(drives, "cd0", second, {}, {}.update)
    assert inside(drives) == ("cd0.format", 3)
    # A drive that is empty, or whose medium somebody has taken out, gives nothing back.
    drives.execute("blockdev-open-tray", {"id": "cd0"})
    drives.execute("blockdev-remove-medium", {"id": "cd0"})
    for _twice in range(2):
        live_media.eject(drives, "cd0", part_of(second))
        assert inside(drives) == ("", 0)


@needs_emulator
def test_a_medium_that_cannot_be_opened_leaves_an_empty_drive(drives: Monitor, tmp_path: Path) -> None:
    missing = medium(tmp_path / "none.iso")
    with pytest.raises(HostError, match="No such file or directory"):
        live_media.insert(drives, "cd0", missing, {}, {}.update)
    assert inside(drives) == ("", 0)
    data = image(tmp_path, b"d")
    options = ["-o", f"data_file={data},data_file_raw=on"]
    subprocess.run(["qemu-img", "create", "-qf", "qcow2", *options, str(tmp_path / "x.qcow2"), "1M"], check=True)
    bad = medium(tmp_path / "x.qcow2")
    bad["nodes"][1]["driver"] = "qcow2"
    with pytest.raises(HostError, match=r"^disk cd0: QEMU has opened other files than are declared"):
        live_media.insert(drives, "cd0", bad, {}, {}.update)
    assert inside(drives) == ("", 0)


@needs_emulator
def test_drives_are_plugged_with_and_without_a_medium(tmp_path: Path) -> None:
    for monitor in started(tmp_path / "qmp"):
        for bus in ("virtio-scsi", "usb"):
            drive = medium(image(tmp_path, b"a"), bus)
            live_disks.attach(monitor, "cd0", drive, {}, {}.update)
            assert inside(monitor) == ("cd0.format", 3)
            live_media.eject(monitor, "cd0", part_of(drive))
            live_disks.detach(monitor, "cd0", part_of(drive), seconds=1)
            live_disks.attach(monitor, "cd0", empty_drive(without_medium(part_of(drive))), {}, {}.update)
            assert inside(monitor) == ("", 0)
            live_disks.detach(monitor, "cd0", without_medium(part_of(drive)), seconds=1)
            assert "cd0" not in live_media.media(monitor.execute("query-blockstats"))


# The answers of a QEMU whose guest has locked the tray: it says nothing about the lock.
LOCKED: dict[str, Any] = {
    "blockdev-open-tray": {},
    "blockdev-remove-medium": {"error": {"desc": "Tray of device 'cd0' is not open"}},
    "query-blockstats": [],
    "query-fdsets": [],
}


def test_a_guest_that_never_acknowledges_keeps_its_medium(tmp_path: Path) -> None:
    with (
        FakeQemu(tmp_path / "qmp", answers=LOCKED) as qemu,
        Monitor.connect(qemu.path) as monitor,
        pytest.raises(HostError) as error,
    ):
        live_media.eject(monitor, "cd0", part_of(medium(tmp_path / "x")), seconds=0.3)
    assert str(error.value) == (
        "the guest uses its medium and has not given it back within 0.3 s; unmount it there and run this again, or "
        "stop the VM"
    )
    # query-block, which tells the state of a tray, halts a VM while its storage does not answer.
    assert {"query-block", "blockdev-del"} & {*qemu.heard} == set()
    assert {"id": "cd0"} in qemu.arguments
    assert not any(arguments and "force" in arguments for arguments in qemu.arguments)


def test_a_tray_that_the_guest_opens_in_time_gives_its_medium(tmp_path: Path) -> None:
    with FakeQemu(tmp_path / "qmp", answers=LOCKED) as qemu, Monitor.connect(qemu.path) as monitor:
        guest = threading.Timer(0.1, qemu.answer, ["blockdev-remove-medium", {}])
        guest.start()
        live_media.eject(monitor, "cd0", part_of(medium(tmp_path / "x")), seconds=5)
    assert qemu.heard.count("blockdev-remove-medium") > 1
    assert qemu.heard[-1] == "blockdev-close-tray"
    assert {"query-block", "query-named-block-nodes"} & {*qemu.heard} == set()


@pytest.mark.parametrize("command", ["blockdev-open-tray", "blockdev-remove-medium"])
def test_an_error_of_the_tray_ends_the_change(tmp_path: Path, command: str) -> None:
    answers = {command: {"error": {"desc": "Device 'cd0' is not removable"}}}
    with (
        FakeQemu(tmp_path / "qmp", answers=answers) as qemu,
        Monitor.connect(qemu.path) as monitor,
        pytest.raises(QmpError, match="is not removable"),
    ):
        live_media.eject(monitor, "cd0", part_of(medium(tmp_path / "x")), seconds=5)
    assert qemu.heard[-1] == command


@pytest.mark.parametrize(
    ("path", "device"),
    [
        ("cd0", "cd0"),
        ("/machine/peripheral/data/virtio-backend", "data"),
        ("/machine/peripheral-anon/device[0]/virtio-backend", ""),
        ("", ""),
    ],
)
def test_devices_of_drives_are_named(path: str, device: str) -> None:
    assert live_media.device_of(path) == device
