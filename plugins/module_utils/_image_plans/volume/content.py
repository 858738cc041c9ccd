# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds of content of a volume, and what fits on it. Pure.

A volume cannot be written under another name and renamed afterwards. So it begins with a mark until it is whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.image_format import CLUSTER_SIZE

BLANK, UNFINISHED, DATA = "blank", "unfinished", "data"

HEAD = 4096
"""Bytes that are written last: the largest block of a disk, so that no half of them can be there."""
MARK = b"directdisk.qemu: an import into this disk was interrupted\n".ljust(HEAD, b"\0")

WIPED = 2 << 20
"""Bytes at each end of a disk in which partition tables, volume managers and file systems are found again."""
_PROBES, _PROBE = 62, 64 << 10

LUKS_HEADER = 2068480
"""Bytes that QEMU puts before the encrypted data (LUKS 1, AES-256 in XTS mode, eight key slots)."""


def sampled(capacity: int) -> list[tuple[int, int]]:
    """Return start and length of the samples that tell if a volume is blank: both ends, and pieces in between."""
    if capacity <= 2 * WIPED + 2 * _PROBES * _PROBE:
        return [(0, capacity)]
    between = capacity - 2 * WIPED
    starts = (WIPED + between * number // _PROBES // _PROBE * _PROBE for number in range(_PROBES))
    return [(0, WIPED), *((start, _PROBE) for start in starts), (capacity - WIPED, WIPED)]


def ends(capacity: int) -> tuple[tuple[int, int], ...]:
    """Return start and length of both ends, which are wiped so that no old table or file system is recognised."""
    return ((0, capacity),) if capacity <= 2 * WIPED else ((0, WIPED), (capacity - WIPED, WIPED))


def is_blank(samples: Mapping[int, bytes], since: int = 0) -> bool:
    """Tell if all samples are zeroes; since: offset before which bytes do not count."""
    return not any(piece[max(since - start, 0) :].strip(b"\0") for start, piece in samples.items())


def content_of(samples: Mapping[int, bytes]) -> str:
    """Return the kind of content that the samples show."""
    if samples[0].startswith(MARK):
        return UNFINISHED
    return BLANK if is_blank(samples) else DATA


def fingerprint_of(samples: Mapping[int, bytes]) -> str:
    """Return the fingerprint that confirms an overwrite: it stands for this data and no other."""
    digest = hashlib.sha256()
    for start, piece in sorted(samples.items()):
        digest.update(b"%d %d " % (start, len(piece)) + piece)
    return digest.hexdigest()[:16]


def hidden(described: str, offset: int) -> str:
    """Return the warning about data between the samples."""
    return f"{described}: has data at byte {offset}, although its ends are blank; it was not changed"


def needed_for_qcow2(size: int, *, encrypted: bool) -> int:
    """Return the bytes that a qcow2 takes once a guest has written all of its ``size``."""
    clusters = _ceiling(size, CLUSTER_SIZE)
    tables = _ceiling(clusters, CLUSTER_SIZE // 8)
    used = 1 + clusters + tables + _ceiling(tables, CLUSTER_SIZE // 8)
    used += _ceiling(LUKS_HEADER, CLUSTER_SIZE) if encrypted else 0
    # Refcount blocks count themselves.
    refcounts = _ceiling(used, CLUSTER_SIZE // 2 - 1)
    return (used + refcounts + _ceiling(refcounts, CLUSTER_SIZE // 8)) * CLUSTER_SIZE


def _ceiling(amount: int, divisor: int) -> int:
    return -(-amount // divisor)


def all_zero(extents: Iterable[Mapping[str, object]]) -> bool:
    """Tell if a map of extents (qemu-img map) has none with data."""
    return not any(extent["data"] for extent in extents)
