# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attaches disks to a running QEMU and detaches them, over its monitor (QEMU, docs/interop/qemu-qmp-ref).

QEMU is confined: it gets secrets as data of objects, and files and devices of the host as descriptors. What cannot be
attached whole is taken away again.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError, QmpError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import block_graph, live_overlays
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.blockdev import writes_node
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live import part_of
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_options import (
    limits_of,
    throttle_groups,
    throttle_node,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_state import FileAccess, LiveDisk
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.running_parts import Part, properties_of
from ansible_collections.directdisk.qemu.plugins.module_utils._programs.opened_path import open_path
from ansible_collections.directdisk.qemu.plugins.module_utils._programs.vm_control import open_problem
from ansible_collections.directdisk.qemu.plugins.module_utils._units.node_names import disk_node

_TEXT = ("addr", "bus", "device_id", "drive", "driver", "id", "iothread", "mac", "netdev", "serial")
"""Properties of devices that are text, even if it consists of digits."""
_UNPLUGGED, _REFUSED = "DEVICE_DELETED", "DEVICE_UNPLUG_GUEST_ERROR"
_FDSET = re.compile(r"/dev/fdset/(\d+)")
_BACKING_FILE = ["backing", "file"]
"""The edges below an image that stands on a backing file, which is one image and its file."""
Record = Callable[[dict[str, str]], None]
"""Remembers the names of a disk's files in QEMU."""
_LONGEST_SECRET = 4096
UNPLUG_SECONDS = 30.0
"""Time for a guest to give a device back; Linux takes five seconds, because a port may be pressed twice."""


def attach(monitor: Monitor, name: str, disk: LiveDisk, secrets: Mapping[str, str], record: Record) -> None:
    """Attach a disk. One that cannot be attached leaves nothing.

    secrets: texts by the paths of credentials; record: gets the names of its files in QEMU before the guest sees it.
    """
    with contextlib.ExitStack() as undo:
        record(open_nodes(monitor, name, disk, secrets, undo))
        present = _devices(monitor)
        for device in map(properties_of, filter(None, (disk["controller"], *disk["devices"]))):
            # A shared controller, or one that a run which was ended has added.
            if device["id"] not in present:
                monitor.execute("device_add", typed(device))
        for bridge in (one for one in map(properties_of, disk["devices"]) if one["driver"] == "usb-bot"):
            # The guest sees it once there is something behind it.
            path = f"/machine/peripheral/{bridge['id']}"
            monitor.execute("qom-set", {"path": path, "property": "attached", "value": True})
        undo.pop_all()


def open_nodes(
    monitor: Monitor, name: str, disk: LiveDisk, secrets: Mapping[str, str], undo: contextlib.ExitStack
) -> dict[str, str]:
    """Add the objects and nodes of a disk in place of what is left of them; return the names of its files in QEMU.

    undo: takes them away again.
    """
    passed: dict[str, str] = {}
    remove_rest(monitor, name, part_of(disk))
    for one in disk["objects"]:
        _add_object(monitor, one, disk["secrets"], secrets)
        undo.callback(quietly, monitor, "object-del", {"id": properties_of(one)["id"]})
    for node in disk["nodes"]:
        if disk["overlay"] and node["node-name"] == writes_node(name):
            undo.callback(live_overlays.remove, live_overlays.new_file(disk["overlay"]))
            live_overlays.make(monitor, node, disk["overlay"])
        with _with_descriptors(monitor, name, node, disk) as opened:
            monitor.execute("blockdev-add", opened)
        passed.update({value: opened[option] for option, value in node.items() if opened[option] != value})
        undo.callback(quietly, monitor, "blockdev-del", {"node-name": node["node-name"]})
    _check_opened(monitor, name, disk)
    return passed


def _is_text(value: Any, disk: LiveDisk) -> bool:
    return isinstance(value, str) and value in disk["texts"]


def _check_opened(monitor: Monitor, name: str, disk: LiveDisk) -> None:
    """Refuse an image whose header has made QEMU open another file, before the guest gets it."""
    own = [node["node-name"] for node in disk["nodes"]]
    others = [edge.role for edge in block_graph.below(block_graph.edges(monitor), own) if edge.child not in own]
    if others != (_BACKING_FILE if disk["backing"] else []):
        raise HostError(
            f"disk {name}: QEMU has opened other files than are declared ({', '.join(others) or 'no backing file'}), "
            "as a header says; such an image is not opened"
        )
    # Only a command that asks the storage of all disks tells the names of backing files.
    nodes = monitor.execute("query-named-block-nodes") if disk["backing"] else []
    problem = open_problem(nodes, {"images": disk["backing"], "overlays": []})
    if problem:
        raise HostError(problem)


def _devices(monitor: Monitor) -> set[str]:
    """Return the ids of all devices."""
    return {str(one.get("name")) for one in monitor.execute("qom-list", {"path": "/machine/peripheral"})}


def detach(monitor: Monitor, name: str, part: Part, *, seconds: float = UNPLUG_SECONDS) -> None:
    """Detach a disk, or what is left of one; raise HostError if the guest does not give it back in time."""
    for device in reversed(part.devices):
        unplug(monitor, properties_of(device)["id"], seconds)
    remove_rest(monitor, name, part)


def limit(monitor: Monitor, disk: LiveDisk) -> None:
    """Give a disk its limits, or take the last ones away. What a run that was ended has done already is skipped."""
    part = part_of(disk)
    node = throttle_node(part)
    for one in throttle_groups(part):
        _set_limits(monitor, properties_of(one)["id"], limits_of(one))
    device = properties_of(part.devices[-1])
    filters = disk_node(device["id"], "throttle")
    present = block_graph.node_names(monitor)
    if node and node["node-name"] not in present:
        monitor.execute("blockdev-add", node)
    path = f"/machine/peripheral/{device['id']}"
    # QEMU 7.2 ends itself if it is given the node that the device has.
    if monitor.execute("qom-get", {"path": path, "property": "drive"}) != device["drive"]:
        monitor.execute("qom-set", {"path": path, "property": "drive", "value": device["drive"]})
    if not node:
        if filters in present:
            monitor.execute("blockdev-del", {"node-name": filters})
        quietly(monitor, "object-del", {"id": disk_node(device["id"], "limits")})


def _set_limits(monitor: Monitor, group: str, limits: Mapping[str, int]) -> None:
    """Set the limits of a group, which may be new. QEMU has other names for them once it exists."""
    listed = {one.get("name") for one in monitor.execute("qom-list", {"path": "/objects"})}
    if group in listed:
        monitor.execute("qom-set", {"path": f"/objects/{group}", "property": "limits", "value": limits})
    else:
        monitor.execute("object-add", {"qom-type": "throttle-group", "id": group, "limits": limits})


def reopen(monitor: Monitor, name: str, disk: LiveDisk, passed: Mapping[str, str]) -> None:
    """Give the nodes of a disk another discard and detect-zeroes; passed: names of its files in QEMU."""
    given: dict[int, list[int]] = {}
    for path, file in disk["files"].items():
        descriptors = _FDSET.fullmatch(passed.get(path, ""))
        if descriptors:
            # QEMU has kept none of those that it opened the file by.
            number = int(descriptors[1])
            given[number] = _give_file(monitor, name, file, [number], same_set=True)
    nodes = ({option: passed.get(str(value), value) for option, value in node.items()} for node in disk["nodes"])
    monitor.execute("blockdev-reopen", {"options": list(nodes)})
    # Those of before, and of runs that were ended meanwhile.
    for one in monitor.execute("query-fdsets"):
        for descriptor in one["fds"]:
            if one["fdset-id"] in given and descriptor["fd"] not in given[one["fdset-id"]]:
                quietly(monitor, "remove-fd", {"fdset-id": one["fdset-id"], "fd": descriptor["fd"]})


def remove_rest(monitor: Monitor, name: str, part: Part) -> None:
    """Remove the nodes, objects and descriptors of a disk without a device, as far as they exist."""
    present = block_graph.node_names(monitor)
    for node in map(json.loads, reversed(part.nodes)):
        if node["node-name"] in present:
            monitor.execute("blockdev-del", {"node-name": node["node-name"]})
    for one in reversed(part.objects):
        quietly(monitor, "object-del", {"id": properties_of(one)["id"]})
    for descriptors in monitor.execute("query-fdsets"):
        if {str(one.get("opaque")) for one in descriptors["fds"]} == {_opaque(name)}:
            quietly(monitor, "remove-fd", {"fdset-id": descriptors["fdset-id"]})


def typed(properties: Mapping[str, str]) -> dict[str, Any]:
    """Return the properties of a device as device_add takes them: numbers as numbers."""
    return {name: value if name in _TEXT else _number(value) for name, value in properties.items()}


def _number(value: str) -> int | str:
    if re.fullmatch("[0-9]+", value):
        return int(value)
    return int(value, 16) if re.fullmatch("0x[0-9a-f]+", value) else value


def unplug(monitor: Monitor, device: str, seconds: float) -> None:
    """Take a device from the guest; raise HostError if it does not give it back in time."""
    reply = monitor.try_execute("device_del", {"id": device})
    if "error" in reply:
        error = reply["error"] if isinstance(reply["error"], dict) else {}
        if error.get("class") == "DeviceNotFound":
            return
        if "already in the process of unplug" not in str(error.get("desc")):
            raise QmpError(f"device_del: {error.get('desc')}")
    event = monitor.wait_for_device_event((_UNPLUGGED, _REFUSED), device, seconds=seconds)
    monitor.allow(seconds)
    if event == _REFUSED:
        raise HostError("the guest refuses to give it back; unmount it there, and run this again")
    if not event:
        raise HostError(
            f"the guest has not given it back within {seconds:g} s: it uses it, or has no support for unplugging; end "
            "its use there and run this again, or restart the VM, which then starts without it"
        )


def _add_object(monitor: Monitor, argument: str, credentials: Mapping[str, str], secrets: Mapping[str, str]) -> None:
    properties: dict[str, Any] = dict(properties_of(argument))
    kind = properties.pop("driver")
    if properties["id"] in credentials:
        path = credentials[properties["id"]]
        text = secrets[path] if path in secrets else _helper_secret(path)
        encoded = properties.get("format") == "base64"
        properties = {"id": properties["id"], "format": "base64"}
        properties["data"] = text if encoded else base64.b64encode(text.encode()).decode()
    monitor.execute("object-add", {"qom-type": kind, **{name: _value(name, one) for name, one in properties.items()}})


def _helper_secret(path: str) -> str:
    """Read the secret of a helper, whose folder is its own."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}") from None
    try:
        return os.read(handle, _LONGEST_SECRET).decode()
    finally:
        os.close(handle)


def _value(name: str, value: Any) -> Any:
    return _number(value) if name.startswith("x-") else value


@contextlib.contextmanager
def _with_descriptors(monitor: Monitor, name: str, node: Node, disk: LiveDisk) -> Iterator[Node]:
    """Give QEMU the files of a node, and yield the node that names them; what it has opened by then, it keeps."""
    sets: list[int] = []
    try:
        yield {option: _given(monitor, name, value, disk, sets) for option, value in node.items()}
    finally:
        for number in sets:
            quietly(monitor, "remove-fd", {"fdset-id": number})


def _given(monitor: Monitor, name: str, value: Any, disk: LiveDisk, sets: list[int]) -> Any:
    """Return the value of a node's option, or the path by which QEMU opens the file that it is given instead."""
    if isinstance(value, str) and value in disk["files"]:
        _give_file(monitor, name, disk["files"][value], sets)
        return f"/dev/fdset/{sets[-1]}"
    if _is_text(value, disk):
        handle = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.write(handle, disk["texts"][value].encode())
        fcntl.fcntl(handle, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
        # A library opens it, and does not know QEMU's names of descriptors.
        return f"/proc/self/fd/{_give(monitor, name, handle, sets)}"
    return value


def _give_file(monitor: Monitor, name: str, file: FileAccess, sets: list[int], *, same_set: bool = False) -> list[int]:
    """Give QEMU descriptors of a file, and return their numbers there; it takes the one with the mode of the open."""
    given = []
    for mode in (os.O_RDWR, os.O_RDONLY) if file["mode"] == "rw" else (os.O_RDONLY,):
        second = mode == os.O_RDONLY and file["mode"] == "rw"
        given.append(_give(monitor, name, _open(file["path"], mode), sets, same_set=same_set or second))
    return given


def _open(path: str, mode: int) -> int:
    """Open a file as its access list allows the VM's own unit to open it."""
    try:
        handle = open_path(path)
        try:
            return os.open(f"/proc/self/fd/{handle}", mode | os.O_CLOEXEC)
        finally:
            os.close(handle)
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}") from None


def _give(monitor: Monitor, name: str, handle: int, sets: list[int], *, same_set: bool = False) -> int:
    """Give QEMU a descriptor, and return its number there; sets: the sets of the node's descriptors."""
    arguments = {"opaque": _opaque(name), **({"fdset-id": sets[-1]} if same_set else {})}
    try:
        added = monitor.execute("add-fd", arguments, descriptor=handle)
    finally:
        os.close(handle)
    if not same_set:
        sets.append(added["fdset-id"])
    return int(added["fd"])


def _opaque(name: str) -> str:
    return disk_node(name, "file")


def quietly(monitor: Monitor, command: str, arguments: Mapping[str, Any]) -> None:
    """Take back a part; it may be gone already."""
    with contextlib.suppress(QmpError):
        monitor.try_execute(command, dict(arguments))
