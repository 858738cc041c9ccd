# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of storage: a contract, shared pieces, and one file each. Pure."""
