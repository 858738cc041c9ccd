# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The context of a disk on a command line or in libvirt's XML: other arguments, process. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError


@dataclass(frozen=True)
class Secret:
    """A secret in the place of its value. Its text is only checked, never passed on."""

    found: str
    """The place of the text, for people."""
    text: str | None = field(default=None, repr=False)
    """None if the input does not contain it."""
    like: str = "x"
    """A valid placeholder, to check the rest of the declaration."""

    @property
    def checked(self) -> str:
        return self.like if self.text is None else self.text


@dataclass(frozen=True)
class CommandLineContext:
    """The rest of the command line, and its process."""

    objects: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    """Properties of each ``-object`` by id; its type is ``qom-type``."""
    beside: Mapping[str, list[Mapping[str, Any]]] = field(default_factory=dict, repr=False)
    """Values of other options, such as ``iscsi``, by name, one for each occurrence."""
    vm: str | None = None
    """QEMU's name of the VM; None if there is no VM."""
    uuid: str = ""
    user: str = ""
    """User of the process."""
    directory: str = ""
    """The working directory, for relative paths."""
    open_files: tuple[str, ...] = ()
    """Files that the process has open, to resolve relative paths if the working directory is not known."""

    def properties(self, kind: str, identifier: object) -> Mapping[str, str]:
        """Return the properties of an object of this type."""
        found = self.objects.get(str(identifier))
        if found is None:
            raise DeclarationError(
                f"-object {kind}", f"id={identifier} is not there; give the whole command line, which has it"
            )
        if not found.get("qom-type", "").startswith(kind):
            raise DeclarationError(f"-object {found.get('qom-type')}", f"id={identifier} is not a {kind}")
        return found

    def secret(self, identifier: object, like: str = "x") -> Secret:
        """Return the secret that a ``...-secret`` member names."""
        return self._secret(str(identifier), like, as_base64=False)

    def base64_secret(self, identifier: object, like: str = "AA==") -> Secret:
        """Return the same, if QEMU passes it on in base64."""
        return self._secret(str(identifier), like, as_base64=True)

    def _secret(self, identifier: str, like: str, *, as_base64: bool) -> Secret:
        if identifier not in self.objects:
            return Secret(f"the secret object {identifier}, of which nothing more is said", like=like)
        properties = self.properties("secret", identifier)
        form = " (base64)" if (properties.get("format") == "base64") != as_base64 else ""
        if "file" in properties:
            return Secret(f"the file {properties['file']}{form}, by -object secret,id={identifier}", like=like)
        found = f"data= of -object secret,id={identifier}{form}"
        if "keyid" in properties or "data" not in properties:
            return Secret(f"{found}, which is encrypted itself", like=like)
        return Secret(found, _recoded(properties["data"], properties.get("format"), as_base64), like)


def _recoded(data: str, form: str | None, as_base64: bool) -> str | None:
    if (form == "base64") == as_base64:
        return data
    if as_base64:
        return base64.b64encode(data.encode()).decode()
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        return None
