# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Systemd units: names, paths, service, sandbox, and the facts in their texts. Pure."""
