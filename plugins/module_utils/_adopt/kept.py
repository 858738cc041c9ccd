# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fits the arguments that stay in extra_args to the command line that the unit builds: QEMU starts with both."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt import boot
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.arguments import Argument, changed
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.cd_drives import attachment_of
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.qemu_options import WITHOUT_REFERENCES
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.settings import Conversion
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.storage import OPENED_BEFORE
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.command_line_context import CommandLineContext
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.pci import is_own_id

_CHARDEVS = ("qmp", "console")
"""The unit's own character devices."""
_IMAGES = ("drive", "blockdev", "cdrom", "hda", "hdb", "hdc", "hdd", "fda", "fdb")
_PASSED = ("fd", "fds", "vhostfd", "vhostfds", "sockfd")
_TAPS = ("tap", "bridge")
_PLACE = ("bus", "addr", "multifunction", "port", "unit", "lun", "scsi-id", "channel")
USB_CONTROLLER = re.compile(r"qemu-xhci|nec-usb-xhci|.*usb-[eu]hci.*|pci-ohci")
_USB_DEVICE = re.compile("usb-.*|u2f-.*")
_IDE_DEVICE = re.compile("ide-(cd|hd|cf|drive)")
_GL = re.compile("virtio-(vga|gpu)-(gl|rutabaga)(-pci)?")
_NUMBER = re.compile("[0-9]{1,9}")
_PORT = re.compile("pcie-root-port|ioh3420|xio3130-downstream")
_FIRST_CHASSIS = 128
"""The unit's own ports have lower numbers, and a chassis is a byte."""
_PATHS: Mapping[str, tuple[str, ...]] = {
    "acpitable": ("file", "data"),
    "blockdev": ("filename",),
    "chardev": ("path", "logfile"),
    "drive": ("file",),
    "fsdev": ("path", "socket"),
    "fw_cfg": ("file",),
    "netdev": ("tftp", "smb"),
    "object": ("mem-path", "filename", "dir"),
    "smbios": ("file",),
    "virtfs": ("path",),
    **dict.fromkeys(("cdrom", "dtb", "fda", "fdb", "hda", "hdb", "hdc", "hdd", "initrd", "kernel"), ("",)),
}
"""Keys of paths by option; empty if the whole value is one."""
_SEARCHED = ("L", "bios", "option-rom")
"""Options whose files QEMU also looks up among its own."""
_LIBVIRTS = re.compile(r"/(?:var/lib|run|var/run)/libvirt/qemu/(?!nvram/|save/)[^\s,\"']*")
"""Files and sockets that libvirt makes for one run of a VM."""
_PROTOCOL = re.compile(r"[a-z0-9+-]+:")
_BOARD_BUSES = {
    "pc": ("pci.0", "isa.0", "ide.0", "ide.1"),
    "q35": ("pcie.0", "isa.0", *(f"ide.{number}" for number in range(6))),
}


@dataclass(frozen=True)
class Kept:
    """An argument that stays, as it is passed on."""

    argument: Argument
    comments: tuple[str, ...] = ()

    def say(self, comment: str) -> Kept:
        return replace(self, comments=(*self.comments, comment))


def why_impossible(argument: Argument) -> str:
    """Return why QEMU cannot have an argument in a unit; empty if it can."""
    if argument.option == "add-fd" or any(key in argument.values for key in _PASSED):
        return "it is a file that another process has opened for QEMU"
    if "/dev/fdset/" in argument.value or (argument.option in _IMAGES and OPENED_BEFORE.search(argument.value)):
        return "it is a file that another process has opened for QEMU"
    if argument.option == "netdev" and argument.values.get("type") in _TAPS:
        return "it needs root, and the unit's own tap devices are those of networks"
    if argument.option == "device" and _GL.fullmatch(str(argument.values.get("driver"))):
        return "it needs a display with OpenGL, which a unit does not have"
    return ""


def fitted(conversion: Conversion, kept: Iterable[Argument], context: CommandLineContext) -> list[Kept]:
    """Return the arguments with all that clashes with the unit's own taken out, and with absolute paths."""
    result = [Kept(argument) for argument in kept]
    result = _renamed(conversion, result)
    result = _without_lost_buses(conversion, result)
    result = _moved_ide(conversion, result)
    result = _with_usb(conversion, result)
    result = [_other_chassis(one) for one in result]
    return [_commented(conversion, _with_paths(one, context)) for one in result]


def _with_paths(one: Kept, context: CommandLineContext) -> Kept:
    """Make relative paths absolute: the unit starts in another directory."""
    for key in _PATHS.get(one.argument.option, ()):
        one = _with_path(one, key, context)
    argument = one.argument
    if argument.option in _SEARCHED and not argument.value.startswith("/"):
        return one.say(f"{argument.value} is relative to the folder where QEMU was started, or a file of QEMU's own")
    return one


def _with_path(one: Kept, key: str, context: CommandLineContext) -> Kept:
    argument = one.argument
    path = argument.value if key == "" else str(argument.values.get(key, ""))
    # An abstract socket has a name and no path.
    if not path or path.startswith("/") or _PROTOCOL.match(path) or "abstract" in argument.values:
        return one
    if not context.directory:
        return one.say(f"{path} is relative to the folder where QEMU was started")
    absolute = posixpath.join(context.directory, path)
    if key == "":
        return replace(one, argument=replace(argument, value=absolute))
    return replace(one, argument=changed(argument, {**argument.values, key: absolute}))


def _commented(conversion: Conversion, one: Kept) -> Kept:
    argument = one.argument
    comments = [boot.boot_comment(conversion, argument)] if argument.option == "boot" else []
    if argument.option == "object" and str(argument.values.get("qom-type")).startswith("memory-backend-"):
        comments.append("change its size together with memory")
    place = _LIBVIRTS.search(argument.value)
    if place:
        comments.append(f"libvirt makes {place[0]} before it starts QEMU, and nothing does so now")
    elif argument.option == "chardev" and _connects(argument.values):
        comments.append(f"a process must listen on {argument.values['path']} when the VM starts")
    for comment in filter(None, comments):
        one = one.say(comment)
    return one


def _connects(values: Mapping[str, Any]) -> bool:
    """Return if a character device is the client of a unix socket."""
    server = str(values.get("server", "off")) in ("on", "yes", "true", "")
    return values.get("backend") == "socket" and "path" in values and not server


def _without(one: Kept, keys: Iterable[str], why: str) -> Kept:
    argument = one.argument
    gone = [key for key in keys if key in argument.values]
    if not gone:
        return one
    texts = ",".join(f"{key}={argument.values[key]}" for key in gone)
    left = {key: value for key, value in argument.values.items() if key not in gone}
    return replace(one, argument=changed(argument, left)).say(f"without {texts}, {why}")


def _renamed(conversion: Conversion, kept: list[Kept]) -> list[Kept]:
    """Rename what has a name that the unit uses itself."""
    disks, networks = conversion.vm.get("disks", {}), conversion.vm.get("networks", {})
    own: dict[str, Callable[[str], bool]] = {
        "chardev": _CHARDEVS.__contains__,
        "device": lambda name: is_own_id(name, disks, networks),
        "netdev": networks.__contains__,
    }
    for option, is_own in own.items():
        for name in sorted({name for one in kept if one.argument.option == option for name in one.argument.names}):
            if not is_own(name):
                continue
            new = f"kept-{name}"
            kept = [_with_name(one, option, name, new) for one in kept]
    return kept


def _with_name(one: Kept, option: str, old: str, new: str) -> Kept:
    argument = one.argument
    if argument.option == option and old in argument.names:
        renamed = changed(argument, {**argument.values, "id": new})
        return replace(one, argument=renamed).say(f"named {new}, because the unit has a {old} of its own")
    if not argument.mentions(old):
        return one
    if not argument.values:
        value = re.sub(rf"(?<![A-Za-z0-9_-]){re.escape(old)}(?![A-Za-z0-9_-])", new, argument.value)
        return replace(one, argument=replace(argument, value=value))
    values = _mapped(argument.values, lambda key, text: _reference(key, text, old, new))
    return replace(one, argument=changed(argument, values))


def _reference(key: str, text: str, old: str, new: str) -> str:
    if key in WITHOUT_REFERENCES or not (text in (old, f"chardev:{old}") or text.startswith(f"{old}.")):
        return text
    return f"chardev:{new}" if text.startswith("chardev:") else new + text[len(old) :]


def _mapped(value: Any, change: Callable[[str, str], str], key: str = "") -> Any:
    if isinstance(value, Mapping):
        return {name: _mapped(inner, change, str(name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [_mapped(inner, change, key) for inner in value]
    return change(key, value) if isinstance(value, str) else value


def _driver(one: Kept) -> str:
    return str(one.argument.values.get("driver", "")) if one.argument.option == "device" else ""


def _without_lost_buses(conversion: Conversion, kept: list[Kept]) -> list[Kept]:
    """Let QEMU choose the bus of a device if its controller is not kept, or came from a file."""
    names = {name for one in kept for name in one.argument.names}
    former = {name for argument in conversion.arguments if argument.option == "device" for name in argument.names}
    from_file = conversion.has("readconfig")
    result = []
    for one in kept:
        bus = str(one.argument.values.get("bus", ""))
        bases = {bus, bus.rpartition(".")[0]}
        unknown = bases & former or (from_file and bus not in _BOARD_BUSES[conversion.board])
        lost = _driver(one) and bus and not bases & names and unknown
        result.append(_without(one, _PLACE, "because nothing of that name is kept") if lost else one)
    return result


def _moved_ide(conversion: Conversion, kept: list[Kept]) -> list[Kept]:
    """Move IDE drives behind those of the declaration, which come first."""
    disks = sum(attachment_of(disk) == "ide" for disk in conversion.vm.get("disks", {}).values())
    units = 1 if conversion.board == "q35" else 2
    indices = boot.ide_indices(conversion, units)
    result, taken = [], set(range(disks))
    for one in sorted(kept, key=lambda one: one.argument.position):
        index = indices.get(one.argument.position)
        if index is None:
            result.append(one)
            continue
        place = index if index not in taken else min(set(range(8)) - taken)
        taken.add(place)
        result.append(one if place == index and _is_fixed(one.argument) else _at_index(one, place))
    return [
        _without(one, ("bus", "unit"), "because disks of the declaration may be there")
        if disks
        and _IDE_DEVICE.fullmatch(_driver(one))
        and boot.place_of_device(one.argument.values, units) is not None
        else one
        for one in result
    ]


def _is_fixed(argument: Argument) -> bool:
    return argument.option != "drive" or "index" in argument.values


def _at_index(one: Kept, index: int) -> Kept:
    """Return a drive as -drive with its place."""
    argument = one.argument
    if argument.option == "drive":
        values = {key: value for key, value in argument.values.items() if key not in ("index", "bus", "unit")}
    else:
        values = {"file": argument.value, **({"media": "cdrom"} if argument.option == "cdrom" else {})}
    drive = replace(argument, option="drive", value="", values={})
    return replace(one, argument=changed(drive, {**values, "index": index})).say(f"at place {index} of the IDE drives")


def _other_chassis(one: Kept) -> Kept:
    """Number the chassis of a PCI Express port apart from those of the unit's own ports."""
    chassis = str(one.argument.values.get("chassis", ""))
    if not _PORT.fullmatch(_driver(one)) or not _NUMBER.fullmatch(chassis) or int(chassis) >= _FIRST_CHASSIS:
        return one
    number = _FIRST_CHASSIS + int(chassis)
    value = number if isinstance(one.argument.values["chassis"], int) else str(number)
    return replace(one, argument=changed(one.argument, {**one.argument.values, "chassis": value}))


def _with_usb(conversion: Conversion, kept: list[Kept]) -> list[Kept]:
    """Keep or add the board's USB controller for devices that need one."""
    needs = any(_USB_DEVICE.fullmatch(_driver(one)) for one in kept)
    has = any(USB_CONTROLLER.fullmatch(_driver(one)) for one in kept)
    has = has or any(attachment_of(disk) == "usb" for disk in conversion.vm.get("disks", {}).values())
    if not needs or has:
        return kept
    return [Kept(Argument("usb")), *kept]
