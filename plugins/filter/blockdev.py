# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the nodes with which QEMU opens a disk."""

from __future__ import annotations

DOCUMENTATION = r"""
name: blockdev
short_description: The nodes with which QEMU opens a disk
version_added: 0.1.0
author: directdisk.qemu contributors
description:
  - Turns the declaration of a disk into its node graph, that is the values of QEMU's option C(-blockdev), each after
    those that it stands on.
  - There is no secret in the result. Where a node needs one, it has the identifier of a QEMU object that is not part of
    the result, or the path of a file.
  - A file of the VM's unit has a path that begins with a variable of systemd, such as C($CREDENTIALS_DIRECTORY), and
    C(VM) stands for the VM's name.
positional: _input, name
options:
  _input:
    description: The declaration of a disk, as under C(disks) of a VM in the variable C(qemu_vms).
    type: dict
    required: true
  name:
    description: Name of the disk, with which the names of its nodes begin.
    type: str
    default: disk
  release:
    description:
      - Major and minor version of QEMU, on a host that has everything else. Which route a disk takes depends on it.
      - Has no effect beside O(capabilities).
    type: str
    default: "10.0"
  capabilities:
    description: What a certain host can do, as module M(directdisk.qemu.qemu_info) returns it under C(capabilities).
    type: dict
"""

EXAMPLES = r"""
- name: Show how QEMU 7.2 would open a disk
  ansible.builtin.debug:
    msg: "{{ qemu_vms.web1.disks.root | directdisk.qemu.blockdev('root', release='7.2') }}"
"""

RETURN = r"""
_value:
  description: The nodes.
  type: list
  elements: dict
  sample:
    - {driver: nfs, server: {type: inet, host: 192.0.2.7}, path: /export/a, node-name: root.storage, read-only: false}
    - {driver: raw, node-name: root.format, file: root.storage, read-only: false}
"""

import re
from collections.abc import Mapping
from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import read_image
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.desired import node_graph
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities


class _Everything(dict[str, str]):
    """A mapping in which every key exists: all capabilities of a host."""

    def __init__(self, answer: str) -> None:
        super().__init__()
        self._answer = answer

    def get(self, key: str, default: Any = None) -> Any:
        del key, default
        return self._answer


def _able_host(release: str) -> Capabilities:
    if not re.fullmatch(r"\d{1,3}\.\d{1,3}(\.\d{1,3})?", str(release)):
        raise AnsibleFilterError(f"blockdev: release: {release!r} is not a version of QEMU such as '10.0'")
    works = _Everything("")
    return Capabilities(
        emulator="/usr/bin/qemu-system-x86_64",
        version=tuple(map(int, str(release).split("."))),
        drivers=works,
        nbdkit=works,
        tgt=works,
        programs=_Everything("/usr/bin/true"),
    )


def blockdev(
    disk: Any, name: str = "disk", release: str = "10.0", capabilities: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Return the nodes of a disk from the storage up."""
    try:
        host = Capabilities.from_probe(capabilities) if capabilities else _able_host(release)
        return node_graph(read_image(name, disk, f"disk {name}"), host)
    except DirectDiskError as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    """The filter plugin."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"blockdev": blockdev}
