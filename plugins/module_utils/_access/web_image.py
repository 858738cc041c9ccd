# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# pylint: disable=ansible-bad-function
"""Asks a server about an image with curl, with the same options as the download."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import IO

from ansible_collections.directdisk.qemu.plugins.module_utils._access.image_header import HEAD
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import run_bounded
from ansible_collections.directdisk.qemu.plugins.module_utils._programs.image_fetch import (
    HOPS,
    LONGEST,
    LONGEST_HEADERS,
    TOLD_URL,
    URL_ON_STDIN,
    Failed,
    headers_in,
    next_hop,
    place_of,
    told_by,
    url_config,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._routes import stage

_MARGIN = 10.0
"""Seconds beyond its own time limit that curl gets to begin."""
_LENGTH = re.compile("[0-9]{1,19}")
"""Lengths that are numbers of bytes."""
_PRELIMINARY = (b"HTTP/1.0 1", b"HTTP/1.1 1", b"HTTP/2 1", b"HTTP/3 1")


@dataclass(frozen=True)
class ServerAnswer:
    """Answer of a server; fields that it does not send are empty."""

    etag: str = ""
    last_modified: str = ""
    length: int | None = None
    place: str = ""
    """Scheme, host and port of the last redirect."""
    head: bytes = b""
    """First bytes of the image, if they were part of the answer."""

    @property
    def time(self) -> int | None:
        """Time of the last change, in seconds since 1970."""
        try:
            return int(parsedate_to_datetime(self.last_modified).timestamp()) if self.last_modified else None
        except (TypeError, ValueError, OverflowError):
            return None


def ask(disk: Disk, resources: UnitResources, *, seconds: float, begin: Sequence[str]) -> ServerAnswer:
    """Ask the server for the image of a disk. A web server may answer HEAD differently, so GET is used.

    begin: the command that confines curl.
    """
    download = stage.download_of(disk)
    if download.says:
        return _get(disk, resources, seconds, begin)
    place = place_of(download.url)
    if not download.resumes:
        return ServerAnswer(place=place)
    done = run_bounded(
        [*begin, *_curl(disk, seconds), "--head", *_curl_options(disk, resources), *stage.url_arguments(download)],
        seconds=seconds + _MARGIN,
        most=LONGEST_HEADERS,
    )
    if done.returncode:
        raise HostError(told_by(done.stderr, done.returncode)[0])
    return _read(done.stdout, place)


def read_head(disk: Disk, resources: UnitResources, *, seconds: float, begin: Sequence[str]) -> bytes:
    """Read the first bytes of an image from a server that sends no headers."""
    return _get(disk, resources, seconds, begin).head


def _get(disk: Disk, resources: UnitResources, seconds: float, begin: Sequence[str]) -> ServerAnswer:
    """Ask the server, and follow allowed redirects."""
    download, places = stage.download_of(disk), stage.places_of(disk)
    ranged = ("--range", f"0-{HEAD - 1}") if download.resumes else ()
    url, options = download.url, [*ranged, *_curl_options(disk, resources)]
    answer, sent_to = _get_at([*begin, *_curl(disk, seconds), *options, *stage.url_arguments(download)])
    own_url = download.url_is_secret
    try:
        for _hop in range(HOPS):
            if not sent_to:
                return answer
            options, url = next_hop(url, sent_to, options, places, own_url=own_url), sent_to
            answer, sent_to = _get_at([*begin, *_curl(disk, seconds), *options, *URL_ON_STDIN], url_config(url))
            own_url = False
    except Failed as error:
        raise HostError(str(error)) from None
    raise HostError("too many redirects")


def _get_at(command: Sequence[str], stdin: str = "") -> tuple[ServerAnswer, str]:
    """Ask one server; returns its answer and the redirect. If it cannot send a range, reading stops after that part.

    stdin: standard input of curl.
    """
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise AssertionError
        process.stdin.write(stdin.encode())
        process.stdin.close()
        text, head = _split(process.stdout, headers="--include" in command)
        process.stdout.close()
        message = process.stderr.read(LONGEST).decode(errors="replace")
    problem, place, sent_to = told_by(message, process.returncode)
    if sent_to or head:
        return _read(text, place, head), sent_to
    raise HostError(problem if process.returncode else "the server sent nothing")


def _split(stream: IO[bytes], *, headers: bool) -> tuple[str, bytes]:
    """Split an answer into its headers and first bytes."""
    if not headers:
        return "", stream.read(HEAD)
    text = bytearray()
    while line := stream.readline(LONGEST_HEADERS):
        text += line
        if len(text) > LONGEST_HEADERS:
            raise HostError(f"the server sends more than {LONGEST_HEADERS} bytes of headers")
        # A server may send interim responses first (RFC 9110, 15.2).
        if not line.strip() and not text.startswith(_PRELIMINARY):
            return text.decode(errors="replace"), stream.read(HEAD)
        if not line.strip():
            text.clear()
    return text.decode(errors="replace"), b""


def _read(text: str, place: str, head: bytes = b"") -> ServerAnswer:
    """Read headers; those of a range contain the whole length."""
    headers = headers_in(text)
    length = headers.get("content-range", "").rpartition("/")[2] or headers.get("content-length", "")
    return ServerAnswer(
        headers.get("etag", ""),
        headers.get("last-modified", ""),
        int(length) if _LENGTH.fullmatch(length) else None,
        place,
        head,
    )


def _curl(disk: Disk, seconds: float) -> list[str]:
    limits = ("--connect-timeout", f"{seconds:.0f}", "--max-time", f"{seconds:.0f}")
    download = stage.download_of(disk)
    part = ("--include", "--suppress-connect-headers") if download.says else ()
    return ["curl", "--globoff", "--fail", "--silent", "--show-error", *TOLD_URL, *limits, *part]


def _curl_options(disk: Disk, resources: UnitResources) -> list[str]:
    return [word for words in stage.curl_options(stage.download_of(disk), resources) for word in words]
