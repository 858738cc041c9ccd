# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A LUN on its storage host, where a tgtd exports it: options, observed state and plan."""
