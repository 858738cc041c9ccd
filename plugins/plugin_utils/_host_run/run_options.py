# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a run beside the declaration: they are for this run alone, and usually come from ``-e``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import steps

_CHOICES = {"when_lacking": ("fail", "report"), "only": ("all", "ssh_agents"), "step": steps.STEPS}
"""The values of options; the first one is the default."""
_OTHERS = ("only_vms", "recreate")
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_SEPARATORS = re.compile(r"[,\s]+")


@dataclass(frozen=True)
class RunOptions:
    """The options of one task, read and checked."""

    when_lacking: str
    only: str
    step: str
    only_vms: tuple[str, ...] | None
    """Patterns of the names of the VMs on which the run acts; None for all VMs."""
    recreate: tuple[str, ...]
    """Names of the VMs that are made again from their sources."""


def read_run_options(arguments: Mapping[str, Any]) -> RunOptions:
    """Read the options of a task."""
    known = {"vms", *_CHOICES, *_OTHERS}
    # Not validate_argument_spec(): it copies every VM twice, and read_vms() checks more.
    if "vms" not in arguments or set(arguments) - known:
        names = ", ".join([*_CHOICES, *_OTHERS])
        raise DeclarationError("qemu_vms", f"has the options vms (required), {names}, and no other")
    options = {name: arguments.get(name, choices[0]) for name, choices in _CHOICES.items()}
    for name, value in options.items():
        if value not in _CHOICES[name]:
            raise DeclarationError(f"qemu_vms: {name}", f"{value!r} is not one of {', '.join(_CHOICES[name])}")
    return RunOptions(
        **{name: str(value) for name, value in options.items()},
        only_vms=_names(arguments, "only_vms") if arguments.get("only_vms") is not None else None,
        recreate=_exact_names(arguments, "recreate"),
    )


def _names(arguments: Mapping[str, Any], option: str) -> tuple[str, ...]:
    """Return the names in an option: a list, or text in which commas separate them."""
    value = arguments[option]
    parts = value if isinstance(value, (list, tuple)) else _SEPARATORS.split(str(value))
    names = tuple(dict.fromkeys(str(part).strip() for part in parts if str(part).strip()))
    if not names:
        raise DeclarationError(f"qemu_vms: {option}", "is empty; name VMs, or leave it out")
    return names


def _exact_names(arguments: Mapping[str, Any], option: str) -> tuple[str, ...]:
    """Return names that are no patterns: what they lead to must not happen to a VM that nobody has named."""
    names = _names(arguments, option) if arguments.get(option) is not None else ()
    for name in names:
        if not _NAME.fullmatch(name):
            raise DeclarationError(f"qemu_vms: {option}", f"{name!r} is not the name of a VM; name each VM in full")
    return names
