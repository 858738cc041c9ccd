# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An rbd image from its declaration to the cluster and back, with a test double of Ceph's bindings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import read_image
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.kinds import read_desired as _read_desired
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.lifecycle import LIFECYCLE
from ansible_collections.directdisk.qemu.plugins.module_utils._images.reconcile import reconcile as _reconcile
from ansible_collections.directdisk.qemu.plugins.module_utils._process import locks as _locks
from ansible_collections.directdisk.qemu.tests.unit import fake_rbd
from ansible_collections.directdisk.qemu.tests.unit.support import capabilities

MIB = 2**20
NAME = "rbd vms/web1"


@pytest.fixture
def ceph(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> fake_rbd.Ceph:
    monkeypatch.setattr(_locks, "DISKS_LOCK", str(tmp_path / "lock"))
    return fake_rbd.install(monkeypatch)


def manage(state: str = "present", *, image: str = "web1", size: str = "1MiB", **provision: Any) -> dict[str, Any]:
    """The result; whatever changes something changes nothing the second time, and check mode foresees it."""
    where = {"pool": "vms", "image": image, "monitors": ["192.0.2.1"], "auth_client_required": ["none"]}
    declared = {"rbd": where, "provision": provision, **({"size": size} if size else {})}
    desired = _read_desired(read_image("disk", declared, "disk"), "disk", state=state)
    with Workbench(capabilities(), open_timeout=5) as bench:
        foreseen = _reconcile(LIFECYCLE, desired, bench, check_mode=True)
        done = _reconcile(LIFECYCLE, desired, bench, check_mode=False)
        assert foreseen["actions"] == done["actions"]
        again = _reconcile(LIFECYCLE, desired, bench, check_mode=False)
        assert again["actions"] == []
    return done


def test_an_image_is_made_grown_and_removed(ceph: fake_rbd.Ceph) -> None:
    assert manage()["actions"] == [f"create {NAME} of 1 MiB"]
    assert len(ceph.images["web1"].data) == MIB
    assert len(manage(size="2MiB")["actions"]) == 1
    assert len(ceph.images["web1"].data) == 2 * MIB
    with pytest.raises(DirectDiskError, match="allow_shrink"):
        manage(size="1MiB")
    manage(size="1MiB", allow_shrink=True)
    assert len(ceph.images["web1"].data) == MIB
    manage("absent", size="")
    assert ceph.images == {}


def test_snapshots_are_taken_protected_rolled_back_and_removed(ceph: fake_rbd.Ceph) -> None:
    manage(snapshots=[{"name": "s", "protected": True}])
    stored = ceph.images["web1"]
    assert (list(stored.snapshots), stored.protected) == (["s"], {"s"})
    stored.data[:4] = b"data"
    manage(rollback="s")
    assert stored.data[:4] == bytes(4)
    with pytest.raises(DirectDiskError, match="with_snapshots"):
        manage("absent", size="")
    manage("absent", size="", with_snapshots=True)
    assert ceph.images == {}


def test_metadata_and_configuration_are_set_and_removed(ceph: fake_rbd.Ceph) -> None:
    manage(metadata={"owner": "me"}, image_config={"rbd_cache": False})
    assert ceph.images["web1"].texts == {"owner": "me", "conf_rbd_cache": "false"}
    manage(metadata={"owner": None}, image_config={"rbd_cache": None})
    assert ceph.images["web1"].texts == {}
    with pytest.raises(DirectDiskError, match="rbd_cash: is not an option that an image can have"):
        manage(image_config={"rbd_cash": 1})


def test_an_image_comes_back_from_the_trash_and_takes_another_name(ceph: fake_rbd.Ceph) -> None:
    manage()
    ceph.images["web1"].data[:4] = b"data"
    manage("absent", size="", trash=True)
    assert (ceph.images, len(ceph.trash)) == ({}, 1)
    manage(restore=True)
    manage(image="web2", renamed_from="web1")
    assert (list(ceph.images), ceph.images["web2"].data[:4]) == (["web2"], b"data")


def test_an_image_that_a_client_has_open_stays_until_force_is_said(ceph: fake_rbd.Ceph) -> None:
    manage()
    ceph.images["web1"].watchers = ["192.0.2.9:0/1"]
    with pytest.raises(DirectDiskError, match="force"):
        manage("absent", size="")
    assert (list(ceph.images), ceph.blocklist) == (["web1"], [])
    manage("absent", size="", force=True)
    assert (ceph.images, ceph.blocklist) == ({}, ["192.0.2.9:0/1"])


def test_a_raw_image_that_begins_as_a_qcow2_is_refused(ceph: fake_rbd.Ceph) -> None:
    manage()
    ceph.images["web1"].data[:4] = b"QFI\xfb"
    with pytest.raises(DirectDiskError, match="it is a qcow2 image, and raw is declared"):
        manage()
