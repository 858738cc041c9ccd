# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ssh-agent of a VM: one unit runs it, another one loads the keys whenever they change. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import Identity, UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.sandbox import build_sandbox
from ansible_collections.directdisk.qemu.plugins.module_utils._units.service import Service

PART = paths.SSH_PART


def socket_path(vm: str) -> str:
    """Return the socket through which QEMU asks the agent."""
    return f"{paths.helper_directory(vm, PART)}/agent.sock"


def own_socket_path(vm: str) -> str:
    """Return the socket of the agent itself, for the unit that loads its keys."""
    return f"{socket_path(vm)}.own"


def agent_unit_name(vm: str) -> str:
    return paths.helper_unit_name(vm, PART, "agent")


def unit_names(vm: str) -> tuple[str, str]:
    """Return the units of a VM's agent."""
    return agent_unit_name(vm), paths.ssh_keys_unit_name(vm)


def agent_services(vm: str, identities: Mapping[str, Identity], start_timeout: int) -> tuple[Service, Service]:
    """Return the agent and the unit that loads its keys. They have a user of their own, which can read the keys.

    The agent answers its own user only, so a program beside it forwards the requests that QEMU may send.
    """
    keys = paths.ssh_keys_unit_name(vm)
    resources = UnitResources(keys, PART, "")
    for name, identity in sorted(identities.items()):
        resources.credential(name, identity.key)
        if identity.passphrase:
            resources.credential(f"{name}.passphrase", identity.passphrase)
    agent = Service(
        name=agent_unit_name(vm),
        template="ssh-agent.service.j2",
        vm=vm,
        description=f"ssh-agent of virtual machine {vm}",
        args=[(*paths.PYTHON, paths.AGENT_PROGRAM), (socket_path(vm),), (own_socket_path(vm),)],
        sandbox=build_sandbox([], directory=paths.directory_name(vm, PART), replace_trust=False),
        credentials={},
        start_timeout=start_timeout,
        helpers=(keys,),
        part=PART,
    )
    loader = Service(
        name=keys,
        template="ssh-keys.service.j2",
        vm=vm,
        description=f"ssh keys of virtual machine {vm}",
        args=[(*paths.PYTHON, paths.KEYS_PROGRAM)],
        # Without a folder of its own: systemd would remove it, and the agent's socket, whenever this unit stops.
        sandbox=build_sandbox([], directory="", replace_trust=False),
        credentials=resources.credentials,
        environment={"SSH_AUTH_SOCK": own_socket_path(vm)},
        start_timeout=start_timeout,
        helpers=(agent.name,),
        reloads=True,
        part=PART,
    )
    return agent, loader
