# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The routes by which QEMU reaches the bytes of a disk on a host: contract, selection, and one file each. Pure."""
