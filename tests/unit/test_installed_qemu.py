# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The golden nodes, offered to the QEMU that is installed here, by the same probe as on a host."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.arguments import SWITCHES
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.qemu_options import WITH_VALUE
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.boards import family, is_versioned
from ansible_collections.directdisk.qemu.plugins.module_utils._host.probe import (
    BAD_NODE_NAME,
    EMULATORS,
    _probe_emulator,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._host.running import _board
from ansible_collections.directdisk.qemu.plugins.module_utils._process import background
from ansible_collections.directdisk.qemu.tests.unit.converted_vm import started
from ansible_collections.directdisk.qemu.tests.unit.support import ADOPTED, golden_nodes
from ansible_collections.directdisk.qemu.tests.unit.test_schemas import gone, needed

EMULATOR = next((path for path in EMULATORS if Path(path).exists()), "")
# A node that stands on others has them looked up first.
ACCEPTED = re.compile("Invalid node[ -]name|Cannot find device")


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    if not EMULATOR:
        pytest.skip(f"none of {', '.join(EMULATORS)} is installed")
    ours, theirs = socket.socketpair()
    command = [EMULATOR, "-machine", "none", "-accel", "tcg", "-nodefaults", "-display", "none", "-qmp", "stdio"]
    end = theirs.fileno()
    with ours, theirs, subprocess.Popen(command, stdin=end, stdout=end, stderr=subprocess.PIPE) as process:
        monitor = Monitor(ours, seconds=60)
        yield monitor
        monitor.execute("quit")
        process.communicate(timeout=30)


def test_every_golden_node_is_accepted_but_for_its_impossible_name(monitor: Monitor) -> None:
    found = monitor.execute("query-version")["qemu"]
    version = (found["major"], found["minor"])
    offered, refused = set(), {}
    for name, node in golden_nodes():
        driver = str(node["driver"])
        if version < needed(node) or gone(driver, version):
            continue
        words = monitor.try_execute("blockdev-add", {**node, "node-name": BAD_NODE_NAME})["error"]["desc"]
        # A driver that is packaged apart need not be installed here: the schemas have its members.
        if words == f"Unknown driver '{driver}'":
            continue
        offered.add(driver)
        if not ACCEPTED.match(words):
            refused[name] = words
    assert refused == {}
    assert {"file", "host_device", "nbd", "qcow2", "raw"} <= offered


def test_the_boards_of_the_installed_qemu_are_those_it_starts_and_names(tmp_path: Path) -> None:
    if not EMULATOR:
        pytest.skip(f"none of {', '.join(EMULATORS)} is installed")
    machines = _probe_emulator(EMULATOR).machines
    known = [name for name in machines if is_versioned(name)]
    assert {"q35", "pc"} <= {family(name) for name in known}
    for board in ("q35", sorted(name for name in known if family(name) == "q35")[0]):
        path = str(tmp_path / f"{board}.sock")
        command = [EMULATOR, "-machine", board, "-accel", "tcg", "-m", "64", "-nodefaults", "-display", "none", "-S"]
        with subprocess.Popen([*command, "-qmp", f"unix:{path},server=on,wait=on"]) as process:
            try:
                # The socket has its name before it listens.
                while not background._listens(path) and process.poll() is None:
                    time.sleep(0.05)
                with Monitor.connect(path) as monitor:
                    running = _board(monitor.try_execute("qom-get", {"path": "/machine", "property": "type"}))
            finally:
                process.kill()
        assert running in known
        assert board in ("q35", running)


def test_every_option_of_the_installed_qemu_is_known_to_the_converter() -> None:
    if not EMULATOR:
        pytest.skip(f"none of {', '.join(EMULATORS)} is installed")
    text = subprocess.run([EMULATOR, "-help"], capture_output=True, text=True, check=True).stdout
    options = set(re.findall(r"(?:^|/)-([a-zA-Z][a-z0-9_-]*)", text, re.MULTILINE))
    assert options - WITH_VALUE - SWITCHES == set()


MISSING = re.compile(
    "is not a valid device model name|unsupported machine type|invalid option|does not accept value|No such file|"
    "Could not (open|init)|not found, do you want to install|supports only|unable to find CPU model|"
    "total memory for NUMA nodes"
)
"""Messages of a QEMU that has a thing not yet or no longer, or on a host without a device or file."""


@pytest.mark.parametrize(
    "case", [case for case in ADOPTED if "memory" in case.get("declaration", {})], ids=lambda case: case["name"]
)
def test_a_converted_command_line_starts(case: dict[str, Any]) -> None:
    if not EMULATOR:
        pytest.skip(f"none of {', '.join(EMULATORS)} is installed")
    message = started(case["declaration"], EMULATOR)
    if MISSING.search(message):
        pytest.skip(message.splitlines()[-1])
    assert message == ""
