# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image of a Ceph cluster (RADOS block device); the host itself maps nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Callable

from ansible_collections.directdisk.qemu.plugins.module_utils._backends import uris
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.command_line_context import Secret, Surroundings
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import (
    Backend,
    Hint,
    LibvirtSource,
    Node,
    OwnerCheck,
    Reach,
    Values,
    check_loadable,
    check_networks,
    members,
    read_members,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import Wiring
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option

DEFAULT_PORT = 6789
DEFAULT_CONF = "/etc/ceph/ceph.conf"
DEFAULT_USER = "admin"

MOUNT_TIMEOUT = 20
"""Ceph's own is 300 seconds, in which a start without monitors hangs and says nothing."""


def name_option(name: str, summary: str, *, required: bool = False, qemu: str = "") -> Option:
    """An option for one of the names that make up where an image is."""
    return Option(
        name,
        summary,
        required=required,
        pattern=r"[^/@\n]+",
        pattern_help="is not a name: it is empty, or has / or @ in it",
        qemu=qemu,
    )


_LAYER = (
    Option(
        "format",
        "The form of the encryption; V(luks-any) finds out which.",
        required=True,
        choices=("luks", "luks2", "luks-any"),
        choices_since={"luks-any": (8, 0)},
    ),
    Option("passphrase", "Passphrase of a key slot.", required=True, secret=True),
)
_ENCRYPTION = (
    *_LAYER,
    Option(
        "parent",
        "Encryption of the image that it was cloned from, where that differs; images further up are opened likewise.",
        "dict",
        options=_LAYER,
        since=(8, 0),
    ),
)

OPTIONS = (
    name_option("pool", "Name of the pool.", required=True, qemu="pool"),
    name_option("image", "Name of the image.", required=True, qemu="image"),
    name_option("namespace", "Namespace in the pool.", qemu="namespace"),
    name_option("snapshot", "A snapshot of the image, read-only.", qemu="snapshot"),
    Option(
        "user",
        "User at the cluster, without C(client.); V(admin) without it.",
        pattern=r"[A-Za-z0-9_.@+-]+",
        pattern_help="is not the name of a user",
        qemu="user",
    ),
    Option(
        "key",
        "Key of O(user), as C(ceph auth get-key) shows it; this or O(keyring).",
        secret=True,
        like="AA==",
        pattern="[A-Za-z0-9+/]+={0,2}",
        pattern_help="is not a key of Ceph; those are base64",
    ),
    Option(
        "keyring",
        "Keyring on the host that has the key of O(user), instead of O(key). Where O(conf) is read and neither is "
        "declared, that is C(/etc/ceph/ceph.client.USER.keyring).",
        "path",
    ),
    Option(
        "monitors",
        "The cluster's monitors: C(host), C(host:port) or C([address]:port). "
        "Port 6789 unless said; 3300 speaks the newer protocol.",
        "list",
    ),
    Option(
        "conf",
        "Ceph's configuration file on the host; V(/etc/ceph/ceph.conf) where O(monitors) are not declared. "
        "What is declared here goes before what it says.",
        "path",
    ),
    Option(
        "auth_client_required",
        "How the machine proves who it is: V(cephx), V(none), or both in order of preference.",
        "list",
        pattern="cephx|none",
        pattern_help="is neither cephx nor none",
        qemu="auth-client-required",
    ),
    Option(
        "encryption",
        "Ceph's own encryption of the image.",
        "dict",
        options=_ENCRYPTION,
        since=(6, 1),
    ),
    Option(
        "networks",
        "Networks (CIDR) that the cluster's monitors and OSDs are in; "
        "without them the machine may talk to any address.",
        "list",
    ),
    Option(
        "mount_timeout",
        f"Seconds that a start waits for the monitors; {MOUNT_TIMEOUT} where neither this nor O(conf) says it.",
        "int",
        minimum=1,
        maximum=3600,
    ),
    Option("config", "Further options of Ceph's client by their names, such as C(rbd_cache_size).", "any"),
    Option(
        "fsid",
        "The cluster's fsid. QEMU does not need it; it tells images of the same name in two clusters apart.",
        pattern="[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
        pattern_help="is not an fsid, as ceph fsid shows it",
    ),
)

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

HINTS = (
    Hint(
        "server name not found|unable to parse addrs|no monitors specified|unable to get monitor info",
        "this host does not find the monitors",
        "check monitors or the mon_host of conf, and that the host resolves their names",
    ),
    Hint(
        "error connecting: Invalid argument",
        "Ceph cannot read the key or the monitors' addresses",
        "check key (what ceph auth get-key shows) and monitors",
    ),
    Hint(
        "error connecting: Permission denied",
        "the cluster does not know this user with this key",
        "compare user and key with ceph auth get",
    ),
    Hint(
        "error connecting: (Operation not permitted|Operation not supported|No such file or directory)",
        "there is no key for this user",
        "declare key, or a keyring that has one for user; check user",
    ),
    Hint(
        "error connecting: Input/output error",
        "the keyring cannot be read",
        "check that keyring is one: [client.USER] and a line with its key",
    ),
    Hint(
        "error connecting: (Connection|Operation) timed out|Connection refused|No route to host|Network is unreachable",
        "no monitor answers",
        "check monitors, that most of them run, and that this host may reach them",
    ),
    # NBD, over which images are copied, has no word for a timeout.
    Hint(
        r"error \w+ing\b[^:]*: (Connection|Operation) timed out|error while writing at byte .*Invalid argument",
        "the cluster does not answer in time",
        "see ceph health detail: OSDs may be down, or the pool may be full",
    ),
    Hint(
        "error reading conf file",
        "Ceph cannot read its configuration",
        "check the file that conf names, /etc/ceph/ceph.conf without it, and config",
    ),
    Hint(
        "error opening pool .*Operation not permitted|error reading header from .*Operation not permitted",
        "the user may not use this pool or namespace",
        "give it the caps mon 'profile rbd' osd 'profile rbd pool=POOL [namespace=NAMESPACE]'",
    ),
    Hint(
        "error opening pool",
        "the cluster has no such pool",
        "list them with ceph osd pool ls, and correct pool",
    ),
    Hint(
        "namespace '.*' does not exist",
        "the pool has no such namespace",
        "list them with rbd namespace ls, and correct namespace",
    ),
    Hint(
        "error reading header from .*No such file or directory",
        "there is no such image or snapshot",
        "create it, or correct image, namespace and snapshot",
    ),
    Hint(
        "encryption load fail: Operation not permitted",
        "the passphrase does not open the image",
        "correct encryption.passphrase",
    ),
    Hint(
        "encryption load fail",
        "the image is not encrypted, or in another form",
        "correct encryption.format, or leave encryption out",
    ),
    Hint("error rbd create: File exists", "there is an image of this name", "use it, or choose another name"),
    Hint("rbd snapshots are read-only", "a snapshot cannot be written", "say writes: overlay, discard or deny"),
)


def _node(values: Values, wiring: Wiring) -> Node:
    node: Node = {"driver": "rbd", **members(OPTIONS, values, wiring), "conf": configuration(values, wiring)}
    if "monitors" in values:
        node["server"] = [{"host": host, "port": str(port)} for host, port in monitors_of(values)]
    if "key" in values:
        node["key-secret"] = wiring.secret("key", values["key"], format="base64")
    if "encryption" in values:
        node["encrypt"] = _encrypt(values["encryption"], wiring, "encryption")
    return node


def _encrypt(layer: Values, wiring: Wiring, name: str) -> Node:
    encrypt: Node = {"format": layer["format"], "key-secret": wiring.secret(name, layer["passphrase"])}
    if "parent" in layer:
        encrypt["parent"] = _encrypt(layer["parent"], wiring, f"{name}-parent")
    return encrypt


def configuration(values: Values, wiring: Wiring) -> str:
    """A configuration for this disk alone, without key and monitors; the later of two lines that say the same holds.

    A file of the host is read by systemd, so that it and the keyring may be root's alone.
    """
    source, keyring = _conf_source(values), _keyring(values)
    timeout = {"client_mount_timeout": str(values.get("mount_timeout", MOUNT_TIMEOUT))}
    own = _config(values)
    if keyring:
        own["keyring"] = wiring.credential("keyring", source=keyring)
    if not source:
        return wiring.file("ceph.conf", _section("global", {**timeout, **own}))
    parts = [wiring.credential("conf", source=source)]
    if "mount_timeout" in values:
        own.update(timeout)
    else:
        parts.insert(0, wiring.file("defaults.conf", _section("global", timeout)))
    if own:
        parts.append(wiring.file("own.conf", _section(f"client.{user_of(values)}", own)))
    return wiring.joined("ceph.conf", *parts)


def _section(name: str, lines: Mapping[str, str]) -> str:
    return "".join([f"[{name}]\n", *(f"{key} = {value}\n" for key, value in lines.items())])


def user_of(values: Values) -> str:
    return str(values.get("user", DEFAULT_USER))


def _conf_source(values: Values) -> str:
    """The configuration file on the host, where there is one."""
    return str(values.get("conf", "" if "monitors" in values else DEFAULT_CONF))


def _keyring(values: Values) -> str:
    """The keyring on the host; empty where none is needed."""
    if "keyring" in values:
        return str(values["keyring"])
    if "key" in values or values.get("auth_client_required") == ("none",) or not _conf_source(values):
        return ""
    return f"/etc/ceph/ceph.client.{user_of(values)}.keyring"


def _config(values: Values) -> dict[str, str]:
    """The declared options of Ceph in the form of its configuration file."""
    given = values.get("config", {})
    if not isinstance(given, Mapping):
        raise DeclarationError("config", "is not a mapping of Ceph's options to their values")
    config = {}
    for key, value in given.items():
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


def monitors_of(values: Values) -> list[tuple[str, int]]:
    return [uris.place_of(monitor, DEFAULT_PORT) for monitor in values.get("monitors", ())]


def client_settings(values: Values) -> dict[str, str]:
    """The options of Ceph's client that QEMU sets itself, beside its configuration file and the key."""
    settings = {}
    if "monitors" in values:
        places = (f"{uris.in_brackets(host)}:{port}" for host, port in monitors_of(values))
        settings["mon_host"] = ",".join(places)
    if "auth_client_required" in values:
        settings["auth_client_required"] = ",".join(values["auth_client_required"])
    return settings


def _owner(values: Values, wiring: Wiring, uuid: str) -> OwnerCheck:
    """Every client that has an image open for writing is a watcher of it."""
    del uuid
    facts: dict[str, Any] = {
        "user": user_of(values),
        "conf": configuration(values, wiring),
        "settings": client_settings(values),
        **{name: values[name] for name in ("pool", "namespace", "image") if name in values},
    }
    if "key" in values:
        facts["key"] = wiring.credential("key", values["key"])
    return OwnerCheck("rbd", facts, shows_qemu=True)


def _check(values: Values) -> None:
    for option in ("monitors", "auth_client_required"):
        if option in values and not values[option]:
            raise DeclarationError(option, "is empty")
    try:
        monitors_of(values)
    except DeclarationError as error:
        raise error.within("monitors") from None
    if "key" in values and "keyring" in values:
        raise DeclarationError("keyring", "is given together with key")
    if (
        not {"key", "keyring"} & set(values)
        and not _conf_source(values)
        and values.get("auth_client_required") != ("none",)
    ):
        raise DeclarationError(
            "", "key or keyring is missing; a cluster without authentication wants auth_client_required: [none]"
        )
    check_networks(values.get("networks", ()))
    for option in ("conf", "keyring"):
        check_loadable(option, values.get(option, ""))
    _config(values)


def _reach(values: Values) -> Reach:
    networks = values.get("networks", ())
    return Reach(
        servers=(*(host for host, _port in monitors_of(values)), *networks),
        loaded=tuple(filter(None, (_conf_source(values), _keyring(values)))),
        open_because="" if networks else "Ceph's monitors name the addresses of its OSDs: say networks to confine it",
    )


def _describe(values: Values) -> str:
    place = "/".join(values[part] for part in ("pool", "namespace", "image") if part in values)
    return f"{place}@{values['snapshot']}" if "snapshot" in values else place


def _identity(values: Values) -> str:
    """Without monitors, of which each machine may name others: better one refused too many than two that write."""
    return f"rbd:{values.get('fsid', '').lower()}:{_describe(values)}"


def _read_uri(uri: str) -> dict[str, Any]:
    r"""``rbd:pool/[namespace/]image[@snapshot][:key=value...]``; a ``\`` keeps the next character as it is."""
    place, *settings = _parts(uri[len("rbd:") :], ":")
    path, *snapshot = _parts(place, "@")
    names = [_unescaped(name) for name in _parts(path, "/")]
    if len(names) not in (2, 3) or len(snapshot) > 1 or any(len(_parts(text, "@")) > 1 for text in settings):
        raise DeclarationError("uri", "rbd:POOL/[NAMESPACE/]IMAGE[@SNAPSHOT][:KEY=VALUE...] is wanted")
    found: dict[str, Any] = {"pool": names[0], "image": names[-1]}
    found.update({"namespace": names[1]} if names[1:-1] and names[1] else {})
    found.update({"snapshot": _unescaped(snapshot[0])} if snapshot else {})
    said: dict[str, str] = {}
    config = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise DeclarationError("uri", r"an option has no value; a ':' within a value is written '\:'")
        key, value = _unescaped(key), _unescaped(value)
        if said.setdefault(key, value) != value:
            raise DeclarationError("uri", f"parameter {key!r} is given twice")
        option, read = _URI_KEYS.get(key, ("", str))
        if option:
            found[option] = read(value)
        # QEMU overrides it by the disk's cache, whatever a URI says.
        elif key != "rbd_cache":
            config[key] = value
    return {**found, "config": config} if config else found


def _parts(text: str, mark: str) -> list[str]:
    """The text between marks that no backslash stands before."""
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


_URI_KEYS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "id": ("user", str),
    "conf": ("conf", str),
    "key": ("key", str),
    "keyring": ("keyring", str),
    "mon_host": ("monitors", _words),
    "auth_supported": ("auth_client_required", _words),
    "auth_client_required": ("auth_client_required", _words),
    "client_mount_timeout": ("mount_timeout", str),
}
"""What a URI calls the options, and how their values are read."""


def _read_node(node: Node, around: Surroundings) -> dict[str, Any]:
    found = read_members(OPTIONS, node, around, {}, "server", "conf", "key-secret", "encrypt")
    if "conf" in node:
        found["conf"] = node["conf"]
    if "server" in node:
        servers = node["server"] if isinstance(node["server"], list) else [node["server"]]
        found["monitors"] = [_monitor(uris.address_of(server, DEFAULT_PORT)) for server in servers]
    if "key-secret" in node:
        found["key"] = around.base64_secret(node["key-secret"])
    if "encrypt" in node:
        found["encryption"] = _read_encrypt(node["encrypt"], around)
    return found


def _monitor(place: dict[str, Any]) -> str:
    if "socket" in place:
        raise DeclarationError("server", "a monitor has a host")
    return f"{uris.in_brackets(place['host'])}:{place['port']}" if "port" in place else str(place["host"])


def _read_encrypt(layer: Any, around: Surroundings) -> dict[str, Any]:
    if not isinstance(layer, Mapping):
        raise DeclarationError("encrypt", "is not a set of options")
    odd = [name for name in layer if name not in ("format", "key-secret", "parent")]
    if odd:
        raise DeclarationError("encrypt", f"{odd[0]} is no option of it")
    found: dict[str, Any] = {name: value for name, value in layer.items() if name == "format"}
    if "key-secret" in layer:
        found["passphrase"] = around.secret(layer["key-secret"])
    if "parent" in layer:
        found["parent"] = _read_encrypt(layer["parent"], around)
    return found


def _read_libvirt(source: LibvirtSource) -> dict[str, Any]:
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
        }
    )


def _settle(options: dict[str, Any], around: Surroundings) -> dict[str, Any]:
    """QEMU reads Ceph's configuration whatever else it is told; what is not said is from there."""
    sufficient = {"key", "keyring", "conf"} & set(options) or "monitors" not in options
    if sufficient or list(options.get("auth_client_required", ())) == ["none"]:
        return options
    return {**options, "conf": DEFAULT_CONF}


BACKEND = Backend(
    name="rbd",
    summary="An image of a Ceph cluster (RADOS block device), without a mapping on the host",
    options=OPTIONS,
    driver="rbd",
    writable=True,
    sizeable=True,
    owner=_owner,
    lifecycle="rbd",
    read_only=lambda values: "a snapshot cannot be written" if "snapshot" in values else "",
    node=_node,
    sample={"pool": "rbd", "image": "image"},
    describe=_describe,
    identity=_identity,
    pool=lambda values: str(values["pool"]),
    alike=lambda values: (_identity({**values, "fsid": ""}),) if "fsid" in values else (),
    apart="say the fsid of both where they are in two clusters",
    snapshots=("snapshot",),
    reach=_reach,
    schemes=("rbd",),
    read_uri=_read_uri,
    read_node=_read_node,
    read_libvirt=_read_libvirt,
    libvirt_parts=("snapshot", "config"),
    settle=_settle,
    packages={
        "debian": ("qemu-block-extra",),
        "redhat": ("qemu-kvm-block-rbd",),
        "fedora": ("qemu-block-rbd",),
        "suse": ("qemu-block-rbd",),
        "arch": ("qemu-block-rbd",),
    },
    bindings=("rados", "rbd"),
    bindings_packages={
        "debian": ("python3-rados", "python3-rbd"),
        "redhat": ("python3-rados", "python3-rbd"),
        "fedora": ("python3-rados", "python3-rbd"),
        "suse": ("python3-rados", "python3-rbd"),
        "arch": ("python-ceph",),
    },
    check=_check,
    unhandled={},
    hints=HINTS,
)
