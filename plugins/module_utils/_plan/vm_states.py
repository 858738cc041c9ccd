# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The states of VMs: of their units in systemd, and of their guests in QEMU."""

from __future__ import annotations

RUNNING = ("active", "reloading")
STOPPED = ("inactive", "failed", "")
HALTED = {
    "paused": "paused",
    "io-error": "I/O error",
    "internal-error": "internal error",
    "guest-panicked": "guest panicked",
    "watchdog": "watchdog",
    "shutdown": "shut down",
    "suspended": "suspended",
    "postmigrate": "migrated",
}
"""States of a VM in QEMU (RunState) in which its guest does not run until somebody acts, in words."""
