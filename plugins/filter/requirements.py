# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the requirements of a declaration on its host."""

from __future__ import annotations

DOCUMENTATION = r"""
name: requirements
short_description: Requirements of declared VMs on their host
version_added: 0.1.0
author: directdisk.qemu contributors
description:
  - Turns a declaration into the backends, routes and firmware that it needs, for M(directdisk.qemu.qemu_info).
  - There is no secret and no address in the result.
positional: _input, host
options:
  _input:
    description: The declaration, as in the variable C(qemu_vms).
    type: dict
    required: true
  host:
    description: Name of the host, for error messages.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Say what this host must be able to do
  ansible.builtin.debug:
    msg: "{{ qemu_vms | directdisk.qemu.requirements(inventory_hostname) }}"
"""

RETURN = r"""
_value:
  description:
    - Routes to backends, each once, backends whose images are kept, and if UEFI firmware, Secure Boot and a TPM are
      needed.
  type: dict
  sample:
    routes: [{backend: https, route: auto}, {backend: nbd, route: auto}]
    kept: [rbd]
    uefi: false
    secure_boot: false
    tpm: false
"""

from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.read_vm import read_vms
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError
from ansible_collections.directdisk.qemu.plugins.module_utils._routes import selection


def requirements(vms: Any, host: str = "") -> selection.Requirements:
    """Return the routes to backends and the firmware that declared VMs need."""
    try:
        return selection.requirements(read_vms(vms, host))
    except DirectDiskError as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    """The filter plugin."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"requirements": requirements}
