# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes of a disk in results, where no VM and no unit is known."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import read_image
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.desired import node_graph
from ansible_collections.directdisk.qemu.tests.unit.support import capabilities

RBD = {"rbd": {"pool": "vms", "image": "a", "user": "qemu", "key": "AQ==", "monitors": ["192.0.2.1"]}}
WEB = {"http": {"url": "http://192.0.2.7/a"}}


@pytest.mark.parametrize(
    ("declared", "path"),
    [
        (RBD, "$CREDENTIALS_DIRECTORY/disk.ceph.conf"),
        ({**WEB, "route": "nbdkit"}, "/run/qemu-vm-VM.disk/nbd.sock"),
        ({**WEB, "route": "stage"}, "/run/qemu-vm-VM/disk.14238ca9083c38bf"),
    ],
)
def test_a_path_of_a_unit_that_is_not_known_is_shown_as_such(declared: dict[str, Any], path: str) -> None:
    shown = json.dumps(node_graph(read_image("disk", declared, "disk"), capabilities()))
    assert f'"{path}"' in shown
    assert "//disk" not in shown
    assert "qemu-vm-." not in shown
