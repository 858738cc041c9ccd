# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks a VM's CPU model and further arguments against what the emulator of its host knows. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration import cd_drive
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.boards import (
    NEWEST,
    family,
    is_versioned,
    release_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import CapabilityError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import nearest
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.devices import DRIVERS, driver_of
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities

_NETWORK_DEVICES = {"virtio": "virtio-net-pci", "e1000": "e1000"}
DEVICES = frozenset({*DRIVERS.values(), *cd_drive.DRIVERS.values(), *_NETWORK_DEVICES.values()})
"""The device models that VMs may declare."""


def unknown_to_emulator(vm: Vm, capabilities: Capabilities) -> Iterator[CapabilityError]:
    """Yield what is declared and this emulator refuses. What the probe could not find out is left to QEMU."""
    where = f"vm {vm.name}"
    yield from _unknown_board(vm, capabilities)
    yield from _too_many_cpus(vm, capabilities)
    model, *features = str(vm.settings.get("cpu_model") or "").split(",")
    models = capabilities.cpu_models
    if model and models and model not in models:
        yield CapabilityError(
            f"{where}: cpu_model",
            f"{capabilities.emulator} has no CPU model {model!r}{nearest(model, models)}; "
            f"'{capabilities.emulator} -cpu help' lists them",
        )
    for feature in features:
        name = feature.partition("=")[0].lstrip("+-").replace("_", "-")
        if capabilities.cpu_features and name not in capabilities.cpu_features:
            yield CapabilityError(
                f"{where}: cpu_model",
                f"{capabilities.emulator} has no CPU feature {feature!r}{nearest(name, capabilities.cpu_features)}",
            )
    yield from _missing_devices(vm, capabilities)
    yield from _unknown_arguments(vm, capabilities)


def _missing_devices(vm: Vm, capabilities: Capabilities) -> Iterator[CapabilityError]:
    """Yield what this emulator was built without (Red Hat's has few devices)."""
    emulator, missing = capabilities.emulator, set(capabilities.no_devices)
    for disk in vm.disks:
        device = driver_of(disk)
        if device in missing:
            is_cd = disk.settings["model"] == cd_drive.MODEL
            option, drivers = ("bus", cd_drive.DRIVERS) if is_cd else ("model", DRIVERS)
            usable = ", ".join(one for one, driver in drivers.items() if driver not in missing)
            yield CapabilityError(
                f"disk {disk.name} of {vm.name}: {option}",
                f"{emulator} has no device {device}; declare another {option} ({usable})",
            )
    for network in vm.networks:
        device = _NETWORK_DEVICES[network.model]
        if device in missing:
            yield CapabilityError(
                f"network {network.name} of {vm.name}: model", f"{emulator} has no device {device}; leave model out"
            )


def _unknown_board(vm: Vm, capabilities: Capabilities) -> Iterator[CapabilityError]:
    machine = vm.settings["machine"]
    known = capabilities.machines
    # Names such as q35 are not known of every host: an earlier probe did not record them.
    if known and machine not in known and (is_versioned(machine) or set(NEWEST.values()) & set(known)):
        like = sorted(name for name in known if is_versioned(name) and family(name) == family(machine))
        yield CapabilityError(
            f"vm {vm.name}: machine",
            f"{capabilities.emulator} has no board {machine!r}{nearest(machine, like)}; "
            f"'{capabilities.emulator} -machine help' lists them",
        )


def _too_many_cpus(vm: Vm, capabilities: Capabilities) -> Iterator[CapabilityError]:
    """Yield an error for more CPUs than the board has (hw/i386 of QEMU); a newer one has as many as KVM."""
    kvm, pc = vm.settings["accel"] == "kvm", family(vm.settings["machine"]) == "pc"
    # APIC IDs above 255 need an x2APIC: that of KVM, or of TCG since 9.0.
    few = pc or (not kvm and capabilities.release < (9, 0))
    board_release = release_of(vm.settings["machine"]) or capabilities.release
    most = 255 if few else 288 if min(board_release, capabilities.release) < (8, 1) else 4096
    option = "cpus_max" if vm.settings.get("cpus_max", 0) > vm.settings["cpus"] else "cpus"
    if vm.settings[option] > most:
        board = vm.settings["machine"] if pc or kvm else f"{vm.settings['machine']} with accel: tcg"
        yield CapabilityError(
            f"vm {vm.name}: {option}",
            f"{vm.settings[option]} are more than {capabilities.emulator} has for {board} ({most})",
        )


def _unknown_arguments(vm: Vm, capabilities: Capabilities) -> Iterator[CapabilityError]:
    options = capabilities.emulator_options
    waiting = ""
    for argument in vm.settings.get("extra_args", ()) if options else ():
        if waiting or not argument.startswith("-"):
            waiting = ""
            continue
        # QEMU accepts two dashes, too.
        name = argument[1:] if argument.startswith("--") else argument
        if name in options:
            waiting = argument if options[name] else ""
            continue
        option, space, _value = name.partition(" ")
        if space and option in options:
            advice = "; declare an option and its value as two items"
        else:
            advice = nearest(name, options)
        yield CapabilityError(
            f"vm {vm.name}: extra_args", f"{capabilities.emulator} has no option {argument!r}{advice}"
        )
    if waiting:
        yield CapabilityError(f"vm {vm.name}: extra_args", f"{waiting} is the last item, and requires a value")
