# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the header of an image before QEMU opens it, because a header may name other files. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

HEAD = 65536
"""Bytes to read: the smallest cluster that the formats use for their headers."""

QCOW2_MAGIC = b"QFI\xfb"
_LUKS_MAGIC = b"LUKS\xba\xbe"
# LUKS1 On-Disk Format Specification, 2.1: payload-offset, in sectors.
_PAYLOAD = struct.Struct(">I")
_PAYLOAD_AT = 104
_SECTOR = 512
# QEMU, docs/interop/qcow2.txt: version, backing offset and length, cluster bits, size, encryption.
_QCOW2 = struct.Struct(">4sIQIIQI")
_INCOMPATIBLE = struct.Struct(">Q")
_INCOMPATIBLE_AT = 72
_EXTERNAL_DATA = 1 << 2
_CLUSTER_BITS = range(9, 22)
"""The sizes of clusters that QEMU opens; the header of a foreign image may say any number."""
_FAR_NAME = "(a name behind the first bytes)"


@dataclass(frozen=True)
class Header:
    """Facts from the first bytes of an image."""

    format: str = "raw"
    """qcow2, luks, or raw for all else."""
    size: int = 0
    """Bytes that a guest sees of a qcow2."""
    cluster_size: int = 0
    encrypted: bool = False
    """Encrypted content of a qcow2."""
    backing: str = ""
    """Backing file of a qcow2, as the header names it."""
    payload: int = 0
    """Bytes of a LUKS volume before those that a guest sees."""
    external: bool = False
    """External data file of a qcow2."""
    head: bytes = field(default=b"", repr=False)
    """The bytes themselves."""


def read_header(head: bytes) -> Header:
    if head.startswith(_LUKS_MAGIC) and len(head) >= _PAYLOAD_AT + _PAYLOAD.size:
        return Header("luks", head=head, payload=_SECTOR * _PAYLOAD.unpack_from(head, _PAYLOAD_AT)[0])
    if not head.startswith(QCOW2_MAGIC) or len(head) < _INCOMPATIBLE_AT:
        return Header(head=head)
    _magic, version, offset, length, bits, size, encryption = _QCOW2.unpack_from(head)
    incompatible = _INCOMPATIBLE.unpack_from(head, _INCOMPATIBLE_AT)[0] if version > 2 and len(head) >= 104 else 0
    return Header(
        "qcow2",
        size=size,
        cluster_size=1 << bits if bits in _CLUSTER_BITS else 0,
        encrypted=bool(encryption),
        backing=head[offset : offset + length].decode(errors="replace") or _FAR_NAME if offset else "",
        external=bool(incompatible & _EXTERNAL_DATA),
        head=head,
    )
