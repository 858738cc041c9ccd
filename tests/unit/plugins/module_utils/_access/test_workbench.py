# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks are opened in a daemon that sees only what it must, and nothing of it is left. The daemon is a test double."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._access import confinement, storage_daemon, workspace
from ansible_collections.directdisk.qemu.plugins.module_utils._access.confinement import Confinement
from ansible_collections.directdisk.qemu.plugins.module_utils._access.visible_files import VisibleFiles
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk, read_image
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.tests.unit.support import UNIT_TESTS, capabilities

Told = list[tuple[int, str, dict[str, Any]]]


class Daemon:
    """What the daemons of a test were told."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def told(self, *commands: str) -> Told:
        """Process, command and arguments of each; commands: only these."""
        lines = [json.loads(line) for line in self._log.read_text(encoding="utf-8").splitlines()]
        return [(process, command, said) for process, command, said in lines if not commands or command in commands]


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Daemon:
    double = (UNIT_TESTS / "fake_storage_daemon.py").read_text(encoding="utf-8")
    program, log = tmp_path / "qemu-storage-daemon", tmp_path / "log"
    # The workbench gives its daemons an environment of their own.
    program.write_text(
        f"#!{sys.executable}\nimport os\nos.environ['FAKE_LOG'] = {str(log)!r}\n"
        + double.replace("from __future__ import annotations\n", ""),
        encoding="utf-8",
    )
    program.chmod(0o755)
    monkeypatch.setattr(storage_daemon, "PROGRAM", str(program))
    monkeypatch.setattr(workspace, "FOLDER", str(tmp_path))
    # The double writes its log where a confined process could not; test_confined.py is about that.
    monkeypatch.setattr(confinement, "begin", lambda *_arguments, **_options: [])
    return Daemon(log)


def disk(name: str = "disk", **given: Any) -> Disk:
    return read_image(name, given or {"nbd": {"host": "192.0.2.5"}}, name)


def test_what_closes_slowly_is_left_open_where_nothing_was_written(daemon: Daemon) -> None:
    where = {"gluster": {"host": "192.0.2.6", "volume": "gv", "path": "a"}}
    with Workbench(capabilities()) as bench:
        for writable in (False, True, False):
            with bench.image(disk(**where), writable=writable):
                pass
    processes = [process for process, _command, _said in daemon.told("blockdev-add")]
    assert processes[0] == processes[1] != processes[2] == processes[3] != processes[4]
    assert names(daemon.told("blockdev-del"), "node-name") == [
        *("disk.format.1", "disk.format.2", "disk.storage.2", "disk.format.3"),
    ]


def test_a_daemon_that_reports_very_much_goes_on(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    program = Path(storage_daemon.PROGRAM)
    shebang, rest = program.read_text(encoding="utf-8").split("\n", 1)
    program.write_text(f"{shebang}\nprint('x' * (1 << 18), file=__import__('sys').stderr)\n{rest}", encoding="utf-8")
    with Workbench(capabilities()) as bench, bench.image(disk()) as node:
        assert node.describe()["format"] == "raw"


def driver_of(name: str, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """A disk of which the daemon is told to use this driver."""
    nbd = BACKENDS["nbd"]
    read = disk()
    access = replace(nbd.access, node=lambda values, resources: {"driver": name})
    object.__setattr__(read, "backend", replace(nbd, access=access))
    return read


def names(told: Told, key: str) -> list[str]:
    return [arguments[key] for _process, _command, arguments in told]


def test_a_disk_that_is_only_looked_at_is_not_locked_and_not_written(daemon: Daemon) -> None:
    with Workbench(capabilities()) as bench, bench.image(disk()) as node:
        assert node.describe() == {"virtual-size": 1048576, "format": "raw"}
    opened = [arguments for _process, _command, arguments in daemon.told("blockdev-add")]
    assert all(node["read-only"] and node["force-share"] for node in opened)
    assert opened[1]["file"] == opened[0]["node-name"]
    assert names(daemon.told("blockdev-del"), "node-name") == [node["node-name"] for node in reversed(opened)]


def test_a_daemon_may_say_as_much_as_its_libraries_like(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    with Workbench(capabilities(), open_timeout=2) as bench, bench.storage(driver_of("loud", monkeypatch)) as storage:
        assert storage.describe()["virtual-size"] == 1048576


def test_a_disk_that_is_written_keeps_others_out(daemon: Daemon) -> None:
    with Workbench(capabilities()) as bench, bench.storage(disk(), writable=True) as node:
        node.resize(4096)
    (opened,) = [arguments for _process, _command, arguments in daemon.told("blockdev-add")]
    assert (opened["read-only"], opened.get("force-share")) == (False, None)
    ((_process, _command, resized),) = daemon.told("block_resize")
    assert resized == {"node-name": opened["node-name"], "size": 4096}


def test_one_daemon_opens_many_disks_and_no_name_comes_twice(daemon: Daemon) -> None:
    with Workbench(capabilities()) as bench:
        for _number in range(5):
            with bench.image(disk()):
                pass
    told = daemon.told("blockdev-add")
    assert len({process for process, _command, _arguments in told}) == 1
    assert len(set(names(told, "node-name"))) == len(told) == 10


def test_what_a_header_has_opened_is_not_used(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may show one header to us, and another one to QEMU."""
    with Workbench(capabilities()) as bench:
        with pytest.raises(HostError, match="its header has had #block001 opened"), bench.image(disk("stranger")):
            pass
        with bench.image(disk()):
            pass
    assert len(daemon.told("blockdev-add")) == len(daemon.told("blockdev-del"))


def test_a_declared_backing_file_of_this_host_is_shown_to_the_daemon(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    base, shown, allowed = tmp_path / "base.raw", list[str](), list[Confinement]()
    base.touch()

    @contextlib.contextmanager
    def show(files: VisibleFiles, paths: Sequence[str]) -> Iterator[None]:
        shown.extend(paths)
        yield

    monkeypatch.setattr(VisibleFiles, "shown", show)
    monkeypatch.setattr(confinement, "begin", lambda one, *_arguments, **_options: allowed.append(one) or [])
    provision = {"backing": {"file": str(base), "format": "raw"}}
    nfs = {"nfs": {"host": "192.0.2.7", "path": "/export/a"}, "format": "qcow2"}
    with Workbench(capabilities()) as bench:
        for declared in (nfs, {**nfs, "provision": provision}):
            with bench.storage(disk(**declared)):
                pass
    assert shown == [str(base)]
    assert [one.opens for one in allowed] == [False, True]


def test_what_reads_secrets_is_nobody(daemon: Daemon) -> None:
    luks = disk(nbd={"host": "192.0.2.5"}, luks={"passphrase": "geheim"})
    with Workbench(capabilities()) as bench, bench.image(luks):
        ((_process, _command, secret),) = daemon.told("object-add")
        owners = {os.stat(path).st_uid for path in (secret["file"], bench.folder)}
        assert len(owners) == 1
        assert owners.pop() > 0x70000000
        assert os.stat(os.path.dirname(bench.folder)).st_uid == os.getuid()


def test_a_secret_is_a_file_that_only_root_can_read_and_is_gone_afterwards(daemon: Daemon, tmp_path: Path) -> None:
    luks = disk(nbd={"host": "192.0.2.5"}, luks={"passphrase": "geheim"})
    with Workbench(capabilities()) as bench, bench.image(luks):
        ((_process, _command, secret),) = daemon.told("object-add")
        path = Path(secret["file"])
        assert path.read_text(encoding="utf-8") == "geheim"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        folder = path.parent
    assert not folder.exists()
    assert names(daemon.told("object-del"), "id") == [secret["id"]]
    assert "geheim" not in (tmp_path / "log").read_text(encoding="utf-8")


def test_the_daemon_has_ended_once_the_workbench_is_closed(daemon: Daemon) -> None:
    with Workbench(capabilities()) as bench, bench.image(disk()):
        (process,) = {process for process, _command, _arguments in daemon.told()}
        os.kill(process, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_what_cannot_be_opened_leaves_no_node_behind(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    with Workbench(capabilities()) as bench:
        with (
            pytest.raises(HostError, match="Could not open it"),
            bench.image(driver_of("refused", monkeypatch)),
        ):
            pass
        with bench.image(disk()):
            pass
    told = daemon.told()
    assert len({process for process, _command, _arguments in told}) == 1
    assert len(daemon.told("blockdev-add")) - 1 == len(daemon.told("blockdev-del"))


def test_an_image_whose_header_has_had_a_file_opened_is_not_used(daemon: Daemon) -> None:
    """A server may show another header to QEMU than it has shown to us."""
    with Workbench(capabilities()) as bench:
        with pytest.raises(HostError, match="its header has had /etc/shadow opened"), bench.image(disk("elsewhere")):
            pytest.fail("it was exported")
        with bench.image(disk()):
            pass
    assert len(daemon.told("blockdev-add")) == len(daemon.told("blockdev-del"))


def test_a_daemon_that_does_not_answer_is_replaced_at_once(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    with Workbench(capabilities(), open_timeout=0.5) as bench:
        with pytest.raises(HostError, match="does not answer"), bench.image(driver_of("silent", monkeypatch)):
            pass
        with bench.image(disk()) as node:
            assert node.describe()["virtual-size"] == 1048576
    processes = [process for process, _command, _arguments in daemon.told("qmp_capabilities")]
    assert len(processes) == 2


def test_a_format_is_written_by_a_job_that_is_waited_for(daemon: Daemon) -> None:
    with Workbench(capabilities()) as bench, bench.storage(disk(), writable=True) as node:
        node.write_format({"driver": "qcow2", "size": 4096})
    ((_process, _command, job),) = daemon.told("blockdev-create")
    assert job["options"] == {"driver": "qcow2", "size": 4096, "file": node.name}
    assert names(daemon.told("job-dismiss"), "id") == [job["job-id"]]


def test_an_export_has_an_end(daemon: Daemon) -> None:
    with Workbench(capabilities()) as bench, bench.image(disk()) as node, node.served(writable=False) as uri:
        assert uri.startswith(f"nbd+unix:///{node.name}?socket=")
    assert names(daemon.told("block-export-add"), "id") == names(daemon.told("block-export-del"), "id")


def test_the_header_of_a_file_of_this_host_is_read_without_an_export(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VisibleFiles, "shown", lambda *_: contextlib.nullcontext())
    path = tmp_path / "a.qcow2"
    path.write_bytes(struct.pack(">4sIQIIQI", b"QFI\xfb", 3, 0, 0, 16, 1 << 20, 0).ljust(512, b"\0"))
    with Workbench(capabilities()) as bench, bench.storage(disk(file={"path": str(path)}, format="qcow2")) as storage:
        header = storage.header()
        assert header.format == "qcow2"
        path.write_bytes(b"another one")
        with storage.image(header) as image:
            assert image.size == 1048576
    assert not daemon.told("block-export-add")
