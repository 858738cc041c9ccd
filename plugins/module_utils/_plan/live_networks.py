# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes of the networks of a running VM. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.pci import nic_id
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Network
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_state import LiveNetwork, ObservedProcess
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.running_parts import (
    NO_PORT,
    Part,
    RunningParts,
    needs_port,
    properties_of,
)


@dataclass(frozen=True)
class NetworkChanges:
    """The changes of a VM's networks, by their names, and the reasons for a restart."""

    plug: tuple[str, ...] = ()
    unplug: tuple[str, ...] = ()
    link: tuple[str, ...] = ()
    """Networks whose link goes up or down."""
    bridge: tuple[str, ...] = ()
    """Networks whose tap device is on another bridge, or on none."""
    restart: tuple[str, ...] = ()


def live_network(network: Network, part: Part) -> LiveNetwork:
    """Return a network as a running QEMU gets it."""
    return {
        "netdevs": list(part.netdevs),
        "devices": list(part.devices),
        "tap": tap_of(part),
        "bridge": network.bridge,
        "link_down": network.link == "down",
    }


def live_networks(networks: Iterable[Network], parts: RunningParts) -> dict[str, LiveNetwork]:
    """Return the networks of a VM as a running QEMU gets them, by name; parts: of its command line."""
    return {one.name: live_network(one, parts.networks[one.name]) for one in networks if one.name in parts.networks}


def tap_of(part: Part) -> str:
    """Return the tap device of a network; empty for a user network."""
    return properties_of(part.netdevs[0]).get("ifname", "") if part.netdevs else ""


def networks_now(started: Mapping[str, Part], process: ObservedProcess) -> dict[str, Part]:
    """Return the networks that a process has, those included whose device somebody has unplugged.

    started: those of its command line.
    """
    networks = dict(started)
    for name, network in process["networks"].items():
        if network is None:
            networks.pop(name, None)
        else:
            networks[name] = Part(netdevs=tuple(network["netdevs"]), devices=tuple(network["devices"]))
    return networks


def network_changes(
    process: ObservedProcess, running: RunningParts, planned: RunningParts, declared: Mapping[str, LiveNetwork]
) -> NetworkChanges:
    """Return the changes of one VM; declared: its networks as a running QEMU gets them."""
    plug: list[str] = []
    link: list[str] = []
    bridge: list[str] = []
    reasons: list[str] = []
    down = _links_down(process)
    for name, part in planned.networks.items():
        before = running.networks.get(name)
        absent = before is None or nic_id(name) not in process["devices"]
        if before is not None and before != part:
            reasons.append(f"network {name} has changed")
        elif absent and needs_port(part, running, planned):
            reasons.append(f"network {name} is new: {NO_PORT}")
        elif absent:
            plug.append(name)
        else:
            link += [name] if declared[name]["link_down"] != (name in down) else []
            bridge += [name] if process["bridges"].get(name, "") != declared[name]["bridge"] else []
    unplug = tuple(name for name in running.networks if name not in planned.networks)
    return NetworkChanges(tuple(plug), unplug, tuple(link), tuple(bridge), tuple(reasons))


def _links_down(process: ObservedProcess) -> set[str]:
    """Return the networks whose links are down: QEMU does not tell, so what was set since the start counts."""
    down = set(process["links_down"])
    for name, network in process["networks"].items():
        (down.add if network and network["link_down"] else down.discard)(name)
    return down
