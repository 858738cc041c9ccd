# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""qemu-image-fetch.py [--resume] [--sha256=HEX] IMAGE URL [CURL OPTION...]: fetch, check and put in place an image.

IMAGE appears whole and checked, or not at all. What came before a download broke is kept beside it as IMAGE.part, where
--resume allows to go on from there. Its time is what the server says of it, so that a newer one is noticed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence

# A server that sends nothing for so many seconds has gone.
STALLED = ("--connect-timeout", "30", "--speed-limit", "1", "--speed-time", "60")
# The server cannot go on where the download broke: CURLE_RANGE_ERROR, CURLE_BAD_DOWNLOAD_RESUME (libcurl-errors(3)).
NO_RESUME = (33, 36)
RETRIED = ("--retry", "5", "--retry-connrefused")


class Failed(Exception):
    """What is wrong, in one line."""


def fetch(url: str, part: str, options: Sequence[str], begin: Sequence[str]) -> tuple[int, str]:
    """Have curl fetch the rest of an image; returns its exit status, and what it complains of."""
    command = [*begin, "curl", "--fail", "--silent", "--show-error", "--location", "--remote-time", *STALLED, *RETRIED]
    done = subprocess.run(
        [*command, "--output", part, *options, "--", url], stderr=subprocess.PIPE, text=True, check=False
    )
    words = [line for line in done.stderr.splitlines() if line.startswith("curl:")]
    return done.returncode, (words or [f"curl ended with {done.returncode}"])[0]


def sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def fetch_checked(
    url: str, part: str, options: Sequence[str], wanted: str, *, resume: bool, begin: Sequence[str]
) -> None:
    """Fetch into ``part``; where an old part does not lead to the wanted image, all is fetched anew."""
    resumed = resume and os.path.exists(part)
    if not resumed:
        remove(part)
    status, problem = fetch(url, part, [*options, *(["--continue-at", "-"] if resumed else [])], begin)
    if status and status not in NO_RESUME:
        if not resume:
            remove(part)
        raise Failed(f"{url}: {problem}")
    found = sha256(part) if wanted and not status else ""
    if not status and found == wanted:
        return
    remove(part)
    if not resumed:
        raise Failed(f"{url}: its sha256 is {found}, and {wanted} is declared; nothing was kept")
    fetch_checked(url, part, options, wanted, resume=False, begin=begin)


def fetch_image(
    image: str, url: str, options: Sequence[str], *, wanted: str = "", resume: bool = False, begin: Sequence[str] = ()
) -> None:
    """wanted: its sha256; begin: of the command that becomes curl."""
    part = f"{image}.part"
    fetch_checked(url, part, options, wanted, resume=resume, begin=begin)
    if not os.path.exists(part) or not os.path.getsize(part):
        remove(part)
        raise Failed(f"{url}: the server sent nothing")
    with open(part, "rb") as stream:
        os.fsync(stream.fileno())
    os.chmod(part, 0o444)
    os.rename(part, image)


def main(arguments: list[str]) -> None:
    resume, wanted = False, ""
    while arguments[0].startswith("--"):
        option, _equals, value = arguments.pop(0).partition("=")
        resume, wanted = (True, wanted) if option == "--resume" else (resume, value)
    image, url, *options = arguments
    try:
        fetch_image(image, url, options, wanted=wanted, resume=resume)
    except Failed as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main(sys.argv[1:])
