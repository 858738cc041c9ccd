# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Handles arguments without an option in a declaration: they stay arguments, or are reported."""

from __future__ import annotations

import re

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.arguments import Argument
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.boot import boot_after_kept
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.kept import USB_CONTROLLER, fitted, why_impossible
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.removed_options import (
    HAS_REMOVED,
    replaced,
    why_gone,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.settings import Conversion
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.command_line_context import CommandLineContext

UNSAID = (
    "name",
    "no-user-config",
    "nodefaults",
    "nodefconfig",
    "daemonize",
    "pidfile",
    "sandbox",
    "msg",
    "snapshot",
    "usb",
)
"""Arguments that the unit sets itself, or that do not affect the guest."""

UNITS = {
    "qmp": "the unit has a monitor of its own, qmp.sock in the VM's directory under /run",
    "qmp-pretty": "the unit has a monitor of its own",
    "monitor": "the unit has a monitor of its own",
    "mon": "the unit has a monitor of its own",
    "runas": "the unit has a user of its own",
    "chroot": "the unit has a sandbox of its own",
    "run-with": "the unit has a user and a sandbox of its own",
    "D": "systemd keeps the log",
    "S": "the VM runs immediately",
    "no-shutdown": "the unit ends when the guest powers off",
    "incoming": "the VM is started, not restored",
    "loadvm": "the VM is started, not restored",
    "readconfig": "the file is not read; add its content by hand",
    "net": "a network of this old kind; declare it in networks",
    "id": "Proxmox's own number of the VM, which no other QEMU knows",
    "h": "",
    "help": "",
    "version": "",
    "async-teardown": "the unit ends QEMU by itself",
    "audio-help": "",
}
"""Arguments that are not passed on to QEMU, with the reason."""

_DEFAULTS = (["-rtc", "base=utc"], ["-overcommit", "mem-lock=off"])
"""Arguments that change nothing."""

_CARRIERS = re.compile(
    r"virtio-scsi(-pci)?|pcie-root-port|pcie-pci-bridge|pci-bridge|ioh3420|i82801b11-bridge|x3130.*|xio3130.*|"
    r"qemu-xhci|nec-usb-xhci|.*usb-[eu]hci.*|ahci|ich9-ahci|lsi.*|megasas.*|mptsas1068|pvscsi|nvme(-subsys)?|usb-bot|"
    r"virtio-scsi-pci-.*"
)
"""Devices that only carry others."""
_DRIVES = ("drive", "hda", "hdb", "hdc", "hdd", "cdrom", "fda", "fdb", "mtdblock", "pflash", "sd", "")
"""Options that -snapshot protects from writes; it has no effect on a -blockdev."""
_SERVANTS = re.compile("secret|iothread|throttle-group|tls-creds-.*")
"""Objects that only serve others."""


def read_leftovers(conversion: Conversion, context: CommandLineContext) -> None:
    """Pass on undeclared arguments with everything that they need, but never a secret."""
    rest = [a for a in conversion.arguments if a.position not in conversion.taken]
    for argument in [a for a in rest if a.option in UNSAID or a.option in UNITS or a.words in _DEFAULTS]:
        rest.remove(argument)
        if UNITS.get(argument.option):
            conversion.left.append(f"{argument.shown}: {UNITS[argument.option]}")
    rest = _without_removed(conversion, rest)
    kept = _needed(rest)
    unused = [a for a in rest if (a.option in ("drive", "blockdev", "netdev") or _is_tuned(a)) and a not in kept]
    conversion.left += [f"{argument.shown}: not kept, because nothing uses it" for argument in unused]
    lost = dict.fromkeys(conversion.gone, "it is declared under a name of its own now")
    while True:
        broken = _first_broken(kept, lost)
        if broken is None:
            break
        argument, why = broken
        kept.remove(argument)
        lost.update(dict.fromkeys(argument.names, "it is not kept"))
        conversion.left.append(f"{argument.shown}: not kept, because {why}")
    needed = _needed(kept)
    conversion.left += [
        f"{argument.shown}: not kept, because nothing uses it" for argument in kept if argument not in needed
    ]
    kept = needed
    if any(argument.option in _DRIVES for argument in kept):
        kept += [argument for argument in conversion.of("snapshot")[:1] if argument not in kept]
    boot_after_kept(conversion, kept)
    for one in fitted(conversion, sorted(kept, key=lambda one: one.position), context):
        conversion.extra += one.argument.words
        conversion.left.append(f"{one.argument.shown}: {'; '.join(['kept in extra_args', *one.comments])}")
    if conversion.extra:
        conversion.vm["extra_args"] = conversion.extra


def _without_removed(conversion: Conversion, rest: list[Argument]) -> list[Argument]:
    """Replace options of older releases; name those that have no replacement."""
    result = []
    for argument in rest:
        why, new = why_gone(argument), replaced(argument)
        if why:
            conversion.left.append(
                f"{argument.shown}: not kept, because {why}"
                if argument.option == "drive"
                else f"{argument.shown}: {why}"
            )
            continue
        if new is not argument:
            conversion.left.append(f"{argument.shown}: {new.shown} in its place, {HAS_REMOVED}")
        result.append(new)
    return result


def _serves(argument: Argument) -> bool:
    if argument.option in ("chardev", "blockdev", "netdev", "iscsi"):
        return True
    if argument.option == "drive":
        return argument.values.get("if") == "none"
    kinds = {"device": ("driver", _CARRIERS), "object": ("qom-type", _SERVANTS)}
    key, pattern = kinds.get(argument.option, ("", _SERVANTS))
    return bool(
        key and argument.names and "drive" not in argument.values and pattern.fullmatch(str(argument.values.get(key)))
    )


def _is_tuned(argument: Argument) -> bool:
    """Return True for an I/O thread with settings, which one that is declared does not have."""
    return argument.values.get("qom-type") == "iothread" and not set(argument.values) <= {"qom-type", "id"}


def _needed(rest: list[Argument]) -> list[Argument]:
    """Remove arguments that only serve others and that none of the rest needs."""
    kept = [argument for argument in rest if not _serves(argument)]
    waiting = [argument for argument in rest if _serves(argument)]
    while True:
        more = [one for one in waiting if _is_used(one, kept)]
        if not more:
            return kept
        kept += more
        waiting = [one for one in waiting if one not in more]


_WITHOUT_BUS = (
    (re.compile("usb-.*|u2f-.*"), USB_CONTROLLER),
    (re.compile("scsi-.*"), re.compile("virtio-scsi.*|lsi.*|megasas.*|pvscsi|mptsas.*")),
)
"""Devices that QEMU puts on any controller of a kind unless they name one."""


def _is_used(servant: Argument, kept: list[Argument]) -> bool:
    driver = str(servant.values.get("driver", ""))
    for other in kept:
        if any(other.mentions(name) for name in servant.names):
            return True
        free = other.option == "device" and "bus" not in other.values
        for devices, controllers in _WITHOUT_BUS:
            if free and controllers.fullmatch(driver) and devices.fullmatch(str(other.values.get("driver"))):
                return True
    return False


def _first_broken(kept: list[Argument], lost: dict[str, str]) -> tuple[Argument, str] | None:
    for argument in kept:
        if argument.has_secret:
            return argument, "it has a secret in it"
        impossible = why_impossible(argument)
        if impossible:
            return argument, impossible
        for name, why in lost.items():
            if argument.mentions(name):
                return argument, f"it mentions {name}, and {why}"
    return None
