# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the backends of QEMU's curl driver share: options, hints, and the same bytes through nbdkit's curl plugin."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils import _uri
from ansible_collections.directdisk.qemu.plugins.module_utils._backend import (
    Backend,
    Flaw,
    Hint,
    NbdkitPlugin,
    Node,
    Option,
    Reach,
    Values,
    check_mountable,
    members,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._wiring import Wiring

_NBDKIT_FILTERS = ("retry-request",)

_PACKAGES = {
    "debian": ("qemu-block-extra", "ca-certificates"),
    "redhat": ("qemu-kvm-block-curl", "ca-certificates"),
    "fedora": ("qemu-block-curl", "ca-certificates"),
    "suse": ("qemu-block-curl", "ca-certificates"),
    "arch": ("qemu-block-curl", "ca-certificates"),
}


COMMON = (
    Option(
        "url", "Where the image is: scheme://host[:port]/path, without user or password.", required=True, qemu="url"
    ),
    Option(
        "readahead",
        "Bytes read ahead, a multiple of 512 (route V(driver) only).",
        "size",
        minimum=512,
        qemu="readahead",
    ),
    Option("timeout", "Seconds after which a request that does not answer fails.", "int", minimum=1, qemu="timeout"),
    Option("username", "User at the server.", aliases=("user",), qemu="username"),
    Option("password", "Password of O(username).", secret=True, qemu="password"),
    Option("proxy_username", "User at the proxy.", qemu="proxy-username"),
    Option("proxy_password", "Password of O(proxy_username).", secret=True, qemu="proxy-password"),
)
HTTP_ONLY = (
    Option("cookie", "Cookies sent with every request, as C(name=value; name=value).", secret=True, qemu="cookie"),
    Option(
        "force_range",
        "Ask for byte ranges even where the server does not announce them.",
        "bool",
        qemu="force-range",
        since=(11, 0),
    ),
)
TLS_ONLY = (
    Option("sslverify", "Whether the server's certificate is verified.", "bool", qemu="sslverify"),
    Option(
        "ca_bundle",
        "PEM file on the host with the certificate authorities to trust instead of the system's own.",
        "path",
    ),
)

_UNHANDLED = {"cookie": "the clear form of cookie-secret: it would stand on the command line"}

_FLAWS = (
    Flaw(
        "driver",
        (6, 0),
        (9, 2),
        "QEMU's own curl driver hangs with several requests in flight (seen on 7.2; 5.2 and 10.0 are fine)",
    ),
)

_HINTS = (
    Hint("returned error: 401", "the server refuses the user or password", "check username and password"),
    Hint("returned error: 403", "the server forbids it", "check the cookie, the user's rights and the url"),
    Hint("returned error: 404", "there is no such image at the server", "check the url"),
    Hint(
        "Couldn't connect to server|Failed to connect|Connection refused",
        "the server does not answer",
        "check that it runs and that this host may reach it",
    ),
    Hint(
        "Could not resolve host", "the server's name is unknown to this host", "check the name and the host's resolver"
    ),
    Hint("does not support 'range'", "the server cannot send parts of a file", "serve it from one that can"),
    Hint(
        "(certificate|server) verification failed|SSL certificate problem|unable to get local issuer|peer certificate",
        "the server's certificate is not trusted",
        "name its authority in ca_bundle",
    ),
    Hint("curl driver does not support writes", "nothing can be written there", "say writes: overlay, discard or deny"),
    Hint(
        "Requested export not available", "nbdkit could not open it", "its unit's log below has the server's own words"
    ),
)


def _check(scheme: str, values: Values) -> None:
    """What the table of options cannot say. The url is not repeated: a password may stand in it."""
    pieces = _uri.split(values["url"])
    if "@" in pieces.netloc:
        raise DeclarationError(
            "url", "has a user in it, which QEMU would show to everybody; say username and password instead"
        )
    host = _uri.host_of(pieces)
    if pieces.scheme != scheme or not host or not pieces.path.strip("/") or re.search(r"\s", values["url"] + host):
        raise DeclarationError("url", f"is not {scheme}://host/path")
    if values.get("readahead", 512) % 512:
        raise DeclarationError("readahead", f"{values['readahead']} is not a multiple of 512")
    if "password" in values and "username" not in values:
        raise DeclarationError("password", "is given without username")
    check_mountable("ca_bundle", values.get("ca_bundle", ""))
    if values.get("sslverify") is False and "ca_bundle" in values:
        raise DeclarationError("ca_bundle", "is given together with sslverify: false, which trusts everybody")


def _reach(values: Values) -> Reach:
    """The server named by the url, and the private bundle."""
    return Reach(servers=(_uri.host_of(_uri.split(values["url"])),), trust=values.get("ca_bundle", ""))


def _identity(values: Values) -> str:
    """Scheme and host in small letters, the scheme's own port left out."""
    pieces = _uri.split(values["url"])
    port = pieces.port if pieces.port not in (None, {"http": 80, "https": 443}.get(pieces.scheme)) else ""
    return f"{pieces.scheme}://{_uri.host_of(pieces).lower()}:{port}{pieces.path}?{pieces.query}"


def _read_uri(uri: str) -> dict[str, Any]:
    """The whole string is the url, but for the credentials in it."""
    url, user, password = _uri.without_credentials(_uri.split(uri))
    return _uri.drop_none({"url": url, "username": user or None, "password": password})


def _nbdkit(values: Values, wiring: Wiring) -> NbdkitPlugin:
    """nbdkit's curl plugin on the same url; every secret by file, and requests tried again while the server is away."""
    scheme = _uri.split(values["url"]).scheme
    parameters = [f"url={values['url']}", f"protocols={scheme}"]

    def add(name: str, value: object | None) -> None:
        if value is not None:
            parameters.append(f"{name}={value}")

    def add_secret(name: str, option: str) -> None:
        if option in values:
            parameters.append(f"{name}=+{wiring.credential(option, values[option])}")

    add("user", values.get("username"))
    add_secret("password", "password")
    add("proxy-user", values.get("proxy_username"))
    add_secret("proxy-password", "proxy_password")
    add_secret("cookie", "cookie")
    add("timeout", values.get("timeout"))
    add("cainfo", values.get("ca_bundle"))
    if values.get("sslverify") is False:
        add("sslverify", "false")
    parameters += ["retry-request-retries=8", "retry-request-delay=1"]
    return NbdkitPlugin("curl", tuple(parameters), filters=_NBDKIT_FILTERS)


def backend(scheme: str, summary: str, options: tuple[Option, ...]) -> Backend:
    """The backend of one of the curl driver's protocols."""

    def node(values: Values, wiring: Wiring) -> Node:
        return {"driver": scheme, **members(options, values, wiring)}

    return Backend(
        name=scheme,
        summary=summary,
        options=options,
        driver=scheme,
        writable=False,
        node=node,
        sample={"url": f"{scheme}://127.0.0.1/image"},
        describe=lambda values: str(values["url"]),
        identity=_identity,
        reach=_reach,
        schemes=(scheme,),
        read_uri=_read_uri,
        packages=_PACKAGES,
        check=partial(_check, scheme),
        nbdkit=_nbdkit,
        nbdkit_parts=("curl", *_NBDKIT_FILTERS),
        driver_only=("readahead", "force_range"),
        routes=("driver", "nbdkit"),
        flaws=_FLAWS,
        unhandled=_UNHANDLED,
        hints=_HINTS,
    )
