# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a systemd unit is: names, paths, service, sandbox. Pure."""
