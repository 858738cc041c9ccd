# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one disk needs beside its nodes in the unit that opens it: objects, credentials, files."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Credential:
    """A secret that systemd hands to one unit: its text, or the file on the host that has it."""

    name: str
    value: str | None = field(default=None, repr=False)
    source: str = ""


class Wiring:
    """Collects, for one disk in one unit, what its backend asks for while it builds its node.

    Names are prefixed with the disk's, so that the disks of a machine cannot meet.
    """

    def __init__(self, unit: str, prefix: str, runtime_directory: str) -> None:
        self._unit = unit
        self._prefix = prefix
        self._runtime_directory = runtime_directory
        self.credentials: dict[str, Credential] = {}
        self.objects: list[str] = []
        self.links: dict[str, dict[str, str]] = {}

    def credential(self, name: str, value: str | None = None, *, source: str = "") -> str:
        """Have systemd load a secret; returns the path at which the unit's process reads it."""
        credential = Credential(f"{self._prefix}.{name}", value, source)
        self.credentials[credential.name] = credential
        return f"/run/credentials/{self._unit}/{credential.name}"

    def secret(self, name: str, value: str) -> str:
        """A QEMU secret object that reads its data from a credential; returns its id."""
        path = self.credential(name, value)
        return self.object("secret", name, file=path)

    def object(self, kind: str, name: str, **properties: str) -> str:
        """An ``-object`` of the machine; returns its id."""
        identifier = f"{self._prefix}.{name}"
        pairs = [
            kind,
            f"id={identifier}",
            *(f"{key.replace('_', '-')}={keyval(value)}" for key, value in properties.items()),
        ]
        text = ",".join(pairs)
        if text not in self.objects:
            self.objects.append(text)
        return identifier

    def directory(self, name: str, files: dict[str, str]) -> str:
        """A folder in which credentials stand under names that a library insists on.

        ``files`` maps those names to paths that credential() returned.
        """
        path = f"{self._runtime_directory}/{self._prefix}.{name}"
        self.links[path] = dict(files)
        return path


def keyval(value: object) -> str:
    """A value as QEMU's comma-separated syntax wants it: a comma is written twice."""
    return str(value).replace(",", ",,")
