# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one disk needs beside its nodes in the unit that opens it: objects, credentials, files."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Credential:
    """What systemd hands to one unit as a file: a secret's text, a file on the host, or text that is no secret."""

    name: str
    value: str | None = field(default=None, repr=False)
    source: str = ""
    public: str = ""
    """Text that may stand in the unit for everybody to read."""


@dataclass(frozen=True)
class Identity:
    """A private ssh key that the machine's agent holds, and the passphrase that opens it."""

    key: str = field(repr=False)
    passphrase: str = field(default="", repr=False)


@dataclass(frozen=True)
class Object:
    """An object of QEMU's, such as a secret."""

    kind: str
    identifier: str
    properties: dict[str, str]
    """By QEMU's names; every value is text or a file's path, never a secret itself."""

    @property
    def argument(self) -> str:
        """As ``-object`` takes it."""
        pairs = (f"{name}={keyval(value)}" for name, value in self.properties.items())
        return ",".join([self.kind, f"id={self.identifier}", *pairs])


class UnitResources:
    """Collects, for one disk in one unit, what its backend asks for while it builds its node.

    Names are prefixed with the disk's, so that the disks of a machine cannot meet.
    """

    def __init__(self, unit: str, prefix: str, runtime_directory: str) -> None:
        self._unit = unit
        self._prefix = prefix
        self._runtime_directory = runtime_directory
        self.credentials: dict[str, Credential] = {}
        self.objects: list[Object] = []
        self.links: dict[str, dict[str, str]] = {}
        self.joins: dict[str, tuple[str, ...]] = {}
        self.identities: dict[str, Identity] = {}

    def credential(self, name: str, value: str | None = None, *, source: str = "") -> str:
        """Have systemd load a secret; returns the path at which the unit's process reads it."""
        return self._load(Credential(f"{self._prefix}.{name}", value, source))

    def file(self, name: str, text: str) -> str:
        """A small file without a secret in it, written into the unit itself; returns the path at which it is read."""
        return self._load(Credential(f"{self._prefix}.{name}", public=text))

    def _load(self, credential: Credential) -> str:
        self.credentials[credential.name] = credential
        return self.credential_path(credential.name)

    def credential_path(self, name: str) -> str:
        """The path at which the unit's process reads a credential."""
        return f"/run/credentials/{self._unit}/{name}"

    def secret(self, name: str, value: str, **properties: str) -> str:
        """A QEMU secret object that reads its data from a credential; returns its id."""
        path = self.credential(name, value)
        return self.object("secret", name, file=path, **properties)

    def identity(self, name: str, key: str, passphrase: str = "") -> None:
        """Have the machine's own ssh-agent hold a private key before the machine starts."""
        self.identities[f"{self._prefix}.{name}"] = Identity(key, passphrase)

    def object(self, kind: str, name: str, **properties: str) -> str:
        """An ``-object`` of the machine; returns its id."""
        named = {key.replace("_", "-"): str(value) for key, value in properties.items()}
        wanted = Object(kind, f"{self._prefix}.{name}", named)
        if wanted not in self.objects:
            self.objects.append(wanted)
        return wanted.identifier

    def directory(self, name: str, files: dict[str, str]) -> str:
        """A folder in which credentials stand under names that a library insists on.

        ``files`` maps those names to paths that credential() returned.
        """
        path = f"{self._runtime_directory}/{self._prefix}.{name}"
        self.links[path] = dict(files)
        return path

    def joined(self, name: str, *paths: str) -> str:
        """One file made of several before the process starts, each beginning on a line of its own; returns its path."""
        path = f"{self._runtime_directory}/{self._prefix}.{name}"
        self.joins[path] = paths
        return path


def keyval(value: object) -> str:
    """A value as QEMU's comma-separated syntax wants it: a comma is written twice."""
    return str(value).replace(",", ",,")
