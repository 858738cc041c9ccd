# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts that a unit's text holds, written for the templates and read back on the host. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.identities import Spellings
from ansible_collections.directdisk.qemu.plugins.module_utils._programs.unit_record import LINKS_DOWN
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.compact_json import compact

_OPENED = "# Storage, and whether it is written to: "
_SPELLINGS = "# Other names of it: "
_WANTS = "Wants="
_ALLOWED = "IPAddressAllow="
_NO_OTHERS = "IPAddressDeny=any"
_DEVICE = re.compile(r"^    -device '?([^'\n]*?)'? \\\\?$", re.M)
_UUID = re.compile(r"^    -uuid ([0-9a-f-]{36}) \\$", re.M)
COMMA = re.compile(r"(?<!,),(?!,)")
"""Ends an option; a comma within a value is doubled."""
_PLACE = ("bus=", "addr=", "scsi-id=")


def opened_line(opened: Mapping[str, bool]) -> str:
    """Return the comment that lists the storage that a unit's VM opens; VMs without a declaration are judged by it."""
    return f"{_OPENED}{compact(opened)}"


def opened_in(text: str) -> dict[str, bool]:
    """Return the storage that a unit's VM opens, and if it writes to it."""
    return dict(json.loads(_rest_of_line(text, _OPENED) or "{}"))


def spellings_lines(spellings: Mapping[str, Spellings]) -> str:
    """Return the comment that lists other names of the storage, by identity; empty if there are none."""
    return f"{_SPELLINGS}{compact(spellings)}\n" if spellings else ""


def spellings_in(text: str) -> dict[str, Spellings]:
    """Return the other names of the storage that a unit's VM opens, by identity."""
    return dict(json.loads(_rest_of_line(text, _SPELLINGS) or "{}"))


def links_lines(networks: Iterable[str]) -> str:
    """Return the comment that lists the networks whose links are down; empty if there are none."""
    names = " ".join(networks)
    return f"{LINKS_DOWN}{names}\n" if names else ""


def wants_line(units: Iterable[str]) -> str:
    """Return the setting that starts other units first."""
    return f"{_WANTS}{' '.join(units)}"


def images_in(text: str) -> list[str]:
    """Return the staged images that a unit waits for."""
    return [image for image in map(paths.image_of_unit, _rest_of_line(text, _WANTS).split()) if image]


def credential_line(name: str, source: str, *, encrypted: bool) -> str:
    """Return the setting that loads a credential; source: as systemd reads it."""
    return f"LoadCredential{'Encrypted' if encrypted else ''}={name}:{source}"


def filters_addresses(text: str) -> bool:
    """Return if a unit's process may connect to some addresses only."""
    return f"\n{_NO_OTHERS}\n" in text


def addresses_in(text: str) -> list[str]:
    """Return the only addresses that a unit's process may connect to; none if it has no such filter."""
    return [line[len(_ALLOWED) :] for line in text.split("\n") if line.startswith(_ALLOWED)]


def places_in(text: str) -> dict[str, str]:
    """Return the places of QEMU's devices by their ids, as their options bus, addr and scsi-id."""
    places: dict[str, str] = {}
    for device in _DEVICE.findall(text):
        options = COMMA.split(device)
        name = next((option[len("id=") :] for option in options if option.startswith("id=")), "")
        places[name] = ",".join(option for option in options if option.startswith(_PLACE))
    return places


def uuid_in(text: str) -> str:
    """Return the UUID of a launch unit's VM; empty for other units."""
    match = _UUID.search(text)
    return match[1] if match else ""


def _rest_of_line(text: str, beginning: str) -> str:
    """Return the rest of the first line with this beginning; empty if there is none."""
    # Not splitlines(): identities may hold characters that it takes for the end of a line.
    return next((line[len(beginning) :] for line in text.split("\n") if line.startswith(beginning)), "")
