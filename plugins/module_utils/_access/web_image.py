# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server says of an image before it is read: by curl, with the options that fetch it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import IO

from ansible_collections.directdisk.qemu.plugins.module_utils._access.image_header import HEAD
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._programs.image_fetch import (
    HOPS,
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

_LONGEST = 1 << 18
"""Bytes of the longest headers."""
_PRELIMINARY = (b"HTTP/1.0 1", b"HTTP/1.1 1", b"HTTP/2 1", b"HTTP/3 1")


@dataclass(frozen=True)
class Said:
    """What a server says; empty where it does not."""

    etag: str = ""
    last_modified: str = ""
    length: int | None = None
    place: str = ""
    """Scheme, host and port that the image is really read from."""
    head: bytes = b""
    """Its first bytes, where they came along."""

    @property
    def time(self) -> int | None:
        """Of its last change, in seconds since 1970."""
        try:
            return int(parsedate_to_datetime(self.last_modified).timestamp()) if self.last_modified else None
        except (TypeError, ValueError):
            return None


def ask(disk: Disk, resources: UnitResources, *, seconds: float, begin: Sequence[str]) -> Said:
    """What the server says of the image of a disk. A web server may answer HEAD as it likes: GET is what counts.

    begin: the command that confines curl.
    """
    download = stage.download_of(disk)
    if download.says:
        return _get(disk, resources, seconds, begin)
    place = place_of(download.url)
    if not download.resumes:
        return Said(place=place)
    done = subprocess.run(
        [*begin, *_curl(disk, seconds), "--head", *_given(disk, resources), *stage.url_arguments(download)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise HostError(told_by(done.stderr, done.returncode)[0])
    return _read(done.stdout, place)


def read_head(disk: Disk, resources: UnitResources, *, seconds: float, begin: Sequence[str]) -> bytes:
    """The first bytes of an image of which a server says nothing by itself."""
    return _get(disk, resources, seconds, begin).head


def _get(disk: Disk, resources: UnitResources, seconds: float, begin: Sequence[str]) -> Said:
    """Ask wherever servers send us on to, as far as we may."""
    download, places = stage.download_of(disk), stage.places_of(disk)
    ranged = ("--range", f"0-{HEAD - 1}") if download.resumes else ()
    url, options = download.url, [*ranged, *_given(disk, resources)]
    said, sent_to = _get_at([*begin, *_curl(disk, seconds), *options, *stage.url_arguments(download)])
    own_url = download.url_is_secret
    try:
        for _hop in range(HOPS):
            if not sent_to:
                return said
            options, url = next_hop(url, sent_to, options, places, own_url=own_url), sent_to
            said, sent_to = _get_at([*begin, *_curl(disk, seconds), *options, *URL_ON_STDIN], url_config(url))
            own_url = False
    except Failed as error:
        raise HostError(str(error)) from None
    raise HostError("the servers send us on and on")


def _get_at(command: Sequence[str], given: str = "") -> tuple[Said, str]:
    """What one server says, and where it sends us on to. One that cannot send a part is left when it has sent that.

    given: curl's standard input.
    """
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise AssertionError
        process.stdin.write(given.encode())
        process.stdin.close()
        text, head = _split(process.stdout, headers="--include" in command)
        process.stdout.close()
        words = process.stderr.read().decode(errors="replace")
    problem, place, sent_to = told_by(words, process.returncode)
    if sent_to or head:
        return _read(text, place, head), sent_to
    raise HostError(problem if process.returncode else "the server sent nothing")


def _split(stream: IO[bytes], *, headers: bool) -> tuple[str, bytes]:
    """The headers of an answer, and its first bytes."""
    if not headers:
        return "", stream.read(HEAD)
    text = bytearray()
    while line := stream.readline(_LONGEST):
        text += line
        if len(text) > _LONGEST:
            raise HostError(f"the server sends more than {_LONGEST} bytes of headers")
        # Before the answer itself a server may send others (RFC 9110, 15.2).
        if not line.strip() and not text.startswith(_PRELIMINARY):
            return text.decode(errors="replace"), stream.read(HEAD)
        if not line.strip():
            text.clear()
    return text.decode(errors="replace"), b""


def _read(text: str, place: str, head: bytes = b"") -> Said:
    """From headers; of a part they say how long the whole is."""
    found = headers_in(text)
    length = found.get("content-range", "").rpartition("/")[2] or found.get("content-length", "")
    return Said(
        found.get("etag", ""),
        found.get("last-modified", ""),
        int(length) if length.isdigit() else None,
        place,
        head,
    )


def _curl(disk: Disk, seconds: float) -> list[str]:
    limits = ("--connect-timeout", f"{seconds:.0f}", "--max-time", f"{seconds:.0f}")
    download = stage.download_of(disk)
    part = ("--include", "--suppress-connect-headers") if download.says else ()
    return ["curl", "--globoff", "--fail", "--silent", "--show-error", *TOLD_URL, *limits, *part]


def _given(disk: Disk, resources: UnitResources) -> list[str]:
    return [word for words in stage.curl_options(stage.download_of(disk), resources) for word in words]
