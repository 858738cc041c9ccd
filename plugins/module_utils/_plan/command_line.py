# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of QEMU for a VM. Pure."""

from __future__ import annotations

from itertools import count

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import keyval
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.boards import family
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Drive
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.pci import (
    AGENT_CONTROLLER,
    PciPlaces,
    nic_id,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Network, Vm, user_subnet
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm_settings import AGENT_PORT
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.blockdev import Graph
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.devices import disk_devices
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.firmware import Firmware
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.sizes import memory_device, size_arguments
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.tpm import tpm_arguments
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.compact_json import compact
from ansible_collections.directdisk.qemu.plugins.module_utils._units.node_names import vm_node
from ansible_collections.directdisk.qemu.plugins.module_utils._units.service import Args

SEED_NODE = vm_node("seed")


def build_argv(
    vm: Vm,
    *,
    binary: str,
    places: PciPlaces,
    graphs: list[tuple[Drive, Graph | None]],
    objects: list[str],
    firmware: Firmware | None,
    taps: dict[str, str],
    seed: Node | None,
    vnc_secret: str,
) -> Args:
    """Return the whole command line of one VM."""
    settings = vm.settings
    args: Args = [(binary,)]
    args += _base(vm)
    if firmware:
        args += firmware.arguments()
    args += _monitor_and_console(vm)
    args += tpm_arguments(vm.name) if settings["tpm"] else []
    args += [("-object", text) for text in objects]
    for graph in (graph for _disk, graph in graphs if graph):
        args += [("-blockdev", compact(node)) for node in graph.nodes]
    disks = [(disk, graph.top if graph else "") for disk, graph in graphs]
    args += [("-device", text) for text in disk_devices(disks, family(settings["machine"]), places)]
    if seed:
        args += [
            ("-blockdev", compact(seed)),
            ("-device", f"virtio-blk-pci,{places.seed},drive={SEED_NODE},id={SEED_NODE}-disk"),
        ]
    args += _guest_agent(vm, places.agent)
    args += memory_device(settings, places.memory)
    user_networks = count()
    for network in vm.networks:
        number = 0 if network.bridge else next(user_networks)
        args += _network(network, taps.get(network.name, ""), places.networks[network.name], number)
    args += _screen(vm, vnc_secret, places.screen)
    args += [(argument,) for argument in settings.get("extra_args", ())]
    return args


def seed_node(directory: str, image: str) -> Node:
    """Return the node of the NoCloud seed, with the label of cloud-init.

    image: empty, or an image of the directory for a QEMU that cannot present the directory itself as a FAT disk.
    """
    if image:
        return {"driver": "file", "node-name": SEED_NODE, "filename": image, "read-only": True}
    return {"driver": "vvfat", "node-name": SEED_NODE, "dir": directory, "label": "cidata", "read-only": True}


def _base(vm: Vm) -> Args:
    settings = vm.settings
    cpu = settings.get("cpu_model") or ("host" if settings["accel"] == "kvm" else "max")
    return [
        ("-name", f"guest={vm.name},debug-threads=on"),
        ("-uuid", vm.uuid),
        ("-no-user-config",),
        # The unit starts the guest after it has checked which files QEMU has opened (qemu-vm-control.py started).
        ("-S",),
        ("-nodefaults",),
        ("-machine", settings["machine"]),
        ("-accel", settings["accel"]),
        ("-cpu", cpu),
        *size_arguments(settings),
        ("-rtc", "base=utc"),
        ("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"),
    ]


def _monitor_and_console(vm: Vm) -> Args:
    name = vm.name
    args: Args = [
        ("-chardev", f"socket,id=qmp,path={paths.qmp_socket(name)},server=on,wait=off"),
        ("-mon", "chardev=qmp,mode=control"),
    ]
    if vm.settings["console"]:
        socket = f"{paths.runtime_directory(name)}/console.sock"
        args += [
            (
                "-chardev",
                f"socket,id=console,path={socket},server=on,wait=off,logfile={paths.console_log(name)},logappend=on",
            ),
            ("-serial", "chardev:console"),
        ]
    return args


def _guest_agent(vm: Vm, place: str) -> Args:
    if not vm.settings["guest_agent"]:
        return []
    name = vm_node("agent")
    return [
        ("-chardev", f"socket,id={name},path={paths.agent_socket(vm.name)},server=on,wait=off"),
        ("-device", f"virtio-serial-pci,{place},id={AGENT_CONTROLLER}"),
        ("-device", f"virtserialport,bus={AGENT_CONTROLLER}.0,chardev={name},name={AGENT_PORT},id={name}"),
    ]


def _network(network: Network, tap: str, place: str, number: int) -> Args:
    device = {"virtio": "virtio-net-pci", "e1000": "e1000"}[network.model]
    if network.bridge:
        backend = f"tap,id={network.name},ifname={tap},script=no,downscript=no"
    else:
        subnet = [f"net={user_subnet(number)}"] if number else []
        forward = [f"hostfwd={rule}" for rule in network.forward]
        backend = ",".join(["user", f"id={network.name}", *subnet, *forward])
    return [
        ("-netdev", backend),
        ("-device", f"{device},{place},id={nic_id(network.name)},netdev={network.name},mac={network.mac}"),
    ]


def _screen(vm: Vm, vnc_secret: str, place: str) -> Args:
    vnc = vm.settings.get("vnc")
    if vnc is None:
        return [("-display", "none")]
    if "port" in vnc:
        address = f"[{vnc['address']}]" if ":" in vnc["address"] else vnc["address"]
        endpoint = f"{address}:{vnc['port'] - 5900}"
    else:
        endpoint = f"unix:{keyval(paths.runtime_directory(vm.name))}/vnc.sock"
    return [
        ("-device", f"VGA,{place}"),
        ("-vnc", endpoint + (f",password-secret={vnc_secret}" if vnc_secret else "")),
    ]
