# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files QEMU may open because a header names them. The replies are those of QEMU 7.2."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._access.foreign_files import (
    foreign_file,
    local_backing_file,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import read_image

BASE = {"filename": "/srv/base.raw", "format": "raw"}
TOP = {"filename": "/srv/top.qcow2", "format": "qcow2", "backing-filename": "base.raw"}
DATA_FILE = {"format-specific": {"type": "qcow2", "data": {"data-file": "/etc/shadow"}}}
OPENED = [{"node-name": f"#block{number}", "file": "/srv/base.raw", "image": BASE} for number in (1, 2)]


def found(image: dict[str, Any], backing: str = "", *opened: dict[str, Any], keeps_names: bool = True) -> str:
    nodes = [{"node-name": "disk.format", "file": "/srv/top.qcow2", "image": image}, *opened]
    return foreign_file(nodes, "disk.format", backing, keeps_names=keeps_names)


def test_the_declared_backing_file_is_not_foreign() -> None:
    assert found(TOP) == ""
    assert found({**TOP, "backing-image": BASE}, "base.raw", *OPENED) == ""
    assert (
        found({**TOP, "backing-image": BASE, "backing-filename": "/srv/base.raw"}, "base.raw", keeps_names=False) == ""
    )


@pytest.mark.parametrize(
    "image, backing",
    [
        (DATA_FILE, ""),
        ({**TOP, "backing-image": {**BASE, **DATA_FILE}}, "base.raw"),
        ({**TOP, "backing-image": {**BASE, "backing-filename": "/etc/shadow"}}, "base.raw"),
        ({**TOP, "backing-image": BASE, "backing-filename": "/etc/shadow"}, "base.raw"),
        ({**TOP, "backing-image": BASE, "backing-filename": "/etc/shadow"}, ""),
    ],
)
def test_what_only_a_header_names_is_foreign(image: dict[str, Any], backing: str) -> None:
    assert found(image, backing) == "/etc/shadow"


def test_what_qemu_has_opened_unasked_is_foreign() -> None:
    """A header may have other ways to name a file than those that QEMU describes."""
    shadow = {"node-name": "#block3", "file": "/etc/shadow", "image": {}}
    assert found(TOP, "", shadow) == "/etc/shadow"
    assert found({**TOP, "backing-image": BASE}, "base.raw", *OPENED, shadow) == "/etc/shadow"
    assert found(TOP, "", *OPENED) == "/srv/base.raw"


@pytest.mark.parametrize(
    "storage, name, path",
    [
        ({"file": {"path": "/srv/a.qcow2"}}, "/srv/base.raw", "/srv/base.raw"),
        ({"file": {"path": "/srv/a.qcow2"}}, "base.raw", "/srv/base.raw"),
        ({"file": {"path": "/srv/a.qcow2"}}, "file:base.raw", "/srv/base.raw"),
        ({"file": {"path": "/srv/a.qcow2"}}, "nfs://192.0.2.7/base.raw", ""),
        ({"file": {"path": "/srv/a.qcow2"}}, 'json:{"driver":"rbd"}', ""),
        ({"nfs": {"host": "192.0.2.7", "path": "/export/a"}}, "/srv/base.raw", "/srv/base.raw"),
        ({"nfs": {"host": "192.0.2.7", "path": "/export/a"}}, "base.raw", ""),
    ],
)
def test_a_backing_file_of_this_host(storage: dict[str, Any], name: str, path: str) -> None:
    provision = {"backing": {"file": name, "format": "raw"}}
    disk = read_image("disk", {**storage, "format": "qcow2", "provision": provision}, "disk")
    node = {"filename": disk.source["filename"]} if "filename" in disk.source else {}
    assert local_backing_file(disk, node) == path
    assert local_backing_file(read_image("disk", {**storage, "format": "qcow2"}, "disk"), node) == ""
