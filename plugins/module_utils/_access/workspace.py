# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker's private folder, and the confined processes, secret files and shared connections that belong to it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

from ansible_collections.directdisk.qemu.plugins.module_utils._access import confinement
from ansible_collections.directdisk.qemu.plugins.module_utils._access.confinement import Confinement
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import Credential, UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._process import privileges
from ansible_collections.directdisk.qemu.plugins.module_utils._process.private_files import write_private
from ansible_collections.directdisk.qemu.plugins.module_utils._process.private_folders import private_folder
from ansible_collections.directdisk.qemu.plugins.module_utils._process.progress import DiskProgress
from ansible_collections.directdisk.qemu.plugins.module_utils._process.resource_cache import Resource, ResourceCache
from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import END_WITH_PARENT
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities

FOLDER = "/run"
"""In memory, so that secrets are not written to a disk."""
FOLDER_OF_USERS = "/dev/shm"
"""The same for another user than root, whose session has no folder of its own."""


class FolderResources(UnitResources):
    """Unit resources that are provided at once, in a folder that only root may enter."""

    def __init__(self, folder: str, prefix: str) -> None:
        super().__init__("", prefix, folder)
        self._folder = folder

    def _load(self, credential: Credential) -> str:
        text = credential.value if credential.value is not None else credential.public
        if credential.source:
            # Its reader sees this folder alone, and reports a missing file itself.
            if not os.path.exists(credential.source):
                return credential.source
            text = _read(credential.source)
        return _write(f"{self._folder}/{credential.name}", text)

    def directory(self, name: str, files: dict[str, str]) -> str:
        path = super().directory(name, files)
        os.mkdir(path, 0o700)
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            # Whatever the umask of this user: its reader has another one.
            os.fchown(handle, *_owner_of(self._folder))
            for link, target in files.items():
                os.symlink(target, link, dir_fd=handle)
        finally:
            os.close(handle)
        return path

    def joined(self, name: str, *paths: str) -> str:
        texts = map(self._read_written, paths)
        return _write(
            super().joined(name, *paths), "".join(text if text.endswith("\n") else f"{text}\n" for text in texts)
        )

    def _read_written(self, path: str) -> str:
        """Read a file of a credential; the folder belongs to processes that may put a link in its place."""
        if os.path.dirname(path) != self._folder:
            return _read(path)
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), encoding="utf-8") as stream:
            return stream.read()


class Workspace:
    """A worker's private folder, its processes, and the connections that it shares with other workers.

    It is not thread-safe: each thread has its own.
    """

    def __init__(
        self, capabilities: Capabilities, *, open_timeout: float = 30, shared: ResourceCache | None = None
    ) -> None:
        """open_timeout: seconds that a storage has to answer; shared: with other workers."""
        self.capabilities = capabilities
        self.open_timeout = open_timeout
        self.progress = DiskProgress()
        """Progress of the disk on which this worker works."""
        self._stack = contextlib.ExitStack()
        # Left last: until then there are processes of the user.
        self._users = self._stack.enter_context(contextlib.ExitStack())
        self._shared = shared or self._stack.enter_context(ResourceCache())
        self._own = self._stack.enter_context(ResourceCache())
        self._folder = ""
        self._outer = ""
        self._confined = ""

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def folder(self) -> str:
        """Private folder in memory, for root and the processes of this workspace."""
        if not self._folder:
            own = FOLDER if privileges.is_root() else os.environ.get("XDG_RUNTIME_DIR", FOLDER_OF_USERS)
            self._outer = self._stack.enter_context(private_folder(own))
            self._confined = confinement.program(self._outer)
            self._user = self._users.enter_context(privileges.own_user())
            self._folder = self.new_folder(f"{self._outer}/w")
        return self._folder

    @property
    def root_folder(self) -> str:
        """Private folder in memory, for root alone: confined processes cannot put links there."""
        return os.path.dirname(self.folder)

    def new_folder(self, path: str) -> str:
        """Make a folder for the processes of this workspace, within one that only root may enter."""
        os.mkdir(path, 0o700)
        os.chown(path, self._user, self._user)
        return path

    def file(self, name: str, text: str) -> str:
        """Write a file into the private folder, and return its path."""
        return _write(f"{self.folder}/{name}", text)

    def give(self, path: str) -> None:
        """Give a file of root to the processes of this workspace."""
        os.chown(path, self._user, self._user, follow_symlinks=False)

    def confined(self, allowed: Confinement, *folders: str, files_from: int = -1) -> list[str]:
        """Return the beginning of a command that opens foreign data; folders: further folders that it may write to."""
        privileges.require_root("reading this storage by a confined process of QEMU")
        everywhere = (self.folder, *folders)
        return [
            *END_WITH_PARENT,
            *confinement.begin(
                allowed, self._user, self._outer, self._confined, folders=everywhere, files_from=files_from
            ),
        ]

    def own(self, key: object, make: Callable[[], contextlib.AbstractContextManager[Resource]]) -> Resource:
        """Return what was made under this key, or make it and keep it until the workspace is closed."""
        return self._own.get(key, make)

    def shared(self, key: object, make: Callable[[], contextlib.AbstractContextManager[Resource]]) -> Resource:
        """Return the same for all workers, such as the connection to a cluster; it is kept until all are done."""
        return self._shared.get(key, make)


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as stream:
        return stream.read()


def _write(path: str, text: str) -> str:
    """Write a file for the owner of its folder, in place of one that exists."""
    owner = _owner_of(os.path.dirname(path))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    return write_private(path, text, owner=owner)


def _owner_of(folder: str) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_uid, status.st_gid
