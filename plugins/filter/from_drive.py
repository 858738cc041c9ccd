# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: converts QEMU command lines to declarations."""

from __future__ import annotations

DOCUMENTATION = r"""
name: from_drive
short_description: Turn a command line of QEMU, or a part of it, into a declaration
version_added: 0.1.0
author: directdisk.qemu contributors
description:
  - Reads what QEMU reads, by QEMU's rules, and says the same in the words of the variable C(qemu_vms).
  - What it cannot say is refused with an error that names the piece, or, in a whole command line, left to QEMU in
    C(extra_args) and named in RV(_value.left). Nothing is guessed in silence.
  - A secret's text is in no part of the result and in no error.
positional: _input, name
options:
  _input:
    description:
      - "A text: the value of C(-drive) or C(-blockdev) (JSON or C(key=value)), these options themselves, a URI or a
        C(json:) file name, libvirt's C(<disk>) or C(<domain>) (with the C(<pool>) of each volume before it), or a whole
        command line, which is read as a shell reads words. The command line may be a part of a script, and stand
        behind C(sudo), C(env), C(taskset) and their like."
      - "A list: the words of a command line."
      - "A mapping: the node of a C(-blockdev)."
      - A C(-drive) without C(if) is an IDE disk, as QEMU has it; a URI alone says nothing of the guest's side.
    type: raw
    required: true
  name:
    description:
      - Name of the disk or of the VM, with which the names of its secrets begin. A command line's own C(-name)
        overrides it.
    type: str
    default: ""
  directory:
    description: Folder in which QEMU was started, for relative paths; without it they are refused.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Declare a disk that is a part of a script today
  ansible.builtin.debug:
    msg: "{{ 'file=nfs://192.0.2.7/export/a.qcow2,format=qcow2,if=virtio' | directdisk.qemu.from_drive('root') }}"

- name: Declare a whole VM
  ansible.builtin.debug:
    msg: "{{ lookup('ansible.builtin.file', 'start-web1.sh') | directdisk.qemu.from_drive }}"
"""

RETURN = r"""
_value:
  description: The declaration, and what it does not say.
  type: dict
  contains:
    name:
      description: Name of the VM, or the given one.
      type: str
    declaration:
      description: The declaration of a disk, or of a VM from a whole command line. It has been checked and is valid.
      type: dict
    secrets:
      description:
        - The secrets that were taken out. In the declaration stands C(variable) for each; C(option) says where, and
          C(found) where a person finds the text, to put it into the vault.
      type: list
      elements: dict
    left:
      description: What is not declared. It says where QEMU gets it as C(extra_args).
      type: list
      elements: str
    notes:
      description: Declared settings to check, such as an image's format that QEMU found out by itself.
      type: list
      elements: str
  sample:
    name: root
    declaration: {rbd: {pool: rbd, image: qemu, user: admin, key: "{{ vault_root_key }}"}}
    secrets: [{variable: vault_root_key, option: "rbd: key", found: "the text of -drive, after rbd:"}]
    left: []
    notes: []
"""

from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.command_line import Process
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.convert import convert
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError


def from_drive(given: Any, name: str = "", directory: str = "") -> dict[str, Any]:
    """Convert a command line, or a part of it, to a declaration."""
    try:
        return convert(given, name=name, process=Process(directory=directory)).as_dict()
    except DirectDiskError as error:
        raise AnsibleFilterError(f"from_drive: {error}") from None


class FilterModule:
    """The filter plugin."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"from_drive": from_drive}
