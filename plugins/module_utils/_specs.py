# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From tables of options to what Ansible wants of them: argument specs and documentation. One table, no second list."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backend import Option
from ansible_collections.directdisk.qemu.plugins.module_utils._backends import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._vm_options import DISK_OPTIONS

# A size is read from text such as 20GiB, and what may have any shape is left to its reader.
_TYPES = {"size": "str", "hex": "str", "any": "raw"}


def disk_options() -> tuple[Option, ...]:
    """The options of a disk: one for each backend, and those that all disks share."""
    backends = (Option(name, backend.summary, "dict", options=backend.options) for name, backend in BACKENDS.items())
    return (*backends, *DISK_OPTIONS)


def argument_spec(options: Iterable[Option]) -> dict[str, dict[str, Any]]:
    """The argument spec of a module that takes these options."""
    return {option.name: _argument(option) for option in options}


def documentation(options: Iterable[Option]) -> dict[str, dict[str, Any]]:
    """The same options as a module documents them."""
    documented = {}
    for option in options:
        argument = _argument(option)
        argument.pop("no_log", None)
        argument.pop("options", None)
        if option.options:
            argument["suboptions"] = documentation(option.options)
        documented[option.name] = {"description": [option.summary], **argument}
    return documented


def _argument(option: Option) -> dict[str, Any]:
    argument: dict[str, Any] = {"type": _TYPES.get(option.type, option.type)}
    if option.required:
        argument["required"] = True
    if option.default is not None:
        argument["default"] = option.default
    if option.choices:
        argument["choices"] = list(option.choices)
    if option.elements or option.type == "list":
        argument["elements"] = option.elements or "str"
    if option.aliases:
        argument["aliases"] = list(option.aliases)
    if option.options:
        argument["options"] = argument_spec(option.options)
    if option.secret:
        argument["no_log"] = True
    return argument
