# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A <disk> of libvirt is declared as libvirt would have QEMU open it, or refused."""

from __future__ import annotations

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.convert import convert
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError

ENCRYPTION = "<encryption format='luks2' engine='librbd'><secret type='passphrase' uuid='x'/></encryption>"
POOL = "<pool type='rbd'><name>p</name><source><name>pool</name><host name='h'/></source></pool>"
VOLUME = "<source pool='p' volume='v'/>"


@pytest.mark.parametrize(
    "xml",
    [
        f"<disk type='file'><source file='/a'/><target dev='vda'/>{ENCRYPTION}</disk>",
        f"<disk type='block'><source dev='/dev/a'>{ENCRYPTION}</source><target dev='vda'/></disk>",
        f"{POOL}<disk type='volume'>{VOLUME}<target dev='vda'/>{ENCRYPTION}</disk>",
    ],
)
def test_an_encryption_is_never_left_out(xml: str) -> None:
    with pytest.raises(DirectDiskError, match="libvirt: encryption"):
        convert(xml)


def test_a_name_that_contradicts_the_format_is_noted() -> None:
    result = convert("<disk type='file'><source file='/a.qcow2'/><target dev='vda'/></disk>")
    assert "libvirt takes raw; its name ends in .qcow2" in result.notes[0]
    assert not convert("<disk type='file'><source file='/a.raw'/><target dev='vda'/></disk>").notes
