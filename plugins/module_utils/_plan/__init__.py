# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a VM on a host, and the changes that lead there. Pure."""
