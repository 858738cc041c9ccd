# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images as files of the host."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workspace import Workspace
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import AlreadyExistsError, HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._images.stores.contract import Store, by_driver


class _LocalFiles:
    def kind(self, path: str) -> str:
        with _own_errors(path):
            try:
                mode = os.stat(path).st_mode
            except FileNotFoundError:
                return "missing"
        return "file" if stat.S_ISREG(mode) else "directory" if stat.S_ISDIR(mode) else "other"

    def folder(self, path: str) -> str:
        return self.kind(os.path.dirname(path))

    def make(self, path: str) -> None:
        with _own_errors(path):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))

    def put(self, path: str, place: str, *, overwrite: bool) -> None:
        with _own_errors(place):
            if overwrite:
                os.rename(path, place)
            else:
                # Unlike rename(2), link(2) does not replace a file that appeared meanwhile.
                os.link(path, place)
                os.unlink(path)
            _sync(os.path.dirname(place))

    def remove(self, path: str) -> None:
        with _own_errors(path), contextlib.suppress(FileNotFoundError):
            os.unlink(path)


@contextlib.contextmanager
def _own_errors(path: str) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise AlreadyExistsError(f"{path} exists") from None
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}") from None


def _sync(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _files(disk: Disk, bench: Workspace) -> Iterator[_LocalFiles]:
    del disk, bench
    yield _LocalFiles()


def _create(node: Node, size: int, preallocation: str) -> Mapping[str, Any]:
    return {"driver": "file", "filename": node["filename"], "size": size, "preallocation": preallocation}


STORE = Store("file", _files, by_driver(_create))
