# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what people run today to declarations: -drive, -blockdev, whole command lines, libvirt's network disks. Pure."""
