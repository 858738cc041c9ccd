# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converts firmware in flash memory to ``firmware: uefi``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.argument_secrets import redacted
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.arguments import Argument
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.settings import Found

_OWN_NODES = {"machine.uefi-code", "machine.uefi-vars"}
"""Nodes of a unit of the collection."""
_PLACES = ("filename", "url", "path", "image", "target", "export", "vdi")
_DEEPEST = 8


def read_firmware(found: Found) -> None:
    """Declare UEFI for firmware in flash; its variables must be copied by hand."""
    nodes = [str(found.flash[name]) for name in ("pflash0", "pflash1") if name in found.flash]
    drives = [a for a in found.of("drive") if a.said.get("if") == "pflash"]
    devices = [a for a in found.of("blockdev") if a.names & set(nodes)]
    devices.sort(key=lambda a: min(nodes.index(name) for name in a.names if name in nodes))
    if not drives and not nodes and not found.of("pflash"):
        return
    blockdevs = {name: a for a in found.of("blockdev") for name in a.names}
    files = [_file(a.said or a.value, blockdevs) for a in (*drives, *devices, *found.of("pflash"))]
    found.vm["firmware"] = "uefi"
    found.take(*drives, *devices, *found.of("pflash"))
    for device in devices:
        _take_below(found, device.said, blockdevs)
    if set(nodes) != _OWN_NODES:
        found.left.append(
            f"UEFI in {' and '.join(files) or 'flash'}: firmware: uefi takes the host's own; copy the variables to "
            "uefi-vars.fd in the VM's directory under /var/lib before its first start"
        )


def _take_below(found: Found, node: Mapping[str, Any], blockdevs: Mapping[str, Argument]) -> None:
    child = node.get("file")
    if isinstance(child, Mapping):
        _take_below(found, child, blockdevs)
    elif child in blockdevs and blockdevs[str(child)].position not in found.taken:
        found.take(blockdevs[str(child)])
        _take_below(found, blockdevs[str(child)].said, blockdevs)


def _file(node: Any, blockdevs: Mapping[str, Argument], depth: int = 0) -> str:
    """Return the file of a flash device, for people; node: keys and values, a node's name, or text."""
    if isinstance(node, str) and node in blockdevs and depth < _DEEPEST:
        return _file(blockdevs[node].said, blockdevs, depth + 1)
    if not isinstance(node, Mapping):
        return redacted(str(node))
    if "file" in node and depth < _DEEPEST:
        return _file(node["file"], blockdevs, depth + 1)
    place = next((node[key] for key in _PLACES if key in node), "")
    driver = str(node.get("driver", ""))
    pool = f"{node['pool']}/" if "pool" in node else ""
    return redacted(f"{'' if driver in ('', 'file') else driver} {pool}{place}".strip())
