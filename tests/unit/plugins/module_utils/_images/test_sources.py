# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from types import ModuleType
from typing import Any
from unittest.mock import Mock

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._images import sources
from ansible_collections.directdisk.qemu.plugins.module_utils._images.image import file, volume
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun import observe as lun_observe
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd import observe as rbd_observe
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.owners import source_question
from ansible_collections.directdisk.qemu.tests.unit.real_parts import disk

ORIGIN = disk(nfs={"host": "192.0.2.9", "path": "/a"})
RBD = {"pool": "vms", "image": "web1", "user": "qemu", "key": "Zm9v", "monitors": ["192.0.2.1"]}


def bench_of(size: int) -> Mock:
    return Mock(**{"size_of_source.return_value": size}, shared=lambda key, make: make().__enter__())


def test_a_disk_that_a_vm_writes_to_is_no_source(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = bench_of(4096)
    monkeypatch.setattr(sources, "vms_that_write", lambda origin: ["web1"])
    with pytest.raises(DeclarationError) as refused:
        sources.size_of_source(ORIGIN, bench)
    assert str(refused.value) == (
        "source: VM web1 of this host writes to nfs 192.0.2.9:/a: a copy would have parts of different moments; "
        "stop the VM, or copy a snapshot"
    )
    assert not bench.size_of_source.called
    monkeypatch.setattr(sources, "vms_that_write", lambda origin: [])
    assert sources.size_of_source(ORIGIN, bench) == 4096


def test_a_disk_that_somebody_has_open_elsewhere_is_no_source(monkeypatch: pytest.MonkeyPatch) -> None:
    origin = disk(rbd=RBD)
    asked = []

    def ask_owners(questions: Any, secrets: Any) -> Any:
        (question,) = questions[""]
        key = question["files"][question["check"]["key"]]["secret"]
        asked.append((question["check"]["image"], secrets[key]))
        return {"owners": {origin.identity: [{"name": "open by client.7 at 192.0.2.12"}]}}

    monkeypatch.setattr(sources, "vms_that_write", lambda origin: [])
    monkeypatch.setattr(sources, "ask_owners", ask_owners)
    bench = bench_of(4096)
    with pytest.raises(DeclarationError) as refused:
        sources.size_of_source(origin, bench)
    assert str(refused.value) == (
        "source: rbd vms/web1 may be written to, because it is open by client.7 at 192.0.2.12: a copy would have parts "
        "of different moments; stop what has it open, or copy a snapshot"
    )
    assert asked == [("web1", "Zm9v")]
    assert not bench.size_of_source.called


def test_what_nobody_can_write_is_copied_without_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "vms_that_write", lambda origin: [])
    monkeypatch.setattr(sources, "ask_owners", lambda *_: pytest.fail("asked"))
    assert sources.size_of_source(disk(rbd={**RBD, "snapshot": "gold"}), bench_of(4096)) == 4096


def test_a_module_asks_as_the_initiator_that_it_is() -> None:
    asked = source_question(disk(iscsi={"portal": "192.0.2.3", "target": "iqn.2001-04.com.example:a"}))
    assert asked and asked[0]["check"]["initiator"] == "iqn.2008-11.org.linux-kvm"


@pytest.mark.parametrize("kind", [file, volume, lun_observe, rbd_observe])
def test_every_kind_of_image_asks_who_writes_to_its_source(kind: ModuleType) -> None:
    assert kind.size_of_source is sources.size_of_source
