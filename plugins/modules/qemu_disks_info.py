#!/usr/bin/python
# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host's part of qemu_disks_info; the controller's part is the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: qemu_disks_info
short_description: Read the state of disks, on storage of any kind
version_added: 0.1.0
author: directdisk.qemu contributors (@directdisk)
description:
  - Reads the images of one or many disks, and changes nothing. With an iSCSI portal alone, it lists the targets.
  - It needs root on the host only where QEMU reads the storage, because that process is confined. Images of Ceph and
    raw LUNs are read by their own libraries, as any user who may reach the storage.
  - If a disk fails, the others are still read. The task then fails at its end, and RV(disks) has the results of all.
options:
  disks:
    description:
      - One disk, a list of disks, or a mapping of names to disks.
      - Each is declared as in the inventory. It has a backend's key or C(uri), and may have C(format), C(luks),
        C(route) and C(provision). C(docs/declaration.md) lists all options, and C(docs/backends/) those of each
        backend. Options for a VM's use of the disk, such as C(cache), are accepted and have no effect.
      - C(name) is the name of the disk in results and errors; in a mapping, its key is the name. A disk without a name
        is named by its backend and storage.
      - C(iscsi) without C(target) lists the targets of the portal and their LUNs.
    type: raw
    required: true
  workers:
    description: Maximum number of disks that are read at the same time, 1 to 32.
    type: int
    default: 4
  open_timeout:
    description: Seconds to wait for the storage of each disk, 1 to 3600.
    type: int
    default: 30
  request:
    description:
      - Internal. The action plugin moves the declarations out of O(disks), where it leaves their names, into this
        option, so that Ansible hides their secrets.
    type: str
extends_documentation_fragment: [directdisk.qemu.attributes]
attributes:
  check_mode:
    description: Reads the storage as without it.
    support: full
  diff_mode:
    description: Nothing changes.
    support: none
requirements:
  - QEMU 5.2 or later on the host, and what the backends of the disks need (role P(directdisk.qemu.storage_client#role))
seealso:
  - module: directdisk.qemu.qemu_disks
  - module: directdisk.qemu.qemu_info
"""

EXAMPLES = r"""
- name: Fail if two clients have an image open
  directdisk.qemu.qemu_disks_info:
    disks:
      rbd: {pool: vms, image: web1-root, user: qemu, key: "{{ vault_ceph_key }}", monitors: [192.0.2.1]}
  register: read
  failed_when: read.disks[0].image.watchers | default([]) | length > 1

- name: Read the disks of a declared VM
  directdisk.qemu.qemu_disks_info:
    disks: "{{ qemu_vms.web1.disks }}"
  become: true

- name: List the targets of a portal and their LUNs
  directdisk.qemu.qemu_disks_info:
    disks:
      iscsi: {portal: 192.0.2.9}
"""

RETURN = r"""
disks:
  description: Results of the disks, in the order of their declarations.
  returned: when the declarations are valid
  type: list
  elements: dict
  contains:
    name:
      description: Name of the disk.
      type: str
      returned: always
      sample: web1-data
    failed:
      description: Always true.
      type: bool
      returned: when the disk failed
    msg:
      description: Error messages, one a line.
      type: str
      returned: when the disk failed
    exception:
      description: The traceback of an error that the collection did not expect; please report it.
      type: str
      returned: when the disk failed by such an error
    state:
      description: V(present) if the image exists, V(absent) if it does not.
      type: str
      returned: when the disk did not fail
    size:
      description: Bytes that a guest sees; null if there is no image.
      type: int
      returned: when the disk did not fail
    format:
      description: Format of the image; null if there is no image.
      type: str
      returned: when the disk did not fail
    blockdev:
      description: Nodes with which QEMU on this host opens the disk, as of M(directdisk.qemu.qemu_disks).
      type: list
      elements: dict
      returned: when the disk did not fail
    image:
      description:
        - State of the image; see the module for its backend.
        - A LUN with data has C(fingerprint), which confirms that it may be overwritten. An image that is not what is
          declared has C(problem). A portal has C(targets), each with its portals, its LUNs, and the error with which it
          refuses this account, empty if it does not.
      type: dict
      returned: when the disk did not fail
  sample:
    - name: web1-data
      state: present
      size: 107374182400
      format: raw
      blockdev:
        - {driver: rbd, node-name: disk.storage, pool: vms, image: web1-data, read-only: true}
        - {driver: raw, node-name: disk.format, file: disk.storage, read-only: true}
      image: {exists: true, size: 107374182400, format: raw}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError
from ansible_collections.directdisk.qemu.plugins.module_utils._host.probe import probe
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.info_entries import read_info_entries
from ansible_collections.directdisk.qemu.plugins.module_utils._images.batch import (
    failure_of,
    inform_about,
    information_of,
    lacking_bindings,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import decode
from ansible_collections.directdisk.qemu.plugins.module_utils._process import private_folders
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "disks": {"type": "raw", "required": True},
            "workers": {"type": "int", "default": 4},
            "open_timeout": {"type": "int", "default": 30},
            "request": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    private_folders.lock_payload()
    try:
        if not module.params["request"]:
            raise DirectDiskError(
                "qemu_disks_info: its action plugin did not run; use the full name directdisk.qemu.qemu_disks_info"
            )
        entries = read_info_entries(decode(module.params["request"])["disks"])
        capabilities = Capabilities.from_probe(probe())
        results = inform_about(
            entries,
            capabilities,
            workers=module.params["workers"],
            open_timeout=module.params["open_timeout"],
            lacking=lacking_bindings(entries, capabilities),
        )
    except DirectDiskError as error:
        module.fail_json(msg=str(error))
    disks, warnings = information_of(results)
    for warning in warnings:
        module.warn(warning)
    failure = failure_of(disks)
    if failure:
        module.fail_json(**failure, disks=disks)
    module.exit_json(changed=False, disks=disks)


if __name__ == "__main__":
    main()
