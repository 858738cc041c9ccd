# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Creation, change and removal of images: a contract, and one folder for each kind of storage."""
