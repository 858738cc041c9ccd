# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds data on a volume whose samples are zeroes: QEMU compares all of it with zeroes.

If the storage reports what is allocated (GET LBA STATUS, NBD's base:allocation), QEMU skips the rest; otherwise it
reads the whole volume.
"""

from __future__ import annotations

import re

from ansible_collections.directdisk.qemu.plugins.module_utils._access.nodes import OpenNode
from ansible_collections.directdisk.qemu.plugins.module_utils._access.qemu_img import run_qemu_img
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._images.volume.apply import ZEROES, nbd_node, piece_of

PROBE = 64 << 10
"""Bytes of the sample around data that was found, which become part of its fingerprint."""

_MISMATCH = re.compile(r"offset (\d+)")
_DIFFERENT = 1
"""Exit status of qemu-img compare if the contents differ."""


def first_data(node: OpenNode, since: int = 0) -> int | None:
    """Return the first byte that is not zero, or None; since: offset at which the search begins."""
    length = int(node.describe()["virtual-size"]) - since
    if length <= 0:
        return None
    with node.served(writable=False) as uri:
        images = [piece_of(nbd_node(uri), since, length), piece_of({**ZEROES, "size": since + length}, since, length)]
        done = run_qemu_img(node.bench, "compare", "--image-opts", *images)
    if done.returncode == 0:
        return None
    mismatch = _MISMATCH.search(done.stdout)
    if done.returncode != _DIFFERENT or not mismatch:
        raise HostError(f"cannot tell if it is blank: {(done.stderr or done.stdout).strip()}")
    return since + int(mismatch.group(1))


def read_around(node: OpenNode, offset: int) -> dict[int, bytes]:
    """Return the sample around an offset, by its start."""
    start = offset // PROBE * PROBE
    with node.accessed() as client:
        return {start: client.read(start, PROBE)}
