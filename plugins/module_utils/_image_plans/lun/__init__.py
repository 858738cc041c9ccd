# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""LUNs of iSCSI targets: options, observed state and plan."""
