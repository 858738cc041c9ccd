# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""URIs are read at the border only: the pieces that several backends share."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError

SECRET_PARAMETER = re.compile(
    r"(x-(amz|goog|oss|cos|ms|obs)-)?(signature|credential|security-?token|sig)|"
    r"(.*[._-])?(password|passwd|pass|pwd|pw|secret|auth|hmac|(api|access|auth)_?key|key|jwt|code|otp|pin)|.*token|"
    r"awsaccesskeyid|googleaccessid|key-pair-id|policy|hdnts|hdnea|md5|hash|verify|sas|ticket|(j|php)?sess(ion)?_?id",
    re.IGNORECASE,
)
"""Parameters of a URL that let whoever knows them read what it names: of S3, Azure, GCS, CloudFront and others."""
_BARE_TOKEN = 16
"""From this length on, a query without a name is taken for a token and not for a word."""
_TOKEN = re.compile(r"(?=[^A-Za-z]*[A-Za-z])(?=\D*\d)[A-Za-z0-9%+/_=]{16,}|eyJ[\w.-]{16,}")
"""Values of other parameters that look random, or are a JSON Web Token."""

_PLACE = re.compile(r"(?:\[(?P<address>[^\[\]]+)\]|(?P<host>[^\s:/@\[\]]+))(?::(?P<port>\d{1,5}))?")


def split(uri: str) -> SplitResult:
    """Split a URI and check its port."""
    if re.search(r"[\x00-\x20\x7f]", uri):  # Python drops some of them in silence.
        raise DeclarationError("uri", "has a space or a control character in it; a space is written %20")
    try:
        pieces = urlsplit(uri)
        if pieces.port == 0:
            pieces = pieces._replace(netloc=pieces.netloc.rpartition(":")[0])
    except ValueError:
        # Python's message may repeat a password of the URI.
        raise DeclarationError("uri", "is not a URI with a valid host and port") from None
    return pieces


def decoded(text: str, piece: str) -> str:
    """Decode %XX; refuse what is neither an escape nor UTF-8, which releases of QEMU read differently."""
    if re.search("%(?![0-9A-Fa-f]{2})", text):
        raise DeclarationError("uri", f"{piece} has a % in it that no two hexadecimal digits follow")
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise DeclarationError("uri", f"{piece} has bytes in it that are no text (UTF-8)") from None


def host_of(pieces: SplitResult) -> str:
    """Return the host, with its case and without the brackets of an IPv6 address."""
    netloc = pieces.netloc.rpartition("@")[2]
    if netloc.startswith("["):
        host, closed, rest = netloc[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise DeclarationError("uri", "an IPv6 address must stand in brackets: [::1]:port")
        # RFC 6874: the zone of a link-local address follows a percent sign, which is encoded in a URI.
        return host.replace("%25", "%", 1)
    return decoded(netloc.partition(":")[0], "its host")


def place_of(text: str, default_port: int) -> tuple[str, int]:
    """Return host and port of ``host[:port]``, ``[address][:port]`` or a bare IPv6 address."""
    bare = text.count(":") > 1 and not text.startswith("[")
    match = _PLACE.fullmatch(f"[{text}]" if bare else text)
    port = int(match["port"] or default_port) if match else 0
    odd_port = match is not None and match["port"] is not None and not 0 < port < 65536
    if not match or odd_port or (match["address"] and not _is_address(match["address"])):
        raise DeclarationError("", f"{text!r} is not a host, host:port or [address]:port")
    return match["address"] or match["host"], port


def _is_address(text: str) -> bool:
    try:
        return ip_address(text).version == 6
    except ValueError:
        return False


_LOOPBACK = IPv6Address("::1")
_TRANSLATED = IPv6Network("64:ff9b::/96")
"""IPv4 servers as a translator shows them (NAT64, RFC 6052); only their own network knows other prefixes."""


@functools.lru_cache(maxsize=4096)  # a fleet names few servers, and each of them often
def same_host(host: str) -> str:
    """Return the canonical spelling of a host: a name in small letters without the final dot, or the shortest address.

    An IPv4 address within an IPv6 one is that IPv4 address, also behind a translator, and so is one in a form that
    inet_aton(3) reads. A server that is reached at ::1, or at no address (which Linux takes for this host), is the one
    at 127.0.0.1.
    """
    name = host.lower().rstrip(".")
    try:
        address = ip_address(name)
    except ValueError:
        old = _old_address(name)
        return same_host(old) if old else name
    if address == _LOOPBACK or address.is_unspecified:
        return "127.0.0.1"
    inner = _ipv4_within(address) if isinstance(address, IPv6Address) else None
    return same_host(str(inner)) if inner else str(address)


def _ipv4_within(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address of a server that has only that one; a translator reaches no host's own addresses."""
    if address in _TRANSLATED:
        inner = IPv4Address(int(address) & 0xFFFFFFFF)
        return None if inner.is_loopback or inner.is_unspecified else inner
    return address.ipv4_mapped


def _old_address(text: str) -> str:
    """Return the address of ``10.1``, ``0x7f000001`` or ``010.0.0.1``; empty if it is not an address."""
    if not re.fullmatch(r"(0x[0-9a-f]{1,8}|[0-9]{1,11})(\.(0x[0-9a-f]{1,8}|[0-9]{1,11})){0,3}", text):
        return ""
    *parts, last = text.split(".")
    try:
        numbers = [
            int(part, 0 if part.startswith("0x") else 8 if part.startswith("0") else 10) for part in (*parts, last)
        ]
    except ValueError:
        return ""
    rest = numbers.pop()
    if any(number > 255 for number in numbers) or rest >= 256 ** (4 - len(numbers)):
        return ""
    return str(ip_address(sum(number << (24 - 8 * place) for place, number in enumerate(numbers)) + rest))


def _base(number: str) -> int:
    """Parse a number as C does."""
    return 16 if number.startswith("0x") else 8 if number.startswith("0") else 10


def is_literal(host: str) -> bool:
    """Return True if a host is an address, not a name."""
    try:
        ip_address(same_host(host))
    except ValueError:
        return False
    return True


@functools.lru_cache(maxsize=4096)
def is_loopback(host: str) -> bool:
    """Return True for a loopback host, which is a different one on each host."""
    name = same_host(host)
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def in_brackets(host: str) -> str:
    """Format a host for use before a colon and a port."""
    return f"[{host}]" if ":" in host else host


def query_of(pieces: SplitResult, known: tuple[str, ...]) -> dict[str, str]:
    """Return the query's keys and values; refuse unknown and duplicate keys."""
    found: dict[str, str] = {}
    for pair in filter(None, pieces.query.split("&")):
        key, equals, value = pair.partition("=")
        if key not in known or not equals:
            raise DeclarationError(
                "uri", f"unknown parameter {key!r}" + (f" (there are: {', '.join(known)})" if known else "")
            )
        if key in found:
            raise DeclarationError("uri", f"parameter {key!r} is set twice")
        found[key] = decoded(value, key)
    return found


def without_signature(pieces: SplitResult) -> tuple[SplitResult, str | None]:
    """Return the pieces without a query that grants access, and this query."""
    pairs = re.split("[&;]", pieces.query)
    if not any(map(_is_secret, pairs)):
        return pieces, None
    return pieces._replace(query=""), pieces.query


def _is_secret(parameter: str) -> bool:
    name, _equals, value = parameter.partition("=")
    return bool(SECRET_PARAMETER.fullmatch(unquote(name))) or is_token(value) or is_bare_token(parameter)


def is_token(value: str) -> bool:
    """Return if the value of a parameter looks like a secret, whatever the parameter's name is."""
    return bool(_TOKEN.fullmatch(value))


def is_bare_token(parameter: str) -> bool:
    """Return if a parameter of a query is a secret without a name."""
    return "=" not in parameter and len(parameter) >= _BARE_TOKEN


def without_credentials(pieces: SplitResult) -> tuple[str, str | None, str | None]:
    """Return the URI without user and password, and these two; QEMU would show them to everybody."""
    userinfo, at, place = pieces.netloc.rpartition("@")
    if not at:
        return pieces.geturl(), None, None
    user, colon, password = userinfo.partition(":")
    if colon and "@" in pieces.path:
        # Who does not encode the / of a password means the last @, and programs take the first one.
        raise DeclarationError("uri", "has a password and a second @, which could be read in two ways; write it %40")
    url = pieces._replace(netloc=place).geturl()
    return url, decoded(user, "its user"), decoded(password, "its password") if colon else None


def number_in(value: Any) -> Any:
    """Convert a text to a number if it is one; otherwise return it unchanged for its reader."""
    return int(value) if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value) else value


def address_of(server: Any, default_port: int) -> dict[str, Any]:
    """Return host and port, or the socket, of a SocketAddress of QEMU, without the default port."""
    declared = dict(server) if isinstance(server, Mapping) else {}
    kind = str(declared.pop("type", "inet"))
    if kind == "unix" and "socket" in declared and "path" not in declared:
        declared["path"] = declared.pop("socket")  # an older name of the member
    members = {"inet": ("host", "port"), "tcp": ("host", "port"), "unix": ("path",)}.get(kind, ())
    if not members:
        raise DeclarationError("server", f"type {kind!r} cannot be declared; inet and unix can")
    for name in (*members[:1], *declared):
        if name not in declared or name not in members:
            raise DeclarationError("server", f"{name} is missing" if name in members else f"{name} cannot be declared")
    if kind == "unix":
        return {"socket": declared["path"]}
    port = str(declared.get("port", default_port))
    return {"host": declared["host"], **({} if port in ("0", str(default_port)) else {"port": number_in(port)})}


def server_of(node: Mapping[str, Any], default_port: int, *flat: str) -> dict[str, Any]:
    """Return the same from a node's server, or from the older options beside it; empty if it has neither."""
    older = {name: node[name] for name in flat if name in node}
    if "server" in node and older:
        raise DeclarationError("server", f"is given, and {' and '.join(older)} too")
    if "server" in node:
        return address_of(node["server"], default_port)
    if "path" in older and len(older) > 1:
        raise DeclarationError("path", "is given, and host or port too")
    return {"socket" if name == "path" else name: number_in(value) for name, value in older.items()}


def libvirt_host(hosts: tuple[Mapping[str, str], ...], default_port: int) -> dict[str, Any]:
    """Return the only server of a disk."""
    if len(hosts) != 1:
        raise DeclarationError("host", f"exactly one is required, not {len(hosts)}")
    if "socket" in hosts[0]:
        return {"socket": hosts[0]["socket"]}
    if "name" not in hosts[0]:
        raise DeclarationError("host", "has no name")
    return address_of({"host": hosts[0]["name"], "port": hosts[0].get("port", str(default_port))}, default_port)


def drop_none(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values without None."""
    return {key: value for key, value in values.items() if value is not None}
