# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module from its arguments to its answer, with a double of the target."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.libiscsi import IscsiError, LibraryMissing
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.lun.observed import Device
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.volume import content
from ansible_collections.directdisk.qemu.plugins.module_utils._images import batch, module
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun import session
from ansible_collections.directdisk.qemu.plugins.module_utils._images.volume import blank
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import encode
from ansible_collections.directdisk.qemu.plugins.modules import qemu_disks_info, qemu_iscsi_disk
from ansible_collections.directdisk.qemu.tests.unit.fake_qmp import FakeQemu
from ansible_collections.directdisk.qemu.tests.unit.plugins.modules.module_run import run_module
from ansible_collections.directdisk.qemu.tests.unit.support import probed

MIB = 2**20
LUN = {"portal": "192.0.2.9", "target": "iqn.2026-01.example:web1", "lun": 1}
DEVICE = Device("disk", "IET", "VIRTUAL-DISK", capacity=MIB, block_size=512, serial="abc", read_only=False)


class Target:
    """LUN 1 has one MiB; some portals do not answer."""

    def __init__(self) -> None:
        self.data = bytearray(MIB)
        self.down: set[str] = set()
        self.logins: list[Any] = []

    def targets(self) -> dict[str, list[str]]:
        return {"iqn.b": ["192.0.2.9:3260"], "iqn.a": ["192.0.2.9:3260"]}

    @contextmanager
    def session(self, begin: Any, login: Any, *, seconds: float) -> Iterator[Target]:
        self.logins.append(login)
        if login.host in self.down:
            raise IscsiError("iscsi_service_reconnect_if_loggedin. Can not reconnect right now.")
        if login.target == "iqn.b":
            raise IscsiError("Failed to log in to target. Status: Authentication failure(513)")
        yield self


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Target:
    found = Target()
    monkeypatch.setattr(module, "probe", lambda: probed("debian12"))
    monkeypatch.setattr(session, "Session", found.session)
    monkeypatch.setattr(session, "_confined", lambda values, bench: [])
    monkeypatch.setattr(session, "luns_of", lambda opened: [0, 1])
    monkeypatch.setattr(session, "device_of", lambda opened, lun: DEVICE if lun else Device("controller"))
    monkeypatch.setattr(
        session,
        "read_places",
        lambda opened, lun, places, device: {start: bytes(found.data[start : start + n]) for start, n in places},
    )
    return found


def read(monkeypatch: pytest.MonkeyPatch, **options: Any) -> dict[str, Any]:
    """The only disk in the result of qemu_disks_info."""
    monkeypatch.setattr(qemu_disks_info, "probe", lambda: probed("debian12"))
    monkeypatch.setattr(batch, "need_bindings", lambda backends, family: None)
    request = encode({"disks": {"iscsi": options}})
    answer = run_module(monkeypatch, qemu_disks_info, disks=[""], request=request)
    assert not answer.get("changed")
    return answer["disks"][0]


def test_a_blank_lun_is_read_by_any_user(monkeypatch: pytest.MonkeyPatch, target: Target) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    disk = read(monkeypatch, **LUN, user="u", password="geheim")
    assert (disk["state"], disk["size"], disk["format"]) == ("present", MIB, "raw")
    assert disk["image"].items() >= {"content": "blank", "portal": "192.0.2.9:3260", "luns": [0, 1]}.items()
    assert disk["blockdev"][0]["portal"] == "192.0.2.9:3260"
    assert target.logins[0].password == "geheim"
    assert "geheim" not in str(disk)


def test_a_portal_is_asked_for_its_targets(monkeypatch: pytest.MonkeyPatch, target: Target) -> None:
    disk = read(monkeypatch, portal="192.0.2.9", target=None)
    first, second = disk["image"]["targets"]
    assert (first["target"], [lun["type"] for lun in first["luns"]]) == ("iqn.a", ["controller", "disk"])
    assert (first["error"], second["target"], second["luns"]) == ("", "iqn.b", [])
    assert second["error"].startswith("the target refuses the user or password")
    assert (disk["name"], disk["state"]) == ("iscsi server", "absent")


def test_a_raw_lun_that_begins_as_a_qcow2_is_refused_unless_its_bytes_are_meant(
    monkeypatch: pytest.MonkeyPatch, target: Target
) -> None:
    target.data[0:4] = b"QFI\xfb"
    refused = run_module(monkeypatch, qemu_iscsi_disk, **LUN)
    assert "it is a qcow2 image, and raw is declared: declare format: qcow2, or raw_content: true" in refused["msg"]
    answer = run_module(monkeypatch, qemu_iscsi_disk, **LUN, raw_content=True)
    assert (answer["changed"], answer["format"], answer["image"]["content"]) == (False, "raw", "data")


def test_data_is_named_by_its_fingerprint_and_overwritten_by_that_alone(
    monkeypatch: pytest.MonkeyPatch, target: Target
) -> None:
    target.data[0:3] = b"abc"
    observed = read(monkeypatch, **LUN)["image"]["fingerprint"]
    desired = {**LUN, "format": "qcow2", "size": "64KiB", "_ansible_check_mode": True}
    refused = run_module(monkeypatch, qemu_iscsi_disk, **desired, overwrite="0" * 16)
    assert refused["msg"].endswith(f"has data that is not qcow2; to lose it, set overwrite: {observed}")
    answer = run_module(monkeypatch, qemu_iscsi_disk, **desired, overwrite=observed)
    assert answer["changed"]
    assert answer["actions"][0].startswith("DESTROYS DATA: overwrite the data and write qcow2 of 64 KiB")
    assert not [name for name in answer["image"] if name.startswith("_")]


def test_a_lun_that_its_vm_opens_as_another_format_is_not_changed(
    monkeypatch: pytest.MonkeyPatch, target: Target, tmp_path: Path
) -> None:
    target.data[:] = b"raw disk".ljust(MIB, b"d")
    answers = {"query-named-block-nodes": [{"node-name": "root", "image": {"format": "qcow2", "virtual-size": MIB}}]}
    with FakeQemu(tmp_path / "qmp", answers=answers) as vm:
        answer = run_module(monkeypatch, qemu_iscsi_disk, **LUN, monitor=vm.path, node="root")
    assert answer["msg"].endswith(f"node root behind {vm.path} is qcow2, and raw is declared")


def test_the_first_portal_that_answers_is_used(monkeypatch: pytest.MonkeyPatch, target: Target) -> None:
    target.down = {"192.0.2.9"}
    more = {"portals": ["[2001:db8::9]:3261", "192.0.2.7"]}
    assert run_module(monkeypatch, qemu_iscsi_disk, **LUN, **more)["image"]["portal"] == "[2001:db8::9]:3261"
    target.down |= {"2001:db8::9", "192.0.2.7"}
    message = run_module(monkeypatch, qemu_iscsi_disk, **LUN, **more)["msg"]
    assert message.count("the portal does not answer") == 3
    assert "\n" not in message


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"portal": "192.0.2.9", "lun": 1}, "missing required arguments: target"),
        ({**LUN, "portal": "a:b:c"}, "'a:b:c' is not a host"),
        ({**LUN, "user": "u"}, "user and password are required together"),
        ({**LUN, "size": "1GiB"}, "cannot be created or grown here"),
        ({**LUN, "lun": 7}, "the target has no such LUN (it has: 0, 1)"),
    ],
)
def test_bad_input(monkeypatch: pytest.MonkeyPatch, target: Target, arguments: dict[str, Any], message: str) -> None:
    answer = run_module(monkeypatch, qemu_iscsi_disk, **arguments)
    assert answer["failed"]
    assert message in answer["msg"]


def test_a_host_without_libiscsi_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, target: Target) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise LibraryMissing("this host has no libiscsi")

    monkeypatch.setattr(session, "Session", missing)
    answer = run_module(monkeypatch, qemu_iscsi_disk, **LUN)
    assert answer["msg"].endswith("this host has no libiscsi; install qemu-block-extra (role storage_client)")


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch, target: Target) -> list[int]:
    """Data that no sample shows; how often it was looked for."""
    looked: list[int] = []

    class Storage:
        @contextmanager
        def accessed(self) -> Iterator[Storage]:
            yield self

        def read(self, start: int, length: int) -> bytes:
            return b"data".ljust(length, b"\0")

    @contextmanager
    def storage(self: Workbench, disk: Any, *, writable: bool = False) -> Iterator[Storage]:
        yield Storage()

    def first_data(node: Any, since: int = 0) -> int:
        looked.append(since)
        return 5557452

    monkeypatch.setattr(Workbench, "storage", storage)
    monkeypatch.setattr(Workbench, "size_of_source", lambda self, disk: 65536)
    monkeypatch.setattr(blank, "first_data", first_data)
    return looked


SOURCE = {"source": {"http": {"url": "http://images.example/a.raw"}}, "_ansible_check_mode": True}


def test_a_lun_with_data_between_the_samples_is_not_written_to(
    monkeypatch: pytest.MonkeyPatch, hidden: list[int]
) -> None:
    said: list[str] = []
    monkeypatch.setattr(module.AnsibleModule, "warn", lambda _module, warning: said.append(warning))
    answer = run_module(monkeypatch, qemu_iscsi_disk, **LUN, **SOURCE)
    assert (answer["changed"], answer["image"]["content"], hidden) == (False, "data", [0])
    assert [line.partition(": ")[2] for line in said] == [
        "has data at byte 5557452, although its ends are blank; it was not changed"
    ]


def test_data_between_the_samples_has_a_fingerprint_of_its_own(
    monkeypatch: pytest.MonkeyPatch, hidden: list[int]
) -> None:
    desired = {**LUN, "format": "qcow2", "size": "64KiB", "_ansible_check_mode": True}
    refused = run_module(monkeypatch, qemu_iscsi_disk, **desired)
    fingerprint = refused["msg"].rpartition("set overwrite: ")[2]
    assert run_module(monkeypatch, qemu_iscsi_disk, **desired, overwrite=fingerprint)["changed"]
    zeroes = content.fingerprint_of({0: bytes(MIB)})
    assert run_module(monkeypatch, qemu_iscsi_disk, **desired, overwrite=zeroes)["failed"]


def test_a_lun_is_read_whole_only_before_it_is_written_to(monkeypatch: pytest.MonkeyPatch, hidden: list[int]) -> None:
    run_module(monkeypatch, qemu_iscsi_disk, **LUN)
    read(monkeypatch, **LUN)
    assert run_module(monkeypatch, qemu_iscsi_disk, **LUN, **SOURCE, blank_check="sample")["changed"]
    assert hidden == []
