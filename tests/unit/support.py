# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What several tests share: golden cases, recorded hosts, and short ways to read and plan a declaration.

Only module_utils is imported here: ansible-test runs a part of the tests with nothing else of Ansible in sight.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.read_vm import read_vms
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.plan import Plan, make_plan
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities

UNIT_TESTS = Path(__file__).parent
GOLDEN = UNIT_TESTS / "golden"
HOSTS = GOLDEN / "hosts"
HOST_NAME = "hv1"
NBD: dict[str, Any] = {"nbd": {"host": "192.0.2.5"}}
"""The shortest disk."""
SSH_KEY = """\
-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW
QyNTUxOQAAACC9ogCdoDAQK3ifnAvFKaHCxs3ZjaeBDXFGXPlcb06t3AAAAJB/uvszf7r7
MwAAAAtzc2gtZWQyNTUxOQAAACC9ogCdoDAQK3ifnAvFKaHCxs3ZjaeBDXFGXPlcb06t3A
AAAEABmWhS1bW+DvJXHLD5rNvXYt7YrFSCnsCT3JI1VPwr/72iAJ2gMBAreJ+cC8UpocLG
zdmNp4ENcUZc+VxvTq3cAAAACmEgdGVzdCBrZXkBAgM=
-----END OPENSSH PRIVATE KEY-----
"""
"""Made for these tests: it opens nothing."""
SSH: dict[str, Any] = {"host": "192.0.2.8", "user": "vms", "path": "/srv/a.img", "key": SSH_KEY}
"""The shortest disk behind SSH."""


ADOPTED: list[dict[str, Any]] = [
    case
    for path in sorted((UNIT_TESTS / "adopted").glob("*.yml"))
    for case in yaml.safe_load(path.read_text(encoding="utf-8"))
]
"""Command lines and XML that people have, with their declarations."""


@dataclass(frozen=True)
class Case:
    """A declaration on one recorded host, and the folder of what is expected of it."""

    name: str
    host: str

    @property
    def folder(self) -> Path:
        return GOLDEN / self.name / self.host

    @property
    def vms(self) -> dict[str, Any]:
        vms: dict[str, Any] = _declaration(self.name)["vms"]
        return vms

    @property
    def id(self) -> str:
        return f"{self.name}-{self.host}"


@cache
def _declaration(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((GOLDEN / name / "declaration.yml").read_text(encoding="utf-8"))
    return found


def golden_cases() -> list[Case]:
    """Every golden case on every host that it names."""
    names = sorted(path.parent.name for path in GOLDEN.glob("*/declaration.yml"))
    return [Case(name, host) for name in names for host in _declaration(name)["hosts"]]


def probed(host: str, **changes: Any) -> dict[str, Any]:
    """A recorded answer of the probe, with some of it replaced."""
    recorded: dict[str, Any] = json.loads((HOSTS / f"{host}.json").read_text(encoding="utf-8"))
    return {**recorded, **changes}


def capabilities(host: str = "debian13", **changes: Any) -> Capabilities:
    """What a recorded host can do, with some of it replaced."""
    return Capabilities.from_probe(probed(host, **changes))


def vm(given: Mapping[str, Any], name: str = "web1") -> Vm:
    """One machine, read."""
    return read_vms({name: given}, HOST_NAME)[0]


def disk_of(given: Mapping[str, Any], **settings: Any) -> dict[str, Any]:
    """A declaration of one machine with one disk, named root."""
    return {"disks": {"root": {**given, **settings}}}


def plan(given: Mapping[str, Any], host: str = "debian13", **changes: Any) -> Plan:
    """The plan of one machine on a recorded host."""
    return make_plan(vm(given), capabilities(host, **changes))


def plans_of(case: Case) -> list[Plan]:
    """The plans of a golden case; an absent machine has none."""
    facts = capabilities(case.host)
    return [make_plan(one, facts) for one in read_vms(case.vms, HOST_NAME) if one.state != "absent"]


def nodes_of(one: Plan) -> list[Node]:
    """Every -blockdev of a VM's command line."""
    return [json.loads(value) for option, *rest in one.services[-1].args for value in rest if option == "-blockdev"]


def golden_nodes() -> Iterator[tuple[str, Node]]:
    """Every node of every golden case, with a name for messages."""
    for case in golden_cases():
        for one in plans_of(case):
            yield from ((f"{case.id}: {one.vm.name}: {node['node-name']}", node) for node in nodes_of(one))


def errors_of(vms: Any, host: str = HOST_NAME) -> list[str]:
    """The messages with which a declaration is refused; none where it is read."""
    try:
        read_vms(vms, host)
    except DirectDiskError as error:
        return str(error).split("\n")
    return []


def empty_host(host: str = "debian13", **changes: Any) -> dict[str, Any]:
    """The module's answer to a look at a recorded host on which there is nothing yet."""
    observed: dict[str, Any] = {"files": {}, "units": {}, "credentials": {}, "paths": {}, "staged": [], "overlays": {}}
    observed.update(unmanaged=[], folders=[], links=[], heads={}, not_read={}, in_use={}, not_asked={}, processes={})
    return {"capabilities": probed(host), "observed": {**observed, **changes}}
