# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's part of qemu_iscsi_disk: it waits for work that takes long, and prints its progress."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.action import OneDiskAction


class ActionModule(OneDiskAction):
    """One call of the host for one LUN."""
