#!/usr/bin/python
# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Manages one RBD image of a Ceph cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
module: qemu_rbd_disk
short_description: Manage an RBD image of a Ceph cluster
version_added: 0.1.0
author: directdisk.qemu contributors (@directdisk)
description:
  - Creates an image empty, as a clone of a snapshot of the same cluster, or as a copy of any other disk; grows it;
    shrinks, renames and rolls it back if the options ask for it; manages its snapshots, metadata and configuration;
    removes it or moves it to the trash.
  - A new image gets its name when it is complete. An image that gets data, a format or encryption has the suffix
    C(.directdisk-part-) with a mark of the host until then, and is kept open. So two hosts can create the same image
    at the same time, and the second finds it. The next run removes the unfinished image of an interrupted run, on
    another host only if no client has it open. This may take 30 seconds, until the cluster drops the watch of the
    killed client.
  - An image that a client has open is not removed, renamed, shrunk or rolled back unless O(force) is set.
    RV(image.watchers) lists the clients.
  - Uses Ceph's own Python bindings and, for images with a format and for copies, QEMU. The host maps and mounts
    nothing. If the Python that runs the module has no bindings, the module continues under the distribution's own.
  - A raw image is never probed. An image that begins as a qcow2 or another format of disk images is refused, unless
    O(raw_content) confirms that the guest must see these bytes.
extends_documentation_fragment: [directdisk.qemu.attributes, directdisk.qemu.disk.rbd]
attributes:
  check_mode:
    description: Predicts the changes. The cluster and the source are read.
    support: full
  diff_mode:
    description: Shows the state of the image before and after, without secrets.
    support: full
  idempotent:
    description: A second run changes nothing. An image is rolled back only if it differs from the snapshot.
    support: full
requirements:
  - python3-rados and python3-rbd of the distribution, Ceph 14 or later; Ceph 16 for O(encryption) of new images and
    for O(thick)
  - QEMU's rbd driver, such as in qemu-block-extra, for images with a format and for copies
  - role P(directdisk.qemu.storage_client#role) installs them
seealso:
  - module: directdisk.qemu.qemu_disks_info
  - module: directdisk.qemu.qemu_disks
  - module: directdisk.qemu.qemu_vms
notes:
  - The user needs the caps C(mon 'profile rbd') and C(osd 'profile rbd pool=POOL') for each pool, with
    C(namespace=NAMESPACE) appended for one namespace.
  - A snapshot must be protected before it is cloned if the cluster still supports clients older than Ceph 13.2, see
    C(ceph osd get-require-min-compat-client).
  - Ceph blocks writers while OSDs are lost or a pool is full. A run that waits longer than O(open_timeout) fails; it
    leaves no image, and the next run starts again.
  - A raw image can be grown, and every image flattened, while a client has it open. The guest sees the new size at
    once if O(monitor) and O(node) are those of its VM.
"""

EXAMPLES = r"""
- name: Make an image, or grow it
  directdisk.qemu.qemu_rbd_disk:
    pool: vms
    image: web1-data
    user: qemu
    key: "{{ vault_ceph_key }}"
    monitors: [192.0.2.1, 192.0.2.2, 192.0.2.3]
    size: 100GiB

- name: The same with Ceph's configuration files of the host, in a namespace, and with data in an erasure-coded pool
  directdisk.qemu.qemu_rbd_disk:
    pool: vms
    namespace: tenant
    image: web1-data
    user: tenant
    size: 100GiB
    data_pool: vms-data
    object_size: 8MiB
    features: [layering, exclusive-lock, object-map, fast-diff]

# The tasks below leave out the options of the cluster. They can be set once, with
#   module_defaults: {directdisk.qemu.qemu_rbd_disk: "{{ ceph_cluster }}"}
- name: Import a golden image from a web server, and take a protected snapshot of it
  directdisk.qemu.qemu_rbd_disk:
    pool: images
    image: debian-13
    source:
      https: {url: "https://images.example/debian-13.qcow2"}
      format: qcow2
    snapshots:
      - {name: golden, protected: true}

- name: Clone it into a larger image
  directdisk.qemu.qemu_rbd_disk:
    pool: vms
    image: web1-root
    size: 40GiB
    source:
      rbd: "{{ ceph_cluster | combine({'pool': 'images', 'image': 'debian-13', 'snapshot': 'golden'}) }}"

- name: Make it independent of the golden image
  directdisk.qemu.qemu_rbd_disk:
    pool: vms
    image: web1-root
    flatten: true

- name: Limit it, and say whose it is
  directdisk.qemu.qemu_rbd_disk:
    pool: vms
    image: web1-root
    image_config: {rbd_qos_iops_limit: 2000, rbd_cache: null}
    metadata: {owner: web team}

- name: An image that Ceph encrypts
  directdisk.qemu.qemu_rbd_disk:
    pool: vms
    image: secret
    size: 10GiB
    encryption: {format: luks2, passphrase: "{{ vault_disk_passphrase }}"}

- name: An image that QEMU encrypts
  directdisk.qemu.qemu_rbd_disk:
    pool: vms
    image: secret2
    size: 10GiB
    luks: {passphrase: "{{ vault_disk_passphrase }}"}

- name: Grow the disk of a running VM, whose guest sees it at once
  directdisk.qemu.qemu_rbd_disk:
    pool: vms
    image: web1-root
    size: 60GiB
    monitor: /run/qemu-vm-web1/qmp.sock
    node: root.format

- name: A snapshot before an upgrade
  directdisk.qemu.qemu_rbd_disk:
    pool: vms
    image: web1-root
    snapshots: [{name: before-upgrade}]

- name: Roll back to it, while the VM is stopped
  directdisk.qemu.qemu_rbd_disk:
    pool: vms
    image: web1-root
    rollback: before-upgrade

- name: Remove a snapshot
  directdisk.qemu.qemu_rbd_disk:
    pool: vms
    image: web1-root
    snapshots: [{name: before-upgrade, state: absent}]

- name: Rename an image
  directdisk.qemu.qemu_rbd_disk:
    pool: vms
    image: www1-root
    renamed_from: web1-root

- name: Move an image to the trash for a week
  directdisk.qemu.qemu_rbd_disk:
    pool: vms
    image: www1-root
    state: absent
    trash: true
    trash_seconds: 604800

- name: Restore it from the trash
  directdisk.qemu.qemu_rbd_disk:
    pool: vms
    image: www1-root
    restore: true

- name: Delete an image with its snapshots
  directdisk.qemu.qemu_rbd_disk:
    pool: vms
    image: web1-data
    state: absent
    with_snapshots: true
"""

RETURN = r"""
state:
  description: V(present) if the image exists now, V(absent) if it does not.
  returned: success
  type: str
  sample: present
size:
  description: Bytes that a guest sees; null if there is no image.
  returned: success
  type: int
  sample: 107374182400
format:
  description: Format of the image, as declared; null if there is no image.
  returned: success
  type: str
  sample: raw
actions:
  description: Changes that were made, or would be in check mode, one line each.
  returned: success
  type: list
  elements: str
  sample: ["create rbd vms/web1-data of 100 GiB"]
blockdev:
  description:
    - Nodes with which QEMU on this host opens the image, in the order of their C(-blockdev) options. A secret is the
      id of an object, which is not returned.
    - A file of the VM's unit has a path that begins with a variable of systemd, such as C($CREDENTIALS_DIRECTORY).
  returned: success
  type: list
  elements: dict
  sample:
    - {driver: rbd, node-name: disk.storage, pool: vms, image: web1-data, read-only: false}
    - {driver: raw, node-name: disk.format, file: disk.storage, read-only: false}
image:
  description: State of the image at the end, or in check mode the predicted state.
  returned: success
  type: dict
  contains:
    exists:
      description: The image exists. If it does not, only RV(image.incomplete) may be returned beside it.
      type: bool
      returned: always
    size:
      description: Bytes that a guest sees; null for an image with a format or encryption that is to be removed.
      type: int
      returned: if the image exists
    stored_size:
      description: Bytes of the image with its format or encryption; not predicted for a new image.
      type: int
      returned: if the image has a format or is encrypted
    format:
      description: Format of the image, as declared.
      type: str
      returned: if the image exists
    features:
      description: Features of the image.
      type: list
      elements: str
      returned: if the image exists
    object_size:
      description: Bytes of one object.
      type: int
      returned: if the image exists
    stripe_unit:
      description: Bytes written to one object before the next.
      type: int
      returned: if the image exists
    stripe_count:
      description: Number of objects that the image is striped over.
      type: int
      returned: if the image exists
    data_pool:
      description: Pool of the data; empty if it is the image's own pool.
      type: str
      returned: if the image exists
    parent:
      description: Snapshot that the image is a clone of; empty if it is not a clone.
      type: str
      returned: if the image exists
    children:
      description: Clones of all snapshots of the image.
      type: list
      elements: str
      returned: if the image exists
    snapshots:
      description: Snapshots sorted by name, each with C(protected) and with its clones as C(children).
      type: list
      elements: dict
      returned: if the image exists
    metadata:
      description: Metadata of the image.
      type: dict
      returned: if the image exists
    image_config:
      description: Options of Ceph's client that are set for this image.
      type: dict
      returned: if the image exists
    watchers:
      description: Addresses of the clients that have the image open for writing.
      type: list
      elements: str
      returned: if the image exists
    lock:
      description: Address of the client that holds the exclusive lock; empty if no client does.
      type: str
      returned: if the image exists
    incomplete:
      description: An unfinished image of a running or interrupted run on this host; C(watchers) are the clients that
        have it open.
      type: dict
      returned: if there is one
  sample:
    exists: true
    size: 107374182400
    format: raw
    features: [deep-flatten, exclusive-lock, fast-diff, layering, object-map]
    object_size: 4194304
    stripe_unit: 4194304
    stripe_count: 1
    data_pool: ""
    parent: images/debian-13@golden
    children: []
    snapshots: [{name: before-upgrade, protected: false, children: []}]
    metadata: {owner: web team}
    image_config: {rbd_qos_iops_limit: "2000"}
    watchers: ["192.0.2.11:0/1702947012"]
    lock: "192.0.2.11:0/1702947012"
"""

from ansible_collections.directdisk.qemu.plugins.module_utils._images.module import run_disk_module
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.lifecycle import LIFECYCLE


def main() -> None:
    run_disk_module(LIFECYCLE)


if __name__ == "__main__":
    main()
