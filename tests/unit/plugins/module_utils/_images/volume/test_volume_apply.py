# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Formats and images on disks of a fixed size, by a real QEMU: what is wiped, and what a killed run leaves."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._access.storage_daemon import StorageDaemon
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.volume import content
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.volume.changes import (
    ImportSource,
    WriteFormat,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.volume import apply as work
from ansible_collections.directdisk.qemu.plugins.module_utils._images.volume import blank
from ansible_collections.directdisk.qemu.tests.unit.real_parts import (
    MIB,
    disk,
    nbd_server,
    needs_nbdkit,
    needs_qemu,
    open_bench,
)

pytestmark = [needs_qemu, needs_nbdkit]
SIZE = 8 * MIB
OLD = b"\xee"
GOLDEN = b"golden".ljust(MIB, b".")
WIPE = content.ends(SIZE)
DESIRED: Any = None
"""What the changes do not need: they have the volume themselves."""


class Volume:
    """A disk of 8 MiB full of old data, behind NBD."""

    def __init__(self, folder: Path, socket: str) -> None:
        self.file = folder / "volume"
        self.origin = folder / "origin"
        self.origin.write_bytes(GOLDEN)
        self._socket = socket

    def disk(self, **declared: Any) -> Disk:
        return disk(nbd={"socket": self._socket}, **declared)

    def with_source(self, **declared: Any) -> Disk:
        return self.disk(source={"file": {"path": str(self.origin)}}, **declared)

    @property
    def data(self) -> bytes:
        return self.file.read_bytes()


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    (tmp_path / "volume").write_bytes(OLD * SIZE)
    with nbd_server(tmp_path, "file", str(tmp_path / "volume")) as socket:
        yield Volume(tmp_path, socket)


def test_old_tables_are_wiped_before_an_import(volume: Volume) -> None:
    with open_bench() as bench:
        work.import_source(DESIRED, ImportSource(volume.with_source(), MIB, WIPE), bench)
    data = volume.data
    assert data[:MIB] == GOLDEN
    assert data[MIB : content.WIPED].strip(b"\0") == b""
    assert data[-content.WIPED :].strip(b"\0") == b""
    assert data[content.WIPED : -content.WIPED].strip(OLD) == b""


def test_an_import_of_less_than_a_head_leaves_no_mark(volume: Volume) -> None:
    volume.origin.write_bytes(b"x" * 512)
    with open_bench() as bench:
        work.import_source(DESIRED, ImportSource(volume.with_source(), 512), bench)
    assert volume.data[: content.HEAD] == b"x" * 512 + bytes(content.HEAD - 512)


def kill_after(monkeypatch: pytest.MonkeyPatch, copies: int) -> None:
    """End the run before the next copy; the first ones wipe and mark the volume."""
    copy, left = work._copy, iter(range(copies))

    def die(bench: Workbench, source: Any, uri: str, start: int, length: int) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        copy(bench, source, uri, start, length)

    monkeypatch.setattr(work, "_copy", die)


@pytest.mark.parametrize("copies", [3, 4])
def test_an_import_that_was_killed_is_known_by_its_mark(
    volume: Volume, monkeypatch: pytest.MonkeyPatch, copies: int
) -> None:
    kill_after(monkeypatch, copies)
    with open_bench() as bench, pytest.raises(KeyboardInterrupt):
        work.import_source(DESIRED, ImportSource(volume.with_source(), MIB, WIPE), bench)
    assert content.content_of({0: volume.data[: content.HEAD]}) == content.UNFINISHED


def test_a_format_that_was_not_written_whole_is_known_by_its_mark(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_after(monkeypatch, 3)
    with open_bench() as bench, pytest.raises(KeyboardInterrupt):
        work.write_format(DESIRED, WriteFormat(volume.disk(format="qcow2"), 4 * MIB, WIPE), bench)
    assert content.content_of({0: volume.data[: content.HEAD]}) == content.UNFINISHED


def test_a_qcow2_is_written_over_old_data(volume: Volume) -> None:
    declared = volume.disk(format="qcow2")
    with open_bench() as bench:
        work.write_format(DESIRED, WriteFormat(declared, 4 * MIB, WIPE), bench)
        assert bench.size_of(declared) == 4 * MIB
    shown = subprocess.run(["qemu-img", "info", "--output=json", str(volume.file)], capture_output=True, check=True)
    assert json.loads(shown.stdout)["format"] == "qcow2"
    assert volume.data[-content.WIPED :].strip(b"\0") == b""


def test_a_link_in_the_place_of_a_format_is_not_followed(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon that writes it speaks to servers, and its folder is its own."""
    secret = volume.file.with_name("secret")
    secret.write_bytes(b"secret")

    def replaced(daemon: StorageDaemon, options: Any, *, seconds: float) -> None:
        create(daemon, options, seconds=seconds)
        if options.get("file") == "format":
            (made,) = Path(bench.folder).glob("*.format")
            made.unlink()
            made.symlink_to(secret)

    create = StorageDaemon.create
    monkeypatch.setattr(StorageDaemon, "create", replaced)
    with open_bench() as bench, pytest.raises(HostError, match=r"\.format: it is a symbolic link"):
        work.write_format(DESIRED, WriteFormat(volume.disk(format="qcow2"), 4 * MIB), bench)
    assert secret.read_bytes() == b"secret"
    assert b"secret" not in volume.data


def test_data_is_found_wherever_it_is(volume: Volume) -> None:
    volume.file.write_bytes(bytes(SIZE))
    with open_bench() as bench, bench.storage(volume.disk()) as storage:
        assert blank.first_data(storage) is None
        with volume.file.open("r+b") as stream:
            stream.seek(5 * MIB)
            stream.write(b"data")
        assert blank.first_data(storage) in range(5 * MIB - 4096, 5 * MIB + 1)
        assert blank.first_data(storage, since=6 * MIB) is None
        assert blank.first_data(storage, since=SIZE) is None
        assert blank.read_around(storage, 5 * MIB + 7) == {5 * MIB: b"data".ljust(blank.PROBE, b"\0")}
