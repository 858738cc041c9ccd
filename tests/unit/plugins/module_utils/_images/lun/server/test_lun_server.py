# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""LUNs of a tgt: what tgtd shows, what its configuration keeps, and what is done."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._clients import tgt
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import read_image
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import DesiredImage, ImagePlan
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.kinds import read_desired
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.lun import kind
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.lun.server.changes import ObservedExport
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.lun.server.kept import (
    KeptLun,
    KeptTarget,
    parse_kept,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.lun.server.options import lun_of
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.server import kept_files

MIB = 2**20
NAME = "iqn.2026-01.example:web1"
LUN = {"portal": "192.0.2.9", "target": NAME, "lun": 1, "user": "web1", "password": "geheim"}
TGT = {"store": "/srv/web1", "size": "64MiB"}

# Of tgtadm --op show --mode target, of tgt 1.0.85.
SHOWN = """\
Target 3: iqn.2026-01.example:web1
    System information:
        Driver: iscsi
        State: ready
    I_T nexus information:
        I_T nexus: 5
            Initiator: iqn.2008-11.org.linux-kvm:vm alias: none
            Connection: 0
                IP Address: 192.0.2.3
    LUN information:
        LUN: 0
            Type: controller
            SCSI SN: beaf30
            Backing store path: None
        LUN: 1
            Type: disk
            SCSI SN: abc
            Size: 67 MB, Block size: 512
            Readonly: No
            Thin-provisioning: Yes
            Backing store path: /srv/web1
    Account information:
        web1
        mutual (outgoing)
    ACL information:
        192.0.2.0/24
        iqn.2008-11.org.linux-kvm:vm
Target 7: iqn.2026-01.example:empty
    System information:
        Driver: iscsi
        State: ready
    I_T nexus information:
    LUN information:
    Account information:
    ACL information:
        ALL"""


def test_what_tgtd_shows() -> None:
    targets = tgt.parse_targets(SHOWN)
    found = targets[NAME]
    assert list(targets) == [NAME, "iqn.2026-01.example:empty"]
    assert found.tid == 3
    assert found.sessions == ["iqn.2008-11.org.linux-kvm:vm"]
    assert found.accounts == ["web1"]
    assert found.initiators == ["192.0.2.0/24", "iqn.2008-11.org.linux-kvm:vm"]
    assert list(found.luns) == [0, 1]
    assert found.luns[1].store == "/srv/web1"
    assert found.luns[1].serial == "abc"
    assert (found.luns[1].thin, found.luns[1].read_only) == (True, False)
    assert targets["iqn.2026-01.example:empty"].luns == {}
    assert tgt.parse_targets("") == {}


KEPT = KeptTarget(
    NAME,
    {2: KeptLun("/srv/b", "s2", thin=True), 1: KeptLun("/srv/a", "s1", read_only=True)},
    "web1",
    "geheim",
    ("192.0.2.0/24", "iqn.2026-01.example:vm"),
)


@pytest.mark.parametrize("kept", [KEPT, KeptTarget(NAME, {1: KeptLun("/dev/vg/a", "x")})])
def test_a_file_is_read_as_it_was_written(kept: KeptTarget) -> None:
    assert parse_kept(NAME, kept.text()) == kept


def test_a_file_is_as_tgt_wants_it() -> None:
    assert KEPT.text() == (
        "# Kept by directdisk.qemu.qemu_iscsi_disk.\n"
        f"<target {NAME}>\n"
        "  incominguser web1 geheim\n"
        "  initiator-address 192.0.2.0/24\n"
        "  initiator-name iqn.2026-01.example:vm\n"
        "  <backing-store /srv/a>\n"
        "    lun 1\n    scsi_sn s1\n    scsi_id s1\n    readonly 1\n    params thin_provisioning=0\n"
        "  </backing-store>\n"
        "  <backing-store /srv/b>\n"
        "    lun 2\n    scsi_sn s2\n    scsi_id s2\n    readonly 0\n    params thin_provisioning=1\n"
        "  </backing-store>\n"
        "</target>\n"
    )
    assert KEPT.path == "/etc/tgt/conf.d/directdisk.iqn.2026-01.example:web1.conf"
    assert "geheim" not in repr(KEPT)


def test_files_of_others_are_read(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_files, "FOLDER", str(tmp_path))
    monkeypatch.setattr(kept_files, "MAIN", str(tmp_path / "none"))
    (tmp_path / "a.conf").write_text(f'<target "{NAME}">\n\tincominguser other "secret"\n</target>\n')
    (tmp_path / "b.conf").write_text("<target iqn.x>\n  incominguser web1 geheim\n  incominguser web10 x\n</target>\n")
    assert kept_files.declared_elsewhere(NAME) == str(tmp_path / "a.conf")
    assert kept_files.declared_elsewhere("iqn.2026-01.example:web") == ""
    assert kept_files.passwords_of("other") == {"secret"}
    assert kept_files.passwords_of("web1") == {"geheim"}
    assert kept_files.read_kept(NAME) == KeptTarget(NAME)


def desired(tgt: dict[str, Any] | None = None, state: str = "present", **declared: Any) -> DesiredImage:
    settings = {key: declared.pop(key) for key in ("format", "luks", "source") if key in declared}
    image = {"iscsi": {**LUN, **declared}, "provision": {"tgt": {**TGT, **(tgt or {})}}, **settings}
    return read_desired(read_image("disk", image, "disk"), "disk", state=state)


MISSING: dict[str, Any] = {
    "exists": False,
    "target_exists": False,
    "other_luns": (),
    "accounts": (),
    "initiators": (),
    "sessions": (),
    "account": "missing",
    "account_shared_with": (),
    "declared_in": "",
    "size": None,
    "kept": False,
    "kept_so": False,
}
MADE: dict[str, Any] = {
    **MISSING,
    "exists": True,
    "target_exists": True,
    "accounts": ("web1",),
    "initiators": ("ALL",),
    "account": "fits",
    "size": 64 * MIB,
    "kept": True,
    "kept_so": True,
    "store": "/srv/web1",
    "serial": lun_of(desired()).serial,
    "thin": False,
    "read_only": False,
}


def plan(desired: DesiredImage, observed: dict[str, Any]) -> ImagePlan:
    return kind.KIND.plan(desired, ObservedExport(**observed))


def kinds(image_plan: ImagePlan) -> list[str]:
    return [type(step.change).__name__ for step in image_plan.steps]


def test_everything_is_made_in_order_and_nobody_gets_in_before_its_account() -> None:
    image_plan = plan(desired(), MISSING)
    assert kinds(image_plan) == [
        "MakeStore",
        "CreateTarget",
        "CreateAccount",
        "BindAccount",
        "CreateLun",
        "SetInitiators",
        "KeepConfiguration",
    ]
    assert image_plan.after == ObservedExport(**MADE)
    assert not plan(desired(), MADE).steps


@pytest.mark.parametrize(
    "declared, observed, steps",
    [
        ({}, {}, []),
        ({"tgt": {"size": "32MiB"}}, {}, []),
        ({"tgt": {"size": None}}, {}, []),
        ({"tgt": {"size": "65MiB"}}, {}, ["GrowStore"]),
        ({"tgt": {"thin": True}}, {"kept_so": False}, ["UpdateLun", "KeepConfiguration"]),
        ({"tgt": {"initiators": ["192.0.2.0/24"]}}, {"kept_so": False}, ["SetInitiators", "KeepConfiguration"]),
        ({}, {"account": "differs", "kept_so": False}, ["ChangePassword", "KeepConfiguration"]),
        ({}, {"account": "unknown", "kept_so": False}, ["ChangePassword", "KeepConfiguration"]),
        ({}, {"accounts": ("old", "web1")}, ["UnbindAccounts"]),
        ({"user": None, "password": None}, {"account": "none"}, ["UnbindAccounts"]),
        ({}, {"exists": False, "kept_so": False}, ["CreateLun", "KeepConfiguration"]),
        ({"state": "absent"}, {}, ["RemoveTarget", "RemoveAccount", "ForgetConfiguration"]),
        ({"state": "absent"}, {"account_shared_with": ("x",)}, ["RemoveTarget", "ForgetConfiguration"]),
        ({"state": "absent"}, {"other_luns": (2,)}, ["RemoveLun", "ForgetConfiguration"]),
        (
            {"state": "absent", "tgt": {"remove_store": True}},
            {"kept": False},
            ["RemoveTarget", "RemoveAccount", "RemoveStore"],
        ),
        ({"state": "absent"}, MISSING, []),
        (
            {"state": "absent", "tgt": {"force": True}},
            {"sessions": ("iqn.x",), "other_luns": (2,)},
            ["RemoveLun", "ForgetConfiguration"],
        ),
    ],
)
def test_changes(declared: dict[str, Any], observed: dict[str, Any], steps: list[str]) -> None:
    declared = {key: value for key, value in declared.items() if value is not None}
    found = desired(**{"user": None, "password": None} if observed.get("account") == "none" else {}, **declared)
    assert kinds(plan(found, {**MADE, **observed})) == steps


@pytest.mark.parametrize(
    "declared, observed, message",
    [
        ({"tgt": {"size": None}}, MISSING, "tgt: size: is required, because /srv/web1 does not exist yet"),
        ({"tgt": {"store": "/srv/other"}}, {}, "exports /srv/web1, not /srv/other"),
        ({"tgt": {"thin": True}}, {"declared_in": "/etc/tgt/x.conf"}, "is declared in /etc/tgt/x.conf"),
        ({}, {"account": "differs", "account_shared_with": ("iqn.y",)}, "has another password, also for iqn.y"),
        ({"tgt": {"size": "1GiB"}}, {"sessions": ("iqn.x",)}, "iqn.x is logged in; stop its VM, or set tgt:"),
        ({"tgt": {"serial": "new"}}, {"sessions": ("iqn.x",)}, "to change serial of"),
        ({"state": "absent"}, {"sessions": ("iqn.x", "iqn.x")}, ": iqn.x is logged in; .* to remove target"),
        ({"state": "absent"}, {"sessions": ("iqn.x",), "other_luns": (2,)}, "to remove LUN 1"),
    ],
)
def test_refused(declared: dict[str, Any], observed: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        plan(desired(**declared), {**MADE, **observed})


@pytest.mark.parametrize(
    "declared, message",
    [
        ({"format": "qcow2"}, "disk: tgt: is for the storage host, and format is for a hypervisor"),
        ({"luks": {"passphrase": "x"}}, "luks is for a hypervisor"),
        ({"password": "a b"}, "disk: password: its text has a character"),
        ({"password": "$(x)"}, "disk: password: its text has a character"),
        ({"lun": 0}, "disk: lun: 0 is the controller"),
        ({"tgt": {"store": "/srv/a b"}}, "store: '/srv/a b' has a character"),
    ],
)
def test_bad_input(declared: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError, match=message) as caught:
        desired(**declared)
    assert "$(x)" not in str(caught.value)


def test_serial_numbers_follow_from_names() -> None:
    one, other = lun_of(desired()), lun_of(desired(lun=2))
    assert one.serial != other.serial
    assert len(one.serial) == 16
    assert lun_of(desired({"serial": "abc"})).serial == "abc"
