# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes: storage of a fixed size, such as LUNs, exports and devices: options, observed state and plan."""
