# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a run beside the declaration: they are for this run alone, and usually come from ``-e``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.parsing.dataloader import DataLoader

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import steps
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.variables import failed_template

_CHOICES = {
    "when_lacking": ("fail", "report"),
    "only": ("all", "ssh_agents"),
    "step": steps.STEPS,
    "restart": ("declared", "due"),
}
"""The values of options; the first one is the default."""
_OTHERS = ("only_vms", "recreate", "takeover", "restart_serial", "restart_force", "prune")
VARIABLES = {
    "only_vms": "qemu_vms_only",
    **{name: f"qemu_vms_{name}" for name in ("restart", *_OTHERS) if name != "only_vms"},
}
"""The variables of role qemu_vms that become options of the module, by option."""
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_SEPARATORS = re.compile(r"[,\s]+")


@dataclass(frozen=True)
class RunOptions:
    """The options of one task, read and checked."""

    when_lacking: str
    only: str
    step: str
    restart: str
    """declared, or due: also VMs that are declared with restart: never."""
    restart_serial: int
    """Number of VMs of a host that restart at a time; 0 for all together."""
    restart_force: bool
    """Switch off guests that do not shut down."""
    only_vms: tuple[str, ...] | None
    """Patterns of the names of the VMs on which the run acts; None for all VMs."""
    prune: bool
    """Remove VMs that have a unit on the host and no declaration."""
    recreate: tuple[str, ...]
    """Names of the VMs that are made again from their sources."""
    takeover: tuple[str, ...] = ()
    """Names of the VMs that take their storage from other clients."""


def task_options(arguments: Mapping[str, Any], variables: Mapping[str, Any], loader: DataLoader) -> RunOptions:
    """Read the options of a task that has these variables.

    The role passes its variables with ``default(omit)``, for which a variable whose template fails is not there: a run
    that is limited to some VMs would act on all.
    """
    for option, variable in VARIABLES.items():
        problem = "" if option in arguments else failed_template(variables, variable, loader)
        if problem:
            raise DeclarationError(_where(option), problem)
    return read_run_options(arguments)


def read_run_options(arguments: Mapping[str, Any]) -> RunOptions:
    """Read the options of a task."""
    known = {"vms", *_CHOICES, *_OTHERS}
    # Not validate_argument_spec(): it copies every VM twice, and read_vms() checks more.
    if set(arguments) - known:
        names = ", ".join([*_CHOICES, *_OTHERS])
        raise DeclarationError("qemu_vms", f"has the options vms, {names}, and no other")
    options = {name: arguments.get(name, choices[0]) for name, choices in _CHOICES.items()}
    for name, value in options.items():
        if value not in _CHOICES[name]:
            raise DeclarationError(_where(name), f"{value!r} is not one of {', '.join(_CHOICES[name])}")
    return RunOptions(
        **{name: str(value) for name, value in options.items()},
        only_vms=_names(arguments, "only_vms") if arguments.get("only_vms") is not None else None,
        restart_serial=_number(arguments, "restart_serial"),
        restart_force=_flag(arguments, "restart_force"),
        prune=_flag(arguments, "prune"),
        recreate=_exact_names(arguments, "recreate"),
        takeover=_exact_names(arguments, "takeover"),
    )


def _where(option: str) -> str:
    """Return the subject of an error: the variable of the role stands there, too, for whoever knows only that."""
    variable = f" ({VARIABLES[option]})" if option in VARIABLES else ""
    return f"qemu_vms: {option}{variable}"


def _names(arguments: Mapping[str, Any], option: str) -> tuple[str, ...]:
    """Return the names in an option: a list, or text in which commas separate them."""
    value = arguments[option]
    if isinstance(value, Mapping):
        raise DeclarationError(_where(option), "is a mapping; name VMs in a list or separated by commas")
    parts = (
        _SEPARATORS.split(value) if isinstance(value, str) else value if isinstance(value, (list, tuple)) else [value]
    )
    if not all(isinstance(part, (str, int)) and not isinstance(part, bool) for part in parts):
        raise DeclarationError(_where(option), "has an entry that is not a name; name VMs as text")
    names = tuple(dict.fromkeys(str(part).strip() for part in parts if str(part).strip()))
    if not names:
        raise DeclarationError(_where(option), "is empty; name VMs, or leave it out")
    return names


def _exact_names(arguments: Mapping[str, Any], option: str) -> tuple[str, ...]:
    """Return names that are no patterns: what they lead to must not happen to a VM that nobody has named."""
    names = _names(arguments, option) if arguments.get(option) is not None else ()
    for name in names:
        if not _NAME.fullmatch(name):
            raise DeclarationError(_where(option), f"{name!r} is not the name of a VM; name each VM in full")
    return names


def _number(arguments: Mapping[str, Any], option: str) -> int:
    """Return a whole number; text, as -e passes it, is one, too."""
    value = str(arguments.get(option, 0))
    if not value.isdecimal():
        raise DeclarationError(_where(option), f"{value!r} is not a whole number from 0 on")
    return int(value)


def _flag(arguments: Mapping[str, Any], option: str) -> bool:
    """Return true or false; text, as -e passes it, is read as Ansible does."""
    value = arguments.get(option, False)
    try:
        return bool(boolean(value))
    except TypeError:
        raise DeclarationError(_where(option), f"{value!r} is neither true nor false") from None
