# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server says of an image before it is read: by curl, with the options that fetch it."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from ansible_collections.directdisk.qemu.plugins.module_utils._disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._header import HEAD
from ansible_collections.directdisk.qemu.plugins.module_utils._programs.image_fetch import (
    TOLD_URL,
    headers_in,
    place_of,
    told_by,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._routes import stage
from ansible_collections.directdisk.qemu.plugins.module_utils._storage_daemon import UNTIL_OUR_END
from ansible_collections.directdisk.qemu.plugins.module_utils._wiring import Wiring


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


def ask(disk: Disk, wiring: Wiring, *, seconds: float) -> Said:
    """What the server says of the image of a disk. A web server may answer HEAD as it likes: GET is what counts."""
    download = stage.download_of(disk)
    if download.says:
        return _get(disk, wiring, seconds)
    place = place_of(download.url)
    if not download.resumes:
        return Said(place=place)
    done = subprocess.run(
        [*_curl(disk, wiring, seconds), "--head", *stage.url_arguments(download)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise HostError(told_by(done.stderr, done.returncode)[0])
    return _read(done.stdout, place)


def read_head(disk: Disk, wiring: Wiring, *, seconds: float) -> bytes:
    """The first bytes of an image of which a server says nothing by itself."""
    return _get(disk, wiring, seconds).head


def _get(disk: Disk, wiring: Wiring, seconds: float) -> Said:
    """A server that cannot send a part is left when it has sent that."""
    download = stage.download_of(disk)
    ranged = ("--range", f"0-{HEAD - 1}") if download.resumes else ()
    with tempfile.TemporaryFile() as headers:
        number = headers.fileno()
        dump = ("--dump-header", f"/dev/fd/{number}")
        command = [*_curl(disk, wiring, seconds), *dump, *ranged, *stage.url_arguments(download)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=[number], text=False
        ) as process:
            if process.stdout is None or process.stderr is None:
                raise AssertionError
            head = process.stdout.read(HEAD)
            process.stdout.close()
            words = process.stderr.read().decode(errors="replace")
        headers.seek(0)
        text = headers.read().decode(errors="replace")
    problem, place = told_by(words, process.returncode)
    if not head:
        raise HostError(problem if process.returncode else "the server sent nothing")
    return _read(text, place, head)


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


def _curl(disk: Disk, wiring: Wiring, seconds: float) -> list[str]:
    limits = ("--connect-timeout", f"{seconds:.0f}", "--max-time", f"{seconds:.0f}")
    given = [word for words in stage.curl_options(stage.download_of(disk), wiring) for word in words]
    own = ("--globoff", "--fail", "--silent", "--show-error", "--location", *TOLD_URL)
    return [*UNTIL_OUR_END, "curl", *own, *limits, *given]
