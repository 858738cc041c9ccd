# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody has added to a running QEMU by hand is found and removed, with a real one; what it began with stays."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import undeclared
from ansible_collections.directdisk.qemu.tests.unit.real_vm import EMULATOR, needs_emulator, running_vm

pytestmark = needs_emulator
PORTS = [f"pcie-root-port,id=machine.port{number},bus=pcie.0,chassis={number}" for number in (1, 2, 3)]


class Vm:
    """A VM with a disk of its own, and a disk, a network interface and a device of its extra_args."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        for name in ("root", "extra", "hand", "target"):
            (folder / f"{name}.img").write_bytes(bytes(1 << 20))
        words = ["-S", "-m", "64"]
        for device in (*PORTS, "virtio-scsi-pci,id=machine.scsi-0"):
            words += ["-device", device]
        words += ["-blockdev", f'{{"driver":"file","filename":"{folder}/root.img","node-name":"root.storage"}}']
        words += ["-device", "scsi-hd,bus=machine.scsi-0.0,scsi-id=0,drive=root.storage,id=root"]
        words += ["-blockdev", f"raw,node-name=mine,file.driver=file,file.filename={folder}/extra.img"]
        words += ["-device", "scsi-hd,bus=machine.scsi-0.0,drive=mine", "-netdev", "user,id=my-net"]
        words += ["-device", '{"driver":"e1000","netdev":"my-net"}', "-netdev", "user,id=spare"]
        self.argv = [EMULATOR, *words]
        self.monitor = stack.enter_context(running_vm(folder / "qmp", *words))

    def observe(self) -> undeclared.Observed:
        execute = self.monitor.execute
        nodes = [one["node-name"] for one in execute("query-named-block-nodes", {"flat": True})]
        process: Any = {"argv": self.argv, "disks": {}, "networks": {}, "nodes": nodes}
        listed = execute("qom-list", {"path": "/machine/peripheral"})
        return undeclared.observe(self.monitor, process, listed, execute("query-blockstats"))

    def add_disk(self, **options: Any) -> None:
        file = {"driver": "file", "node-name": "hand-file", "filename": f"{self.folder}/hand.img"}
        self.monitor.execute("blockdev-add", file)
        self.monitor.execute("blockdev-add", {"driver": "raw", "node-name": "hand-raw", "file": "hand-file"})
        self.monitor.execute("device_add", {"drive": "hand-raw", **options})


@pytest.fixture
def vm(tmp_path: Path) -> Iterator[Vm]:
    with contextlib.ExitStack() as stack:
        yield Vm(tmp_path, stack)


NOTHING = {"undeclared": [], "unused_nodes": [], "jobs": []}
SCSI = {"driver": "scsi-hd", "bus": "machine.scsi-0.0"}


def test_what_it_began_with_is_no_addition(vm: Vm) -> None:
    assert vm.observe() == NOTHING


@pytest.mark.parametrize("name", ["hand", ""], ids=["with an id", "without an id"])
def test_a_disk_and_a_network_interface_are_found_and_removed(vm: Vm, name: str) -> None:
    vm.add_disk(**SCSI, **({"id": name} if name else {}))
    vm.monitor.execute("netdev_add", {"type": "user", "id": "hand-net"})
    nic = {"driver": "virtio-net-pci", "netdev": "hand-net", "bus": "machine.port1", "id": "hand-nic"}
    vm.monitor.execute("device_add", nic)
    found = {one["driver"]: one for one in vm.observe()["undeclared"]}
    disk = found["scsi-hd"]
    assert disk["id"] == name or disk["id"].startswith("/machine/peripheral-anon/device[")
    assert disk["nodes"] == ["hand-raw", "hand-file"]
    assert (found["virtio-net-pci"]["id"], found["virtio-net-pci"]["netdev"]) == ("hand-nic", "hand-net")
    undeclared.remove(vm.monitor, disk, seconds=5)
    # No guest runs that could give back what is behind a port.
    with pytest.raises(HostError, match="has not given it back"):
        undeclared.remove(vm.monitor, found["virtio-net-pci"], seconds=0.1)
    after = vm.observe()
    assert ([one["driver"] for one in after["undeclared"]], after["unused_nodes"]) == (["virtio-net-pci"], [])


def test_an_interface_on_a_network_of_the_command_line_leaves_that(vm: Vm) -> None:
    vm.monitor.execute("device_add", {"driver": "virtio-net-pci", "netdev": "spare", "bus": "machine.port1", "id": "x"})
    (found,) = vm.observe()["undeclared"]
    assert (found["id"], found["netdev"]) == ("x", "")


def test_nodes_without_a_device_and_jobs_are_named(vm: Vm) -> None:
    file = {"driver": "file", "node-name": "target", "filename": f"{vm.folder}/target.img"}
    vm.monitor.execute("blockdev-add", file)
    assert vm.observe() == {**NOTHING, "unused_nodes": ["target"]}
    mirror = {"job-id": "move", "device": "root.storage", "target": "target", "sync": "full"}
    vm.monitor.execute("blockdev-mirror", {**mirror, "speed": 1})
    assert vm.observe()["jobs"] == ["job move"]
