# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's part of qemu_disks: read and check every declaration, and hide it on its way to the host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.entries import read_entries
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import read_options
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.action import BATCH_OPTIONS, HostAction, plain

OPTIONS = (
    Option("disks", "the disks, as a list or as a mapping of names to disks", "any", required=True),
    *BATCH_OPTIONS,
)


class ActionModule(HostAction):
    """One call of the host for all disks."""

    _supports_async = True

    def run_task(self, host: str, task_vars: Mapping[str, Any]) -> dict[str, Any]:
        values = read_options(OPTIONS, self._task.args, "qemu_disks")
        disks = plain(values.pop("disks"))
        names = [entry.name for entry in read_entries(disks)]
        return self.run_qemu_disks(disks, names, task_vars, predict=False, **values)
