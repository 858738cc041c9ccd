# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plans of a host: what is explained of a VM that did not start and what is not, and the files beside its units."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils import _programs
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.explain import find_hint
from ansible_collections.directdisk.qemu.plugins.module_utils._units.paths import NEEDRESTART
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import render
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.host_plans import (
    desired_state,
    explain_failure,
    make_plans,
)
from ansible_collections.directdisk.qemu.tests.unit.plugins.plugin_utils._host_run.test_explained_logs import (
    DISKS,
    explained,
)
from ansible_collections.directdisk.qemu.tests.unit.support import NBD, capabilities, plan, vm

OF_SYSTEMD = (
    "start-post operation timed out. Terminating.",
    "State 'stop-sigterm' timed out. Killing.",
    "Failed to set up credentials: Permission denied",
    "Failed to set up mount namespacing: /srv/data.img: No such file or directory",
    "Failed at step NAMESPACE spawning /usr/bin/qemu-system-x86_64: Read-only file system",
    "Failed to run 'start' task: No space left on device",
    "Failed with result 'timeout'.",
    "Control process exited, code=killed, status=9/KILL",
)


@pytest.mark.parametrize("unit", ["qemu-vm-web1.service", "qemu-vm-web1.kit.nbdkit.service", "qemu-image-0a.service"])
@pytest.mark.parametrize("message", OF_SYSTEMD)
def test_a_message_of_systemd_is_not_taken_for_one_of_a_storage(unit: str, message: str) -> None:
    assert explained(f"{unit}: {message}") == "hv1: vm web1: did not start"


def test_the_signal_that_ends_an_unpacker_is_reported_by_systemd() -> None:
    line = "qemu-vm-web1.tar.nbdkit.service: Main process exited, code=killed, status=25/XFSZ"
    assert "unpacked, it is larger than max_size allows" in explained(line)


PROGRAMS = (*(render.TEMPLATES.parent / "files").glob("*.py"), *Path(_programs.__file__).parent.glob("*.py"))
MEANT = (
    "Gluster connection for volume ... failed to connect: ...",
    "error opening pool",
    "error reading conf file",
    "error reading header from ...",
    "timed out after ... s",
    "...: its sha256 is ..., and ... is declared; nothing was kept",
)
"""Messages that hints explain: libgfapi.py, iscsi_session.py and owners_rbd.py report errors as QEMU's drivers do."""


def messages_of(program: Path) -> Iterator[str]:
    """Yield the texts of a program that may be messages."""
    tree = ast.parse(program.read_text(encoding="utf-8"))
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    inner = {id(value) for text in texts for value in text.values}
    documented = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for text in texts:
        yield "".join(str(value.value) if isinstance(value, ast.Constant) else "..." for value in text.values)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner | documented:
            yield node.value


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_a_message_of_the_collection_is_not_taken_for_one_of_a_storage(program: Path) -> None:
    hints = {hint for backend in BACKENDS.values() for hint in backend.hints}
    taken = {text: find_hint(hints, text) for text in messages_of(program) if " " in text}
    assert {text: hint for text, hint in taken.items() if hint and text not in MEANT} == {}


def test_each_cause_is_told_once_and_the_log_comes_last() -> None:
    lines = ['{"node-name":"root.storage"}: Connection refused'] * 2 + ["/srv/data.img: Permission denied"]
    lines.append("Could not open '/srv/data.img': Permission denied")
    told = explain_failure(plan({"disks": DISKS}), lines, "hv1")
    assert [line.partition(":")[2].partition(":")[0] for line in told] == [" disk root of web1", " disk data of web1"]
    assert told[-1].endswith("\n  its log:" + "".join(f"\n    {line}" for line in lines))


def test_a_message_without_a_cause_is_left_out_beside_the_cause() -> None:
    lines = ["realpath: /srv/e.tar.xz: No such file or directory"]
    lines.append('{"node-name":"tar.storage"}: Requested export not available')
    told = explain_failure(plan({"disks": DISKS}), lines, "hv1")
    assert [line.splitlines()[0].rpartition(": ")[2] for line in told] == [
        "there is no such file; create it, or correct filename"
    ]


def test_no_log_is_said_to_be_none() -> None:
    assert explain_failure(plan({}), [], "hv1") == ["hv1: vm web1: did not start\n  its log:\n    (no log)"]


def test_a_secret_stands_in_no_explanation() -> None:
    assert "pass-of-joe" not in explained('{"node-name":"web.storage"}: Connection refused')


def test_needrestart_leaves_vms_and_their_helpers_alone() -> None:
    files = desired_state([plan({"disks": DISKS})], encrypted=False)["files"]
    (pattern,) = re.findall(r"^\$nrconf\{override_rc\}->\{qr\((.*)\)\} = 0;$", files[NEEDRESTART]["text"], re.MULTILINE)
    units = {path.rpartition("/")[2] for path in files if path.endswith(".service")}
    assert {unit for unit in units if not re.match(pattern, unit)} == {"qemu-vms-resume.service"}


NBD_ARGUMENT = '-blockdev {"driver":"nbd","export":"web1","node-name":"root.storage","read-only":false}: '


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (
            "address resolution failed for 192.0.2.5:10809: Temporary failure in name resolution",
            "the server's name is unknown to this host; check the name and the host's resolver",
        ),
        (
            "Request not supported: the export is read-only",
            "the server gives it out read-only; set writes: deny, overlay or discard, or correct the server",
        ),
    ],
)
def test_a_hint_is_about_what_qemu_says(problem: str, words: str) -> None:
    assert explained(f"{NBD_ARGUMENT}{problem}") == f"hv1: disk root of web1: nbd 192.0.2.5:10809/web1: {words}"


def test_no_hint_matches_what_the_collection_itself_wrote() -> None:
    assert explained(f"{NBD_ARGUMENT}Failed to read data: Unexpected end-of-file") == "hv1: vm web1: did not start"


HEAD = "nbdkit: curl[1]: error: problem doing HEAD request to fetch size of URL [http://192.0.2.7/b]: "


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            f"{HEAD}HTTP response code said error: The requested URL returned error: 405",
            "the server refuses to tell the image's size (HEAD); check the url and the user's rights; if only HEAD is "
            "refused, as for a url that is signed for GET, set route: stage",
        ),
        (f"{HEAD}HTTP response code said error: The requested URL returned error: 404", "check the url"),
        (
            "nbdkit: curl[1]: error: could not get length of remote file [http://192.0.2.7/b], is the URL correct?",
            "if the server tells no sizes, set route: stage",
        ),
        ("nbdkit: curl[1]: error: [http://192.0.2.7/b] server does not support 'range' requests", "set route: stage"),
    ],
    ids=["no HEAD", "not found", "no length", "no ranges"],
)
def test_a_web_server_that_only_sends_whole_files_is_named(line: str, words: str) -> None:
    found = explained(line)
    assert found.startswith("hv1: disk kit of web1: http http://192.0.2.7/b: ")
    assert found.endswith(words)


def test_a_message_of_the_module_is_not_shown_as_a_log_of_a_vm_that_did_not_start() -> None:
    lines = ["vm web1: is not restarted: its guest has not shut down within stop_timeout (10 s) and runs on"]
    assert explain_failure(plan({}), lines, "hv1") == [f"hv1: {lines[0]}"]
    assert explain_failure(plan({}), [*lines, "qemu: dies"], "hv1")[0].startswith("hv1: vm web1: did not")


@pytest.mark.parametrize(
    ("state", "active", "spare"),
    [("started", "active", 3), ("started", "inactive", 2), ("stopped", "active", 2), ("stopped", "inactive", 2)],
)
def test_a_vm_that_does_not_run_on_has_the_spare_ports_of_its_next_start(state: str, active: str, spare: int) -> None:
    """The unit that a run leaves when it stops a VM is the one that the next run finds right."""
    unit = "qemu-vm-web1.service"
    places = {f"machine.port{17 + number}": f"bus=pcie.0,addr=0x06.{number}" for number in range(4)}
    places["root"] = "bus=machine.port17"
    observed: Any = {
        "paths": {},
        "files": {f"/etc/systemd/system/{unit}": {"places": places}},
        "units": {unit: {"active": active}},
    }
    declared = vm({"memory": "64MiB", "state": state, "hotplug_ports": 2, "disks": {"root": NBD}})
    (made,) = make_plans([declared], capabilities(), observed)
    ports = [group[-1] for group in made.services[-1].args if "pcie-root-port,id=machine.port" in group[-1]]
    # Those from 0x06 on are for disks.
    assert len([port for port in ports if re.search("addr=0x0[67]", port)]) == 1 + spare
