# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch and check an image.

qemu-image-fetch.py [--resume] [--url-in-config] [--sha256=HEX] [--from=PLACE]... IMAGE URL [CURL OPTION...]

IMAGE appears whole and checked, or not at all. What came before a download broke is kept beside it as IMAGE.part, where
--resume allows to go on from there. Its time and its attributes are what the server says of it, so that another one is
noticed. --from says where it may come from, as scheme://host[:port]; without any, that is wherever the server sends us.
With --url-in-config, a file that a CURL OPTION names brings the whole url, in which a secret is; URL is for messages.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
from collections.abc import Collection, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

# A server that sends nothing for so many seconds has gone.
STALLED = ("--connect-timeout", "30", "--speed-limit", "1", "--speed-time", "60")
# The server cannot go on where the download broke: CURLE_RANGE_ERROR, CURLE_BAD_DOWNLOAD_RESUME (libcurl-errors(3)).
NO_RESUME = (33, 36)
RETRIED = ("--retry", "5", "--retry-connrefused")
# The last line of what curl complains of. It may hold a secret, such as a signature that allows to read the image.
TOLD_URL = ("--write-out", "%{stderr}\\n%{url_effective}\\n")
ETAG, PLACE = "user.directdisk.etag", "user.directdisk.place"
PORTS = {"http": ":80", "https": ":443"}


class Failed(Exception):
    """What is wrong, in one line."""


class Answer(NamedTuple):
    """What came of a request."""

    status: int
    """curl's exit status."""
    problem: str
    """What curl complains of."""
    place: str
    """Scheme, host and port that it came from in the end; empty where curl was killed."""
    etag: str


def place_of(url: str) -> str:
    """Scheme, host and port."""
    pieces = urlsplit(url)
    host = pieces.netloc.rpartition("@")[2].lower()
    return f"{pieces.scheme}://{host.removesuffix(PORTS.get(pieces.scheme, '/'))}"


def sent_on(place: str) -> str:
    return f"it is not there: the server sends us on to {place}; declare that url, or say follow: [{place}]"


def headers_in(text: str) -> dict[str, str]:
    """Those of the last server, where others have sent us on; their names in small letters."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if line.startswith("HTTP/"):
            found = {}
        elif colon:
            found[name.lower()] = value.strip()
    return found


def told_by(stderr: str, status: int) -> tuple[str, str]:
    """What curl complains of, and the place that it was sent to in the end."""
    *words, url = stderr.splitlines() or [""]
    said = [line for line in words if line.startswith("curl:")]
    return (said or [f"curl ended with {status}"])[0], place_of(url) if "://" in url else ""


def fetch(url: str, part: str, options: Sequence[str], begin: Sequence[str]) -> Answer:
    """Have curl fetch the rest of an image; url: empty where the options bring it."""
    command = [
        *begin,
        "curl",
        "--globoff",
        "--fail",
        "--silent",
        "--show-error",
        "--location",
        "--remote-time",
        *STALLED,
        *RETRIED,
    ]
    told = ["--dump-header", "-", *TOLD_URL, "--output", part]
    named = ["--", url] if url else []
    done = subprocess.run(
        [*command, *told, *options, *named], capture_output=True, text=True, errors="replace", check=False
    )
    problem, place = told_by(done.stderr, done.returncode)
    return Answer(done.returncode, problem, place, headers_in(done.stdout).get("etag", ""))


def remember(path: str, name: str, text: str) -> None:
    """An attribute of a file is renamed and removed with it. Not every file system has them."""
    if text:
        with contextlib.suppress(OSError):
            os.setxattr(path, name, text.encode())


def remembered(path: str, name: str) -> str:
    """Empty where nothing is known."""
    try:
        return os.getxattr(path, name).decode()
    except OSError:
        return ""


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
    url: str,
    part: str,
    options: Sequence[str],
    wanted: str,
    *,
    resume: bool,
    places: Collection[str],
    begin: Sequence[str],
    url_in_config: bool,
) -> None:
    """Fetch into ``part``; where an old part does not lead to the wanted image, all is fetched anew."""
    resumed = resume and os.path.exists(part)
    if not resumed:
        remove(part)
    answer = fetch("" if url_in_config else url, part, [*options, *(["--continue-at", "-"] if resumed else [])], begin)
    if places and answer.place not in places and (answer.place or not answer.status):
        remove(part)
        raise Failed(f"{url}: {sent_on(answer.place)}")
    if answer.status and answer.status not in NO_RESUME:
        if not resume:
            remove(part)
        raise Failed(f"{url}: {answer.problem}")
    found = sha256(part) if wanted and not answer.status else ""
    if not answer.status and found == wanted:
        remember(part, ETAG, answer.etag)
        remember(part, PLACE, answer.place)
        return
    remove(part)
    if not resumed:
        raise Failed(f"{url}: its sha256 is {found}, and {wanted} is declared; nothing was kept")
    fetch_checked(url, part, options, wanted, resume=False, places=places, begin=begin, url_in_config=url_in_config)


def fetch_image(
    image: str,
    url: str,
    options: Sequence[str],
    *,
    wanted: str = "",
    resume: bool = False,
    places: Collection[str] = (),
    begin: Sequence[str] = (),
    url_in_config: bool = False,
) -> None:
    """wanted: its sha256; places: that it may come from, or anywhere; begin: of the command that becomes curl.

    url_in_config: whether the options bring the whole url, and url is for messages alone.
    """
    part = f"{image}.part"
    fetch_checked(url, part, options, wanted, resume=resume, places=places, begin=begin, url_in_config=url_in_config)
    if not os.path.exists(part) or not os.path.getsize(part):
        remove(part)
        raise Failed(f"{url}: the server sent nothing")
    with open(part, "rb") as stream:
        os.fsync(stream.fileno())
    os.chmod(part, 0o444)
    os.rename(part, image)


def main(arguments: list[str]) -> None:
    resume, url_in_config, wanted, places = False, False, "", list[str]()
    while arguments[0].startswith("--"):
        option, _equals, value = arguments.pop(0).partition("=")
        if option == "--from":
            places.append(value)
        elif option == "--sha256":
            wanted = value
        elif option == "--url-in-config":
            url_in_config = True
        else:
            resume = True
    image, url, *options = arguments
    try:
        fetch_image(image, url, options, wanted=wanted, resume=resume, places=places, url_in_config=url_in_config)
    except Failed as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main(sys.argv[1:])
