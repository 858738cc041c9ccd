# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Common parts of the backends of QEMU's curl driver: options, hints, and the routes nbdkit and stage."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends import _packed, _url, uris
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.access import (
    Access,
    Download,
    Flaw,
    NbdkitPlugin,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.adoption import (
    Adoption,
    LibvirtSource,
    read_members,
    with_secrets,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.command_line_context import (
    CommandLineContext,
    Secret,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend, Hint, members
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.packages import Packages
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.path_checks import check_mountable
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.source import Source
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node, Values
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option

_RETRY = "retry-request"

_PACKAGES = {
    "debian": ("qemu-block-extra", "ca-certificates"),
    "redhat": ("qemu-kvm-block-curl", "ca-certificates"),
    "fedora": ("qemu-block-curl", "ca-certificates"),
    "suse": ("qemu-block-curl", "ca-certificates"),
    "arch": ("qemu-block-curl", "ca-certificates"),
}

_PROTOCOLS = {"http": "http,https"}
"""Protocols to which a server may redirect its clients; only the same protocol if there is no entry."""

_NO_COLON: Any = {
    "pattern": "[^:\n]+",
    "pattern_help": "is not a user: one line without a colon, where the password begins for a server",
}
COMMON = (
    _url.URL,
    Option(
        "readahead",
        "Bytes read ahead, a multiple of 512 (route V(driver) only).",
        "size",
        minimum=512,
        qemu="readahead",
    ),
    Option(
        "timeout",
        "Seconds after which a request that does not answer fails.",
        "int",
        minimum=1,
        maximum=10000,
        qemu="timeout",
    ),
    Option("username", "User on the server.", aliases=("user",), qemu="username", **_NO_COLON),
    Option("password", "Password of O(username).", secret=True, qemu="password"),
    Option("proxy_username", "User at the proxy.", qemu="proxy-username", **_NO_COLON),
    Option("proxy_password", "Password of O(proxy_username).", secret=True, qemu="proxy-password"),
)
HTTP_ONLY = (
    _url.QUERY,
    Option(
        "cookie",
        "Cookies sent with every request, as C(name=value; name=value).",
        secret=True,
        like="name=value",
        pattern=r"[^\s=;]+=[^\n]*",
        pattern_help="is not name=value",
        qemu="cookie",
        # QEMU's driver would take it along wherever the server sends it on to.
        routes=("nbdkit", "stage"),
    ),
    Option(
        "force_range",
        "Request byte ranges even if the server does not announce them.",
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

HTTP_UNHANDLED = {"cookie": "the clear form of cookie-secret: it would stand on the command line"}

RETRIES = ("retry-request-retries=60", "retry-request-delay=1", "retry-request-open=no")
"""nbdkit's filter that retries requests for a minute; an image that cannot be opened fails immediately."""

DRIVER_HANGS = Flaw(
    "driver",
    (6, 0),
    "QEMU's own curl driver now and then hangs with several requests in flight "
    "(seen on 7.2, 10.0 and 11.1; 5.2 is fine)",
)

_HINTS = (
    Hint("returned error: 401", "the server refuses the user or password", "check username and password"),
    Hint("returned error: 404", "the server has no such image", "check the url"),
    # The rest of the message, with the status, may be cut off behind a long url.
    Hint(
        "problem doing HEAD request.*HTTP response code",
        "the server refuses to tell the image's size (HEAD)",
        "check the url and the user's rights; if only HEAD is refused, as for a url that is signed for GET, "
        "set route: stage",
    ),
    Hint(
        "could not get length of remote file",
        "the server does not tell the image's size",
        "check the url; if the server tells no sizes, set route: stage",
    ),
    Hint("returned error: 416", "the server does not send this part of the image", "set route: stage"),
    Hint("returned error: 403", "the server forbids it", "check the cookie, the user's rights and the url"),
    Hint("Access denied: 530|Login denied", "the server refuses the user or password", "check username and password"),
    Hint(
        "The file does not exist|Server denied you to change to the given directory|RETR response: 550",
        "the server has no such image",
        "check the url",
    ),
    Hint(
        "wrong version number|unexpected TLS packet",
        "the server does not speak TLS there",
        "check the scheme and the port of the url",
    ),
    Hint("does not support 'range'", "the server cannot send parts of a file", "set route: stage"),
    Hint(
        "(certificate|server) verification failed|SSL certificate problem|unable to get local issuer|peer certificate",
        "the server's certificate is not trusted",
        "name its authority in ca_bundle",
    ),
    Hint("curl driver does not support writes", "nothing can be written there", "set writes: overlay, discard or deny"),
    *_url.HINTS,
    *_packed.HINTS,
)


def _check(scheme: str, values: Values) -> None:
    _url.check(scheme, values)
    if scheme.startswith("http"):
        _url.check_query(values)
    if values.get("readahead", 512) % 512:
        raise DeclarationError("readahead", f"{values['readahead']} is not a multiple of 512")
    if "password" in values and "username" not in values:
        raise DeclarationError("password", "is given without username")
    check_mountable("ca_bundle", values.get("ca_bundle", ""))
    if values.get("sslverify") is False and "ca_bundle" in values:
        raise DeclarationError("ca_bundle", "is given together with sslverify: false, which trusts everybody")


def _identity(values: Values) -> str:
    """Return the identity; with FTP it includes the user, who may have a directory tree of their own."""
    user = f"{values.get('username', '')}@" if _scheme(values).startswith("ftp") else ""
    return f"{user}{_url.identity(values)}{_packed.what(values)}"


def _scheme(values: Values) -> str:
    return uris.split(values["url"]).scheme


def _protocols(values: Values) -> str:
    return _PROTOCOLS.get(_scheme(values), _scheme(values))


def _nbdkit(values: Values, resources: UnitResources) -> NbdkitPlugin:
    """Return nbdkit's curl plugin for the same url; secrets are passed as files, and requests are retried."""
    parameters = [f"url={values['url']}", f"protocols={_protocols(values)}"]

    def add(name: str, value: object | None) -> None:
        if value is not None:
            parameters.append(f"{name}={value}")

    def add_secret(name: str, option: str) -> None:
        if option in values:
            parameters.append(f"{name}=+{resources.credential(option, values[option])}")

    add("user", values.get("username"))
    add_secret("password", "password")
    add("proxy-user", values.get("proxy_username"))
    add_secret("proxy-password", "proxy_password")
    add_secret("cookie", "cookie")
    add("timeout", values.get("timeout"))
    add("cainfo", values.get("ca_bundle"))
    if values.get("sslverify") is False:
        add("sslverify", "false")
    parameters += RETRIES
    # Nearest to the plugin: only its own requests are worth a second try.
    filters = (*_packed.filters(values), _RETRY)
    return NbdkitPlugin(
        "curl",
        (*parameters, *_packed.parameters(values)),
        filters,
        pins=("followlocation=false",) if _scheme(values).startswith("http") else (),
        leaks="cookie" if "cookie" in values else "",
        unpacks=_packed.is_unpacked_whole(values),
    )


def _stage(values: Values) -> Download:
    """Return the download of the same url by curl."""
    options = {"proto": f"={_protocols(values)}"}
    if "timeout" in values:
        options.update(dict.fromkeys(("connect-timeout", "speed-time"), str(values["timeout"])))
    if "ca_bundle" in values:
        options["cacert"] = values["ca_bundle"]
    if values.get("sslverify") is False:
        options["insecure"] = ""
    secrets = {}
    if "username" in values:
        secrets["user"] = f"{values['username']}:{values.get('password', '')}"
    if "proxy_username" in values:
        secrets["proxy-user"] = f"{values['proxy_username']}:{values.get('proxy_password', '')}"
    if "cookie" in values:
        secrets["cookie"] = values["cookie"]
    if "query" in values:
        secrets["url"] = _url.whole(values)
    return Download(values["url"], options, secrets, says=_scheme(values).startswith("http"))


def _read_libvirt(scheme: str, source: LibvirtSource) -> dict[str, Any]:
    cookies = "; ".join(f"{name}={value}" for name, value in source.parts.get("cookies", {}).items())
    named = with_secrets(
        (_url.QUERY,), _url.read_uri(_url.from_libvirt(scheme, source)), "the attribute query of <source>"
    )
    return uris.drop_none(
        {
            **named,
            "username": source.user or None,
            "password": source.secret,
            "sslverify": source.part("ssl", "verify"),
            "cookie": Secret("the element cookies", cookies, "name=value") if cookies else None,
            "readahead": source.part("readahead", "size"),
            "timeout": source.part("timeout", "seconds"),
        }
    )


def _node(scheme: str, options: tuple[Option, ...], values: Values, resources: UnitResources) -> Node:
    return {"driver": scheme, **members(options, values, resources)}


def _read_node(options: tuple[Option, ...], node: Node, context: CommandLineContext) -> dict[str, Any]:
    declared = read_members(options, node, context, {})
    in_url = with_secrets(options, _url.read_uri(str(declared["url"])), "the option url") if "url" in declared else {}
    twice = [name for name in in_url if name in declared and name != "url"]
    if twice:
        raise DeclarationError(twice[0], "is set twice, also in the url")
    return {**declared, **in_url}


def backend(
    scheme: str,
    summary: str,
    own_options: tuple[Option, ...] = (),
    *,
    flaws: tuple[Flaw, ...] = (DRIVER_HANGS,),
    unhandled: Mapping[str, str] | None = None,
) -> Backend:
    """Create the backend of a protocol of the curl driver, with its own options beside the common ones."""
    options = (*COMMON, *own_options, _url.SHA256, *_packed.OPTIONS)

    return Backend(
        name=scheme,
        summary=summary,
        options=options,
        source=Source(
            sample={"url": f"{scheme}://127.0.0.1/image"},
            describe=lambda values: f"{values['url']}{_packed.what(values)}",
            identity=_identity,
            pool=_url.server,
            writable=False,
            check=partial(_check, scheme),
        ),
        access=Access(
            driver=scheme,
            node=partial(_node, scheme, options),
            reach=_url.reach,
            unhandled=unhandled or {},
            routes=("driver", "nbdkit", "stage"),
            flaws=flaws,
            driver_only=("readahead", "force_range"),
            nbdkit=_nbdkit,
            nbdkit_plugins=("curl", _RETRY, *_packed.PARTS),
            stage=_stage,
        ),
        packages=Packages(driver=_PACKAGES),
        adoption=Adoption(
            schemes=(scheme,),
            read_uri=_url.read_uri,
            read_node=partial(_read_node, options),
            read_libvirt=partial(_read_libvirt, scheme),
            libvirt_elements=("ssl", "cookies", "readahead", "timeout"),
        ),
        hints=_HINTS,
    )
