# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks of a running QEMU, with a real one: what it gets, and that nothing is left of what fails."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError, QmpError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import live_disks
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live import part_of
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_options import known_limits, limits_of
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_state import LiveDisk
from ansible_collections.directdisk.qemu.tests.unit.real_vm import needs_emulator, running_vm

pytestmark = needs_emulator


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[Monitor]:
    """The monitor of a VM whose firmware finds nothing to boot."""
    port = "pcie-root-port,id=machine.port17,bus=pcie.0,addr=0x06.0,chassis=17"
    with running_vm(tmp_path / "qmp", "-m", "64", "-device", port) as connected:
        yield connected


def disk(path: Path, **more: Any) -> LiveDisk:
    device = "virtio-blk-pci,bus=machine.port17,drive=data.format,id=data,serial=17,write-cache=on,werror=stop"
    nodes = [
        {"driver": "file", "filename": str(path), "node-name": "data.storage", "read-only": False},
        {"driver": "raw", "file": "data.storage", "node-name": "data.format", "read-only": False},
    ]
    whole: dict[str, Any] = {
        "objects": [],
        "controller": "",
        "nodes": nodes,
        "devices": [device],
        "secrets": {},
        "files": {str(path): {"path": str(path), "mode": "rw"}},
        "texts": {},
        "passed": {},
        "helpers": [],
        "network": False,
        "backing": {},
        "overlay": None,
    }
    return LiveDisk(**{**whole, **more})  # type: ignore[typeddict-item]


def state(monitor: Monitor) -> dict[str, set[str]]:
    """What QEMU has of disks: devices, nodes, objects and descriptors."""
    return {
        "devices": {one["name"] for one in monitor.execute("qom-list", {"path": "/machine/peripheral"})}
        - {"type", "machine.port17"},
        "nodes": {one["node-name"] for one in monitor.execute("query-named-block-nodes", {"flat": True})},
        "objects": {one["name"] for one in monitor.execute("qom-list", {"path": "/objects"})} - {"type", "pc.ram"},
        "descriptors": {str(one["fdset-id"]) for one in monitor.execute("query-fdsets")},
    }


def attach(monitor: Monitor, name: str, one: LiveDisk, secrets: dict[str, str]) -> dict[str, str]:
    """Attach a disk, and return what is recorded of it."""
    passed: dict[str, str] = {}
    live_disks.attach(monitor, name, one, secrets, passed.update)
    return passed


NOTHING: dict[str, set[str]] = {"devices": set(), "nodes": set(), "objects": set(), "descriptors": set()}


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "data.img"
    path.write_bytes(bytes(1 << 20))
    path.chmod(0o600)
    return path


def test_a_disk_is_attached_by_descriptor(monitor: Monitor, image: Path) -> None:
    attach(monitor, "data", disk(image), {})
    after = state(monitor)
    assert (after["devices"], after["nodes"]) == ({"data"}, {"data.storage", "data.format"})
    (block,) = monitor.execute("query-block")
    assert block["inserted"]["image"]["virtual-size"] == 1 << 20
    assert block["inserted"]["file"].startswith("/dev/fdset/")
    assert monitor.execute("qom-get", {"path": "/machine/peripheral/data", "property": "serial"}) == "17"


def test_limits_and_secrets_are_objects(monitor: Monitor, image: Path) -> None:
    luks = "secret,id=data.luks,file=/run/credentials/qemu-vm-web1.service/data.luks"
    objects = [luks, "throttle-group,id=data.limits,x-iops-total=100"]
    nodes = [
        *disk(image)["nodes"],
        {"driver": "throttle", "throttle-group": "data.limits", "file": "data.format", "node-name": "data.throttle"},
    ]
    secrets = {"data.luks": "/etc/credstore/qemu-vm-web1.data.luks"}
    device = disk(image)["devices"][0].replace("drive=data.format", "drive=data.throttle")
    whole = disk(image, objects=objects, nodes=nodes, secrets=secrets, devices=[device])
    attach(monitor, "data", whole, {"/etc/credstore/qemu-vm-web1.data.luks": "se cret"})
    assert state(monitor)["objects"] == {"data.luks", "data.limits"}
    limits = monitor.execute("qom-get", {"path": "/objects/data.limits", "property": "limits"})
    assert limits["iops-total"] == 100
    data = monitor.execute("qom-get", {"path": "/objects/data.luks", "property": "data"})
    assert base64.b64decode(data) == b"se cret"


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        (
            {"devices": ["virtio-blk-pci,bus=machine.port99,drive=data.format,id=data"]},
            "Bus 'machine.port99' not found",
        ),
        (
            {"objects": ["throttle-group,id=data.limits,x-iops-total=1,x-iops-read=1"]},
            "cannot be used at the same time",
        ),
        ({"nodes": [{"driver": "qcow2", "file": "nothing", "node-name": "data.format"}]}, "nothing"),
        ({"files": {}}, None),
    ],
    ids=["no such port", "wrong limits", "no such node", "without the descriptor it is opened by its path"],
)
def test_a_disk_that_cannot_be_attached_leaves_nothing(
    monitor: Monitor, image: Path, broken: dict[str, Any], error: str | None
) -> None:
    if error is None:
        attach(monitor, "data", disk(image, **broken), {})
        return
    with pytest.raises(QmpError, match=error):
        attach(monitor, "data", disk(image, **broken), {})
    assert state(monitor) == NOTHING


def test_a_guest_that_does_not_give_a_disk_back_keeps_it(monitor: Monitor, image: Path) -> None:
    attach(monitor, "data", disk(image), {})
    before = state(monitor)
    with pytest.raises(HostError, match=r"^the guest has not given it back within 0.5 s"):
        live_disks.detach(monitor, "data", part_of(disk(image)), seconds=0.5)
    assert state(monitor) == before


def test_what_is_left_of_a_disk_is_removed(monitor: Monitor, image: Path) -> None:
    with_limits = disk(image, objects=["throttle-group,id=data.limits,x-iops-total=100"])
    attach(monitor, "data", disk(image, objects=with_limits["objects"], devices=[]), {})
    assert state(monitor)["nodes"] == {"data.storage", "data.format"}
    live_disks.detach(monitor, "data", part_of(with_limits))
    assert state(monitor) == NOTHING
    live_disks.detach(monitor, "data", part_of(with_limits))


def test_an_image_that_names_another_file_is_not_given_to_the_guest(monitor: Monitor, tmp_path: Path) -> None:
    data, image = tmp_path / "data.raw", tmp_path / "data.qcow2"
    options = f"data_file={data},data_file_raw=on"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", options, str(image), "1M"], check=True)
    nodes = disk(image)["nodes"]
    nodes[1]["driver"] = "qcow2"
    with pytest.raises(HostError, match=r"^disk data: QEMU has opened other files than are declared \(data-file\)"):
        attach(monitor, "data", disk(image, nodes=nodes), {})
    assert state(monitor) == NOTHING


def test_the_files_of_a_disk_are_recorded_before_the_guest_sees_it(monitor: Monitor, image: Path) -> None:
    """A run that is killed after that has recorded by which names the disk can be reopened."""
    seen: list[tuple[set[str], dict[str, str]]] = []
    live_disks.attach(
        monitor, "data", disk(image), {}, lambda passed: seen.append((state(monitor)["devices"], {**passed}))
    )
    assert seen == [(set(), {str(image): "/dev/fdset/0"})]


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("base.raw", ""),
        ("other.raw", "^disk data: it stands on .*/base.raw .raw., and .*/other.raw .raw. is declared as backing"),
        ("", r"^disk data: QEMU has opened other files than are declared \(backing, file\)"),
    ],
)
def test_a_backing_file_is_opened_only_if_it_is_declared(
    monitor: Monitor, tmp_path: Path, declared: str, message: str
) -> None:
    base, image = tmp_path / "base.raw", tmp_path / "data.qcow2"
    base.write_bytes(bytes(1 << 20))
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(base), str(image)], check=True)
    nodes = disk(image)["nodes"]
    nodes[1]["driver"] = "qcow2"
    backing = {"data.format": {"file": str(tmp_path / declared), "format": "raw"}} if declared else {}
    one = disk(image, nodes=nodes, backing=backing)
    if not message:
        attach(monitor, "data", one, {})
        return
    with pytest.raises(HostError, match=message):
        attach(monitor, "data", one, {})
    assert state(monitor) == NOTHING


def test_an_image_without_its_declared_backing_file_is_refused(monitor: Monitor, image: Path) -> None:
    with pytest.raises(HostError, match=r"\(no backing file\)"):
        attach(monitor, "data", disk(image, backing={"data.format": {"file": "/srv/base.raw", "format": "raw"}}), {})
    assert state(monitor) == NOTHING


def test_a_shared_controller_comes_with_its_first_disk(monitor: Monitor, image: Path) -> None:
    controller = "virtio-scsi-pci,id=machine.scsi-0,bus=machine.port17"
    device = "scsi-hd,bus=machine.scsi-0.0,scsi-id=0,drive=data.format,id=data,serial=data"
    attach(monitor, "data", disk(image, controller=controller, devices=[device]), {})
    assert state(monitor)["devices"] == {"machine.scsi-0", "data"}
    live_disks.detach(monitor, "data", part_of(disk(image, devices=[device])))
    attach(monitor, "data", disk(image, controller=controller, devices=[device]), {})
    with pytest.raises(HostError, match="has not given it back"):
        live_disks.unplug(monitor, "machine.scsi-0", seconds=0.1)
    live_disks.unplug(monitor, "machine.scsi-1", seconds=0.1)


def limits(monitor: Monitor) -> dict[str, int]:
    found: dict[str, int] = monitor.execute("qom-get", {"path": "/objects/data.limits", "property": "limits"})
    return found


def limited(image: Path, *options: str, device: str = "", **more: Any) -> LiveDisk:
    plain = disk(image, **({"devices": [device]} if device else {}), **more)
    node = {"driver": "throttle", "throttle-group": "data.limits", "file": "data.format", "node-name": "data.throttle"}
    devices = [one.replace("drive=data.format", "drive=data.throttle") for one in plain["devices"]]
    objects = [",".join(["throttle-group,id=data.limits", *options])]
    return {**plain, "objects": objects, "nodes": [*plain["nodes"], node], "devices": devices}


def top(monitor: Monitor) -> str:
    (block,) = monitor.execute("query-block")
    return str(block["inserted"]["node-name"])


def test_limits_change_and_what_is_not_declared_any_more_is_none(monitor: Monitor, image: Path) -> None:
    before = limited(image, "x-iops-total=100", "x-iops-total-max=200", "x-iops-total-max-length=9")
    attach(monitor, "data", before, {})
    live_disks.limit(monitor, limited(image, "x-bps-read=4096"))
    now = limits(monitor)
    assert (now["bps-read"], now["iops-total"], now["iops-total-max"]) == (4096, 0, 0)
    assert now["iops-total-max-length"] == 1
    assert known_limits(now) == limits_of("throttle-group,id=x,x-bps-read=4096")


@pytest.mark.parametrize(
    "device",
    [
        "",
        "nvme,bus=machine.port17,drive=data.format,id=data,serial=17",
        "virtio-blk-pci,bus=machine.port17,drive=data.format,id=data,iothread=data.iothread",
    ],
    ids=["virtio-blk", "nvme", "I/O thread"],
)
def test_a_disk_gets_its_first_limits_and_loses_its_last_ones(monitor: Monitor, image: Path, device: str) -> None:
    monitor.execute("object-add", {"qom-type": "iothread", "id": "data.iothread"})
    plain = disk(image, **({"devices": [device]} if device else {}))
    attach(monitor, "data", plain, {})
    for _twice in range(2):  # A run that was killed is repeated.
        live_disks.limit(monitor, limited(image, "x-iops-total=100", device=device))
        assert (top(monitor), limits(monitor)["iops-total"]) == ("data.throttle", 100)
    for _twice in range(2):
        live_disks.limit(monitor, plain)
        assert (top(monitor), state(monitor)["objects"]) == ("data.format", {"data.iothread"})
        assert state(monitor)["nodes"] == {"data.storage", "data.format"}


def test_nodes_get_other_options(monitor: Monitor, image: Path) -> None:
    before = limited(image, "x-iops-total=100")
    passed = attach(monitor, "data", before, {})
    options = {"discard": "unmap", "detect-zeroes": "unmap"}
    changed: Any = {**before, "nodes": [{**node, **options} for node in before["nodes"]]}
    live_disks.reopen(monitor, "data", changed, passed)
    zeroes = {one["node-name"]: one["detect_zeroes"] for one in monitor.execute("query-named-block-nodes")}
    assert zeroes == dict.fromkeys(("data.storage", "data.format", "data.throttle"), "unmap")
    live_disks.reopen(monitor, "data", before, passed)
    assert {one["detect_zeroes"] for one in monitor.execute("query-named-block-nodes")} == {"off"}


def test_reopening_leaves_the_descriptors_of_the_last_time_only(monitor: Monitor, image: Path) -> None:
    """A run that was killed may have passed some, and so may each reopening."""
    one = limited(image, "x-iops-total=100")
    passed = attach(monitor, "data", one, {})
    (before,) = monitor.execute("query-fdsets")
    with open(image, "rb") as file:
        arguments = {"fdset-id": before["fdset-id"], "opaque": "data.file"}
        monitor.execute("add-fd", arguments, descriptor=file.fileno())
    for discard in ("unmap", "ignore", "unmap"):
        live_disks.reopen(
            monitor, "data", {**one, "nodes": [{**node, "discard": discard} for node in one["nodes"]]}, passed
        )
        (now,) = monitor.execute("query-fdsets")
        assert (now["fdset-id"], len(now["fds"])) == (before["fdset-id"], 2)


def test_a_library_opens_a_small_file_by_its_descriptor(monitor: Monitor, image: Path, tmp_path: Path) -> None:
    """QEMU itself is the library here: what it opens is a file that has no name."""
    path = "/run/credentials/qemu-vm-web1.service/data.conf"
    nodes = [
        {"driver": "file", "filename": path, "node-name": "data.storage", "read-only": True},
        disk(image)["nodes"][1],
    ]
    nodes[1]["read-only"] = True
    passed = attach(monitor, "data", disk(image, nodes=nodes, files={}, texts={path: "x" * 1024}), {})
    (node,) = (one for one in monitor.execute("query-named-block-nodes") if one["node-name"] == "data.storage")
    assert node["image"]["filename"].startswith("/proc/self/fd/")
    assert passed == {path: node["image"]["filename"]}
    assert node["image"]["virtual-size"] == 1024


def test_the_secret_of_a_helper_is_read_where_the_helper_keeps_it(
    monitor: Monitor, image: Path, tmp_path: Path
) -> None:
    (tmp_path / "chap").write_text("of tgtd", encoding="utf-8")
    one = disk(image, objects=["secret,id=data.chap,file=/x"], secrets={"data.chap": str(tmp_path / "chap")})
    attach(monitor, "data", one, {})
    data = monitor.execute("qom-get", {"path": "/objects/data.chap", "property": "data"})
    assert base64.b64decode(data) == b"of tgtd"


def test_a_link_in_the_place_of_a_helpers_secret_is_not_followed(monitor: Monitor, image: Path, tmp_path: Path) -> None:
    (tmp_path / "chap").symlink_to("/etc/hostname")
    one = disk(image, objects=["secret,id=data.chap,file=/x"], secrets={"data.chap": str(tmp_path / "chap")})
    with pytest.raises(HostError, match="chap: "):
        attach(monitor, "data", one, {})
    assert state(monitor) == NOTHING


def test_a_link_in_a_folder_of_others_is_not_given_to_a_vm(monitor: Monitor, image: Path, tmp_path: Path) -> None:
    tenant = tmp_path / "tenant"
    tenant.mkdir()
    tenant.chmod(0o777)
    (tenant / "disk").symlink_to(image)
    one = disk(image, files={str(image): {"path": str(tenant / "disk"), "mode": "rw"}})
    with pytest.raises(HostError, match="disk: it is a symbolic link, and its folder is not root's"):
        attach(monitor, "data", one, {})
    assert state(monitor) == NOTHING


def test_a_file_that_is_gone_leaves_nothing(monitor: Monitor, image: Path) -> None:
    one = disk(image)
    image.unlink()
    with pytest.raises(HostError, match="No such file or directory"):
        attach(monitor, "data", one, {})
    assert state(monitor) == NOTHING


def test_what_a_run_that_was_killed_has_left_is_replaced(monitor: Monitor, image: Path) -> None:
    attach(monitor, "data", disk(image, devices=[]), {})
    attach(monitor, "data", disk(image), {})
    assert state(monitor)["devices"] == {"data"}
