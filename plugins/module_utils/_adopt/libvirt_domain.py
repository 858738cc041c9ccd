# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converts libvirt's ``<domain>`` to a VM."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.command_line import vm_name
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.guest_agent import SOCKET
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.libvirt import Pools, read_disk
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.libvirt_source import attributes
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.names import fitting_name
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.result import check_disk, covered
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.settings import DEFAULT_CPU, Conversion, size_words
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.texts import shown
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.tpm import MODELS, declare_tpm
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration import vm
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import Collected, DeclarationError

_UNITS = {"b": 1, "bytes": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4}
_BINARY = {"k": 10, "KiB": 10, "M": 20, "MiB": 20, "G": 30, "GiB": 30, "T": 40, "TiB": 40}
_READ = ("name", "title", "uuid", "memory", "currentMemory", "vcpu", "os", "devices", "cpu", "description", "metadata")
_USUAL = {
    "on_poweroff": ("destroy",),
    "on_reboot": ("restart",),
    "on_crash": ("destroy", "restart"),
}
_SILENT = ("resource", "seclabel", "pm", "iothreads")
_DEVICES = ("disk", "interface", "graphics", "serial", "console", "emulator", "video", "controller", "audio", "input")
_CARDS = {"virtio": "virtio", "e1000": "e1000", "virtio-transitional": "virtio", "virtio-non-transitional": "virtio"}


def read_domain(domain: ElementTree.Element, pools: Pools, name: str) -> tuple[str, Conversion]:
    """Return the name of a VM, and what is declared and left of it."""
    conversion = Conversion([])
    named = vm_name((domain.findtext("name") or name).strip())
    if domain.get("type") not in (None, "kvm", "qemu"):
        raise DeclarationError("libvirt", f"<domain type={shown(domain.get('type'))}>: kvm and qemu can be declared")
    conversion.vm["accel"] = "tcg" if domain.get("type") == "qemu" else "kvm"
    uuid = (domain.findtext("uuid") or "").strip().lower()
    _read_machine(domain, conversion)
    if uuid and uuid != vm.uuid_of(named):
        conversion.keep("uuid", uuid, "the guest keeps its UUID")
    conversion.vm["memory"] = size_words(_memory(domain.find("memory")))
    conversion.vm["cpus"] = int(_digits((domain.findtext("vcpu") or "1").strip(), "vcpu"))
    _read_cpu(domain.find("cpu"), conversion)
    devices = domain.find("devices")
    devices = ElementTree.Element("devices") if devices is None else devices
    _read_disks(devices, pools, conversion)
    _read_interfaces(devices, conversion)
    _read_screen(devices, conversion)
    _read_tpm(devices, conversion)
    conversion.vm["console"] = any(devices.find(tag) is not None for tag in ("serial", "console"))
    _read_guest_agent(devices, conversion)
    _name_the_rest(domain, devices, conversion)
    if conversion.extra:
        conversion.vm["extra_args"] = conversion.extra
    return named, conversion


def _digits(text: str, where: str) -> str:
    if not re.fullmatch("[1-9][0-9]{0,17}", text):
        raise DeclarationError(f"libvirt: {where}", f"{shown(text)} is not a number above 0")
    return text


def _memory(element: ElementTree.Element | None) -> int:
    if element is None:
        raise DeclarationError("libvirt", "has no <memory>")
    unit = element.get("unit", "KiB")
    if unit not in _UNITS and unit not in _BINARY:
        raise DeclarationError("libvirt: memory", f"unit {shown(unit)} is not known")
    factor = _UNITS.get(unit) or 1 << _BINARY[unit]
    return int(_digits((element.text or "").strip(), "memory")) * factor


def _read_machine(domain: ElementTree.Element, conversion: Conversion) -> None:
    kind = attributes(domain, "os/type")
    if (domain.findtext("os/type") or "hvm").strip() != "hvm":
        raise DeclarationError("libvirt: os", "hvm can be declared")
    if kind.get("arch", "x86_64") not in ("x86_64", "i686"):
        raise DeclarationError("libvirt: os", f"only VMs of x86_64 can be declared, not of {shown(kind['arch'])}")
    conversion.read_board(kind.get("machine", "pc"), "libvirt: os")
    loader = domain.find("os/loader")
    if (loader is not None and loader.get("type") == "pflash") or attributes(domain, "os").get("firmware") == "efi":
        conversion.vm["firmware"] = "uefi"
        secure = loader is not None and loader.get("secure") == "yes" and conversion.vm["machine"] == "q35"
        if secure:
            conversion.vm["secure_boot"] = True
        file = "uefi-vars-secure.fd" if secure else "uefi-vars.fd"
        variables = (domain.findtext("os/nvram") or "libvirt's own file").strip()
        conversion.left.append(
            f"UEFI variables in {variables}: firmware: uefi takes the host's own; copy them to {file} in the "
            "VM's directory under /var/lib before its first start"
        )
    boots = [attributes_of.get("dev", "") for attributes_of in (one.attrib for one in domain.findall("os/boot"))]
    if boots and boots[0] != "hd":
        conversion.left.append(f"<boot dev={boots[0]}>: the first disk boots")
    for element in domain.find("os") or ():
        if element.tag not in ("type", "loader", "nvram", "boot", "firmware", "smbios"):
            conversion.left.append(f"<{element.tag}> of <os>: not declared")


def _read_cpu(cpu: ElementTree.Element | None, conversion: Conversion) -> None:
    mode = cpu.get("mode", "custom") if cpu is not None else ""
    model = (cpu.findtext("model") or "").strip() if cpu is not None else ""
    if cpu is None or (mode == "custom" and not model):
        conversion.vm["cpu_model"] = DEFAULT_CPU
    elif mode == "custom":
        conversion.vm["cpu_model"] = model
    elif conversion.vm["accel"] == "kvm" and mode != "host-passthrough":
        conversion.left.append(f"<cpu mode={mode}>: the host's own CPU is declared")
    for element in cpu if cpu is not None else ():
        if element.tag != "model":
            texts = " ".join(f"{key}={value}" for key, value in element.attrib.items())
            conversion.left.append(f"<{element.tag}> {texts} of <cpu>: not declared".replace("  ", " "))


def _read_disks(devices: ElementTree.Element, pools: Pools, conversion: Conversion) -> None:
    disks: dict[str, dict[str, Any]] = {}
    for element in devices.findall("disk"):
        target = attributes(element, "target").get("dev", "disk")
        try:
            disk = read_disk(element, pools)
            check_disk(disk.declared)
        except (DeclarationError, Collected) as error:
            conversion.left.append(f"disk {target}: {covered(error, '')}")
            continue
        name = fitting_name([target, "disk"], disks)
        disks[name] = disk.declared
        conversion.left += [f"disk {name}: {text}" for text in disk.left]
        conversion.notes += [f"disk {name}: {text}" for text in disk.notes]
    if disks:
        conversion.vm["disks"] = disks


def _read_interfaces(devices: ElementTree.Element, conversion: Conversion) -> None:
    networks: dict[str, dict[str, Any]] = {}
    for number, element in enumerate(devices.findall("interface")):
        kind, mac = element.get("type", ""), attributes(element, "mac").get("address", "")
        card = attributes(element, "model").get("type", "virtio")
        source = attributes(element, "source")
        where = f"<interface type={kind}> {mac}".strip()
        bridge = source.get("bridge", "") if kind in ("bridge", "network") else ""
        if not (bridge or kind == "user") or card not in _CARDS:
            conversion.left.append(f"{where}: declare it in networks, with its bridge and the models virtio and e1000")
            continue
        network: dict[str, Any] = {"bridge": bridge} if bridge else {"user": True}
        network.update({"mac": mac} if mac else {})
        network.update({"model": "e1000"} if _CARDS[card] == "e1000" else {})
        networks[fitting_name([f"net{number}"], networks)] = network
        for inner in element:
            if inner.tag not in ("mac", "source", "model", "target", "alias", "address"):
                conversion.left.append(f"{where}: <{inner.tag}>: not declared")
    if networks:
        conversion.vm["networks"] = networks


def _read_screen(devices: ElementTree.Element, conversion: Conversion) -> None:
    for element in devices.findall("graphics"):
        port = element.get("port", "-1")
        listen = element.get("listen", "127.0.0.1")
        if element.get("type") == "vnc" and "vnc" not in conversion.vm:
            fixed = re.fullmatch("[0-9]{4,5}", port) is not None and int(port) >= 5900
            conversion.vm["vnc"] = {"address": listen, "port": int(port)} if fixed else {}
            continue
        conversion.left.append(f"<graphics type={element.get('type', '')}>: a VM has VNC (vnc) or no screen")
    for element in devices.findall("video/model"):
        kind = element.get("type", "")
        if kind not in ("vga", "none") or "vnc" not in conversion.vm:
            conversion.left.append(f"<video> {kind}: a VM has the adapter VGA with vnc, or none")


def _read_tpm(devices: ElementTree.Element, conversion: Conversion) -> None:
    for element in devices.findall("tpm"):
        backend, model = element.find("backend"), element.get("model", MODELS[1])
        emulated = backend is not None and backend.get("type") == "emulator" and backend.get("version") != "1.2"
        if emulated and model in MODELS:
            declare_tpm(conversion, model, "libvirt's own folder (/var/lib/libvirt/swtpm)")
            devices.remove(element)


def _read_guest_agent(devices: ElementTree.Element, conversion: Conversion) -> None:
    for channel in devices.findall("channel"):
        if attributes(channel, "target").get("name") == vm.AGENT_PORT and "guest_agent" not in conversion.vm:
            conversion.vm["guest_agent"] = True
            conversion.left.append(f"<channel> {channel.get('type', '')}: {SOCKET}")
            devices.remove(channel)


def _name_the_rest(domain: ElementTree.Element, devices: ElementTree.Element, conversion: Conversion) -> None:
    for element in domain:
        text = (element.text or "").strip()
        if element.tag in (*_READ, *_SILENT) or text in _USUAL.get(element.tag, ()):
            continue
        if element.tag == "clock" and element.get("offset", "utc") == "utc":
            continue
        usual = {"acpi", "apic", "pae", "vmport", *(("smm",) if "secure_boot" in conversion.vm else ())}
        if element.tag == "features" and {inner.tag for inner in element} <= usual:
            continue
        conversion.left.append(f"<{element.tag.rpartition('}')[2]}>: not declared")
    for element in devices:
        if element.tag not in _DEVICES:
            kind = element.get("model") or element.get("type") or ""
            conversion.left.append(f"<{element.tag}> {kind}: not declared".replace(" :", ":"))
