# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The QEMU that is installed here opens what is declared as it opens the line that the declaration was made from."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._access.storage_daemon import PROGRAM
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.convert import convert
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._host.probe import BAD_NODE_NAME, EMULATORS
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.blockdev import Graph, build_graph
from ansible_collections.directdisk.qemu.tests.unit.qemu_graph import graph
from ansible_collections.directdisk.qemu.tests.unit.support import disk_of, vm

EMULATOR = next((path for path in EMULATORS if Path(path).exists()), "")
LINES = [
    "file=nbd://127.0.0.1:{port}/a%20b,format=raw",
    "file=nbd:127.0.0.1:{port}:exportname=raw,format=raw,cache=none,readonly=on",
    "file=nbd+unix:///raw?socket={socket},format=raw,discard=unmap,detect-zeroes=unmap",
    "file=nbd:unix:{socket}:exportname=raw,format=raw,cache=unsafe",
    "file.driver=nbd,file.host=127.0.0.1,file.port={port},file.export=raw,format=raw",
    "file.driver=nbd,file.server.type=unix,file.server.path={socket},file.export=raw,format=raw,cache.direct=on",
    "driver=nbd,server.type=inet,server.host=127.0.0.1,server.port={port},export=raw",
    'file=json:{{"driver":"raw",,"file":{{"driver":"nbd",,"server.type":"unix",,"server.path":"{socket}",,"export":"raw"}}}}',
    "file=nbd+unix:///qcow2?socket={socket},format=qcow2,l2-cache-size=65536,iops=100",
    "file={folder}/a,,b.img,format=raw,aio=threads",
    "file=file:{folder}/a%20b.img,format=raw,cache=writethrough",
    "file.filename={folder}/a%20b.img,format=raw,file.locking=off,readonly=on",
    "file={folder}/c.qcow2,format=qcow2,cache=none,aio=native,lazy-refcounts=on",
]

WEB_LINES = [
    "file=http://127.0.0.1:{web}/a%20b,format=raw,readonly=on,file.readahead=65536",
    "file.driver=http,file.url=http://127.0.0.1:{web}/raw?a=b,file.timeout=9,format=raw,readonly=on",
]
"""For a driver that is packaged apart."""


class Web(BaseHTTPRequestHandler):
    """A web server as far as QEMU asks one before it reads."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(2**20))
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Images, and an NBD server that gives two of them out on a port and on a socket."""
    if not EMULATOR or not Path(PROGRAM).exists():
        pytest.skip("QEMU's system emulator and storage daemon are not both installed")
    folder = tmp_path_factory.mktemp("images")
    for name in ("a,b.img", "a%20b.img", "raw"):
        (folder / name).write_bytes(bytes(2**20))
    for name in ("c.qcow2", "served.qcow2"):
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", folder / name, "1M"], check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    exports = [("one", "raw", "raw"), ("one", "two", "a b"), ("three", "four", "qcow2")]
    files = {"one": "raw", "three": "served.qcow2"}
    nodes = [f"--blockdev=driver=file,node-name={name},filename={folder}/{file}" for name, file in files.items()]
    given = [
        f"--export=nbd,id=e{n},node-name={node},name={name},writable=on" for n, (node, _id, name) in enumerate(exports)
    ]
    with contextlib.ExitStack() as stack:
        for number, address in enumerate((f"type=inet,host=127.0.0.1,port={port}", f"type=unix,path={folder}/s")):
            own = [node.replace("driver=file", "driver=file,locking=off") for node in nodes]
            command = [PROGRAM, *own, f"--nbd-server=addr.{address.replace(',', ',addr.')}", *given]
            daemon = stack.enter_context(subprocess.Popen([*command, f"--pidfile={folder}/pid{number}"]))
            stack.callback(daemon.kill)
        deadline = time.monotonic() + 30
        while not all((folder / f"pid{number}").exists() for number in range(2)) and time.monotonic() < deadline:
            time.sleep(0.05)
        web = stack.enter_context(HTTPServer(("127.0.0.1", 0), Web))
        threading.Thread(target=web.serve_forever, daemon=True).start()
        stack.callback(web.shutdown)
        yield {"port": port, "socket": f"{folder}/s", "folder": folder, "web": web.server_port}


@contextlib.contextmanager
def qemu(*arguments: str) -> Iterator[Monitor]:
    ours, theirs = socket.socketpair()
    command = [EMULATOR, "-machine", "none", "-accel", "tcg", "-nodefaults", "-display", "none", "-S", "-qmp", "stdio"]
    end = theirs.fileno()
    with ours, theirs, subprocess.Popen([*command, *arguments], stdin=end, stdout=end) as process:
        theirs.close()
        monitor = Monitor(ours, seconds=60)
        yield monitor
        monitor.execute("quit")
        process.communicate(timeout=30)


def graph_of(line: str, number: int) -> Graph:
    declared = {**convert(f"{line},if=none").declaration, "route": "driver"}
    disk = vm(disk_of(declared)).disks[0]
    resources = UnitResources("", f"d{number}", "")
    named = type(disk)(f"d{number}", {**disk.settings}, disk.backend, disk.source)
    for limits in ("iops", "bps"):
        named.settings.pop(limits, None)  # type: ignore[attr-defined]
    return build_graph(named, disk.backend.access.node(disk.source, resources), resources, "")


def test_a_declaration_is_opened_as_the_line_that_it_was_made_from(places: dict[str, Any]) -> None:
    with qemu() as monitor:
        asked = {"driver": "http", "url": "http://h/a", "node-name": BAD_NODE_NAME}
        has_curl = "node" in monitor.try_execute("blockdev-add", asked)["error"]["desc"]
    lines = [line.format(**places) for line in LINES + WEB_LINES * has_curl]
    drives = [word for n, line in enumerate(lines) for word in ("-drive", f"{line},if=none,id=d{n}")]
    with qemu(*drives) as monitor:
        blocks = {block["device"]: block["inserted"]["node-name"] for block in monitor.execute("query-block")}
        wanted = {line: graph(monitor.execute, blocks[f"d{n}"]) for n, line in enumerate(lines)}
    graphs = [graph_of(line, number) for number, line in enumerate(lines)]
    nodes = [word for one in graphs for node in one.nodes for word in ("-blockdev", json.dumps(node))]
    with qemu(*nodes) as monitor:
        found = {line: graph(monitor.execute, one.top) for line, one in zip(lines, graphs)}
    assert found == wanted
    assert all(wanted.values())
