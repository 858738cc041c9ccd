#!/usr/bin/python
# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The capabilities of a host and the state of its VMs. Read-only."""

from __future__ import annotations

DOCUMENTATION = r"""
module: qemu_info
short_description: Report the capabilities of a QEMU host and the state of its VMs
version_added: 0.1.0
author: directdisk.qemu contributors (@directdisk)
description:
  - Tests which block drivers load in the QEMU that will run the VMs, with a node whose name is invalid. No storage is
    opened, and no network is used.
  - Reports per backend and route if it works, why not, and which packages are missing.
  - Reports the VMs of the host from systemd and from their QMP sockets.
  - The capabilities are kept in a cache on the host until a program, a module folder or the package database changes.
requirements:
  - root on the host, such as by C(become=true)
options:
  requires:
    description:
      - Requirements of VMs, as the filter P(directdisk.qemu.requirements#filter) returns them for a declaration.
    type: dict
    default: {}
    suboptions:
      routes:
        description: Backends and their routes.
        type: list
        elements: dict
        default: []
        suboptions:
          backend:
            description: Name of the backend.
            type: str
            required: true
          route:
            description: Its route; V(auto) is the best one for this QEMU.
            type: str
            default: auto
      kept:
        description: Backends whose images are managed, which may require more packages than VMs do.
        type: list
        elements: str
        default: []
      uefi:
        description: If UEFI firmware is required.
        type: bool
        default: false
      secure_boot:
        description: If UEFI firmware with Secure Boot is required.
        type: bool
        default: false
      tpm:
        description: If a program that emulates a TPM is required.
        type: bool
        default: false
  strict:
    description: Fail if something in O(requires) does not work.
    type: bool
    default: false
  fresh:
    description: Probe again, and ignore the cache.
    type: bool
    default: false
  vms:
    description: If the VMs are reported, too.
    type: bool
    default: true
  disk_sizes:
    description:
      - If the sizes of the disks of running VMs are reported, too. QEMU asks the storage for them, and a VM halts while
        its storage does not answer.
    type: bool
    default: false
  capabilities:
    description:
      - If the capabilities are reported. If not, nothing is probed and no cache is written, unless O(requires) is set.
    type: bool
    default: true
  unmanaged:
    description:
      - If VMs that the collection does not manage are reported, from QEMU processes and from units that start QEMU,
        with their declarations.
    type: bool
    default: false
extends_documentation_fragment: [directdisk.qemu.attributes]
attributes:
  check_mode:
    description: Reads only.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
  idempotent:
    description: Changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Report on a hypervisor
  directdisk.qemu.qemu_info:
  register: hypervisor

- name: Show the backends that work with QEMU's own driver
  ansible.builtin.debug:
    msg: >-
      {{ hypervisor.backends | dict2items | selectattr('value.driver', 'defined')
      | selectattr('value.driver.works') | map(attribute='key') }}

- name: Report the VMs that the collection does not manage
  directdisk.qemu.qemu_info:
    capabilities: false
    unmanaged: true

- name: Fail if this host cannot run the VMs that are declared for it
  directdisk.qemu.qemu_info:
    requires: "{{ qemu_vms | directdisk.qemu.requirements }}"
    strict: true
"""

RETURN = r"""
capabilities:
  description:
    - Programs, versions and facilities of the host.
    - Where a value is the reason why something does not work, such as C(kvm), it is empty if that works.
  returned: success
  type: dict
  sample: {emulator: /usr/bin/qemu-system-x86_64, version: [10, 0, 13], kvm: "", encrypts: true}
host:
  description: Memory, swap (in bytes) and CPUs of the host.
  returned: success
  type: dict
  sample: {memory: 67430064128, swap: 0, cpus: 16}
backends:
  description: For each backend and route if it works, why not, its known flaw, and its packages.
  returned: success
  type: dict
  sample: {https: {driver: {works: true, why: "", flaw: "", packages: [qemu-block-extra]}}}
missing:
  description: Descriptions of the requirements in O(requires) that are missing on this host.
  returned: always
  type: list
  elements: str
missing_packages:
  description: The packages that provide them.
  returned: always
  type: list
  elements: str
vms:
  description:
    - The collection's VMs that have a unit on this host. Sizes are in bytes.
    - C(opened) lists the storage that the VM opens according to its unit, and if it writes to it. C(restart_needed) is
      true if a running VM was started from another unit or other credentials and did not get the changes since.
      C(machine) is the board of the running VM. C(io) counts since its start. C(error) is there if the monitor of a
      running VM does not answer, and says why.
    - C(size) of a disk is there with O(disk_sizes=true), and if an I/O error has paused the VM.
    - C(agent) is there if the VM runs and its unit has C(guest_agent=true). C(problem) is empty if the guest agent
      answers, and the reason otherwise. The agents of all VMs together are given 2 seconds. What the guest says about
      itself is not checked.
  returned: success
  type: dict
  sample:
    web1:
      unit: qemu-vm-web1.service
      active: active
      enabled: true
      status: running
      machine: pc-q35-10.0
      opened: {"nbd:192.0.2.5:10809/web1": true}
      restart_needed: false
      disks:
        root:
          node: root.format
          read_only: false
          io_status: ok
          io: {reads: 4201, read_bytes: 98566144, writes: 310, written_bytes: 2097152, errors: 0}
      console: "web1 login:"
      agent:
        problem: ""
        version: 10.0.2
        host_name: web1
        os: {id: debian, name: Debian GNU/Linux 13, version: "13", kernel: 6.12.41+deb13-amd64, machine: x86_64}
        interfaces:
          - {name: enp1s0, mac: "52:54:00:f6:49:df", addresses: [192.0.2.17/24, "2001:db8::17/64"]}
unmanaged:
  description:
    - The VMs that the collection does not manage, each as the filter P(directdisk.qemu.from_drive#filter) converts its
      command line, with its C(pid) (0 for a unit that does not run) and C(unit). C(problem) is the reason if one could
      not be converted. There is no secret in it.
  returned: success
  type: list
  elements: dict
  sample:
    - name: db1
      pid: 4711
      unit: ""
      problem: ""
      declaration: {memory: 4GiB, disks: {root: {rbd: {pool: vms, image: db1, key: "{{ vault_db1_root_key }}"}}}}
      secrets:
        - {variable: vault_db1_root_key, option: "disks: root: rbd: key", found: "the text of -drive, after rbd:"}
      left: []
      notes: []
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError, printable_data
from ansible_collections.directdisk.qemu.plugins.module_utils._host import running, unmanaged
from ansible_collections.directdisk.qemu.plugins.module_utils._host.host_size import host_size
from ansible_collections.directdisk.qemu.plugins.module_utils._host.probe import probe
from ansible_collections.directdisk.qemu.plugins.module_utils._process import private_folders, privileges
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.registry import ROUTES
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.selection import (
    Requirements,
    flaw,
    missing,
    why_not,
)

ARGUMENTS = {
    "requires": {
        "type": "dict",
        "default": {},
        "options": {
            "routes": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"backend": {"type": "str", "required": True}, "route": {"type": "str", "default": "auto"}},
            },
            "kept": {"type": "list", "elements": "str", "default": []},
            "uefi": {"type": "bool", "default": False},
            "secure_boot": {"type": "bool", "default": False},
            "tpm": {"type": "bool", "default": False},
        },
    },
    "strict": {"type": "bool", "default": False},
    "fresh": {"type": "bool", "default": False},
    "vms": {"type": "bool", "default": True},
    "disk_sizes": {"type": "bool", "default": False},
    "capabilities": {"type": "bool", "default": True},
    "unmanaged": {"type": "bool", "default": False},
}


def backends(capabilities: Capabilities) -> dict[str, Any]:
    """Return every route of every backend on this host."""
    return {
        backend.name: {route: _route(backend, route, capabilities) for route in backend.access.routes}
        for backend in BACKENDS.values()
    }


def _route(backend: Backend, route: str, capabilities: Capabilities) -> dict[str, Any]:
    why = why_not(backend, route, capabilities)
    return {
        "works": not why,
        "why": why,
        "flaw": flaw(backend, route, capabilities.release),
        "packages": list(ROUTES[route].packages(backend, capabilities.family)),
    }


def observe(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the capabilities of the host, and what it lacks."""
    requires: Requirements = parameters["requires"] or Requirements()
    if not parameters["capabilities"] and not any(requires.values()):
        return {"capabilities": {}, "backends": {}, "missing": [], "missing_packages": []}
    probed = probe(fresh=parameters["fresh"])
    capabilities = Capabilities.from_probe(probed)
    lacks, packages = missing(requires, capabilities)
    facts = {"missing": lacks, "missing_packages": packages}
    return {"capabilities": probed, "backends": backends(capabilities), **facts}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    private_folders.lock_payload()
    try:
        privileges.require_root()
        facts = observe(module.params)
        if facts["missing"] and module.params["strict"]:
            module.fail_json(msg="\n".join(facts["missing"]), **facts)
        module.exit_json(
            host=host_size(),
            vms=printable_data(running.vms(disk_sizes=module.params["disk_sizes"])) if module.params["vms"] else {},
            unmanaged=unmanaged.unmanaged_vms() if module.params["unmanaged"] else [],
            **facts,
        )
    except DirectDiskError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
