# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attributes that all modules have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """Ansible finds the fragment here, as directdisk.qemu.attributes."""

    DOCUMENTATION = """
attributes:
  idempotent:
    description: A second run changes nothing.
    support: full
  action_group:
    description: Module defaults can be set for the group C(directdisk.qemu.qemu).
    support: full
    membership: [directdisk.qemu.qemu]
"""
