# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converts the port of the guest agent."""

from __future__ import annotations

import re

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.settings import Conversion
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm_settings import AGENT_PORT

_CONTROLLER = re.compile(r"virtio-serial(-pci)?(-transitional|-non-transitional)?")
_PORTS = ("virtserialport", "virtconsole")
SOCKET = "guest_agent has a socket of its own, agent.sock in the VM's directory under /run"


def read_guest_agent(conversion: Conversion) -> None:
    """Declare the port of the guest agent; its controller goes with it if it has no other port."""
    ports = [device for device in conversion.of("device") if device.values.get("driver") in _PORTS]
    agents = [port for port in ports if port.values.get("name") == AGENT_PORT]
    if len(agents) != 1:
        return
    conversion.take(*agents)
    conversion.vm["guest_agent"] = True
    if len(ports) == 1:
        devices = conversion.of("device")
        conversion.take(*(one for one in devices if _CONTROLLER.fullmatch(str(one.values.get("driver")))))
    channel = agents[0].values.get("chardev")
    conversion.left += [f"{one.shown}: {SOCKET}" for one in conversion.of("chardev") if channel in one.names]
