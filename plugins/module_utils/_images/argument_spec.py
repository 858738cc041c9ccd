# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From tables of options to what Ansible wants of them: argument specs and documentation. One table, no second list."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import ORIGIN_OPTIONS
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.schema import DISK_OPTIONS
from ansible_collections.directdisk.qemu.plugins.module_utils._images.registry import LIFECYCLES
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option

MODULE_OPTIONS = (
    Option(
        "state",
        "V(present) makes the disk as it is described, V(absent) removes it, V(info) only looks.",
        choices=("present", "absent", "info"),
        default="present",
    ),
    Option("open_timeout", "Seconds that the storage has to answer.", "int", default=30, minimum=1, maximum=3600),
    Option(
        "monitor",
        "QMP socket of the running machine that has the disk open, if one has: it grows the disk itself then.",
        "path",
    ),
    Option("node", "Name of the disk's node in the machine behind O(monitor)."),
)
"""What a module takes beside the disk itself."""

# A size is read from text such as 20GiB, and what may have any shape is left to its reader.
_TYPES = {"size": "str", "hex": "str", "any": "raw"}


def disk_options() -> tuple[Option, ...]:
    """The options of a disk: one for each backend, and those that all disks share."""
    backends = (Option(name, backend.summary, "dict", options=backend.options) for name, backend in BACKENDS.items())
    return (*backends, *DISK_OPTIONS)


def disk_module_options(lifecycle: str) -> tuple[Option, ...]:
    """The options of the module that keeps one disk: a lone backend's stand beside the others."""
    backends = [backend for backend in BACKENDS.values() if backend.lifecycle == lifecycle]
    shared = {option.name: option for option in disk_options()}
    storage = _alone(lifecycle) if len(backends) == 1 else tuple(shared[name] for name in _storage_names(lifecycle))
    source = replace(
        shared["source"], type="dict", options=tuple(shared[name] for name in (*BACKENDS, *ORIGIN_OPTIONS))
    )
    disk = (*(shared[name] for name in ("format", "raw_content", "luks", "size", "route")), source)
    return (*storage, *disk, *LIFECYCLES[lifecycle].options, *MODULE_OPTIONS)


def _alone(lifecycle: str) -> tuple[Option, ...]:
    """The options of a lone backend; what a survey goes without is asked for when the disk is read."""
    backend = next(backend for backend in BACKENDS.values() if backend.lifecycle == lifecycle)
    unsaid = LIFECYCLES[lifecycle].discover_without
    return tuple(replace(o, required=False) if o.name in unsaid else o for o in backend.options)


def declaration_of(lifecycle: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """What the options of that module declare, as a disk in the inventory does."""
    backends = [backend for backend in BACKENDS.values() if backend.lifecycle == lifecycle]
    own = {option.name for option in LIFECYCLES[lifecycle].options}
    lone = {option.name for option in backends[0].options} if len(backends) == 1 else set()
    left_out = {option.name for option in MODULE_OPTIONS}
    declared: dict[str, Any] = {"provision": {name: value for name, value in values.items() if name in own}}
    if lone:
        declared[backends[0].name] = {name: value for name, value in values.items() if name in lone}
    rest = {name: value for name, value in values.items() if name not in own | lone | left_out}
    return {**rest, **declared}


def given(options: Iterable[Option], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A module's parameters without what was left out, and without the second copy that Ansible makes of an alias."""
    return {
        option.name: given(option.options, value) if option.options and isinstance(value, Mapping) else value
        for option in options
        if (value := parameters.get(option.name)) is not None
    }


def _storage_names(lifecycle: str) -> tuple[str, ...]:
    return (*(name for name, backend in BACKENDS.items() if backend.lifecycle == lifecycle), "uri")


def argument_spec(options: Iterable[Option]) -> dict[str, dict[str, Any]]:
    """The argument spec of a module that takes these options."""
    return {option.name: _argument(option) for option in options}


def documentation(
    options: Iterable[Option], *, path: str = "", around: Mapping[str, str] | None = None
) -> dict[str, dict[str, Any]]:
    """The same options as a module documents them.

    path: what their names stand inside, such as ``source.rbd.``; around: whole names of the options further out.
    """
    options = tuple(options)
    known = {**(around or {}), **{option.name: f"{path}{option.name}" for option in options}}
    documented = {}
    for option in options:
        argument = _argument(option)
        argument.pop("no_log")
        argument.pop("options", None)
        if option.options:
            argument["suboptions"] = documentation(option.options, path=f"{path}{option.name}.", around=known)
        documented[option.name] = {"description": [_wholly_named(option.summary, known)], **argument}
    return documented


def _wholly_named(text: str, known: Mapping[str, str]) -> str:
    """A table names an option as its neighbour would; ansible-doc wants where it stands, and none of another table."""

    def name(match: re.Match[str]) -> str:
        first, rest = match.groups()
        return f"O({known[first]}{rest})" if first in known else f"C({first}{rest.replace('=', ': ')})"

    return re.sub(r"\bO\((\w+)([^()]*)\)", name, text)


def _argument(option: Option) -> dict[str, Any]:
    # Said of each, because Ansible guesses by the name, and a host_key is no secret.
    argument: dict[str, Any] = {"type": _TYPES.get(option.type, option.type), "no_log": option.secret}
    if option.required:
        argument["required"] = True
    if option.default is not None:
        kinds = {"list": list, "size": str}  # a size is a text for Ansible
        argument["default"] = kinds.get(option.type, lambda value: value)(option.default)
    if option.choices:
        argument["choices"] = list(option.choices)
    if option.elements or option.type == "list":
        argument["elements"] = option.elements or "str"
    if option.aliases:
        argument["aliases"] = list(option.aliases)
    if option.options:
        argument["options"] = argument_spec(option.options)
    return argument
