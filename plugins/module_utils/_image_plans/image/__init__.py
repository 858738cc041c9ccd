# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that QEMU's own drivers make and grow: options, observed state and plan."""
