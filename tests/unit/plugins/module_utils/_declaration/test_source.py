# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a declaration says of the making of a disk, and what follows from it for the host."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import read_image
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.selection import requirements
from ansible_collections.directdisk.qemu.tests.unit.support import disk_of, vm

NFS: dict[str, Any] = {"nfs": {"host": "192.0.2.7", "path": "/export/a.qcow2"}, "format": "qcow2"}
WEB: dict[str, Any] = {"https": {"url": "https://192.0.2.7/a.qcow2"}, "format": "qcow2", "route": "stage"}


def test_a_source_is_a_disk_that_is_only_read() -> None:
    disk = vm(disk_of(NFS, source=WEB, provision={"x": 1})).disks[0]
    assert disk.origin is not None
    assert (disk.origin.backend.name, disk.origin.writes, disk.origin.settings["format"]) == ("https", "deny", "qcow2")
    assert disk.origin.settings["route"] == "stage"
    assert disk.provision == {"x": 1}
    assert "source" not in disk.settings


def test_a_source_may_be_said_by_a_uri() -> None:
    disk = read_image("disk", {**NFS, "source": {"uri": "https://192.0.2.7/a.qcow2"}}, "disk")
    assert disk.origin is not None
    assert disk.origin.source["url"] == "https://192.0.2.7/a.qcow2"


@pytest.mark.parametrize(
    ("given", "kept"),
    [({}, False), ({"provision": {}}, False), ({"size": "1GiB"}, True), ({"source": WEB}, True)],
)
def test_a_disk_is_kept_if_anything_is_said_of_its_making(given: dict[str, Any], kept: bool) -> None:
    assert read_image("disk", {**NFS, **given}, "disk").kept is kept


def test_a_disk_that_no_vm_opens_need_not_say_where_writes_go() -> None:
    assert read_image("disk", {"https": {"url": "https://192.0.2.7/x"}}, "disk").writes == "deny"


def test_a_host_must_be_able_to_read_a_source() -> None:
    needed = requirements([vm(disk_of(NFS, source=WEB))])
    assert needed["routes"] == [{"backend": "https", "route": "stage"}, {"backend": "nfs", "route": "auto"}]
    by_nbdkit = disk_of(NFS, source={**WEB, "route": "nbdkit"})
    web = [required["route"] for required in requirements([vm(by_nbdkit)])["routes"] if required["backend"] == "https"]
    assert web == ["nbdkit", "stage"]  # curl reads what the server says of the image
    opened = requirements([vm(disk_of({**WEB, "route": "nbdkit", "writes": "deny"}))])
    assert opened["routes"] == [{"backend": "https", "route": "nbdkit"}]
    absent = vm({**disk_of(NFS, source=WEB), "state": "absent"})
    assert requirements([absent])["routes"] == []
