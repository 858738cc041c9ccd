# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from types import ModuleType
from unittest.mock import Mock

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._images import sources
from ansible_collections.directdisk.qemu.plugins.module_utils._images.image import file, volume
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun import observe as lun_observe
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd import observe as rbd_observe
from ansible_collections.directdisk.qemu.tests.unit.real_parts import disk

ORIGIN = disk(nfs={"host": "192.0.2.9", "path": "/a"})


def test_a_disk_that_a_vm_writes_to_is_no_source(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Mock(**{"size_of_source.return_value": 4096})
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


@pytest.mark.parametrize("kind", [file, volume, lun_observe, rbd_observe])
def test_every_kind_of_image_asks_who_writes_to_its_source(kind: ModuleType) -> None:
    assert kind.size_of_source is sources.size_of_source
