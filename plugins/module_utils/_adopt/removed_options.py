# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replaces options of older releases: QEMU refuses a command line that has an option which was removed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.arguments import Argument

HAS_REMOVED = "because QEMU has removed it"
_WINDOW = "an option of QEMU's own window, which a unit does not have"
_OLD_NETWORK = "a network of an old kind; declare it in networks"
GONE: Mapping[str, str] = {
    "alt-grab": _WINDOW,
    "bootp": _OLD_NETWORK,
    "bt": "QEMU has no Bluetooth any more",
    "channel": _OLD_NETWORK,
    "clock": "QEMU has no choice of clocks any more",
    "ctrl-grab": _WINDOW,
    "enable-fips": "QEMU has no such option any more",
    "enable-hax": "Linux does not have it",
    "full-screen": _WINDOW,
    "hdachs": "QEMU has no such option any more; the geometry of a disk is not declared",
    "mtdblock": "the board has no such memory",
    "no-fd-bootchk": "newer releases of QEMU do not have it",
    "no-frame": _WINDOW,
    "no-quit": _WINDOW,
    "old-param": "an option for ARM",
    "pcidevice": "QEMU has no such option any more; -device pci-assign was removed, too",
    "prom-env": "an option for SPARC and PowerPC",
    "redir": _OLD_NETWORK,
    "sd": "the board has no card reader",
    "smb": _OLD_NETWORK,
    "soundhw": "QEMU has no such option any more; name the sound card with -device and its -audiodev",
    "tftp": _OLD_NETWORK,
    "virtioconsole": "QEMU has no such option any more; name the port with -device virtconsole",
    "win2k-hack": "newer releases of QEMU do not have it; -global ide-device.win2k-install-hack=on replaces it",
    "writeconfig": "QEMU has no such option any more",
}
"""Options that are not passed on, with the reason."""

_FORMS: Mapping[str, tuple[str, str]] = {
    "balloon": ("device", "virtio-balloon-pci"),
    "realtime": ("overcommit", "mem-lock={mlock}"),
    "startdate": ("rtc", "base={value}"),
    "watchdog": ("device", "{value}"),
}
_NO_INTERFACES = ("scsi", "sd", "mtd", "xen")
"""Kinds of drives for which the boards pc and q35 have no controller of their own."""


def replaced(argument: Argument) -> Argument:
    """Return an argument in the form that all releases take."""
    option, form = _FORMS.get(argument.option, ("", ""))
    if not option or argument.value == "none":
        return argument
    mlock = "off" if argument.value == "mlock=off" else "on"
    value = form.format(value=argument.value, mlock=mlock)
    name, _comma, more = argument.value.partition(",")
    values = {"driver": value} if option == "device" else {}
    if argument.option == "balloon" and name == "virtio" and more:
        value = f"{value},{more}"
    return replace(argument, option=option, value=value, values=values)


def why_gone(argument: Argument) -> str:
    """Return why no release that is in use takes an argument; empty if one does."""
    if argument.option == "drive" and argument.values.get("if") in _NO_INTERFACES:
        return f"the board has no controller for if={argument.values['if']}; put the disk on a -device"
    if argument.option == "balloon" and argument.value == "none":
        return "a VM has none anyway"
    return GONE.get(argument.option, "")
