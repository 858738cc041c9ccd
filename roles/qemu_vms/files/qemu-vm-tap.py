# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""qemu-vm-tap.py add TAP USER BRIDGE | remove TAP USER: the tap device of a VM's network.

Names of taps come from those of VMs and networks, and an interface of the host may have such a name: what is not a
tap of this VM's user is neither removed nor taken over.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import sys

INTERFACES = "/sys/class/net"
IFF_TAP = 0x0002
"""linux/if_tun.h"""


def attribute(tap: str, name: str) -> str:
    """A line that the kernel has of an interface; empty where it is no tap."""
    try:
        with open(f"{INTERFACES}/{tap}/{name}", encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return ""


def exists(tap: str) -> bool:
    return os.path.lexists(f"{INTERFACES}/{tap}")


def is_own(tap: str, uid: int) -> bool:
    """Return if an interface is a tap device of this user."""
    flags = attribute(tap, "tun_flags")
    return bool(flags) and bool(int(flags, 16) & IFF_TAP) and attribute(tap, "owner") == str(uid)


def ip(*arguments: str) -> None:
    subprocess.run(["/sbin/ip", *arguments], check=True)


def remove(tap: str, user: str) -> str | None:
    """Remove the tap, if it is this user's; what is wrong otherwise."""
    if not exists(tap):
        return None
    if not is_own(tap, pwd.getpwnam(user).pw_uid):
        return f"network interface {tap} is not a tap of this VM's user {user}, and stays"
    ip("link", "delete", "dev", tap)
    return None


def add(tap: str, user: str, bridge: str) -> str | None:
    """Make the tap; a run that was killed may have left one."""
    if remove(tap, user):
        return (
            f"this host has a network interface {tap} that is not a tap of this VM's user {user}; rename it, "
            "or the VM or its network"
        )
    ip("tuntap", "add", "dev", tap, "mode", "tap", "user", user)
    ip("link", "set", "dev", tap, "master", bridge, "up")
    return None


if __name__ == "__main__":
    try:
        sys.exit({"add": add, "remove": remove}[sys.argv[1]](*sys.argv[2:]))
    except (subprocess.CalledProcessError, KeyError) as error:
        sys.exit(f"network interface {sys.argv[2]}: {error}")
