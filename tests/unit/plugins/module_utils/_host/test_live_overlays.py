# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Overlays that a running QEMU makes."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import block_graph, live_disks, live_overlays
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_state import LiveDisk, LiveOverlay
from ansible_collections.directdisk.qemu.tests.unit.fake_qmp import FakeQemu
from ansible_collections.directdisk.qemu.tests.unit.plugins.module_utils._host.test_live_disks import disk
from ansible_collections.directdisk.qemu.tests.unit.real_vm import needs_emulator, running_vm

NODE = {"driver": "file", "node-name": "data.writes", "filename": "x", "read-only": False}
FDSET = {"fd": 7, "fdset-id": 0}
JOB = {"id": "machine.create", "status": "concluded"}
TOO_LARGE = {"error": {"desc": "smaller or equal to the  actual size of the containing file (4096)"}}
ANSWERS: dict[str, Any] = {
    "blockdev-add": lambda node: TOO_LARGE if "size" in node else {},
    "query-jobs": [JOB],
}


def overlay(path: Path, *, persistent: bool) -> LiveOverlay:
    return {
        "path": str(path),
        "persistent": persistent,
        "base": "data.format",
        "backing": "json:{}",
        "format": "raw",
    }


def test_an_overlay_that_persists_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "data.qcow2"
    (tmp_path / "data.qcow2.new").write_text("made")
    with FakeQemu(tmp_path / "qmp", answers=ANSWERS) as qemu, Monitor.connect(qemu.path) as monitor:
        live_overlays.make(monitor, NODE, overlay(path, persistent=True))
        heard = len(qemu.heard)
        live_overlays.make(monitor, NODE, overlay(path, persistent=True))
    assert path.read_text() == "made"
    assert len(qemu.heard) == heard
    made = [one["options"] for one in qemu.arguments if one and "options" in one]
    assert made == [
        {"driver": "file", "filename": f"{path}.new", "size": 0},
        {"driver": "qcow2", "file": "data.writes", "size": 4096, "backing-file": "json:{}", "backing-fmt": "raw"},
    ]


@pytest.mark.parametrize(
    ("jobs", "words"),
    [
        ([{**JOB, "error": "No space left on device"}], "its overlay {path} cannot be made: No space left on device"),
        ([], "QEMU has no job that makes its overlay"),
        ([{**JOB, "status": "running"}], "its overlay {path} is not made after 0 s"),
    ],
)
def test_an_overlay_that_cannot_be_made_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: list[Any], words: str
) -> None:
    monkeypatch.setattr(live_overlays, "_LIMIT", 0.1)
    with (
        FakeQemu(tmp_path / "qmp", answers={**ANSWERS, "query-jobs": jobs}) as qemu,
        Monitor.connect(qemu.path) as monitor,
        pytest.raises(HostError) as error,
    ):
        live_overlays.make(monitor, NODE, overlay(tmp_path / "data.qcow2", persistent=False))
    assert str(error.value) == words.format(path=tmp_path / "data.qcow2")
    assert "blockdev-add" not in qemu.heard


@pytest.mark.parametrize("persistent", [True, False])
def test_an_overlay_that_cannot_be_made_leaves_no_file(tmp_path: Path, persistent: bool) -> None:
    """QEMU has begun it on a file system that is full."""
    path = tmp_path / "data.qcow2"
    new = Path(live_overlays.new_file(overlay(path, persistent=persistent)))
    new.write_text("a part")
    (tmp_path / "a.raw").touch()
    full = [{**JOB, "error": "No space left on device"}]
    answers = {
        **ANSWERS,
        "query-jobs": full,
        "query-blockstats": [],
        "query-fdsets": [],
        "add-fd": {"fd": 7, "fdset-id": 0},
    }
    with (
        FakeQemu(tmp_path / "qmp", answers=answers) as qemu,
        Monitor.connect(qemu.path) as monitor,
        pytest.raises(HostError, match=rf"^its overlay {path} cannot be made: No space left on device$"),
        contextlib.ExitStack() as undo,
    ):
        live_disks.open_nodes(monitor, "data", layered(tmp_path / "a.raw", path, persistent=persistent), {}, undo)
    assert not new.exists()


def test_what_is_in_the_place_of_an_overlay_is_removed_only_if_it_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "data.qcow2"
    live_overlays.remove(str(path))
    path.symlink_to(tmp_path / "other")
    (tmp_path / "other").touch()
    live_overlays.remove(str(path))
    assert (path.is_symlink(), (tmp_path / "other").exists()) == (False, True)
    path.mkdir()
    with pytest.raises(HostError, match=f"^{path}: "):
        live_overlays.remove(str(path))


def test_an_overlay_that_has_no_place_is_named(tmp_path: Path) -> None:
    path = tmp_path / "data.qcow2"
    with (
        FakeQemu(tmp_path / "qmp", answers=ANSWERS) as qemu,
        Monitor.connect(qemu.path) as monitor,
        pytest.raises(HostError, match=rf"^{path}: No such file or directory$"),
    ):
        live_overlays.make(monitor, NODE, overlay(path, persistent=True))
    # The job of a run that was killed is removed first, and nothing stays open.
    assert qemu.heard.index("job-dismiss") < qemu.heard.index("blockdev-create")
    assert qemu.heard[-1] == "blockdev-del"


@pytest.mark.parametrize(
    "words",
    [
        "The sum of offset (0) and size (4611686018427387904) has to be smaller or equal to the  actual size of the "
        "containing file (8192)",
        "The sum of offset (0) and size (0) has to be smaller or equal to the  actual size of the containing file "
        "(8192)",
        "Offset (1) cannot be greater than size of the containing file (8192)",
    ],
)
def test_a_size_is_read_from_each_of_qemus_refusals(tmp_path: Path, words: str) -> None:
    answers = {**ANSWERS, "blockdev-add": lambda node: {"error": {"desc": words}} if "size" in node else {}}
    with FakeQemu(tmp_path / "qmp", answers=answers) as qemu, Monitor.connect(qemu.path) as monitor:
        live_overlays.make(monitor, NODE, overlay(tmp_path / "data.qcow2", persistent=False))
    assert [one["options"]["size"] for one in qemu.arguments if one and "options" in one] == [0, 8192]


@pytest.mark.parametrize("words", ["Could not get image size: Input/output error", "of the containing file (many)"])
def test_a_size_that_qemu_does_not_tell_is_an_error(tmp_path: Path, words: str) -> None:
    answers = {**ANSWERS, "blockdev-add": lambda node: {"error": {"desc": words}} if "size" in node else {}}
    with (
        FakeQemu(tmp_path / "qmp", answers=answers) as qemu,
        Monitor.connect(qemu.path) as monitor,
        pytest.raises(HostError, match=rf"QEMU does not tell the size of data.format \(.*{re.escape(words)}"),
    ):
        live_overlays.make(monitor, NODE, overlay(tmp_path / "data.qcow2", persistent=False))


def layered(image: Path, path: Path, *, persistent: bool) -> LiveDisk:
    """A disk over an image, which QEMU opens read-only."""
    plain = disk(image)
    below = [{**node, "read-only": True} for node in plain["nodes"]]
    above = [
        {**NODE, "filename": str(path)},
        {"driver": "qcow2", "node-name": "data.overlay", "file": "data.writes", "backing": "data.format"},
    ]
    return {**plain, "nodes": [*below, *above], "overlay": overlay(path, persistent=persistent)}


@needs_emulator
@pytest.mark.parametrize("persistent", [True, False])
def test_qemu_opens_an_overlay_that_it_has_made(tmp_path: Path, persistent: bool) -> None:
    image, path = tmp_path / "a.raw", tmp_path / "data.qcow2"
    image.write_bytes(b"base" * 65536)
    one = layered(image, path, persistent=persistent)
    files = []
    with running_vm(tmp_path / "qmp", "-m", "64") as monitor:
        for _twice in range(2):
            with contextlib.ExitStack() as undo:
                live_disks.open_nodes(monitor, "data", one, {}, undo)
                assert "data.overlay" in block_graph.node_names(monitor)
                files.append(path.stat().st_ino)
                info = json.loads(subprocess.check_output(["qemu-img", "info", "-U", "--output=json", str(path)]))
            assert path.exists() == persistent
            assert block_graph.node_names(monitor) == []
    assert not persistent or files[0] == files[1]
    assert (info["virtual-size"], info["backing-filename"]) == (262144, "json:{}")


@needs_emulator
def test_an_overlay_whose_header_names_another_file_is_refused(tmp_path: Path) -> None:
    image, path, data = tmp_path / "a.raw", tmp_path / "data.qcow2", tmp_path / "data.raw"
    image.write_bytes(bytes(1 << 20))
    options = f"data_file={data},data_file_raw=on"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", options, str(path), "1M"], check=True)
    with (
        running_vm(tmp_path / "qmp", "-m", "64") as monitor,
        contextlib.ExitStack() as undo,
        pytest.raises(HostError, match=r"^disk data: QEMU has opened other files than are declared \(data-file\)"),
    ):
        live_disks.open_nodes(monitor, "data", layered(image, path, persistent=True), {}, undo)
