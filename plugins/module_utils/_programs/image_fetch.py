# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# pylint: disable=ansible-bad-function
"""qemu-image-fetch.py [OPTION...] IMAGE URL [CURL OPTION...]

Fetch and check an image. OPTION: --resume --url-in-config --sha256=HEX --max-size=BYTES --from=PLACE.
With --ask=ABOUT [--any-port] and without IMAGE, ask only if the server redirects to a place that is not allowed.

IMAGE appears whole and checked, or not at all. What came before a download broke is kept beside it as IMAGE.part, where
--resume allows to go on from there. Its time and its attributes are what the server says of it, so that another one is
noticed. --from says where it may come from, as scheme://host[:port]; without any, that is the url's own server alone.
What curl is told by --config belongs to the url's own server: no other server gets it. No more than BYTES are kept.
With --any-port, other ports of an allowed host are allowed, too. Errors begin with ABOUT.
With --url-in-config, a file that --config names brings the whole url, in which a secret is; URL is for messages.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import IO, NamedTuple, cast
from urllib.parse import urljoin, urlsplit, urlunsplit

# A server that sends less than so many bytes a second, for so many seconds, is as good as gone.
STALLED = ("--connect-timeout", "30", "--speed-limit", "4096", "--speed-time", "30")
# The server cannot go on where the download broke: CURLE_RANGE_ERROR, CURLE_BAD_DOWNLOAD_RESUME (libcurl-errors(3)).
NO_RESUME = (33, 36)
# What curl ends with where the server says so (CURLE_FILESIZE_EXCEEDED), and where it sends more than it has announced.
TOO_LARGE = (63, -signal.SIGXFSZ)
URL_ON_STDIN = ("--config", "-")
MAX_SIZE = 64 << 30
TOO_MUCH = "which max_size or nine tenths of the free space allow; make room, or declare a larger max_size"
# After 1, 2, 4 and 8 s: a server that is down is reported within the default start_timeout (30 s).
RETRIED = ("--retry", "4", "--retry-connrefused")
# The last lines of what curl says. They may hold a secret, such as a signature that allows to read the image.
TOLD_URL = ("--write-out", "%{stderr}\\n%{url_effective}\\n%{redirect_url}\\n")
# Begins curl's settings for the url's own server: passwords, cookies.
CREDENTIALS = "--config"
HOPS = 10
LONGEST_HEADERS, LONGEST = 1 << 18, 1 << 20  # bytes of the headers of a response, and of messages
# Asks for one byte; a server that sends all of it is cut off.
ASKED = (
    *("--globoff", "--silent", "--output", "/dev/null", "--range", "0-0"),
    *("--max-time", "10", "--max-filesize", "4096"),
)
SIZE = re.compile("fetches ([0-9]+) bytes")
"""The status that systemd gets of a download whose size the server has told."""
ETAG, PLACE = "user.directdisk.etag", "user.directdisk.place"
PORTS = {"http": ":80", "https": ":443"}


class Failed(Exception):
    """An error for the user, in one line."""


class Answer(NamedTuple):
    """The result of a request."""

    status: int  # curl's exit status
    problem: str  # curl's error message
    place: str  # scheme, host and port of the server; empty if curl was killed
    etag: str
    sent_to: str  # the url of a redirect; empty if there is none


def place_of(url: str) -> str:
    """Return scheme, host and port; empty if it is not a url."""
    try:
        pieces = urlsplit(url)
    except ValueError:
        return ""
    host = pieces.netloc.rpartition("@")[2].lower()
    return f"{pieces.scheme}://{host.removesuffix(PORTS.get(pieces.scheme, '/'))}"


def sent_on(place: str) -> str:
    return f"it is not there: the server sends us on to {place}; declare that url, or set follow: [{place}]"


def headers_in(text: str) -> dict[str, str]:
    """Return the headers of the last server after redirects, with lower-case names."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if line.startswith("HTTP/"):
            found = {}
        elif colon:
            found[name.lower()] = value.strip()
    return found


def told_by(stderr: str, status: int) -> tuple[str, str, str]:
    """Return curl's error message, the server, and the url of a redirect."""
    *words, url, sent_to = stderr.splitlines() if stderr.count("\n") > 1 else ["", ""]
    messages = [line for line in words or stderr.splitlines() if line.startswith("curl:")]
    return (messages or [f"curl ended with {status}"])[0], place_of(url) if "://" in url else "", sent_to


def own_credentials(options: Sequence[str], *, leave: bool) -> list[str]:
    """Return curl's options, without those for the url's own server if a redirect leaves it."""
    places = [number for number, word in enumerate(options) if leave and word == CREDENTIALS]
    return [word for number, word in enumerate(options) if number not in places and number - 1 not in places]


def next_hop(url: str, sent_to: str, options: Sequence[str], places: Collection[str], *, own_url: bool) -> list[str]:
    """Return curl's options for the url of a redirect; raise Failed if it is not allowed.

    own_url: if the options bring the url that was left, too.
    """
    place = place_of(sent_to)
    if place not in (places or (place_of(url),)):
        raise Failed(sent_on(place))
    return own_credentials(options, leave=own_url or place != place_of(url))


def url_config(url: str) -> str:
    """Return curl's configuration for a url: the url of a redirect may be signed, and a command line is public."""
    escapes = str.maketrans({"\\": "\\\\", '"': '\\"'})
    return f'url = "{url.translate(escapes)}"\n'


def fetch(
    named: Sequence[str], part: str, options: Sequence[str], begin: Sequence[str], most: int, given: str = ""
) -> Answer:
    """Have curl fetch the rest of an image; named: its arguments for the url; most: bytes; given: standard input."""
    # What is sent without an end ends the program that writes it.
    limited = [*begin, "prlimit", f"--fsize={most}", "--core=0", "--", "curl", "--max-filesize", str(most)]
    command = [*limited, "--globoff", "--fail", "--silent", "--show-error", "--remote-time", *STALLED, *RETRIED]
    told = ["--dump-header", "-", *TOLD_URL, "--output", part]
    pipe, response = subprocess.PIPE, ""
    with subprocess.Popen(
        [*command, *told, *options, *named], stdin=pipe, stdout=pipe, stderr=pipe, text=True, errors="replace"
    ) as curl:
        to_curl, headers, errors = (cast("IO[str]", one) for one in (curl.stdin, curl.stdout, curl.stderr))
        with contextlib.suppress(BrokenPipeError), to_curl:
            to_curl.write(given)
        while line := headers.readline(LONGEST_HEADERS):
            # Those of earlier responses, which a server may send without an end, do not count (RFC 9110, 15.2).
            response = line if line.startswith("HTTP/") else response + line
            if len(response) > LONGEST_HEADERS:
                curl.kill()
                raise Failed(f"the server sends more than {LONGEST_HEADERS} bytes of headers")
            if not line.strip():
                tell_size(headers_in(response))
        stderr = errors.read(LONGEST)
    problem, place, sent_to = told_by(stderr, curl.returncode)
    if curl.returncode in TOO_LARGE:
        problem = f"the server sends more than {most} bytes, {TOO_MUCH}"
    return Answer(curl.returncode, problem, place, headers_in(response).get("etag", ""), sent_to)


def tell_size(headers: Mapping[str, str]) -> None:
    """Tell systemd the size of the image: for people, and for a run that shows the progress of the download."""
    size = headers.get("content-range", "").rpartition("/")[2] or headers.get("content-length", "")
    address = os.environ.get("NOTIFY_SOCKET", "")
    if re.fullmatch("[0-9]{1,19}", size) and address:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.sendto(f"STATUS=fetches {size} bytes".encode(), address.replace("@", "\0", 1))


def fetch_from(
    url: str,
    part: str,
    options: Sequence[str],
    begin: Sequence[str],
    most: int,
    places: Collection[str],
    *,
    url_in_config: bool,
) -> Answer:
    """Fetch an image, and follow allowed redirects."""
    before = size_of(part)
    answer = fetch([] if url_in_config else ["--", url], part, options, begin, most)
    for _hop in range(HOPS):
        if not answer.sent_to:
            return answer
        # What the server says of the other place is no part of the image.
        if before is None:
            remove(part)
        else:
            with open_part(part, "r+b") as stream:
                stream.truncate(before)
        options, url = next_hop(url, answer.sent_to, options, places, own_url=url_in_config), answer.sent_to
        url_in_config = False
        answer = fetch(URL_ON_STDIN, part, options, begin, most, url_config(url))
    raise Failed("the servers send us on and on")


def redirect_of(url: str, options: Sequence[str]) -> str:
    """Return the url that a server redirects to; empty if there is none, or the server does not tell.

    A host that opens the image by nbdkit may have no curl. Then it is asked without a password.
    """
    if not shutil.which("curl"):
        return redirect_without_curl(url, options)
    command = ["curl", *ASKED, *TOLD_URL, *options, *URL_ON_STDIN]
    told = subprocess.run(command, input=url_config(url).encode(), capture_output=True, check=False).stderr
    return told_by(told.decode(errors="replace"), 0)[2]


def redirect_without_curl(url: str, options: Sequence[str]) -> str:
    pieces = urlsplit(url)
    trust = options[options.index("--cacert") + 1] if "--cacert" in options else None
    try:
        context = ssl.create_default_context(cafile=trust)
        if "--insecure" in options:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        kind = partial(HTTPSConnection, context=context) if pieces.scheme == "https" else HTTPConnection
        server = kind(pieces.hostname or "", pieces.port, timeout=10)
        with contextlib.closing(server):
            server.request("GET", urlunsplit(("", "", *pieces[2:4], "")) or "/", headers={"Range": "bytes=0-0"})
            answer = server.getresponse()
            sent_to = answer.headers.get("Location", "") if 300 <= answer.status < 400 else ""
            return urljoin(url, sent_to) if sent_to else ""
    except (OSError, HTTPException, ValueError):
        return ""


def refuse_redirect(url: str, options: Sequence[str], places: Collection[str], *, any_port: bool) -> None:
    """Raise Failed if the server redirects to a place that is not allowed; other errors are left to who opens it."""
    hosts = {urlsplit(place).hostname for place in places} if any_port else set[str]()
    for _hop in range(HOPS):
        sent_to = redirect_of(url, options)
        if not sent_to:
            return
        place = place_of(sent_to)
        if place not in places and urlsplit(sent_to).hostname not in hosts:
            raise Failed(sent_on(place))
        options, url = own_credentials(options, leave=place != place_of(url)), sent_to
    raise Failed("the servers send us on and on")


def remember(path: str, name: str, text: str) -> None:
    """Write an attribute of a file, which is renamed and removed with it. Not every file system supports them."""
    if text:
        with contextlib.suppress(OSError):
            os.setxattr(path, name, text.encode(), follow_symlinks=False)


def remembered(path: str, name: str) -> str:
    """Read the attribute; empty if nothing is known."""
    try:
        return os.getxattr(path, name, follow_symlinks=False).decode()
    except OSError:
        return ""


def size_of(part: str) -> int | None:
    """Return the bytes of a download; None if there is none."""
    try:
        return os.lstat(part).st_size
    except FileNotFoundError:
        return None


def open_part(part: str, mode: str = "rb") -> IO[bytes]:
    """Open a download, and no other file: root runs this, too, in a folder that belongs to the process that fetches."""
    try:
        handle = os.open(part, (os.O_RDONLY if mode == "rb" else os.O_RDWR) | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise Failed(f"{part}: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Failed(f"{part}: it is not a regular file")
    return os.fdopen(handle, mode)


def digest_of(path: str) -> str:
    digest = hashlib.sha256()
    with open_part(path) as stream:
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
    sha256: str,
    *,
    resume: bool,
    places: Collection[str],
    begin: Sequence[str],
    url_in_config: bool,
    most: int,
) -> None:
    """Fetch into ``part``; fetch all of it again if an old part does not match the image."""
    resumed = resume and os.path.exists(part)
    if not resumed:
        remove(part)
    going_on = [*options, *(["--continue-at", "-"] if resumed else [])]
    try:
        answer = fetch_from(url, part, going_on, begin, most, places, url_in_config=url_in_config)
    except Failed as error:
        remove(part)
        raise Failed(f"{url}: {error}") from None
    if answer.status and answer.status not in NO_RESUME:
        if not resume or answer.status in TOO_LARGE:
            remove(part)
        raise Failed(f"{url}: {answer.problem}")
    found = digest_of(part) if sha256 and not answer.status else ""
    if not answer.status and found == sha256:
        remember(part, ETAG, answer.etag)
        remember(part, PLACE, answer.place)
        return
    remove(part)
    if not resumed:
        raise Failed(f"{url}: its sha256 is {found}, and {sha256} is declared; nothing was kept")
    fetch_checked(
        *(url, part, options, sha256), resume=False, places=places, begin=begin, most=most, url_in_config=url_in_config
    )


def bounded(most: int, folder: str) -> int:
    """Return the maximum size of a file in a directory, so that space is left for others."""
    space = os.statvfs(folder)
    return min(most, space.f_bavail * space.f_frsize // 10 * 9)


def fetch_image(
    image: str,
    url: str,
    options: Sequence[str],
    *,
    sha256: str = "",
    resume: bool = False,
    places: Collection[str] = (),
    begin: Sequence[str] = (),
    most: int = MAX_SIZE,
    url_in_config: bool = False,
) -> None:
    """Fetch an image, and give it its name once it is whole.

    sha256: of what the server has; begin: of the command that becomes curl; url_in_config: url is for messages.
    """
    part = f"{image}.part"
    most = bounded(most, os.path.dirname(image)) + (size_of(part) or 0)
    fetch_checked(
        *(url, part, options, sha256), resume=resume, places=places, begin=begin, most=most, url_in_config=url_in_config
    )
    if not size_of(part):
        remove(part)
        raise Failed(f"{url}: the server sent nothing")
    with open_part(part) as stream:
        os.fsync(stream.fileno())
        os.fchmod(stream.fileno(), 0o444)
    os.rename(part, image)


def main(arguments: list[str]) -> None:
    resume, url_in_config, any_port, about, sha256, places, most = False, False, False, "", "", list[str](), MAX_SIZE
    while arguments[0].startswith("--"):
        option, _equals, value = arguments.pop(0).partition("=")
        if option == "--from":
            places.append(value)
        elif option == "--max-size":
            most = int(value)
        elif option == "--sha256":
            sha256 = value
        elif option == "--ask":
            about = value
        elif option == "--any-port":
            any_port = True
        elif option == "--url-in-config":
            url_in_config = True
        else:
            resume = True
    image = "" if about else arguments.pop(0)
    url, *options = arguments
    try:
        if about:
            refuse_redirect(url, options, places, any_port=any_port)
            return
        fetch_image(
            *(image, url, options), sha256=sha256, resume=resume, places=places, most=most, url_in_config=url_in_config
        )
    except Failed as error:
        raise SystemExit(f"{about}: {error}" if about else str(error)) from None


if __name__ == "__main__":
    main(sys.argv[1:])
