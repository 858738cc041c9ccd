#!/usr/bin/python
# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One LUN of an iSCSI target."""

from __future__ import annotations

DOCUMENTATION = r"""
module: qemu_iscsi_disk
short_description: Keep a LUN of an iSCSI target
version_added: 0.1.0
author: directdisk.qemu contributors (@directdisk)
description:
  - Verifies portal, target, LUN and account of a LUN, and what the LUN is like; writes a format or an image onto
    one that is blank; grows
    what is on it; finds out which targets and LUNs a portal has.
  - The host does not log in. The module has a session of its own, by libiscsi, and so has QEMU, which writes; both
    end with the module.
    The kernel's initiator, C(/etc/iscsi) and C(/dev) have no part in it.
  - A LUN is made and removed by its target. Where that is a tgt, this module does it too, on the storage host, see
    O(tgt).
  - Data is never overwritten unless O(overwrite) names that data. A LUN counts as blank if all of it reads as zeroes;
    that is found out before a format or O(source) is written, see O(blank_check). RV(image.content) of a LUN that is
    not written to is told by its first 2 MiB, its last 2 MiB and 62 pieces in between. With O(format=raw) and no
    O(luks) the LUN is taken for what it is declared to be, whatever its first bytes look like.
  - While an image is written, the LUN begins with a mark, and the image's own beginning is written last. So an
    import that was killed is
    found by the next run and done again, and no machine boots from half of it.
  - O(source) is for new disks alone. A raw LUN with data on it is taken for one that has been imported before.
extends_documentation_fragment: [directdisk.qemu.attributes, directdisk.qemu.disk.lun]
attributes:
  check_mode:
    description: Says what would change without changing it.
    support: full
  diff_mode:
    description: Shows what a look at the LUN finds before and after.
    support: full
notes:
  - Needs libiscsi on the host, which comes with QEMU's iscsi driver (role P(directdisk.qemu.storage_client#role)),
    and QEMU itself where
    anything but a raw LUN is looked at or anything is written. With O(tgt) it needs neither, and tgt 1.0.80 or later.
  - With O(state=present) it is an error if the portal, the target or the LUN is not there, if the account is
    refused, if the LUN is not like
    O(expect), is a controller, or is read-only where it is to be written, if it has data in another format than the
    declared one,
    or if O(source) or a full qcow2 of O(size) has no room on it.
  - With O(state=absent) and without O(tgt) it is an error if the LUN is there, because an initiator cannot remove it.
  - With O(state=info) and without O(target) the portal is asked for its targets, see RV(image.targets).
  - With O(format=qcow2), O(size) is how much a guest sees; without it a new qcow2 is as large as its O(source).
    A raw LUN is as large as its target makes it, and one with O(luks) but its first 2068480 bytes too; O(size) is an
    error then.
  - tgt hands its configuration to a shell when it starts. With O(tgt), names, passwords and paths are letters,
    digits and C(._+:@%=/-).
  - An account of tgt is the same for all of its targets. The password of one that other targets have too is not
    changed.
seealso:
  - module: directdisk.qemu.qemu_rbd_disk
  - module: directdisk.qemu.qemu_remote_image
  - module: directdisk.qemu.qemu_disks
"""

EXAMPLES = r"""
- name: Verify that this host can use a LUN, and that it is the one that was meant
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

- name: Put an encrypted qcow2 onto a blank LUN, or grow the one that is there
  directdisk.qemu.qemu_iscsi_disk:
    portal: 192.0.2.9
    target: iqn.2026-01.example:web1
    lun: 2
    format: qcow2
    luks: {passphrase: "{{ vault_luks }}"}
    size: 80GiB

- name: Encrypt a LUN whose data may be lost, which is the data that the module named before and no other
  directdisk.qemu.qemu_iscsi_disk:
    portal: 192.0.2.9
    target: iqn.2026-01.example:web1
    lun: 3
    luks: {passphrase: "{{ vault_luks }}"}
    overwrite: 9bbd7ac5df0ac4ed

- name: Let a running machine see that its LUN was grown
  directdisk.qemu.qemu_iscsi_disk:
    portal: 192.0.2.9
    target: iqn.2026-01.example:web1
    lun: 1
    monitor: /run/qemu-vm-web1/qmp.sock
    node: root.format

- name: List the targets of a portal and their LUNs
  directdisk.qemu.qemu_iscsi_disk:
    state: info
    portal: 192.0.2.9
  register: portal

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
  description: What was done, or would be done in check mode, as orders to a person.
  returned: success
  type: list
  elements: str
  sample: ["write qcow2 of 85899345920 bytes on iscsi 192.0.2.9:3260/iqn.2026-01.example:web1/2"]
state:
  description: V(present) where the LUN is there, V(absent) where it is not, or where a portal was asked for its
    targets.
  returned: success
  type: str
size:
  description: Bytes that a guest sees. With O(tgt), bytes of the store.
  returned: success
  type: int
format:
  description: Format of what is on the LUN, V(raw) or V(qcow2). V(raw) too where it has no format yet.
  returned: success
  type: str
blockdev:
  description: The nodes with which QEMU opens the LUN, each after those it stands on; a secret is the id of an
    object. Empty with O(tgt).
  returned: success
  type: list
  elements: dict
image:
  description: What a look at the LUN found, or would find.
  returned: success
  type: dict
  contains:
    exists:
      description: Whether the target has the LUN.
      returned: always
      type: bool
    portal:
      description: The portal that let this host in, with its port.
      returned: without O(tgt)
      type: str
      sample: 192.0.2.9:3260
    luns:
      description: The LUNs that the target has.
      returned: without O(tgt)
      type: list
      elements: int
    type:
      description: V(disk), or what the LUN is instead.
      returned: if the LUN exists, without O(tgt)
      type: str
    vendor:
      description: Who made it, as the LUN says.
      returned: if the LUN exists, without O(tgt)
      type: str
    model:
      description: What product it is, as the LUN says.
      returned: if the LUN exists, without O(tgt)
      type: str
    revision:
      description: Which version of the product, as the LUN says.
      returned: if the LUN exists, without O(tgt)
      type: str
    serial:
      description: Serial number, from page 0x80 of the vital product data.
      returned: if the LUN exists
      type: str
    device_id:
      description: The name by which no other LUN goes, from page 0x83, beginning with C(naa.), C(eui.) or C(t10.).
        Empty where it has none.
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
      description: Whether the format is encrypted.
      returned: if the LUN is a disk, without O(tgt)
      type: bool
    content:
      description: V(blank), V(data), or V(unfinished) where an import was interrupted. What is inside a qcow2 or
        luks is looked at only
        with O(source) or O(state=info); it counts as V(data) otherwise.
      returned: if the LUN is a disk, without O(tgt)
      type: str
    fingerprint:
      description: What O(overwrite) must say for the data on the LUN to be lost.
      returned: with O(state=info), if the LUN has data
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
      description: Whether space is taken only when it is written (READ CAPACITY, LBPME). With O(tgt), whether UNMAP
        gives it back.
      returned: if the LUN exists
      type: bool
    reads_zeroes:
      description: Whether what was given back reads as zeroes.
      returned: if the LUN is a disk, without O(tgt)
      type: bool
    provisioning:
      description: V(full), V(thin) or V(resource), from page 0xB2.
      returned: if the LUN is a disk, without O(tgt)
      type: str
    unmap:
      description: Whether the LUN takes UNMAP, from page 0xB2.
      returned: if the LUN is a disk, without O(tgt)
      type: bool
    unmap_granularity:
      description: Bytes that are given back together, from page 0xB0; 0 where the LUN does not say.
      returned: if the LUN is a disk, without O(tgt)
      type: int
    read_only:
      description: Whether the target gives the LUN out read-only.
      returned: if the LUN exists
      type: bool
    targets:
      description: The targets of the portal by name, each with its portals, what is known of its LUNs (as here),
        and why it lets this
        account not in, empty where it does.
      returned: with O(state=info) and without O(target)
      type: list
      elements: dict
      sample: [{target: "iqn.2026-01.example:web1", portals: ["192.0.2.9:3260"], luns: [{lun: 0, type: controller}],
        error: ""}]
    store:
      description: The file or device that holds the data.
      returned: with O(tgt), if the LUN exists
      type: str
    target_exists:
      description: Whether tgtd has the target.
      returned: with O(tgt)
      type: bool
    other_luns:
      description: Other disks of the target.
      returned: with O(tgt)
      type: list
      elements: int
    accounts:
      description: The accounts that may log in to the target.
      returned: with O(tgt)
      type: list
      elements: str
    account:
      description: What is known of the account of O(user), V(none) where none is declared, V(missing), V(fits),
        V(differs) or V(unknown)
        where no configuration file has its password.
      returned: with O(tgt)
      type: str
    account_shared_with:
      description: Other targets that the account may log in to.
      returned: with O(tgt)
      type: list
      elements: str
    initiators:
      description: Who may log in to the target, by address or name.
      returned: with O(tgt)
      type: list
      elements: str
    sessions:
      description: Names of the initiators that are logged in to the target.
      returned: with O(tgt)
      type: list
      elements: str
    kept:
      description: Whether the LUN stands in the configuration file that is kept from here.
      returned: with O(tgt)
      type: bool
    kept_so:
      description: Whether that file is as it is declared.
      returned: with O(tgt)
      type: bool
    declared_in:
      description: Another configuration file that has the target; empty where none has.
      returned: with O(tgt)
      type: str
"""

from ansible_collections.directdisk.qemu.plugins.module_utils._images.module import run_disk_module


def main() -> None:
    run_disk_module("lun")


if __name__ == "__main__":
    main()
