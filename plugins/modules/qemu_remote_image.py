#!/usr/bin/python
# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Manages one image on a server or on the host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: qemu_remote_image
short_description: Manage a disk image on a server or on the host
version_added: 0.1.0
author: directdisk.qemu contributors (@directdisk)
description:
  - Creates, grows, verifies and removes a disk image, and copies another disk into a new one, with QEMU's own drivers
    and without a mount. The key of one backend, such as O(nfs), or O(uri) says where the image is.
  - Images on NFS, SSH, GlusterFS and of O(file) are files. A new image is created under its name with the suffix
    C(.unfinished-) and a mark of the host, and renamed when it is complete and checked. So nobody sees half of an
    image, and if two hosts create the same image, the second finds it. The next run on the same host removes the
    unfinished image of an interrupted run and starts again.
  - Images on O(nbd), O(sheepdog) and O(host_device) are on storage that exists and has a fixed size. A format or a copy
    is written to it only if it is blank, which means that all of it reads as zeroes, see O(blank_check). While it is
    written it begins with a mark, so that the next run finds an interrupted one.
  - Images on O(http), O(https), O(ftp), O(ftps) and O(tftp) are only read. They are verified. With O(route=stage) this
    host's copy is fetched, refreshed and removed; VMs of this host then use the copy.
  - O(source) is for new images only. It is read as a guest sees it, so a qcow2 can become a raw image, an encrypted
    one, or one on other storage.
  - A raw image is never probed. An image that begins as a qcow2 or another format of disk images is refused, unless
    O(raw_content) confirms that the guest must see these bytes. A source is also refused if it is empty, packed, a
    page of text, or a qcow2 that is truncated or damaged according to qemu-img.
extends_documentation_fragment: [directdisk.qemu.attributes, directdisk.qemu.disk.image]
attributes:
  check_mode:
    description: Predicts the changes. The image and its source are read.
    support: full
  diff_mode:
    description: Shows the state of the image before and after, without secrets.
    support: full
requirements:
  - QEMU 5.2 or later with C(qemu-storage-daemon) and the driver of the storage, libnfs for O(nfs), C(sftp) at the
    server for O(ssh), libgfapi for O(gluster), tgt for O(sheepdog), nbdkit or curl for a url
  - role P(directdisk.qemu.storage_client#role) installs them
notes:
  - A new image requires O(size) or O(source). It is an error if O(size) is less than the size of the source; if it is
    more, a raw copy is followed by zeroes. O(size) must be a multiple of 512 bytes.
  - With O(state=present) it is an error if the folder of the image does not exist, if its server refuses this host or
    does not answer within O(open_timeout), if the existing image is not what is declared (another format, encrypted or
    not, another O(sha256) or O(virtual_size), errors found by O(check)) and O(overwrite) is not set, if it would have
    to shrink and O(allow_shrink) is not set, and if the storage is full. An unfinished image is removed.
  - An image that a VM of this host has open is not removed, shrunk or overwritten unless O(force) is set, and only that
    VM can grow it, see O(monitor). For O(file), QEMU's lock also detects VMs without a unit. VMs of other hosts are not
    known here.
  - SSH cannot shrink an image. NFS and SSH support O(preallocation) only for the tables of a qcow2; GlusterFS and
    O(file) support all of its values.
  - An image is not opened if the header of a qcow2 names another image, or another file for its data, because QEMU
    would open it. The declared O(backing) is allowed.
  - With O(state=absent) it is an error if the storage is read-only, except with O(route=stage), which removes this
    host's copy; and if the storage has a fixed size, which only its server can remove.
  - A redirect to another host is an error, unless O(follow) lists that host. Nothing is kept of a copy from elsewhere.
  - By route V(stage) a copy keeps the server's ETag in an extended attribute of the file. If the file system does not
    support them, only Last-Modified and length are compared.
seealso:
  - module: directdisk.qemu.qemu_disks_info
  - module: directdisk.qemu.qemu_rbd_disk
  - module: directdisk.qemu.qemu_iscsi_disk
  - module: directdisk.qemu.qemu_disks
"""

EXAMPLES = r"""
- name: Make an image on an NFS server, or grow it
  directdisk.qemu.qemu_remote_image:
    nfs: {host: 192.0.2.7, path: /export/scratch.qcow2, user: 1000, group: 1000}
    format: qcow2
    size: 100GiB

- name: Create the root disk of a VM from a golden image, once
  directdisk.qemu.qemu_remote_image:
    nfs: {host: 192.0.2.7, path: /export/web1-root.qcow2, user: 1000, group: 1000}
    format: qcow2
    size: 40GiB
    source:
      https:
        url: https://images.example/debian-13.qcow2
        sha256: 5b2d9ee8bb5dc2a44cbb3a3a3ac3a9e1c1e5e8d2b6b5a1d3b8a6c7f9d0e1f2a3
      format: qcow2

- name: Make a qcow2 over SSH, with larger clusters and all of its tables
  directdisk.qemu.qemu_remote_image:
    ssh:
      host: 192.0.2.8
      user: images
      path: /srv/images/db1.qcow2
      key: "{{ vault_images_key }}"
      host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDMlSStOoczT1LwqYFNXJ9dGLp+ZTbXZyzB9XS7qIEMg
    format: qcow2
    size: 200GiB
    cluster_size: 2MiB
    preallocation: metadata
    lazy_refcounts: true

- name: Create a qcow2 with a backing file that other images share
  directdisk.qemu.qemu_remote_image:
    nfs: {host: 192.0.2.7, path: /export/test1.qcow2, user: 1000, group: 1000}
    format: qcow2
    size: 40GiB
    backing: {file: "nfs://192.0.2.7/export/golden.raw?uid=1000&gid=1000", format: raw}

- name: Make an encrypted image on the host, and take all of its space at once
  directdisk.qemu.qemu_remote_image:
    file: {path: /srv/vms/secret}
    luks: {passphrase: "{{ vault_luks }}"}
    size: 20GiB
    preallocation: falloc

- name: Put an image onto a blank disk of the host
  directdisk.qemu.qemu_remote_image:
    host_device: {path: /dev/disk/by-id/nvme-example}
    source:
      nfs: {host: 192.0.2.7, path: /export/golden.qcow2}
      format: qcow2

- name: Grow the disk of a running VM, whose guest sees it at once
  directdisk.qemu.qemu_remote_image:
    nfs: {host: 192.0.2.7, path: /export/web1-root.qcow2, user: 1000, group: 1000}
    format: qcow2
    size: 60GiB
    monitor: /run/qemu-vm-web1/qmp.sock
    node: root.format

- name: Verify an image that nobody writes to
  directdisk.qemu.qemu_remote_image:
    gluster: {host: 192.0.2.6, volume: images, path: golden.qcow2}
    format: qcow2
    size: 4GiB
    sha256: 5b2d9ee8bb5dc2a44cbb3a3a3ac3a9e1c1e5e8d2b6b5a1d3b8a6c7f9d0e1f2a3
    check: true

- name: Fail if a web server has another image, or redirects to another host than its mirror
  directdisk.qemu.qemu_remote_image:
    https: {url: "https://images.example/debian-13.qcow2"}
    format: qcow2
    virtual_size: 3GiB
    etag: '"66a1b2c3-1a2b3c00"'
    follow: ["https://mirror.example"]

- name: Keep this host's copy of an image up to date
  directdisk.qemu.qemu_remote_image:
    https: {url: "https://images.example/debian-13.qcow2"}
    format: qcow2
    route: stage
    refresh: true

- name: Remove that copy
  directdisk.qemu.qemu_remote_image:
    state: absent
    https: {url: "https://images.example/debian-13.qcow2"}
    format: qcow2
    route: stage
"""

RETURN = r"""
actions:
  description: Changes that were made, or would be in check mode, one line each.
  returned: success
  type: list
  elements: str
  sample: ["create nfs 192.0.2.7:/export/scratch.qcow2 as qcow2 of 100 GiB"]
state:
  description: V(present) if the image exists, or with O(route=stage) this host's copy of it; V(absent) if not.
  returned: success
  type: str
  sample: present
size:
  description: Bytes that a guest sees; null if there is no image, or if its server does not report its length.
  returned: success
  type: int
  sample: 107374182400
format:
  description: Format of the image, V(raw) or V(qcow2); null if there is no image.
  returned: success
  type: str
  sample: qcow2
blockdev:
  description: Nodes with which QEMU on this host opens the image, in the order of their C(-blockdev) options. A secret
    is the id of an object, which is not returned.
  returned: success
  type: list
  elements: dict
  sample:
    - {driver: nfs, node-name: disk.storage, server: {type: inet, host: 192.0.2.7}, path: /export/scratch.qcow2}
    - {driver: qcow2, node-name: disk.format, file: disk.storage}
image:
  description: State of the image at the end, or in check mode the predicted state.
  returned: success
  type: dict
  contains:
    exists:
      description: The image exists; with O(state=absent) and O(route=stage), this host has a copy.
      returned: always
      type: bool
    size:
      description: As RV(size).
      returned: if the image exists
      type: int
    format:
      description: As RV(format); V(luks) if the image is a luks and that is not declared.
      returned: if the image exists
      type: str
    encrypted:
      description: The image is encrypted.
      returned: if the image exists
      type: bool
    cluster_size:
      description: Bytes of a cluster.
      returned: if the image is a qcow2
      type: int
    backing:
      description: Backing file that the header names; empty if there is none.
      returned: if the image is a qcow2
      type: str
    opened_by:
      description: Running VMs of this host that have the image open.
      returned: unless the storage is read-only; with O(state=absent) always
      type: list
      elements: str
    sha256:
      description: Digest of the image as it is stored.
      returned: with O(sha256)
      type: str
    errors:
      description: Errors that qemu-img has found.
      returned: with O(check), for a qcow2 that no VM of this host has open
      type: int
    leaks:
      description: Leaked clusters that qemu-img has found; they waste space and are harmless.
      returned: with O(check), for a qcow2 that no VM of this host has open
      type: int
    content:
      description: V(blank), V(data), or V(unfinished) if a run was interrupted while it wrote.
      returned: if the image is on storage of a fixed size
      type: str
    etag:
      description: ETag of the server; empty if it sent none.
      returned: if the image is behind a url and its server answered
      type: str
    last_modified:
      description: Last-Modified of the server; empty if it sent none.
      returned: if the image is behind a url and its server answered
      type: str
    staged:
      description: This host has a copy.
      returned: with route V(stage), which is the only one of O(tftp), and of others if no better route works
      type: bool
    stale:
      description: The server has another image than this host's copy, by ETag, Last-Modified and length.
      returned: as RV(image.staged), except with O(state=absent)
      type: bool
  sample:
    exists: true
    size: 107374182400
    format: qcow2
    encrypted: false
    cluster_size: 65536
    backing: ""
    opened_by: [web1]
"""

from ansible_collections.directdisk.qemu.plugins.module_utils._images.image.lifecycle import LIFECYCLE
from ansible_collections.directdisk.qemu.plugins.module_utils._images.module import run_disk_module


def main() -> None:
    run_disk_module(LIFECYCLE)


if __name__ == "__main__":
    main()
