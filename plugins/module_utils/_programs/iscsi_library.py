# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The library libiscsi on a host, for the programs that load it."""

from __future__ import annotations

import ctypes
import glob
import re

PLACES = (
    "/usr/lib/*-linux-gnu/libiscsi.so.*",
    "/usr/lib64/libiscsi.so.*",
    "/usr/lib64/iscsi/libiscsi.so.*",
    "/usr/lib/libiscsi.so.*",
)
"""Names of the library in the distributions."""


class Sense(ctypes.Structure):
    """The first members of struct scsi_sense (iscsi/scsi-lowlevel.h); the rest differs from release to release."""

    _fields_ = (
        ("error_type", ctypes.c_ubyte),
        ("key", ctypes.c_int),
        ("ascq", ctypes.c_int),
        ("rest", ctypes.c_ubyte * 116),
    )


def find_library() -> str:
    """Return the path of the newest one; empty if there is none."""
    found = [path for place in PLACES for path in glob.glob(place)]
    versions = {path: [int(number) for number in re.findall(r"\d+", path.rpartition(".so.")[2])] for path in found}
    return max(found, key=versions.__getitem__, default="")
