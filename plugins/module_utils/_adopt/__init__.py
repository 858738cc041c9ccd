# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converts -drive, -blockdev, whole command lines and libvirt's network disks to declarations. Pure."""
