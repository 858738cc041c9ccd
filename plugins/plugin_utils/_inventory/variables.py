# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declarations of all hosts as plain data, templated value by value, so that every error is reported."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

VARIABLE = "qemu_vms"
_TEMPLATE = re.compile(r"\{[{%#]")


@dataclass(frozen=True)
class Unresolved:
    """A value whose template failed."""

    problem: str
    """A message that does not show the value."""


def declarations(hostvars: Mapping[str, Any], hosts: Iterable[str] | None = None) -> Iterator[tuple[str, Any]]:
    """Yield each host that declares VMs, and its declaration."""
    # Ansible's own hostvars would template whole variables of a host, and stop at the first error.
    raw_get = getattr(hostvars, "raw_get", None)
    loader = getattr(hostvars, "_loader", None) or DataLoader()
    for host in hostvars if hosts is None else hosts:
        variables = raw_get(host) if raw_get else hostvars[host]
        if isinstance(variables, Mapping) and VARIABLE in variables:
            yield str(host), _Resolver(loader, variables).resolve(variables[VARIABLE])


def evaluated(variables: Mapping[str, Any], loader: DataLoader) -> Any:
    """Return the declaration in the variables of a task; no VMs if there is none."""
    return _Resolver(loader, variables).resolve(variables.get(VARIABLE, {}))


def failed_template(variables: Mapping[str, Any], name: str, loader: DataLoader) -> str:
    """Return why a template in a variable fails; empty if none does, or if there is no such variable."""
    return _failure(_Resolver(loader, variables).resolve(variables.get(name)))


def _failure(value: Any) -> str:
    if isinstance(value, Unresolved):
        return value.problem
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return next(filter(None, map(_failure, inner)), "")


class _Resolver:
    """The values of one host."""

    def __init__(self, loader: DataLoader, variables: Mapping[str, Any]) -> None:
        self._templar = Templar(loader=loader, variables=variables)
        self._known: dict[str, Any] = {}

    def resolve(self, value: Any) -> Any:
        """Evaluate the templates in a value, and remove Ansible's tags, which are slow."""
        if isinstance(value, str):
            return self._template(value) if _TEMPLATE.search(value) else str(value)
        if isinstance(value, Mapping):
            return {_plain_key(key): self.resolve(inner) for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.resolve(inner) for inner in value]
        if value is None or isinstance(value, (bool, date)):
            return value
        if isinstance(value, (int, float)):
            return value + 0
        return self._decrypt(value)

    def _template(self, text: str) -> Any:
        """Evaluate a template, once even if many disks have it, such as that of a key."""
        if text not in self._known:
            try:
                self._known[text] = _without_marks(self._templar.template(text))
            except Exception as error:  # a plugin in a template may raise anything
                self._known[text] = Unresolved(_why(error))
        return self._known[text]

    def _decrypt(self, value: Any) -> Any:
        """Decrypt a value that ansible-vault encrypted by itself."""
        try:
            return str(value)
        except Exception:
            return Unresolved("cannot be decrypted; give the vault's password")


def _plain_key(key: Any) -> Any:
    return str(key) if isinstance(key, str) else key


def _without_marks(value: Any) -> Any:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {_plain_key(key): _without_marks(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_marks(inner) for inner in value]
    return value


def _why(error: BaseException) -> str:
    """Return the part of an error that names a variable; otherwise its type, because a message may repeat a value."""
    text = str(getattr(error, "message", "") or error).splitlines()
    undefined = re.search(r"'[^']*' is undefined|has no attribute '[^']*'", text[0] if text else "")
    if undefined:
        return undefined.group()
    kind = type(error.__cause__ or error).__name__ if isinstance(error, AnsibleError) else type(error).__name__
    return f"its template fails ({kind})"
