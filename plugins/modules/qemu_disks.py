#!/usr/bin/python
# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host's part of qemu_disks; the controller's part is the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: qemu_disks
short_description: Manage many disks, on storage of any kind, in one call
version_added: 0.1.0
author: directdisk.qemu contributors (@directdisk)
description:
  - Creates, grows or removes the images of disks, as M(directdisk.qemu.qemu_rbd_disk),
    M(directdisk.qemu.qemu_iscsi_disk) and M(directdisk.qemu.qemu_remote_image) do for one disk each. A further disk
    takes milliseconds, not a task.
  - Several workers on the host process the disks. They need no mount, no login and no daemon of the host.
  - The declarations of all disks are checked on the controller first. If one is wrong, no storage is changed.
  - If the work takes long, its progress is printed every few seconds. It goes on if the connection is lost, and the
    next run waits for its end. With C(async), Ansible waits for it, and prints no progress.
  - If a disk fails, the others are still processed. The task then fails at its end, and RV(disks) has the results of
    all disks.
options:
  disks:
    description:
      - The disks, as a list, or as a mapping of names to disks.
      - Each is declared as in the inventory. It has a backend's key or C(uri), and may have C(format), C(luks),
        C(route), C(size), C(source) and C(provision), which takes the options of the module for its backend.
        C(docs/declaration.md) lists all options, and C(docs/backends/) those of each backend. Options for a VM's use
        of the disk, such as C(cache), are accepted and have no effect.
      - C(state) is V(present) by default, which creates the disk or changes it to what is declared; V(absent) removes
        it. M(directdisk.qemu.qemu_disks_info) only reads disks.
      - C(name) is the name of the disk in results and errors; in a mapping, its key is the name. A disk without a name
        is named by its backend and storage.
      - C(monitor) is the QMP socket of the running VM that has the disk open, and C(node) the name of the disk's
        node in it. The disk of a running VM is grown by the VM itself.
      - The same storage may be listed twice only if nothing changes it.
    type: raw
    required: true
  workers:
    description: Maximum number of disks that are processed at the same time, 1 to 32.
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
    description: Predicts the changes. The storage is read.
    support: full
  diff_mode:
    description: Shows the state of each changed disk before and after, without secrets.
    support: full
requirements:
  - root on the host, such as by C(become=true)
  - QEMU 5.2 or later on the host, and what the backends of the disks need (role P(directdisk.qemu.storage_client#role))
seealso:
  - module: directdisk.qemu.qemu_disks_info
  - module: directdisk.qemu.qemu_vms
  - module: directdisk.qemu.qemu_rbd_disk
  - module: directdisk.qemu.qemu_iscsi_disk
  - module: directdisk.qemu.qemu_remote_image
"""

EXAMPLES = r"""
- name: An empty RBD image, and a qcow2 image on an NFS server that is a copy of an image on a web server
  directdisk.qemu.qemu_disks:
    disks:
      - rbd: {pool: vms, image: web1-data, user: qemu, key: "{{ vault_ceph_key }}", monitors: [192.0.2.1]}
        size: 100GiB
      - nfs: {host: 192.0.2.7, path: /export/web1.qcow2}
        format: qcow2
        size: 20GiB
        source: {https: {url: "https://images.example/debian-13.qcow2"}, format: qcow2}

- name: Remove a disk
  directdisk.qemu.qemu_disks:
    disks:
      old:
        nfs: {host: 192.0.2.7, path: /export/old.qcow2}
        format: qcow2
        state: absent

- name: The disks of a declared VM, with a short timeout for servers that do not answer
  directdisk.qemu.qemu_disks:
    disks: "{{ qemu_vms.web1.disks }}"
    workers: 8
    open_timeout: 5
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
    changed:
      description: The disk was changed, or would be in check mode.
      type: bool
      returned: always
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
    refused:
      description: The declaration cannot be applied to this storage or on this host.
      type: bool
      returned: when the disk failed
    state:
      description: V(present) if the image exists now, V(absent) if it does not.
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
    actions:
      description: Changes that were made, or would be in check mode, one line each.
      type: list
      elements: str
      returned: when the disk did not fail
    blockdev:
      description:
        - Nodes with which QEMU on this host opens the disk, in the order of their C(-blockdev) options. A secret is
          the id of an object, which is not returned.
        - A file of the VM's unit has a path that begins with a variable of systemd, such as C($CREDENTIALS_DIRECTORY),
          and C(VM) stands for the VM's name.
      type: list
      elements: dict
      returned: when the disk did not fail
    image:
      description: State of the image at the end, or in check mode the predicted state; see the module for its backend.
      type: dict
      returned: when the disk did not fail
  sample:
    - name: web1-data
      changed: true
      state: present
      size: 107374182400
      format: raw
      actions: [create rbd vms/web1-data of 100 GiB]
      blockdev:
        - {driver: rbd, node-name: disk.storage, pool: vms, image: web1-data, read-only: false}
        - {driver: raw, node-name: disk.format, file: disk.storage, read-only: false}
      image: {exists: true, size: 107374182400, format: raw}
"""

from collections.abc import Iterable
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError
from ansible_collections.directdisk.qemu.plugins.module_utils._host.probe import probe
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.entries import read_entries
from ansible_collections.directdisk.qemu.plugins.module_utils._images.batch import (
    ReconciledDisk,
    answer_of,
    failure_of,
    lacking_bindings,
    reconcile_all,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.disk_requests import DisksWork
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import decode
from ansible_collections.directdisk.qemu.plugins.module_utils._process import jobs, private_folders, privileges
from ansible_collections.directdisk.qemu.plugins.module_utils._process.progress import ProgressBoard
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities


def result_of(results: Iterable[ReconciledDisk]) -> dict[str, Any]:
    """Return the result of the module; ``failed`` if a disk failed."""
    done = answer_of(results)
    failure = failure_of(done["disks"])
    changed = any(disk["changed"] for disk in done["disks"])
    return {"changed": changed, **done, **({"failed": True, **failure} if failure else {})}


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
        privileges.require_root()
        if not module.params["request"]:
            raise DirectDiskError(
                "qemu_disks: its action plugin did not run; use the full name directdisk.qemu.qemu_disks"
            )
        request: DisksWork = decode(module.params["request"])
        check_mode = module.check_mode or request["predict"]
        entries = read_entries(request["disks"])
        capabilities = Capabilities.from_probe(probe())
        options = {name: module.params[name] for name in ("workers", "open_timeout")}
        # This may restart the module, so it comes before a process of its own.
        options["lacking"] = lacking_bindings(entries, capabilities)
    except DirectDiskError as error:
        module.fail_json(msg=str(error))

    def work(board: ProgressBoard) -> dict[str, Any]:
        return result_of(reconcile_all(entries, capabilities, check_mode=check_mode, board=board, **options))

    seconds = None if check_mode else request.get("wait")
    done = work(ProgressBoard()) if seconds is None else jobs.run(work, seconds=seconds)
    for warning in done.pop("warnings", ()):
        module.warn(warning)
    if done.pop("failed", False):
        module.fail_json(**done)
    module.exit_json(**done)


if __name__ == "__main__":
    main()
