#!/usr/bin/python
# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One image of a Ceph cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
module: qemu_rbd_disk
short_description: Keep an RBD image of a Ceph cluster
version_added: 0.1.0
author: directdisk.qemu contributors (@directdisk)
description:
  - Makes an image empty, as a clone of a snapshot of the same cluster, or as a copy of any other disk; grows it;
    shrinks, renames and rolls it back where that is said; keeps its snapshots, metadata and configuration; removes it
    or moves it to the trash.
  - A new image has its name only once it is whole. Until then one that gets data, a format or encryption is called as
    it will be, with C(.directdisk-part-) and a mark of the host behind, and is open until it has its name. So two
    hosts can make the same image at once; the second finds it made. What a run left that was killed is no image for
    anybody, and the next run removes it, also on another host once no client has it open. It may wait 30 seconds for
    that, until the cluster has forgotten the client that was killed.
  - An image that a client has open is not removed, renamed, shrunk or rolled back unless O(force) says so. Whoever
    has it open is in RV(image.watchers).
  - Talks to the cluster through Ceph's own Python bindings and, where the image has a format or is copied, through
    QEMU; the host maps and mounts nothing. Where the Python that runs the module has no bindings, it goes on under the
    distribution's own.
  - A raw image is never probed. One that begins as a qcow2 or another format of disk images is refused, unless
    O(raw_content) says that the guest must see these bytes.
extends_documentation_fragment: [directdisk.qemu.attributes, directdisk.qemu.disk.rbd]
attributes:
  check_mode:
    description: Says what would change without changing it. The cluster and the source are looked at.
    support: full
  diff_mode:
    description: Shows what a look at the image finds before and after. Never a secret.
    support: full
  idempotent:
    description: A second run changes nothing. An image is rolled back only where it differs from the snapshot.
    support: full
requirements:
  - python3-rados and python3-rbd of the distribution, Ceph 14 or later; Ceph 16 for O(encryption) of new images and
    for O(thick)
  - QEMU's rbd driver, such as in qemu-block-extra, for images with a format and for copies
  - role P(directdisk.qemu.storage_client#role) installs them
seealso:
  - module: directdisk.qemu.qemu_disks
  - module: directdisk.qemu.qemu_vms
notes:
  - The user needs the caps C(mon 'profile rbd') and C(osd 'profile rbd pool=POOL') for each pool, with
    C(namespace=NAMESPACE) behind for one namespace.
  - A snapshot that is to be cloned must be protected in a cluster that still expects clients older than Ceph 13.2,
    as C(ceph osd get-require-min-compat-client) says.
  - Ceph lets writers wait where OSDs are gone or a pool is full. A run that waits for longer than O(open_timeout)
    fails instead; it leaves no image, and the next run begins anew.
  - A raw image can be grown, and any flattened, while a client has it open. That sees a new size at once where
    O(monitor) and O(node) are those of its machine.
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

- name: The same with what Ceph's own files on the host say, in a namespace, and with data in an erasure-coded pool
  directdisk.qemu.qemu_rbd_disk:
    pool: vms
    namespace: tenant
    image: web1-data
    user: tenant
    size: 100GiB
    data_pool: vms-data
    object_size: 8MiB
    features: [layering, exclusive-lock, object-map, fast-diff]

# The tasks below leave out how the cluster is reached: it can be said once, with
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

- name: Grow the disk of a running machine, whose guest sees it at once
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

- name: Back to it, while the machine is stopped
  directdisk.qemu.qemu_rbd_disk:
    pool: vms
    image: web1-root
    rollback: before-upgrade

- name: Remove a snapshot
  directdisk.qemu.qemu_rbd_disk:
    pool: vms
    image: web1-root
    snapshots: [{name: before-upgrade, state: absent}]

- name: Give an image another name
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

- name: Take it back
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

- name: Who has an image open
  directdisk.qemu.qemu_rbd_disk:
    pool: vms
    image: www1-root
    state: info
  register: found
  failed_when: found.image.watchers | default([]) | length > 1
"""

RETURN = r"""
state:
  description: Whether there is an image now, V(present) or V(absent).
  returned: success
  type: str
  sample: present
size:
  description: Bytes that a guest sees; none where there is no image.
  returned: success
  type: int
  sample: 107374182400
format:
  description: Format of the image, as declared; none where there is no image.
  returned: success
  type: str
  sample: raw
actions:
  description: What was changed, or would be in check mode, one line each.
  returned: success
  type: list
  elements: str
  sample: ["create rbd vms/web1-data of 100 GiB"]
blockdev:
  description:
    - The nodes with which QEMU on this host opens the image, each after those it stands on, as C(-blockdev) takes
      them. A secret is the name of an object, which is not returned.
  returned: success
  type: list
  elements: dict
  sample:
    - {driver: rbd, node-name: disk.storage, pool: vms, image: web1-data, read-only: false}
    - {driver: raw, node-name: disk.format, file: disk.storage, read-only: false}
image:
  description: What a look at the image found at the end, or would find.
  returned: success
  type: dict
  contains:
    exists:
      description: Whether there is an image. Where there is none, only RV(image.incomplete) may stand beside it.
      type: bool
      returned: always
    size:
      description: Bytes that a guest sees.
      type: int
      returned: where there is an image, but for one with a format that is to be removed
    stored_size:
      description: Bytes that the image has with its format or encryption; not known in check mode where that changes.
      type: int
      returned: where the image has a format or is encrypted
    format:
      description: Format of the image, as declared.
      type: str
      returned: where there is an image
    features:
      description: The features that the image has.
      type: list
      elements: str
      returned: where there is an image
    object_size:
      description: Bytes of one object.
      type: int
      returned: where there is an image
    stripe_unit:
      description: Bytes that go to one object before the next gets some.
      type: int
      returned: where there is an image
    stripe_count:
      description: Objects over which the image is striped at a time.
      type: int
      returned: where there is an image
    data_pool:
      description: Pool that has the data; empty where that is the image's own.
      type: str
      returned: where there is an image
    parent:
      description: The snapshot that the image is a clone of; empty where it is none.
      type: str
      returned: where there is an image
    children:
      description: The clones of all snapshots of the image.
      type: list
      elements: str
      returned: where there is an image
    snapshots:
      description: The snapshots by their names, each with C(protected) and with its clones as C(children).
      type: list
      elements: dict
      returned: where there is an image
    metadata:
      description: Metadata of the image.
      type: dict
      returned: where there is an image
    image_config:
      description: Options of Ceph's client that the image has of its own.
      type: dict
      returned: where there is an image
    watchers:
      description: Addresses of the clients that have the image open to write to it.
      type: list
      elements: str
      returned: where there is an image
    lock:
      description: Address of the client that holds the exclusive lock; empty where nobody does.
      type: str
      returned: where there is an image
    incomplete:
      description: What another run has not finished, or was killed over; C(watchers) are the clients that still
        write to it.
      type: dict
      returned: where there is something of that kind
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


def main() -> None:
    run_disk_module("rbd")


if __name__ == "__main__":
    main()
