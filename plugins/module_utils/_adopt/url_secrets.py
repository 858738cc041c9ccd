# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds secrets in the parameters of URLs, such as signatures. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.uris import (
    SECRET_PARAMETER,
    is_bare_token,
    is_token,
)

_NO_URL = re.compile(r"[\s\"'<>]+")
_PARAMETER = re.compile(r"(?:^|;)([^=;]{1,99})=")
_IN_PATH = re.compile(
    r"/(?:[\w.-]{0,99}token|signature|sig|secret|jwt|(?:api|access|auth)[._-]?key)[/=]([^/\s]{1,999})", re.IGNORECASE
)
"""A part of a path after one that names it; it counts if it looks random, too."""
_JWT = re.compile(r"/(eyJ[\w-]{10,999}\.[\w-]{1,9999}\.[\w-]{1,999})")
"""A JSON Web Token as a part of a path."""


def secrets_in_urls(text: str) -> Iterator[str]:
    """Return the values of secret parameters of URLs and their paths; a semicolon parts parameters or is in a value."""
    for url in _NO_URL.split(text):
        for number, part in enumerate(re.split("[?&#]", url)):
            if not number:
                yield from filter(is_token, _IN_PATH.findall(part))
                yield from _JWT.findall(part)
            names = (name for name in _PARAMETER.finditer(part) if SECRET_PARAMETER.fullmatch(name[1]))
            if number and is_bare_token(part):
                yield part
            first = next(names, None)
            if first and part[first.end() :]:
                yield part[first.end() :]
                yield part[first.end() :].partition(";")[0]
            values = (piece.partition("=")[2] for piece in part.split(";")) if number else ()
            yield from filter(is_token, values)
