# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image file on a server that is reached by SSH (SFTP)."""

from __future__ import annotations

import hashlib
import posixpath
import re
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends import _server, uris
from ansible_collections.directdisk.qemu.plugins.module_utils._backends._ssh_keys import (
    HASH_DIGITS,
    HOST_KEY,
    check_host_key_check,
    check_key,
    digits,
    public_blob,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.access import Access, NbdkitPlugin, Reach
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.adoption import (
    Adoption,
    LibvirtSource,
    read_members,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.command_line_context import (
    CommandLineContext,
    Secret,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend, Hint
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.packages import Packages
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.path_checks import check_mountable
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.source import Source
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node, Values
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option

DEFAULT_PORT = 22
KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts"
"""libssh's default file of host keys."""

HOST_KEY_CHECK = (
    Option(
        "mode",
        "How the server's key is checked; V(none) trusts any server.",
        choices=("none", "known_hosts", "hash"),
        required=True,
    ),
    Option(
        "type",
        "Kind of O(host_key_check.hash).",
        choices=tuple(HASH_DIGITS),
        choices_since={"sha256": (7, 0)},
    ),
    Option(
        "hash",
        "The fingerprint in hexadecimal, colons allowed.",
        pattern="([0-9a-fA-F]{2}:?)+",
        pattern_help="is not hexadecimal; if it is base64, set host_key to the key itself instead",
    ),
)

OPTIONS = (
    _server.host_option("Name or address of the server.", required=True),
    _server.port_option(f"Port of the server. Default: {DEFAULT_PORT}."),
    Option(
        "path",
        "Path of the image on the server; a path without a leading C(/) is relative to the user's home directory.",
        required=True,
        pattern="[^\n]+",
        pattern_help="is not a path",
        qemu="path",
    ),
    Option(
        "user",
        "User on the server.",
        required=True,
        pattern=r"[^\s]+",
        pattern_help="is not the name of a user",
        qemu="user",
    ),
    Option(
        "key",
        "Private key of O(user), text as C(ssh-keygen) writes it.",
        required=True,
        secret=True,
        like="-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----",
    ),
    Option(
        "passphrase",
        "Passphrase of O(key) if it is encrypted.",
        secret=True,
        routes=("driver",),
        pattern="[^\n]*",
        pattern_help="contains a line break",
    ),
    Option(
        "host_key",
        "The server's public key, as C(ssh-keyscan -t ed25519) shows it: C(ssh-ed25519 AAAA...).",
        since=(7, 0),
    ),
    Option(
        "host_key_check",
        "Check of the server's host key in QEMU's own terms, if O(host_key) and O(known_hosts) do not suffice.",
        "dict",
        options=HOST_KEY_CHECK,
    ),
    Option("known_hosts", f"File on the host with the keys of servers, instead of its {KNOWN_HOSTS}.", "path"),
)

_KEY = next(option for option in OPTIONS if option.name == "key")

_WAYS = ("host_key", "host_key_check", "known_hosts")
"""Options for the check of the server's host key; only one of them can be set."""

HINTS = (
    Hint(
        "failed to authenticate using publickey|Failed to authenticate",
        "the server refuses the user with this key",
        "check user, and that the key's public half is in that user's authorized_keys",
    ),
    Hint(
        "ssh-add.*incorrect passphrase",
        "the passphrase does not open the key",
        "correct passphrase",
    ),
    Hint(
        "ssh-add.*(error in libcrypto|invalid format)",
        "ssh-add cannot read the key",
        "write all lines of the file that ssh-keygen wrote",
    ),
    Hint(
        "does not match host_key_check",
        "the server shows another host key than the declared one",
        "ask its administrator; if it has several keys, declare the ssh-ed25519 one, which it shows first",
    ),
    Hint(
        *("does not match the one in known_hosts", "the server shows another host key than the known one"),
        "ask its administrator, then correct known_hosts",
    ),
    Hint(
        "no host key was found in known_hosts|host key for this server not found|known_hosts file not found",
        "the server's host key is not known",
        "declare it as host_key, or add what ssh-keyscan -p PORT HOST shows to known_hosts",
    ),
    Hint(r"sftp error code: 2\)", "the server has no such file", "create the image, or correct path"),
    Hint("No space left on the server", "the server's disk is full", "make room there"),
    Hint(
        r"sftp error code: 3\)",
        "the user may not open it",
        "give the user read and write access on the server, or set writes: deny, overlay or discard",
    ),
    Hint("does not support shrinking", "an image cannot be made smaller by SSH", "declare its real size"),
    Hint(
        "failed to initialize sftp handle|failed to create sftp handle",
        "the server offers no SFTP",
        "enable its subsystem sftp",
    ),
    Hint(
        "failed to establish SSH session",
        "what answers there does not speak SSH as this host does",
        "check port, and the algorithms that both sides allow",
    ),
    Hint(
        "Connection refused|Failed to connect|No route to host|Connection timed out|Timeout connecting",
        "the server does not answer",
        "check that it runs and that this host may reach it",
    ),
    Hint(
        "address resolution failed",
        "the server's name is unknown to this host",
        "check the name and the host's resolver",
    ),
)


def _node(values: Values, resources: UnitResources) -> Node:
    """Build the node. QEMU has no option for a key: it asks an ssh-agent."""
    resources.identity("key", _text_of_key(values), values.get("passphrase", ""))
    return {
        "driver": "ssh",
        "server": {"host": values["host"], "port": str(values.get("port", DEFAULT_PORT))},
        "path": values["path"],
        "user": values["user"],
        "host-key-check": _host_key_check(values),
    }


def _nbdkit(values: Values, resources: UnitResources) -> NbdkitPlugin:
    """Return nbdkit's ssh plugin, for a QEMU without the driver. It reconnects after the server was away."""
    return NbdkitPlugin(
        "ssh",
        (
            *(f"host={values['host']}", f"port={values.get('port', DEFAULT_PORT)}"),
            *(f"user={values['user']}", f"path={values['path']}"),
            f"identity={resources.credential('key', _text_of_key(values))}",
            _known_hosts(values, resources),
            *("retries=3", "retry-delay=2"),
        ),
        ("retry",),
        writes=True,
    )


def _text_of_key(values: Values) -> str:
    return f"{values['key'].strip()}\n"


def _known_hosts(values: Values, resources: UnitResources) -> str:
    """Return the parameter of nbdkit's plugin for the check of the server's host key."""
    match = HOST_KEY.fullmatch(values.get("host_key", ""))
    if match:
        port = values.get("port", DEFAULT_PORT)
        server = values["host"] if port == DEFAULT_PORT else f"[{values['host']}]:{port}"
        return f"known-hosts={resources.file('known_hosts', f'{server} {match[1]} {match[2]}')}"
    unchecked = _host_key_check(values)["mode"] == "none"
    return "verify-remote-host=false" if unchecked else f"known-hosts={KNOWN_HOSTS}"


def _unfit(route: str, values: Values) -> str:
    """Return why nbdkit cannot serve these values: it compares keys, not fingerprints."""
    if route == "nbdkit" and "hash" in values.get("host_key_check", {}):
        return "host_key_check with a hash is for route driver; declare the key itself as host_key"
    return ""


def _host_key_check(values: Values) -> Node:
    if "host_key" in values:
        digest = hashlib.sha256(public_blob(values["host_key"])).hexdigest()
        return {"mode": "hash", "type": "sha256", "hash": digest}
    check = values.get("host_key_check", {"mode": "known_hosts"})
    if "hash" not in check:
        return {"mode": check["mode"]}
    return {"mode": "hash", "type": check["type"], "hash": digits(check["hash"])}


def _reach(values: Values) -> Reach:
    known = _host_key_check(values)["mode"] == "known_hosts"
    return Reach(servers=(values["host"],), known_hosts=values.get("known_hosts", KNOWN_HOSTS) if known else "")


def _check(values: Values) -> None:
    ways = [way for way in _WAYS if way in values]
    if len(ways) > 1:
        raise DeclarationError("", f"{' and '.join(ways)} are set; set only one of them")
    if "host_key" in values:
        public_blob(values["host_key"])
    if "host_key_check" in values:
        check_host_key_check(values["host_key_check"])
    check_mountable("known_hosts", values.get("known_hosts", ""))
    check_key(values["key"], has_passphrase=bool(values.get("passphrase")))


def _describe(values: Values) -> str:
    return f"{values['user']}@{values['host'].lower()}:{values.get('port', DEFAULT_PORT)}:{values['path']}"


def _identity(values: Values) -> str:
    """Return the identity, without the user for an absolute path."""
    user = "" if values["path"].startswith("/") else values["user"]
    path = re.sub("//+", "/", posixpath.normpath(values["path"]))
    return f"ssh:{user}@{uris.same_host(values['host'])}:{values.get('port', DEFAULT_PORT)}:{path}"


def _alike(values: Values) -> tuple[str, ...]:
    """Return the identities of an absolute path as one relative to the home directory, which only the server knows."""
    parts = posixpath.normpath(values["path"]).split("/")
    if not values["path"].startswith("/"):
        return ()
    return tuple(_identity({**values, "path": "/".join(parts[number:])}) for number in range(1, len(parts)))


def _read_uri(uri: str) -> dict[str, Any]:
    """``ssh://[user@]host[:port]/path[?host_key_check=yes|no|TYPE:HASH]``."""
    pieces = uris.split(uri)
    user, colon, _password = pieces.netloc.rpartition("@")[0].partition(":")
    if colon:
        raise DeclarationError("uri", "contains a password, which QEMU does not use; set key")
    check = uris.query_of(pieces, ("host_key_check",)).get("host_key_check")
    return uris.drop_none(
        {
            "host": uris.host_of(pieces),
            "port": pieces.port,
            "path": uris.decoded(pieces.path, "its path"),
            "user": uris.decoded(user, "its user") or None,
            "host_key_check": _read_host_key_check(check) if check is not None else None,
        }
    )


def _read_host_key_check(text: str) -> dict[str, str]:
    if text in ("yes", "no"):
        return {"mode": "known_hosts" if text == "yes" else "none"}
    kind, _colon, fingerprint = text.partition(":")
    if kind not in HASH_DIGITS:
        raise DeclarationError("uri", f"host_key_check={text} is not yes, no, md5:HASH, sha1:HASH or sha256:HASH")
    return {"mode": "hash", "type": kind, "hash": fingerprint}


def _read_node(node: Node, context: CommandLineContext) -> dict[str, Any]:
    own = ("server", "host", "port", "host-key-check", "host_key_check")
    found = {**read_members(OPTIONS, node, context, {}, *own), **uris.server_of(node, DEFAULT_PORT, "host", "port")}
    if "socket" in found:
        raise DeclarationError("server", "a host is required")
    if "host-key-check" in node:
        found["host_key_check"] = node["host-key-check"]
    if "host_key_check" in node:
        found["host_key_check"] = _read_host_key_check(str(node["host_key_check"]))
    return found


def _read_libvirt(source: LibvirtSource) -> dict[str, Any]:
    if source.secret:
        raise DeclarationError("auth", "contains a password, which QEMU does not use; set key")
    user = source.part("identity", "username") or source.user
    keyfile = source.part("identity", "keyfile")
    key = Secret(f"the file {keyfile} on the host", like=_KEY.like) if keyfile else None
    place = uris.libvirt_host(source.hosts, DEFAULT_PORT)
    known = source.part("knownHosts", "path")
    return uris.drop_none({**place, "path": source.name, "user": user or None, "key": key, "known_hosts": known})


def _settle(options: dict[str, Any], context: CommandLineContext) -> dict[str, Any]:
    """Add QEMU's defaults: its own user, with the key that this user's agent holds."""
    key = Secret("the key that QEMU's ssh-agent holds: ssh-add -l with SSH_AUTH_SOCK of its process", like=_KEY.like)
    user = {"user": context.user} if context.user else {}
    return {**user, "key": key, **options}


BACKEND = Backend(
    name="ssh",
    summary="An image file on a server, by SSH",
    options=OPTIONS,
    source=Source(
        sample={"host": "127.0.0.1", "user": "root", "path": "/image", "key": ""},
        describe=_describe,
        identity=_identity,
        pool=lambda values: f"{uris.same_host(values['host'])}:{posixpath.dirname(values['path'])}",
        writable=True,
        resizable=True,
        local=lambda values: uris.is_loopback(values["host"]),
        other_identities=_alike,
        if_different="write both paths from the root if they are two files",
        check=_check,
    ),
    access=Access(
        driver="ssh",
        node=_node,
        reach=_reach,
        routes=("driver", "nbdkit"),
        why_unsuited=_unfit,
        nbdkit=_nbdkit,
        nbdkit_plugins=("ssh", "retry"),
    ),
    packages=Packages(
        # Red Hat builds QEMU without it since its release 9.
        driver={
            "debian": ("qemu-block-extra", "openssh-client"),
            "fedora": ("qemu-block-ssh", "openssh-clients"),
            "suse": ("qemu-block-ssh", "openssh-clients"),
            "arch": ("qemu-block-ssh", "openssh"),
        },
        programs=("ssh-agent", "ssh-add"),
    ),
    adoption=Adoption(
        schemes=("ssh",),
        read_uri=_read_uri,
        read_node=_read_node,
        read_libvirt=_read_libvirt,
        libvirt_elements=("identity", "knownHosts"),
        fill_defaults=_settle,
    ),
    hints=HINTS,
)
