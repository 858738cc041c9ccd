# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done about an image, from how it was found and how it is desired."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import read_image
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import (
    DesiredImage,
    ImagePlan,
    ObservedImage,
    result_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.image.file_storage import FILE_STORAGE
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.image.observed import (
    ObservedFile,
    ObservedReadonly,
    ObservedVolume,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.kinds import read_desired
from ansible_collections.directdisk.qemu.tests.unit.support import SSH

MIB = 2**20
FILE = {"file": {"path": "/srv/a.img"}}
NFS = {"nfs": {"host": "192.0.2.7", "path": "/export/a"}}
DEVICE = {"host_device": {"path": "/dev/sdb"}}
HTTP = {"http": {"url": "http://images.example/a"}}
SOURCE = {"source": {"https": {"url": "https://images.example/a.raw"}}}
LUKS = {"luks": {"passphrase": "p"}}
QCOW2 = {"format": "qcow2"}
STAGED = {**HTTP, "route": "stage"}
RUNNING = {"monitor": "/run/qmp", "node": "root.format"}

State = dict[str, Any]
MISSING: State = {"exists": False, "opened_by": (), "folder": "directory"}
THERE: State = {"exists": True, "size": 8 * MIB, "format": "raw", "encrypted": False, "opened_by": ()}
USED = {**THERE, "opened_by": ("web1",)}
OTHER = {**THERE, "problem": "it is declared as qcow2, but it is not a qcow2", "folder": "directory"}
BLANK = {**THERE, "content": "blank", "capacity": 8 * MIB, "source_size": MIB}
COPY = {**THERE, "staged": True, "stale": False, "uses_copy": True}


def plan(declared: dict[str, Any], observed: State) -> ImagePlan:
    """provision: and what a module takes beside the disk stand in what is declared."""
    told = dict(declared)
    state, monitor, node = told.pop("state", "present"), told.pop("monitor", ""), told.pop("node", "")
    desired = read_desired(read_image("disk", told, "disk"), "disk", state=state, monitor=monitor, node=node)
    return desired.kind.plan(desired, state_of(desired, observed))


def state_of(desired: DesiredImage, observed: State) -> ObservedImage:
    """The observed state, of the kind of the disk's storage; fields of other kinds are left out."""
    backend = desired.disk.backend
    kind = (
        ObservedReadonly
        if not backend.source.writable
        else ObservedFile
        if backend.name in FILE_STORAGE
        else ObservedVolume
    )
    known = {entry.name for entry in fields(kind)}
    return kind(**{name: value for name, value in observed.items() if name in known})


@pytest.mark.parametrize(
    "declared, observed, steps, after",
    [
        ({**FILE, "size": "8MiB"}, MISSING, ["create file /srv/a.img as raw of 8 MiB"], {"size": 8 * MIB}),
        (
            {**FILE, **SOURCE},
            {**MISSING, "source_size": MIB},
            ["create file /srv/a.img as raw of 1 MiB, a copy of https https://images.example/a.raw"],
            {"size": MIB, "format": "raw", "encrypted": False},
        ),
        (
            {**NFS, **QCOW2, **LUKS, "size": "8MiB", "provision": {"cluster_size": "4KiB", "check": True}},
            MISSING,
            ["create nfs 192.0.2.7:/export/a as qcow2 of 8 MiB"],
            {"encrypted": True, "cluster_size": 4096, "backing": "", "errors": 0, "leaks": 0},
        ),
        (
            {**NFS, "size": "8MiB", "provision": {"sha256": "0" * 64}},
            {**MISSING, "unfinished": "/export/a.unfinished-1"},
            [
                "remove /export/a.unfinished-1, which an interrupted run left",
                "create nfs 192.0.2.7:/export/a as raw of 8 MiB",
            ],
            {"sha256": "0" * 64},
        ),
        ({**FILE, "size": "8MiB"}, THERE, [], THERE),
        ({**FILE, **SOURCE}, THERE, [], THERE),
        ({**FILE, "size": "9MiB"}, THERE, ["grow file /srv/a.img to 9 MiB"], {"size": 9 * MIB}),
        ({**FILE, "size": "9MiB", **RUNNING}, USED, ["grow file /srv/a.img to 9 MiB"], {"size": 9 * MIB}),
        (
            {**FILE, "size": "4MiB", "provision": {"allow_shrink": True}},
            THERE,
            ["shrink file /srv/a.img to 4 MiB"],
            {"size": 4 * MIB},
        ),
        (
            {**FILE, **QCOW2, "size": "8MiB", "provision": {"overwrite": True}},
            OTHER,
            ["overwrite file /srv/a.img as qcow2 of 8 MiB"],
            {"format": "qcow2"},
        ),
        ({**FILE, "state": "absent"}, {**THERE}, ["remove file /srv/a.img"], {"exists": False}),
        (
            {**FILE, "state": "absent", "provision": {"force": True}},
            {**USED},
            ["remove file /srv/a.img"],
            {"exists": False, "opened_by": ("web1",)},
        ),
        ({**FILE, "state": "absent"}, MISSING, [], {"exists": False}),
        (DEVICE, BLANK, [], {"content": "blank"}),
        (
            {**DEVICE, **SOURCE},
            BLANK,
            ["import https https://images.example/a.raw into host_device /dev/sdb"],
            {"content": "data", "size": 8 * MIB},
        ),
        (
            {**DEVICE, **SOURCE},
            {**BLANK, "content": "unfinished"},
            ["finish the import of https https://images.example/a.raw into host_device /dev/sdb"],
            {"content": "data"},
        ),
        ({**DEVICE, **SOURCE}, {**BLANK, "content": "data"}, [], {"content": "data"}),
        (
            {**DEVICE, **QCOW2, **SOURCE},
            {**BLANK, "needs_format": True},
            [
                "write qcow2 of 1 MiB on host_device /dev/sdb",
                "import https https://images.example/a.raw into host_device /dev/sdb",
            ],
            {"format": "qcow2", "size": MIB},
        ),
        (
            {**DEVICE, **LUKS},
            {**BLANK, "needs_format": True},
            ["write luks of 6172 KiB on host_device /dev/sdb"],
            {"encrypted": True, "size": 6320128},
        ),
        (HTTP, THERE, [], THERE),
        (
            STAGED,
            {**COPY, "staged": False},
            ["fetch http http://images.example/a into this host's cache"],
            {"staged": True, "stale": False},
        ),
        (STAGED, COPY, [], {"staged": True}),
        (STAGED, {**COPY, "stale": True}, [], {"stale": True}),
        (
            {**STAGED, "provision": {"refresh": True}},
            {**COPY, "stale": True},
            ["fetch http http://images.example/a again into this host's cache"],
            {"stale": False},
        ),
        ({**STAGED, "provision": {"refresh": True}}, COPY, [], {"staged": True}),
        (
            {**STAGED, "state": "absent"},
            {"exists": True, "staged": True, "opened_by": []},
            ["remove the copy of http http://images.example/a"],
            {"exists": False, "staged": False},
        ),
    ],
)
def test_what_is_done(declared: dict[str, Any], observed: State, steps: list[str], after: dict[str, Any]) -> None:
    image_plan = plan(declared, observed)
    assert [step.description for step in image_plan.steps] == steps
    expected = {name: list(value) if isinstance(value, tuple) else value for name, value in after.items()}
    assert result_of(image_plan.after).items() >= expected.items()


def test_a_copy_that_is_not_the_newest_is_told_of() -> None:
    (warning,) = plan(STAGED, {**COPY, "stale": True}).warnings
    assert warning.endswith("the server has another image than this host's copy; set refresh: true to fetch it")


@pytest.mark.parametrize(
    "declared, observed, message",
    [
        (FILE, MISSING, "size: is required for a new image without source"),
        (
            {**FILE, **SOURCE, "size": "1MiB"},
            {**MISSING, "source_size": 2 * MIB},
            "1 MiB is less than the 2 MiB of its source",
        ),
        ({**FILE, "size": "1MiB"}, {**MISSING, "folder": "missing"}, "the folder of the image does not exist"),
        (
            {**FILE, "size": "4MiB"},
            THERE,
            "it has 8 MiB, more than the 4 MiB declared; .* set allow_shrink: true",
        ),
        ({"ssh": SSH, "size": "4MiB", "provision": {"allow_shrink": True}}, THERE, "ssh cannot shrink an image"),
        ({**FILE, "size": "4MiB", "provision": {"allow_shrink": True}}, USED, "VM web1 .* it is not shrunk"),
        ({**FILE, "size": "9MiB"}, USED, "VM web1 has it open and must grow it itself; set monitor and node"),
        ({**FILE, "size": "9MiB", "provision": {"sha256": "0" * 64}}, THERE, "it would have another sha256"),
        (
            {**FILE, **QCOW2},
            OTHER,
            "it is not a qcow2; it was not changed: correct the declaration, or set overwrite: true",
        ),
        (
            {**FILE, **QCOW2, "provision": {"overwrite": True}},
            {**OTHER, "opened_by": ("web1",)},
            "it is not overwritten",
        ),
        ({**FILE, "state": "absent"}, USED, "VM web1 of this host has it open: it is not removed"),
        ({**DEVICE, **SOURCE}, {**BLANK, "in_use": "/dev/sdb"}, "this host itself uses /dev/sdb"),
        (
            {**DEVICE, **SOURCE},
            {**BLANK, "source_size": 9 * MIB},
            "has 9 MiB, and host_device /dev/sdb has room for 8 MiB",
        ),
        ({**DEVICE, **SOURCE}, {**BLANK, "opened_by": ("web1",)}, "it is not written to"),
        (
            {**DEVICE, **QCOW2, "size": "8MiB"},
            {**BLANK, "needs_format": True},
            "a qcow2 of 8192 KiB takes up to [0-9]+ KiB, and host_device /dev/sdb has 8192 KiB",
        ),
        (STAGED, {**COPY, "problem": "it has 1 bytes, and 2 are declared"}, "find out who changed the image"),
        ({**STAGED, "state": "absent"}, {"exists": True, "staged": True, "opened_by": ("web1",)}, "it is not removed"),
    ],
)
def test_what_is_not_done(declared: dict[str, Any], observed: State, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        plan(declared, observed)


@pytest.mark.parametrize(
    "declared, message",
    [
        ({**FILE, "size": 1000}, "size: 1000 is not a multiple of 512 bytes"),
        ({**FILE, "provision": {"lazy_refcounts": True}}, "lazy_refcounts: is for format qcow2"),
        ({**FILE, **QCOW2, "provision": {"cluster_size": 1000}}, "cluster_size: 1000 is not a power of 2"),
        (
            {**FILE, **QCOW2, **SOURCE, "provision": {"backing": {"file": "b", "format": "raw"}}},
            "backing: is set together with source",
        ),
        ({**NFS, "provision": {"preallocation": "full"}}, "preallocation: full is not for raw on nfs: off"),
        ({**NFS, "provision": {"etag": "a"}}, "etag: is for images behind a url"),
        ({**NFS, "provision": {"follow": ["https://a"]}}, "follow: is for images behind a url"),
        ({**HTTP, "provision": {"follow": ["a"]}}, "follow: 'a' is not scheme://host"),
        ({**HTTP, "provision": {"preallocation": "full"}}, "preallocation: http .* can only be read"),
        ({**HTTP, "provision": {"overwrite": True}}, "overwrite: http .* can only be read"),
        ({**HTTP, "state": "absent"}, "state: absent: .* cannot be removed; set route: stage"),
        (
            {"tftp": {"url": "tftp://a/b"}, "state": "absent"},
            "state: absent: .* cannot be removed; set route: stage",
        ),
        ({**HTTP, "size": 512}, "size: an image on http cannot be created or grown here"),
        ({**DEVICE, "state": "absent"}, "absent: only its server or host can remove a host_device disk"),
        ({**DEVICE, **QCOW2, "provision": {"cluster_size": 4096}}, "cluster_size: is for images that are files"),
    ],
)
def test_what_no_host_could_do(declared: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        plan(declared, MISSING)


@pytest.mark.parametrize("storage", [FILE, DEVICE, HTTP, STAGED])
def test_an_option_that_is_false_asks_for_nothing(storage: dict[str, Any]) -> None:
    provision = {"overwrite": False, "allow_shrink": False, "lazy_refcounts": False, "preallocation": "off"}
    desired = read_desired(read_image("disk", {**storage, "provision": provision}, "disk"), "disk")
    assert desired.provision.items() >= provision.items()


@pytest.mark.parametrize("option", [{"allow_shrink": True}, {"lazy_refcounts": True}, {"cluster_size": 4096}])
def test_what_is_only_read_takes_no_option_that_changes_it(option: dict[str, Any]) -> None:
    with pytest.raises(DeclarationError, match=r"http http://images\.example/a can only be read"):
        plan({**HTTP, "provision": option}, MISSING)


@pytest.mark.parametrize(
    "declared, observed",
    [
        ({**NFS, "state": "absent"}, {**THERE}),
        ({**NFS, **QCOW2, "size": "8MiB", "provision": {"overwrite": True}}, OTHER),
        ({**NFS, "size": "4MiB", "provision": {"allow_shrink": True}}, THERE),
        ({"nbd": {"host": "192.0.2.7"}, **QCOW2, "size": "1MiB", "provision": {"overwrite": True}}, OTHER),
    ],
)
def test_storage_that_cannot_tell_who_uses_it_is_left_alone_until_a_person_does(
    declared: dict[str, Any], observed: State
) -> None:
    observed = {**observed, "content": "data", "folder": "directory", "capacity": 8 * MIB}
    with pytest.raises(DeclarationError, match="cannot tell if a VM of another host has it open: it is not"):
        plan(declared, observed)
    for word in ("unused", "force"):
        (step,) = plan({**declared, "provision": {**declared.get("provision", {}), word: True}}, observed).steps
        assert step.destroys
    told = {**declared, "provision": {**declared.get("provision", {}), "unused": True}}
    with pytest.raises(DeclarationError, match="VM web1 of this host has it open"):
        plan(told, {**observed, "opened_by": ("web1",)})


def test_what_destroys_nothing_is_not_marked() -> None:
    for declared, observed in (({**FILE, "size": "9MiB"}, THERE), ({**FILE, "size": "8MiB"}, MISSING)):
        assert [step.destroys for step in plan(declared, observed).steps] == [False]


def test_data_between_the_samples_is_told_of() -> None:
    observed = {**BLANK, "content": "data", "data_at": 5557453}
    image_plan = plan({**DEVICE, **SOURCE}, observed)
    assert image_plan.steps == ()
    assert image_plan.warnings == (
        "host_device /dev/sdb: has data at byte 5557453, although its ends are blank; it was not changed",
    )


def test_how_a_disk_is_known_to_be_blank_is_said_of_disks_of_a_fixed_size() -> None:
    with pytest.raises(DeclarationError, match="blank_check: is for disks of a fixed size, not for nfs"):
        plan({**NFS, "size": "1MiB", "provision": {"blank_check": "sample"}}, MISSING)


def test_a_file_is_removed_under_the_vm_that_is_stopped_first_and_under_no_other() -> None:
    closing = read_desired(read_image("disk", FILE, "disk"), "disk", state="absent", closing="web1")
    removal = closing.kind.plan(closing, state_of(closing, USED))
    assert [step.line for step in removal.steps] == ["DESTROYS DATA: remove file /srv/a.img"]
    with pytest.raises(DeclarationError, match="VM web2 of this host has it open"):
        closing.kind.plan(closing, state_of(closing, {**USED, "opened_by": ("web1", "web2")}))
    with pytest.raises(DeclarationError, match="VM web1 of this host has it open"):
        plan({**FILE, "state": "absent"}, USED)
