# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""sender.py PORT BASE TAG: a web server before another one; what it does with http://.../KIND/NAME is in the kind.

all: sends everybody on to BASE/NAME. get: only those who want bytes. later: only those who want all bytes.
tagged: nobody, but the ETag is what the file TAG has in it.
"""

from __future__ import annotations

import http.server
import pathlib
import sys
import urllib.request

PORT, BASE, TAG = sys.argv[1:]
PASSED_ON = ("Accept-Ranges", "Content-Length", "Content-Range", "ETag", "Last-Modified")


class Sender(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        kind, _slash, name = self.path[1:].partition("/")
        if kind == "all" or (
            self.command == "GET" and (kind == "get" or (kind == "later" and "Range" not in self.headers))
        ):
            self.send_response(302)
            self.send_header("Location", f"{BASE}/{name}")
            self.end_headers()
            return
        asked = {"Range": self.headers["Range"]} if "Range" in self.headers else {}
        with urllib.request.urlopen(
            urllib.request.Request(f"{BASE}/{name}", headers=asked, method=self.command)
        ) as answer:
            self.send_response(answer.status)
            said = {**answer.headers, **({"ETag": pathlib.Path(TAG).read_text().strip()} if kind == "tagged" else {})}
            for header in PASSED_ON:
                if header in said:
                    self.send_header(header, said[header])
            self.end_headers()
            self.wfile.write(answer.read())

    do_HEAD = do_GET


http.server.ThreadingHTTPServer(("", int(PORT)), Sender).serve_forever()
