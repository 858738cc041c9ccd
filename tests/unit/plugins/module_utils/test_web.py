# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a web server says of an image, asked with curl on loopback."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._clients import web
from ansible_collections.directdisk.qemu.plugins.module_utils._disk import read_image
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._header import HEAD
from ansible_collections.directdisk.qemu.plugins.module_utils._wiring import Wiring

IMAGE = b"golden".ljust(64 * HEAD, b"\0")
TIME = "Mon, 12 Jan 2026 10:00:00 GMT"


class Handler(BaseHTTPRequestHandler):
    """Serves IMAGE: in parts as /parts, never in parts as /whole, sent on to there from /elsewhere if it is GET."""

    def do_HEAD(self) -> None:
        self.send_error(405)

    def do_GET(self) -> None:
        if self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{self.server.server_address[1]}/whole")
            self.end_headers()
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
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{web.server_port}"
        web.shutdown()


def ask(url: str) -> web.Said:
    return web.ask(read_image("disk", {"http": {"url": url}}, "disk"), Wiring("", "disk", ""), seconds=20)


@pytest.mark.parametrize("path, host", [("/parts", "127.0.0.1"), ("/whole", "127.0.0.1"), ("/elsewhere", "localhost")])
def test_what_is_said_is_what_is_said_of_the_bytes(server: str, path: str, host: str) -> None:
    said = ask(server + path)
    place = server.replace("127.0.0.1", host)
    assert said == web.Said('"1"', TIME, len(IMAGE), place, IMAGE[:HEAD])
    assert said.time == 1768212000


@pytest.mark.parametrize(
    "path, words",
    [("/none", r"^curl: \(22\) The requested URL returned error: 404$"), ("/empty", "^the server sent nothing$")],
)
def test_an_image_that_cannot_be_read(server: str, path: str, words: str) -> None:
    with pytest.raises(HostError, match=words):
        ask(server + path)
