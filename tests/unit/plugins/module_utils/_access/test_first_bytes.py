# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""First bytes of raw disks, read from real servers before a VM starts."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._access import first_bytes as module
from ansible_collections.directdisk.qemu.plugins.module_utils._access.first_bytes import FirstBytes, first_bytes
from ansible_collections.directdisk.qemu.plugins.module_utils._images import vm_disks
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import HEAD_LENGTH
from ansible_collections.directdisk.qemu.tests.unit.real_parts import (
    disk,
    make_image,
    nbd_server,
    needs_nbdkit,
    needs_qemu,
)
from ansible_collections.directdisk.qemu.tests.unit.support import capabilities

FACTS = capabilities("debian12")


@pytest.fixture
def silent_server() -> Iterator[str]:
    """The port of a server that accepts connections and says nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield str(server.getsockname()[1])


@needs_qemu
@needs_nbdkit
def test_disks_are_read_and_one_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    image = make_image(tmp_path / "a.qcow2")
    (tmp_path / "small").write_bytes(b"x" * 100)
    with (
        nbd_server(tmp_path, "file", str(image)) as path,
        nbd_server(make(tmp_path / "b"), "file", f"{tmp_path}/small") as other,
    ):
        there, small, away = first_bytes([disk(nbd={"socket": one}) for one in (path, other, f"{tmp_path}/no")], FACTS)
    assert there == FirstBytes(image.read_bytes()[:HEAD_LENGTH])
    assert small.head.startswith(b"x" * 100)
    assert (away.head, away.problem.startswith(f"nbd {tmp_path}/no")) == (b"", True)


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


@needs_qemu
def test_a_server_that_does_not_answer_takes_a_limited_time(silent_server: str) -> None:
    disks = [disk(nbd={"host": "127.0.0.1", "port": silent_server, "export": str(n)}) for n in range(12)]
    begin = time.monotonic()
    found = first_bytes(disks, FACTS, seconds=0)
    assert time.monotonic() - begin < 9
    assert all(one.problem and not one.head for one in found)
    assert "other disks have taken the 3 s that all have" in found[-1].problem


def test_an_image_that_is_unpacked_whole_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.Workbench, "storage", None)
    packed = disk(http={"url": "http://192.0.2.5/a.gz", "compression": "gzip"}, writes="deny")
    assert first_bytes([packed], FACTS) == [FirstBytes()]


def test_an_image_that_will_be_fetched_is_not_fetched_for_its_first_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.Workbench, "storage", None)
    monkeypatch.setattr(module.Workbench, "confined", lambda *_: [])
    asked: list[Any] = []
    monkeypatch.setattr(
        module.web_image, "read_head", lambda *asked_of, **_more: (asked.append(asked_of), b"QFI\xfb")[1]
    )
    staged = disk(http={"url": "http://192.0.2.5/a.img"}, route="stage", writes="deny")
    assert first_bytes([staged], FACTS) == [FirstBytes(b"QFI\xfb")]
    assert len(asked) == 1


def test_what_was_read_becomes_a_part_of_the_observation(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [FirstBytes(b"QFI\xfb"), FirstBytes(problem="nbd b: it is away")]
    monkeypatch.setattr(vm_disks, "first_bytes", lambda disks, _capabilities: found[: len(disks)])
    raw: list[Any] = [{"name": f"{name} of web1", "declared": {"nbd": {"host": name}}} for name in ("a", "b")]
    observed: Any = {"heads": {}, "not_read": {}}
    vm_disks.read_heads(raw, observed, FACTS)
    assert observed == {"heads": {"a of web1": b"QFI\xfb".hex()}, "not_read": {"b of web1": "nbd b: it is away"}}
