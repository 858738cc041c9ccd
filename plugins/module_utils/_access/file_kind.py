# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recognises files that are no raw disk by their first bytes, and says what to declare instead. Pure.

QEMU is never told to probe: nothing is opened by what is found here. It only keeps what is declared wrongly from being
used, or destroyed, as a raw disk.
"""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values

RAW_CONTENT = "raw_content"
"""The option of a disk that says that the bytes are meant."""

_CONVERT = "convert it with qemu-img convert"
_UNPACK = "unpack it"

_IMAGES = (
    (0, b"QFI\xfb", "a qcow2 image", "declare format: qcow2"),
    (0, b"KDMV", "a VMDK image", _CONVERT),
    (0, b"COWD", "a VMDK image", _CONVERT),
    (0, b"# Disk DescriptorFile", "a VMDK image", _CONVERT),
    (64, b"\x7f\x10\xda\xbe", "a VDI image", _CONVERT),
    (0, b"vhdxfile", "a VHDX image", _CONVERT),
    (0, b"conectix", "a VHD image", _CONVERT),
    (0, b"QED\0", "a QED image", _CONVERT),
    (0, b"WithoutFreeSpace", "a Parallels image", _CONVERT),
    (0, b"WithouFreSpacExt", "a Parallels image", _CONVERT),
)
"""Offset, magic number, words and advice: formats of disk images (QEMU, block/*.c)."""

_FILES = (
    (0, b"\xfd7zXZ\0", "an xz file", "declare compression: xz, or unpack it"),
    (0, b"\x1f\x8b\x08", "a gzip file", "declare compression: gzip, or unpack it"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd file", _UNPACK),
    (0, b"BZh", "a bzip2 file", _UNPACK),
    (0, b"PK\x03\x04", "a zip file", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z file", _UNPACK),
    (257, b"ustar", "a tar archive", "declare tar_member, or unpack it"),
)
"""The same of files in which an image may be packed (file(1), magic(5))."""

_PAGES = (b"<!doctype html", b"<html", b"<?xml")


def image_kind(head: bytes) -> tuple[str, str]:
    """What an image is in a format of disk images, and the advice; empty for all else."""
    return next(((words, advice) for at, magic, words, advice in _IMAGES if head.startswith(magic, at)), ("", ""))


def file_kind(head: bytes) -> tuple[str, str]:
    """What a file is that is no raw disk, and the advice; empty where it may well be one."""
    if head.lstrip()[:16].lower().startswith(_PAGES):
        return "a page of text (HTML or XML), no image", "correct the url"
    packed = next(((words, advice) for at, magic, words, advice in _FILES if head.startswith(magic, at)), ("", ""))
    return image_kind(head) if image_kind(head)[0] else packed


def not_raw(settings: Values, head: bytes, *, written_by_guests: bool) -> str:
    """Why the bytes of an image are not the raw disk that is declared; empty where they may be.

    written_by_guests: a guest may well write an archive to its disk.
    """
    if settings["format"] != "raw" or "luks" in settings or settings.get(RAW_CONTENT):
        return ""
    words, advice = image_kind(head) if written_by_guests else file_kind(head)
    if not words:
        return ""
    return f"it is {words}, and raw is declared: {advice}, or {RAW_CONTENT}: true if the guest must see these bytes"
