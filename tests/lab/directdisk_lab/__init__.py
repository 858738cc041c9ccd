# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab of real hosts with real systemd in podman containers, on one machine."""
