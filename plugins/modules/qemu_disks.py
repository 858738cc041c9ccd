#!/usr/bin/python
# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host's part of qemu_disks; the controller's part is the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: qemu_disks
short_description: Keep many disks, on storage of any kind, in one call
version_added: 0.1.0
author: directdisk.qemu contributors (@directdisk)
description:
  - Makes, grows, looks at or removes the images of disks, as M(directdisk.qemu.qemu_rbd_disk),
    M(directdisk.qemu.qemu_iscsi_disk) and M(directdisk.qemu.qemu_remote_image) do with one each; a disk more costs
    milliseconds, not a task.
  - Several workers on the host take the disks in turn. They need no mount, no login and no daemon of the host's.
  - The declarations of all disks are checked on the controller first; nothing on any storage changes while one of
    them is wrong.
  - A disk that fails does not keep the others from being worked on. The task fails at its end then, and RV(disks) has
    the results of those that were done.
options:
  disks:
    description:
      - The disks, as a list, or as a mapping of names to disks.
      - Each is declared as in the inventory. It has a backend's key or C(uri), and may have C(format), C(luks),
        C(route), C(size), C(source) and C(provision), which takes the options of the module for its backend. All of
        them stand in C(docs/declaration.md). What is said there of a machine's use of the disk, such as C(cache), is
        taken and has no effect.
      - C(state) is V(present) by default and makes the disk as it is declared; V(absent) removes it; V(info) only
        looks at it.
      - C(name) is what results and errors call the disk; in a mapping, its key does. Without a name it is called by
        its backend and storage.
      - C(monitor) is the QMP socket of the running machine that has the disk open, and C(node) the name of the disk's
        node in it. A disk of a running machine is grown by the machine itself.
      - The same storage may be given twice only where nothing changes it.
    type: raw
    required: true
  workers:
    description: Most disks that are worked on at the same time, 1 to 64.
    type: int
    default: 4
  open_timeout:
    description: Seconds that the storage of each disk has to answer, 1 to 3600.
    type: int
    default: 30
  request:
    description:
      - Not for people. The action plugin moves the declarations out of O(disks), where it leaves their names, into this
        option, so that Ansible hides their secrets.
    type: str
extends_documentation_fragment: [directdisk.qemu.attributes]
attributes:
  check_mode:
    description: Says what would change without changing it. The storage is looked at.
    support: full
  diff_mode:
    description: Shows what a look at each disk that changes finds before and after. Never a secret.
    support: full
requirements:
  - QEMU 5.2 or later on the host, and what the backends of the disks need (role P(directdisk.qemu.storage_client#role))
seealso:
  - module: directdisk.qemu.qemu_vms
  - module: directdisk.qemu.qemu_rbd_disk
  - module: directdisk.qemu.qemu_iscsi_disk
  - module: directdisk.qemu.qemu_remote_image
"""

EXAMPLES = r"""
- name: An empty RBD image, and a qcow2 image on an NFS server that begins as what a web server has
  directdisk.qemu.qemu_disks:
    disks:
      - rbd: {pool: vms, image: web1-data, user: qemu, key: "{{ vault_ceph_key }}", monitors: [192.0.2.1]}
        size: 100GiB
      - nfs: {host: 192.0.2.7, path: /export/web1.qcow2}
        format: qcow2
        size: 20GiB
        source: {https: {url: "https://images.example/debian-13.qcow2"}, format: qcow2}

- name: Remove a disk and look at another, which keeps its size
  directdisk.qemu.qemu_disks:
    disks:
      old:
        nfs: {host: 192.0.2.7, path: /export/old.qcow2}
        format: qcow2
        state: absent
      shared:
        iscsi: {portal: 192.0.2.9, target: "iqn.2026-01.example:web1", lun: 1}
        state: info

- name: The disks of a declared machine, before anything else of it; a server that is silent is given up soon
  directdisk.qemu.qemu_disks:
    disks: "{{ qemu_vms.web1.disks }}"
    workers: 8
    open_timeout: 5
"""

RETURN = r"""
disks:
  description: What became of each disk, in the order in which they were given.
  returned: when the declarations are right
  type: list
  elements: dict
  contains:
    name:
      description: What the disk is called.
      type: str
      returned: always
      sample: web1-data
    changed:
      description: Whether the disk was changed, or would be in check mode.
      type: bool
      returned: always
    failed:
      description: Always true.
      type: bool
      returned: when the disk failed
    msg:
      description: Why it failed, one error a line.
      type: str
      returned: when the disk failed
    exception:
      description: The traceback of an error that the collection did not expect; please report it.
      type: str
      returned: when the disk failed by such an error
    refused:
      description: Whether it failed because it cannot be as it is declared, on this host or as the storage was found.
      type: bool
      returned: when the disk failed
    state:
      description: Whether there is an image now, V(present) or V(absent).
      type: str
      returned: when the disk did not fail
    size:
      description: Bytes that a guest sees; none where there is no image.
      type: int
      returned: when the disk did not fail
    format:
      description: Format of the image; none where there is no image.
      type: str
      returned: when the disk did not fail
    actions:
      description: What was changed, or would be in check mode, one line each.
      type: list
      elements: str
      returned: when the disk did not fail
    blockdev:
      description:
        - The nodes with which QEMU on this host opens the disk, each after those it stands on, as C(-blockdev) takes
          them. A secret is the name of an object, which is not returned.
      type: list
      elements: dict
      returned: when the disk did not fail
    image:
      description: What a look at the image found at the end, or would find; see the module for its backend.
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

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import CapabilityError, DirectDiskError
from ansible_collections.directdisk.qemu.plugins.module_utils._host.bindings import need_bindings
from ansible_collections.directdisk.qemu.plugins.module_utils._host.probe import probe
from ansible_collections.directdisk.qemu.plugins.module_utils._images import batch
from ansible_collections.directdisk.qemu.plugins.module_utils._images.module import shown_changes
from ansible_collections.directdisk.qemu.plugins.module_utils._process import private_folders
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities


def answer(results: list[dict[str, Any]]) -> dict[str, Any]:
    """The module's answer; ``warnings`` in it are yet to be said."""
    disks, diff, warnings = [], [], []
    for result in results:
        before, after = result.pop("before", {}), result.pop("after", {})
        warnings += [f"disk {result['name']}: {warning}" for warning in result.pop("warnings", ())]
        if result["changed"]:
            diff.append(shown_changes(result["name"], result["actions"], before, after))
        disks.append(result if result.get("failed") else {**result, "image": after})
    return {"changed": any(disk["changed"] for disk in disks), "disks": disks, "diff": diff, "warnings": warnings}


def lacking(entries: list[batch.Entry], capabilities: Capabilities) -> dict[str, DirectDiskError]:
    """Why this host cannot keep the images of a backend, by its name; the module may begin anew elsewhere for it."""
    reasons: dict[str, DirectDiskError] = {}
    for backend in {entry.desired.disk.backend.name: entry.desired.disk.backend for entry in entries}.values():
        try:
            need_bindings([backend], capabilities.family)
        except CapabilityError as error:
            reasons[backend.name] = error
    return reasons


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
            raise DirectDiskError("qemu_disks: its action plugin did not run; call it as directdisk.qemu.qemu_disks")
        request = batch.decode(module.params["request"])
        entries = batch.read_entries(request["disks"])
        capabilities = Capabilities.from_probe(probe())
        results = batch.reconcile_all(
            entries,
            capabilities,
            workers=module.params["workers"],
            open_timeout=module.params["open_timeout"],
            check_mode=module.check_mode or request["predict"],
            lacking=lacking(entries, capabilities),
        )
    except DirectDiskError as error:
        module.fail_json(msg=str(error))
    done = answer(results)
    for warning in done.pop("warnings"):
        module.warn(warning)
    failed = [disk for disk in done["disks"] if disk.get("failed")]
    if failed:
        unexpected = "\n".join(disk["exception"] for disk in failed if "exception" in disk)
        more = {"exception": unexpected} if unexpected else {}
        module.fail_json(msg="\n".join(disk["msg"] for disk in failed), **more, **done)
    module.exit_json(**done)


if __name__ == "__main__":
    main()
