#!/usr/bin/python
# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One image on a server or on the host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: qemu_remote_image
short_description: Keep a disk image on a server or on the host
version_added: 0.1.0
author: directdisk.qemu contributors (@directdisk)
description:
  - Makes, grows, verifies and removes a disk image, and copies another disk into a new one, through QEMU's own drivers
    and without a mount.
  - Images on NFS, SSH, GlusterFS and of O(file) are files. A new one is made beside its place, under its name with
    C(.unfinished-) and a name of the host behind, and is put in its place when it is whole and checked. So nobody sees
    half of it, and of two hosts that make the same image the second finds it made. What a run left that was killed is
    removed by the next one on that host, which begins anew.
  - Images on O(nbd), O(sheepdog) and O(host_device) are on disks that are there and have the size that they have. They
    are looked at; a format or a copy is written on them where they are blank, which they are if all of
    them reads as zeroes, see O(blank_check). While that is written they begin with a mark, by which the next run sees
    that it was killed.
  - Images on O(http), O(https), O(ftp), O(ftps) and O(tftp) are only read. They are verified, and with O(route=stage)
    this host's copy of them is fetched, refreshed and removed, which is where machines of this host read them then.
  - O(source) is for new images alone. It is read as a guest would see it, so a qcow2 can become a raw image, an
    encrypted one, or one on other storage.
  - A raw image is never probed. One that begins as a qcow2 or another format of disk images is refused, unless
    O(raw_content) says that the guest must see these bytes; a source is refused too where it is empty, packed, a page,
    or a qcow2 that qemu-img finds cut off or damaged.
extends_documentation_fragment: [directdisk.qemu.attributes, directdisk.qemu.disk.image]
attributes:
  check_mode:
    description: Says what would change without changing it. The image and its source are looked at.
    support: full
  diff_mode:
    description: Shows what a look at the image finds before and after. Never a secret.
    support: full
requirements:
  - QEMU 5.2 or later with C(qemu-storage-daemon) and the driver of the storage, libnfs for O(nfs), C(sftp) at the
    server for O(ssh), libgfapi for O(gluster), tgt for O(sheepdog), nbdkit or curl for a url
  - role P(directdisk.qemu.storage_client#role) installs them
notes:
  - A new image wants O(size) or O(source). It has no room for its source where O(size) is less than that; a raw copy is
    followed by zeroes where it is more. O(size) must be a multiple of 512 bytes.
  - With O(state=present) it is an error if the folder of the image is not there, if its server does not answer within
    O(open_timeout) or refuses this host, if an image is there that is not what is declared (another format,
    encrypted or not, another O(sha256) or O(virtual_size), errors found by O(check)) and O(overwrite) is not said, if
    it would have to shrink and O(allow_shrink) is not said, and if the storage is full; what could not be finished is
    removed then.
  - An image that a machine of this host has open is not removed, shrunk or overwritten unless O(force) says so, and
    grown by that machine alone, see O(monitor). For O(file), a machine of which no unit tells is noticed by QEMU's
    lock, too. Machines of other hosts are not known here.
  - SSH cannot make an image smaller. NFS, SSH and GlusterFS have no preallocation but that of the tables of a qcow2;
    GlusterFS and O(file) have all of it.
  - Where the header of a qcow2 names another image, or another file for its data, the image is not opened, unless it is
    O(backing) that it names. For QEMU would open whatever is named there.
  - With O(state=absent) it is an error if the storage is only read, but for O(route=stage), which removes this
    host's copy; and if it is a disk of fixed size, which is its server's to remove.
  - Where a server sends its clients on to another host, that is an error, unless O(follow) has the place. Nothing is
    kept of a copy that comes from elsewhere.
  - By route V(stage) a copy of an image remembers the ETag that the server said when it was fetched, in an attribute of
    the file; where the file system has no such attributes, it is compared by Last-Modified and length alone.
seealso:
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

- name: Make the root disk of a machine from a golden image, once
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

- name: Make a qcow2 that stands on another image, which it shares with others
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

- name: Grow the disk of a running machine, whose guest sees it at once
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

- name: Fail once a web server has another image, or is to send us anywhere but to its mirror
  directdisk.qemu.qemu_remote_image:
    https: {url: "https://images.example/debian-13.qcow2"}
    format: qcow2
    virtual_size: 3GiB
    etag: '"66a1b2c3-1a2b3c00"'
    follow: ["https://mirror.example"]

- name: Have this host's copy of an image, the newest that there is
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
  description: What was done, or would be done in check mode, as orders to a person.
  returned: success
  type: list
  elements: str
  sample: ["create nfs 192.0.2.7:/export/scratch.qcow2 as qcow2 of 100 GiB"]
state:
  description: V(present) where there is an image, or this host's copy of one with O(route=stage); V(absent) where not.
  returned: success
  type: str
  sample: present
size:
  description: Bytes that a guest sees; none where there is no image, or where its server does not say how long it is.
  returned: success
  type: int
  sample: 107374182400
format:
  description: Format of the image, V(raw) or V(qcow2); none where there is no image.
  returned: success
  type: str
  sample: qcow2
blockdev:
  description: The nodes with which QEMU on this host opens the image, each after those it stands on. A secret is the
    id of an object, which is not returned.
  returned: success
  type: list
  elements: dict
  sample:
    - {driver: nfs, node-name: disk.storage, server: {type: inet, host: 192.0.2.7}, path: /export/scratch.qcow2}
    - {driver: qcow2, node-name: disk.format, file: disk.storage}
image:
  description: What a look at the image found at the end, or would find.
  returned: success
  type: dict
  contains:
    exists:
      description: Whether there is an image; with O(state=absent) and O(route=stage), whether this host has a copy.
      returned: always
      type: bool
    size:
      description: As RV(size).
      returned: if the image exists
      type: int
    format:
      description: As RV(format); V(luks) where that was found and not declared.
      returned: if the image exists
      type: str
    encrypted:
      description: Whether the image is encrypted.
      returned: if the image exists
      type: bool
    cluster_size:
      description: Bytes of a cluster.
      returned: if the image is a qcow2
      type: int
    backing:
      description: The image that it stands on, as its header names it; empty where it stands on none.
      returned: if the image is a qcow2
      type: str
    opened_by:
      description: The machines of this host that run and have the image open.
      returned: unless the storage is only read; with O(state=absent) always
      type: list
      elements: str
    sha256:
      description: Digest of the image as it is stored.
      returned: with O(sha256)
      type: str
    errors:
      description: Errors that qemu-img has found.
      returned: with O(check), for a qcow2 that no machine of this host has open
      type: int
    leaks:
      description: Clusters that qemu-img has found to be lost space, and no danger.
      returned: with O(check), for a qcow2 that no machine of this host has open
      type: int
    problem:
      description: Why the image is not what is declared.
      returned: with O(state=info), if it is not
      type: str
    content:
      description: V(blank), V(data), or V(unfinished) where a run was killed while it wrote.
      returned: if the image is on a disk of fixed size
      type: str
    etag:
      description: ETag that the server said; empty where it said none.
      returned: if the image is behind a url and its server answered
      type: str
    last_modified:
      description: Last-Modified that the server said; empty where it said none.
      returned: if the image is behind a url and its server answered
      type: str
    staged:
      description: Whether this host has a copy of it.
      returned: with route V(stage), which is the only one of O(tftp), and that of others where no better one works
      type: bool
    stale:
      description: Whether the server has another image than this host's copy, by ETag, Last-Modified and length.
      returned: as RV(image.staged), but for O(state=absent)
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

from ansible_collections.directdisk.qemu.plugins.module_utils._images.module import run_disk_module


def main() -> None:
    run_disk_module("image")


if __name__ == "__main__":
    main()
