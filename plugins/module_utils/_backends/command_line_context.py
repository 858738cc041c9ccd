# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an old spelling of a disk (a command line, libvirt's XML) leaves to what stands around it. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError


@dataclass(frozen=True)
class Secret:
    """A secret where a declaration has it. Its text is only looked at, never handed on."""

    found: str
    """Where a person finds the text."""
    text: str | None = field(default=None, repr=False)
    """None where it does not stand in what was read."""
    like: str = "x"
    """A text that would do, to check the rest of the declaration with."""

    @property
    def checked(self) -> str:
        return self.like if self.text is None else self.text


@dataclass(frozen=True)
class CommandLineContext:
    """The rest of the command line, and the process that has it."""

    objects: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    """By id, what ``-object`` says; its kind is ``qom-type``."""
    beside: Mapping[str, list[Mapping[str, Any]]] = field(default_factory=dict, repr=False)
    """By option, such as ``iscsi``, what each of its occurrences says."""
    vm: str | None = None
    """Name that QEMU has of the machine; None where there is no machine."""
    uuid: str = ""
    user: str = ""
    """User of the process."""
    directory: str = ""
    """Where a relative path begins."""
    open_files: tuple[str, ...] = ()
    """Files that the process has open, by which a relative path is found where its folder is not known."""

    def properties(self, kind: str, identifier: object) -> Mapping[str, str]:
        """What an object of one of QEMU's kinds says, secrets apart."""
        found = self.objects.get(str(identifier))
        if found is None:
            raise DeclarationError(
                f"-object {kind}", f"id={identifier} is not there; give the whole command line, which has it"
            )
        if not found.get("qom-type", "").startswith(kind):
            raise DeclarationError(f"-object {found.get('qom-type')}", f"id={identifier} is no {kind}")
        return found

    def secret(self, identifier: object, like: str = "x") -> Secret:
        """The secret that a ``...-secret`` member names."""
        return self._secret(str(identifier), like, as_base64=False)

    def base64_secret(self, identifier: object, like: str = "AA==") -> Secret:
        """The same where QEMU hands it on in base64."""
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
