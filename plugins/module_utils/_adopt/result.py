# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The result of a conversion: a checked declaration, and the names of its secrets without their values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt import argument_secrets
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.arguments import read_arguments
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.secret_names import names_secret
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.command_line_context import Secret
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.read_vm import read_vm
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import Collected, DeclarationError

_COVERED = "'...'"
_SECRETIVE = re.compile(r"://(.*)@|(?:key|pass\w*|passphrase|data|cookie|secret)[\"']?[=:]+([^,;:}]+)", re.DOTALL)
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_NO_VALUE = re.compile("{[{%#]|[\x85\u2028\u2029]")
"""Text that Ansible would run as a template, or that PyYAML does not read as it wrote it."""
_LONGEST_MESSAGE = 300


@dataclass(frozen=True)
class Converted:
    """The declaration of a disk or a VM."""

    name: str
    declaration: dict[str, Any]
    secrets: list[dict[str, str]]
    left: list[str]
    notes: list[str]

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def converted_vm(name: str, vm: dict[str, Any], left: list[str], notes: list[str]) -> Converted:
    read_vm(name, _filled(vm))
    return _converted(name, vm, left, notes)


def converted_disk(name: str, disk: dict[str, Any], left: list[str], notes: list[str]) -> Converted:
    check_disk(disk)
    return _converted(name, disk, left, notes)


def _converted(name: str, declared: dict[str, Any], left: list[str], notes: list[str]) -> Converted:
    secrets: list[dict[str, str]] = []
    declaration = _vaulted(declared, (name,), secrets)
    secrets = [{key: one_line(text) for key, text in secret.items()} for secret in secrets]
    return Converted(name, declaration, secrets, [one_line(text) for text in left], [one_line(text) for text in notes])


def one_line(text: str) -> str:
    """Make text fit for a comment: replace line ends and invisible characters by spaces."""
    return "".join(character if character.isprintable() else " " for character in text)


def check_disk(disk: dict[str, Any]) -> None:
    """Read a disk as from the inventory, with placeholders for unknown secrets."""
    try:
        read_vm("x", {"disks": {"x": _filled(disk)}})
    except DeclarationError as error:
        raise DeclarationError(error.where.removeprefix("disk x of x").removeprefix(": "), error.problem) from None
    except Collected as error:
        raise DeclarationError("", "; ".join(str(e).replace("disk x of x: ", "") for e in error.errors)) from None


def _filled(value: Any) -> Any:
    if isinstance(value, Secret):
        return value.checked
    if isinstance(value, dict):
        return {key: _filled(inner) for key, inner in value.items()}
    return [_filled(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _vaulted(value: Any, path: tuple[str, ...], secrets: list[dict[str, str]]) -> Any:
    """Replace each secret by a variable and list it."""
    if isinstance(value, Secret):
        variable = _variable(path, {secret["variable"] for secret in secrets})
        option = ": ".join(path[1:])
        secrets.append({"variable": variable, "option": option, "found": value.found})
        return f"{{{{ {variable} }}}}"
    if isinstance(value, dict):
        return {key: _vaulted(inner, (*path, str(key)), secrets) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_vaulted(inner, (*path, str(number)), secrets) for number, inner in enumerate(value)]
    odd = _NO_VALUE.search(str(value))
    if odd:
        raise DeclarationError(": ".join(path[1:]), f"has {odd[0]!a} in it, which an inventory takes for its own")
    return value


def _variable(path: tuple[str, ...], taken: set[str]) -> str:
    """Return a variable name from VM, disk and option, with all levels between them if that one is taken."""
    told = [part for part in path[:-1] if part not in BACKENDS and part != "disks"]
    for parts in (told[: 2 if "disks" in path else 1], told, path[:-1]):
        name = re.sub("[^A-Za-z0-9_]", "_", "_".join(["vault", *filter(None, parts), path[-1]]))
        if name not in taken:
            return name
    return f"{name}_{len(taken)}"


def without_secrets(result: Converted, given: Any) -> Converted:
    """Check the result for secrets once more; given: the input, with all secrets that it may contain."""
    secrets = argument_secrets.all_secrets_in(given)
    _refuse_secrets(result.declaration, (result.name,))
    return replace(
        result,
        secrets=[{**one, "found": argument_secrets.covered(one["found"], secrets)} for one in result.secrets],
        left=[argument_secrets.covered(text, secrets) for text in result.left],
        notes=[argument_secrets.covered(text, secrets) for text in result.notes],
    )


def _refuse_secrets(value: Any, path: tuple[str, ...]) -> None:
    """Refuse a declaration that still contains a secret instead of a variable."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _refuse_secrets(inner, (*path, key))
    elif path[-1] == "extra_args":
        for argument in read_arguments(["kvm", *value]):
            if argument.has_secret:
                raise DeclarationError(f"-{argument.option}", "has a secret in it, which no declaration may show")
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _refuse_secrets(inner, path)
    elif any(argument_secrets.secrets_in(value)) or _is_open_secret(path[-1], value):
        raise DeclarationError(": ".join(path[1:]), "has a secret in it that cannot be taken out")


def _is_open_secret(name: str, value: Any) -> bool:
    return isinstance(value, str) and names_secret(name) and not value.startswith("{{ ")


def covered(error: DeclarationError | Collected, given: Any) -> DeclarationError:
    """Return the error in one short line, without any piece of a secret of the input."""
    text = given if isinstance(given, str) else repr(given)
    words = argument_secrets.covered(
        one_line("; ".join(str(error).split("\n"))), argument_secrets.all_secrets_in(given)
    )
    pieces = set(_secret_pieces(text))

    def cover(match: re.Match[str]) -> str:
        inner = match[0][1:-1]
        return _COVERED if any(piece in inner or (len(inner) > 1 and inner in piece) for piece in pieces) else match[0]

    words = _QUOTED.sub(cover, words)
    return DeclarationError("", words if len(words) <= _LONGEST_MESSAGE else f"{words[:_LONGEST_MESSAGE]}...")


def _secret_pieces(text: str) -> Iterator[str]:
    """Return possible secrets, and parts of them that were split in the wrong place."""
    for match in _SECRETIVE.finditer(text):
        yield from filter(None, re.split("[@:%/]", match[1] or match[2]))
