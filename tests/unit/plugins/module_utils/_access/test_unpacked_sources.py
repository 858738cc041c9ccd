# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sources that zstd or bzip2 has packed are unpacked by the host's programs before they are copied."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError, HostError
from ansible_collections.directdisk.qemu.tests.unit.real_parts import MIB, disk, needs_qemu, open_bench

CONTENT = b"x" * 700 + bytes(2 * MIB - 700)


def packed(folder: Path, kind: str) -> Path:
    if not shutil.which(kind):
        pytest.skip(f"{kind} is not installed")
    path = folder / f"a.raw.{kind}"
    path.write_bytes(subprocess.run([kind, "-c"], input=CONTENT, capture_output=True, check=True).stdout)
    return path


def origin_of(source: dict[str, Any], **provision: Any) -> Disk:
    found = disk(file={"path": "/srv/target.raw"}, source=source, provision=provision).origin
    assert found is not None
    return found


@pytest.fixture(name="server")
def serve(tmp_path: Path) -> Iterator[str]:
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@needs_qemu
@pytest.mark.parametrize("kind", ["zstd", "bzip2"])
def test_a_packed_file_is_unpacked(tmp_path: Path, kind: str) -> None:
    origin = origin_of({"file": {"path": str(packed(tmp_path, kind)), "compression": kind}})
    with open_bench() as bench:
        assert bench.size_of_source(origin) == len(CONTENT)
        with bench.image(origin) as image, image.accessed() as client:
            assert client.read(0, len(CONTENT)) == CONTENT


@needs_qemu
@pytest.mark.parametrize("kind", ["zstd", "bzip2"])
def test_a_packed_file_of_a_web_server_is_unpacked(tmp_path: Path, server: str, kind: str) -> None:
    origin = origin_of({"http": {"url": f"{server}/{packed(tmp_path, kind).name}", "compression": kind}})
    with open_bench() as bench:
        assert bench.size_of_source(origin) == len(CONTENT)


@needs_qemu
def test_a_gzip_file_is_unpacked_by_nbdkit(tmp_path: Path) -> None:
    if not shutil.which("nbdkit"):
        pytest.skip("nbdkit is not installed")
    source = {"file": {"path": str(packed(tmp_path, "gzip")), "compression": "gzip"}}
    with open_bench() as bench:
        assert bench.size_of_source(origin_of(source)) == len(CONTENT)
        with pytest.raises(HostError, match="unpacked, it is larger than max_size allows"):
            bench.size_of_source(origin_of(source, max_size="1MiB"))


@needs_qemu
def test_what_others_put_in_the_place_of_a_packed_file_is_not_opened(tmp_path: Path) -> None:
    tenant = tmp_path / "tenant"
    tenant.mkdir()
    tenant.chmod(0o777)
    origin = origin_of({"file": {"path": str(tenant / "a"), "compression": "bzip2"}})
    (tenant / "a").symlink_to(packed(tmp_path, "bzip2"))
    with open_bench() as bench, pytest.raises(HostError, match="it is a symbolic link, and its folder is not root's"):
        bench.size_of_source(origin)
    (tenant / "a").unlink()
    os.mkfifo(tenant / "a")
    with open_bench() as bench, pytest.raises(HostError, match="it is not a regular file"):
        bench.size_of_source(origin)


@needs_qemu
def test_what_becomes_too_large_is_refused(tmp_path: Path) -> None:
    source = {"file": {"path": str(packed(tmp_path, "bzip2")), "compression": "bzip2"}}
    with open_bench() as bench, pytest.raises(HostError, match=r"unpacked, it is larger than 1 MiB; declare a larger"):
        bench.size_of_source(origin_of(source, max_size="1MiB"))


@needs_qemu
def test_what_is_not_packed_is_refused(tmp_path: Path) -> None:
    packed(tmp_path, "bzip2")
    (tmp_path / "a.raw").write_bytes(CONTENT)
    with open_bench() as bench, pytest.raises(HostError, match=r"bzip2 cannot unpack it: bzip2: .* not a bzip2 file"):
        bench.size_of_source(origin_of({"file": {"path": str(tmp_path / "a.raw"), "compression": "bzip2"}}))


def test_it_is_for_sources_alone() -> None:
    with pytest.raises(DeclarationError, match="zstd is for a source alone, which is unpacked whole; use xz or gzip"):
        disk(http={"url": "http://h/a", "compression": "zstd"})
    with pytest.raises(DeclarationError, match="tar_member: is for xz, gzip and plain archives, not for zstd"):
        origin_of({"http": {"url": "http://h/a", "compression": "zstd", "tar_member": "a"}})
