# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of block nodes."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._units import node_names


def test_a_node_of_a_disk_names_its_disk() -> None:
    assert node_names.disk_of_node(node_names.disk_node("root", "format")) == "root"
    assert node_names.disk_of_node(node_names.vm_node("seed")) == ""
