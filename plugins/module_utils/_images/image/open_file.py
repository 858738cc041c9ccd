# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observes a file of this host that a running VM has open. QEMU has checked it, and need not open it a second time."""

from __future__ import annotations

import os
from dataclasses import replace

from ansible_collections.directdisk.qemu.plugins.module_utils._access.foreign_files import refuse_undeclared
from ansible_collections.directdisk.qemu.plugins.module_utils._access.image_header import HEAD, read_header
from ansible_collections.directdisk.qemu.plugins.module_utils._access.visible_files import read_shown
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.explain import storage_errors
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import DesiredImage
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.image.observed import ObservedFile
from ansible_collections.directdisk.qemu.plugins.module_utils._images.image.verify import describe_header, size_problem

_SECTOR = 512
"""QEMU rounds other sizes."""


def observe_open_file(desired: DesiredImage, path: str) -> ObservedFile | None:
    """Return the state of an image as its header and its length tell it; None if they do not tell all of it."""
    disk = desired.disk
    if disk.settings["format"] not in ("raw", "qcow2") or "luks" in disk.settings or "sha256" in desired.provision:
        return None
    head = read_shown(path, HEAD)
    if head is None:
        return None
    header = read_header(head)
    try:
        size = os.stat(path).st_size
    except FileNotFoundError:
        return None  # removed a moment ago
    observed = describe_header(ObservedFile, disk, header, size)
    if observed.problem or not observed.size or observed.size % _SECTOR:
        return None
    with storage_errors(disk):
        refuse_undeclared(disk, header)
    return replace(observed, problem=size_problem(desired, observed.size))
