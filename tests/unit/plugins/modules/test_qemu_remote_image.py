# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module from its arguments to its answer, with a double of QEMU that keeps raw images in a folder."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Callable

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._access import image_cache, web_image
from ansible_collections.directdisk.qemu.plugins.module_utils._access.image_header import Header, read_header
from ansible_collections.directdisk.qemu.plugins.module_utils._access.source_check import check_content
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import QmpError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import host_mark
from ansible_collections.directdisk.qemu.plugins.module_utils._images import module
from ansible_collections.directdisk.qemu.plugins.module_utils._images.image import file, readonly_image
from ansible_collections.directdisk.qemu.plugins.module_utils._process import locks
from ansible_collections.directdisk.qemu.plugins.module_utils._process.progress import DiskProgress
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import image_fetch
from ansible_collections.directdisk.qemu.plugins.module_utils._routes import stage
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities
from ansible_collections.directdisk.qemu.plugins.modules import qemu_remote_image
from ansible_collections.directdisk.qemu.tests.unit.plugins.modules.module_run import run_module
from ansible_collections.directdisk.qemu.tests.unit.support import probed

MIB = 2**20
URL = "http://images.example/a.raw"
QCOW2_LOOK = b"QFI\xfb" + b"\0" * 100


class Image:
    """An open one."""

    key = ""

    def __init__(self, path: Path) -> None:
        self.path = path

    def describe(self) -> dict[str, Any]:
        return {"virtual-size": self.path.stat().st_size}

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def header(self) -> Header:
        return read_header(self.path.read_bytes())

    def sha256(self) -> str:
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def resize(self, size: int) -> None:
        os.truncate(self.path, size)

    @contextmanager
    def image(self, header: Header | None = None) -> Iterator[Image]:
        del header
        yield self

    @contextmanager
    def accessed(self) -> Iterator[Image]:
        yield self

    @contextmanager
    def locked(self) -> Iterator[None]:
        yield


class Bench:
    """What is behind a url lies in the folder, too."""

    folder = "/nonexistent"
    root = Path()
    users = None

    def __init__(self, capabilities: Capabilities, *, open_timeout: float) -> None:
        self.capabilities = capabilities
        self.open_timeout = open_timeout
        self.progress = DiskProgress()

    def confined(self, *_arguments: object) -> list[str]:
        return []

    def shared(self, _key: object, make: Callable[[], AbstractContextManager[Any]]) -> Any:
        with make() as made:
            return made

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @contextmanager
    def storage(self, disk: Disk, *, writable: bool = False) -> Iterator[Image]:
        path = Path(disk.source.get("filename") or self.root / os.path.basename(disk.source["url"]))
        if not path.exists():
            raise QmpError(f"blockdev-add: Could not open '{path}': No such file or directory")
        yield Image(path)

    image = storage

    def size_of_source(self, origin: Disk) -> int:
        with self.storage(origin) as storage:
            check_content(storage, origin)
            return int(storage.describe()["virtual-size"])

    def create(self, disk: Disk, options: Callable[[Any], Any], *, seconds: float | None = None) -> None:
        made = options({"filename": disk.source["filename"]})
        os.truncate(made["filename"], made["size"])

    def copy(self, origin: Disk, target: Disk, *, blank: bool) -> None:
        size = os.path.getsize(target.source["filename"])
        shutil.copyfile(self.root / os.path.basename(origin.source["url"]), target.source["filename"])
        os.truncate(target.source["filename"], size)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(Bench, "root", tmp_path)
    monkeypatch.setattr(module, "Workbench", Bench)
    monkeypatch.setattr(module, "probe", lambda: probed("debian13"))
    monkeypatch.setattr(locks, "DISKS_LOCK", str(tmp_path / "lock"))
    monkeypatch.setattr(host_mark, "_MACHINE_ID", "/dev/null")
    monkeypatch.setattr(file, "vms_that_open", lambda *_: [])
    (tmp_path / "a.raw").write_bytes(b"golden".ljust(MIB, b"\0"))
    return tmp_path


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the server says of the image at URL."""
    found: dict[str, Any] = {"etag": '"1"', "last_modified": "", "length": MIB, "place": "http://images.example"}
    monkeypatch.setattr(web_image, "ask", lambda disk, resources, *, seconds, begin: web_image.ServerAnswer(**found))
    return found


def test_an_image_is_predicted_made_and_left_alone(monkeypatch: pytest.MonkeyPatch, host: Path) -> None:
    desired = {"file": {"path": str(host / "new")}, "size": "2MiB", "source": {"http": {"url": URL}}}
    predicted = run_module(monkeypatch, qemu_remote_image, **desired, _ansible_check_mode=True)
    assert not (host / "new").exists()
    made = run_module(monkeypatch, qemu_remote_image, **desired)
    assert predicted == made
    assert made["actions"] == [f"create file {host}/new as raw of 2 MiB, a copy of http {URL}"]
    assert (made["changed"], made["state"], made["size"], made["format"]) == (True, "present", 2 * MIB, "raw")
    header = {"before_header": "disk", "after_header": "disk"}
    state = {"before": {"exists": False, "opened_by": []}, "after": made["image"]}
    assert made["diff"] == {**header, **state, "prepared": f"disk: {made['actions'][0]}\n"}
    assert made["blockdev"][0]["filename"] == f"{host}/new"
    assert (host / "new").read_bytes()[:6] == b"golden"
    assert (host / "new").stat().st_mode & 0o777 == 0o600
    again = run_module(monkeypatch, qemu_remote_image, **desired)
    assert (again["changed"], again["image"]) == (False, made["image"])
    gone = run_module(monkeypatch, qemu_remote_image, file={"path": str(host / "new")}, state="absent")
    assert (gone["changed"], gone["state"]) == (True, "absent")
    assert sorted(os.listdir(host)) == ["a.raw", "lock"]


def test_nothing_is_kept_of_what_has_another_digest(monkeypatch: pytest.MonkeyPatch, host: Path) -> None:
    desired = {"file": {"path": str(host / "new")}, "source": {"http": {"url": URL}}, "sha256": "0" * 64}
    message = run_module(monkeypatch, qemu_remote_image, **desired)["msg"]
    assert message.startswith(f"file {host}/new: its sha256 is ")
    assert message.endswith(f"and {'0' * 64} is declared; nothing was kept")
    assert sorted(os.listdir(host)) == ["a.raw", "lock"]
    digest = hashlib.sha256((host / "a.raw").read_bytes()).hexdigest()
    assert run_module(monkeypatch, qemu_remote_image, **{**desired, "sha256": digest})["image"]["sha256"] == digest


def test_what_a_killed_run_has_left_is_removed(monkeypatch: pytest.MonkeyPatch, host: Path) -> None:
    left = Path(file.temporary(str(host / "new")))
    left.write_bytes(b"half")
    answer = run_module(monkeypatch, qemu_remote_image, file={"path": str(host / "new")}, size="1MiB")
    assert answer["actions"][0] == f"remove {left}, which an interrupted run left"
    assert not left.exists()
    assert (host / "new").stat().st_size == MIB


def test_a_raw_image_that_begins_as_a_qcow2_is_refused_unless_its_bytes_are_meant(
    monkeypatch: pytest.MonkeyPatch, host: Path
) -> None:
    (host / "a.raw").write_bytes(QCOW2_LOOK.ljust(MIB, b"\0"))
    image = {"file": {"path": str(host / "a.raw")}}
    refused = run_module(monkeypatch, qemu_remote_image, **image, size="2MiB")
    assert "it is a qcow2 image, and raw is declared: declare format: qcow2, or raw_content: true" in refused["msg"]
    assert (host / "a.raw").stat().st_size == MIB
    answer = run_module(monkeypatch, qemu_remote_image, **image, raw_content=True)
    assert (answer["changed"], answer["format"], answer["size"]) == (False, "raw", MIB)


def test_an_image_in_use_is_left_alone(monkeypatch: pytest.MonkeyPatch, host: Path) -> None:
    monkeypatch.setattr(file, "vms_that_open", lambda *_: ["web1"])
    desired = {"file": {"path": str(host / "a.raw")}, "state": "absent"}
    message = run_module(monkeypatch, qemu_remote_image, **desired)["msg"]
    assert message == (
        f"file {host}/a.raw: VM web1 of this host has it open: it is not removed; stop the VM, or set force: true"
    )
    assert run_module(monkeypatch, qemu_remote_image, **desired, force=True)["image"]["opened_by"] == ["web1"]
    assert not (host / "a.raw").exists()


def test_an_image_behind_a_url(monkeypatch: pytest.MonkeyPatch, host: Path, said: dict[str, Any]) -> None:
    answer = run_module(monkeypatch, qemu_remote_image, http={"url": URL}, virtual_size="1MiB", etag='"1"')
    assert (answer["changed"], answer["image"]["etag"], answer["size"]) == (False, '"1"', MIB)


@pytest.mark.parametrize(
    "desired, message",
    [
        ({"etag": '"2"'}, 'the server has another image: its etag is "1", and "2" is declared'),
        ({"virtual_size": "2MiB"}, "it has 1 MiB, and 2 MiB are declared"),
        ({"sha256": "0" * 64}, f"and {'0' * 64} is declared; correct the declaration"),
        ({"format": "qcow2"}, "it is declared as qcow2, but it is not a qcow2"),
        ({"state": "absent"}, "can only be read, so it cannot be removed"),
        ({"size": "1MiB"}, "cannot be created or grown here"),
    ],
)
def test_an_image_behind_a_url_that_is_not_what_is_declared(
    monkeypatch: pytest.MonkeyPatch, host: Path, said: dict[str, Any], desired: dict[str, Any], message: str
) -> None:
    assert message in run_module(monkeypatch, qemu_remote_image, http={"url": URL}, **desired)["msg"]


def test_a_server_may_send_us_where_it_is_said(
    monkeypatch: pytest.MonkeyPatch, host: Path, said: dict[str, Any]
) -> None:
    said["place"] = "https://mirror.example"
    answer = run_module(monkeypatch, qemu_remote_image, http={"url": URL}, follow=["https://other.example"])
    assert answer["msg"].endswith(
        "sends us on to https://mirror.example; declare that url, or set follow: [https://mirror.example]"
    )
    for place in ("https://mirror.example", "https://Mirror.example:443"):
        assert "msg" not in run_module(monkeypatch, qemu_remote_image, http={"url": URL}, follow=[place])


def test_the_copy_of_an_image(monkeypatch: pytest.MonkeyPatch, host: Path, said: dict[str, Any]) -> None:
    copy = host / "copy"
    monkeypatch.setattr(stage, "copy_of", lambda disk: str(copy))
    monkeypatch.setattr(image_cache, "fetch", lambda disk, bench, length: shutil.copyfile(host / "a.raw", copy))
    monkeypatch.setattr(web_image, "read_head", lambda disk, resources, *, seconds, begin: b"golden")
    monkeypatch.setattr(readonly_image, "vms_that_open", lambda *_: [])
    known: dict[tuple[str, str], str] = {}
    monkeypatch.setattr(image_fetch, "remembered", lambda path, name: known.get((path, name), ""))
    desired = {"http": {"url": URL}, "route": "stage"}
    predicted = run_module(monkeypatch, qemu_remote_image, **desired, _ansible_check_mode=True)
    fetched = run_module(monkeypatch, qemu_remote_image, **desired)
    assert predicted == fetched
    assert fetched["actions"] == [f"fetch http {URL} into this host's cache"]
    said["length"] = 2 * MIB
    stale = run_module(monkeypatch, qemu_remote_image, **desired)
    assert (stale["changed"], stale["image"]["stale"]) == (False, True)
    assert run_module(monkeypatch, qemu_remote_image, **desired, refresh=True)["changed"]
    said["length"] = MIB
    assert not run_module(monkeypatch, qemu_remote_image, **desired)["image"]["stale"]
    known[str(copy), image_fetch.ETAG] = '"0"'
    assert run_module(monkeypatch, qemu_remote_image, **desired)["image"]["stale"]
    said["etag"] = ""
    assert not run_module(monkeypatch, qemu_remote_image, **desired)["image"]["stale"]
    forgotten = run_module(monkeypatch, qemu_remote_image, **desired, state="absent")
    assert (forgotten["changed"], copy.exists()) == (True, False)


def test_a_copy_that_is_not_what_is_declared_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, host: Path, said: dict[str, Any]
) -> None:
    copy = host / "copy"
    monkeypatch.setattr(stage, "copy_of", lambda disk: str(copy))
    monkeypatch.setattr(image_cache, "fetch", lambda disk, bench, length: shutil.copyfile(host / "a.raw", copy))
    monkeypatch.setattr(web_image, "read_head", lambda disk, resources, *, seconds, begin: b"golden")
    answer = run_module(monkeypatch, qemu_remote_image, http={"url": URL}, route="stage", sha256="0" * 64)
    assert "is declared; nothing was kept" in answer["msg"]
    assert not copy.exists()
