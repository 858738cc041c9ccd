# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The header of a foreign image is read without trust in its numbers."""

from __future__ import annotations

import struct

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._access.image_header import HEAD, read_header


def qcow2(offset: int = 0, length: int = 0, bits: int = 16) -> bytes:
    return struct.pack(">4sIQIIQI", b"QFI\xfb", 3, offset, length, bits, 2**20, 0).ljust(104, b"\0")


@pytest.mark.parametrize("bits", [0, 8, 22, 63, 2**32 - 1])
def test_a_size_of_clusters_that_qemu_does_not_open_is_not_computed(bits: int) -> None:
    """2**(2**32) takes half a gigabyte."""
    assert read_header(qcow2(bits=bits)).cluster_size == 0


def test_the_sizes_that_qemu_opens_are_known() -> None:
    assert [read_header(qcow2(bits=bits)).cluster_size for bits in (9, 16, 21)] == [512, 65536, 2 << 20]


@pytest.mark.parametrize(("offset", "length"), [(HEAD, 9), (2**63, 2**31), (104, 0)])
def test_a_backing_file_whose_name_was_not_read_is_one(offset: int, length: int) -> None:
    assert read_header(qcow2(offset, length)).backing


def test_an_image_without_a_backing_file_has_none() -> None:
    assert read_header(qcow2()).backing == ""
    assert read_header(qcow2(104, 4) + b"/etc").backing == "/etc"
