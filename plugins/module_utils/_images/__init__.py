# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How images are created, kept and removed: a contract, and one folder for each kind of storage."""
