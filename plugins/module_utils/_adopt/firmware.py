# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converts firmware in flash memory to ``firmware: uefi``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.argument_secrets import redacted
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.arguments import Argument
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.settings import (
    Conversion,
    secure_flash,
    without_s3,
)

_OWN_NODES = {"machine.uefi-code", "machine.uefi-vars"}
"""Nodes of a unit of the collection."""
_PLACES = ("filename", "url", "path", "image", "target", "export", "vdi")
_DEEPEST = 8


def read_firmware(conversion: Conversion) -> None:
    """Declare UEFI for firmware in flash; its variables must be copied by hand."""
    nodes = [str(conversion.flash[name]) for name in ("pflash0", "pflash1") if name in conversion.flash]
    drives = [a for a in conversion.of("drive") if a.values.get("if") == "pflash"]
    devices = [a for a in conversion.of("blockdev") if a.names & set(nodes)]
    devices.sort(key=lambda a: min(nodes.index(name) for name in a.names if name in nodes))
    if not drives and not nodes and not conversion.of("pflash"):
        return
    blockdevs = {name: a for a in conversion.of("blockdev") for name in a.names}
    files = [_file(a.values or a.value, blockdevs) for a in (*drives, *devices, *conversion.of("pflash"))]
    conversion.vm["firmware"] = "uefi"
    secure = secure_flash(conversion) if conversion.board == "q35" else []
    if secure:
        conversion.vm["secure_boot"] = True
        conversion.take(*secure, *without_s3(conversion))
    conversion.take(*drives, *devices, *conversion.of("pflash"))
    for device in devices:
        _take_below(conversion, device.values, blockdevs)
    if set(nodes) != _OWN_NODES:
        own = "uefi-vars-secure.fd" if secure else "uefi-vars.fd"
        conversion.left.append(
            f"UEFI in {' and '.join(files) or 'flash'}: firmware: uefi takes the host's own; copy the variables to "
            f"{own} in the VM's directory under /var/lib before its first start"
        )


def _take_below(conversion: Conversion, node: Mapping[str, Any], blockdevs: Mapping[str, Argument]) -> None:
    child = node.get("file")
    if isinstance(child, Mapping):
        _take_below(conversion, child, blockdevs)
    elif child in blockdevs and blockdevs[str(child)].position not in conversion.taken:
        conversion.take(blockdevs[str(child)])
        _take_below(conversion, blockdevs[str(child)].values, blockdevs)


def _file(node: Any, blockdevs: Mapping[str, Argument], depth: int = 0) -> str:
    """Return the file of a flash device, for people; node: keys and values, a node's name, or text."""
    if isinstance(node, str) and node in blockdevs and depth < _DEEPEST:
        return _file(blockdevs[node].values, blockdevs, depth + 1)
    if not isinstance(node, Mapping):
        return redacted(str(node))
    if "file" in node and depth < _DEEPEST:
        return _file(node["file"], blockdevs, depth + 1)
    place = next((node[key] for key in _PLACES if key in node), "")
    driver = str(node.get("driver", ""))
    pool = f"{node['pool']}/" if "pool" in node else ""
    return redacted(f"{'' if driver in ('', 'file') else driver} {pool}{place}".strip())
