# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the bytes of a LUN tell."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._access.nodes import OpenNode
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import DesiredImage
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.volume import content
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.volume.blank_check import is_full
from ansible_collections.directdisk.qemu.plugins.module_utils._images.volume import blank

MIB = 2**20


@pytest.mark.parametrize("capacity", [4096, 4 * MIB, 13 * MIB, 100 * MIB, 2**40 + 512])
def test_samples_lie_within_a_lun_and_cover_its_ends(capacity: int) -> None:
    places = content.sampled(capacity)
    assert places[0][0] == 0
    assert sum(places[-1]) == capacity
    assert all(start + length <= capacity for start, length in places)
    assert all(sum(one) <= other[0] for one, other in zip(places, places[1:]))
    assert sum(length for _start, length in places) <= 12 * MIB


@pytest.mark.parametrize("capacity", [4096, 4 * MIB, 100 * MIB])
def test_what_is_wiped_are_the_ends(capacity: int) -> None:
    places = content.ends(capacity)
    assert places[0][0] == 0
    assert sum(places[-1]) == capacity


def test_content() -> None:
    zeroes = {0: bytes(8192), 10 * MIB: bytes(512)}
    assert content.content_of(zeroes) == "blank"
    assert content.content_of({**zeroes, 10 * MIB: b"\0\1"}) == "data"
    assert content.content_of({**zeroes, 0: content.MARK + b"old data"}) == "unfinished"
    assert content.content_of({0: b"x" + content.MARK}) == "data"


def test_what_stands_before_the_data_does_not_count() -> None:
    samples = {0: b"header" + bytes(10), 100: bytes(10)}
    assert not content.is_blank(samples)
    assert content.is_blank(samples, 6)
    assert content.is_blank(samples, 100)
    assert not content.is_blank(samples, 5)


def test_the_mark_fills_what_is_written_last() -> None:
    assert len(content.MARK) == content.HEAD


def test_a_fingerprint_is_of_the_data_and_its_place() -> None:
    one = content.fingerprint_of({0: b"abc", 10: b"def"})
    assert one == content.fingerprint_of({10: b"def", 0: b"abc"})
    assert len(one) == 16
    assert len({one, content.fingerprint_of({0: b"abc", 11: b"def"}), content.fingerprint_of({0: b"abd"})}) == 3


@pytest.mark.parametrize(
    "size, encrypted, needed",
    [
        (MIB, False, 1376256),
        (60 * MIB, False, 63242240),
        (60 * MIB, True, 65339392),
        (100 * 2**30, False, 107390828544),
        (2 * 2**40, True, 2199361159168),
    ],
)
def test_a_full_qcow2_takes_what_qemu_says(size: int, encrypted: bool, needed: int) -> None:
    """The numbers are those of qemu-img measure."""
    assert content.needed_for_qcow2(size, encrypted=encrypted) == needed


@pytest.mark.skipif(not shutil.which("qemu-img"), reason="this host has no qemu-img")
@pytest.mark.parametrize("size", [1, 65536, 5 * MIB, 513 * MIB, 2**33 + 1, 2**41])
def test_a_full_qcow2_takes_what_the_installed_qemu_says(size: int) -> None:
    command = ["qemu-img", "measure", "--output", "json", "-O", "qcow2", "--size", str(size)]
    measured = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert content.needed_for_qcow2(size, encrypted=False) == measured["fully-allocated"]


def test_a_map_without_data() -> None:
    assert content.all_zero([{"data": False, "zero": True}])
    assert not content.all_zero([{"data": False, "zero": True}, {"data": True, "zero": False}])


class Node:
    """An open disk."""

    bench = SimpleNamespace(confined=lambda _allowed: [])

    def __init__(self, size: int) -> None:
        self.size = size

    def describe(self) -> dict[str, int]:
        return {"virtual-size": self.size}

    @contextmanager
    def served(self, *, writable: bool) -> Iterator[str]:
        yield "nbd+unix:///disk?socket=/s"


@pytest.mark.skipif(not shutil.which("qemu-img"), reason="this host has no qemu-img")
def test_data_is_found_wherever_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    image, node = tmp_path / "image", cast(OpenNode, Node(64 * MIB))
    monkeypatch.setattr(blank, "nbd_node", lambda uri: {"driver": "file", "filename": str(image)})
    image.touch()
    os.truncate(image, 64 * MIB)
    assert blank.first_data(node) is None
    with image.open("r+b") as stream:
        stream.seek(5557452)
        stream.write(b"x")
    found = blank.first_data(node)
    assert found is not None
    assert found // blank.PROBE == 5557452 // blank.PROBE
    assert blank.first_data(node, 6 * MIB) is None
    assert blank.first_data(node, 64 * MIB) is None
    image.unlink()
    with pytest.raises(HostError, match="cannot tell if it is blank"):
        blank.first_data(node)


@pytest.mark.parametrize(
    ("state", "provision", "full"),
    [("present", {}, True), ("present", {"blank_check": "full"}, True), ("present", {"blank_check": "sample"}, False)],
)
def test_a_volume_is_read_whole_unless_samples_are_declared_to_be_enough(
    state: str, provision: dict[str, str], full: bool
) -> None:
    desired = SimpleNamespace(state=state, provision=provision)
    assert is_full(cast(DesiredImage, desired)) == full
