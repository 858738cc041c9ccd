# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the bytes of a disk tell: nothing yet, something unfinished, or data; and what would fit on it. Pure.

Such a disk cannot be made aside and renamed when it is whole. So what is being written begins with a mark until it is.
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
    """Where to look whether a disk is blank: start and length of both ends, and of pieces in between."""
    if capacity <= 2 * WIPED + 2 * _PROBES * _PROBE:
        return [(0, capacity)]
    between = capacity - 2 * WIPED
    starts = (WIPED + between * number // _PROBES // _PROBE * _PROBE for number in range(_PROBES))
    return [(0, WIPED), *((start, _PROBE) for start in starts), (capacity - WIPED, WIPED)]


def wiped(capacity: int) -> list[tuple[int, int]]:
    """What has to go so that nobody finds what was on a disk: start and length."""
    return [(0, capacity)] if capacity <= 2 * WIPED else [(0, WIPED), (capacity - WIPED, WIPED)]


def is_blank(samples: Mapping[int, bytes], since: int = 0) -> bool:
    """Whether all that was read is zeroes; since: what stands before it does not count."""
    return not any(piece[max(since - start, 0) :].strip(b"\0") for start, piece in samples.items())


def content_of(samples: Mapping[int, bytes]) -> str:
    if samples[0].startswith(MARK):
        return UNFINISHED
    return BLANK if is_blank(samples) else DATA


def fingerprint_of(samples: Mapping[int, bytes]) -> str:
    """By which a person says which data may be lost, and no other."""
    digest = hashlib.sha256()
    for start, piece in sorted(samples.items()):
        digest.update(b"%d %d " % (start, len(piece)) + piece)
    return digest.hexdigest()[:16]


def hidden(described: str, offset: int) -> str:
    """The warning about data between the samples."""
    return f"{described}: has data at byte {offset}, although its ends are blank; it was left as it is"


def needed_for_qcow2(size: int, *, encrypted: bool) -> int:
    """Bytes that a qcow2 takes once a guest has written all of its ``size``."""
    clusters = _shared_out(size, CLUSTER_SIZE)
    tables = _shared_out(clusters, CLUSTER_SIZE // 8)
    used = 1 + clusters + tables + _shared_out(tables, CLUSTER_SIZE // 8)
    used += _shared_out(LUKS_HEADER, CLUSTER_SIZE) if encrypted else 0
    # Counters of the clusters count themselves too.
    counters = _shared_out(used, CLUSTER_SIZE // 2 - 1)
    return (used + counters + _shared_out(counters, CLUSTER_SIZE // 8)) * CLUSTER_SIZE


def _shared_out(amount: int, portion: int) -> int:
    return -(-amount // portion)


def all_zero(extents: Iterable[Mapping[str, object]]) -> bool:
    """Whether a map of extents (qemu-img map) has none that was ever written to."""
    return not any(extent["data"] for extent in extents)
