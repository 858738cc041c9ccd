# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of a converted VM as its unit builds it, with storage and sockets that are always there."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.arguments import Argument, changed, read_arguments
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.pci import pci_places
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.read_vm import read_vm
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.blockdev import Graph, build_graph
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.command_line import build_argv
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.devices import iothread_objects

NULL = {"driver": "null-co", "size": 2**20}
_FILES = (
    "kernel",
    "initrd",
    "dtb",
    "bios",
    "pflash",
    "L",
    "append",
    "spice",
    "acpitable",
    "tpmdev",
    "trace",
    "D",
    "set",
)
_FORMATS = ("raw", "qcow2", "luks", "throttle", "copy-on-read")
_QUIT = '{"execute": "qmp_capabilities"}\n{"execute": "quit"}\n'


def started(declaration: Mapping[str, Any], emulator: str) -> str:
    """Start the VM paused, and return what QEMU says if it does not run."""
    command = [emulator, *_command_line(declaration)[1:], "-monitor", "none", "-qmp", "stdio"]
    result = subprocess.run(command, input=_QUIT, capture_output=True, text=True, timeout=100, check=False)
    return result.stderr.strip() if result.returncode else ""


def _command_line(declaration: Mapping[str, Any]) -> list[str]:
    text = re.sub(r"\{\{ \w+ \}\}", "AAAA", json.dumps({**declaration, "accel": "tcg"}))
    vm = read_vm("vm", json.loads(text))
    vm.settings["extra_args"] = [
        word for a in read_arguments(["kvm", *vm.settings.get("extra_args", ())]) for word in _here(a)
    ]  # type: ignore[index]
    if str(vm.settings.get("cpu_model", "max")).startswith("host"):
        vm.settings["cpu_model"] = "max"  # type: ignore[index]
    graphs: list[tuple[Any, Graph]] = []
    objects = iothread_objects(vm.disks)
    for disk in vm.disks:
        disk.settings.update(format="raw", writes="deny" if disk.writes == "deny" else "keep", copy_on_read=False)  # type: ignore[attr-defined]
        disk.settings.pop("luks", None)  # type: ignore[attr-defined]
        if disk.settings["model"] in ("scsi-block", "scsi-generic"):
            disk.settings["model"] = "virtio-scsi"  # type: ignore[index]
        resources = UnitResources("", disk.name, "")
        graphs.append((disk, build_graph(disk, NULL, resources, "")))
        objects += [one.argument for one in resources.objects]
    taps = {network.name: f"tap{number}" for number, network in enumerate(vm.networks)}
    places = pci_places(vm.settings, vm.disks, [network.name for network in vm.networks])
    rest = build_argv(
        vm,
        binary="",
        places=places,
        graphs=graphs,
        objects=objects,
        firmware=None,
        taps=taps,
        seed=None,
        vnc_secret="",
    )
    words = [word for argument in rest for word in argument]
    return [_without_host(word) for word in words]


def _without_host(word: str) -> str:
    word = re.sub(r"^socket,id=(qmp|console|machine\.agent),.*", r"null,id=\1", word)
    word = re.sub(r"^tap,id=([^,]*),.*", r"user,id=\1", word)
    return re.sub(r"^(\[?[0-9a-zA-Z:.]*\]?:\d+|unix:/.*)(,.*)?$", "none", word)


def _here(argument: Argument) -> list[str]:
    """Return a kept argument without the files, sockets and servers that it names."""
    values = dict(argument.values)
    if argument.option in _FILES:
        return []
    if argument.option == "object" and str(values["qom-type"]).startswith("memory-backend-"):
        return ["-object", f"memory-backend-ram,id={values['id']},size={values['size']}"]
    if argument.option == "drive":
        kept = {key: value for key, value in values.items() if key in ("if", "id", "index", "media", "bus", "unit")}
        return changed(argument, {**kept, "file": "null-co://", "format": "raw"}).words
    if argument.option in ("cdrom", "hda", "hdb", "hdc", "hdd", "fda", "fdb"):
        return [f"-{argument.option}", "null-co://"]
    if argument.option == "chardev":
        return ["-chardev", f"null,id={values['id']}"]
    if argument.option in ("serial", "parallel") and not argument.value.startswith("chardev:"):
        return [f"-{argument.option}", "null"]
    if argument.option == "netdev" and values.get("type") not in ("user", "hubport"):
        return ["-netdev", f"user,id={values['id']}"]
    if argument.option == "blockdev":
        return ["-blockdev", json.dumps(_null(values))]
    return argument.words


def _null(node: Mapping[str, Any]) -> dict[str, Any]:
    name = {"node-name": node["node-name"]} if "node-name" in node else {}
    return {**name, **NULL, "read-only": str(node.get("read-only", False)).lower() in ("true", "on")}
