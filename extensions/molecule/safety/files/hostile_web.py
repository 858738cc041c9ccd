# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""hostile_web.py PORT OTHER LOG: a web server with bad manners, one to a path; LOG tells who has sent which cookie.

/local sends its clients on to a server on their own loopback, /other to OTHER; /image is an image, /endless has no end,
/slow sends four bytes a second, and /bomb is small until it is unpacked.
"""

from __future__ import annotations

import contextlib
import gzip
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, OTHER, LOG = int(sys.argv[1]), sys.argv[2], sys.argv[3]
IMAGE = b"of the other server".ljust(1 << 20, b"\0")
BODIES = {"/image": IMAGE, "/bomb": gzip.compress(bytes(64 << 20))}
SENT_ON = {"/local": "http://127.0.0.1:8099/secret", "/other": OTHER}


class Handler(BaseHTTPRequestHandler):
    """Answers every path as it is told above."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        with open(LOG, "a", encoding="utf-8") as log:
            print(PORT, self.path, self.headers.get("Cookie", "-"), self.headers.get("Authorization", "-"), file=log)
        with contextlib.suppress(OSError):
            self.answer()

    do_HEAD = do_GET

    def answer(self) -> None:
        if self.path in SENT_ON:
            self.begin(302, 0, Location=SENT_ON[self.path])
        elif self.path == "/slow":
            self.begin(200, 100 << 20)
            while self.command == "GET":
                self.wfile.write(b"ZZZZ")
                time.sleep(1)
        elif self.path == "/endless":
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            while self.command == "GET":
                self.wfile.write(bytes(1 << 16))
        elif self.path in BODIES:
            self.serve(BODIES[self.path])
        else:
            self.begin(404, 0)

    def serve(self, body: bytes) -> None:
        asked = self.headers.get("Range", "").removeprefix("bytes=")
        if asked:
            start, end = (int(number or len(body) - 1) for number in asked.split("-"))
            part = body[start : end + 1]
            self.begin(206, len(part), Content_Range=f"bytes {start}-{start + len(part) - 1}/{len(body)}")
        else:
            part = body
            self.begin(200, len(part))
        if self.command == "GET":
            self.wfile.write(part)

    def begin(self, status: int, length: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content_Length": str(length), "Accept_Ranges": "bytes"}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


ThreadingHTTPServer(("", PORT), Handler).serve_forever()
