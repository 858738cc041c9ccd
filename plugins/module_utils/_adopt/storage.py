# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converts a protocol node or a file name to a backend and its options."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.texts import check_length, shown
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.adoption import with_secrets
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.command_line_context import CommandLineContext
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS, from_uri, of_path
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError

NAME = "\0name"
"""Member of a node for the text of ``file=``, which may be a URI; ``filename`` is always a path."""

_BY_DRIVER = {backend.access.driver: backend for backend in BACKENDS.values() if backend.access.driver}
_PROTOCOL = re.compile(r"[^/:]*:")
OPENED_BEFORE = re.compile(r"/dev/(fdset/|fd/|std(in|out|err)\b)|/proc/(self|thread-self|[0-9]+)/fd/")
"""Beginning of the path of a file that another process has opened for QEMU."""

Storage = tuple[Backend, dict[str, Any]]


def read_storage(node: Node, context: CommandLineContext, where: str, left: list[str]) -> Storage:
    """Return the backend and its options; node: QAPI members, without those of the disk.

    left: takes what the backend does not declare.
    """
    members = dict(node)
    name, driver = members.pop(NAME, None), members.pop("driver", None)
    backend, values = _by_name(str(name), context, where) if name is not None else (None, {})
    if driver is not None:
        backend = _by_driver(str(driver), backend, where)
    if backend is None:
        if "filename" not in members:
            raise DeclarationError(where, "names no file and no driver")
        backend = of_path(_absolute(str(members["filename"]), context, where))
    options_of = {option.qemu for option in backend.options}
    for member, why in backend.access.unhandled.items():
        if member in members and member not in options_of:
            left.append(f"{member}={members.pop(member)}: {why}")
    if isinstance(members.get("filename"), str):
        members["filename"] = _absolute(members["filename"], context, where)
    try:
        options = _joined(values, backend.adoption.read_beside_uri(values, context)) if name is not None else {}
        options = _joined(options, backend.adoption.read_node(members, context)) if members else options
        return backend, backend.adoption.fill_defaults(options, context)
    except DeclarationError as error:
        raise error.within(f"{where}: {backend.name}") from None


def _by_name(text: str, context: CommandLineContext, where: str) -> Storage:
    """Read ``file=``: a path, or a protocol prefix with its text."""
    check_length(text, where)
    prefix = _PROTOCOL.match(text)
    if prefix is None or text.startswith("/"):
        path = _absolute(text, context, where)
        return of_path(path), {"filename": path}
    try:
        backend, values = from_uri(text)
    except DeclarationError as error:
        if error.where == "uri" and error.problem.startswith("its scheme"):
            raise DeclarationError(where, f"{shown(prefix[0])} is not a kind of storage that can be declared") from None
        raise error.within(where) from None
    if isinstance(values.get("filename"), str):
        values["filename"] = _absolute(values["filename"], context, where)
        backend = of_path(values["filename"], backend)
    return backend, with_secrets(backend.options, values, f"the text of {where}, after {prefix[0]}")


def _by_driver(driver: str, named: Backend | None, where: str) -> Backend:
    backend = _BY_DRIVER.get(driver)
    if backend is None:
        raise DeclarationError(where, f"driver {shown(driver)} is not a kind of storage that can be declared")
    if named not in (None, backend):
        raise DeclarationError(where, f"driver is {driver}, and the name is that of {named.name if named else ''}")
    return backend


def _absolute(path: str, context: CommandLineContext, where: str) -> str:
    if OPENED_BEFORE.match(path):
        raise DeclarationError(where, f"{shown(path)} is a file that another process has opened for QEMU")
    if path.startswith("/"):
        return path
    if context.directory and path:
        return posixpath.join(context.directory, path)
    tail = posixpath.normpath(f"/{path}")
    result = [one for one in context.open_files if path and ".." not in path.split("/") and one.endswith(tail)]
    if len(set(result)) != 1:
        raise DeclarationError(where, f"{shown(path)} is relative to the folder where QEMU was started")
    return result[0]


def _joined(values: Mapping[str, Any], members: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the options of a URI and those beside it; refuse duplicates."""
    for name in members:
        if name in values and str(values[name]) != str(members[name]):
            raise DeclarationError(name, "is set twice, by the URI and by an option beside it")
    return {**values, **members}
