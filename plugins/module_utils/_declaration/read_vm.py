# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the declaration of VMs into typed objects. Pure: nothing here asks a host."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.boards import IDE_PLACES, family
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.cloud_init import check_seed, seed_files
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import (
    Disk,
    Drive,
    read_drive,
    serial_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.forwards import check_forwards
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.pci import pci_places
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.schema import (
    NETWORK_OPTIONS,
    PART_NAME,
    PASSTHROUGH,
    RESERVED_NAMES,
    VM_NAME,
    VM_OPTIONS,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.shared_disks import (
    different_downloads,
    refuse_shared_disks,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Network, Vm
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm_settings import settings_problems
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import Collected, DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import (
    raise_collected,
    read_options,
)

_TRUE = ("true", "yes", "on", "1")
"""Spellings of true in an option that has not been read yet."""


def read_vms(declared: Any, host: str = "") -> tuple[Vm, ...]:
    """Read all VMs of a host; raises all errors together."""
    if not isinstance(declared, Mapping):
        raise DeclarationError(host, "qemu_vms is not a mapping of VM names to VMs")
    vms: list[Vm] = []
    errors: list[Exception] = []
    for name, options in declared.items():
        try:
            vms.append(read_vm(name, options))
        except (DeclarationError, Collected) as error:
            errors.append(error)
    try:
        refuse_shared_disks(vms, {})
    except (DeclarationError, Collected) as error:
        errors.append(error)
    disks = [(f"disk {disk.name} of {vm.name}", disk) for vm in vms if vm.state != "absent" for disk in vm.disks]
    errors += [*different_downloads(disks), *_equal_uuids(vms)]
    try:
        raise_collected(errors)
    except DeclarationError as error:
        raise (error.within(host) if host else error) from None
    except Collected as error:
        raise Collected(
            [e.within(host) if host and isinstance(e, DeclarationError) else e for e in error.errors]
        ) from None
    return tuple(vms)


def _equal_uuids(vms: Iterable[Vm]) -> Iterator[DeclarationError]:
    """Yield the VMs with the UUID of another one: guests and iSCSI targets take the two for one."""
    first: dict[str, str] = {}
    for vm in vms:
        other = first.setdefault(vm.uuid, vm.name) if vm.state != "absent" else vm.name
        if other != vm.name:
            yield DeclarationError(f"vm {vm.name}: uuid", f"{vm.uuid} is also that of vm {other}; declare another one")


def read_vm(name: Any, declared: Any) -> Vm:
    """Read one VM; raises all errors together."""
    if not isinstance(name, str) or not VM_NAME.fullmatch(name):
        raise DeclarationError(
            f"vm {name}",
            "its name is not 1 to 28 of the characters A-Z a-z 0-9 _ -, beginning with a letter or digit"
            f"{_unquoted(name)}",
        )
    where = f"vm {name}"
    settings: dict[str, Any] = {}
    drives: list[Drive] = []
    networks: list[Network] = []
    errors: list[Exception] = []
    try:
        settings = read_options(VM_OPTIONS, declared, where)
    except (DeclarationError, Collected) as error:
        errors.append(error)
    declared = declared if isinstance(declared, Mapping) else {}
    for disk_name, disk in _parts(declared, "disks", where, errors):
        try:
            drives.append(read_drive(disk_name, disk, f"disk {disk_name} of {name}"))
        except (DeclarationError, Collected) as error:
            errors.append(error)
    for network_name, network in _parts(declared, "networks", where, errors):
        try:
            networks.append(
                _read_network(network_name, network, f"network {network_name} of {name}", f"{name}/{network_name}")
            )
        except (DeclarationError, Collected) as error:
            errors.append(error)
    errors.extend(_cross_checks(name, settings, drives))
    raise_collected(errors)
    try:
        pci_places(settings, drives, [network.name for network in networks])
    except DeclarationError as error:
        raise error.within(where) from None
    return Vm(name, settings, _with_boot_order(drives), tuple(networks), seed_files(name, settings.get("cloud_init")))


def _unquoted(name: Any) -> str:
    """Return a hint for a name that YAML has read as something else than text."""
    if isinstance(name, bool):
        return "; YAML reads on, off, yes and no without quotes as true or false: write the name in quotes"
    return "; YAML reads it as a number: write the name in quotes" if isinstance(name, (int, float)) else ""


def _parts(declared: Mapping[str, Any], key: str, where: str, errors: list[Exception]) -> Sequence[tuple[str, Any]]:
    """Return the disks or networks of a VM that have valid names."""
    parts = {} if declared.get(key) is None else declared[key]
    if not isinstance(parts, Mapping):
        errors.append(DeclarationError(f"{where}: {key}", "is not a mapping of names to options"))
        return ()
    good = []
    for name, part in parts.items():
        if isinstance(name, str) and PART_NAME.fullmatch(name):
            good.append((name, part))
        else:
            errors.append(
                DeclarationError(
                    f"{where}: {key}: {name}",
                    "the name is not 1 to 16 of the characters A-Z a-z 0-9 _ -, beginning with a letter (QEMU refuses "
                    f"others in a node name), or is {' or '.join(map(repr, RESERVED_NAMES))}, which the collection uses"
                    f"{_unquoted(name)}",
                )
            )
    return good


def _read_network(name: str, declared: Any, where: str, seed: str) -> Network:
    if isinstance(declared, Mapping) and isinstance(declared.get("mac"), int):
        raise DeclarationError(
            f"{where}: mac", "is a number: YAML reads digits with colons as one; write the address in quotes"
        )
    values = read_options(NETWORK_OPTIONS, declared, where)
    if bool(values.get("bridge")) == bool(values.get("user")):
        raise DeclarationError(where, "exactly one of bridge and user: true is required")
    if values.get("forward") and not values.get("user"):
        raise DeclarationError(f"{where}: forward", "is for a user network")
    check_forwards(values.get("forward", ()), f"{where}: forward")
    digest = hashlib.sha256(seed.encode()).hexdigest()
    mac = values.get("mac") or f"52:54:00:{digest[0:2]}:{digest[2:4]}:{digest[4:6]}"
    if int(mac[:2], 16) & 1:
        raise DeclarationError(f"{where}: mac", f"{mac} is a multicast address")
    if not mac.strip("0:"):
        raise DeclarationError(f"{where}: mac", f"QEMU takes {mac} for none; declare another one, or leave it out")
    return Network(
        name, mac.lower(), values["model"], values.get("bridge", ""), values.get("forward", ()), values["link"]
    )


def _cross_checks(name: str, settings: Values, disks: Sequence[Drive]) -> list[Exception]:
    """Check the parts of a VM against each other."""
    errors: list[Exception] = []
    for option in ("serial", "boot_index"):
        seen: dict[Any, str] = {}
        for disk in disks:
            value = _serial_in_guest(disk) if option == "serial" else disk.settings.get(option)
            if value is not None and value in seen:
                errors.append(
                    DeclarationError(
                        f"disk {disk.name} of {name}: {option}", f"{value!r} is also that of disk {seen[value]}"
                    )
                )
            elif value is not None:
                seen[value] = disk.name
    errors.extend(_kept_content(name, [disk for disk in disks if isinstance(disk, Disk)]))
    names = [disk.name for disk in disks]
    for disk in disks:
        former = disk.settings.get("renamed_from")
        if former in names:
            where = f"disk {disk.name} of {name}: renamed_from"
            errors.append(DeclarationError(where, f"{former} is declared, too; it is the name of a former disk"))
    ide = [disk for disk in disks if disk.attachment == "ide"]
    most = IDE_PLACES.get(family(settings.get("machine", "")), len(ide))
    if len(ide) > most:
        errors.append(
            DeclarationError(
                f"disk {ide[most].name} of {name}: model", f"a {settings.get('machine')} has room for {most} ide disks"
            )
        )
    errors.extend(settings_problems(name, settings))
    for option, value in (settings.get("cloud_init") or {}).items():
        try:
            check_seed(option, value)
        except DeclarationError as error:
            errors.append(error.within(f"vm {name}: cloud_init: {option}"))
    vnc = settings.get("vnc")
    if vnc is not None and ("port" in vnc) != ("address" in vnc):
        errors.append(
            DeclarationError(
                f"vm {name}: vnc", "address and port are required together; without both it is a unix socket"
            )
        )
    return errors


def _serial_in_guest(disk: Drive) -> str | None:
    """Return the serial number that QEMU gives a disk; None if the guest sees that of the device itself."""
    return None if disk.settings["model"] in PASSTHROUGH else serial_of(disk)


def _kept_content(name: str, disks: Sequence[Disk]) -> Iterator[DeclarationError]:
    """Refuse options that would overwrite the guest's writes at the next run, because these change the digest."""
    for disk in disks:
        provision = disk.provision
        if disk.writes == "keep" and provision.get("sha256") and str(provision.get("overwrite", "no")).lower() in _TRUE:
            yield DeclarationError(
                f"disk {disk.name} of {name}: provision",
                "sha256 with overwrite: true overwrites at each run what the guest wrote since; leave overwrite out, "
                "or set writes: overlay, discard or deny",
            )


def _with_boot_order(disks: Sequence[Drive]) -> tuple[Drive, ...]:
    """Make the first disk boot unless a boot_index is declared."""
    if not disks or any("boot_index" in disk.settings for disk in disks):
        return tuple(disks)
    first = disks[0]
    return (replace(first, settings={**first.settings, "boot_index": 0}), *disks[1:])
