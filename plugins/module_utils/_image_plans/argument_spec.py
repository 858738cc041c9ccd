# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Argument specs and documentation of modules, made from the option tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Callable

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.schema import DISK_OPTIONS
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import ImageKind
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import in_words

MODULE_OPTIONS = (
    Option(
        "state",
        "V(present) creates the disk or changes it to what is declared, V(absent) removes it.",
        choices=("present", "absent"),
        default="present",
    ),
    Option("open_timeout", "Seconds to wait for the storage.", "int", default=30, minimum=1, maximum=3600),
    Option(
        "monitor",
        "QMP socket of the running VM that has the disk open, if one has. That VM then grows the disk itself.",
        "path",
    ),
    Option("node", "Name of the disk's node in the VM behind O(monitor)."),
)
"""Options of a module beside those of the disk."""

WAIT = Option(
    "wait",
    "Internal. Seconds after which the work goes on without the module. The action plugin sets it, and waits.",
    "int",
    minimum=0,
)

# A size is text such as 20GiB; values of any shape are checked by their reader.
_TYPES = {"size": "str", "hex": "str", "any": "raw"}


def disk_options() -> tuple[Option, ...]:
    """Return the options of a disk: one for each backend, and those that all disks share."""
    backends = (Option(name, backend.summary, "dict", options=backend.options) for name, backend in BACKENDS.items())
    return (*backends, *DISK_OPTIONS)


def storage_options() -> tuple[Option, ...]:
    """Return the options of a disk, and within its source those of the source."""
    return tuple(
        replace(option, type="dict", options=disk_options()) if option.name == "source" else option
        for option in disk_options()
    )


def disk_module_options(kind: ImageKind) -> tuple[Option, ...]:
    """Return the options of the module for one disk; those of a single backend are at the top level.

    The options within a backend's key and within a source are read like those of an inventory, and not by Ansible: its
    documentation of a module would repeat the pages of all backends.
    """
    backends = [backend for backend in BACKENDS.values() if backend.image_kind == kind.name]
    shared = {option.name: option for option in disk_options()}
    shared |= {name: Option(name, f"{backend.summary}. {_page(name)}", "dict") for name, backend in BACKENDS.items()}
    storage = _single_backend(kind) if len(backends) == 1 else tuple(shared[name] for name in _storage_names(kind))
    summary = f"{shared['source'].summary} C(docs/declaration.md) and C(docs/backends/) list its options."
    source = Option("source", summary, "dict")
    disk = (*(shared[name] for name in ("format", "raw_content", "luks", "size", "route")), source)
    return (*storage, *disk, *kind.options, *MODULE_OPTIONS, WAIT)


def _page(backend: str) -> str:
    return f"Its options are in C(docs/backends/{backend}.md)."


def _single_backend(kind: ImageKind) -> tuple[Option, ...]:
    """Return the options of the only backend of a kind."""
    return next(backend for backend in BACKENDS.values() if backend.image_kind == kind.name).options


def declaration_of(kind: ImageKind, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the declaration of a disk, as in the inventory, from the options of that module."""
    backends = [backend for backend in BACKENDS.values() if backend.image_kind == kind.name]
    provision = {option.name for option in kind.options}
    single = {option.name for option in backends[0].options} if len(backends) == 1 else set()
    module_only = {option.name for option in (*MODULE_OPTIONS, WAIT)}
    declared: dict[str, Any] = {"provision": {name: value for name, value in values.items() if name in provision}}
    if single:
        declared[backends[0].name] = {name: value for name, value in values.items() if name in single}
    rest = {name: value for name, value in values.items() if name not in provision | single | module_only}
    return {**rest, **declared}


def without_omitted(options: Iterable[Option], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return a module's parameters without omitted ones, and without the copies that Ansible makes of aliases."""
    return {
        option.name: without_omitted(option.options, value) if option.options and isinstance(value, Mapping) else value
        for option in options
        if (value := parameters.get(option.name)) is not None
    }


def _storage_names(kind: ImageKind) -> tuple[str, ...]:
    return (*(name for name, backend in BACKENDS.items() if backend.image_kind == kind.name), "uri")


def argument_spec(options: Iterable[Option]) -> dict[str, dict[str, Any]]:
    """Return the argument spec of a module with these options."""
    return {option.name: _argument(option) for option in options}


def documentation(
    options: Iterable[Option], *, path: str = "", outer: Mapping[str, str] | None = None
) -> dict[str, dict[str, Any]]:
    """Return the documentation of the same options.

    path: prefix of their full names, such as ``source.rbd.``; outer: full names of the options around them.
    """
    options = tuple(options)
    known = {**(outer or {}), **{option.name: f"{path}{option.name}" for option in options}}
    documented = {}
    for option in options:
        argument = _argument(option)
        argument.pop("no_log")
        argument.pop("options", None)
        if option.options:
            argument["suboptions"] = documentation(option.options, path=f"{path}{option.name}.", outer=known)
        documented[option.name] = {"description": [_with_full_names(option.summary, known)], **argument}
    return documented


def _with_full_names(text: str, known: Mapping[str, str]) -> str:
    """Replace names within a table by full names, as ansible-doc needs them; names of other tables become code."""

    def name(match: re.Match[str]) -> str:
        first, rest = match.groups()
        return f"O({known[first]}{rest})" if first in known else f"C({first}{rest.replace('=', ': ')})"

    return re.sub(r"\bO\((\w+)([^()]*)\)", name, text)


def _argument(option: Option) -> dict[str, Any]:
    # Set explicitly, because Ansible guesses by the name, and a host_key is not a secret.
    argument: dict[str, Any] = {"type": _TYPES.get(option.type, option.type), "no_log": option.secret}
    if option.required:
        argument["required"] = True
    if option.default is not None:
        kinds: dict[str, Callable[[Any], Any]] = {"list": list, "size": in_words}  # a size is text for Ansible
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
