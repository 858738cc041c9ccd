# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person declares: the schema of VMs and disks, read into typed objects. Pure."""
