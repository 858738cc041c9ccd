# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The base of the action plugins: they read and check on the controller, and run modules on the host."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.disk_requests import Detachable, DisksWork
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import encode
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import jobs

BATCH_OPTIONS = (
    Option("workers", "maximum number of disks at the same time", "int", default=4, minimum=1, maximum=32),
    Option("open_timeout", "seconds within which storage must answer", "int", default=30, minimum=1, maximum=3600),
)
"""Options of the actions on many disks."""
_PR_SET_PDEATHSIG = 1
"""linux/prctl.h"""


class HostFailed(Exception):
    """Failure of the module on the host; its answer is the result of the task."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__()
        self.answer = answer


class HostAction(ActionBase):
    """An action that turns the errors of ``run_task`` into the result of the task."""

    _requires_connection = True
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        del tmp
        end_with_playbook()
        host = str((task_vars or {}).get("inventory_hostname", ""))
        try:
            return self.run_task(host, task_vars or {})
        except HostFailed as failure:
            return {**failure.answer, "msg": _with_host(failure.answer.get("msg", ""), host)}
        except DirectDiskError as error:
            return {"failed": True, "msg": _with_host(error, host)}

    def run_task(self, host: str, task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """Run the task, and return its result."""
        raise NotImplementedError

    def run_module(self, module: str, arguments: Mapping[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """Run a module on the host, and return its answer, even if it is a failure."""
        answer: dict[str, Any] = self._execute_module(
            module_name=f"directdisk.qemu.{module}",
            module_args=dict(arguments),
            task_vars=task_vars,
            **({"wrap_async": True} if self._task.async_val else {}),
        )
        return answer

    def wait(self) -> Detachable:
        """Return the member of a request after which work that takes long goes on without the connection.

        Empty if Ansible itself does not wait for it (async).
        """
        return {} if self._task.async_val else {"wait": jobs.WAIT}

    def await_work(self, answer: dict[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer of a module; that of its work, if that goes on without the connection."""
        if "job" not in answer or self._task.async_val:
            return answer
        return jobs.await_job(str(task_vars.get("inventory_hostname", "")), answer, self._low_level_execute_command)

    def run_qemu_disks(
        self, disks: Any, names: list[str], task_vars: Mapping[str, Any], *, predict: bool, **options: int
    ) -> dict[str, Any]:
        """Run qemu_disks on the host; predict: in check mode, whatever the mode of the task is."""
        work: DisksWork = {"disks": disks, "predict": predict, **self.wait()}
        answer = self.run_module("qemu_disks", {"disks": names, "request": encode(work), **options}, task_vars)
        return self.await_work(answer, task_vars)


class OneDiskAction(HostAction):
    """The action of a module for one disk: it waits for work that takes long, and prints its progress."""

    _supports_async = True

    def run_task(self, host: str, task_vars: Mapping[str, Any]) -> dict[str, Any]:
        module = str(self._task.action).rpartition(".")[2]
        answer = self.run_module(module, {**self._task.args, "wait": None, **self.wait()}, task_vars)
        return self.await_work(answer, task_vars)


def end_with_playbook() -> None:
    """End this process, in which Ansible runs one task, when the playbook's own process is killed.

    Otherwise it would continue to change hosts for a playbook that is gone and may have been started again.
    """
    playbook = multiprocessing.parent_process()
    if playbook is None:
        return
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl:  # Linux
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != playbook.pid:
        os._exit(1)


def plain(value: Any) -> Any:
    """Convert user input to plain data: Ansible's own types of text and containers become Python's."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def _with_host(message: object, host: str) -> str:
    lines = str(message).splitlines() or [""]
    return "\n".join(line if line.startswith(f"{host}: ") else f"{host}: {line}" for line in lines)
