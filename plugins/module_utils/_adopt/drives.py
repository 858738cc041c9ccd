# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converts -drive and -blockdev to a disk."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt import texts
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.cd_drives import MEDIA
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.graph import (
    COMMON,
    FORMATS,
    PROBED,
    ConvertedDisk,
    read_graph,
    read_limits,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.storage import NAME
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.command_line_context import CommandLineContext
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import longest_serial
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.schema import PASSTHROUGH
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError

MODELS = {"virtio": "virtio-blk", "ide": "ide", "none": ""}
"""Device models for ``if=``; the default of a PC is IDE."""

_CACHES = {
    "none": (True, False, True),
    "directsync": (True, False, False),
    "writeback": (False, False, True),
    "unsafe": (False, True, True),
    "writethrough": (False, False, False),
}
"""Values of ``cache=`` as cache.direct, cache.no-flush and cache.writeback."""

_ERRORS = {"stop": "stop", "report": "report", "ignore": "ignore"}
_SWITCHES = ("snapshot", "readonly", "read-only", "copy-on-read")
_POSITION = ("index", "bus", "unit")
_OLD = ("serial", "addr", "boot", "cyls", "heads", "secs", "trans")
"""Options that QEMU has removed; most of them are the device's now."""
_OWN = ("id", "if", "media", "snapshot", "readonly", "werror", "rerror", "aio", "copy-on-read", *_POSITION, *_OLD)
_OLD_LIMIT = re.compile("(iops|bps)(_rd|_wr)?(_max)?(_length)?|iops_size")


@dataclass
class Drive:
    """A -drive, split into the node and the options of the drive."""

    text: str
    node: Node
    own: dict[str, str]
    """Options of the drive itself: ``id``, ``if``, ``snapshot`` and so on."""
    limits: dict[str, Any]
    write_cache: bool

    @property
    def identifier(self) -> str:
        return self.own.get("id", "")

    @property
    def interface(self) -> str:
        return self.own.get("if", "ide")

    @property
    def is_cd(self) -> bool:
        """Return if it is a CD drive by itself."""
        return self.own.get("media") == MEDIA and self.interface in ("ide", "none")

    @property
    def is_empty(self) -> bool:
        """Return if it has no medium."""
        return not set(self.node) - {*COMMON, "driver"} and self.node.get("driver", PROBED) in FORMATS


def split_drive(text: str, where: str = "-drive") -> Drive:
    """Parse the text of a -drive."""
    values = texts.unique(texts.read_pairs(text, where, switches=_SWITCHES), where)
    name = values.pop("file", None)
    own = {key: values.pop(key) for key in _OWN if key in values}
    limits = _take_limits(values, where)
    if "format" in values:
        if "driver" in values:
            raise DeclarationError(where, "format and driver are both given")
        values["driver"] = values.pop("format")
    cache, write_cache = _take_cache(values, where)
    node = texts.nested(values, where)
    node["cache"] = cache
    if name:
        _place_name(node, name, where)
    if "readonly" in own and "read-only" in node:
        raise DeclarationError(where, "readonly and read-only are both given")
    node["read-only"] = texts.switch(own.pop("readonly", node.get("read-only", False)), f"{where}: read-only")
    return Drive(text, node, own, limits, write_cache)


def _place_name(node: Node, name: str, where: str) -> None:
    """Put ``file=`` into the node; after ``json:`` it is the whole tree."""
    if not name.startswith("json:"):
        texts.check_length(name, where)
        below = node if _is_protocol(node) else node.setdefault("file", {})
        if not isinstance(below, dict):
            raise DeclarationError(where, "file is set twice")
        below[NAME] = name
        return
    tree = texts.nested(texts.read_json(name[len("json:") :], f"{where}: json:"), f"{where}: json:")
    for key, value in tree.items():
        if node.get(key, value) != value and key not in ("cache",):
            raise DeclarationError(where, f"{key} is set twice, also within json:")
        node[key] = value


def _is_protocol(node: Node) -> bool:
    return any(backend.access.driver and backend.access.driver == node.get("driver") for backend in BACKENDS.values())


def _take_cache(values: dict[str, str], where: str) -> tuple[dict[str, bool], bool]:
    """Return cache.direct and cache.no-flush, and if the device has a write cache."""
    word = values.pop("cache", "writeback")
    if word not in _CACHES:
        raise DeclarationError(where, f"cache={texts.shown(word)} is not one of {', '.join(_CACHES)}")
    names = ("cache.direct", "cache.no-flush", "cache.writeback")
    direct, no_flush, writeback = (
        texts.switch(values.pop(name), f"{where}: {name}") if name in values else value
        for name, value in zip(names, _CACHES[word])
    )
    return {"direct": direct, "no-flush": no_flush}, writeback


def _take_limits(values: dict[str, str], where: str) -> dict[str, Any]:
    """Return limits in both spellings, by the names of a throttle group's properties."""
    limits: dict[str, Any] = {}
    directions = {None: "total", "_rd": "read", "_wr": "write"}
    for key in list(values):
        old = _OLD_LIMIT.fullmatch(key)
        name = ""
        if old:
            burst = f"{'-max' if old[3] else ''}{'-length' if old[4] else ''}"
            name = f"{old[1]}-{directions[old[2]]}{burst}" if old[1] else "iops-size"
        if key.startswith("throttling."):
            name = key[len("throttling.") :]
        elif re.fullmatch("(iops|bps).*|group", key) and not old:
            name = key
        if name and name in limits:
            raise DeclarationError(where, f"the limit {name} is set twice")
        if name:
            limits[name] = values.pop(key)
    return limits


def read_drive(drive: Drive, context: CommandLineContext, where: str, *, is_cd: bool = False) -> ConvertedDisk:
    """Convert a -drive to a disk; the model comes from its device."""
    if drive.own.get("media", "disk") not in ("disk", MEDIA):
        raise DeclarationError(where, f"media={texts.shown(drive.own['media'])} is not a disk")
    if is_cd and drive.is_empty:
        return ConvertedDisk()
    result = read_graph(drive.node, {}, context, where)
    disk = result.declared
    if texts.switch(drive.own.get("snapshot", False), f"{where}: snapshot"):
        disk["writes"] = "discard"
    if drive.own.get("media") == MEDIA:
        disk["writes"] = "deny"
    if texts.switch(drive.own.get("copy-on-read", False), f"{where}: copy-on-read"):
        disk["copy_on_read"] = True
    disk.update(read_limits(drive.limits, result))
    _read_aio(drive, disk, result, where)
    set_write_cache(disk, drive.write_cache, where)
    set_errors(disk, drive.own, result)
    result.left += [
        f"{key}={drive.own[key]}: disks come in the order of the declaration" for key in _POSITION if key in drive.own
    ]
    if "serial" in drive.own:
        set_serial(MODELS.get(drive.interface) or "virtio-blk", drive.own["serial"], result)
    result.left += [
        f"{key}={drive.own[key]}: newer releases of QEMU do not have it" for key in _OLD[1:] if key in drive.own
    ]
    if not is_cd:
        refuse_writes(disk, result)
    return result


def _read_aio(drive: Drive, disk: dict[str, Any], result: ConvertedDisk, where: str) -> None:
    aio = drive.own.get("aio")
    backend = next(BACKENDS[name] for name in disk if name in BACKENDS)
    if aio is None:
        return
    if any(option.qemu == "aio" for option in backend.options):
        if disk[backend.name].setdefault("aio", aio) != aio:
            raise DeclarationError(where, "aio is set twice")
    else:
        result.left.append(f"aio={aio}: has no effect on {backend.name}")


def set_write_cache(disk: dict[str, Any], write_cache: bool, where: str) -> None:
    """Declare writethrough or directsync for a device without a write cache."""
    if write_cache:
        return
    flushing = {
        "none": "directsync",
        "directsync": "directsync",
        "writeback": "writethrough",
        "writethrough": "writethrough",
    }
    if disk.get("cache", "writeback") not in flushing:
        raise DeclarationError(where, "cache unsafe without the disk's own write cache cannot be declared")
    disk["cache"] = flushing[disk.get("cache", "writeback")]


def set_errors(disk: dict[str, Any], values: Mapping[str, str], result: ConvertedDisk) -> None:
    """Read ``on_error`` from werror and rerror; keep the collection's default if they are unset or differ."""
    words = [values[key] for key in ("werror", "rerror") if values.get(key, "auto") != "auto"]
    if len(words) == 2 and len(set(words)) == 1 and words[0] in _ERRORS:
        disk["on_error"] = _ERRORS[words[0]]
    elif words:
        pairs = ",".join(f"{key}={values[key]}" for key in ("werror", "rerror") if key in values)
        result.left.append(f"{pairs}: on_error is {disk.get('on_error', 'stop')}")


_SERIAL = re.compile("[A-Za-z0-9_.-]+")


def set_serial(attachment: str, serial: str, result: ConvertedDisk) -> None:
    """Declare a serial number as far as the guest sees it."""
    most = longest_serial(str(result.declared.get("model", "")), attachment)
    if attachment in PASSTHROUGH or not _SERIAL.fullmatch(serial):
        result.left.append(f"serial={serial}: not declared")
        return
    result.declared["serial"] = serial[:most]
    if len(serial) > most:
        seen = f"newer releases of QEMU take {most}" if attachment == "usb" else f"the guest sees {most}"
        before = "" if attachment == "usb" else ", as before"
        result.left.append(f"serial={serial}: {seen} characters of it{before}")


def refuse_writes(disk: dict[str, Any], result: ConvertedDisk) -> None:
    """Declare read-only storage: QEMU opens it read-only without a message; leave out what it makes void."""
    backend = next(BACKENDS[name] for name in disk if name in BACKENDS)
    why = (
        backend.source.why_read_only(disk[backend.name])
        if backend.source.writable
        else f"{backend.name} cannot be written"
    )
    if "writes" not in disk and why:
        disk["writes"] = "deny"
        result.notes.append(f"writes: deny, because {why}")
    if disk.get("copy_on_read") and disk.get("writes") not in ("overlay", "discard"):
        del disk["copy_on_read"]
        result.left.append("copy-on-read: not declared, because nothing is copied without an overlay")


def read_blockdev_text(text: str, where: str = "-blockdev") -> Node:
    """Parse a -blockdev, in JSON or as key=value."""
    if text.startswith("{"):
        node = texts.read_json(text, where)
        dotted = [key for key in node if "." in key]
        if dotted:
            raise DeclarationError(
                where, f"{texts.shown(dotted[0])}: JSON has no dotted keys; write options within options"
            )
        return node
    return texts.nested(texts.unique(texts.read_pairs(text, where, implied="driver", switches=()), where), where)


def read_blockdev(
    top: Node, nodes: Mapping[str, Node], context: CommandLineContext, where: str, *, is_cd: bool = False
) -> ConvertedDisk:
    """Convert a topmost node to a disk; nodes: the others, by name."""
    if "driver" not in top:
        raise DeclarationError(where, "driver is missing")
    result = read_graph(top, nodes, context, where)
    if not is_cd:
        refuse_writes(result.declared, result)
    return result
