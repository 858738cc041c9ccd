# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds secrets in kernel command lines: for initramfs, installers, cloud-init, systemd and others. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.secret_names import NO_SECRETS, names_secret
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.url_secrets import secrets_in_urls

_NAME = re.compile(
    r"netcfg/wireless_w(?:ep|pa)|wlankey.*|(?:.*[._-])?reg(?:istration)?[._-]?code|"
    # These contain a shell command or a whole configuration, and so anything.
    r"systemd\.run|ocs_\w*run\d*|(?:preseed|partman)/(?:early|late)_command|talos\.config\.inline",
    re.IGNORECASE,
)
"""Parameters with a secret whose names do not say so."""
_AUTH = re.compile(r"(?:.*[._-])?(?:http|basic|proxy)?[._-]?auth", re.IGNORECASE)
_AUTH_METHODS = re.compile(
    r"any|auto|sys|(?:ms)?chap(?:v2)?|pap|basic|digest|negotiate|krb5[ip]?|open|shared", re.IGNORECASE
)
"""Values of C(auth) that tell the method only."""
_FOLLOWED = re.compile(r"-*(?:[\w.-]*(?:password|passwd|passphrase|token)|(?:root|ssh|user)pw)", re.IGNORECASE)
"""Words of kickstart and of programs before a secret; options may stand between."""
_PARAMETER = re.compile(r"[A-Za-z_][\w./-]*=[^=]")
_PIECES = (
    re.compile(r"^rbd(?:root)?=.*:([A-Za-z0-9+/]{16,}={0,2}):", re.IGNORECASE),
    re.compile(r"^dm-mod\.create=.*\bcrypt \S+ ([^\s:]\S*)"),
    re.compile(r"^\w*proxy=[^:/@\s]{1,99}:([^@\s]{1,999})@", re.IGNORECASE),
    re.compile(r"\b(?:bearer|basic) +([\w+/=.~-]{6,})", re.IGNORECASE),
    re.compile(r"^systemd\.set[_-]credential(?:[_-]binary)?=[^:]{1,255}:(.+)", re.DOTALL),
)
"""Secrets within the value of a parameter: keys of Ceph and dm-crypt, passwords of proxies, headers, credentials."""
_CLOUD_CONFIG = re.compile(r"\bcc:(.*?)(?:end_cc|$)", re.DOTALL)
"""A configuration for cloud-init, which may be encoded as in a URL."""
_CLOUD_SECRET = re.compile(r"passw|passphrase|token|secret|private|_key\b", re.IGNORECASE)
_READS_SECRET = r"(?:\S{0,99}/)?(?:(?:ch|smb)?passwd|cryptsetup)\b"
_GIVEN = (
    re.compile(rf"\b(?:echo|printf)\s+([^|;&]{{1,999}})\|\s*{_READS_SECRET}"),
    re.compile(rf"{_READS_SECRET}[^|;&<]{{0,999}}<<<?\s*([^|;&]{{1,999}})"),
)
"""Text that a shell gives to a program that reads passwords, and accounts with theirs, from standard input."""
_OPTION = re.compile(r"-{1,2}[A-Za-z]")
_ATTACHED = re.compile(r"-[A-Za-z]([^-=].*)")
_WORD = re.compile(r'(?:"[^"]*"?|[^\s"])+')


def kernel_secrets(line: str) -> Iterator[str]:
    """Return the secrets of a kernel command line."""
    yield from secrets_of_parameters(line)
    yield from _after_options(line)
    yield from _given_to_programs(line)


def _given_to_programs(line: str) -> Iterator[str]:
    """Return passwords, and what stands behind the name of an account."""
    for pattern in _GIVEN:
        for text in pattern.findall(line):
            words = [word for word in re.split(r"\\n|[\s\"']+", text) if word and not _OPTION.match(word)]
            yield from (word.partition(":")[2] or word for word in words)


def _after_options(line: str) -> Iterator[str]:
    """Return what follows options such as C(-p): the kernel has none, so a program gets them, which may be any."""
    is_value = False
    for word in re.split(r"[\s\"']+", line):
        attached = _ATTACHED.fullmatch(word)
        if _OPTION.match(word):
            is_value = True
            if attached:
                yield attached[1]
        elif is_value and word:
            if not _PARAMETER.match(word):
                yield word
            # A header has its value after a space.
            is_value = word.endswith(":")


def secrets_of_parameters(line: str) -> Iterator[str]:
    """Return the secrets of a kernel command line that are not after an option of a program."""
    configurations = [text.strip() for text in _CLOUD_CONFIG.findall(line)]
    yield from (text for text in configurations if _CLOUD_SECRET.search(unquote(text)))
    # A pair of quotes encloses a value, or a parameter with its name (lib/cmdline.c).
    words = [word.replace('"', "").strip("'") for word in _WORD.findall(line)]
    for word in words:
        yield from (match[1] for pattern in _PIECES for match in pattern.finditer(word))
        yield from secrets_in_urls(word) if "?" in word or "://" in word else ()
        # There may be options within a value: in rootflags=, ds=, systemd.setenv= and in URLs.
        yield from (value for piece in (word, *re.split("[,;&?]", word)) for value in _value_in(piece))
    yield from _after_names(words)


def _value_in(piece: str) -> Iterator[str]:
    """Return the value after the first name of a secret in C(name=value) or C(name=name=value)."""
    *names, _last = piece.split("=")
    end = 0
    for name in names:
        end += len(name) + 1
        if _names_secret(name):
            value = piece[end:]
            if value.lower() not in NO_SECRETS and not (_AUTH.fullmatch(name) and _AUTH_METHODS.fullmatch(value)):
                yield value
            return


def _names_secret(name: str) -> bool:
    return names_secret(name.rpartition("/")[2]) or any(table.fullmatch(name) for table in (_NAME, _AUTH))


def _after_names(words: list[str]) -> Iterator[str]:
    """Return the words that follow the name of a secret."""
    expected = False
    for word in words:
        if expected and re.match(r"[^\W-]|[^-\w].*\w", word):
            expected = False
            if not _PARAMETER.match(word):
                yield word
        elif _FOLLOWED.fullmatch(word):
            expected = True
