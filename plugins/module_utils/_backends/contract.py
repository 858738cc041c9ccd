# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract that a file under ``_backends/`` fills in. Neither does I/O."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.access import Access
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.adoption import Adoption
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.packages import Packages
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.source import Source
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node, Values
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option


@dataclass(frozen=True)
class Hint:
    """Meaning and advice for a message of QEMU or a helper, in this backend."""

    pattern: str
    meaning: str
    advice: str
    of_systemd: bool = False
    """The message is systemd's, about the end of a process; other hints are not for messages of systemd."""
    names_no_cause: bool = False
    """It is left out where another message tells the cause."""


@dataclass(frozen=True)
class Backend:
    """Everything the collection knows of one kind of storage."""

    name: str
    summary: str
    options: tuple[Option, ...]
    source: Source
    access: Access
    packages: Packages
    adoption: Adoption
    image_kind: str = "image"
    """The kind of its images: a key of ``KINDS``, and the name of a folder in ``_image_plans/`` and ``_images/``."""
    hints: tuple[Hint, ...] = ()


def why_unfit(backend: Backend, route: str, values: Values) -> str:
    """Return why a route does not support the declared values on any host; empty if it does."""
    for option in backend.options:
        if option.routes and route not in option.routes and option.name in values:
            return f"{option.name} is for route {' or '.join(option.routes)}, not for {route}"
    return backend.access.why_unsuited(route, values)


def routes_for(backend: Backend, values: Values) -> tuple[str, ...]:
    """Return the routes that support the declared values, in the order in which ``auto`` tries them."""
    return tuple(route for route in backend.access.routes if not why_unfit(backend, route, values))


def members(options: tuple[Option, ...], values: Values, resources: UnitResources) -> Node:
    """Return the QAPI members of the declared values; a secret becomes a reference to its object."""
    node: Node = {}
    for option in options:
        if not option.qemu or option.name not in values:
            continue
        value = values[option.name]
        if option.secret:
            node[f"{option.qemu}-secret"] = resources.secret(option.name, value)
        else:
            node[option.qemu] = list(value) if isinstance(value, tuple) else value
    return node
