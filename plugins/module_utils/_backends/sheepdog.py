# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A virtual disk (VDI) of a sheepdog cluster."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends import _server, uris
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.access import Access, TgtStore
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.adoption import (
    Adoption,
    LibvirtSource,
    read_members,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.command_line_context import CommandLineContext
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend, Hint, members
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.packages import Packages
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.source import Source
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node, Values
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option

DEFAULT_PORT = 7000
MOST_FOR_TGT = 9999
"""tgtd cuts the port to four digits."""

OPTIONS = (
    _server.host_option("Name or address of a sheep; this or O(socket)."),
    _server.port_option(f"Port of the sheep. Default: {DEFAULT_PORT}."),
    Option("socket", "Unix socket of a sheep on the same host; this or O(host).", "path"),
    Option(
        "vdi",
        "Name of the VDI.",
        required=True,
        pattern=r"[^\s:#]{1,255}",
        pattern_help="is not the name of a VDI",
        qemu="vdi",
    ),
    Option(
        "snap_id",
        "Number of a snapshot of the VDI, which is then read-only.",
        "int",
        minimum=1,
        maximum=2**32 - 1,
        qemu="snap-id",
        routes=("driver",),
    ),
    Option(
        "tag",
        "Name of a snapshot of the VDI, which is then read-only.",
        pattern=r"[^\s]{1,255}",
        pattern_help="is not the name of a snapshot",
        qemu="tag",
        routes=("driver",),
    ),
)

HINTS = (
    Hint(
        "unable to get address info|address resolution failed",
        "the sheep's name is unknown to this host",
        "check the name and the host's resolver",
    ),
    Hint(
        "failed connect to|connecting to sheep process failed|Failed to connect|Connection refused|No route to host",
        "the sheep does not answer",
        "check that it runs and that this host may reach it",
    ),
    Hint(
        "waiting for a format operation|waiting for other nodes",
        "the cluster is not ready",
        "format it (dog cluster format), or start the nodes that are missing",
    ),
    Hint("cannot get vdi info|[Nn]o such vdi|No vdi found", "there is no such VDI", "create it, or correct vdi"),
    Hint("Failed to find the requested tag", "there is no such snapshot", "correct snap_id or tag"),
    Hint(
        "tgtd cannot open it",
        "the sheep does not answer, its cluster is not formatted, or there is no such VDI",
        "check that it runs, and what dog vdi list shows",
    ),
)


def _node(values: Values, resources: UnitResources) -> Node:
    return {
        "driver": "sheepdog",
        "server": _server.address(values, DEFAULT_PORT),
        **members(OPTIONS, values, resources),
    }


def _check(values: Values) -> None:
    _server.check(values)
    if "snap_id" in values and "tag" in values:
        raise DeclarationError("", "snap_id and tag are set; set only one of them")


def _unfit(route: str, values: Values) -> str:
    if route != "tgt":
        return ""
    if values.get("port", DEFAULT_PORT) > MOST_FOR_TGT:
        return f"tgtd knows ports up to {MOST_FOR_TGT} only; have the sheep listen on such a one, or give its socket"
    if ":" in values.get("host", "") or ":" in values.get("socket", ""):
        return "tgtd takes neither an IPv6 address nor a path with a colon; give a name or an IPv4 address"
    return "tgtd takes no comma in vdi or socket" if "," in values.get("socket", "") + values["vdi"] else ""


def _tgt(values: Values) -> TgtStore:
    server = _server.address(values, DEFAULT_PORT)
    place = f"unix:{server['path']}" if "path" in server else f"tcp:{server['host']}:{server['port']}"
    return TgtStore("sheepdog", f"{place}:{values['vdi']}")


def _describe(values: Values) -> str:
    place = _server.describe(values, DEFAULT_PORT)
    snapshot = values.get("snap_id", values.get("tag"))
    return f"{place}/{values['vdi']}{'' if snapshot is None else f'#{snapshot}'}"


def _read_uri(uri: str) -> dict[str, Any]:
    """``sheepdog[+tcp|+unix]://...`` and the older ``sheepdog:[HOST:PORT:]VDI[:SNAPSHOT]``."""
    if not uri.startswith(("sheepdog://", "sheepdog+tcp://", "sheepdog+unix://")):
        return _read_old_form(uri)
    pieces = uris.split(uri)
    image = {
        "vdi": uris.decoded(pieces.path[1:], "its vdi"),
        **_snapshot(uris.decoded(pieces.fragment, "its snapshot")),
    }
    if pieces.scheme == "sheepdog+unix":
        query = uris.query_of(pieces, ("socket",))
        if pieces.netloc or "socket" not in query:
            raise DeclarationError("uri", "sheepdog+unix must have no host, and ?socket=PATH")
        return {"socket": query["socket"], **image}
    uris.query_of(pieces, ())
    return uris.drop_none({"host": uris.host_of(pieces) or "localhost", "port": pieces.port, **image})


def _read_old_form(uri: str) -> dict[str, Any]:
    """QEMU counts the colons: with two or more of them, the first two parts are the sheep's host and port."""
    parts = uri.split(":")[1:]
    host, port = parts[:2] if len(parts) > 2 else ("localhost", str(DEFAULT_PORT))
    vdi, *snapshot = parts[2:] if len(parts) > 2 else parts
    if not re.fullmatch(r"\d{1,5}", port) or len(snapshot) > 1:
        raise DeclarationError("uri", "sheepdog:[HOST:PORT:]VDI[:SNAPSHOT] is required")
    return {"host": host, "port": int(port), "vdi": vdi, **_snapshot("".join(snapshot))}


def _snapshot(text: str) -> dict[str, Any]:
    """Read a number as a snapshot id, other text as a tag."""
    if not text:
        return {}
    return {"snap_id": int(text)} if re.fullmatch(r"\d{1,18}", text) else {"tag": text}


def _read_node(node: Node, context: CommandLineContext) -> dict[str, Any]:
    found = read_members(OPTIONS, node, context, {}, "server", "host", "port", "path")
    return {**found, **uris.server_of(node, DEFAULT_PORT, "host", "port", "path")}


def _read_libvirt(source: LibvirtSource) -> dict[str, Any]:
    place = uris.libvirt_host(source.hosts, DEFAULT_PORT) if source.hosts else {"host": "localhost"}
    snapshot = source.part("snapshot", "name") or ""
    return {**place, "vdi": source.name, **_snapshot(snapshot)}


BACKEND = Backend(
    name="sheepdog",
    summary="A virtual disk (VDI) of a sheepdog cluster",
    options=OPTIONS,
    source=Source(
        sample={"host": "127.0.0.1", "vdi": "image"},
        describe=_describe,
        identity=lambda values: f"sheepdog:{_describe(values)}",
        pool=partial(_server.describe, default_port=DEFAULT_PORT),
        writable=True,
        why_read_only=lambda values: "a snapshot cannot be written" if {"snap_id", "tag"} & set(values) else "",
        snapshot_options=("snap_id", "tag"),
        check=_check,
    ),
    access=Access(
        driver="sheepdog",
        driver_until=(6, 0),
        node=_node,
        reach=_server.reach,
        routes=("driver", "tgt"),
        why_unsuited=_unfit,
        tgt=_tgt,
    ),
    packages=Packages(
        driver={},
        tgt={
            "debian": ("tgt",),
            "redhat": ("scsi-target-utils",),
            "fedora": ("scsi-target-utils",),
            "suse": ("tgt",),
        },
    ),
    adoption=Adoption(
        schemes=("sheepdog", "sheepdog+tcp", "sheepdog+unix"),
        read_uri=_read_uri,
        read_node=_read_node,
        read_libvirt=_read_libvirt,
        libvirt_elements=("snapshot",),
    ),
    hints=HINTS,
)
