# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declarations: the schema of VMs and disks, read into typed objects. Pure."""
