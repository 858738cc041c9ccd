#!/usr/bin/python
# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Manages one LUN of an iSCSI target."""

from __future__ import annotations

DOCUMENTATION = r"""
module: qemu_iscsi_disk
short_description: Manage a LUN of an iSCSI target
version_added: 0.1.0
author: directdisk.qemu contributors (@directdisk)
description:
  - Verifies portal, target, LUN, account and properties of a LUN; writes a format or an image onto a blank one; grows
    its format; lists the targets and LUNs of a portal.
  - The host does not log in. The module opens an iSCSI session of its own with libiscsi, and so does QEMU, which
    writes; both end with the module. The kernel's initiator, C(/etc/iscsi) and C(/dev) are not used.
  - A target creates and removes its LUNs. For tgt this module does it, too, on the storage host, see O(tgt).
  - Data is never overwritten unless O(overwrite) is its fingerprint. A LUN is blank if all of it reads as zeroes; this
    is checked before a format or O(source) is written, see O(blank_check). If the LUN is not written to,
    RV(image.content) is based on its first 2 MiB, its last 2 MiB and 62 samples in between. With O(format=raw) and
    without O(luks) the LUN is never probed.
  - While an image is written, the LUN begins with a mark, and the first bytes of the image are written last. So the
    next run finds an interrupted import and repeats it, and no VM boots from half of an image.
  - O(source) is for new disks only. A raw LUN with data counts as imported before.
extends_documentation_fragment: [directdisk.qemu.attributes, directdisk.qemu.disk.lun]
attributes:
  check_mode:
    description: Predicts the changes.
    support: full
  diff_mode:
    description: Shows the state of the LUN before and after.
    support: full
notes:
  - Requires libiscsi on the host, which comes with QEMU's iscsi driver (role P(directdisk.qemu.storage_client#role)).
    Requires QEMU to write, or to read a LUN that is not raw. With O(tgt) it requires tgt 1.0.80 or later instead.
  - With O(state=present) it is an error if the portal, the target or the LUN does not exist, if the account is
    refused, if the LUN does not match O(expect), is a controller, or is read-only and must be written to, if it has
    data in another format than the declared one, or if O(source) or a full qcow2 of O(size) does not fit on it.
  - With O(state=absent) and without O(tgt) it is an error if the LUN exists, because an initiator cannot remove it.
  - M(directdisk.qemu.qemu_disks_info) reads a LUN, with its fingerprint, and lists the targets of a portal.
  - With O(format=qcow2), O(size) is the size that a guest sees; without it a new qcow2 is as large as its O(source).
    The size of a raw LUN is set by its target, and O(luks) takes its first 2068480 bytes; O(size) is an error for
    both.
  - tgt passes its configuration to a shell when it starts. With O(tgt), names, passwords and paths may have letters,
    digits and C(._+:@%=/-) only.
  - An account of tgt is shared by all of its targets. Its password is not changed if it belongs to other targets,
    too.
seealso:
  - module: directdisk.qemu.qemu_disks_info
  - module: directdisk.qemu.qemu_rbd_disk
  - module: directdisk.qemu.qemu_remote_image
  - module: directdisk.qemu.qemu_disks
"""

EXAMPLES = r"""
- name: Verify that this host can use a LUN, and that it is the expected one
  directdisk.qemu.qemu_iscsi_disk:
    portal: 192.0.2.9
    target: iqn.2026-01.example:web1
    lun: 1
    user: web1
    password: "{{ vault_chap }}"
    expect: {minimum_size: 100GiB, serial: 6e1f0a7b2c3d4e5f}

- name: Put an image onto a blank LUN, through whichever portal answers
  directdisk.qemu.qemu_iscsi_disk:
    portal: 192.0.2.9
    portals: [192.0.2.10, "[2001:db8::9]:3260"]
    target: iqn.2026-01.example:web1
    lun: 1
    source:
      https: {url: "https://images.example/debian-13.qcow2"}
      format: qcow2

- name: Put an encrypted qcow2 onto a blank LUN, or grow the existing one
  directdisk.qemu.qemu_iscsi_disk:
    portal: 192.0.2.9
    target: iqn.2026-01.example:web1
    lun: 2
    format: qcow2
    luks: {passphrase: "{{ vault_luks }}"}
    size: 80GiB

- name: Encrypt a LUN and lose its data, which has this fingerprint
  directdisk.qemu.qemu_iscsi_disk:
    portal: 192.0.2.9
    target: iqn.2026-01.example:web1
    lun: 3
    luks: {passphrase: "{{ vault_luks }}"}
    overwrite: 9bbd7ac5df0ac4ed

- name: Let a running VM see that its LUN was grown
  directdisk.qemu.qemu_iscsi_disk:
    portal: 192.0.2.9
    target: iqn.2026-01.example:web1
    lun: 1
    monitor: /run/qemu-vm-web1/qmp.sock
    node: root.format

- name: Make a LUN on the storage host
  directdisk.qemu.qemu_iscsi_disk:
    portal: 192.0.2.9
    target: iqn.2026-01.example:web1
    lun: 1
    user: web1
    password: "{{ vault_chap }}"
    tgt:
      store: /srv/iscsi/web1
      size: 100GiB
      thin: true
      initiators: [192.0.2.0/24]
  delegate_to: storage1

- name: Remove it and its data
  directdisk.qemu.qemu_iscsi_disk:
    state: absent
    portal: 192.0.2.9
    target: iqn.2026-01.example:web1
    lun: 1
    user: web1
    password: "{{ vault_chap }}"
    tgt: {store: /srv/iscsi/web1, remove_store: true}
  delegate_to: storage1
"""

RETURN = r"""
actions:
  description: Changes that were made, or would be in check mode, one line each.
  returned: success
  type: list
  elements: str
  sample: ["write qcow2 of 80 GiB on iscsi 192.0.2.9:3260/iqn.2026-01.example:web1/2"]
state:
  description: V(present) if the LUN exists, V(absent) if it does not, or if the targets of a portal were listed.
  returned: success
  type: str
size:
  description: Bytes that a guest sees. With O(tgt), bytes of the store.
  returned: success
  type: int
format:
  description: Format on the LUN, V(raw) or V(qcow2). V(raw) also if it has no format yet.
  returned: success
  type: str
blockdev:
  description: Nodes with which QEMU opens the LUN, in the order of their C(-blockdev) options; a secret is the id of an
    object. Empty with O(tgt).
  returned: success
  type: list
  elements: dict
image:
  description: State of the LUN at the end, or in check mode the predicted state.
  returned: success
  type: dict
  contains:
    exists:
      description: The target has the LUN.
      returned: always
      type: bool
    portal:
      description: Portal that accepted this host, with its port.
      returned: without O(tgt)
      type: str
      sample: 192.0.2.9:3260
    luns:
      description: The LUNs that the target has.
      returned: without O(tgt)
      type: list
      elements: int
    type:
      description: Device type, V(disk) or another.
      returned: if the LUN exists, without O(tgt)
      type: str
    vendor:
      description: Vendor that the LUN reports.
      returned: if the LUN exists, without O(tgt)
      type: str
    model:
      description: Product that the LUN reports.
      returned: if the LUN exists, without O(tgt)
      type: str
    revision:
      description: Product revision that the LUN reports.
      returned: if the LUN exists, without O(tgt)
      type: str
    serial:
      description: Serial number, from page 0x80 of the vital product data.
      returned: if the LUN exists
      type: str
    device_id:
      description: Unique name, from page 0x83, beginning with C(naa.), C(eui.) or C(t10.). Empty if it has none.
      returned: if the LUN is a disk, without O(tgt)
      type: str
    capacity:
      description: Bytes of the LUN itself.
      returned: if the LUN is a disk, without O(tgt)
      type: int
    size:
      description: As RV(size).
      returned: if the LUN exists
      type: int
    format:
      description: As RV(format).
      returned: if the LUN exists, without O(tgt)
      type: str
    encrypted:
      description: The format is encrypted.
      returned: if the LUN is a disk, without O(tgt)
      type: bool
    content:
      description: V(blank), V(data), or V(unfinished) if an import was interrupted. The content of a qcow2 or luks is
        read only with O(source); otherwise it counts as V(data).
      returned: if the LUN is a disk, without O(tgt)
      type: str
    fingerprint:
      description: Value of O(overwrite) that allows to overwrite the data.
      returned: if the LUN has data in another format than the declared one
      type: str
    block_size:
      description: Bytes of a logical block.
      returned: if the LUN is a disk, without O(tgt)
      type: int
    physical_block_size:
      description: Bytes of a physical block.
      returned: if the LUN is a disk, without O(tgt)
      type: int
    thin:
      description: Space is allocated when it is written (READ CAPACITY, LBPME). With O(tgt), UNMAP returns it.
      returned: if the LUN exists
      type: bool
    reads_zeroes:
      description: Unmapped blocks read as zeroes.
      returned: if the LUN is a disk, without O(tgt)
      type: bool
    provisioning:
      description: V(full), V(thin) or V(resource), from page 0xB2.
      returned: if the LUN is a disk, without O(tgt)
      type: str
    unmap:
      description: The LUN supports UNMAP, from page 0xB2.
      returned: if the LUN is a disk, without O(tgt)
      type: bool
    unmap_granularity:
      description: Granularity of UNMAP in bytes, from page 0xB0; 0 if the LUN does not report it.
      returned: if the LUN is a disk, without O(tgt)
      type: int
    read_only:
      description: The target exports the LUN read-only.
      returned: if the LUN exists
      type: bool
    store:
      description: File or device that holds the data.
      returned: with O(tgt), if the LUN exists
      type: str
    target_exists:
      description: tgtd has the target.
      returned: with O(tgt)
      type: bool
    other_luns:
      description: Other disks of the target.
      returned: with O(tgt)
      type: list
      elements: int
    accounts:
      description: Accounts that may log in to the target.
      returned: with O(tgt)
      type: list
      elements: str
    account:
      description: State of the account of O(user), V(none) if none is declared, V(missing), V(fits), V(differs), or
        V(unknown) if no configuration file has its password.
      returned: with O(tgt)
      type: str
    account_shared_with:
      description: Other targets that the account may log in to.
      returned: with O(tgt)
      type: list
      elements: str
    initiators:
      description: Initiators that may log in to the target, by address or name.
      returned: with O(tgt)
      type: list
      elements: str
    sessions:
      description: Names of the initiators that are logged in to the target.
      returned: with O(tgt)
      type: list
      elements: str
    kept:
      description: The configuration file that this module writes has the LUN.
      returned: with O(tgt)
      type: bool
    kept_so:
      description: That file is as declared.
      returned: with O(tgt)
      type: bool
    declared_in:
      description: Another configuration file that has the target; empty if there is none.
      returned: with O(tgt)
      type: str
"""

from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.lifecycle import LIFECYCLE
from ansible_collections.directdisk.qemu.plugins.module_utils._images.module import run_disk_module


def main() -> None:
    run_disk_module(LIFECYCLE)


if __name__ == "__main__":
    main()
