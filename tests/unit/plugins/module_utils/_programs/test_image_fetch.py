# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that stages an image, with curl, against a web server on loopback."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._programs import image_fetch
from ansible_collections.directdisk.qemu.tests.unit.support import UNIT_TESTS

PROGRAM = UNIT_TESTS.parents[1] / "plugins" / "module_utils" / "_programs" / "image_fetch.py"
IMAGE = bytes(range(256)) * 4096
ETAG = '"of the image"'
DIGEST = hashlib.sha256(IMAGE).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves IMAGE in parts as /image, without parts as /whole, half of it as /half, nothing as /empty.

    /endless and /slow send something else, too much of it or too slowly, and /headers nothing but headers. /patient is
    /image after interim responses.
    What is asked for below /localhost is sent on to the same under that name, and the head of /image stays here.
    """

    ranges: list[str]
    credentials: list[tuple[str, str]]

    def do_GET(self) -> None:
        self.credentials.append((self.headers.get("Cookie", ""), self.headers.get("Authorization", "")))
        if self.path in ("/endless", "/slow"):
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                for _number in range(100):
                    self.wfile.write(bytes(1 << 16 if self.path == "/endless" else 4))
                    time.sleep(0 if self.path == "/endless" else 0.5)
            return
        if self.path == "/headers":
            self.send_response(200)
            self.flush_headers()
            with contextlib.suppress(OSError):
                for _number in range(20):
                    self.wfile.write(b"X: " + b"x" * 8000 + b"\r\n")
            return
        if self.path == "/patient":
            self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 50)
            self.path = "/image"
        if self.path.startswith("/localhost/"):
            port, path = self.server.server_address[1], self.path[len("/localhost") :]
            self.send_response(302)
            self.send_header("ETag", '"of nothing"')
            self.send_header("Location", f"http://joe:hidden@localhost:{port}{path}?signature=hidden")
            self.end_headers()
            return
        wanted = self.headers.get("Range", "")
        self.ranges.append(wanted)
        body = {"/image": IMAGE, "/whole": IMAGE, "/half": IMAGE[: len(IMAGE) // 2], "/empty": b""}.get(
            self.path.partition("?")[0]
        )
        if body is None:
            self.send_error(404)
            return
        start = int(wanted[len("bytes=") : -1]) if wanted and "/whole" not in self.path else 0
        self.send_response(206 if start else 200)
        self.send_header("ETag", ETAG)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        # Half an image breaks off: more is announced than comes.
        self.send_header("Content-Length", str((len(IMAGE) if self.path == "/half" else len(body)) - start))
        self.end_headers()
        self.wfile.write(body[start:])

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Handler.ranges, Handler.credentials = [], []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{web.server_port}"
        web.shutdown()


def fetch(image: Path, url: str, *options: str) -> str:
    """Its complaint; empty where the image is in place."""
    command = [sys.executable, "-IS", str(PROGRAM), *options, str(image), url, "--retry", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert bool(done.returncode) == bool(done.stderr)
    assert image.exists() == (not done.stderr)
    return done.stderr


@pytest.mark.parametrize("options", [(), (f"--sha256={DIGEST}",), ("--resume", f"--sha256={DIGEST}")])
def test_an_image_is_fetched_whole_and_for_everybody_to_read(
    tmp_path: Path, server: str, options: tuple[str, ...]
) -> None:
    image = tmp_path / "image"
    assert fetch(image, f"{server}/image", *options) == ""
    assert image.read_bytes() == IMAGE
    assert image.stat().st_mode & 0o777 == 0o444
    assert list(tmp_path.iterdir()) == [image]


def test_another_image_than_declared_is_not_kept(tmp_path: Path, server: str) -> None:
    said = fetch(tmp_path / "image", f"{server}/image", f"--sha256={'0' * 64}")
    assert said == f"{server}/image: its sha256 is {DIGEST}, and {'0' * 64} is declared; nothing was kept\n"
    assert list(tmp_path.iterdir()) == []


def test_a_missing_image_is_said_in_curls_words(tmp_path: Path, server: str) -> None:
    said = fetch(tmp_path / "image", f"{server}/none")
    assert said == f"{server}/none: curl: (22) The requested URL returned error: 404\n"
    assert list(tmp_path.iterdir()) == []


def test_headers_without_an_end_are_not_kept(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_fetch, "LONGEST_HEADERS", 50000)
    with pytest.raises(image_fetch.Failed, match=f"^{server}/headers: the server sends more than 50000 bytes of head"):
        image_fetch.fetch_image(str(tmp_path / "image"), f"{server}/headers", ["--retry", "0"])
    assert list(tmp_path.iterdir()) == []


def test_an_empty_image_is_none(tmp_path: Path, server: str) -> None:
    assert fetch(tmp_path / "image", f"{server}/empty") == f"{server}/empty: the server sent nothing\n"
    assert list(tmp_path.iterdir()) == []


def test_a_broken_download_goes_on_where_it_broke(tmp_path: Path, server: str) -> None:
    image, options = tmp_path / "image", ("--resume", f"--sha256={DIGEST}")
    assert "curl: (18)" in fetch(image, f"{server}/half", *options)
    assert (tmp_path / "image.part").stat().st_size == len(IMAGE) // 2
    assert fetch(image, f"{server}/image", *options) == ""
    assert Handler.ranges == ["", f"bytes={len(IMAGE) // 2}-"]
    assert image.read_bytes() == IMAGE


def test_a_broken_download_that_cannot_be_checked_leaves_nothing(tmp_path: Path, server: str) -> None:
    assert "curl: (18)" in fetch(tmp_path / "image", f"{server}/half")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["", "http://127.0.0.2:80"])
@pytest.mark.parametrize("path", ["/image", "/half", "/none", "/whole"])
def test_what_comes_from_elsewhere_is_not_kept(tmp_path: Path, server: str, path: str, place: str) -> None:
    options = [f"--from={place or server}", "--resume", f"--sha256={DIGEST}"]
    said = fetch(tmp_path / "image", f"{server}/localhost{path}", *options)
    other = server.replace("127.0.0.1", "localhost")
    assert said.endswith(f"the server sends us on to {other}; declare that url, or set follow: [{other}]\n")
    assert "hidden" not in said
    assert list(tmp_path.iterdir()) == []
    assert Handler.ranges == []


def test_nobody_is_followed_without_leave(tmp_path: Path, server: str) -> None:
    assert "the server sends us on to" in fetch(tmp_path / "image", f"{server}/localhost/image")
    assert Handler.ranges == []


def test_credentials_are_for_their_own_server(tmp_path: Path, server: str) -> None:
    other = server.replace("127.0.0.1", "localhost")
    (tmp_path / "own").write_text('cookie = "a=hidden"\nuser = "joe:hidden"\n', encoding="utf-8")
    (tmp_path / "proxy").write_text('proxy-user = "jim:hidden"\n', encoding="utf-8")
    options = ["--config", str(tmp_path / "own"), "-K", str(tmp_path / "proxy")]
    image_fetch.fetch_image(str(tmp_path / "image"), f"{server}/localhost/image", options, places=[server, other])
    first, second = Handler.credentials
    assert first == ("a=hidden", "Basic am9lOmhpZGRlbg==")
    # These stand in the url that the server sends us on to, and are its own affair.
    assert second == ("", "Basic am9lOmhpZGRlbg==")
    image_fetch.fetch_image(str(tmp_path / "image"), f"{server}/image", options)
    assert Handler.credentials[-1] == first


@pytest.mark.parametrize("path", ["/image", "/endless"])
def test_too_much_is_not_kept(tmp_path: Path, server: str, path: str) -> None:
    said = fetch(tmp_path / "image", f"{server}{path}", "--max-size=65536")
    assert said.startswith(f"{server}{path}: the server sends more than 65536 bytes, which max_size")
    assert list(tmp_path.iterdir()) == []


def test_a_slow_server_is_given_up(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_fetch, "STALLED", (*image_fetch.STALLED[:-1], "2"))
    with pytest.raises(image_fetch.Failed, match=r"curl: \(28\) Operation too slow"):
        image_fetch.fetch_image(str(tmp_path / "image"), f"{server}/slow", ["--retry", "0"])
    assert list(tmp_path.iterdir()) == []


def test_interim_responses_do_not_add_up(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(image_fetch, "tell_size", lambda headers: read.append(headers.get("link", "")))
    monkeypatch.setattr(image_fetch, "LONGEST_HEADERS", 400)
    image_fetch.fetch_image(str(tmp_path / "image"), f"{server}/patient", ["--retry", "0"])
    assert (tmp_path / "image").read_bytes() == IMAGE
    assert read == ["</a>"] * 50 + [""]


def test_headers_without_an_end_are_refused(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_fetch, "LONGEST_HEADERS", 100)
    with pytest.raises(image_fetch.Failed, match="/image: the server sends more than 100 bytes of headers"):
        image_fetch.fetch_image(str(tmp_path / "image"), f"{server}/image", ["--retry", "0"])
    assert not list(tmp_path.iterdir())


def test_others_keep_some_room(tmp_path: Path) -> None:
    space = image_fetch.os.statvfs(tmp_path)
    assert image_fetch.bounded(1 << 60, str(tmp_path)) <= space.f_bavail * space.f_frsize * 0.95
    assert image_fetch.bounded(5, str(tmp_path)) == 5


def test_what_comes_from_where_it_may_is_kept(tmp_path: Path, server: str) -> None:
    other = server.replace("127.0.0.1", "localhost")
    options = [f"--from={place}" for place in (server, other)]
    image = tmp_path / "image"
    assert fetch(image, f"{server}/localhost/image", *options) == ""
    assert image.read_bytes() == IMAGE
    if image_fetch.remembered(str(image), image_fetch.PLACE):  # not every file system has attributes
        assert image_fetch.remembered(str(image), image_fetch.PLACE) == other
        assert image_fetch.remembered(str(image), image_fetch.ETAG) == ETAG


@pytest.mark.parametrize("path", ["/image", "/image?resumed"])
def test_a_link_in_the_place_of_a_download_is_not_followed(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Root runs this during a run, and the folder belongs to the process that speaks to the server."""
    secret = tmp_path / "secret"
    secret.write_bytes(IMAGE)
    secret.chmod(0o600)
    really_fetch = image_fetch.fetch

    def fetched(named: Sequence[str], part: str, *rest: Any) -> image_fetch.Answer:
        answer = really_fetch(named, part, *rest)
        Path(part).unlink()
        Path(part).symlink_to(secret)
        return answer

    monkeypatch.setattr(image_fetch, "fetch", fetched)
    with pytest.raises(image_fetch.Failed, match=r"a\.part: Too many levels of symbolic links"):
        image_fetch.fetch_image(str(tmp_path / "a"), f"{server}{path}", [], sha256=DIGEST if "?" in path else "")
    assert secret.stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "a").exists()


def test_a_url_is_never_an_option_of_curl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named: list[Sequence[str]] = []

    def fetched(words: Sequence[str], *_rest: Any) -> image_fetch.Answer:
        named.append(words)
        return image_fetch.Answer(0, "", "", "", "")

    monkeypatch.setattr(image_fetch, "fetch", fetched)
    image_fetch.fetch_from("-o/etc/passwd", str(tmp_path / "part"), [], [], 1, (), url_in_config=False)
    assert named == [["--", "-o/etc/passwd"]]


def test_a_link_in_the_place_of_a_download_is_not_cut(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(IMAGE)
    (tmp_path / "a.part").symlink_to(secret)
    monkeypatch.setattr(image_fetch, "fetch", lambda *_rest: image_fetch.Answer(0, "", "", "", f"{server}/image"))
    with pytest.raises(image_fetch.Failed, match="Too many levels of symbolic links"):
        image_fetch.fetch_from(f"{server}/a", str(tmp_path / "a.part"), [], [], 1 << 20, (server,), url_in_config=False)
    assert secret.read_bytes() == IMAGE


def test_nothing_is_known_of_a_file_without_attributes(tmp_path: Path) -> None:
    image_fetch.remember(str(tmp_path / "none"), image_fetch.ETAG, ETAG)
    assert image_fetch.remembered(str(tmp_path / "none"), image_fetch.ETAG) == ""


@pytest.mark.parametrize(
    "url, place",
    [
        ("http://images.example/a?b#c", "http://images.example"),
        ("HTTP://joe:secret@Images.Example:80/a", "http://images.example"),
        ("https://images.example:80/a", "https://images.example:80"),
        ("https://[2001:DB8::80]:443", "https://[2001:db8::80]"),
        ("ftp://images.example:2121/a", "ftp://images.example:2121"),
    ],
)
def test_the_place_of_a_url(url: str, place: str) -> None:
    assert image_fetch.place_of(url) == place


def test_headers_are_those_of_the_last_answer() -> None:
    text = 'HTTP/1.1 302 Found\r\nETag: "1"\r\nX: 1\r\n\r\nHTTP/2 200\r\netag: "2:2"\r\n\r\nTrailer: late\r\n'
    assert image_fetch.headers_in(text) == {"etag": '"2:2"', "trailer": "late"}


@pytest.mark.parametrize("path", ["/image", "/whole"])
def test_a_part_of_another_image_is_thrown_away(tmp_path: Path, server: str, path: str) -> None:
    (tmp_path / "image.part").write_bytes(b"x" * 1000)
    image = tmp_path / "image"
    assert fetch(image, f"{server}{path}", "--resume", f"--sha256={DIGEST}") == ""
    assert image.read_bytes() == IMAGE
    assert Handler.ranges == ["bytes=1000-", ""]


def test_a_secret_url_is_in_a_file_alone(tmp_path: Path, server: str) -> None:
    config, image = tmp_path / "config", tmp_path / "image"
    config.write_text(f'url = "{server}/image?X-Amz-Signature=hidden"\n', encoding="ascii")
    options = ("--url-in-config", "--resume", f"--sha256={DIGEST}")
    command = [sys.executable, "-IS", str(PROGRAM), *options, str(image), "https://said.example/image"]
    subprocess.run([*command, "--config", str(config), "--retry", "0"], check=True, timeout=30)
    assert image.read_bytes() == IMAGE


def test_a_secret_url_is_in_no_message(tmp_path: Path, server: str) -> None:
    config, image = tmp_path / "config", tmp_path / "image"
    for place in (
        f"{server}/none?sig=hidden",
        "http://127.0.0.1:1/x?sig=hidden",
        "htp://h/x?sig=hidden",
        "http://[/?hidden",
    ):
        config.write_text(f'url = "{place}"\n', encoding="ascii")
        command = [sys.executable, "-IS", str(PROGRAM), "--url-in-config", str(image), "https://said.example/image"]
        done = subprocess.run(
            [*command, "--config", str(config), "--retry", "0"], capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode
        assert done.stderr.startswith("https://said.example/image: curl: (")
        assert "hidden" not in done.stdout + done.stderr


def ask(url: str, *options: str) -> str:
    """Its complaint about a redirect; empty if there is none that is not allowed."""
    command = [sys.executable, "-IS", str(PROGRAM), "--ask=disk root of web1", *options, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert bool(done.returncode) == bool(done.stderr)
    return done.stderr


def test_a_redirect_is_named_before_another_program_meets_it(server: str) -> None:
    port = server.rpartition(":")[2]
    away, here = f"{server}/localhost/image", f"--from={server}"
    named = f"disk root of web1: it is not there: the server sends us on to http://localhost:{port}"
    for words in (ask(away, here), ask(away, here, "--any-port"), ask(away, here, "--from=http://localhost")):
        assert words.startswith(named)
        assert "hidden" not in words
    assert ask(away, here, f"--from=http://localhost:{port}") == ""
    assert ask(away, here, "--from=http://localhost", "--any-port") == ""
    # What is wrong otherwise is said by the program that opens the image.
    assert ask(f"{server}/image", here) == ask(f"{server}/nothing", here) == ask("http://127.0.0.1:1/image") == ""


def test_a_redirect_is_named_on_a_host_without_curl(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    port = server.rpartition(":")[2]
    assert ask(f"{server}/localhost/image", f"--from={server}").startswith(
        f"disk root of web1: it is not there: the server sends us on to http://localhost:{port}"
    )
    assert ask(f"{server}/image", f"--from={server}") == ask("http://127.0.0.1:1/image") == ""


def test_a_redirect_takes_no_password_along(server: str, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text('cookie = "a=secret"\n')
    port = server.rpartition(":")[2]
    options = (f"--from={server}", f"--from=http://localhost:{port}")
    command = [sys.executable, "-IS", str(PROGRAM), "--ask=x", *options, f"{server}/localhost/image"]
    subprocess.run([*command, "--config", str(config)], timeout=30, check=True)
    assert [cookie for cookie, _user in Handler.credentials] == ["a=secret", ""]


@pytest.mark.parametrize(
    ("stderr", "told"),
    [
        ("curl: No such file or directory\n", ("curl: No such file or directory", "", "")),
        ("curl: (7) refused\nhttp://h:81/a\n\n", ("curl: (7) refused", "http://h:81", "")),
        ("", ("curl ended with 1", "", "")),
    ],
)
def test_the_reason_is_told_also_where_curl_itself_did_not_run(stderr: str, told: tuple[str, str, str]) -> None:
    assert image_fetch.told_by(stderr, 1) == told
