# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server says of an image before it is read: by curl, with the options that fetch it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from ansible_collections.directdisk.qemu.plugins.module_utils import _uri
from ansible_collections.directdisk.qemu.plugins.module_utils._disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._routes import stage
from ansible_collections.directdisk.qemu.plugins.module_utils._storage_daemon import UNTIL_OUR_END
from ansible_collections.directdisk.qemu.plugins.module_utils._wiring import Wiring

_NO_HEAD = re.compile("returned error: (405|501)")
"""A server that answers no such question is asked nothing."""


@dataclass(frozen=True)
class Said:
    """What a server says; empty where it does not."""

    etag: str = ""
    last_modified: str = ""
    length: int | None = None
    place: str = ""
    """Scheme, host and port that the image is really read from."""

    @property
    def time(self) -> int | None:
        """Of its last change, in seconds since 1970."""
        try:
            return int(parsedate_to_datetime(self.last_modified).timestamp()) if self.last_modified else None
        except (TypeError, ValueError):
            return None


def place_of(url: str) -> str:
    """Scheme, host and port."""
    pieces = _uri.split(url)
    port = pieces.port if pieces.port != {"http": 80, "https": 443}.get(pieces.scheme) else None
    return f"{pieces.scheme}://{_uri.host_of(pieces).lower()}{f':{port}' if port else ''}"


def ask(disk: Disk, wiring: Wiring, *, seconds: float) -> Said:
    """What the server says of the image of a disk."""
    download = stage.download_of(disk)
    if not download.resumes:
        return Said(place=place_of(download.url))
    command = _curl(disk, wiring, seconds, "--head", "--write-out", "\\n%{url_effective}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and _NO_HEAD.search(done.stderr):
        return Said(place=place_of(download.url))
    if done.returncode:
        raise HostError(done.stderr.strip() or f"curl ended with {done.returncode}")
    headers, _newline, url = done.stdout.rpartition("\n")
    return _read(headers, place_of(url))


def _read(text: str, place: str) -> Said:
    """The answer of the last server, where others have sent us on."""
    last = re.split(r"\r?\n\r?\n", text.strip())[-1]
    found = {}
    for line in last.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            found[name.strip().lower()] = value.strip()
    length = found.get("content-length", "")
    return Said(
        found.get("etag", ""),
        found.get("last-modified", ""),
        int(length) if length.isdigit() else None,
        place,
    )


def read_head(disk: Disk, wiring: Wiring, length: int, *, seconds: float) -> bytes:
    """The first bytes of an image; a server that cannot send a part is left when it has sent them."""
    ranged = ("--range", f"0-{length - 1}") if stage.download_of(disk).resumes else ()
    process = subprocess.Popen(
        _curl(disk, wiring, seconds, *ranged), stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )
    if process.stdout is None:
        raise AssertionError
    head = b""
    while len(head) < length and (data := process.stdout.read(length - len(head))):
        head += data
    if not head:
        words = process.communicate()[1].decode(errors="replace").strip()
        raise HostError(words or "the server sent nothing")
    process.kill()
    process.communicate()
    return head


def _curl(disk: Disk, wiring: Wiring, seconds: float, *options: str) -> Sequence[str]:
    download = stage.download_of(disk)
    limits = ("--connect-timeout", f"{seconds:.0f}", "--max-time", f"{seconds:.0f}")
    given = [word for words in stage.curl_options(download, wiring) for word in words]
    own = ("--fail", "--silent", "--show-error", "--location")
    return [*UNTIL_OUR_END, "curl", *own, *limits, *given, *options, "--", download.url]
