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


def secrets_in_urls(text: str) -> Iterator[str]:
    """Return the values of secret parameters of URLs and their paths; a semicolon parts parameters or is in a value."""
    for url in _NO_URL.split(text):
        for number, part in enumerate(re.split("[?&#]", url)):
            names = (name for name in _PARAMETER.finditer(part) if SECRET_PARAMETER.fullmatch(name[1]))
            if number and is_bare_token(part):
                yield part
            first = next(names, None)
            if first and part[first.end() :]:
                yield part[first.end() :]
                yield part[first.end() :].partition(";")[0]
            values = (piece.partition("=")[2] for piece in part.split(";")) if number else ()
            yield from filter(is_token, values)
