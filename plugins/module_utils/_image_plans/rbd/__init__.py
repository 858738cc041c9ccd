# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""RBD images of Ceph clusters: options, observed state and plan."""
