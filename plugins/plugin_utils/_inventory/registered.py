# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The results that the tasks of hosts have registered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.parallel import map_parts


def registered_results(
    hostvars: Mapping[str, Any], hosts: Iterable[str], names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return the results of hosts under these names, by host, without evaluating templates.

    Ansible reads all files with variables of a host for that, so several processes do it.
    """
    # Ansible's own hostvars would template whole variables of a host.
    raw_get = getattr(hostvars, "raw_get", None)

    def read(some: Sequence[str]) -> dict[str, dict[str, Any]]:
        known = {host: raw_get(host) if raw_get else hostvars[host] for host in some}
        return {host: {name: known[host][name] for name in names if name in known[host]} for host in some}

    return {host: found for part in map_parts(read, [str(host) for host in hosts]) for host, found in part.items()}
