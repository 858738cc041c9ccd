# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guests of running VMs, as their guest agents describe them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypedDict

from ansible_collections.directdisk.qemu.plugins.module_utils._clients.guest_agent import GuestAgent
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import GuestAgentError
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths

SECONDS = 2.0
"""Time limit for the agents of all VMs together: they are asked side by side."""
_WORKERS = 256
_LONGEST_TEXT = 200
_MOST_ENTRIES = 64
"""Limits of what is told of a guest: a text, interfaces, addresses of an interface."""


class Interface(TypedDict):
    """A network interface of a guest."""

    name: str
    mac: str
    addresses: list[str]
    """With prefix lengths."""


class GuestSystem(TypedDict):
    """The operating system of a guest."""

    id: str
    name: str
    version: str
    kernel: str
    machine: str


class AgentInfo(TypedDict):
    """An agent's answers."""

    problem: str
    """Reason why there are none; empty if it answers."""
    version: str
    host_name: str
    os: GuestSystem
    interfaces: list[Interface]


def observe(vms: Sequence[str]) -> dict[str, AgentInfo]:
    """Return what the agents of running VMs answer."""
    if not vms:
        return {}
    deadline = time.monotonic() + SECONDS
    with ThreadPoolExecutor(min(len(vms), _WORKERS)) as pool:
        return dict(zip(vms, pool.map(lambda vm: _ask(vm, deadline), vms)))


def _ask(vm: str, deadline: float) -> AgentInfo:
    info: AgentInfo = {"problem": "", "version": "", "host_name": "", "os": _system({}), "interfaces": []}
    try:
        with GuestAgent.connect(vm, paths.agent_socket(vm), deadline=deadline) as agent:
            info["version"] = _text(_like_dict(agent.execute("guest-info")), "version")
            info["host_name"] = _text(_like_dict(_allowed(agent, "guest-get-host-name")), "host-name")
            info["os"] = _system(_like_dict(_allowed(agent, "guest-get-osinfo")))
            info["interfaces"] = list(_interfaces(_allowed(agent, "guest-network-get-interfaces")))
    except GuestAgentError as error:
        info["problem"] = str(error)
    return info


def _allowed(agent: GuestAgent, command: str) -> Any:
    """Return the answer to a command; None if the guest does not allow or know it."""
    try:
        return agent.execute(command)
    except GuestAgentError:
        if agent.lost:
            raise
        return None


def _like_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _rows(value: Any) -> list[dict[str, Any]]:
    return [row for row in value[:_MOST_ENTRIES] if isinstance(row, dict)] if isinstance(value, list) else []


def _text(row: dict[str, Any], key: str) -> str:
    value = row.get(key)
    return value[:_LONGEST_TEXT] if isinstance(value, str) else ""


def _system(answer: dict[str, Any]) -> GuestSystem:
    return {
        "id": _text(answer, "id"),
        "name": _text(answer, "pretty-name") or _text(answer, "name"),
        "version": _text(answer, "version-id"),
        "kernel": _text(answer, "kernel-release"),
        "machine": _text(answer, "machine"),
    }


def _interfaces(answer: Any) -> Iterator[Interface]:
    for row in _rows(answer):
        addresses = [
            f"{_text(one, 'ip-address')}/{one['prefix']}"
            if isinstance(one.get("prefix"), int)
            else _text(one, "ip-address")
            for one in _rows(row.get("ip-addresses"))
        ]
        yield {"name": _text(row, "name"), "mac": _text(row, "hardware-address"), "addresses": addresses}
