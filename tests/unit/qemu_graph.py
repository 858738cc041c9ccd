# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What QEMU has opened, from the top of a disk to its storage, so that two spellings of it can be compared.

Also a program, for hosts with nothing but Python: ``qemu_graph.py QMP_SOCKET`` prints that of all disks of a QEMU as
JSON, and fails if it has none.
"""

from __future__ import annotations

import json
import re
import socket
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

Execute = Callable[..., Any]

_SECRETS = re.compile("password|.*-secret|username")
# A line says the monitors among other options of Ceph's client, and QEMU shows none of those.
_CEPH = re.compile("key-secret|user|conf|=keyvalue-pairs|server.*")
# QEMU shows the way in which a URI says it, and not that of an option.
_HOST_KEY = re.compile(r"\?host_key_check=.*")


def graph(execute: Execute, top: str) -> list[Any]:
    """Driver, mode and storage of each node from a top one down; nodes that change nothing are left out."""
    nodes = {node["node-name"]: node for node in execute("query-named-block-nodes", {"flat": True})}
    drawn = execute("x-debug-query-block-graph")
    names = {node["id"]: node["name"] for node in drawn["nodes"]}
    below = {
        (names[edge["parent"]], edge["name"]): names[edge["child"]]
        for edge in drawn["edges"]
        if edge["parent"] in names
    }
    found: list[Any] = []
    name: str | None = top
    while name:
        node, child = nodes[name], below.get((name, "file"))
        covered = node["drv"] == "qcow2" and not found and below.get((name, "backing"))
        if covered and "qcow2" in str(node["file"]) + str(nodes[child or name]["file"]):
            child = covered
        elif not (node["drv"] in ("raw", "throttle", "copy-on-read") and child):
            found.append(_facts(node, last=child is None))
        name = child
    return found


def _facts(node: dict[str, Any], *, last: bool) -> dict[str, Any]:
    cache = {key: node["cache"][key] for key in ("direct", "no-flush")}
    storage = _storage(node["file"]) if last else ""
    return {"driver": node["drv"], "read-only": node["ro"], "cache": cache, "storage": storage}


def _storage(text: str) -> Any:
    if not text.startswith("json:"):
        return _HOST_KEY.sub("", unquote(text))
    options = json.loads(text[len("json:") :])
    if options["driver"] == "gluster":
        return f"gluster://{options['server.0.host']}/{options['volume']}/{options['path']}"
    left_out = _CEPH if options["driver"] == "rbd" else _SECRETS
    return _plain({key: value for key, value in options.items() if value != "" and not left_out.fullmatch(key)})


def _plain(value: Any) -> Any:
    """Numbers and truth values as text, as they stand on a command line; dotted keys as options within options."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in sorted(value.items())}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def connect(path: str) -> Execute:
    """A function that executes QMP commands at a socket."""
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(30)
    stream.connect(path)
    lines = stream.makefile("rw", encoding="utf-8")
    lines.readline()

    def execute(command: str, arguments: Any = None) -> Any:
        lines.write(json.dumps({"execute": command, "arguments": arguments or {}}) + "\n")
        lines.flush()
        while True:
            reply = json.loads(lines.readline())
            if "return" in reply or "error" in reply:
                return reply["return"]

    execute("qmp_capabilities")
    return execute


def disks(execute: Execute) -> list[list[Any]]:
    """The graphs of all disks of a VM, in QEMU's order."""
    tops = [block["inserted"]["node-name"] for block in execute("query-block") if "inserted" in block]
    return [graph(execute, top) for top in tops]


def main(path: str) -> None:
    found = disks(connect(path))
    print(json.dumps(found))
    sys.exit(not found)


if __name__ == "__main__":
    main(*sys.argv[1:])
