# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's part of qemu_vms: read the declaration, observe the host, plan, and apply the changes."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ansible.utils.display import Display

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm, read_vms
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.entries import read_entries
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.vm_disks import VmDisk, entries_of
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import raise_collected
from ansible_collections.directdisk.qemu.plugins.module_utils._plan import overlays
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import Changes
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import (
    ApplyAnswer,
    DisksAnswer,
    DisksRequest,
    ObserveAnswer,
    ObservedHost,
    Request,
    encode,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.selection import missing, requirements
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import host_plans, steps
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.action import HostAction, HostFailed, plain
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.compare import compare, registered_results
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.in_use import storage_not_asked
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.managed_disks import (
    DiskResults,
    managed_disks,
)
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.other_hosts import (
    HostReport,
    decide,
    host_report,
    predicted_changes,
)
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.raw_disks import read_over_network
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.run import Run
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.running_vms import refuse_unmanaged_storage

display = Display()

_CHOICES = {"when_lacking": ("fail", "report"), "only": ("all", "ssh_agents"), "step": steps.STEPS}
"""The values of the options besides vms; the first one is the default."""


class ActionModule(HostAction):
    """The VMs of one host: one call to observe it, and one more call if something must change.

    If images of disks must change, one more call does that for all of them. With ``step`` the action is one part of
    that, so that all hosts complete one part before the next.
    """

    def run_task(self, host: str, task_vars: Mapping[str, Any]) -> dict[str, Any]:
        options = self._read_options()
        if options["step"] == "compare":
            return self._compare(task_vars)
        if options["step"] == "stop":
            return self._stop(host, task_vars)
        if options["step"] == "apply":
            return self._apply_observed(host, options, task_vars)
        return self._observe(host, options, task_vars)

    def _observe(self, host: str, options: Mapping[str, str], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """Observe the host and plan; then also apply, unless that is another step."""
        vms = read_vms(self._task.args["vms"], host)
        managed = managed_disks(vms, plain(self._task.args["vms"])) if options["only"] == "all" else []
        read_entries({disk.name: disk.declared for disk in managed})
        raw = read_over_network(vms, plain(self._task.args["vms"])) if options["only"] == "all" else []
        answer = self._observe_host(vms, {"managed": [asdict(disk) for disk in managed], "raw": raw}, task_vars)
        capabilities, observed = Capabilities.from_probe(answer["capabilities"]), answer["observed"]
        lacks, packages = missing(requirements(vms), capabilities)
        lacking = {"missing": lacks, "missing_packages": packages}
        undeclared = host_plans.undeclared(observed, vms)
        if options["only"] == "all":
            refuse_unmanaged_storage(vms, observed)
        if lacks and options["when_lacking"] == "report":
            report = self._report(vms, observed, undeclared, predicted_changes(vms, observed))
            unpredictable = self._unpredictable(host, lacks)
            return {"changed": False, **lacking, **unpredictable, **_for_other_steps(options, report, due=False)}
        plans = host_plans.make_plans(vms, capabilities, observed)
        host_plans.refuse_taken_storage(vms, observed, undeclared)
        overlays.refuse_left_behind(vms, observed["overlays"], observed["files"], observed.get("names", {}))
        predicted = DiskResults.from_observation(managed, answer)
        predicted.refuse()
        for warning in predicted.warnings:
            display.warning(f"{host}: {warning}")
        run = Run(host, plans, observed, encrypted=capabilities.encrypts, only=options["only"])
        host_plans.refuse_masked_target(run.changes, observed)
        result = {**run.predict(predicted, diff=bool(self._task.diff)), "undeclared": undeclared, **lacking}
        written = {paths.vm_of_unit(path.rpartition("/")[2]) for path in run.changes.write_files}
        left = (f"{host}: {line}" for line in overlays.warnings(vms, observed["overlays"], written))
        unasked = storage_not_asked(vms, observed, host)
        for warning in (*run.warnings(), *left, *host_plans.doubtful_storage(vms, observed, host), *unasked):
            display.warning(warning)
        report = self._report(vms, observed, undeclared, run.changes)
        if options["step"] == "observe":
            return self._observed(run, result, report, answer)
        raise_collected(decide({host: report}).errors)
        return self._finish(run, predicted, result, entries_of(managed, observed["units"]), task_vars)

    @staticmethod
    def _report(vms: Sequence[Vm], observed: ObservedHost, undeclared: list[str], changes: Changes) -> HostReport:
        return host_report(uuid.uuid4().hex, vms, observed, undeclared, changes)

    @staticmethod
    def _observed(run: Run, result: dict[str, Any], report: HostReport, answer: ObserveAnswer) -> dict[str, Any]:
        """Return the result of step observe; if something is due, it includes all that step apply needs."""
        due = bool(result["changed"])
        result = {**result, "changed": False, **_for_other_steps({"step": "observe"}, report, due=due)}
        if due:
            for key in ("vms", "disks", "actions", "diff"):
                result.pop(key, None)
            result["observed"] = steps.pack(answer)
        elif run.failures:
            del result["vms"]
            result.update(run.failure())
        return result

    def _apply_observed(self, host: str, options: Mapping[str, str], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """Plan again from the observation of step observe, and apply."""
        observation = task_vars[steps.OBSERVED]
        answer: ObserveAnswer = steps.unpack(observation["observed"])
        stopped = task_vars.get(steps.STOPPED_FIRST) or {}
        report_id = observation["fleet"]["id"]
        names = stopped.get("stopped") or () if stopped.get("of") == report_id else ()
        observed = steps.with_stopped(answer["observed"], names)
        vms = read_vms(self._task.args["vms"], host)
        managed = managed_disks(vms, plain(self._task.args["vms"]))
        capabilities = Capabilities.from_probe(answer["capabilities"])
        plans = host_plans.make_plans(vms, capabilities, observed)
        run = Run(host, plans, observed, encrypted=capabilities.encrypts, only=options["only"])
        predicted = DiskResults.from_observation(managed, answer)
        not_yet = self._waiting_for_stops(host, task_vars)
        run.leave_alone(not_yet)
        predicted = predicted.without(not_yet)
        result = run.predict(predicted, diff=bool(self._task.diff))
        result.update(undeclared=observation["undeclared"], of=report_id)
        return self._finish(run, predicted, result, entries_of(managed, observed["units"]), task_vars)

    def _finish(
        self,
        run: Run,
        predicted: DiskResults,
        result: dict[str, Any],
        entries: Mapping[str, Any],
        task_vars: Mapping[str, Any],
    ) -> dict[str, Any]:
        if result["changed"] and not self._task.check_mode:
            result.update(self._apply(run, predicted, entries, task_vars))
        if run.failures:
            del result["vms"]
            result.update(run.failure())
        return result

    def _unpredictable(self, host: str, lacks: Sequence[str]) -> dict[str, Any]:
        """Report that check mode, which installs nothing, cannot predict what follows the installation."""
        if not self._task.check_mode:
            return {}
        line = (
            f"{host}: check mode cannot predict what follows the installation of missing packages "
            f"({'; '.join(lacks)}); disks and VMs may change after it"
        )
        display.warning(line)
        return {"diff": [{"prepared": f"{line}\n"}]} if self._task.diff else {}

    def _compare(self, task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """Decide for all hosts of the play from their answers; nothing has changed on any of them yet."""
        comparison = compare(task_vars["hostvars"], task_vars["ansible_play_hosts"])
        for warning in comparison.warnings:
            display.warning(warning)
        result: dict[str, Any] = {"changed": False, "stops": comparison.stops, "waits": comparison.waits}
        if comparison.errors:
            result.update(failed=True, msg="\n".join(map(str, comparison.errors)))
        return result

    def _stop(self, host: str, task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """Stop the VMs of this host that start on another host in the same run."""
        names = task_vars[steps.COMPARED]["stops"].get(host, [])
        actions = [f"stop vm {name}" for name in names]
        result = {"changed": bool(names), "of": task_vars[steps.OBSERVED]["fleet"]["id"], "actions": actions}
        if self._task.diff:
            result["diff"] = [{"prepared": "".join(f"{action}\n" for action in actions)}]
        if self._task.check_mode or not names:
            return {**result, "stopped": names}
        stopped = self._ask_host({"stop": names}, {}, task_vars)["stopped"]
        result["stopped"] = stopped
        running = sorted(set(names) - set(stopped))
        if running:
            lines = (f"{host}: vm {name}: does not stop, so it is not started on another host" for name in running)
            result.update(failed=True, msg="\n".join(lines))
        return result

    def _waiting_for_stops(self, host: str, task_vars: Mapping[str, Any]) -> dict[str, list[str]]:
        """Return the VMs that cannot start because a VM on another host has not stopped, with the reasons."""
        waits = task_vars[steps.COMPARED]["waits"].get(host, {})
        results = registered_results(task_vars["hostvars"], {other for others in waits.values() for other in others})
        refused: dict[str, list[str]] = {}
        for name, stops in waits.items():
            lines = [
                f"vm {name}: is not started: {other} has not stopped {vm}; see the result of {other}"
                for other, vms in stops.items()
                for vm in vms
                if not steps.is_stopped(vm, results.get(other) or {})
            ]
            if lines:
                refused[name] = lines
        return refused

    def _read_options(self) -> dict[str, str]:
        # Not validate_argument_spec(): it copies every VM twice, and read_machines() checks more.
        if "vms" not in self._task.args or set(self._task.args) - {"vms", *_CHOICES}:
            raise DeclarationError("qemu_vms", f"has the options vms (required), {', '.join(_CHOICES)}, and no other")
        options = {name: self._task.args.get(name, choices[0]) for name, choices in _CHOICES.items()}
        for name, value in options.items():
            if value not in _CHOICES[name]:
                raise DeclarationError(f"qemu_vms: {name}", f"{value!r} is not one of {', '.join(_CHOICES[name])}")
        return options

    def _observe_host(self, vms: Sequence[Vm], disks: DisksRequest, task_vars: Mapping[str, Any]) -> ObserveAnswer:
        # It is not known yet if the host encrypts credentials, so the texts are passed under both paths.
        secrets = host_plans.secrets_of(vms)
        texts = {**host_plans.at_rest(secrets, encrypted=True), **host_plans.at_rest(secrets, encrypted=False)}
        answer: ObserveAnswer = self._ask_host(
            {"observe": host_plans.observe_request(vms, texts=bool(self._task.diff))}, texts, task_vars, disks
        )
        return answer

    def _apply(
        self, run: Run, predicted: DiskResults, entries: Mapping[str, Any], task_vars: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Apply the changes of disks and VMs, and return the members of the result about them."""
        due = [disk for disk, _result in predicted.due().results]
        disks = self._reconcile_disks(due, entries, task_vars)
        done = DiskResults.from_answer(due, disks) if disks else DiskResults()
        run.leave_alone(done.failures)
        actions = done.actions
        if run.changes.any():
            secrets = host_plans.secrets_of(plan.vm for plan in run.plans)
            texts = host_plans.at_rest(secrets, encrypted=run.encrypted)
            answer: ApplyAnswer = self._ask_host({"desired": run.desired, "encrypted": run.encrypted}, texts, task_vars)
            actions += answer["actions"]
            run.add_failures(answer["failures"])
        return {"actions": actions, "disks": list({**predicted.rows, **done.rows}.values())}

    def _reconcile_disks(
        self, disks: Sequence[VmDisk], entries: Mapping[str, Any], task_vars: Mapping[str, Any]
    ) -> DisksAnswer | None:
        """Run qemu_disks for all of these disks in one call; return None if there are none."""
        host = task_vars.get("inventory_hostname", "")
        if not disks:
            return None
        names = [disk.name for disk in disks]
        answer = self.reconcile_disks({name: entries[name] for name in names}, names, task_vars)
        if "disks" not in answer:
            raise HostFailed(answer)
        for warning in answer.get("warnings") or ():
            display.warning(f"{host}: {warning}")  # prints equal warnings once
        return {"disks": answer["disks"], "diff": answer["diff"], "warnings": []}

    def _ask_host(
        self,
        request: Request,
        secrets: Mapping[str, str],
        task_vars: Mapping[str, Any],
        disks: DisksRequest | None = None,
    ) -> Any:
        """Run the host's part of this module, and return its answer; raise HostFailed if it fails."""
        encoded = {path: base64.b64encode(text.encode()).decode() for path, text in secrets.items()}
        hidden = {"disks": encode(disks)} if disks and (disks["managed"] or disks["raw"]) else {}
        answer = self.run_module("qemu_vms", {"vms": request, "credentials": encoded, **hidden}, task_vars)
        if answer.get("failed"):
            raise HostFailed(answer)
        return answer


def _for_other_steps(options: Mapping[str, str], report: HostReport, *, due: bool) -> dict[str, Any]:
    """Return the members that the result of step observe has in addition to that of a run in one step."""
    return {"fleet": report, "due": due} if options["step"] == "observe" else {}
