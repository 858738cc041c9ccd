# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A test double of qemu-storage-daemon: it opens any node, and writes down what it was told.

Under a node named ``stranger.format...`` it opens another one.

Its log is the file that the variable FAKE_LOG names. A node whose driver is ``refused`` cannot be opened, and at one
whose driver is ``silent`` it stops to answer. One whose driver is ``loud`` has it write much to standard error. The
header of disk ``elsewhere`` has had a file opened.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from typing import Any


def image(name: str) -> dict[str, Any]:
    """QAPI ImageInfo of a node."""
    found: dict[str, Any] = {"virtual-size": 1048576, "format": "raw"}
    elsewhere = {"format-specific": {"type": "qcow2", "data": {"data-file": "/etc/shadow"}}}
    return {**found, **(elsewhere if name.startswith("elsewhere.") else {})}


def answer(command: str, arguments: dict[str, Any], nodes: list[str]) -> dict[str, Any]:
    """The reply to one command."""
    if command == "blockdev-add":
        if arguments["driver"] == "refused":
            return {"error": {"class": "GenericError", "desc": "Could not open it"}}
        if arguments["driver"] == "loud":
            print("connection lost, trying again\n" * 10000, file=sys.stderr)
        nodes.append(arguments["node-name"])
        if arguments["node-name"].startswith("stranger.format"):
            nodes.append("#block001")
    if command == "blockdev-del":
        nodes[:] = [name for name in nodes if name != arguments["node-name"] and not name.startswith("#")]
    if command == "query-named-block-nodes":
        return {"return": [{"node-name": name, "image": image(name)} for name in nodes]}
    if command == "query-jobs":
        return {"return": [{"id": f"create-{number}", "status": "concluded"} for number in range(9)]}
    return {"return": {}}


def main() -> None:
    number = next(match for match in map(re.compile(r"fd=(\d+)").search, sys.argv) if match).group(1)
    nodes: list[str] = []
    with socket.socket(fileno=int(number)) as monitor, open(os.environ["FAKE_LOG"], "a", encoding="utf-8") as log:
        lines = monitor.makefile("r", encoding="utf-8")
        reply: dict[str, Any] = {"QMP": {"version": {}, "capabilities": []}}
        while True:
            monitor.sendall(json.dumps(reply).encode() + b"\n")
            line = lines.readline()
            if not line:
                return
            request = json.loads(line)
            command, arguments = request["execute"], request.get("arguments") or {}
            print(json.dumps([os.getpid(), command, arguments]), file=log, flush=True)
            if arguments.get("driver") == "silent":
                lines.read()
                return
            reply = answer(command, arguments, nodes)


if __name__ == "__main__":
    main()
