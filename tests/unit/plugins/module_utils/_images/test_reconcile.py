# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One disk and many: what is looked at, planned, applied and reported, whatever the lifecycle."""

from __future__ import annotations

import inspect
import os
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import read_image
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import (
    DeclarationError,
    DirectDiskError,
    HostError,
    MadeMeanwhileError,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import (
    Change,
    DesiredImage,
    ImageKind,
    ImagePlan,
    ObservedImage,
    Step,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.entries import read_entries
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.kinds import KINDS, read_desired
from ansible_collections.directdisk.qemu.plugins.module_utils._images import batch as images_batch
from ansible_collections.directdisk.qemu.plugins.module_utils._images import reconcile
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lifecycle import Lifecycle
from ansible_collections.directdisk.qemu.plugins.module_utils._images.registry import LIFECYCLES
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import decode, encode
from ansible_collections.directdisk.qemu.plugins.module_utils._process import requester
from ansible_collections.directdisk.qemu.tests.unit.support import capabilities

GIB = 1024**3


@dataclass(frozen=True)
class Create(Change):
    size: int


class Break(Create):
    pass


class Storage:
    """A test double of a kind of storage: images by the paths of their files."""

    def __init__(self, **images: int) -> None:
        self.images: dict[str, int] = {f"/{name}": size for name, size in images.items()}
        self.events: list[str] = []
        self.threads: set[int] = set()

    def lifecycle(self) -> Lifecycle:
        kind = ImageKind("image", (Option("owner", "who owns it"),), self.check, self.plan)
        return Lifecycle(kind, self.observe, actions={Create: self.create, Break: self.fail})

    def put_in_place(self, monkeypatch: pytest.MonkeyPatch) -> None:
        lifecycle = self.lifecycle()
        monkeypatch.setitem(KINDS, "image", lifecycle.kind)
        monkeypatch.setitem(LIFECYCLES, "image", lifecycle)

    def check(self, desired: DesiredImage) -> None:
        if desired.size == 1:
            raise DeclarationError("size", "is too small")

    def observe(self, desired: DesiredImage, bench: Workbench) -> ObservedImage:
        path = desired.disk.source["filename"]
        self.events.append(f"look {path}")
        self.threads.add(threading.get_ident())
        if path == "/broken":
            raise HostError("it does not answer\nnot at all")
        if path == "/bug":
            raise KeyError("nobody thought of it")
        size = self.images.get(path)
        return ObservedImage(size is not None, size, "raw" if size is not None else None)

    def plan(self, desired: DesiredImage, observed: ObservedImage) -> ImagePlan:
        if observed.exists:
            if desired.size and desired.size < (observed.size or 0):
                raise DeclarationError("size", "it is never shrunk")
            return ImagePlan(observed, warnings=("it is old",))
        after = ObservedImage(True, desired.size, "raw")
        kind = Break if desired.provision.get("owner") == "nobody" else Create
        return ImagePlan(after, (Step(kind(desired.size or 0), f"create {desired.disk.described}"),))

    def create(self, desired: DesiredImage, change: Create, bench: Workbench) -> None:
        self.images[desired.disk.source["filename"]] = change.size

    def fail(self, desired: DesiredImage, change: Create, bench: Workbench) -> None:
        raise HostError("its storage is full")


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Storage:
    made = Storage(there=GIB)
    made.put_in_place(monkeypatch)
    return made


def disk(path: str, **settings: Any) -> dict[str, Any]:
    return {"file": {"filename": f"/{path}"}, **settings}


def run(given: dict[str, Any], *, state: str = "present", check_mode: bool = False) -> dict[str, Any]:
    desired = read_desired(read_image("disk", given, "disk"), "disk", state=state)
    with Workbench(capabilities()) as bench:
        return reconcile.reconcile(LIFECYCLES[desired.kind.name], desired, bench, check_mode=check_mode)


def batch(
    given: Any, *, check_mode: bool = False, workers: int = 2, lacking: dict[str, DirectDiskError] | None = None
) -> list[dict[str, Any]]:
    entries = read_entries(given)
    return images_batch.reconcile_all(
        entries, capabilities(), workers=workers, open_timeout=5, check_mode=check_mode, lacking=lacking or {}
    )


def test_no_disk_begins_after_the_controller_is_gone(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lease = tmp_path / "lease"
    lease.touch()
    monkeypatch.setattr(requester, "_lease", requester._Lease(str(lease)))
    os.utime(lease, (time.time() - requester.RECENT - 1,) * 2)
    monkeypatch.setattr(requester, "LEASE", requester.RECENT)
    (done,) = batch([disk("new", size="1GiB")])
    assert "the run that asked for this has ended" in done["msg"]
    assert storage.events == []


def test_what_is_missing_is_made_and_looked_at_again(storage: Storage) -> None:
    done = run(disk("new", size="1GiB"))
    assert storage.images["/new"] == GIB
    assert storage.events == ["look /new", "look /new"]
    nodes = done.pop("blockdev")
    assert [node["node-name"] for node in nodes] == ["disk.storage", "disk.format"]
    assert done == {
        "changed": True,
        "actions": ["create file /new"],
        "warnings": [],
        "before": {"exists": False},
        "after": {"exists": True, "size": GIB, "format": "raw"},
        "state": "present",
        "size": GIB,
        "format": "raw",
    }


def test_check_mode_says_the_same_and_changes_nothing(storage: Storage) -> None:
    foreseen = run(disk("new", size="1GiB"), check_mode=True)
    assert storage.images == {"/there": GIB}
    assert foreseen == run(disk("new", size="1GiB"))


def test_a_look_plans_nothing(storage: Storage) -> None:
    done = run(disk("there", size="1MiB"), state="info")
    assert (done["changed"], done["state"], done["size"]) == (False, "present", GIB)
    done = run(disk("none"), state="info")
    assert (done["changed"], done["state"], done["size"]) == (False, "absent", None)


def test_an_option_of_the_lifecycle_is_read_by_its_table(storage: Storage) -> None:
    with pytest.raises(DeclarationError) as raised:
        run(disk("new", size="1GiB", provision={"ownr": "x"}))
    assert str(raised.value) == "disk: provision: unknown option 'ownr' (did you mean 'owner'?)"


def test_what_no_host_could_do_is_refused_with_its_place(storage: Storage) -> None:
    with pytest.raises(DeclarationError, match=r"^disk: size: is too small$"):
        run(disk("new", size=1))


def test_every_disk_has_its_result_in_the_order_in_which_it_was_given(storage: Storage) -> None:
    names = [f"disk{number}" for number in range(9)]
    results = batch([disk(name, size="1GiB") for name in names], workers=3)
    assert [result["name"] for result in results] == [f"file /{name}" for name in names]
    assert all(result["changed"] for result in results)
    assert len(storage.threads) <= 3
    assert not any(result["changed"] for result in batch([disk(name, size="1GiB") for name in names]))


def test_a_disk_that_fails_leaves_the_others_alone(storage: Storage) -> None:
    results = batch(
        {
            "a": disk("broken", size="1GiB"),
            "b": disk("there", size="1MiB"),
            "c": disk("bug"),
            "d": disk("full", size="1GiB", provision={"owner": "nobody"}),
            "e": disk("new", size="1GiB"),
        }
    )
    assert [(result["name"], result.get("refused"), result.get("msg")) for result in results] == [
        ("a", False, "disk a: file /broken: it does not answer not at all"),
        ("b", True, "disk b: file /there: size: it is never shrunk"),
        ("c", False, "disk c: KeyError: 'nobody thought of it'"),
        ("d", False, "disk d: file /full: its storage is full"),
        ("e", None, None),
    ]
    assert storage.images["/new"] == GIB


def test_an_unexpected_error_keeps_its_traceback(storage: Storage) -> None:
    bug, broken = batch({"a": disk("bug"), "b": disk("broken")})
    assert bug["exception"].startswith("Traceback (most recent call last):\n")
    assert "in observe\n" in bug["exception"]
    assert bug["exception"].endswith("KeyError: 'nobody thought of it'\n")
    assert "exception" not in broken


def test_a_disk_without_a_name_is_called_by_its_storage_and_that_once(storage: Storage) -> None:
    assert batch([disk("broken", size="1GiB")])[0]["msg"] == "disk file /broken: it does not answer not at all"
    assert batch([disk("there", name="mine")])[0]["name"] == "mine"


def test_what_a_host_lacks_for_a_backend_fails_its_disks_alone(storage: Storage) -> None:
    results = batch([disk("there"), {"nbd": {"host": "h"}}], lacking={"nbd": HostError("nbd: there are no bindings")})
    assert [result.get("msg") for result in results] == [None, "disk nbd h:10809/: nbd: there are no bindings"]
    assert [result.get("refused") for result in results] == [None, True]


def test_options_of_vms_have_no_effect(storage: Storage) -> None:
    assert batch([disk("there", cache="none", iops={"total": 5}, serial="x", writes="overlay")])[0]["changed"] is False


def test_check_mode_is_for_all_disks(storage: Storage) -> None:
    assert batch([disk("new", size="1GiB")], check_mode=True)[0]["changed"] is True
    assert storage.images == {"/there": GIB}


def test_the_result_of_a_lifecycle_that_warns(storage: Storage) -> None:
    assert batch([disk("there")])[0]["warnings"] == ["it is old"]


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        (5, ["disks: is neither a list of disks nor a mapping of names to disks"]),
        ([5], ["disk 1: is not a mapping with a backend's key and options"]),
        (
            [disk("a"), disk("b", sise=1), disk("c", state="gone")],
            [
                "disk 2: unknown option 'sise' (did you mean 'size'?)",
                "disk 3: state: 'gone' is not one of present, absent",
            ],
        ),
        (
            {"x": disk("a"), "y": {"uri": "file:/a"}},
            ["disk y: is the same storage as disk x, and one of them changes it (file /a)"],
        ),
        ([disk("a", size=1, name="mine")], ["disk mine: size: is too small"]),
    ],
)
def test_a_run_is_refused_with_every_error_in_it(storage: Storage, given: Any, lines: list[str]) -> None:
    with pytest.raises(DirectDiskError) as raised:
        read_entries(given)
    assert [line[: len(desired)] for line, desired in zip(str(raised.value).split("\n"), lines)] == lines
    assert storage.events == []


def test_the_vm_that_has_a_disk_open_is_told_to_the_lifecycle(storage: Storage) -> None:
    (entry,) = read_entries({"a": disk("a", monitor="/run/qmp.sock", node="root.format")})
    assert (entry.desired.monitor, entry.desired.node) == ("/run/qmp.sock", "root.format")


def test_a_request_survives_its_way() -> None:
    request = {"disks": [disk("ä", luks={"passphrase": "geheim"})]}
    assert decode(encode(request)) == request
    assert "geheim" not in encode(request)


def test_what_another_host_made_meanwhile_is_observed_again_and_taken(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create(self: Storage, desired: DesiredImage, change: Create, bench: Workbench) -> None:
        self.images[desired.disk.source["filename"]] = GIB
        raise MadeMeanwhileError(desired.disk.described)

    monkeypatch.setattr(Storage, "create", create)
    storage.put_in_place(monkeypatch)
    done = run(disk("new", size="1GiB"))
    assert (done["changed"], done["actions"], done["state"]) == (False, [], "present")


def test_an_image_that_another_host_made_and_that_is_not_there_is_an_error(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create(self: Storage, desired: DesiredImage, change: Create, bench: Workbench) -> None:
        raise MadeMeanwhileError(desired.disk.described)

    monkeypatch.setattr(Storage, "create", create)
    storage.put_in_place(monkeypatch)
    with pytest.raises(MadeMeanwhileError, match="run this again"):
        run(disk("new", size="1GiB"))


def test_an_image_that_is_gone_after_it_was_made_is_an_error(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Storage, "create", lambda *_: None)
    storage.put_in_place(monkeypatch)
    with pytest.raises(HostError, match="it was made, and does not exist any more"):
        run(disk("new", size="1GiB"))


def test_a_step_that_destroys_data_is_marked() -> None:
    assert Step(Change(), "remove it", destroys=True).line == "DESTROYS DATA: remove it"
    assert Step(Change(), "make it").line == "make it"


def test_every_change_is_applied_by_a_function_that_takes_it() -> None:
    for lifecycle in LIFECYCLES.values():
        for change, action in lifecycle.actions.items():
            (_desired, parameter, _bench) = inspect.signature(action).parameters.values()
            (name,) = re.findall(r"\w+$", str(parameter.annotation))
            assert name in (change.__name__, "Change")
