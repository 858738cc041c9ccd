# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converts a node graph to a disk."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.storage import NAME, read_storage
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.texts import shown, switch
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.command_line_context import CommandLineContext
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.uris import number_in
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths

PROBED = ""
"""Driver of a layer whose format QEMU probes."""
PROBED_NOTE = "format: not set, so QEMU probes the image; raw is declared: set qcow2 if qemu-img info reports it"
NAMED_NOTE = (
    "format: not set, so QEMU probes the image; qcow2 is declared because of its name: check it with qemu-img info"
)
_OTHER_FORMATS = (".vmdk", ".vdi", ".vhd", ".vhdx", ".qed", ".qcow")
FORMATS = (PROBED, "raw", "qcow2", "luks")
FILTERS = ("throttle", "copy-on-read")
COMMON = (
    "node-name",
    "read-only",
    "auto-read-only",
    "force-share",
    "cache",
    "discard",
    "detect-zeroes",
    "active",
)
_MOST_LAYERS = 8
_TUNING = re.compile(
    "lazy-refcounts|pass-discard-.*|discard-no-unref|overlap-check.*|(l2-|refcount-)?cache(-entry)?-size|cache-clean.*"
)
"""Options of qcow2 that affect its speed, not its content."""
_LIMIT = re.compile("(?:x-)?(iops|bps)-((?:total|read|write)(?:-max(?:-length)?)?|size)")
_DEFAULT_LENGTH = "1"

CACHES = {
    (False, False): "writeback",
    (True, False): "none",
    (False, True): "unsafe",
}
"""Cache modes by cache.direct and cache.no-flush."""


@dataclass
class ConvertedDisk:
    """The result for one disk."""

    declared: dict[str, Any] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Layer:
    node: Node
    inline: bool
    """True if it is defined within its parent and inherits its cache mode."""


def read_graph(top: Node, nodes: Mapping[str, Node], context: CommandLineContext, where: str) -> ConvertedDisk:
    """Convert a graph; nodes: those below others, by name."""
    result = ConvertedDisk()
    layers = _layers(top, nodes, where, result)
    storage = layers[-1]
    formats = [layer for layer in layers[:-1] if layer.node.get("driver", PROBED) in FORMATS]
    bare = {key: value for key, value in storage.node.items() if key not in COMMON}
    backend, options = read_storage(bare, context, where, result.left)
    disk: dict[str, Any] = {backend.name: options}
    for layer in formats:
        _read_format(layer.node, disk, context, where, result)
    if "writes" in result.declared:
        disk["writes"] = result.declared["writes"]
    elif _is_on((formats or [storage])[0].node, "read-only", where):
        disk["writes"] = "deny"
    for layer in layers:
        _read_filter(layer.node, disk, context, where, result)
    _read_common(layers, [*formats, storage], disk, where)
    result.declared = disk
    return result


def _layers(top: Node, nodes: Mapping[str, Node], where: str, result: ConvertedDisk) -> list[_Layer]:
    """Return the layers from the device's node down to the storage, without our own overlay."""
    layers = [_Layer(top, inline=False)]
    while True:
        node = layers[-1].node
        driver = node.get("driver", PROBED)
        if driver not in (*FORMATS, *FILTERS) or (driver == PROBED and "file" not in node):
            return layers
        if len(layers) > _MOST_LAYERS:
            raise DeclarationError(where, "has too many nodes above one another")
        backing = node.get("backing")
        if backing not in (None, ""):
            _read_overlay(node, nodes, where, result)
            layers[-1] = _child(backing, nodes, where, "backing")
        elif node.get("file") is None:
            raise DeclarationError(where, f"driver {driver} has no file")
        else:
            layers.append(_child(node["file"], nodes, where, "file"))


def _child(child: Any, nodes: Mapping[str, Node], where: str, name: str) -> _Layer:
    if isinstance(child, Mapping):
        return _Layer(dict(child), inline=True)
    if str(child) not in nodes:
        raise DeclarationError(where, f"{name} is the node {shown(child)}, which is not there")
    return _Layer(nodes[str(child)], inline=False)


def _read_overlay(node: Node, nodes: Mapping[str, Node], where: str, result: ConvertedDisk) -> None:
    """Declare the writes of our own overlay; refuse another one, whose content would be lost."""
    file = _child(node.get("file"), nodes, where, "file").node
    path = str(file.get("filename") or file.get(NAME, ""))
    writes = paths.writes_of_overlay(path)
    if not writes:
        overlay = shown(path) if path else f"on {shown(file.get('driver'))[1:-1]}"
        raise DeclarationError(
            where, f"backing: the overlay {overlay} would be left behind; commit it to its base first"
        )
    result.declared["writes"] = writes


def _names(disk: Mapping[str, Any]) -> list[str]:
    texts = [value for options in disk.values() if isinstance(options, Mapping) for value in options.values()]
    return [text.partition("?")[0].lower() for text in texts if isinstance(text, str)]


def is_named_qcow2(disk: Mapping[str, Any]) -> bool:
    """Return True if the name of a disk's image says that it is a qcow2."""
    return any(name.endswith(".qcow2") for name in _names(disk))


def read_probed(disk: dict[str, Any], result: ConvertedDisk, where: str) -> None:
    """Guess the probed format from the image's name: a qcow2 that is declared raw would be destroyed."""
    names = _names(disk)
    other = next((ending for ending in _OTHER_FORMATS for name in names if name.endswith(ending)), "")
    if other:
        problem = f"its format is not set, and its name ends in {other}, which cannot be declared"
        raise DeclarationError(where, f"{problem}; convert it with qemu-img convert, or set format=")
    if any(name.endswith(".iso") for name in names):
        return
    named = is_named_qcow2(disk)
    if named:
        disk["format"] = "qcow2"
    result.notes.append(NAMED_NOTE if named else PROBED_NOTE)


def _read_format(
    node: Node, disk: dict[str, Any], context: CommandLineContext, where: str, result: ConvertedDisk
) -> None:
    driver = str(node.get("driver", PROBED))
    own = {key: value for key, value in node.items() if key not in (*COMMON, "driver", "file", "backing")}
    if driver == PROBED and "encrypt" in own:
        driver = "qcow2"  # the only format with it that QEMU encrypts by LUKS
    if driver == PROBED:
        read_probed(disk, result, where)
    if driver in ("luks", "qcow2") and {"luks", "format"} & set(disk):
        raise DeclarationError(where, "one format inside another cannot be declared")
    if driver == "raw" and "size" not in own and str(own.get("offset")) == "0":
        del own["offset"]
    if driver == "qcow2":
        disk["format"] = "qcow2"
    if driver == "luks" and "key-secret" in own:
        disk["luks"] = {"passphrase": context.secret(own.pop("key-secret"))}
    elif driver == "luks":
        raise DeclarationError(where, "luks: key-secret is missing")
    encrypt = own.pop("encrypt", None) if driver == "qcow2" else None
    if encrypt is not None:
        if not isinstance(encrypt, Mapping) or set(encrypt) != {"format", "key-secret"} or encrypt["format"] != "luks":
            raise DeclarationError(where, "encrypt: luks with a key-secret alone can be declared")
        disk["luks"] = {"passphrase": context.secret(encrypt["key-secret"])}
    for key in own:
        if driver not in ("qcow2", PROBED) or not _TUNING.fullmatch(key):
            raise DeclarationError(where, f"{key} of a node {driver or 'without driver'} cannot be declared")
        result.left.append(f"{key} of its qcow2 node: QEMU's own choice is taken")


def _read_filter(
    node: Node, disk: dict[str, Any], context: CommandLineContext, where: str, result: ConvertedDisk
) -> None:
    driver = node.get("driver")
    if driver not in FILTERS:
        return
    own = {key for key in node if key not in (*COMMON, "driver", "file", "throttle-group")}
    if own:
        raise DeclarationError(where, f"{sorted(own)[0]} of a node {driver} cannot be declared")
    if driver == "copy-on-read":
        disk["copy_on_read"] = True
        return
    group = context.properties("throttle-group", node.get("throttle-group"))
    properties: dict[str, Any] = {key: value for key, value in group.items() if key not in ("qom-type", "id", "limits")}
    limits = group.get("limits")
    properties.update(limits if isinstance(limits, Mapping) else {})
    for kind, values in read_limits(properties, result).items():
        if kind in disk:
            result.left.append(f"{kind} of several throttle nodes: the lowest limit of each kind is declared")
            common = {name: min(values[name], disk[kind][name]) for name in values if name in disk[kind]}
            values = {**disk[kind], **values, **common}
        disk[kind] = values


def read_limits(properties: Mapping[str, Any], result: ConvertedDisk) -> dict[str, dict[str, Any]]:
    """Return iops and bps from the properties of a throttle group; name what is not declared."""
    limits: dict[str, dict[str, Any]] = {}
    for name, value in properties.items():
        match = _LIMIT.fullmatch(name)
        if str(value) == "0" or (name.endswith("-length") and str(value) == _DEFAULT_LENGTH):
            continue  # no limit
        if match and (match[1], match[2]) != ("bps", "size"):
            limits.setdefault(match[1], {})[match[2].replace("-", "_")] = number_in(value)
        elif name == "group":
            result.left.append(f"group={value} of its limits: each disk has limits of its own")
        else:
            result.left.append(f"{name}={shown(value)[1:-1]} of its limits: not declared")
    for values in limits.values():
        for name in [
            name for name in values if name.endswith("_length") and name.removesuffix("_length") not in values
        ]:
            result.left.append(f"{name}={values.pop(name)} of its limits: has no effect without {name[:-7]}")
    return {kind: values for kind, values in limits.items() if values}


def _read_common(layers: list[_Layer], images: list[_Layer], disk: dict[str, Any], where: str) -> None:
    """Read the options that all nodes have; a node within another one inherits them.

    images: those of format and storage, which have one cache mode. A discard ends at any node that ignores it.
    """
    caches: list[tuple[bool, bool]] = []
    discards: list[bool] = []
    zeroes = []
    for layer in layers:
        node = layer.node
        if _is_on(node, "force-share", where):
            raise DeclarationError(where, "force-share cannot be declared")
        if layer in images:
            inherited = caches[-1] if layer.inline and caches else (False, False)
            caches.append(_cache(node.get("cache"), inherited, where))
        discards.append(_discards(node, where, inline=layer.inline))
        zeroes.append(str(node.get("detect-zeroes", "off")))
    if len(set(caches)) > 1:
        raise DeclarationError(where, "cache: the format's node and the storage's have two modes")
    if caches[0] not in CACHES:
        raise DeclarationError(where, "cache: direct and no-flush together cannot be declared")
    words = {word for word in zeroes if word != "off"}
    if len(words) > 1:
        raise DeclarationError(where, "detect-zeroes: the format's node and the storage's have two values")
    if CACHES[caches[0]] != "writeback":
        disk["cache"] = CACHES[caches[0]]
    if all(discards):
        disk["discard"] = "unmap"
    if words:
        disk["detect_zeroes"] = words.pop()


def _cache(values: Any, inherited: tuple[bool, bool], where: str) -> tuple[bool, bool]:
    if values is None:
        return inherited
    if not isinstance(values, Mapping) or set(values) - {"direct", "no-flush"}:
        raise DeclarationError(where, "cache: direct and no-flush are known")
    direct, no_flush = (switch(values.get(key, old), where) for key, old in zip(("direct", "no-flush"), inherited))
    return direct, no_flush


def _discards(node: Node, where: str, *, inline: bool) -> bool:
    word = node.get("discard", "unmap" if inline else "ignore")
    words = {"unmap": True, "on": True, "ignore": False, "off": False}
    if not isinstance(word, str) or word not in words:
        raise DeclarationError(where, f"discard: {shown(word)} is neither ignore nor unmap")
    return words[word]


def _is_on(node: Node, key: str, where: str) -> bool:
    return switch(node.get(key, False), f"{where}: {key}")
