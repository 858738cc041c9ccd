# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Readers of URIs, QEMU's command lines and libvirt's XML into options of a backend."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Callable

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.command_line_context import (
    CommandLineContext,
    Secret,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option


@dataclass(frozen=True)
class LibvirtSource:
    """libvirt's ``<source>`` and ``<auth>`` of a network disk."""

    name: str
    query: str = ""
    hosts: tuple[Mapping[str, str], ...] = ()
    """Each with ``name`` and ``port``, or with ``socket``."""
    user: str = ""
    secret: Secret | None = None
    parts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Attributes of the elements within it, such as ``snapshot`` and ``config``."""

    attributes: Mapping[str, str] = field(default_factory=dict)
    """Attributes of ``<source>`` itself, such as ``tls``."""
    encryption: Mapping[str, Any] | None = None
    """Encryption by the storage's own client: ``format``, and its secrets in ``passphrases``."""

    def part(self, element: str, attribute: str) -> str | None:
        return self.parts.get(element, {}).get(attribute)


@dataclass(frozen=True)
class Adoption:
    """Readers of the other notations of the storage."""

    schemes: tuple[str, ...]
    """URI schemes."""
    read_uri: Callable[[str], dict[str, Any]]
    """Read the options from a URI."""
    read_node: Callable[[Node, CommandLineContext], dict[str, Any]]
    """Read the options from QAPI members: the inverse of Access.node()."""
    read_libvirt: Callable[[LibvirtSource], dict[str, Any]]
    """Read the options from libvirt's XML."""
    libvirt_elements: tuple[str, ...] = ()
    """The elements within ``<source>`` that read_libvirt() reads."""
    libvirt_attributes: tuple[str, ...] = ()
    """The attributes of ``<source>`` that read_libvirt() reads."""
    libvirt_engine: str = ""
    """libvirt's name for the encryption by the storage's own client, which read_libvirt() reads."""
    read_beside_uri: Callable[[dict[str, Any], CommandLineContext], dict[str, Any]] = lambda options, context: {}
    """Read what another option of the command line declares for an image that a URI names."""
    fill_defaults: Callable[[dict[str, Any], CommandLineContext], dict[str, Any]] = lambda options, context: options
    """Add what QEMU takes from its environment if the command line does not set it."""


def read_members(
    options: tuple[Option, ...], node: Node, context: CommandLineContext, unhandled: Mapping[str, str], *own: str
) -> dict[str, Any]:
    """Read options from QAPI members. Skips ``own``, which a backend reads itself, and refuses unknown members."""
    by_member = {option.qemu: option for option in options if option.qemu}
    found: dict[str, Any] = {}
    for member, value in node.items():
        option = by_member.get(member.removesuffix("-secret") if member not in by_member else member)
        if member in own:
            continue
        if option is None or (option.qemu != member and not option.secret):
            why = (
                f"is not carried over: {unhandled[member]}" if member in unhandled else "is not an option of the driver"
            )
            raise DeclarationError(member, why)
        if option.name in found:
            raise DeclarationError(member, f"{option.name} is set twice")
        found[option.name] = as_declared(option, value)
        if option.secret:
            clear = Secret(f"the option {member}", str(value), option.like)
            found[option.name] = clear if option.qemu == member else context.secret(value, option.like)
    return found


def as_declared(option: Option, value: Any) -> Any:
    """Convert text of a command line to a number or boolean. Other text is refused later."""
    if option.type in ("int", "size") and isinstance(value, str) and re.fullmatch("[0-9]{1,18}", value):
        return int(value)
    words = {"on": True, "yes": True, "off": False, "no": False}
    return words.get(value, value) if option.type == "bool" and isinstance(value, str) else value


def no_node(node: Node, context: CommandLineContext) -> dict[str, Any]:
    """Raise DeclarationError: for a backend without a driver in QEMU."""
    raise DeclarationError("", "QEMU has no driver for it")


def no_libvirt(source: LibvirtSource) -> dict[str, Any]:
    """Raise DeclarationError: for a backend that libvirt does not know as a network disk."""
    raise DeclarationError("", "is not a network disk")


def with_secrets(options: tuple[Option, ...], values: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Return the options with each secret wrapped as a Secret; place: that of the options, for people."""
    table = {option.name: option for option in options}
    covered = dict(values)
    for name, value in values.items():
        if name in table and table[name].secret and isinstance(value, str):
            covered[name] = Secret(place, value, table[name].like)
    return covered
