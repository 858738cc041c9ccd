# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds secrets in QEMU's command lines, URIs and libvirt's XML, and keeps them out of results. Pure."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.kernel_secrets import (
    kernel_secrets,
    secrets_of_parameters,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.secret_names import NO_SECRETS, names_secret
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.url_secrets import secrets_in_urls

COVER = "..."
_SHORTEST = 3
"""Up to this length a secret is replaced only if it is a separate word, so that a message stays readable."""
_MOST = 100
"""With more secrets than this a text is hidden completely: no VM has so many, and each of them takes time."""
_LONGEST_BEGINNING = 300

_USER = (
    re.compile(r"://[^/?#\s]{0,99}?[:%](?=([^@\s]{0,999}))\1@"),
    re.compile(r"://[^/?#\s]{0,99}?[:%]([^/?#\s]{0,999})@"),
    re.compile(r"://[^/?#\s]{0,99}?[:%](?=[^/?#\s]{0,999}@)([^\s]{0,999})@"),
    re.compile(r"://[^/?#\s]{0,99}?[:%]([^/?#@\n]{0,99})@"),
)
"""Text between the user's name and the host of a URI: to the first @, to the last before the path, to the last of all,
and with spaces; libiscsi parts user and password by %."""
_RBD_KEY = re.compile(r"(?<!\\):key=((?:\\.|[^:\\,\"'\s])*)", re.DOTALL)
_PAIR_NAME = re.compile(r"""(?<![A-Za-z0-9._-])([A-Za-z0-9._-]+)\\*["']?\s*[=:]\s*\\*["']?""")
_PAIR_VALUE = re.compile(r"""(?:[^,;:&"'\s}\])\\]|,,|\\[^"'])+""")
_KEY_VALUES = re.compile(r"keyvalue-pairs[\\\"']*\s*[:=]\s*[\\\"']*\[([^\]]*)\]")
"""Names and values in turn, in a text of JSON within JSON: how QEMU writes options of C(rbd:...)."""
_JSON_WORD = re.compile(r"""[^\s,"'\\]+""")
_FORWARDED = re.compile(r"(?:tcp|udp)?:[^:,]{0,99}:[0-9]{1,5}-cmd:((?:[^,]|,,)+)", re.DOTALL)
"""A shell command behind an address of a user network (guestfwd), which may contain anything."""
_PLUG = re.compile(r"\bcmd://((?:[^,]|,,)+)", re.DOTALL)
"""A shell command to which VDE is connected."""
_CREDENTIAL = re.compile(r"io\.systemd\.credential(?:\.binary)?:[^=,]{1,255}=((?:[^,]|,,)+)", re.DOTALL)
"""A credential for the systemd of the guest, in a string of SMBIOS."""
_APPENDED = re.compile(r"""-append[\s=]+("(?:[^"\\]|\\.)*"|'[^']*'|\S+)""", re.DOTALL)
"""Kernel parameters in a whole command line, as a shell reads it."""
_KERNEL_LINE = re.compile(r"io\.systemd\.(?:stub|boot)\.kernel-cmdline-extra=((?:[^,]|,,)+)", re.DOTALL)
"""Kernel parameters in a string of SMBIOS."""
_NET_ROOT = re.compile(r"\b(?:iscsi|nbd|nfs|cifs):[^:@/\s]{0,99}:([^@\s]{1,999})@")
"""Password of the storage from which a kernel boots, after the user's name."""
_CONFIGURATION = re.compile(
    r"(?:.*[/._-])?(?:io\.systemd\.credentials/.*|config|ignition|user-?data|cloud-?init|cloud-?config|kickstart|preseed)"
)
"""Names of files with which a guest configures itself (fw_cfg); they have its passwords and keys."""
_COOKIES = re.compile("<cookie[^>]{0,99}>([^<]*)<")
_DATA = re.compile(r"""\bdata\\*["']?\s*[=:]\s*\\*["']?((?:[^,"'}\s\\]|,,)+)""")
"""Data of a secret object, in text that has one."""


def secrets_in(value: Any) -> Iterator[str]:
    """Return the secrets in keys and values, and in text within values."""
    if isinstance(value, Mapping):
        is_secret = value.get("qom-type") == "secret"
        by_name = _value_of_a_secret_name(value)
        for key, inner in value.items():
            if names_secret(key) or (is_secret and key == "data") or key == by_name:
                yield from _texts(inner)
            else:
                yield from secrets_in(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from secrets_in(inner)
    elif isinstance(value, str):
        yield from _in_text(value)
        # No comma ends a value that has been parsed.
        yield from _free_texts(value.replace(",", ",,"))


def all_secrets_in(given: Any) -> set[str]:
    """Return everything that may be a secret in text that cannot be parsed, or has not been yet; rather too much."""
    if isinstance(given, Mapping):
        return set(secrets_in(given))
    if not isinstance(given, str):
        items = given if isinstance(given, (list, tuple)) else ()
        return {secret for one in items for secret in all_secrets_in(one)}
    result = {value.replace(",,", ",") for value in _secret_values(given)}
    patterns = [_COOKIES, *([_DATA] if "secret" in given else [])]
    result.update(match[1] for pattern in patterns for match in pattern.finditer(given))
    if "-append" in given:
        result.update(secrets_of_parameters(given))
        result.update(secret for line in _APPENDED.findall(given) for secret in kernel_secrets(line))
    texts = {given, given.replace(",,", ","), html.unescape(given)}
    result.update(secret for text in texts for secret in _in_text(text))
    return {secret for secret in result if secret not in NO_SECRETS}


def _value_of_a_secret_name(values: Mapping[str, Any]) -> str:
    """Return the key of a value whose name, which is a value itself, says that it is secret; empty if there is none."""
    name = str(values.get("name", ""))
    if "string" in values:  # -fw_cfg
        return "string" if _CONFIGURATION.fullmatch(name) or names_secret(name.rpartition("/")[2]) else ""
    return "value" if "value" in values and names_secret(values.get("property", "")) else ""


def has_secret(value: Any, text: str) -> bool:
    """Return True if an argument contains a secret; value: its keys and values, empty if it has none."""
    return any(secrets_in(value)) or bool(all_secrets_in(text)) or _runs_a_shell(text)


def _runs_a_shell(text: str) -> bool:
    """Return True for an argument with a shell command, which may contain anything."""
    return text.startswith("exec:")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner)
    elif value not in NO_SECRETS:
        yield str(value)


def _in_text(text: str) -> Iterator[str]:
    bare = text.removeprefix("json:").lstrip()
    if bare.startswith("{"):
        try:
            yield from secrets_in(json.loads(bare))
        except (ValueError, RecursionError):
            yield from _secret_values(bare)
    yield from _free_texts(text)
    yield from (match[1] for pattern in _USER for match in pattern.finditer(text) if match[1])
    if "://" in text:
        yield from secrets_in_urls(text)
    yield from (match[1] for match in _RBD_KEY.finditer(text) if match[1])
    for match in _KEY_VALUES.finditer(text):
        words = _JSON_WORD.findall(match[1])
        yield from (value for name, value in zip(words[::2], words[1::2]) if names_secret(name))


def _secret_values(text: str) -> Iterator[str]:
    """Return the values of secret names, of which one may be within the value of another name."""
    position = 0
    while name := _PAIR_NAME.search(text, position):
        position = name.end()
        value = _PAIR_VALUE.match(text, position) if names_secret(name[1]) else None
        if value:
            yield value[0]
            position = value.end()


def _free_texts(text: str) -> Iterator[str]:
    """Return shell commands, credentials and the like; a comma within them is doubled."""
    for pattern in (_FORWARDED, _PLUG, _CREDENTIAL, _NET_ROOT):
        yield from (match[1].replace(",,", ",") for match in pattern.finditer(text))
    for match in _KERNEL_LINE.finditer(text):
        yield from kernel_secrets(match[1].replace(",,", ","))


def covered(text: str, secrets: Collection[str]) -> str:
    """Hide the secrets in a text, in all spellings, also if they are cut off at its end."""
    if len(secrets) > _MOST:
        return COVER
    spellings = {spelling for secret in secrets for spelling in _spellings(secret) if spelling.strip()}
    for spelling in sorted(spellings, key=len, reverse=True):
        if len(spelling) > _SHORTEST:
            text = _without_beginnings(text.replace(spelling, COVER), spelling)
        else:
            text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(spelling)}(?![A-Za-z0-9])", COVER, text)
    return text


def _without_beginnings(text: str, secret: str) -> str:
    """Hide the beginning of a secret at the end of a text: messages cut long text."""
    *shown, last = text.split(COVER)
    for number, piece in enumerate(shown):
        most = min(len(secret), len(piece), _LONGEST_BEGINNING)
        length = next((n for n in range(most, _SHORTEST, -1) if piece.endswith(secret[:n])), 0)
        shown[number] = piece[: len(piece) - length]
    return COVER.join([*shown, last])


def _spellings(secret: str) -> Iterable[str]:
    """Return the spellings of a text in option lists, URIs, JSON, XML, Ceph's names and Python."""
    yield secret
    for text in dict.fromkeys((secret, unquote(secret), re.sub(r"\\(.)", r"\1", secret, flags=re.DOTALL))):
        yield text
        yield text.replace(",", ",,")
        yield quote(text)
        yield quote(text, safe="")
        yield html.escape(text)
        yield json.dumps(text)[1:-1]
        yield repr(text)[1:-1]
        yield re.sub(r"([:@/\\=])", r"\\\1", text)


def redacted(text: str) -> str:
    """Hide the secrets in a text for people."""
    return covered(text, all_secrets_in(text))
