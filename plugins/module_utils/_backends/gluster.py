# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image file on a GlusterFS volume."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends import _server, uris
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.access import Access, Reach, TgtStore
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.adoption import (
    Adoption,
    LibvirtSource,
    read_members,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.command_line_context import CommandLineContext
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend, Hint, members
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.packages import Packages
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.path_checks import check_networks
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.source import Source
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node, Values
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import check_resolved

DEFAULT_PORT = 24007

SERVER = (
    _server.host_option("Name or address of the server."),
    _server.port_option(f"Port of its glusterd. Default: {DEFAULT_PORT}."),
)

OPTIONS = (
    Option(
        "volume",
        "Name of the volume.",
        required=True,
        pattern="[A-Za-z0-9_-]+",
        pattern_help="is not the name of a volume",
        qemu="volume",
    ),
    Option(
        "path",
        "Path of the image in the volume.",
        required=True,
        pattern="/*[^/\n][^\n]*",
        pattern_help="is not a path in a volume",
        qemu="path",
    ),
    *SERVER,
    Option(
        "servers",
        "Several servers that know the volume, tried in turn; this or O(host).",
        "list",
        elements="dict",
        options=(*SERVER, Option("socket", "Unix socket of a glusterd on the same host, instead of O(host).", "path")),
        aliases=("server",),
    ),
    Option(
        "networks",
        "Networks (CIDR) of the volume's bricks; without them the VM may connect to any address.",
        "list",
    ),
    Option("debug", "How much is logged.", "int", minimum=0, maximum=9, qemu="debug"),
)

UNHANDLED = {"logfile": "without it the log goes to the VM's own, and a file would need a way into the sandbox"}

HINTS = (
    Hint(
        "failed to get the volume file",
        "the server has no such volume, or it is not started",
        "list them with gluster volume info, and correct volume",
    ),
    Hint(
        "DNS resolution failed on host|error in getaddrinfo",
        "the server's name is unknown to this host",
        "check the name and the host's resolver",
    ),
    Hint(
        "Gluster connection for volume .* failed to connect",
        "the volume cannot be reached",
        "check host and volume, that both run, and that this host has gluster's client (on Debian: glusterfs-common)",
    ),
    Hint(
        "Could not open image: No such file or directory",
        "the volume has no such file",
        "create the image, or correct path",
    ),
    Hint(
        "Could not open image: Permission denied",
        "the volume denies the VM's user access",
        "set storage.owner-uid and server.allow-insecure of the volume, or the mode of the file",
    ),
    Hint(
        "All subvolumes are down|Transport endpoint is not connected",
        "the bricks do not answer",
        "check that they run, and that networks names all of them",
    ),
    Hint(
        "tgtd ended while it opened it",
        "the volume has no such file, or the VM's user may not write it",
        "create the image, or correct path",
    ),
    Hint("tgtd cannot open it", "the volume cannot be reached", "check host and volume, and that both run"),
)


def _servers(values: Values) -> tuple[Values, ...]:
    return tuple(values.get("servers", (values,)))


def _hosts(values: Values) -> tuple[str, ...]:
    return tuple(server["host"] for server in _servers(values) if "host" in server)


def _node(values: Values, resources: UnitResources) -> Node:
    servers = [_server.address(server, DEFAULT_PORT) for server in _servers(values)]
    return {"driver": "gluster", "server": servers, **members(OPTIONS, values, resources)}


def _check(values: Values) -> None:
    if ("host" in values) == ("servers" in values):
        raise DeclarationError("", "exactly one of host and servers is required")
    if "port" in values and "host" not in values:
        raise DeclarationError("port", "is given without host; write it in servers")
    if not _servers(values):
        raise DeclarationError("servers", "is empty")
    check_resolved("path", values["path"])
    for server in values.get("servers", ()):
        try:
            _server.check(server)
        except DeclarationError as error:
            raise error.within("servers") from None
    check_networks(values.get("networks", ()))


def _reach(values: Values) -> Reach:
    networks = values.get("networks", ())
    return Reach(
        servers=(*_hosts(values), *networks),
        sockets=tuple(server["socket"] for server in _servers(values) if "socket" in server),
        open_because=""
        if networks
        else "gluster's servers name the addresses of its bricks: set networks to confine it",
    )


def _tgt_host(values: Values) -> str:
    """Return the first server that VOLUME@HOST:PATH of tgtd can name, which has no port."""
    servers = (server for server in _servers(values) if server.get("port", DEFAULT_PORT) == DEFAULT_PORT)
    return next((server["host"] for server in servers if ":" not in server.get("host", ":")), "")


def _unfit(route: str, values: Values) -> str:
    if route != "tgt":
        return ""
    if not _tgt_host(values):
        return f"tgtd finds gluster by a name or an IPv4 address, at port {DEFAULT_PORT}"
    return "tgtd takes no path with a comma" if "," in values["path"] else ""


def _describe(values: Values) -> str:
    places = [server.get("socket") or server["host"].lower() for server in _servers(values)]
    return f"{','.join(places)}/{values['volume']}/{values['path'].lstrip('/')}"


def _identity(values: Values) -> str:
    """Return the identity, with the first server by name: servers are listed in any order, and often not all."""
    return _identity_at(min(_clusters(values)), values)


def _clusters(values: Values) -> tuple[str, ...]:
    return tuple(uris.same_host(server.get("host", "")) for server in _servers(values))


def _located(values: Values, rename: Callable[[str], str]) -> Values:
    def renamed(place: Values) -> Values:
        return {name: rename(text) if name in ("host", "socket") else text for name, text in place.items()}

    servers = {"servers": tuple(map(renamed, values["servers"]))} if "servers" in values else {}
    return {**renamed(values), **servers}


def _identity_at(cluster: str, values: Values) -> str:
    return f"gluster:{cluster}/{values['volume']}/{_path(values)}"


def _path(values: Values) -> str:
    """Return the path in its canonical spelling."""
    return posixpath.normpath(str(values["path"])).lstrip("/")


def _read_uri(uri: str) -> dict[str, Any]:
    """``gluster[+tcp]://[host[:port]]/volume/path`` and ``gluster+unix:///volume/path?socket=PATH``."""
    pieces = uris.split(uri)
    volume, _slash, path = uris.decoded(pieces.path, "its path").lstrip("/").partition("/")
    image = {"volume": volume, "path": path.lstrip("/")}
    if pieces.scheme == "gluster+unix":
        query = uris.query_of(pieces, ("socket",))
        if pieces.netloc or "socket" not in query:
            raise DeclarationError("uri", "gluster+unix must have no host, and ?socket=PATH")
        return {**image, "servers": [{"socket": query["socket"]}]}
    uris.query_of(pieces, ())
    return uris.drop_none({**image, "host": uris.host_of(pieces) or "localhost", "port": pieces.port})


def _read_node(node: Node, context: CommandLineContext) -> dict[str, Any]:
    found = read_members(OPTIONS, node, context, UNHANDLED, "server")
    if "server" not in node:
        return found
    servers = node["server"] if isinstance(node["server"], list) else [node["server"]]
    return {**found, **_place([uris.address_of(server, DEFAULT_PORT) for server in servers])}


def _place(servers: list[dict[str, Any]]) -> dict[str, Any]:
    return servers[0] if len(servers) == 1 and "host" in servers[0] else {"servers": servers}


def _read_libvirt(source: LibvirtSource) -> dict[str, Any]:
    volume, _slash, path = source.name.lstrip("/").partition("/")
    servers = [uris.libvirt_host((host,), DEFAULT_PORT) for host in source.hosts]
    return {"volume": volume, "path": path, **_place(servers)}


BACKEND = Backend(
    name="gluster",
    summary="An image file on a GlusterFS volume",
    options=OPTIONS,
    source=Source(
        sample={"volume": "volume", "path": "image", "host": "127.0.0.1"},
        describe=_describe,
        identity=_identity,
        pool=lambda values: str(values["volume"]),
        writable=True,
        resizable=True,
        other_identities=lambda values: tuple(_identity_at(cluster, values) for cluster in _clusters(values)),
        relocate=_located,
        check=_check,
    ),
    access=Access(
        driver="gluster",
        driver_until=(11, 1),
        node=_node,
        reach=_reach,
        unhandled=UNHANDLED,
        routes=("driver", "tgt"),
        why_unsuited=_unfit,
        tgt=lambda values: TgtStore("glfs", f"{values['volume']}@{_tgt_host(values)}:{values['path'].lstrip('/')}"),
        tgt_module="bs_glfs.so",
        closes_slowly=True,
    ),
    packages=Packages(
        # With the client's modules if the driver's own package does not depend on them.
        driver={
            "debian": ("qemu-block-extra", "glusterfs-common"),
            "fedora": ("qemu-block-gluster", "glusterfs-client-xlators"),
            "suse": ("qemu-block-gluster", "glusterfs"),
            "arch": ("qemu-block-gluster", "glusterfs"),
        },
        tgt={
            "debian": ("tgt", "tgt-glusterfs", "glusterfs-common"),
            "redhat": ("scsi-target-utils", "scsi-target-utils-gluster", "glusterfs-client-xlators"),
            "fedora": ("scsi-target-utils", "scsi-target-utils-gluster", "glusterfs-client-xlators"),
        },
    ),
    adoption=Adoption(
        schemes=("gluster", "gluster+tcp", "gluster+unix"),
        read_uri=_read_uri,
        read_node=_read_node,
        read_libvirt=_read_libvirt,
    ),
    hints=HINTS,
)
