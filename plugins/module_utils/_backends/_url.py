# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Common parts of backends with a URL: its option, its checks, and the download for route ``stage``."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends import uris
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.access import Reach
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.adoption import LibvirtSource
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Hint
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option

URL = Option(
    "url", "Address of the image: scheme://host[:port]/path, without user or password.", required=True, qemu="url"
)
SHA256 = Option(
    "sha256",
    "Digest of the whole file as the server has it, packed or not. It is then fetched and checked before it is used.",
    "hex",
    pattern="[0-9a-f]{64}",
    pattern_help="has not the 64 digits of a sha256",
    routes=("stage",),
)

QUERY = Option(
    "query",
    "The part of the url after C(?), if it is a secret: the signature of a presigned URL (S3, GCS), an Azure SAS, "
    "a token. It is appended to the query of O(url). The image counts as the same with another query.",
    secret=True,
    like="sig=x",
    pattern=r"[^\s#?][^\s#]*",
    pattern_help="is not what follows the ? of a url",
    routes=("stage",),
)
"""QEMU and nbdkit take a url on their command line only, so neither can be given this one."""

_PORTS = {"http": 80, "https": 443, "ftp": 21, "ftps": 990, "tftp": 69}

HINTS = (
    Hint(
        "its sha256 is .* is declared",
        "the server has another image than the declared one",
        "correct sha256, or find out who changed the image",
    ),
    Hint(
        "Could not resolve host|Couldn't resolve host",
        "the server's name is unknown to this host",
        "check the name and the host's resolver",
    ),
    Hint(
        "Couldn't connect to server|Failed to connect|Connection refused",
        "the server does not answer",
        "check that it runs and that this host may reach it",
    ),
)


def check(scheme: str, values: Values) -> None:
    """Check the url. No message repeats it: it may contain a password."""
    pieces = uris.split(values["url"])
    if "@" in pieces.netloc:
        raise DeclarationError(
            "url", "contains a user, which QEMU would show to everybody; set username and password instead"
        )
    host = uris.host_of(pieces)
    if pieces.scheme != scheme or not host or not pieces.path.strip("/") or re.search(r"\s", values["url"] + host):
        raise DeclarationError("url", f"is not {scheme}://host/path")


def check_query(values: Values) -> None:
    """Refuse a secret in the url, which everybody on the host would see. The url is not repeated."""
    if uris.without_signature(uris.split(values["url"]))[1] is not None:
        raise DeclarationError(
            "url",
            "has a signature or a token in its query, which would be seen by everybody; move what follows ? to query",
        )


def whole(values: Values) -> str:
    """Return the url with its secret query."""
    pieces = uris.split(values["url"])
    return pieces._replace(query="&".join(filter(None, (pieces.query, values["query"])))).geturl()


def reach(values: Values) -> Reach:
    """Return the server of the url, and the private bundle."""
    return Reach(servers=(uris.host_of(uris.split(values["url"])),), trust=values.get("ca_bundle", ""))


def server(values: Values) -> str:
    """Return scheme, host and port."""
    pieces = uris.split(values["url"])
    return f"{pieces.scheme}://{pieces.netloc.lower()}"


def identity(values: Values) -> str:
    """Return the url with scheme and host in small letters and without the default port, and the digest."""
    pieces = uris.split(values["url"])
    port = pieces.port if pieces.port not in (None, _PORTS[pieces.scheme]) else ""
    place = f"{pieces.scheme}://{uris.same_host(uris.host_of(pieces))}:{port}{pieces.path}?{pieces.query}"
    return f"{place}#{values['sha256']}" if "sha256" in values else place


def from_libvirt(scheme: str, source: LibvirtSource) -> str:
    """Join the pieces of the url in libvirt's XML."""
    place = uris.libvirt_host(source.hosts, _PORTS[scheme])
    if "host" not in place:
        raise DeclarationError("host", "a name or an address is required")
    port = f":{place['port']}" if "port" in place else ""
    query = f"?{source.query}" if source.query else ""
    return f"{scheme}://{uris.in_brackets(place['host'])}{port}/{source.name.lstrip('/')}{query}"


def read_uri(uri: str) -> dict[str, Any]:
    """Read the url, with its credentials and a secret query as options of their own."""
    pieces, query = uris.split(uri), None
    if pieces.scheme.startswith("http"):
        pieces, query = uris.without_signature(pieces)
    url, user, password = uris.without_credentials(pieces)
    return uris.drop_none({"url": url, "username": user or None, "password": password, "query": query})
