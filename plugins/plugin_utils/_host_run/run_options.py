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
_OTHERS = ("only_vms",)
_SEPARATORS = re.compile(r"[,\s]+")


@dataclass(frozen=True)
class RunOptions:
    """The options of one task, read and checked."""

    when_lacking: str
    only: str
    step: str
    only_vms: tuple[str, ...] | None
    """Patterns of the names of the VMs on which the run acts; None for all VMs."""


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
    )


def _names(arguments: Mapping[str, Any], option: str) -> tuple[str, ...]:
    """Return the names in an option: a list, or text in which commas separate them."""
    value = arguments[option]
    parts = value if isinstance(value, (list, tuple)) else _SEPARATORS.split(str(value))
    names = tuple(dict.fromkeys(str(part).strip() for part in parts if str(part).strip()))
    if not names:
        raise DeclarationError(f"qemu_vms: {option}", "is empty; name VMs, or leave it out")
    return names
