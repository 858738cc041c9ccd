# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Placeholders for values whose templates fail: a secret gets one, so that the rest of its disk is checked. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.schema import NETWORK_OPTIONS, VM_OPTIONS
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.argument_spec import disk_options
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.kinds import KINDS
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.variables import Unresolved

_DISK = disk_options()
_INNER = {
    "source": _DISK,
    "provision": tuple(option for kind in KINDS.values() for option in kind.options),
}
"""Options of a disk whose suboptions have readers of their own."""


class Filled:
    """A VM without unresolved values, and the values that are missing from it."""

    def __init__(self, name: str, declared: Any) -> None:
        self.errors: list[DeclarationError] = []
        self.secrets: list[DeclarationError] = []
        """Errors about missing secrets."""
        self.missing: dict[str, list[str]] = {}
        """The names of missing secrets, by disk."""
        self.vm: Any = declared
        if unresolved(declared):
            self.vm = self._vm(name, declared)

    def _vm(self, name: str, declared: Any) -> Any:
        where = f"vm {name}"
        if not isinstance(declared, Mapping):
            self._refuse(where, declared)
            return None
        parts = {key: value for key, value in declared.items() if key in ("disks", "networks")}
        vm = self._options(VM_OPTIONS, {k: v for k, v in declared.items() if k not in parts}, where)[0]
        for kind, singular, options in (("disks", "disk", _DISK), ("networks", "network", NETWORK_OPTIONS)):
            if kind in parts:
                vm[kind] = self._parts(parts[kind], f"{where}: {kind}", singular, f" of {name}", options)
        return vm

    def _parts(self, declared: Any, where: str, singular: str, of: str, options: tuple[Option, ...]) -> Any:
        """Return the parts that can be read, without those that lack more than secrets."""
        if not isinstance(declared, Mapping):
            return {} if self._refuse(where, declared) else declared
        parts = {}
        for name, part in declared.items():
            whole, secrets = self._part(part, f"{singular} {name}{of}", options)
            if secrets:
                self.missing[name] = secrets
            if whole is not None or part is None:
                parts[name] = whole
        return parts

    def _part(self, part: Any, where: str, options: tuple[Option, ...]) -> tuple[Any, list[str]]:
        if not unresolved(part):
            return part, []
        if not isinstance(part, Mapping):
            self._refuse(where, part)
            return None, []
        filled, secrets, whole = self._options(options, part, where)
        return (filled if whole else None), secrets

    def _options(
        self, options: Iterable[Option], declared: Mapping[str, Any], where: str, within: str = ""
    ) -> tuple[dict[str, Any], list[str], bool]:
        """Return the options with their placeholders, the names of these, and if nothing else is missing."""
        known = {name: option for option in options for name in (option.name, *option.aliases)}
        filled: dict[str, Any] = {}
        secrets: list[str] = []
        whole = True
        for key, value in declared.items():
            option = known.get(key)
            place, name = f"{where}: {key}", f"{within}{key}"
            inner = _INNER.get(key) or (option.options if option else ())
            if not unresolved(value):
                filled[key] = value
            elif inner and isinstance(value, Mapping):
                filled[key], more, fine = self._options(inner, value, place, f"{name}.")
                secrets += more
                whole = whole and fine
            elif option and (option.secret or (option.type == "any" and key not in _INNER)):
                self.secrets += _within(value, place)
                secrets.append(name)
                filled[key] = option.like if option.secret else _texts(value) if isinstance(value, Mapping) else {}
            else:
                self._refuse(place, value)
                whole = False
        return filled, secrets, whole

    def _refuse(self, where: str, value: Any) -> bool:
        """Record every unresolved value within a value; return false if there is none."""
        errors = list(_within(value, where))
        self.errors += errors
        return bool(errors)


def unresolved(value: Any) -> bool:
    """Return if a value has an unresolved value in it."""
    if isinstance(value, Mapping):
        return any(unresolved(inner) for inner in value.values())
    if isinstance(value, (list, tuple)):
        return any(unresolved(inner) for inner in value)
    return isinstance(value, Unresolved)


def _within(value: Any, where: str) -> Iterable[DeclarationError]:
    if isinstance(value, Unresolved):
        yield DeclarationError(where, value.problem)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _within(inner, f"{where}: {key}")
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _within(inner, where)


def _texts(value: Any) -> Any:
    """Return a value, such as a seed of cloud-init, with a placeholder text for every unresolved value in it."""
    if isinstance(value, Unresolved):
        return Option("", "").like
    if isinstance(value, Mapping):
        return {key: _texts(inner) for key, inner in value.items()}
    return [_texts(inner) for inner in value] if isinstance(value, (list, tuple)) else value
