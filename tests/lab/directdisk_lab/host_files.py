# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files for a host, sent to it in one archive."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path
from typing import NamedTuple

from .settings import FILES


class Entry(NamedTuple):
    content: bytes
    mode: int


class Files(dict[str, Entry]):
    """Content and mode by path below the host's root."""

    def add(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        self[path] = Entry(content.encode() if isinstance(content, str) else content, mode)

    def add_own(self, path: str, name: str, mode: int = 0o644) -> None:
        """A file of the lab's own folder files/."""
        self.add(path, (FILES / name).read_bytes(), mode)

    def add_folder(self, path: str, source: Path) -> None:
        """A folder with keys and certificates: private keys are recognised by name."""
        for child in sorted(source.iterdir()):
            mode = 0o600 if child.name.endswith(("-key.pem", ".psk")) else 0o644
            self.add(f"{path}/{child.name}", child.read_bytes(), mode)

    @property
    def digest(self) -> str:
        return hashlib.sha256(repr(sorted(self.items())).encode()).hexdigest()

    def tar(self) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for path, (content, mode) in self.items():
                entry = tarfile.TarInfo(path)
                entry.size, entry.mode = len(content), mode
                archive.addfile(entry, io.BytesIO(content))
        return buffer.getvalue()
