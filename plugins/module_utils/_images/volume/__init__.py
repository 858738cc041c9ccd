# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What LUNs have in common with other disks that are there already and have the size that they have."""
