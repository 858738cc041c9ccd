# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declarations of images, and the changes that they need: one folder for each kind. Pure."""
