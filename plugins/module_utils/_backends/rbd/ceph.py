# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration, key and monitors of a Ceph client. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends import uris
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.rbd.options import (
    DEFAULT_CONF,
    DEFAULT_USER,
    MOUNT_TIMEOUT,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError

_DECIDED = {
    "key": "declare it as key",
    "keyfile": "declare the key as key",
    "keyring": "declare it as keyring",
    "mon_host": "declare them as monitors",
    "client_mount_timeout": "declare it as mount_timeout",
    "auth_client_required": "declare it as auth_client_required",
    "auth_supported": "declare it as auth_client_required",
    "rbd_cache": "QEMU sets it by the disk's cache: false for none, true for the others",
}
"""Options of Ceph that are no matter of ``config``, and what to do instead."""


def configuration(values: Values, resources: UnitResources) -> str:
    """Return a configuration for this disk alone, without key and monitors; of two lines for an option the later holds.

    A file of the host is read by systemd, so that it and the keyring may be root's alone.
    """
    source, keyring = conf_source(values), keyring_of(values)
    timeout = {"client_mount_timeout": str(values.get("mount_timeout", MOUNT_TIMEOUT))}
    own = config_of(values)
    if keyring:
        own["keyring"] = resources.credential("keyring", source=keyring)
    if not source:
        return resources.file("ceph.conf", _section("global", {**timeout, **own}))
    parts = [resources.credential("conf", source=source)]
    if "mount_timeout" in values:
        own.update(timeout)
    else:
        parts.insert(0, resources.file("defaults.conf", _section("global", timeout)))
    if own:
        parts.append(resources.file("own.conf", _section(f"client.{user_of(values)}", own)))
    return resources.joined("ceph.conf", *parts)


def _section(name: str, lines: Mapping[str, str]) -> str:
    return "".join([f"[{name}]\n", *(f"{key} = {value}\n" for key, value in lines.items())])


def user_of(values: Values) -> str:
    return str(values.get("user", DEFAULT_USER))


def conf_source(values: Values) -> str:
    """Return the configuration file on the host, if there is one."""
    return str(values.get("conf", "" if "monitors" in values else DEFAULT_CONF))


def keyring_of(values: Values) -> str:
    """Return the keyring on the host; empty if none is needed."""
    if "keyring" in values:
        return str(values["keyring"])
    if "key" in values or values.get("auth_client_required") == ("none",) or not conf_source(values):
        return ""
    return f"/etc/ceph/ceph.client.{user_of(values)}.keyring"


def config_of(values: Values) -> dict[str, str]:
    """Format the declared options of Ceph as a configuration file."""
    declared = values.get("config", {})
    if not isinstance(declared, Mapping):
        raise DeclarationError("config", "is not a mapping of Ceph's options to their values")
    config = {}
    for key, value in declared.items():
        name = re.sub("[ -]", "_", key) if isinstance(key, str) else ""
        if not re.fullmatch("[a-z][a-z0-9_]*", name):
            raise DeclarationError("config", f"{key!r} is not the name of an option of Ceph")
        if name in _DECIDED:
            raise DeclarationError(f"config: {key}", f"does not belong here; {_DECIDED[name]}")
        config[name] = _config_value(key, value)
    return config


def _config_value(key: str, value: Any) -> str:
    if not isinstance(value, (bool, int, float, str)):
        raise DeclarationError(f"config: {key}", "is neither text nor a number nor true or false")
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if not text.isprintable() or set("\"'#;\\") & set(text):
        raise DeclarationError(f"config: {key}", "is not one line without quotes, #, ; and \\")
    return text


_VECTOR = re.compile(r"\[(v[12]:.*)\]")
_TYPED = re.compile(r"(?:(v[12]):)?((?:\[[^\]]*\]|[^\[\],:]*)(?::\d+)?)(?:/\d+)?(?:,|\Z)")
BOTH_PROTOCOLS = 0
"""Port of a monitor without one: Ceph's client tries 3300 and 6789."""


def monitors_of(values: Values) -> list[tuple[str, int]]:
    """Return host and port of each monitor."""
    return [uris.place_of(plain_monitor(monitor), BOTH_PROTOCOLS) for monitor in values.get("monitors", ())]


def plain_monitor(text: str) -> str:
    """Return ``host:port`` of an address as Ceph prints it: ``[v2:HOST:3300/0,v1:HOST:6789/0]``; any other text as is.

    The address of the newer protocol is taken.
    """
    vector = _VECTOR.fullmatch(text)
    if not vector and not text.startswith(("v1:", "v2:")):
        return text.partition("/")[0] if re.fullmatch(r".+:\d+/\d+", text) else text
    places = {match[1]: match[2] for match in _TYPED.finditer(vector[1] if vector else text) if match[2]}
    return places.get("v2") or places.get("v1") or text


def client_settings(values: Values) -> dict[str, str]:
    """Return the options of Ceph's client that QEMU sets itself, beside its configuration file and the key."""
    settings = {}
    if "monitors" in values:
        places = (f"{uris.in_brackets(host)}{f':{port}' if port else ''}" for host, port in monitors_of(values))
        settings["mon_host"] = ",".join(places)
    if "auth_client_required" in values:
        settings["auth_client_required"] = ",".join(values["auth_client_required"])
    return settings
