# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option that says how a volume is checked before it is written to. Pure."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import DesiredImage
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option

OPTION = Option(
    "blank_check",
    "How to check that storage of a fixed size is blank before a format or O(source) is written to it. V(full) reads "
    "all of it except what the storage reports as unallocated: 1 TiB at 1 GB/s takes 18 minutes, once to plan the "
    "first write and once more right before it. V(sample) reads both ends and 62 samples in between; data elsewhere "
    "is overwritten.",
    choices=("full", "sample"),
)


def is_full(desired: DesiredImage) -> bool:
    """Tell if a volume must be read whole before a format or an image is written to it."""
    return desired.state == "present" and desired.provision.get("blank_check") != "sample"
