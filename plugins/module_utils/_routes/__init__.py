# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How QEMU reaches the bytes of a disk on a host: a contract, the selection, and one file each. Pure."""
