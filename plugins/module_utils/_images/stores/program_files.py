# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a storage whose library may hang or crash: a program of its own reaches them."""

from __future__ import annotations


class ProgramFiles:
    """Files that a separate program accesses, because its library may hang or crash."""

    def kind(self, path: str) -> str:
        return self.ask("kind", path)

    def make(self, path: str) -> None:
        self.ask("make", path)

    def put(self, path: str, place: str, *, overwrite: bool) -> None:
        self.ask("replace" if overwrite else "put", path, place)

    def remove(self, path: str) -> None:
        self.ask("remove", path)

    def ask(self, operation: str, *paths: str) -> str:
        """Run the program with an operation, and return its output."""
        raise NotImplementedError
