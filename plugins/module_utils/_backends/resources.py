# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Resources of one disk in the unit that opens it: objects, credentials, files."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Credential:
    """A systemd credential of one unit: a secret, a file on the host, or text that is not secret."""

    name: str
    value: str | None = field(default=None, repr=False)
    source: str = ""
    public: str = ""
    """Text that is not secret, written into the unit."""


@dataclass(frozen=True)
class Identity:
    """A private ssh key for the VM's agent, with its passphrase."""

    key: str = field(repr=False)
    passphrase: str = field(default="", repr=False)


@dataclass(frozen=True)
class Object:
    """A QEMU object, such as a secret."""

    kind: str
    identifier: str
    properties: dict[str, str]
    """Properties by QEMU's names; a value is never a secret itself."""

    @property
    def argument(self) -> str:
        """Return the argument of ``-object``."""
        pairs = (f"{name}={keyval(value)}" for name, value in self.properties.items())
        return ",".join([self.kind, f"id={self.identifier}", *pairs])


class UnitResources:
    """Collects the resources that a backend requests for one disk in one unit while it builds the node.

    Names have the disk's name as prefix, so that the disks of a VM do not collide.
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
        """Add a small file without a secret, written into the unit itself; returns its path."""
        return self._load(Credential(f"{self._prefix}.{name}", public=text))

    def _load(self, credential: Credential) -> str:
        self.credentials[credential.name] = credential
        return self.credential_path(credential.name)

    def credential_path(self, name: str) -> str:
        """Return the path at which the unit's process reads a credential."""
        return f"/run/credentials/{self._unit}/{name}"

    def secret(self, name: str, value: str, **properties: str) -> str:
        """Add a QEMU secret object that reads its data from a credential; returns its id."""
        path = self.credential(name, value)
        return self.object("secret", name, file=path, **properties)

    def identity(self, name: str, key: str, passphrase: str = "") -> None:
        """Have the VM's own ssh-agent load a private key before the VM starts."""
        self.identities[f"{self._prefix}.{name}"] = Identity(key, passphrase)

    def object(self, kind: str, name: str, **properties: str) -> str:
        """Add an ``-object`` of the VM; returns its id."""
        named = {key.replace("_", "-"): str(value) for key, value in properties.items()}
        wanted = Object(kind, f"{self._prefix}.{name}", named)
        if wanted not in self.objects:
            self.objects.append(wanted)
        return wanted.identifier

    def directory(self, name: str, files: dict[str, str]) -> str:
        """Add a directory of credentials with the names that a library requires; returns its path.

        ``files`` maps those names to paths that credential() returned.
        """
        path = f"{self._runtime_directory}/{self._prefix}.{name}"
        self.links[path] = dict(files)
        return path

    def joined(self, name: str, *paths: str) -> str:
        """Add a file that is joined from several before the process starts, each on a new line; returns its path."""
        path = f"{self._runtime_directory}/{self._prefix}.{name}"
        self.joins[path] = paths
        return path


def keyval(value: object) -> str:
    """Escape a value for QEMU's comma-separated syntax: a comma is doubled."""
    return str(value).replace(",", ",,")
