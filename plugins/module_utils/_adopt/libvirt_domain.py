# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converts libvirt's ``<domain>`` to a VM."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID
from xml.etree import ElementTree

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.boot import declare_cds_first
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.cd_drives import check_room
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.command_line import vm_name
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.guest_agent import SOCKET
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.libvirt import read_disk
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.libvirt_controllers import DomainContext, Pools
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.libvirt_cpu import digits, read_cpus
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.libvirt_devices import (
    read_console,
    read_interfaces,
    read_screen,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.libvirt_source import attributes
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.names import disk_name
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.result import check_disk, covered
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.settings import Conversion, size_words
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.texts import shown
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.tpm import MODELS, declare_tpm
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.command_line_context import CommandLineContext
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration import vm
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.cd_drive import MODEL
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm_settings import AGENT_PORT
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import Collected, DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import in_words

_UNITS = {"b": 1, "bytes": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4}
_BINARY = {"k": 10, "KiB": 10, "M": 20, "MiB": 20, "G": 30, "GiB": 30, "T": 40, "TiB": 40}
_READ = (
    *("name", "title", "uuid", "memory", "currentMemory", "vcpu", "os", "devices", "cpu", "description", "metadata"),
    *("features", "clock"),
)
_USUAL = {
    "on_poweroff": ("destroy",),
    "on_reboot": ("restart",),
    "on_crash": ("destroy", "restart"),
}
_SILENT = ("resource", "seclabel", "iothreads")
_READ_OF_OS = ("type", "loader", "nvram", "boot", "firmware")
_DEVICES = ("disk", "interface", "graphics", "serial", "console", "emulator", "video", "controller", "audio", "input")
_MEBIBYTE = 1024**2


def read_domain(domain: ElementTree.Element, pools: Pools, name: str) -> tuple[str, Conversion]:
    """Return the name of a VM, and what is declared and left of it."""
    conversion = Conversion([])
    named = vm_name((domain.findtext("name") or name).strip())
    if domain.get("type") not in (None, "kvm", "qemu"):
        raise DeclarationError("libvirt", f"<domain type={shown(domain.get('type'))}>: kvm and qemu can be declared")
    conversion.vm["accel"] = "tcg" if domain.get("type") == "qemu" else "kvm"
    uuid = _uuid(domain)
    _read_machine(domain, conversion)
    if uuid and uuid != vm.uuid_of(named):
        conversion.vm["uuid"] = uuid
    conversion.vm["memory"] = size_words(_memory(domain, conversion))
    read_cpus(domain, conversion)
    devices = domain.find("devices")
    devices = ElementTree.Element("devices") if devices is None else devices
    context = CommandLineContext(vm=named if uuid and uuid != vm.uuid_of(named) else None, uuid=uuid)
    controllers = tuple(devices.findall("controller"))
    _read_disks(devices, DomainContext(pools, conversion.board, controllers, context), conversion)
    _read_boot(domain, conversion)
    read_interfaces(devices, conversion)
    read_screen(devices, conversion)
    read_console(devices, conversion)
    _read_features(domain, conversion)
    _read_clock(domain, conversion)
    _read_tpm(devices, conversion)
    _read_guest_agent(devices, conversion)
    _name_the_rest(domain, devices, conversion)
    if conversion.extra:
        conversion.vm["extra_args"] = conversion.extra
    return named, conversion


def _uuid(domain: ElementTree.Element) -> str:
    """Return the UUID as QEMU gets it; hyphens and spaces are optional for libvirt."""
    text = (domain.findtext("uuid") or "").strip()
    digits_only = re.sub("[- ]", "", text)
    if not digits_only:
        return ""
    if not re.fullmatch("[0-9a-fA-F]{32}", digits_only):
        raise DeclarationError("libvirt: uuid", f"{shown(text)} is not a UUID")
    return str(UUID(hex=digits_only))


def _memory(domain: ElementTree.Element, conversion: Conversion) -> int:
    """Return the memory in whole MiB, as libvirt passes it on."""
    size, current = _size(domain.find("memory")), domain.find("currentMemory")
    if size is None:
        raise DeclarationError("libvirt", "has no <memory>")
    now = _size(current)
    if now is not None and now != size:
        conversion.left.append(f"<currentMemory> {in_words(now)}: the VM has its whole memory")
    return (size + _MEBIBYTE - 1) // _MEBIBYTE * _MEBIBYTE


def _size(element: ElementTree.Element | None) -> int | None:
    if element is None:
        return None
    unit = element.get("unit", "KiB")
    if unit not in _UNITS and unit not in _BINARY:
        raise DeclarationError("libvirt: memory", f"unit {shown(unit)} is not known")
    factor = _UNITS.get(unit) or 1 << _BINARY[unit]
    return int(digits((element.text or "").strip(), "memory")) * factor


def _read_machine(domain: ElementTree.Element, conversion: Conversion) -> None:
    kind = attributes(domain, "os/type")
    if (domain.findtext("os/type") or "hvm").strip() != "hvm":
        raise DeclarationError("libvirt: os", "hvm can be declared")
    if kind.get("arch", "x86_64") not in ("x86_64", "i686"):
        raise DeclarationError("libvirt: os", f"only VMs of x86_64 can be declared, not of {shown(kind['arch'])}")
    conversion.read_board(kind.get("machine", "pc"), "libvirt: os")
    _read_firmware(domain, conversion)
    for element in domain.findall("os/*"):
        texts = " ".join(f"{key}={value}" for key, value in element.attrib.items())
        if element.tag not in _READ_OF_OS and (element.tag, texts) != ("smbios", "mode=emulate"):
            conversion.left.append(f"<{element.tag}> {texts} of <os>: not declared".replace("  ", " "))


def _read_firmware(domain: ElementTree.Element, conversion: Conversion) -> None:
    loader = domain.find("os/loader")
    place = (loader.text or "").strip() if loader is not None else ""
    if (loader is not None and loader.get("type") == "pflash") or attributes(domain, "os").get("firmware") == "efi":
        conversion.vm["firmware"] = "uefi"
    features = _read_features_of_firmware(domain, conversion)
    if "firmware" in conversion.vm:
        nvram = domain.find("os/nvram")
        source = attributes(domain, "os/nvram/source")
        variables = ((nvram.text or "").strip() if nvram is not None else "") or "/".join(
            source[key] for key in ("protocol", "file", "dev", "name") if key in source
        )
        file = "uefi-vars-secure.fd" if "secure_boot" in conversion.vm else "uefi-vars.fd"
        conversion.left.append(
            f"UEFI{f' {place}' if place else ''}, variables in {variables or 'a file of libvirt'}: firmware: uefi "
            f"takes the host's own; copy them to {file} in the VM's directory under /var/lib before its first start"
        )
    elif place:
        conversion.left.append(f"<loader> {place}: the firmware of QEMU is declared")
    conversion.left += [f"{name} of the firmware: not declared" for name in features]


def _read_features_of_firmware(domain: ElementTree.Element, conversion: Conversion) -> list[str]:
    """Declare Secure Boot if the firmware has it; return the other features that are asked of it."""
    names = [one.get("name", "") for one in domain.findall("os/firmware/feature") if one.get("enabled") == "yes"]
    names += ["secure"] if attributes(domain, "os/loader").get("secure") == "yes" else []
    has_it = conversion.board == "q35" and "firmware" in conversion.vm
    if not has_it or {"secure", "secure-boot"}.isdisjoint(names):
        return list(dict.fromkeys(names))
    conversion.vm["secure_boot"] = True
    return [name for name in dict.fromkeys(names) if name not in ("secure", "secure-boot", "enrolled-keys")]


def _in_order(disks: list[ElementTree.Element]) -> list[ElementTree.Element]:
    """Return disks as libvirt orders them: of one bus by their target, for the first one boots; CD drives come last."""
    result: list[ElementTree.Element] = []
    for disk in disks:
        bus, place = _target(disk)
        same = [number for number, other in enumerate(result) if _target(other)[0] == bus]
        after = [number for number in same if _target(result[number])[1] > place]
        result.insert(after[0] if after else same[-1] + 1 if same else len(result), disk)
    return sorted(result, key=lambda disk: disk.get("device") == MODEL)


def _target(disk: ElementTree.Element) -> tuple[str, tuple[int, str]]:
    target = attributes(disk, "target")
    name = target.get("dev", "")
    return target.get("bus", name[:2]), (len(name), name)


def _read_disks(devices: ElementTree.Element, context: DomainContext, conversion: Conversion) -> None:
    disks: dict[str, dict[str, Any]] = {}
    for element in _in_order(devices.findall("disk")):
        target = attributes(element, "target").get("dev", "disk")
        try:
            disk = read_disk(element, context)
            check_disk(disk.declared)
            check_room(conversion.board, disk.declared, disks.values())
        except (DeclarationError, Collected) as error:
            conversion.left.append(f"disk {target}: {covered(error, '')}")
            continue
        name = disk_name([target, "disk"], disk, disks)
        disks[name] = disk.declared
        conversion.left += [f"disk {name}: {text}" for text in disk.left]
        conversion.notes += [f"disk {name}: {text}" for text in disk.notes]
    if disks:
        conversion.vm["disks"] = disks


def _read_boot(domain: ElementTree.Element, conversion: Conversion) -> None:
    """Read which kind of device boots first."""
    boots = [one.get("dev", "") for one in domain.findall("os/boot")]
    from_cd = boots[:1] == [MODEL] and declare_cds_first(conversion.vm.get("disks", {}))
    if boots and boots[0] != "hd" and not from_cd:
        conversion.left.append(f"<boot dev={boots[0]}>: the first disk boots")


def _read_tpm(devices: ElementTree.Element, conversion: Conversion) -> None:
    for element in devices.findall("tpm"):
        backend, model = element.find("backend"), element.get("model", MODELS[1])
        emulated = backend is not None and backend.get("type") == "emulator" and backend.get("version") != "1.2"
        if emulated and model in MODELS:
            declare_tpm(conversion, model, "libvirt's own folder (/var/lib/libvirt/swtpm)")
            devices.remove(element)


def _read_guest_agent(devices: ElementTree.Element, conversion: Conversion) -> None:
    for channel in devices.findall("channel"):
        if attributes(channel, "target").get("name") == AGENT_PORT and "guest_agent" not in conversion.vm:
            conversion.vm["guest_agent"] = True
            conversion.left.append(f"<channel> {channel.get('type', '')}: {SOCKET}")
            devices.remove(channel)


def _name_the_rest(domain: ElementTree.Element, devices: ElementTree.Element, conversion: Conversion) -> None:
    for element in domain:
        text = (element.text or "").strip()
        if element.tag not in (*_READ, *_SILENT) and text not in _USUAL.get(element.tag, ()):
            conversion.left.append(f"<{element.tag.rpartition('}')[2]}>{f' {text}' if text else ''}: not declared")
    for element in devices:
        if element.tag not in _DEVICES:
            kind = element.get("model") or element.get("type") or ""
            conversion.left.append(f"<{element.tag}> {kind}: not declared".replace(" :", ":"))


def _read_features(domain: ElementTree.Element, conversion: Conversion) -> None:
    """Read what the guest finds of ACPI and hypervisor: without <acpi>, libvirt turns it off."""
    if domain.find("features/acpi") is None:
        conversion.keep("machine", "acpi=off", "the guest has no ACPI")
    usual = ("acpi", "apic", "pae", "vmport", *(("smm",) if "secure_boot" in conversion.vm else ()))
    for element in domain.findall("features/*"):
        if element.tag not in usual or (element.attrib and element.tag != "smm"):
            inner = " ".join([*element.attrib.values(), *(one.tag for one in element)])
            conversion.left.append(f"<{element.tag}> {inner} of <features>: not declared".replace("  ", " "))


def _read_clock(domain: ElementTree.Element, conversion: Conversion) -> None:
    clock = domain.find("clock")
    offset = clock.get("offset", "utc") if clock is not None else "utc"
    if offset == "localtime":
        conversion.keep("rtc", "base=localtime", "the guest's clock is local time")
    elif offset != "utc":
        conversion.left.append(f"<clock offset={offset}>: the guest's clock is UTC")
    for timer in domain.findall("clock/timer"):
        texts = " ".join(f"{key}={value}" for key, value in timer.attrib.items())
        conversion.left.append(f"<timer> {texts} of <clock>: not declared")
