# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plugs networks into a running QEMU and unplugs them, over its monitor (QEMU, docs/interop/qemu-qmp-ref).

QEMU may not open a tap device that its unit does not name: it gets a descriptor. What cannot be plugged whole is taken
away again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError, QmpError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import live_disks, taps
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_networks import tap_of
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_state import LiveNetwork
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.running_parts import Part, properties_of
from ansible_collections.directdisk.qemu.plugins.module_utils._units.unit_text import COMMA


def plug(monitor: Monitor, vm: str, name: str, network: LiveNetwork) -> None:
    """Plug a network; one that cannot be plugged leaves nothing."""
    live_disks.quietly(monitor, "netdev_del", {"id": name})
    with contextlib.ExitStack() as undo:
        if network["tap"]:
            taps.add(vm, network["tap"], network["bridge"])
            undo.callback(_remove_tap, vm, network["tap"])
        for one in network["netdevs"]:
            _add_netdev(monitor, one, network["tap"])
            undo.callback(live_disks.quietly, monitor, "netdev_del", {"id": name})
        if network["link_down"]:
            set_link(monitor, name, up=False)
        for one in network["devices"]:
            monitor.execute("device_add", live_disks.typed(properties_of(one)))
        if network["link_down"]:
            # Now that there is a device, the guest is told.
            set_link(monitor, name, up=False)
        undo.pop_all()


def unplug(monitor: Monitor, vm: str, name: str, part: Part, *, seconds: float = live_disks.UNPLUG_SECONDS) -> None:
    """Unplug a network, or what is left of one; raise HostError if the guest does not give it back in time."""
    for device in part.devices:
        live_disks.unplug(monitor, properties_of(device)["id"], seconds)
    # Not before: QEMU would take it from a device that still exists.
    live_disks.quietly(monitor, "netdev_del", {"id": name})
    if tap_of(part):
        taps.remove(vm, tap_of(part))


def set_link(monitor: Monitor, name: str, *, up: bool) -> None:
    """Set the link of a network, on both of its sides."""
    monitor.execute("set_link", {"name": name, "up": up})


def _add_netdev(monitor: Monitor, argument: str, tap: str) -> None:
    arguments = _netdev(argument)
    if not tap:
        monitor.execute("netdev_add", arguments)
        return
    handle_name = f"{arguments['id']}.tap"
    with taps.opened(tap) as handle:
        monitor.execute("getfd", {"fdname": handle_name}, descriptor=handle)
    try:
        monitor.execute("netdev_add", {"type": "tap", "id": arguments["id"], "fd": handle_name})
    except QmpError:
        with contextlib.suppress(QmpError):
            monitor.try_execute("closefd", {"fdname": handle_name})
        raise


def _netdev(argument: str) -> dict[str, Any]:
    """Return the arguments of netdev_add for a value of ``-netdev``."""
    kind, *options = COMMA.split(argument)
    pairs = [option.replace(",,", ",").partition("=")[::2] for option in options]
    forward: Sequence[dict[str, str]] = [{"str": value} for name, value in pairs if name == "hostfwd"]
    others = {name: value for name, value in pairs if name != "hostfwd"}
    return {"type": kind, **others, **({"hostfwd": forward} if forward else {})}


def _remove_tap(vm: str, tap: str) -> None:
    with contextlib.suppress(HostError):
        taps.remove(vm, tap)
