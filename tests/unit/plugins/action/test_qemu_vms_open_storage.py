# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Storage that somebody has open, in a run of the action plugin."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.directdisk.qemu.tests.unit.plugins.action.test_qemu_vms_action import (
    SIMPLE,
    Host,
    run,
)
from ansible_collections.directdisk.qemu.tests.unit.support import disk_of, empty_host

pytestmark = pytest.mark.usefixtures("warnings")


def test_storage_of_a_running_vm_that_is_not_declared_is_not_opened_again() -> None:
    host = Host(empty_host())
    run(host, SIMPLE)
    result = run(host, {"web2": SIMPLE["web1"]})
    assert result["msg"] == (
        "hv1: disk root of web2: is the same storage as a disk of web1, which runs without a declaration, "
        "and one of them writes to it (nbd 192.0.2.5:10809/)"
    )


def test_storage_that_somebody_has_open_is_not_opened_again() -> None:
    host = Host(empty_host(in_use={"nbd:192.0.2.5:10809/": "is open by client.1 at 192.0.2.9; stop it"}))
    result = run(host, SIMPLE)
    assert result["msg"] == "hv1: disk root of web1: nbd 192.0.2.5:10809/ is open by client.1 at 192.0.2.9; stop it"
    assert len(host.calls) == 1


def test_storage_that_does_not_say_who_has_it_open_is_warned_of(warnings: list[str]) -> None:
    host = Host(empty_host(not_asked={"nbd:192.0.2.5:10809/": "no answer within 8 s"}))
    assert run(host, SIMPLE)["changed"] is True
    assert warnings == [
        "hv1: disk root of web1: nbd 192.0.2.5:10809/: it is not known who has it open (no answer within 8 s); "
        "the unit asks again when it starts"
    ]


UNMANAGED = {"pid": 4711, "unit": "db.service", "uuid": "", "name": "db", "vm": True, "opens": {}}


@pytest.mark.parametrize(
    ("declared", "opened"),
    [
        (SIMPLE["web1"], {"disks": SIMPLE["web1"]["disks"]}),
        (disk_of({"file": {"path": "/srv/a"}}), {"disks": {}, "opens": {"/srv/a": True}}),
        (disk_of({"file": {"path": "/srv/a"}}, writes="deny"), {"disks": {}, "opens": {"/srv/a": True}}),
        (disk_of({"file": {"path": "/srv/a"}}), {"disks": {}, "opens": {"/srv/a": False}}),
    ],
)
def test_storage_that_a_process_of_others_has_open_is_not_opened_again(declared: Any, opened: Any) -> None:
    host = Host(empty_host(unmanaged=[{**UNMANAGED, **opened}], paths={"/srv/a": "file"}))
    result = run(host, {"web1": declared})
    assert result["msg"].startswith(
        "hv1: disk root of web1: db, which runs without the collection (process 4711, db.service), has the same "
        "storage open, and one of them writes to it ("
    )
    assert len(host.calls) == 1
    assert "failed" not in run(host, {"web1": {**declared, "state": "stopped"}}, check=True)
    reads = {**UNMANAGED, "disks": {}, "opens": {"/srv/a": False}}
    host = Host(empty_host(unmanaged=[reads], paths={"/srv/a": "file"}))
    assert "failed" not in run(host, {"web1": disk_of({"file": {"path": "/srv/a"}}, writes="deny")}, check=True)


def test_storage_that_somebody_has_open_is_not_opened_by_one_task_either() -> None:
    host = Host(empty_host(in_use={"nbd:192.0.2.5:10809/": "is open by client 192.0.2.77"}))
    result = run(host, SIMPLE)
    assert result["msg"] == "hv1: disk root of web1: nbd 192.0.2.5:10809/ is open by client 192.0.2.77"
    assert len(host.calls) == 1


def test_storage_of_a_vm_without_a_declaration_is_known_under_another_name() -> None:
    host = Host(empty_host())
    run(host, {"db": disk_of({"nfs": {"host": "storage.lan", "path": "/a"}})})
    host.seen["observed"]["names"] = {"storage.lan": ["192.0.2.9"]}
    answer = run(host, {"web1": disk_of({"nfs": {"host": "192.0.2.9", "path": "/a"}})})
    assert "is the same storage as a disk of db, which runs without a declaration" in answer["msg"]
