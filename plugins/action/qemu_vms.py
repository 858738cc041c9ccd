# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's part of qemu_vms: read the declaration, observe the host, plan, and apply the changes."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ansible.utils.display import Display

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.read_vm import read_vms
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.entries import read_entries
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.vm_disks import ManagedDisk, entries_of
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import raise_collected
from ansible_collections.directdisk.qemu.plugins.module_utils._plan import overlays
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import Changes
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.disk_requests import DisksAnswer, DisksRequest
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import (
    ApplyAnswer,
    ObserveAnswer,
    ObservedHost,
    ObserveRequest,
    Request,
    encode,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.selection import missing, requirements
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import host_plans, steps
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.action import HostAction, HostFailed, plain
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.compare import compare, waiting_for_stops
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.in_use import storage_not_asked
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.managed_disks import (
    DiskResults,
    managed_disks,
)
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.opened_disks import read_over_network
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.other_hosts import (
    HostReport,
    decide_starts,
    host_report,
    predicted_changes,
)
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.recreation import Recreation, recreation_of
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.run import Run
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.run_options import RunOptions, task_options
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.running_vms import refuse_unmanaged_storage
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.scope import (
    Scope,
    is_chosen,
    pruned,
    scope_of,
    unmatched_everywhere,
)
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.takeovers import takeovers_of
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.declared import declaration_of

display = Display()


@dataclass(frozen=True)
class _HostAnswers:
    """The answers of a host in step observe."""

    host: ObserveAnswer
    removals: DisksAnswer | None
    """The predictions for the disks that are made again; None if there are none."""


class ActionModule(HostAction):
    """The VMs of one host: one call to observe it, and one more call if something must change.

    If images of disks must change, one more call does that for all of them. With ``step`` the action is one part of
    that, so that all hosts complete one part before the next.
    """

    def run_task(self, host: str, task_vars: Mapping[str, Any]) -> dict[str, Any]:
        options = task_options(self._task.args, task_vars, self._loader)
        if options.step == "compare":
            return self._compare(task_vars)
        if options.step == "stop":
            return self._stop(host, task_vars)
        if options.step == "apply":
            return self._apply_observed(host, options, task_vars)
        return self._observe(host, options, task_vars)

    def _observe(self, host: str, options: RunOptions, task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """Observe the host and plan; then also apply, unless that is another step."""
        declaration = self._declared(host, task_vars)
        declared = read_vms(declaration, host)
        read_entries({disk.name: disk.declared for disk in _managed(declared, declaration, options)})
        answer = self._observe_host(declared, _disks_request(declared, declaration, options), options, task_vars)
        capabilities, observed = Capabilities.from_probe(answer["capabilities"]), answer["observed"]
        scope = self._scope(declared, observed, options)
        if options.step == "all":
            raise_collected(unmatched_everywhere({host: scope.result()}))
        undeclared = host_plans.undeclared(observed, scope.vms)
        lacks, packages = ([], []) if scope.is_empty else missing(requirements(scope.chosen), capabilities)
        always = {"missing": lacks, "missing_packages": packages, **scope.result()}
        if options.only == "all":
            refuse_unmanaged_storage(scope.chosen, observed)
        if scope.is_empty or (lacks and options.when_lacking == "report"):
            changes = predicted_changes(scope.chosen, observed)
            report = self._report(scope.vms, observed, undeclared, changes, options)
            for_steps = _for_other_steps(report, due=False) if options.step == "observe" else {}
            return {"changed": False, **always, **self._unpredictable(host, lacks), **for_steps}
        managed = _managed(scope.chosen, declaration, options)
        recreation = recreation_of(scope.chosen, options.recreate, managed, observed)
        read_entries(recreation.removals(predict=True))
        observed = recreation.stopped_first(observed)
        plans = host_plans.make_plans(scope.chosen, capabilities, observed)
        host_plans.refuse_taken_storage(scope.chosen, observed, undeclared)
        overlays.refuse_left_behind(scope.chosen, observed["overlays"], observed["files"], observed.get("names", {}))
        removals = recreation.removals(predict=True)
        removed = self._reconcile_disks(recreation.disks, removals, task_vars, predict=True)
        predicted = _predictions(managed, answer, recreation, removed)
        predicted.refuse()
        run = Run(host, plans, observed, options, encrypted=capabilities.encrypts)
        host_plans.refuse_masked_target(run.changes, observed)
        host_plans.refuse_too_large(scope.chosen, run.changes, observed)
        result = {**self._predict(run, predicted, recreation), "undeclared": undeclared, **always}
        self._warn(host, run, scope, observed, predicted)
        report = self._report(scope.vms, observed, undeclared, run.changes, options)
        if options.step == "observe":
            return self._observed(run, result, report, _HostAnswers(answer, removed))
        decision = decide_starts({host: report})
        raise_collected(decision.errors)
        if decision.takes:
            run.take_over(takeovers_of(scope.chosen, observed, decision.takes[host]))
            result.update(self._predict(run, predicted, recreation))
        entries = entries_of(managed, observed["units"])
        return self._finish(run, predicted, result, entries, recreation, task_vars)

    @staticmethod
    def _scope(declared: Sequence[Vm], observed: ObservedHost, options: RunOptions) -> Scope:
        gone = pruned(declared, host_plans.undeclared(observed, declared), options)
        return scope_of((*declared, *gone), options)

    @staticmethod
    def _warn(host: str, run: Run, scope: Scope, observed: ObservedHost, predicted: DiskResults) -> None:
        """Print the warnings about the VMs on which a run acts."""
        written = {paths.vm_of_unit(path.rpartition("/")[2]) for path in run.changes.write_files}
        left = (f"{host}: {line}" for line in overlays.warnings(scope.chosen, observed["overlays"], written))
        unasked = storage_not_asked(scope.chosen, observed, host, predicted.due().rows)
        too_much = host_plans.overcommitted(scope.vms, run.changes, observed, host)
        doubtful = host_plans.doubtful_storage(scope.vms, observed, host)
        of_disks = (f"{host}: {warning}" for warning in predicted.warnings)
        for warning in (*run.warnings(), *left, *too_much, *doubtful, *unasked, *of_disks):
            display.warning(warning)

    @staticmethod
    def _report(
        vms: Sequence[Vm], observed: ObservedHost, undeclared: list[str], changes: Changes, options: RunOptions
    ) -> HostReport:
        return host_report(uuid.uuid4().hex, vms, observed, undeclared, changes, options.takeover)

    @staticmethod
    def _observed(run: Run, result: dict[str, Any], report: HostReport, answers: _HostAnswers) -> dict[str, Any]:
        """Return the result of step observe; if something is due, it includes all that step apply needs."""
        due = bool(result["changed"])
        result = {**result, "changed": False, **_for_other_steps(report, due=due)}
        if due:
            for key in ("vms", "disks", "actions", "diff"):
                result.pop(key, None)
            result["observed"] = steps.pack(asdict(answers))
        elif run.failures:
            del result["vms"]
            result.update(run.failure())
        return result

    def _apply_observed(self, host: str, options: RunOptions, task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """Plan again from the observation of step observe, and apply."""
        observation = task_vars[steps.OBSERVED]
        answers = _HostAnswers(**steps.unpack(observation["observed"]))
        stopped = task_vars.get(steps.STOPPED_FIRST) or {}
        report_id = observation["fleet"]["id"]
        names = stopped.get("stopped") or () if stopped.get("of") == report_id else ()
        observed = steps.with_stopped(answers.host["observed"], names)
        declaration = self._declared(host, task_vars)
        scope = self._scope(read_vms(declaration, host), observed, options)
        managed = _managed(scope.chosen, declaration, options)
        recreation = recreation_of(scope.chosen, options.recreate, managed, observed)
        observed = recreation.stopped_first(observed)
        capabilities = Capabilities.from_probe(answers.host["capabilities"])
        plans = host_plans.make_plans(scope.chosen, capabilities, observed)
        run = Run(host, plans, observed, options, encrypted=capabilities.encrypts)
        predicted = _predictions(managed, answers.host, recreation, answers.removals)
        run.take_over(takeovers_of(scope.chosen, observed, task_vars[steps.COMPARED]["takes"].get(host, {})))
        not_yet = waiting_for_stops(task_vars["hostvars"], task_vars[steps.COMPARED]["waits"].get(host, {}))
        run.leave_alone(not_yet)
        predicted, recreation = predicted.without(not_yet), recreation.without(not_yet)
        result = self._predict(run, predicted, recreation)
        result.update(undeclared=observation["undeclared"], of=report_id, **scope.result())
        entries = entries_of(managed, observed["units"])
        return self._finish(run, predicted, result, entries, recreation, task_vars)

    def _predict(self, run: Run, predicted: DiskResults, recreation: Recreation) -> dict[str, Any]:
        result = run.predict(predicted, diff=bool(self._task.diff))
        actions = recreation.without(run.failures).actions
        result["actions"] = [*actions, *result["actions"]]
        if actions and self._task.diff:
            result["diff"] = [{"prepared": "".join(f"{action}\n" for action in actions)}, *result["diff"]]
        return result

    def _finish(
        self,
        run: Run,
        predicted: DiskResults,
        result: dict[str, Any],
        entries: Mapping[str, Any],
        recreation: Recreation,
        task_vars: Mapping[str, Any],
    ) -> dict[str, Any]:
        if result["changed"] and not self._task.check_mode:
            removed = self._remove_disks(run, recreation.without(run.failures), task_vars)
            due = predicted.without(run.left_alone)
            result.update(self._apply(run, due, result["changes"], entries, task_vars))
            result["actions"] = [*removed, *result["actions"]]
        if run.failures:
            del result["vms"]
            result.update(run.failure())
        return result

    def _unpredictable(self, host: str, lacks: Sequence[str]) -> dict[str, Any]:
        """Report that check mode, which installs nothing, cannot predict what follows the installation."""
        if not lacks or not self._task.check_mode:
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
        found = {"stops": comparison.stops, "waits": comparison.waits, "takes": comparison.takes}
        result: dict[str, Any] = {"changed": False, **found}
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

    def _declared(self, host: str, task_vars: Mapping[str, Any]) -> Any:
        """Return the declaration: option vms, or the variable that declares VMs."""
        args = self._task.args
        return args["vms"] if "vms" in args else declaration_of(host, task_vars, self._loader)

    def _observe_host(
        self, vms: Sequence[Vm], disks: DisksRequest, options: RunOptions, task_vars: Mapping[str, Any]
    ) -> ObserveAnswer:
        # It is not known yet if the host encrypts credentials, so the texts are passed under both paths.
        secrets = host_plans.secrets_of(vms)
        texts = {**host_plans.at_rest(secrets, encrypted=True), **host_plans.at_rest(secrets, encrypted=False)}
        answer: ObserveAnswer = self._ask_host(
            {"observe": self._observe_request(vms, options)},
            texts,
            task_vars,
            disks,
        )
        return answer

    def _observe_request(self, vms: Sequence[Vm], options: RunOptions) -> ObserveRequest:
        return host_plans.observe_request(
            vms, texts=bool(self._task.diff), prune=options.prune, addresses=bool(options.takeover)
        )

    def _apply(
        self,
        run: Run,
        predicted: DiskResults,
        changes: Mapping[str, list[str]],
        entries: Mapping[str, Any],
        task_vars: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Apply the changes of disks and VMs, and return the members of the result about them."""
        due = [disk for disk, _result in predicted.due().results]
        disks = self._reconcile_disks(due, entries, task_vars, predict=False)
        done = DiskResults.from_answer(due, disks) if disks else DiskResults()
        run.leave_alone(done.failures)
        actions = done.actions
        if run.changes.any():
            secrets = host_plans.secrets_of(plan.vm for plan in run.plans)
            # A question to storage names its secrets as if they were encrypted.
            forms = {run.encrypted, True} if run.changes.take_over else {run.encrypted}
            texts = {path: text for one in forms for path, text in host_plans.at_rest(secrets, encrypted=one).items()}
            answer: ApplyAnswer = self._ask_host({"desired": run.desired, "encrypted": run.encrypted}, texts, task_vars)
            actions += answer["actions"]
            run.add_failures(answer["failures"])
            run.record(answer["live_failures"])
        rows = {**predicted.rows, **done.rows}
        return {"actions": actions, "changes": run.done(changes, done), "disks": list(rows.values())}

    def _remove_disks(self, run: Run, recreation: Recreation, task_vars: Mapping[str, Any]) -> list[str]:
        """Stop the VMs that are made again and remove their disks; return the actions.

        A disk that cannot be removed is left whole, so its VM is started again with it.
        """
        if not recreation.disks:
            return []
        names = sorted(recreation.running)
        stopped = self._ask_host({"stop": names}, {}, task_vars)["stopped"] if names else []
        run_on = set(names) - set(stopped)
        run.leave_alone({name: [f"vm {name}: does not stop, so it is not made again"] for name in sorted(run_on)})
        gone = recreation.without(run_on)
        removals = gone.removals(predict=False)
        answer = self._reconcile_disks(gone.disks, removals, task_vars, predict=False)
        removed = DiskResults.from_answer(gone.disks, answer) if answer else DiskResults()
        run.record(removed.failures)
        return [*gone.actions, *removed.actions]

    def _reconcile_disks(
        self, disks: Sequence[ManagedDisk], entries: Mapping[str, Any], task_vars: Mapping[str, Any], *, predict: bool
    ) -> DisksAnswer | None:
        """Run qemu_disks for all of these disks in one call; return None if there are none."""
        host = task_vars.get("inventory_hostname", "")
        if not disks:
            return None
        names = [disk.name for disk in disks]
        answer = self.run_qemu_disks({name: entries[name] for name in names}, names, task_vars, predict=predict)
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
        hidden = {"disks": encode(disks)} if disks and (disks["managed"] or disks["to_read"]) else {}
        detachable = {**request, **self.wait()} if "desired" in request else request
        arguments = {"vms": detachable, "credentials": encoded, **hidden}
        answer = self.await_work(self.run_module("qemu_vms", arguments, task_vars), task_vars)
        if answer.get("failed"):
            raise HostFailed(answer)
        return answer


def _for_other_steps(report: HostReport, *, due: bool) -> dict[str, Any]:
    """Return the members that the result of step observe has in addition to that of a run in one step."""
    return {"fleet": report, "due": due}


def _predictions(
    managed: Sequence[ManagedDisk], answer: ObserveAnswer, recreation: Recreation, removals: DisksAnswer | None
) -> DiskResults:
    """Return the predictions for all managed disks, also for those that are made again."""
    kept = DiskResults.from_observation(managed, answer).of(recreation.others(managed))
    return kept.plus(recreation.predicted(removals))


def _disks_request(vms: Sequence[Vm], declaration: Any, options: RunOptions) -> DisksRequest:
    """Return the request to observe the disks of the VMs on which the run acts."""
    chosen = [vm for vm in vms if is_chosen(vm.name, options.only_vms)]
    to_read = read_over_network(chosen, plain(declaration)) if options.only == "all" else []
    return {"managed": [disk.request for disk in _managed(chosen, declaration, options)], "to_read": to_read}


def _managed(vms: Sequence[Vm], declaration: Any, options: RunOptions) -> list[ManagedDisk]:
    return managed_disks(vms, plain(declaration)) if options.only == "all" else []
