# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tap devices of running VMs. Those of a start are made and removed by its unit, with the same program."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import struct
from collections.abc import Collection, Iterator, Mapping
from typing import TypedDict

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import files as host_files
from ansible_collections.directdisk.qemu.plugins.module_utils._host import systemd
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.vm_states import STOPPED
from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import run
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths

RECORD = "/run/qemu-vms.taps.json"
"""Tap devices that VMs keep until they are stopped, and that no unit removes then."""
_INTERFACES = "/sys/class/net"
_TUN = "/dev/net/tun"
_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
"""linux/if_tun.h; QEMU asks the device for these flags."""


class _Kept(TypedDict):
    vm: str
    invocation: str
    owner: str
    """Number of the VM's user."""


def bridge_of(tap: str) -> str:
    """Return the bridge of a tap device; empty if it is on none, or does not exist."""
    with contextlib.suppress(OSError):
        return os.path.basename(os.readlink(f"{_INTERFACES}/{tap}/master"))
    return ""


def add(vm: str, tap: str, bridge: str) -> None:
    """Make a tap device of a running VM's user."""
    _call("add", tap, paths.user_name(vm), bridge)


def remove(vm: str, tap: str) -> None:
    """Remove a tap device of a VM, if it exists."""
    _call("remove", tap, paths.user_name(vm))


def set_bridge(tap: str, bridge: str) -> None:
    """Put a tap device on another bridge."""
    run(["/sbin/ip", "link", "set", "dev", tap, "master", bridge])


def _call(*arguments: str) -> None:
    run([*paths.PYTHON, paths.TAP_PROGRAM, *arguments])


@contextlib.contextmanager
def opened(tap: str) -> Iterator[int]:
    """Yield a descriptor of a tap device, for the QEMU that it is passed to."""
    try:
        handle = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise HostError(f"{_TUN}: {error.strerror}") from None
    try:
        fcntl.ioctl(handle, _TUNSETIFF, struct.pack("16sH14x", tap.encode(), _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR))
        yield handle
    except OSError as error:
        raise HostError(f"network interface {tap}: {error.strerror}") from None
    finally:
        os.close(handle)


def remember_kept(vm: str, tap: str, invocation: str) -> None:
    """Record a tap device that a running VM keeps and its unit does not name any more, with the start of that VM."""
    kept = _recorded()
    kept[tap] = {"vm": vm, "invocation": invocation, "owner": _attribute(tap, "owner")}
    _write(kept)


def remove_former(in_use: Mapping[str, Collection[str]]) -> None:
    """Remove the tap devices that VMs have kept until they were stopped; in_use: those of running VMs, by VM."""
    kept = _recorded()
    # Also of VMs on which this run does not act.
    states = systemd.show([paths.unit_name(one["vm"]) for one in kept.values()]) if kept else {}
    for tap, one in list(kept.items()):
        state = states.get(paths.unit_name(one["vm"]))
        runs = bool(state and state["active"] not in STOPPED)
        if runs and (one["vm"] not in in_use or (state and state["invocation"] == one["invocation"])):
            continue
        # The user is gone with its process, and the device has its number still.
        if tap not in in_use.get(one["vm"], ()) and one["owner"] and _attribute(tap, "owner") == one["owner"]:
            run(["/sbin/ip", "link", "delete", "dev", tap])
        del kept[tap]
        _write(kept)


def _attribute(tap: str, name: str) -> str:
    return host_files.read_text(f"{_INTERFACES}/{tap}/{name}").strip()


def _recorded() -> dict[str, _Kept]:
    text = host_files.read_text(RECORD)
    return json.loads(text) if text else {}


def _write(kept: Mapping[str, _Kept]) -> None:
    host_files.write_atomically(RECORD, json.dumps(kept) + "\n", mode=0o600)
