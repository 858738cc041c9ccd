# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's part of qemu_vms: read, ask the host, plan, decide; only then have the host changed."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from ansible.utils.display import Display

from ansible_collections.directdisk.qemu.plugins.module_utils import _overlays, _paths
from ansible_collections.directdisk.qemu.plugins.module_utils._batch import read_entries
from ansible_collections.directdisk.qemu.plugins.module_utils._capabilities import Capabilities
from ansible_collections.directdisk.qemu.plugins.module_utils._choice import missing, requirements
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration import Machine, read_machines
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.plugin_utils import _fleet
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_action import HostAction, HostFailed, plain
from ansible_collections.directdisk.qemu.plugins.plugin_utils._in_use import refuse_storage_in_use, storage_not_asked
from ansible_collections.directdisk.qemu.plugins.plugin_utils._kept import KeptDisk, Outcome, kept_disks, request
from ansible_collections.directdisk.qemu.plugins.plugin_utils._run import Run

display = Display()

_CHOICES = {"when_lacking": ("fail", "report"), "only": ("all", "ssh_agents")}
"""What the options beside vms may be; each is the first unless said."""


class ActionModule(HostAction):
    """One host's machines: one look at it where nothing has changed, one more call where something has.

    Where disks are made and kept, one look at all of them, and one more call where some of them change.
    """

    def carry_out(self, host: str, task_vars: Mapping[str, Any]) -> dict[str, Any]:
        options = self._read_options()
        machines = read_machines(self._task.args["vms"], host)
        kept = kept_disks(machines, plain(self._task.args["vms"])) if options["only"] == "all" else []
        read_entries({disk.name: disk.declared for disk in kept})
        look = self._look(machines, task_vars)
        capabilities, observed = Capabilities.from_probe(look["capabilities"]), look["observed"]
        lacks, packages = missing(requirements(machines), capabilities)
        lacking = {"missing": lacks, "missing_packages": packages}
        if lacks and options["when_lacking"] == "report":
            return {"changed": False, **lacking, **self._unforeseen(host, lacks)}
        plans = _fleet.make_plans(machines, capabilities, observed["paths"])
        undeclared = _fleet.undeclared(observed, plans)
        _fleet.refuse_taken_storage(machines, observed, undeclared)
        _overlays.refuse_left_behind(machines, observed["overlays"])
        refuse_storage_in_use(machines, observed)
        entries = request(kept, plans, observed)
        foreseen = self._keep(kept, entries, task_vars, predict=True)
        foreseen.refuse()
        run = Run(host, plans, observed, encrypted=capabilities.encrypts, only=options["only"])
        result = {**run.foresee(foreseen, diff=bool(self._task.diff)), "undeclared": undeclared, **lacking}
        written = {_paths.vm_of_unit(path.rpartition("/")[2]) for path in run.changes.write_files}
        left = (f"{host}: {line}" for line in _overlays.warnings(machines, observed["overlays"], written))
        unasked = storage_not_asked(machines, observed, host)
        for warning in (*run.warnings(), *left, *_fleet.doubtful_storage(machines, observed, host), *unasked):
            display.warning(warning)
        if result["changed"] and not self._task.check_mode:
            result.update(self._apply(run, foreseen, entries, task_vars))
        if run.explained:
            del result["vms"]
            result.update(run.failure())
        return result

    def _unforeseen(self, host: str, lacks: Sequence[str]) -> dict[str, Any]:
        """In check mode nothing is installed, so that what comes after the installation stays unknown: say so."""
        if not self._task.check_mode:
            return {}
        line = (
            f"{host}: cannot be foreseen beyond the installation of what this host lacks ({'; '.join(lacks)}); "
            "disks and VMs may change after it"
        )
        display.warning(line)
        return {"diff": [{"prepared": f"{line}\n"}]} if self._task.diff else {}

    def _read_options(self) -> dict[str, str]:
        # Not validate_argument_spec(): it copies every machine twice, and read_machines() checks more than it could.
        if "vms" not in self._task.args or set(self._task.args) - {"vms", *_CHOICES}:
            raise DeclarationError("qemu_vms", "takes the options vms, when_lacking and only, and no other")
        options = {name: self._task.args.get(name, choices[0]) for name, choices in _CHOICES.items()}
        for name, value in options.items():
            if value not in _CHOICES[name]:
                raise DeclarationError(f"qemu_vms: {name}", f"{value!r} is not one of {', '.join(_CHOICES[name])}")
        return options

    def _look(self, machines: Sequence[Machine], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        # Whether the host encrypts is known only after the look at it, so the texts go under both paths.
        secrets = _fleet.secrets_of(machines)
        texts = {**_fleet.at_rest(secrets, encrypted=True), **_fleet.at_rest(secrets, encrypted=False)}
        return self._ask_host({"observe": _fleet.observation(machines, texts=bool(self._task.diff))}, texts, task_vars)

    def _apply(
        self, run: Run, foreseen: Outcome, entries: Mapping[str, Any], task_vars: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Have disks and machines changed; what is to be said of it."""
        done = self._keep([disk for disk, _result in foreseen.due().results], entries, task_vars, predict=False)
        run.leave_alone(done.failures)
        actions = done.actions
        if run.changes.any():
            secrets = _fleet.secrets_of(plan.machine for plan in run.plans)
            texts = _fleet.at_rest(secrets, encrypted=run.encrypted)
            answer = self._ask_host({"desired": run.wanted, "encrypted": run.encrypted}, texts, task_vars)
            actions += answer["actions"]
            run.explain(answer["failures"])
        return {"actions": actions, "disks": list({**foreseen.rows, **done.rows}.values())}

    def _keep(
        self, kept: Sequence[KeptDisk], entries: Mapping[str, Any], task_vars: Mapping[str, Any], *, predict: bool
    ) -> Outcome:
        """Have disks made and kept, all of them in one call."""
        host = task_vars.get("inventory_hostname", "")
        if not kept:
            return Outcome()
        names = [disk.name for disk in kept]
        answer = self.keep_disks({name: entries[name] for name in names}, names, task_vars, predict=predict)
        if "disks" not in answer:
            raise HostFailed(answer)
        for warning in answer.get("warnings") or ():
            display.warning(f"{host}: {warning}")  # which says each once
        return Outcome.of(kept, answer)

    def _ask_host(
        self, wanted: dict[str, Any], secrets: Mapping[str, str], task_vars: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Run the host's part of this module; its own failure becomes ours."""
        encoded = {path: base64.b64encode(text.encode()).decode() for path, text in secrets.items()}
        answer = self.ask("qemu_vms", {"vms": wanted, "credentials": encoded}, task_vars)
        if answer.get("failed"):
            raise HostFailed(answer)
        return answer
