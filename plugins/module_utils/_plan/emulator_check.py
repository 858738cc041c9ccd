# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks a VM's CPU model and further arguments against what the emulator of its host knows. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.boards import family, is_versioned
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import CapabilityError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import nearest
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities


def unknown_to_emulator(vm: Vm, capabilities: Capabilities) -> Iterator[CapabilityError]:
    """Yield what is declared and this emulator refuses. What the probe could not find out is left to QEMU."""
    where = f"vm {vm.name}"
    yield from _unknown_board(vm, capabilities)
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
    yield from _unknown_arguments(vm, capabilities)


def _unknown_board(vm: Vm, capabilities: Capabilities) -> Iterator[CapabilityError]:
    machine = vm.settings["machine"]
    if is_versioned(machine) and capabilities.machines and machine not in capabilities.machines:
        like = sorted(name for name in capabilities.machines if is_versioned(name) and family(name) == family(machine))
        yield CapabilityError(
            f"vm {vm.name}: machine",
            f"{capabilities.emulator} has no board {machine!r}{nearest(machine, like)}; "
            f"'{capabilities.emulator} -machine help' lists them",
        )


def _unknown_arguments(vm: Vm, capabilities: Capabilities) -> Iterator[CapabilityError]:
    options = capabilities.emulator_options
    value_follows = False
    for argument in vm.settings.get("extra_args", ()) if options else ():
        if value_follows or not argument.startswith("-"):
            value_follows = False
            continue
        # QEMU accepts two dashes, too.
        name = argument[1:] if argument.startswith("--") else argument
        if name in options:
            value_follows = options[name]
            continue
        option, space, _value = name.partition(" ")
        if space and option in options:
            advice = "; declare an option and its value as two items"
        else:
            advice = nearest(name, options)
        yield CapabilityError(
            f"vm {vm.name}: extra_args", f"{capabilities.emulator} has no option {argument!r}{advice}"
        )
