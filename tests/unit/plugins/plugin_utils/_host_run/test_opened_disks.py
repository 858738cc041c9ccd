# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks that are only opened are looked at before a VM opens them, also if it runs already."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import Changes
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import opened_disks, run
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.run_options import read_run_options
from ansible_collections.directdisk.qemu.tests.unit.support import plan

QCOW2 = b"QFI\xfb".ljust(512, b"\0").hex()


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        (Changes(start=["web1"]), True),
        (Changes(restart=["web1"]), True),
        (Changes(attach=[("web1", "data")]), True),
        (Changes(insert=[("web1", "data")]), True),
        (Changes(attach=[("web1", "root")]), False),
        (Changes(), False),
    ],
    ids=["starts", "restarts", "is given the disk", "is given the medium", "is given another disk", "runs on"],
)
def test_an_image_that_is_declared_raw_is_not_opened(changes: Changes, refused: bool) -> None:
    one = plan({"disks": {"root": {"nbd": {"host": "192.0.2.5"}}, "data": {"nbd": {"host": "192.0.2.6"}}}})
    observed: Any = {"heads": {"data of web1": QCOW2}, "not_read": {}}
    found = opened_disks.other_images([one], changes, observed)
    assert list(found) == (["web1"] if refused else [])
    if refused:
        assert "disk data of web1: nbd 192.0.2.6:10809/: it is a qcow2 image, and raw is declared" in found["web1"][0]


BACKED = b"QFI\xfb" + (3).to_bytes(4, "big") + (200).to_bytes(8, "big") + (4).to_bytes(4, "big")
EXTERNAL = b"QFI\xfb" + (3).to_bytes(4, "big") + bytes(64) + (4).to_bytes(8, "big")


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (BACKED.ljust(200, b"\0") + b"/a/b", "it stands on /a/b, as its header says; flatten it, or declare that as"),
        (EXTERNAL.ljust(300, b"\0"), "its data is in another file, as its header says; such an image is not opened"),
        (b"QFI\xfb".ljust(512, b"\0"), ""),
    ],
    ids=["backing file", "data file", "stands alone"],
)
@pytest.mark.parametrize("changes", [Changes(attach=[("web1", "data")]), Changes(start=["web1"])])
def test_a_running_vm_is_not_given_a_qcow2_that_names_other_files(head: bytes, words: str, changes: Changes) -> None:
    """The start of a VM compares what QEMU has opened, and says the same."""
    data = {"nbd": {"host": "192.0.2.6"}, "format": "qcow2"}
    one = plan({"disks": {"root": {"nbd": {"host": "192.0.2.5"}}, "data": data}})
    observed: Any = {"heads": {"data of web1": head.hex()}, "not_read": {}}
    found = opened_disks.other_images([one], changes, observed)
    assert [words in line for line in found.get("web1", ())] == ([True] if words and changes.attach else [])


def test_bytes_that_are_declared_raw_may_be_those_of_any_image() -> None:
    data = {"nbd": {"host": "192.0.2.6"}, "raw_content": True}
    one = plan({"disks": {"root": {"nbd": {"host": "192.0.2.5"}}, "data": data}})
    observed: Any = {"heads": {"data of web1": BACKED.ljust(512, b"\0").hex()}, "not_read": {}}
    assert opened_disks.other_images([one], Changes(attach=[("web1", "data")]), observed) == {}


def test_the_first_bytes_of_all_files_that_are_only_opened_are_read() -> None:
    disks = {name: {"file": {"path": f"/srv/{name}"}, "format": name, "writes": "deny"} for name in ("raw", "qcow2")}
    kept = {"file": {"path": "/srv/kept"}, "format": "raw", "size": "1MiB", "writes": "keep"}
    vm = plan({"disks": {**disks, "kept": kept}}).vm
    assert opened_disks.paths_of_heads([vm]) == ["/srv/qcow2", "/srv/raw"]


@pytest.mark.parametrize(
    ("changes", "refused"),
    [(Changes(attach=[("web1", "data")]), True), (Changes(attach=[("web1", "root")]), False), (Changes(), False)],
)
def test_a_running_vm_is_not_given_a_disk_whose_storage_does_not_answer(changes: Changes, refused: bool) -> None:
    one = plan({"disks": {"root": {"nbd": {"host": "192.0.2.5"}}, "data": {"nbd": {"host": "192.0.2.6"}}}})
    observed: Any = {"heads": {}, "not_read": {"data of web1": "nbd 192.0.2.6:10809/: it does not answer"}}
    found = opened_disks.without_answer([one], changes, observed)
    assert list(found) == (["web1"] if refused else [])
    if refused:
        assert found["web1"] == [
            "disk data of web1: it is not attached, because it cannot be opened now, and the running VM would halt "
            "until it is (nbd 192.0.2.6:10809/: it does not answer); the VM is left as it is"
        ]


def test_a_medium_whose_storage_does_not_answer_is_not_inserted() -> None:
    cd = {"nbd": {"host": "192.0.2.6"}, "model": "cdrom"}
    one = plan({"disks": {"root": {"nbd": {"host": "192.0.2.5"}}, "cd0": cd}})
    observed: Any = {"heads": {}, "not_read": {"cd0 of web1": "it does not answer"}}
    changes = Changes(eject=[("web1", "cd0")], insert=[("web1", "cd0")])
    (line,) = opened_disks.without_answer([one], changes, observed)["web1"]
    assert line.startswith("disk cd0 of web1: it is not inserted, because it cannot be opened now")


@pytest.mark.parametrize("problem", ["it does not answer", ""])
def test_a_run_leaves_such_a_vm_alone(monkeypatch: pytest.MonkeyPatch, problem: str) -> None:
    one = plan({"disks": {"root": {"nbd": {"host": "192.0.2.5"}}, "data": {"nbd": {"host": "192.0.2.6"}}}})
    observed: Any = {"files": {}, "units": {}, "heads": {}, "not_read": {"data of web1": problem} if problem else {}}
    monkeypatch.setattr(
        run, "decide", lambda desired, _observed: Changes(attach=[(vm, "data") for vm in desired["vms"]])
    )
    found = run.Run("hv1", [one], observed, read_run_options({}), encrypted=False)
    assert found.left_alone == ({"web1"} if problem else set())
    assert found.changes.attach == ([] if problem else [("web1", "data")])
