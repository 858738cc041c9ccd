# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recognises files that are not raw disks by their first bytes, and tells what to declare instead. Pure.

QEMU never probes, and the result never decides how an image is opened: it only prevents that an image with a wrong
declaration is used, or destroyed, as a raw disk.
"""

from __future__ import annotations

import re
import struct

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values

RAW_CONTENT = "raw_content"
"""Option of a disk that confirms that the bytes are intended."""

_CONVERT = "convert it with qemu-img convert"
_COPY = "declare its format in source (vmdk, vdi, vhdx, vpc), or convert it with qemu-img convert"
_UNPACK = "unpack it"

_IMAGES = (
    (0, b"QFI\xfb\0\0\0\1", "a qcow image of version 1", _CONVERT),
    (0, b"QFI\xfb", "a qcow2 image", "declare format: qcow2"),
    (0, b"KDMV", "a VMDK image", _COPY),
    (0, b"COWD", "a VMDK image", _COPY),
    (0, b"\xbe\xba\xfe\xca\0\0\0\0", "a VMDK image", _COPY),
    (0, b"# Disk DescriptorFile", "a VMDK image", _COPY),
    (64, b"\x7f\x10\xda\xbe", "a VDI image", _COPY),
    (0, b"vhdxfile", "a VHDX image", _COPY),
    (0, b"conectix", "a VHD image", _COPY),
    (0, b"QED\0", "a QED image", _CONVERT),
    (0, b"WithoutFreeSpace", "a Parallels image", _CONVERT),
    (0, b"WithouFreSpacExt", "a Parallels image", _CONVERT),
    (0, b"Bochs Virtual HD Image", "a Bochs image", _CONVERT),
    (0, b"#!/bin/sh\n#V2.0 Format", "a cloop image", _CONVERT),
    (0, b"\x3a\xff\x26\xed", "a sparse image of Android", "unpack it with simg2img"),
)
"""Offset, magic number, name and advice: formats of disk images (QEMU, block/*.c)."""

_FILES = (
    (0, b"\xfd7zXZ\0", "an xz file", "declare compression: xz, or unpack it"),
    (0, b"\x1f\x8b\x08", "a gzip file", "declare compression: gzip, or unpack it"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd file", "declare compression: zstd, or unpack it"),
    (0, b"\x04\x22\x4d\x18", "an lz4 file", _UNPACK),
    (0, b"BZh", "a bzip2 file", "declare compression: bzip2, or unpack it"),
    (0, b"PK\x03\x04", "a zip file", _UNPACK),
    (0, b"Rar!\x1a\x07", "a RAR file", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z file", _UNPACK),
    (0, b"LZIP", "an lzip file", _UNPACK),
    (0, b"\x89LZO\0\r\n\x1a\n", "an lzop file", _UNPACK),
    (0, b"\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff", "an lzma file", _UNPACK),
    (0, b"\x1f\x9d", "a file of compress(1)", _UNPACK),
    (257, b"ustar", "a tar archive", "declare tar_member, or unpack it"),
    (0, b"070701", "a cpio archive", _UNPACK),
    (0, b"070702", "a cpio archive", _UNPACK),
    (0, b"!<arch>\n", "an ar archive or a Debian package", _UNPACK),
    (0, b"\xed\xab\xee\xdb", "an RPM package", _UNPACK),
    (0, b"MSWIM\0\0\0", "a WIM archive", _UNPACK),
    (0, b"EVF\t\r\n\xff\0", "an image of EnCase", "convert it with ewfexport"),
    (
        0,
        b"version https://git-lfs.",
        "a pointer to a file in Git LFS, not the file",
        "fetch the file with git lfs pull",
    ),
)
"""The same for files in which an image may be packed (file(1), magic(5))."""

_PAGE = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<(?:[!?]|[a-z]{1,10}[\s>])|\{\s*\")", re.IGNORECASE)
"""A page that a server sends instead of an image: HTML, XML or JSON; UTF-8 may begin with a mark of its own."""


def image_kind(head: bytes) -> tuple[str, str]:
    """Return the name of an image's format and the advice; empty if it is not a format of disk images."""
    return next(((name, advice) for at, magic, name, advice in _IMAGES if head.startswith(magic, at)), ("", ""))


def file_kind(head: bytes) -> tuple[str, str]:
    """Return the kind of a file that is not a raw disk and the advice; empty if it may be a raw disk."""
    if _PAGE.match(head):
        return "a page of text (HTML, XML or JSON), not an image", "correct the url"
    packed = next(((name, advice) for at, magic, name, advice in _FILES if head.startswith(magic, at)), ("", ""))
    return image_kind(head) if image_kind(head)[0] else packed


_MAGIC = {"vmdk": "a VMDK image", "vdi": "a VDI image", "vhdx": "a VHDX image"}
"""Names of the formats whose images are told by their first bytes; a VHD of a fixed size has its mark at the end."""
# VMware, Virtual Disk Format 5.0: magic number, version, flags, capacity.
_VMDK = struct.Struct("<4sIIQ")


def why_not_format(form: str, head: bytes) -> str:
    """Return why an image is not a source of this format that stands alone; empty if it may be one."""
    name = _MAGIC.get(form, "")
    if not name:
        return ""
    kind, _advice = file_kind(head)
    if kind != name:
        return f"it is {kind or 'no ' + name[2:]}, and {form} is declared"
    if form != "vmdk":
        return ""
    single = head.startswith(b"KDMV") and len(head) >= _VMDK.size and _VMDK.unpack_from(head)[3] > 0
    return "" if single else "it is a VMDK that names other files for its data; convert it to one of a single file"


def not_raw(settings: Values, head: bytes, *, written_by_guests: bool) -> str:
    """Return why the bytes of an image are not the declared raw disk; empty if they may be.

    written_by_guests: a guest may have written an archive to its disk.
    """
    if settings["format"] != "raw" or "luks" in settings or settings.get(RAW_CONTENT):
        return ""
    kind, advice = image_kind(head) if written_by_guests else file_kind(head)
    if not kind:
        return ""
    return f"it is {kind}, and raw is declared: {advice}, or {RAW_CONTENT}: true if the guest must see these bytes"
