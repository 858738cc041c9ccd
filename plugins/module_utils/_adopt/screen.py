# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converts the screen of a command line: VNC and the VGA adapter."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.settings import Conversion
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.command_line_context import CommandLineContext

_SAME_SCREEN = (["-display", "none"], ["-vga", "none"], ["-vga", "std"], ["-nographic"])
_PLACE = ("driver", "id", "bus", "addr")
_ADAPTERS = re.compile("VGA|.*-vga(-gl)?|qxl|virtio-gpu.*|bochs-display|ramfb|ati-vga|secondary-vga")
_WITH_VGA = re.compile("(cirrus|qxl|virtio|ati|vhost-user)-vga(-gl)?|vmware-svga")
"""Adapters that cannot be beside the VGA adapter of the unit."""
_MOST_DISPLAY = 65535 - 5900
_NO_ADAPTER = "a VM has a VGA adapter only with a screen: declare vnc if the guest needs one"


def read_screen(conversion: Conversion, context: CommandLineContext) -> None:
    for argument in conversion.of("vnc"):
        conversion.take(argument)
        vnc = _read_vnc(dict(argument.values), conversion, context)
        if vnc is not None:
            conversion.vm["vnc"] = vnc
    unasked = not any(conversion.has(option) for option in ("nodefaults", "vga", "nographic")) and not any(
        _ADAPTERS.fullmatch(str(a.values.get("driver"))) for a in conversion.of("device")
    )
    for argument in conversion.of("display", "vga", "nographic", "sdl", "curses"):
        conversion.take(argument)
        if argument.words not in _SAME_SCREEN:
            conversion.left.append(f"{argument.shown}: a VM has VNC (vnc), with a VGA adapter, or no screen")
        elif argument.words == ["-vga", "std"] and "vnc" not in conversion.vm:
            conversion.left.append(f"{argument.shown}: {_NO_ADAPTER}")
    for argument in conversion.of("device"):
        driver = str(argument.values.get("driver"))
        if "vnc" in conversion.vm and _WITH_VGA.fullmatch(driver):
            conversion.take(argument)
            conversion.left.append(f"-device {driver}: a VM with vnc has the adapter VGA in its place")
        if driver == "VGA":
            conversion.take(argument)
            more = ",".join(f"{key}={value}" for key, value in argument.values.items() if key not in _PLACE)
            if "vnc" not in conversion.vm:
                conversion.left.append(f"{argument.shown}: {_NO_ADAPTER}")
            elif more:
                conversion.left.append(f"-device VGA: {more}: not declared")
    if unasked and "vnc" not in conversion.vm:
        conversion.left.append(f"the VGA adapter and the window that QEMU adds unasked: {_NO_ADAPTER}")


def _read_vnc(values: dict[str, Any], conversion: Conversion, context: CommandLineContext) -> dict[str, Any] | None:
    place = str(values.pop("vnc", "none"))
    vnc: dict[str, Any] = {}
    match = re.fullmatch(r"(.*):(\d{1,5})", place)
    if match and not place.startswith("unix:") and int(match[2]) <= _MOST_DISPLAY:
        vnc = {"address": match[1].strip("[]") or "0.0.0.0", "port": 5900 + int(match[2])}
    elif not place.startswith("unix:"):
        if place != "none":
            conversion.left.append(f"-vnc {place}: cannot be declared")
        return None
    if "password-secret" in values:
        vnc["password"] = context.secret(values.pop("password-secret"))
    if values:
        conversion.left.append(f"-vnc: {', '.join(values)} cannot be declared")
    return vnc
