# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of a server of the lab: the contract that the files of this folder fill in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..host_files import Files
from ..hosts import Host
from ..settings import Settings
from ..yaml_text import Value

ETC = "etc/directdisk-lab"
LIB = "usr/local/lib/directdisk-lab"
SYSTEM = "etc/systemd/system"


@dataclass(frozen=True)
class Site:
    """A host of one lab, and the lab's secrets."""

    settings: Settings
    host: Host
    secrets: Mapping[str, str]

    @property
    def address(self) -> str:
        return self.settings.address(self.host)


def _nothing(_of: Any) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Server:
    """One server, as systemd units of a group of hosts."""

    name: str
    units: tuple[str, ...]
    files: Callable[[Site], Files]
    group: str = "storage"
    before: Callable[[Site], str] = lambda site: ""
    """Shell commands on the host before the units start."""
    after: Callable[[Site], str] = lambda site: ""
    """Shell commands on the host, run at every `lab up` when the units run."""
    facts: Callable[[Site], dict[str, Value]] = _nothing
    """Variables for tests."""
    secrets: Callable[[Settings], dict[str, str]] = _nothing
    """Secret variables for tests, and for the server itself; made once."""
