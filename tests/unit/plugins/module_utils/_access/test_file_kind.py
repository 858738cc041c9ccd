# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What files are that are no raw disk, and sources that are not the whole image that is declared."""

from __future__ import annotations

import contextlib
import gzip
import lzma
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._access import source_check
from ansible_collections.directdisk.qemu.plugins.module_utils._access.file_kind import not_raw
from ansible_collections.directdisk.qemu.plugins.module_utils._access.image_header import (
    Header,
    read_header,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._access.nodes import Storage
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk, read_image
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError

RAW: Mapping[str, Any] = {"format": "raw"}
IMAGES = {
    "a qcow2 image": b"QFI\xfb\0\0\0\3",
    "a VMDK image": b"KDMV\1\0\0\0",
    "a VDI image": b"<<< QEMU VM Virtual Disk Image >>>\n".ljust(64, b"\0") + b"\x7f\x10\xda\xbe",
    "a VHDX image": b"vhdxfile",
    "a VHD image": b"conectix",
    "a qcow image of version 1": b"QFI\xfb\0\0\0\1",
    "a Bochs image": b"Bochs Virtual HD Image",
    "a cloop image": b"#!/bin/sh\n#V2.0 Format\n",
    "a sparse image of Android": b"\x3a\xff\x26\xed\1\0",
}
FILES = {
    "an xz file": lzma.compress(b"disk"),
    "a gzip file": gzip.compress(b"disk", mtime=0),
    "a zstd file": b"\x28\xb5\x2f\xfd\x24",
    "an lz4 file": b"\x04\x22\x4d\x18",
    "a RAR file": b"Rar!\x1a\x07\1",
    "a tar archive": b"disk.raw".ljust(257, b"\0") + b"ustar\0",
    "an lzip file": b"LZIP\1",
    "an lzop file": b"\x89LZO\0\r\n\x1a\n\x10\x40",
    "an lzma file": lzma.compress(b"disk", format=lzma.FORMAT_ALONE),
    "a file of compress(1)": b"\x1f\x9d\x90",
    "a cpio archive": b"07070100000000",
    "an ar archive or a Debian package": b"!<arch>\ndebian-binary",
    "an RPM package": b"\xed\xab\xee\xdb\3",
    "a WIM archive": b"MSWIM\0\0\0\xd0",
    "an image of EnCase": b"EVF\t\r\n\xff\0\1",
    "a pointer to a file in Git LFS, not the file": b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
}
PAGES = [
    b"\n <!DOCTYPE html><html>",
    b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
    b"\xef\xbb\xbf<HTML>",
    b"<!-- a proxy --><head>",
    b"<head><title>404</title>",
    b'{"error": "not found"}',
    b'{\n  "message": "x"\n}',
]
BOOT = b"\xeb\x63\x90".ljust(510, b"\0") + b"\x55\xaa"


@pytest.mark.parametrize(("words", "head"), [*IMAGES.items(), *FILES.items()])
def test_a_source_that_is_no_raw_disk_is_named(words: str, head: bytes) -> None:
    problem = not_raw(RAW, head, written_by_guests=False)
    assert problem.startswith(f"it is {words}, and raw is declared: ")
    assert problem.endswith(", or raw_content: true if the guest must see these bytes")
    assert not_raw({"format": "raw", "raw_content": True}, head, written_by_guests=False) == ""


@pytest.mark.parametrize("head", PAGES)
def test_a_page_of_a_server_is_named(head: bytes) -> None:
    assert "it is a page of text (HTML, XML or JSON), not an image" in not_raw(RAW, head, written_by_guests=False)


@pytest.mark.parametrize("head", [BOOT, b"<\x90" + BOOT, b"{\x90", b"hsqs\7\0", b"LUKS\xba\xbe\0\2", b" " * 512])
def test_what_may_be_a_raw_disk_is_taken(head: bytes) -> None:
    assert not_raw(RAW, head, written_by_guests=False) == ""


@pytest.mark.parametrize("head", [BOOT, b"", b"\0" * 4096, *FILES.values(), *PAGES])
def test_what_a_guest_may_have_written_is_left_alone(head: bytes) -> None:
    assert not_raw(RAW, head, written_by_guests=True) == ""


@pytest.mark.parametrize("words", IMAGES)
def test_a_disk_that_is_another_format_is_named(words: str) -> None:
    assert words in not_raw(RAW, IMAGES[words], written_by_guests=True)


@pytest.mark.parametrize("settings", [{"format": "qcow2"}, {"format": "raw", "luks": {"passphrase": "x"}}])
def test_what_is_not_raw_is_for_its_own_format_to_check(settings: Mapping[str, Any]) -> None:
    assert not_raw(settings, IMAGES["a qcow2 image"], written_by_guests=False) == ""


class FakeStorage:
    """Storage with known bytes."""

    bench = None

    def __init__(self, data: bytes) -> None:
        self.data = data

    def describe(self) -> dict[str, Any]:
        return {"virtual-size": len(self.data)}

    def header(self) -> Header:
        return read_header(self.data)

    @contextlib.contextmanager
    def served(self, *, writable: bool) -> Iterator[str]:
        assert not writable
        yield "nbd+unix:///x?socket=/x"


def source(**given: Any) -> Disk:
    return read_image("source", {"file": {"path": "/srv/a"}, **given}, "source")


def storage(data: bytes) -> Storage:
    return cast(Storage, FakeStorage(data))


@pytest.mark.parametrize(("data", "problem"), [(b"", "it is empty"), (FILES["an xz file"], "it is an xz file")])
def test_a_source_that_is_empty_or_packed_is_not_copied(data: bytes, problem: str) -> None:
    with pytest.raises(HostError, match=problem):
        source_check.check_content(storage(data), source())


def test_a_source_whose_bytes_are_meant_is_copied() -> None:
    source_check.check_content(storage(FILES["an xz file"]), source(raw_content=True))
    source_check.check_content(storage(BOOT), source())


@pytest.mark.parametrize("found", [{"corruptions": 5}, {"check-errors": 1}])
def test_a_source_that_is_cut_off_is_not_copied(monkeypatch: pytest.MonkeyPatch, found: dict[str, int]) -> None:
    monkeypatch.setattr(source_check, "check_qcow2", lambda uri, passphrase, bench: found)
    with pytest.raises(HostError, match="it is cut off or damaged"):
        source_check.check_whole(storage(b""), source(format="qcow2"))
    source_check.check_whole(storage(b""), source())


def test_a_source_with_clusters_that_nobody_uses_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_check, "check_qcow2", lambda uri, passphrase, bench: {"leaks": 3, "check-errors": 0})
    source_check.check_whole(storage(b""), source(format="qcow2"))
