# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""qemu_rbd_disk: its arguments and its answer; what it does to a cluster is tested against one."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import DesiredImage, ObservedImage
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.rbd.observed import (
    Layout,
    NewImage,
    ObservedRbd,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images import module
from ansible_collections.directdisk.qemu.plugins.module_utils._process import jobs
from ansible_collections.directdisk.qemu.plugins.modules import qemu_rbd_disk
from ansible_collections.directdisk.qemu.tests.unit.plugins.modules.module_run import run_module
from ansible_collections.directdisk.qemu.tests.unit.support import probed

WEB1 = {"pool": "vms", "image": "web1", "user": "qemu", "key": "QUFB", "monitors": ["192.0.2.1"]}
DEFAULTS = Layout(("layering",), 4194304, stripe_unit=0, stripe_count=0, data_pool="")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[DesiredImage]:
    """What is desired of a cluster in which there is nothing."""
    desired: list[DesiredImage] = []

    def observe(one: DesiredImage, bench: Any) -> ObservedImage:
        desired.append(one)
        return ObservedRbd(exists=False, new=NewImage(DEFAULTS))

    monkeypatch.setattr(qemu_rbd_disk, "LIFECYCLE", replace(qemu_rbd_disk.LIFECYCLE, observe=observe))
    monkeypatch.setattr(module, "probe", lambda: probed("debian13"))
    monkeypatch.setattr(module, "need_bindings", lambda backends, family: None)
    return desired


def test_check_mode_predicts_a_new_image(monkeypatch: pytest.MonkeyPatch, asked: list[DesiredImage]) -> None:
    answer = run_module(monkeypatch, qemu_rbd_disk, **WEB1, size="1GiB", _ansible_check_mode=True)
    assert (answer["changed"], answer["state"], answer["size"], answer["format"]) == (True, "present", 2**30, "raw")
    assert answer["actions"] == ["create rbd vms/web1 of 1 GiB"]
    assert answer["diff"]["before"] == {"exists": False}
    assert answer["diff"]["after"] == answer["image"]
    assert answer["image"]["features"] == ["layering"]
    assert [node["driver"] for node in answer["blockdev"]] == ["rbd", "raw"]


def test_options_of_the_storage_the_disk_and_its_keeping_stand_side_by_side(
    monkeypatch: pytest.MonkeyPatch, asked: list[DesiredImage]
) -> None:
    snapshots = [{"name": "golden", "protected": True}]
    source = {"https": {"url": "https://192.0.2.4/a.qcow2"}, "format": "qcow2"}
    arguments = {**WEB1, "_ansible_check_mode": True, "size": "1GiB", "snapshots": snapshots, "source": source}
    run_module(monkeypatch, qemu_rbd_disk, **arguments, metadata={"a": None}, config={"rbd_cache_size": 5})
    (desired,) = asked
    assert desired.disk.source["config"] == {"rbd_cache_size": 5}
    assert desired.provision["snapshots"] == ({"name": "golden", "state": "present", "protected": True},)
    assert desired.provision["metadata"] == {"a": None}
    assert desired.disk.origin and desired.disk.origin.settings["format"] == "qcow2"


def test_no_secret_is_in_an_answer(monkeypatch: pytest.MonkeyPatch, asked: list[DesiredImage]) -> None:
    secrets = {"encryption": {"format": "luks2", "passphrase": "hush"}, "key": "SGVsbG8="}
    answer = run_module(monkeypatch, qemu_rbd_disk, **{**WEB1, **secrets}, size="1GiB", _ansible_check_mode=True)
    assert not any(secret in str(answer) for secret in ("hush", "SGVsbG8="))


def test_work_that_takes_long_is_a_process_of_its_own_whose_answer_hides_secrets(
    monkeypatch: pytest.MonkeyPatch, asked: list[DesiredImage], tmp_path: Path
) -> None:
    monkeypatch.setattr(module.jobs, "run", partial(jobs.run, folder=str(tmp_path)))

    def say_it(*arguments: Any, **options: Any) -> None:
        (place,) = tmp_path.iterdir()
        raise HostError(f"it works in {place.name} with SGVsbG8=")

    monkeypatch.setattr(module, "reconcile", say_it)
    answer = run_module(monkeypatch, qemu_rbd_disk, **{**WEB1, "key": "SGVsbG8="}, size="1GiB", wait=60)
    assert answer["failed"]
    assert answer["msg"].startswith("it works in job-")
    assert "SGVsbG8=" not in answer["msg"]


def test_bad_input_is_one_line(monkeypatch: pytest.MonkeyPatch, asked: list[DesiredImage]) -> None:
    answer = run_module(monkeypatch, qemu_rbd_disk, **WEB1, size="1000")
    assert answer["failed"]
    assert answer["msg"].endswith("size: 1000 is not a multiple of 512 bytes, QEMU's sector; set 1024")
    assert "\n" not in answer["msg"]
