# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module from its arguments to its answer, with a double of the target."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils import _disk_module
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.libiscsi import IscsiError, LibraryMissing
from ansible_collections.directdisk.qemu.plugins.module_utils._lifecycles.lun import session
from ansible_collections.directdisk.qemu.plugins.modules import qemu_iscsi_disk
from ansible_collections.directdisk.qemu.tests.unit.plugins.modules.module_run import run_module
from ansible_collections.directdisk.qemu.tests.unit.support import probed

MIB = 2**20
LUN = {"portal": "192.0.2.9", "target": "iqn.2026-01.example:web1", "lun": 1}
DEVICE = {
    "type": "disk",
    "vendor": "IET",
    "model": "VIRTUAL-DISK",
    "capacity": MIB,
    "block_size": 512,
    "serial": "abc",
    "read_only": False,
}


class Target:
    """LUN 1 has one MiB; some portals do not answer."""

    def __init__(self) -> None:
        self.data = bytearray(MIB)
        self.down: set[str] = set()
        self.logins: list[Any] = []

    def targets(self) -> dict[str, list[str]]:
        return {"iqn.b": ["192.0.2.9:3260"], "iqn.a": ["192.0.2.9:3260"]}

    @contextmanager
    def session(self, library: Any, login: Any, *, seconds: float) -> Iterator[Target]:
        self.logins.append(login)
        if login.host in self.down:
            raise IscsiError("iscsi_service_reconnect_if_loggedin. Can not reconnect right now.")
        if login.target == "iqn.b":
            raise IscsiError("Failed to log in to target. Status: Authentication failure(513)")
        yield self


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Target:
    found = Target()
    monkeypatch.setattr(_disk_module, "probe", lambda: probed("debian12"))
    monkeypatch.setattr(session, "load_library", lambda: None)
    monkeypatch.setattr(session, "Session", found.session)
    monkeypatch.setattr(session, "luns_of", lambda opened: [0, 1])
    monkeypatch.setattr(session, "device_of", lambda opened, lun: dict(DEVICE) if lun else {"type": "controller"})
    monkeypatch.setattr(
        session,
        "read_places",
        lambda opened, lun, places, device: {start: bytes(found.data[start : start + n]) for start, n in places},
    )
    return found


def test_a_blank_lun(monkeypatch: pytest.MonkeyPatch, target: Target) -> None:
    answer = run_module(monkeypatch, qemu_iscsi_disk, **LUN, state="info", user="u", password="geheim")
    assert not answer["changed"]
    assert (answer["state"], answer["size"], answer["format"]) == ("present", MIB, "raw")
    assert answer["image"].items() >= {"content": "blank", "portal": "192.0.2.9:3260", "luns": [0, 1]}.items()
    assert answer["blockdev"][0]["portal"] == "192.0.2.9:3260"
    assert target.logins[0].password == "geheim"
    assert "geheim" not in str(answer)


def test_a_raw_lun_is_not_taken_for_what_its_bytes_look_like(monkeypatch: pytest.MonkeyPatch, target: Target) -> None:
    target.data[0:4] = b"QFI\xfb"
    answer = run_module(monkeypatch, qemu_iscsi_disk, **LUN)
    assert (answer["changed"], answer["format"], answer["image"]["content"]) == (False, "raw", "data")


def test_data_is_named_by_its_fingerprint_and_overwritten_by_that_alone(
    monkeypatch: pytest.MonkeyPatch, target: Target
) -> None:
    target.data[0:3] = b"abc"
    seen = run_module(monkeypatch, qemu_iscsi_disk, **LUN, state="info")["image"]["fingerprint"]
    wanted = {**LUN, "format": "qcow2", "size": "64KiB", "_ansible_check_mode": True}
    refused = run_module(monkeypatch, qemu_iscsi_disk, **wanted, overwrite="0" * 16)
    assert refused["msg"].endswith(f"has data that is no qcow2; to lose it, say overwrite: {seen}")
    answer = run_module(monkeypatch, qemu_iscsi_disk, **wanted, overwrite=seen)
    assert answer["changed"]
    assert answer["actions"][0].startswith("DESTROYS DATA: overwrite the data and write qcow2 of 65536 bytes")
    assert not [name for name in answer["image"] if name.startswith("_")]


def test_the_first_portal_that_answers_is_used(monkeypatch: pytest.MonkeyPatch, target: Target) -> None:
    target.down = {"192.0.2.9"}
    more = {"portals": ["[2001:db8::9]:3261", "192.0.2.7"]}
    assert run_module(monkeypatch, qemu_iscsi_disk, **LUN, **more)["image"]["portal"] == "[2001:db8::9]:3261"
    target.down |= {"2001:db8::9", "192.0.2.7"}
    message = run_module(monkeypatch, qemu_iscsi_disk, **LUN, **more)["msg"]
    assert message.count("the portal does not answer") == 3
    assert "\n" not in message


def test_a_portal_is_asked_for_its_targets(monkeypatch: pytest.MonkeyPatch, target: Target) -> None:
    answer = run_module(monkeypatch, qemu_iscsi_disk, portal="192.0.2.9", state="info")
    first, second = answer["image"]["targets"]
    assert (first["target"], [lun["type"] for lun in first["luns"]], first["error"]) == (
        "iqn.a",
        ["controller", "disk"],
        "",
    )
    assert (second["target"], second["luns"]) == ("iqn.b", [])
    assert second["error"].startswith("the target refuses the user or password")
    assert answer["state"] == "absent"


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"portal": "192.0.2.9"}, "disk: iscsi: target is missing"),
        ({"portal": "a:b:c", "state": "info"}, "'a:b:c' is not a host"),
        ({**LUN, "user": "u"}, "user and password are wanted together"),
        ({**LUN, "size": "1GiB"}, "cannot be created or grown here"),
        ({**LUN, "lun": 7}, "the target has no such LUN (it has: 0, 1)"),
    ],
)
def test_bad_input(monkeypatch: pytest.MonkeyPatch, target: Target, arguments: dict[str, Any], message: str) -> None:
    answer = run_module(monkeypatch, qemu_iscsi_disk, **arguments)
    assert answer["failed"]
    assert message in answer["msg"]


def test_a_host_without_libiscsi_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, target: Target) -> None:
    def missing() -> None:
        raise LibraryMissing("this host has no libiscsi")

    monkeypatch.setattr(session, "load_library", missing)
    answer = run_module(monkeypatch, qemu_iscsi_disk, **LUN)
    assert answer["msg"].endswith("this host has no libiscsi; install qemu-block-extra (role storage_client)")
