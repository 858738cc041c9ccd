# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a web server says of an image, asked with curl on loopback."""

from __future__ import annotations

import contextlib
import io
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._access import web_image
from ansible_collections.directdisk.qemu.plugins.module_utils._access.image_header import HEAD
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workspace import FolderResources
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import read_image
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import END_WITH_PARENT

IMAGE = b"golden".ljust(64 * HEAD, b"\0")
TIME = "Mon, 12 Jan 2026 10:00:00 GMT"


class Handler(BaseHTTPRequestHandler):
    """Serves IMAGE: in parts as /parts, never in parts as /whole, sent on to there from /elsewhere if it is GET."""

    cookies: list[tuple[str, str]]

    def do_HEAD(self) -> None:
        self.send_error(405)

    def do_GET(self) -> None:
        Handler.cookies.append((self.headers.get("Host", ""), self.headers.get("Cookie", "")))
        if self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{self.server.server_address[1]}/whole")
            self.end_headers()
        elif self.path == "/circle":
            self.send_response(302)
            self.send_header("Location", "/circle")
            self.end_headers()
        elif self.path == "/headers":
            self.send_response(200)
            self.flush_headers()
            with contextlib.suppress(ConnectionError):
                for _number in range(100):
                    self.wfile.write(b"X: " + b"x" * 60000 + b"\r\n")
        elif self.path == "/parts":
            self.answer(206, IMAGE[:HEAD], {"Content-Range": f"bytes 0-{HEAD - 1}/{len(IMAGE)}"})
        elif self.path == "/whole":
            self.answer(200, IMAGE, {})
        elif self.path == "/empty":
            self.answer(200, b"", {})
        else:
            self.send_error(404)

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body)), "ETag": '"1"', "Last-Modified": TIME}.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # who has seen enough leaves
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Handler.cookies = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web_image:
        threading.Thread(target=web_image.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{web_image.server_port}"
        web_image.shutdown()


def ask(url: str, *follow: str, resources: UnitResources | None = None, **options: str) -> web_image.ServerAnswer:
    disk = read_image("disk", {"http": {"url": url, **options}, "provision": {"follow": follow}}, "disk")
    return web_image.ask(disk, resources or UnitResources("", "disk", ""), seconds=20, begin=END_WITH_PARENT)


@pytest.mark.parametrize("path, host", [("/parts", "127.0.0.1"), ("/whole", "127.0.0.1"), ("/elsewhere", "localhost")])
def test_what_is_said_is_what_is_said_of_the_bytes(server: str, path: str, host: str) -> None:
    place = server.replace("127.0.0.1", host)
    said = ask(server + path, place)
    assert said == web_image.ServerAnswer('"1"', TIME, len(IMAGE), place, IMAGE[:HEAD])
    assert said.time == 1768212000


def test_nobody_else_is_asked_than_may_be(server: str) -> None:
    place = server.replace("127.0.0.1", "localhost")
    with pytest.raises(HostError, match=f"sends us on to {place}; declare that url, or set follow"):
        ask(f"{server}/elsewhere")
    assert len(Handler.cookies) == 1


def test_a_cookie_is_for_its_own_server(server: str, tmp_path: Path) -> None:
    place = server.replace("127.0.0.1", "localhost")
    said = ask(f"{server}/elsewhere", place, resources=FolderResources(str(tmp_path), "disk"), cookie="a=hidden")
    assert said.place == place
    assert Handler.cookies == [(server[len("http://") :], "a=hidden"), (place[len("http://") :], "")]


@pytest.mark.parametrize(
    "path, words",
    [
        ("/none", r"^curl: \(22\) The requested URL returned error: 404"),
        ("/empty", "^the server sent nothing$"),
        ("/circle", "^too many redirects$"),
        ("/headers", "of headers|header|[Tt]oo large|curl"),
    ],
)
def test_an_image_that_cannot_be_read(server: str, path: str, words: str) -> None:
    with pytest.raises(HostError, match=words):
        ask(server + path)


def test_a_curl_that_writes_without_an_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    floods = [sys.executable, "-c", "while True: print('x' * 65536)"]
    monkeypatch.setattr(web_image, "_curl", lambda _disk, _seconds: floods)
    with pytest.raises(HostError, match=r"^writes more than 262144 bytes$"):
        web_image.ask(
            read_image("disk", {"ftp": {"url": "ftp://127.0.0.1/image"}}, "disk"),
            *(UnitResources("", "disk", ""),),
            seconds=20,
            begin=[],
        )


@pytest.mark.parametrize("length", ["²", "9" * 5000, "-1", "1 2"])
def test_a_length_that_is_no_number_of_bytes_is_not_known(length: str) -> None:
    assert web_image._read(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n", "").length is None


@pytest.mark.parametrize("text", ["Mon, 01 Jan 99999 00:00:00 GMT", f"Mon, 01 Jan 2020 00:00:00 +{'9' * 20}", "today"])
def test_a_time_that_is_none_is_not_known(text: str) -> None:
    assert web_image.ServerAnswer(last_modified=text).time is None


@pytest.mark.parametrize("answer", [b"a: b\r\n", b"x"])
def test_headers_without_an_end_are_not_kept(answer: bytes) -> None:
    with pytest.raises(HostError, match=r"the server sends more than \d+ bytes of headers"):
        web_image._split(io.BytesIO(answer * (web_image.LONGEST_HEADERS + 1)), headers=True)
