# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads rbd images from URIs, QAPI members and libvirt's XML. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Callable

from ansible_collections.directdisk.qemu.plugins.module_utils._backends import uris
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.adoption import LibvirtSource, read_members
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.command_line_context import (
    CommandLineContext,
    Secret,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.rbd.ceph import plain_monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.rbd.options import (
    DEFAULT_CONF,
    DEFAULT_PORT,
    OPTIONS,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError


def read_uri(uri: str) -> dict[str, Any]:
    r"""``rbd:pool/[namespace/]image[@snapshot][:key=value...]``; a ``\`` keeps the next character as it is."""
    place, *settings = _parts(uri[len("rbd:") :], ":")
    path, *snapshot = _parts(place, "@")
    names = [_unescaped(name) for name in _parts(path, "/")]
    if len(names) not in (2, 3) or len(snapshot) > 1 or any(len(_parts(text, "@")) > 1 for text in settings):
        raise DeclarationError("uri", "rbd:POOL/[NAMESPACE/]IMAGE[@SNAPSHOT][:KEY=VALUE...] is required")
    found: dict[str, Any] = {"pool": names[0], "image": names[-1]}
    found.update({"namespace": names[1]} if names[1:-1] and names[1] else {})
    found.update({"snapshot": _unescaped(snapshot[0])} if snapshot else {})
    declared: dict[str, str] = {}
    config = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise DeclarationError("uri", r"an option has no value; a ':' within a value is written '\:'")
        key, value = _unescaped(key), _unescaped(value)
        if declared.setdefault(key, value) != value:
            raise DeclarationError("uri", f"parameter {key!r} is set twice")
        option, read = _URI_KEYS.get(key, ("", str))
        if option:
            found[option] = read(value)
        # QEMU overrides it by the disk's cache, whatever the URI sets.
        elif key != "rbd_cache":
            config[key] = value
    return {**found, "config": config} if config else found


def _parts(text: str, mark: str) -> list[str]:
    """Split a text at separators without a backslash before them."""
    parts = [""]
    for piece in re.findall(r"\\?.", text, re.DOTALL):
        if piece == mark:
            parts.append("")
        else:
            parts[-1] += piece
    return parts


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def _words(text: str) -> list[str]:
    return [word for word in re.split("[;, ]+", text) if word]


_MONITOR = re.compile(r"\[v[12]:(?:\[[^\]]*\]|[^\[\]])*\]|[^;,\s]+")


def _monitors(text: str) -> list[str]:
    return [plain_monitor(word) for word in _MONITOR.findall(text)]


_URI_KEYS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "id": ("user", str),
    "conf": ("conf", str),
    "key": ("key", str),
    "keyring": ("keyring", str),
    "mon_host": ("monitors", _monitors),
    "auth_supported": ("auth_client_required", _words),
    "auth_client_required": ("auth_client_required", _words),
    "client_mount_timeout": ("mount_timeout", str),
}
"""Names of the options in a URI, and readers of their values."""


_KEYS = ("key-secret", "password-secret")
"""Members that name the key, the second one in a -drive of older command lines."""


def read_node(node: Node, context: CommandLineContext) -> dict[str, Any]:
    found = read_members(OPTIONS, node, context, {}, "server", "conf", *_KEYS, "encrypt")
    if "conf" in node:
        found["conf"] = node["conf"]
    if "server" in node:
        servers = node["server"] if isinstance(node["server"], list) else [node["server"]]
        found["monitors"] = [_monitor(uris.address_of(server, DEFAULT_PORT)) for server in servers]
    keys = [node[member] for member in _KEYS if member in node]
    if len(keys) > 1:
        raise DeclarationError("key-secret", "is given together with password-secret")
    if keys:
        found["key"] = context.base64_secret(keys[0])
    if "encrypt" in node:
        found["encryption"] = _read_encrypt(node["encrypt"], context)
    return found


def _monitor(place: dict[str, Any]) -> str:
    if "socket" in place:
        raise DeclarationError("server", "a monitor has a host")
    return f"{uris.in_brackets(place['host'])}:{place['port']}" if "port" in place else str(place["host"])


def _read_encrypt(layer: Any, context: CommandLineContext) -> dict[str, Any]:
    if not isinstance(layer, Mapping):
        raise DeclarationError("encrypt", "is not a set of options")
    odd = [name for name in layer if name not in ("format", "key-secret", "parent")]
    if odd:
        raise DeclarationError("encrypt", f"{odd[0]} is not an option of it")
    found: dict[str, Any] = {name: value for name, value in layer.items() if name == "format"}
    if "key-secret" in layer:
        found["passphrase"] = context.secret(layer["key-secret"])
    if "parent" in layer:
        found["parent"] = _read_encrypt(layer["parent"], context)
    return found


def read_libvirt(source: LibvirtSource) -> dict[str, Any]:
    pool, *namespace, image = source.name.split("/") if "/" in source.name else ("", source.name)
    if not pool or len(namespace) > 1:
        raise DeclarationError("name", f"{source.name!r} is not POOL/[NAMESPACE/]IMAGE")
    key = source.secret
    return uris.drop_none(
        {
            "pool": pool,
            "namespace": namespace[0] if namespace else None,
            "image": image,
            "snapshot": source.part("snapshot", "name"),
            "user": source.user or None,
            "key": key and Secret(key.found, key.text, "AA=="),
            "monitors": [_monitor(uris.libvirt_host((host,), DEFAULT_PORT)) for host in source.hosts] or None,
            "conf": source.part("config", "file"),
            "encryption": _libvirt_encryption(source),
        }
    )


def _libvirt_encryption(source: LibvirtSource) -> dict[str, Any] | None:
    """Return the encryption of the image, and of its parent if there is a second passphrase."""
    if source.encryption is None:
        return None
    kind = source.encryption["format"]
    layers = [{"format": kind, "passphrase": secret} for secret in source.encryption["passphrases"]]
    if not 1 <= len(layers) <= 2:
        raise DeclarationError("encryption", f"has {len(layers)} secrets; one or two can be declared")
    return {**layers[0], "parent": layers[1]} if layers[1:] else layers[0]


def settle(options: dict[str, Any], context: CommandLineContext) -> dict[str, Any]:
    """QEMU reads Ceph's configuration whatever else it is told; settings that are missing here come from there."""
    sufficient = {"key", "keyring", "conf"} & set(options) or "monitors" not in options
    if sufficient or list(options.get("auth_client_required", ())) == ["none"]:
        return options
    return {**options, "conf": DEFAULT_CONF}
