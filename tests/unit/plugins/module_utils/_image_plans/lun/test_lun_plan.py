# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done to a LUN, from how it was found and how it is desired."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import read_image
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import (
    DesiredImage,
    ImagePlan,
    Step,
    result_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.kinds import read_desired
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.lun import kind
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.lun.observed import Device, ObservedLun
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.volume import content
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.volume.changes import (
    ImportSource,
    WriteFormat,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun import observe

MIB = 2**20
LUN = {"portal": "192.0.2.9", "target": "iqn.2026-01.example:web1", "lun": 1}
NAME = "iscsi 192.0.2.9:3260/iqn.2026-01.example:web1/1"
SOURCE = {"https": {"url": "https://images.example/a.raw"}}
SEEN: dict[str, Any] = {
    "exists": True,
    "portal": "192.0.2.9:3260",
    "luns": (0, 1),
    "device": Device(type="disk", capacity=64 * MIB, read_only=False, serial="abc"),
    "size": 64 * MIB,
    "format": "raw",
    "encrypted": False,
    "content": "blank",
}
QCOW2 = {"format": "qcow2", "size": 8 * MIB, "content": "data"}
LUKS = {"luks": {"passphrase": "p"}}
RUNNING = {"monitor": "/run/qmp", "node": "root"}


def desired(declared: dict[str, Any], state: str = "present", **running: str) -> DesiredImage:
    return read_desired(read_image("disk", {"iscsi": LUN, **declared}, "disk"), "disk", state=state, **running)


def plan(declared: dict[str, Any], observed: dict[str, Any], state: str = "present", **running: str) -> ImagePlan:
    return kind.KIND.plan(desired(declared, state, **running), ObservedLun(**{**SEEN, **observed}))


def done(image_plan: ImagePlan) -> list[str]:
    return [step.description.replace(NAME, "LUN") for step in image_plan.steps]


@pytest.mark.parametrize(
    "declared, observed, steps, after",
    [
        ({}, {}, [], {"content": "blank"}),
        ({}, {"content": "data"}, [], {"content": "data"}),
        (
            {"format": "qcow2", "size": "8MiB"},
            {},
            ["write qcow2 of 8 MiB on LUN"],
            {"format": "qcow2", "encrypted": False, "size": 8 * MIB, "content": "data"},
        ),
        (LUKS, {}, ["write luks of 63516 KiB on LUN"], {"format": "raw", "encrypted": True, "size": 65040384}),
        (
            {**LUKS, "format": "qcow2", "size": "8MiB"},
            {"content": "unfinished"},
            ["write qcow2 with luks of 8 MiB on LUN"],
            {"format": "qcow2", "encrypted": True},
        ),
        ({"format": "qcow2", "size": "8MiB"}, QCOW2, [], QCOW2),
        ({"format": "qcow2"}, QCOW2, [], QCOW2),
        (
            {"format": "qcow2", "size": "9MiB"},
            QCOW2,
            ["grow LUN from 8 MiB to 9 MiB"],
            {**QCOW2, "size": 9 * MIB},
        ),
        ({"source": SOURCE}, {"content": "data"}, [], {"content": "data"}),
        (
            {"source": SOURCE},
            {"source_size": MIB},
            ["import https https://images.example/a.raw into LUN"],
            {"content": "data", "size": 64 * MIB},
        ),
        (
            {"source": SOURCE},
            {"source_size": MIB, "content": "unfinished"},
            ["finish the import of https https://images.example/a.raw into LUN"],
            {"content": "data"},
        ),
        (
            {"format": "qcow2", "source": SOURCE},
            {"source_size": MIB},
            ["write qcow2 of 1 MiB on LUN", "import https https://images.example/a.raw into LUN"],
            {"format": "qcow2", "size": MIB, "content": "data"},
        ),
        (
            {"format": "qcow2", "source": SOURCE, "size": "2MiB"},
            {**QCOW2, "size": MIB, "content": "blank", "source_size": MIB},
            ["import https https://images.example/a.raw into LUN", "grow LUN from 1 MiB to 2 MiB"],
            {"format": "qcow2", "size": 2 * MIB, "content": "data"},
        ),
        (
            {"source": SOURCE},
            {"source_size": MIB, "content": "data", "may_be_overwritten": True},
            ["overwrite the data and import https https://images.example/a.raw into LUN"],
            {"content": "data"},
        ),
        (
            {"format": "qcow2", "size": "1MiB"},
            {"content": "data", "fingerprint": "f" * 16, "may_be_overwritten": True},
            ["overwrite the data and write qcow2 of 1 MiB on LUN"],
            {"content": "data", "format": "qcow2"},
        ),
    ],
)
def test_steps_and_what_they_lead_to(
    declared: dict[str, Any], observed: dict[str, Any], steps: list[str], after: dict[str, Any]
) -> None:
    image_plan = plan(declared, observed)
    assert done(image_plan) == steps
    result = result_of(image_plan.after)
    assert result.items() >= after.items()
    assert "fingerprint" not in result
    assert not image_plan.warnings


@pytest.mark.parametrize(
    ("declared", "wiped"),
    [({"source": SOURCE}, [True]), ({"format": "qcow2", "source": SOURCE}, [True, False])],
)
def test_old_tables_are_wiped_once_where_data_is_overwritten(declared: dict[str, Any], wiped: list[bool]) -> None:
    ends = content.ends(64 * MIB)
    steps = plan(declared, {"content": "data", "may_be_overwritten": True, "source_size": MIB}).steps
    assert wiped_by(steps) == [ends if one else () for one in wiped]
    assert wiped_by(plan({"source": SOURCE}, {"source_size": MIB}).steps) == [()]


def wiped_by(steps: Sequence[Step]) -> list[tuple[tuple[int, int], ...]]:
    assert all(isinstance(step.change, (WriteFormat, ImportSource)) for step in steps)
    return [step.change.wipe for step in steps if isinstance(step.change, (WriteFormat, ImportSource))]


@pytest.mark.parametrize(
    "declared, observed, message",
    [
        ({}, {"exists": False}, r"has no such LUN \(it has: 0, 1\); correct lun"),
        ({}, {"device": Device("controller")}, r"is a controller, not a disk \(there are: LUN 0\)"),
        (
            {"format": "qcow2", "size": "1MiB"},
            {"device": Device("disk", capacity=64 * MIB, read_only=True)},
            "exports it read-only",
        ),
        ({"format": "qcow2"}, {}, "size: is required"),
        ({"format": "qcow2", "size": "64MiB"}, {}, "a qcow2 of 65536 KiB takes up to"),
        ({"format": "qcow2", "size": "64MiB"}, QCOW2, "a qcow2 of 65536 KiB takes up to"),
        (LUKS, {"device": Device("disk", capacity=MIB)}, "has 1048576 bytes, too few for luks"),
        (
            LUKS,
            {"content": "data", "fingerprint": "a" * 16},
            "has data that is not luks; to lose it, set overwrite: aaaaaaaaaaaaaaaa",
        ),
        (
            {"format": "qcow2", "size": "1MiB"},
            {"content": "data", "encrypted": True, "fingerprint": "a" * 16, "may_be_overwritten": False},
            "has data that is not qcow2 but luks; to lose it",
        ),
        (
            {"source": SOURCE},
            {"source_size": 65 * MIB},
            "source: has 65 MiB, and iscsi .* has room for 64 MiB",
        ),
    ],
)
def test_refused(declared: dict[str, Any], observed: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        plan(declared, observed)


def test_a_running_vm_only_grows() -> None:
    image_plan = plan({}, {"size": 32 * MIB, "header": 0}, **RUNNING)
    assert done(image_plan) == ["grow LUN from 32 MiB to 64 MiB"]
    assert image_plan.after.size == 64 * MIB
    assert not plan({}, {"content": "data", "header": 0}, **RUNNING).steps
    assert not plan(LUKS, {"encrypted": True, "content": "data", "size": 63 * MIB, "header": MIB}, **RUNNING).steps
    for declared in ({"source": SOURCE}, {"format": "qcow2", "size": "1MiB"}):
        with pytest.raises(DeclarationError, match="a running VM has it open; stop the VM"):
            plan(declared, {"header": 0}, **RUNNING)


def test_a_qcow2_is_never_shrunk() -> None:
    image_plan = plan({"format": "qcow2", "size": "1MiB"}, QCOW2)
    assert not image_plan.steps
    assert image_plan.warnings == (f"{NAME} has 8 MiB; it is never shrunk to 1 MiB",)


def test_an_interrupted_import_without_its_source_is_said() -> None:
    image_plan = plan({}, {"content": "unfinished"})
    assert not image_plan.steps
    assert "was interrupted" in image_plan.warnings[0]


def test_an_initiator_cannot_remove_a_lun() -> None:
    assert not plan({}, {"exists": False}, "absent").steps
    with pytest.raises(DeclarationError, match="an initiator cannot remove a LUN; set tgt"):
        plan({}, {}, "absent")


@pytest.mark.parametrize(
    "expect, message",
    [
        ({"size": "1GiB"}, "has 64 MiB, and exactly 1024 MiB are expected"),
        ({"minimum_size": "1GiB"}, "has 64 MiB, and at least 1024 MiB are expected"),
        ({"serial": "x"}, "has the serial number 'abc', and 'x' is expected"),
    ],
)
def test_another_lun_than_the_expected_one(expect: dict[str, str], message: str) -> None:
    found = desired({"provision": {"expect": expect}})
    with pytest.raises(DeclarationError, match=message):
        observe.assert_expected(found.disk, found.provision["expect"], ObservedLun(**SEEN))


def test_the_expected_lun() -> None:
    found = desired({"provision": {"expect": {"size": "64MiB", "minimum_size": "1MiB", "serial": "abc"}}})
    observe.assert_expected(found.disk, found.provision["expect"], ObservedLun(**SEEN))


@pytest.mark.parametrize(
    "declared, running, message",
    [
        ({"provision": {"portals": ["a:b"]}}, {}, "disk: portals: 'a:b' is not a host"),
        ({**LUKS, "size": "1MiB"}, {}, "disk: size: luks takes the whole LUN"),
        ({"source": {"iscsi": {**LUN, "portal": "other"}}}, {}, "disk: source: is the disk itself"),
        ({}, {"monitor": "/run/qmp"}, "disk: node: is required"),
        ({"provision": {"overwrite": "yes"}}, {}, "is not a fingerprint"),
    ],
)
def test_bad_input(declared: dict[str, Any], running: dict[str, str], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        desired(declared, **running)
