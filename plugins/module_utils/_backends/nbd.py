# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A network block device: qemu-nbd, nbdkit or any server that speaks the protocol."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends import _server, uris
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.access import Access, Reach
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.adoption import (
    Adoption,
    LibvirtSource,
    read_members,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.command_line_context import (
    CommandLineContext,
    Secret,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend, Hint, members
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.packages import Packages
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.path_checks import check_loadable
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.source import Source
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node, Values
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option

DEFAULT_PORT = 10809
RECONNECT_DELAY = 86400

X509_FILES = {"ca_cert": "ca-cert.pem", "client_cert": "client-cert.pem", "client_key": "client-key.pem"}
"""Option of a certificate, and the file name that QEMU's tls-creds-x509 insists on."""

TLS = (
    Option("directory", "Folder on the host with ca-cert.pem, client-cert.pem and client-key.pem.", "path"),
    Option("ca_cert", "The certificate authority to trust, PEM text."),
    Option("client_cert", "The certificate to show to the server, PEM text."),
    Option("client_key", "The private key of O(client_cert), PEM text.", secret=True),
    Option("psk_username", "User of the pre-shared key."),
    Option(
        "psk_key",
        "The pre-shared key, in hexadecimal.",
        secret=True,
        like="00",
        pattern="^([0-9a-fA-F]{2})+$",
        pattern_help="is not hexadecimal",
    ),
    Option("hostname", "Name to look for in the server's certificate instead of the host's.", since=(7, 0)),
)

OPTIONS = (
    _server.host_option("Name or address of the server; this or O(socket)."),
    _server.port_option("Port of the server."),
    Option("socket", "Unix socket of a server on the same host; this or O(host).", "path"),
    Option("export", "Name of the export; the server's default without it.", qemu="export"),
    Option("tls", "Encrypts the connection: by certificates or by a pre-shared key.", "dict", options=TLS),
    Option(
        "reconnect_delay",
        "Seconds for which requests wait for a lost server to come back before they fail. QEMU 7.2 never finds the "
        "server again after that, even if the VM goes on. Default: a day.",
        "int",
        default=RECONNECT_DELAY,
        minimum=0,
        maximum=2**32 - 1,
        qemu="reconnect-delay",
    ),
    Option(
        "open_timeout",
        "Seconds for which the start waits for a server that is down.",
        "int",
        minimum=0,
        maximum=2**32 - 1,
        qemu="open-timeout",
        since=(7, 0),
    ),
)

UNHANDLED = {
    "x-dirty-bitmap": "unstable, and for backup tools rather than for VMs",
}

HINTS = (
    Hint(
        "export '.*' not present|[Ee]xport .*not (found|available)",
        "the server has no such export",
        "list them with nbdinfo --list, and correct export",
    ),
    Hint(
        "address resolution failed for",
        "the server's name is unknown to this host",
        "check the name and the host's resolver",
    ),
    Hint(
        "Failed to connect|Connection refused|Connection timed out|NBD: timed out",
        "the server does not answer",
        "check that it runs and that this host may reach it",
    ),
    Hint("TLS negotiation required", "the server requires TLS", "declare tls"),
    Hint(
        "Server does not support STARTTLS|Server .*(does not|doesn't) support.*TLS",
        "the server has no TLS",
        "leave tls out, or enable it on the server",
    ),
    Hint(
        "Certificate does not match the hostname",
        "the certificate is another server's",
        "name it in tls.hostname, or correct host",
    ),
    Hint(
        "not found in PSK file|PSK|A TLS fatal alert",
        "the server refuses the key or certificate",
        "check tls.psk_username, tls.psk_key or the certificates",
    ),
    Hint(
        "certificate .*(issuer|trusted)|The certificate", "the server's certificate is not trusted", "check tls.ca_cert"
    ),
    Hint(
        "[Rr]ead.?only|permission",
        "the server gives it out read-only",
        "set writes: deny, overlay or discard, or correct the server",
    ),
)


def _node(values: Values, resources: UnitResources) -> Node:
    node: Node = {
        "driver": "nbd",
        "server": _server.address(values, DEFAULT_PORT),
        **members(OPTIONS, values, resources),
    }
    tls = values.get("tls")
    if tls:
        node["tls-creds"] = _tls_object(tls, resources)
        if "hostname" in tls:
            node["tls-hostname"] = tls["hostname"]
    return node


def _tls_object(tls: Values, resources: UnitResources) -> str:
    if "psk_key" in tls:
        line = f"{tls['psk_username']}:{tls['psk_key'].lower()}\n"
        folder = resources.directory("psk", {"keys.psk": resources.credential("keys.psk", line)})
        return resources.object("tls-creds-psk", "tls", dir=folder, username=tls["psk_username"], endpoint="client")
    if "directory" in tls:
        files = {name: resources.credential(name, source=f"{tls['directory']}/{name}") for name in X509_FILES.values()}
    else:
        files = {name: resources.credential(name, tls[option]) for option, name in X509_FILES.items() if option in tls}
    return resources.object("tls-creds-x509", "tls", dir=resources.directory("x509", files), endpoint="client")


def _check(values: Values) -> None:
    _server.check(values)
    if "tls" in values:
        _check_tls(values["tls"])


def _check_tls(tls: Values) -> None:
    ways = [way for way in ("directory", "ca_cert", "psk_key") if way in tls]
    if len(ways) != 1:
        raise DeclarationError("tls", "exactly one of directory, ca_cert and psk_key is required")
    if ("client_cert" in tls) != ("client_key" in tls):
        raise DeclarationError("tls", "client_cert and client_key are required together")
    if "client_cert" in tls and "ca_cert" not in tls:
        raise DeclarationError("tls", "client_cert is given without ca_cert")
    if ("psk_key" in tls) != ("psk_username" in tls):
        raise DeclarationError("tls", "psk_username and psk_key are required together")
    check_loadable("tls: directory", tls.get("directory", ""))
    if ":" in tls.get("psk_username", "") or "\n" in tls.get("psk_username", ""):
        raise DeclarationError("tls: psk_username", "has a colon or a line break in it")


def _reach(values: Values) -> Reach:
    folder = values.get("tls", {}).get("directory")
    loaded = tuple(f"{folder}/{name}" for name in X509_FILES.values()) if folder else ()
    return replace(_server.reach(values), loaded=loaded)


def _describe(values: Values) -> str:
    return f"{_server.describe(values, DEFAULT_PORT)}/{values.get('export', '')}"


def _read_uri(uri: str) -> dict[str, Any]:
    """``nbd[+tcp|+unix]://...`` and the older ``nbd:HOST:PORT[:exportname=X]``, ``nbd:unix:PATH[:exportname=X]``."""
    if not uri.startswith(("nbd://", "nbd+tcp://", "nbd+unix://")):
        return _read_old_form(uri)
    pieces = uris.split(uri)
    export = uris.decoded(pieces.path[1:], "its export") or None
    if {".", ".."} & set((export or "").split("/")):
        # QEMU 10.0 and later resolve them; earlier releases pass them to the server.
        raise DeclarationError("uri", "its export has '.' or '..' between slashes, which could be read in two ways")
    if pieces.scheme == "nbd+unix":
        query = uris.query_of(pieces, ("socket",))
        if pieces.netloc or "socket" not in query:
            raise DeclarationError("uri", "nbd+unix must have no host, and ?socket=PATH")
        return uris.drop_none({"socket": query["socket"], "export": export})
    uris.query_of(pieces, ())
    return uris.drop_none({"host": uris.host_of(pieces), "port": pieces.port or None, "export": export})


def _read_old_form(uri: str) -> dict[str, Any]:
    place, marker, export = uri[len("nbd:") :].partition(":exportname=")
    declared = {"export": export} if marker and export else {}
    if place.startswith("unix:"):
        return {"socket": place[len("unix:") :], **declared}
    host, colon, port = place.rpartition(":")
    if not colon or not re.fullmatch("[0-9]{1,9}", port):
        raise DeclarationError("uri", "nbd:HOST:PORT is required")
    return {"host": host.strip("[]"), "port": int(port), **declared}


def _read_node(node: Node, context: CommandLineContext) -> dict[str, Any]:
    flat = ("host", "port", "path")
    found = read_members(OPTIONS, node, context, UNHANDLED, "server", *flat, "tls-creds", "tls-hostname")
    found.update(uris.server_of(node, DEFAULT_PORT, *flat))
    if "tls-creds" in node:
        found["tls"] = _read_tls(context.properties("tls-creds", node["tls-creds"]))
    if "tls-hostname" in node:
        found.setdefault("tls", {})["hostname"] = node["tls-hostname"]
    return found


def _read_tls(tls: Mapping[str, str]) -> dict[str, Any]:
    kind, folder = tls["qom-type"], tls.get("dir")
    known = {"qom-type", "id", "dir", "endpoint", "verify-peer", *(["username"] if kind == "tls-creds-psk" else [])}
    odd = [name for name in tls if name not in known] + ["verify-peer"] * (tls.get("verify-peer") in ("off", "no"))
    if odd or kind not in ("tls-creds-x509", "tls-creds-psk") or not folder:
        raise DeclarationError(f"-object {kind}", f"{odd[0] if odd else 'this'} cannot be declared")
    if kind == "tls-creds-x509":
        return {"directory": folder}
    user = tls.get("username", "qemu")
    return {"psk_username": user, "psk_key": Secret(f"{folder}/keys.psk on the host, after '{user}:'", like="00")}


LIBVIRT_TLS = "/etc/pki/qemu"
"""Folder of the certificates that libvirt's QEMU takes unless qemu.conf names another one."""


def _read_libvirt(source: LibvirtSource) -> dict[str, Any]:
    tls = None
    if source.attributes.get("tls", "no") == "yes":
        tls = uris.drop_none({"directory": LIBVIRT_TLS, "hostname": source.attributes.get("tlsHostname")})
    return uris.drop_none(
        {
            **uris.libvirt_host(source.hosts, DEFAULT_PORT),
            "export": source.name or None,
            "reconnect_delay": source.part("reconnect", "delay"),
            "tls": tls,
        }
    )


def _maybe(values: Values) -> tuple[tuple[str, str], ...]:
    """Yield the export's name: a server may offer it on several ports, and NBD has no identity of the bytes."""
    if "host" not in values or not values.get("export"):
        return ()
    why = "NBD does not tell if one export at two ports is the same; let both use one port if it is"
    return ((f"nbd:{uris.same_host(values['host'])}:*/{values['export']}", why),)


BACKEND = Backend(
    name="nbd",
    summary="A network block device, over TCP or a unix socket",
    options=OPTIONS,
    source=Source(
        sample={"host": "127.0.0.1"},
        describe=_describe,
        identity=lambda values: f"nbd:{_describe(values)}",
        pool=partial(_server.describe, default_port=DEFAULT_PORT),
        writable=True,
        local=_server.is_own,
        possible_identities=_maybe,
        check=_check,
    ),
    access=Access(driver="nbd", node=_node, reach=_reach, unhandled=UNHANDLED),
    packages=Packages(
        driver={},
    ),
    adoption=Adoption(
        schemes=("nbd", "nbd+tcp", "nbd+unix"),
        read_uri=_read_uri,
        read_node=_read_node,
        read_libvirt=_read_libvirt,
        libvirt_elements=("reconnect",),
        libvirt_attributes=("tls", "tlsHostname"),
    ),
    hints=HINTS,
)
