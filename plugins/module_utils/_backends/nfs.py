# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image file on an NFS server; the host itself mounts nothing."""

from __future__ import annotations

import posixpath
import re
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends import _server, uris
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.access import Access, Reach
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
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import check_resolved

_PORT = 2049
NO_PORT = 0
"""QEMU's driver has no option for a port: the portmapper finds it."""

OPTIONS = (
    _server.host_option(
        "Name or address of the server. It is asked by its portmapper (port 111) for NFS version 3.", required=True
    ),
    Option(
        "path",
        "Path of the image on the server; it begins with the path of the export.",
        required=True,
        pattern=r"/[^\n]*[^/\n]",
        pattern_help="is not the absolute path of a file",
        qemu="path",
    ),
    Option(
        "user",
        "UID that the server sees. Default: the UID of the VM's own user, of whom no server knows.",
        "int",
        aliases=("uid",),
        minimum=0,
        maximum=2**31 - 1,
        qemu="user",
    ),
    Option(
        "group",
        "GID that the server sees. Default: the GID of the VM's own user.",
        "int",
        aliases=("gid",),
        minimum=0,
        maximum=2**31 - 1,
        qemu="group",
    ),
    Option(
        "tcp_syn_count",
        "How often a connection is tried before the server counts as down.",
        "int",
        aliases=("tcp_syncnt", "syncnt"),
        minimum=1,
        maximum=127,
        qemu="tcp-syn-count",
    ),
    Option(
        "readahead_size",
        "Bytes read ahead, for guests that read one piece after the other; not with O(cache=none).",
        "size",
        aliases=("readahead",),
        maximum=1024**2,
        qemu="readahead-size",
    ),
    Option(
        "page_cache_size",
        "Size of the read cache in pages of 4 KiB; not with O(cache=none).",
        "int",
        aliases=("pagecache",),
        minimum=1,
        maximum=2048,
        qemu="page-cache-size",
    ),
    Option("debug", "How much of the protocol is logged.", "int", minimum=0, maximum=2, qemu="debug"),
)

_PARAMETERS = {
    "uid": "user",
    "gid": "group",
    "tcp-syncnt": "tcp_syn_count",
    "readahead": "readahead_size",
    "pagecache": "page_cache_size",
    "debug": "debug",
}
"""Names of the options in a URI."""

HINTS = (
    Hint(
        "NFS3ERR_NOENT",
        "the export has no such file",
        "create the image, or correct path",
    ),
    Hint(
        r"MNT3ERR_ACCES|MNT3ERR_PERM|MNT3ERR_NOENT|NFS3ERR_PERM|mount_cb: \(null\)",
        "the server does not give this folder to this host, or to a client without root's rights, or does not have it",
        "create it, or export it to this host with the option insecure: QEMU speaks from ports above 1023",
    ),
    Hint(
        "ACCESS denied|NFS3ERR_ACCES|NFS3ERR_ROFS",
        "the server denies the VM's user access to the file",
        "declare user and group that may read and write it, or set writes: deny, overlay or discard",
    ),
    Hint(
        "NFS3ERR_EXIST",
        "there is a file of this name in the meantime",
        "run it again: the file is taken as it is",
    ),
    Hint(
        "Program is not available",
        "the server's portmapper offers no NFS version 3",
        "start the NFS service, or turn its version 3 on, with mountd: QEMU speaks no later one",
    ),
    Hint(
        "Can not resolv",
        "the server's name is unknown to this host",
        "check the name and the host's resolver",
    ),
    Hint(
        r"mount_cb: *$",
        "the server did not complete the mount",
        "check that its NFS service and its mountd run, not only its portmapper",
    ),
    Hint(
        "nfs_service failed|Failed to start connection|Connection refused|No route to host|Network is unreachable|"
        "[Tt]imed out",
        "the server does not answer",
        "check that it runs, its portmapper too, and that this host may reach it",
    ),
)


def _node(values: Values, resources: UnitResources) -> Node:
    return {"driver": "nfs", "server": {"type": "inet", "host": values["host"]}, **members(OPTIONS, values, resources)}


def _check(values: Values) -> None:
    check_resolved("path", values["path"])


def _check_disk(values: Values, settings: Values) -> None:
    """QEMU refuses to keep what it read while it is told to keep nothing."""
    for option in ("readahead_size", "page_cache_size"):
        if option in values and settings["cache"] in ("none", "directsync"):
            raise DeclarationError(option, f"is given together with cache: {settings['cache']}; leave one of them out")


def _describe(values: Values) -> str:
    return f"{uris.in_brackets(uris.same_host(values['host']))}:{_path(values)}"


def _path(values: Values) -> str:
    """Return the path in its canonical spelling."""
    return "/" + posixpath.normpath(str(values["path"])).lstrip("/")


def _read_uri(uri: str) -> dict[str, Any]:
    """``nfs://host/path?uid=&gid=...``; QEMU ignores a port, so only NFS's own is read."""
    if not uri.startswith("nfs://"):
        raise DeclarationError("uri", "nfs://host/path is required")
    pieces = uris.split(uri)
    _refuse_port(pieces.port)
    query = uris.query_of(pieces, tuple(_PARAMETERS))
    numbers = {_PARAMETERS[key]: _number(key, text) for key, text in query.items()}
    # But for user and group, 0 is what QEMU takes for "not set".
    declared = {option: number for option, number in numbers.items() if number or option in ("user", "group")}
    return {"host": uris.host_of(pieces), "path": uris.decoded(pieces.path, "its path"), **declared}


def _refuse_port(port: int | None) -> None:
    if port not in (None, _PORT):
        raise DeclarationError(
            "uri", f"its port {port} is ignored by QEMU, which asks the server's portmapper; leave the port out"
        )


def _number(name: str, text: str) -> int:
    """Parse a number as C does: a leading 0x is hexadecimal, a leading 0 octal."""
    if not re.fullmatch("0[xX][0-9a-fA-F]{1,16}|0[0-7]{0,20}|[1-9][0-9]{0,18}", text):
        raise DeclarationError("uri", f"{name}: {text!r} is not a number")
    return int(text, 8 if re.fullmatch("0[0-7]+", text) else 0)


def _read_node(node: Node, context: CommandLineContext) -> dict[str, Any]:
    found = read_members(OPTIONS, node, context, {}, "server")
    return {**found, **_without_port(uris.server_of(node, NO_PORT))}


def _without_port(place: dict[str, Any]) -> dict[str, Any]:
    for name in ("port", "socket"):
        if name in place:
            raise DeclarationError("server", f"NFS has no {name} to declare")
    return place


def _libvirt_host(source: LibvirtSource) -> str | None:
    place = uris.libvirt_host(source.hosts, NO_PORT)
    _refuse_port(place.get("port"))
    return place.get("host")


def _read_libvirt(source: LibvirtSource) -> dict[str, Any]:
    return uris.drop_none(
        {
            "host": _libvirt_host(source),
            "path": source.name,
            "user": (source.part("identity", "user") or "").removeprefix("+") or None,
            "group": (source.part("identity", "group") or "").removeprefix("+") or None,
        }
    )


BACKEND = Backend(
    name="nfs",
    summary="An image file on an NFS server, without a mount on the host",
    options=OPTIONS,
    source=Source(
        sample={"host": "127.0.0.1", "path": "/image"},
        describe=_describe,
        identity=lambda values: f"nfs:{_describe(values)}",
        pool=lambda values: posixpath.dirname(_describe(values)),
        writable=True,
        resizable=True,
        local=lambda values: uris.is_loopback(values["host"]),
        check=_check,
        check_disk=_check_disk,
    ),
    access=Access(
        driver="nfs",
        node=_node,
        reach=lambda values: Reach(servers=(values["host"],)),
        unhandled={},
        root_members={"user": 0, "group": 0},
    ),
    packages=Packages(
        # Red Hat builds QEMU without it.
        driver={
            "debian": ("qemu-block-extra",),
            "fedora": ("qemu-block-nfs",),
            "suse": ("qemu-block-nfs",),
            "arch": ("qemu-block-nfs",),
        },
    ),
    adoption=Adoption(
        schemes=("nfs",),
        read_uri=_read_uri,
        read_node=_read_node,
        read_libvirt=_read_libvirt,
        libvirt_elements=("identity",),
    ),
    hints=HINTS,
)
