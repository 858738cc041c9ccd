# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes of a host: stop VMs, or apply a desired state under a lock."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import (
    address_filters,
    former_storage,
    leftovers,
    live,
    live_record,
    processes,
    restarts,
    systemd,
    taps,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._host import files as host_files
from ansible_collections.directdisk.qemu.plugins.module_utils._host.credential_store import CredentialStore, Secrets
from ansible_collections.directdisk.qemu.plugins.module_utils._host.in_use import take_over
from ansible_collections.directdisk.qemu.plugins.module_utils._host.observe import observe, opened_by_unit
from ansible_collections.directdisk.qemu.plugins.module_utils._host.staged_start import await_images
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.baseline import changed_since
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import Changes, decide
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import (
    ApplyAnswer,
    DesiredHost,
    DesiredVm,
    ObservedHost,
    StopAnswer,
    UnitState,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.vm_states import RUNNING, STOPPED
from ansible_collections.directdisk.qemu.plugins.module_utils._process import private_folders
from ansible_collections.directdisk.qemu.plugins.module_utils._process.locks import VMS_LOCK, VMS_SECONDS, locked
from ansible_collections.directdisk.qemu.plugins.module_utils._process.progress import ProgressBoard
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import unit_record
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths as unit_paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.unit_text import opened_in

LOG_LINES = 16
_NOT_YET = "vm {}: is not restarted, because its image is still being fetched; run this again once that has ended"


def stop(names: list[str]) -> StopAnswer:
    """Stop and disable VMs before another host starts them."""
    units = {name: unit_paths.unit_name(name) for name in names}
    with host_locked():
        systemd.systemctl("disable", units.values())
        systemd.stop_vms(units.values())
        states = systemd.show(list(units.values()))
    return {"stopped": [name for name, unit in units.items() if states[unit]["active"] in STOPPED]}


def apply(
    desired: DesiredHost, secrets: Secrets, *, encrypted: bool, board: ProgressBoard | None = None
) -> ApplyAnswer:
    """Apply a desired state to a locked host; secrets: the texts of its credentials; board: of the run."""
    observed = observe(
        vms=list(desired["vms"]),
        paths=[],
        secrets=secrets,
        encrypted=encrypted,
        processes=False,
        purged=[name for name, vm in desired["vms"].items() if vm["purge"]],
    )
    refuse_overtaken(desired, observed)
    changes = decide(desired, observed)
    replaced = {path: observed["files"][path] for path in changes.write_files if path in observed["files"]}
    spellings = {path.rpartition("/")[2]: file["spellings"] for path, file in replaced.items()}
    former_storage.remember(opened_by_unit(replaced), observed["units"], spellings)
    taps.remove_former(processes.taps_in_use(observed["processes"]))
    paused = live.resume(changes)
    kept = live.joined(
        live.unplug_undeclared(changes),
        live.detach(desired, observed, changes),
        live.unplug(desired, observed, changes),
        live.eject(desired, observed, changes),
    )
    for vm in [name for name in kept if desired["vms"][name]["restart"] == "when_needed"]:
        del kept[vm]
        changes.restart_instead(vm)
    refused = _refuse_kept_storage(desired, observed, changes, kept)
    refused.update(_keep_conflicting(changes))
    refused.update(_take_over(desired, changes, secrets))
    running = _running_on(desired, observed, changes)
    filters = address_filters.filters_now(list(running))
    _remember_taps(desired, observed, changes)
    _write(desired, secrets, changes, CredentialStore(encrypted=encrypted))
    failures = _switch(desired, changes, board)
    taps.remove_former({name: _taps(desired["vms"][name]) for name in changes.restart})
    kept_units = [desired["vms"][vm]["unit"] for vm in changes.restart_required if vm in desired["vms"]]
    address_filters.apply(running, filters, kept_units)
    attached = live.attach(desired, observed, changes, secrets, board)
    inserted = live.insert(desired, observed, changes, secrets, board)
    networks = live.change_networks(desired, observed, changes)
    sizes = live.change_sizes(desired, observed, changes)
    passwords = live.change_passwords(desired, changes, secrets)
    options = live.change_options(desired, observed, changes)
    live_failures = live.joined(paused, kept, refused, attached, inserted, networks, sizes, passwords, options)
    renewed = _renewed(desired, changes, passwords)
    _record_running(desired, observed, changes, unfinished=live_failures, renewed=renewed)
    return {"actions": changes.actions(), "failures": failures, "live_failures": live_failures}


def _taps(vm: DesiredVm) -> list[str]:
    return [network["tap"] for network in vm["networks"].values() if network["tap"]]


def _remember_taps(desired: DesiredHost, observed: ObservedHost, changes: Changes) -> None:
    """Record the tap devices of VMs that are to be started again from units that do not name them."""
    in_use = processes.taps_in_use(observed["processes"])
    for name in (*changes.restart, *changes.restart_required):
        vm = desired["vms"][name]
        for tap in set(in_use.get(name, ())).difference(_taps(vm)):
            taps.remember_kept(name, tap, observed["units"][vm["unit"]]["invocation"])


def _running_on(desired: DesiredHost, observed: ObservedHost, changes: Changes) -> dict[str, str]:
    """Return the new texts of the units that change while their VMs run, by unit."""
    switched = {*changes.stop, *changes.restart, *changes.start}
    changed = set(changes.changed_while_running())
    texts: dict[str, str] = {}
    for name, vm in desired["vms"].items():
        path = f"{unit_paths.UNIT_DIRECTORY}/{vm['unit']}"
        runs = observed["units"][vm["unit"]]["active"] in RUNNING and name not in switched
        if runs and (path in changes.write_files or name in changed):
            texts[vm["unit"]] = desired["files"][path]["text"]
    return texts


def _refuse_kept_storage(
    desired: DesiredHost, observed: ObservedHost, changes: Changes, kept: Collection[str]
) -> live.Failures:
    """Leave VMs as they are that would open the storage of a disk which a guest has not given back.

    A VM that keeps such a disk has its new unit all the same, and what the disk needs until its next start.
    """
    refused: live.Failures = {}
    opened = opened_by_unit(observed["files"])
    for vm in kept:
        changes.keep_devices(vm)
    for vm in kept:
        still_open = opened.get(desired["vms"][vm]["unit"], {})
        for other in changes.opening():
            text = desired["files"][f"{unit_paths.UNIT_DIRECTORY}/{desired['vms'][other]['unit']}"]["text"]
            writes = opened_in(text)
            same = {one for one in still_open.keys() & writes.keys() if still_open[one] or writes[one]}
            if other != vm and same:
                refused.setdefault(other, []).append(
                    f"vm {other}: is left as it is: {vm} still has {', '.join(sorted(same))} open"
                )
    for other in refused:
        changes.keep_vm(other)
    return refused


def _keep_conflicting(changes: Changes) -> live.Failures:
    """Leave VMs as they are to which somebody has added devices or nodes with names of their disks."""
    for vm in changes.conflicts:
        changes.keep_vm(vm)
    return changes.conflicts


def _take_over(desired: DesiredHost, changes: Changes, secrets: Secrets) -> live.Failures:
    """Take storage from other clients before VMs open it; leave VMs as they are whose storage is not free then."""
    refused: live.Failures = {}
    for vm in list(changes.take_over):
        lines = take_over(desired["takeovers"][vm], secrets)
        if lines:
            refused[vm] = [f"vm {vm}: is left as it is: {line}" for line in lines]
            changes.keep_vm(vm)
    return refused


def _renewed(desired: DesiredHost, changes: Changes, without_password: Collection[str]) -> list[str]:
    """Return the passwords and helpers of which VMs that run on have the new ones."""
    renewed = [desired["vms"][vm]["screen_password"] for vm in changes.passwords if vm not in without_password]
    return renewed + [one for vm, disk in changes.insert for one in desired["vms"][vm]["disks"][disk]["helpers"]]


def _record_running(
    desired: DesiredHost,
    observed: ObservedHost,
    changes: Changes,
    *,
    unfinished: Collection[str],
    renewed: Collection[str] = (),
) -> None:
    """Record that VMs that run on are as their new units say, except those that are due for a restart."""
    running = _running_on(desired, observed, changes)
    for name, vm in desired["vms"].items():
        unit = vm["unit"]
        if unit in running:
            complete = name not in unfinished and name not in changes.restart_required
            unit_record.update(unit, observed["units"][unit]["invocation"], complete=complete, renewed=renewed)
            if complete:
                former_storage.forget(unit)


@contextlib.contextmanager
def host_locked() -> Iterator[None]:
    """Hold the lock of this host's VMs, so that two runs take turns."""
    with locked(VMS_LOCK, 0, seconds=VMS_SECONDS, subject="this host's VMs"):
        private_folders.remove_payloads()
        for folder in (
            unit_paths.UNIT_DIRECTORY,
            unit_paths.CREDENTIALS,
            unit_paths.ENCRYPTED_CREDENTIALS,
            unit_paths.PROGRAMS,
            os.path.dirname(unit_paths.NEEDRESTART),
            os.path.dirname(former_storage.RECORD),
            live_record.FOLDER,
        ):
            host_files.remove_leftovers(folder)
        yield


def refuse_overtaken(desired: DesiredHost, observed: ObservedHost) -> None:
    """Raise HostError if another run has changed the host since the plan was made."""
    changed = changed_since(desired, observed)
    if changed:
        raise HostError(
            f"another run has changed {', '.join(changed)} since this one observed the host; nothing was changed; "
            "run it again"
        )


def _write(desired: DesiredHost, secrets: Secrets, changes: Changes, store: CredentialStore) -> None:
    """Write files and credentials; nothing takes effect before systemd reloads."""
    store.write({path: secrets[path] for path in changes.write_credentials})
    for path in changes.write_files:
        host_files.make_folder(os.path.dirname(path))
        host_files.write_atomically(path, desired["files"][path]["text"], mode=desired["files"][path]["mode"])


def _switch(desired: DesiredHost, changes: Changes, board: ProgressBoard | None = None) -> dict[str, list[str]]:
    """Stop, remove, enable and start, with one call of systemctl each for all VMs."""

    def call(verb: str, names: list[str], *options: str) -> None:
        # systemctl requires at least one unit.
        units = [desired["vms"][name]["unit"] if name else unit_paths.TARGET for name in names]
        if units:
            systemd.systemctl(verb, units, *options)

    systemd.stop_vms([desired["vms"][name]["unit"] for name in changes.stop])
    run_on = _shut_down_with_helpers(desired, changes)
    leftovers.stop_helpers(changes)
    call("disable", changes.disable, "--no-reload")
    for path in changes.remove_files:
        unit = path.rpartition("/")[2]
        for gone in (path, unit_record.record_path(unit), live_record.path_of(unit)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(gone)
    leftovers.revoke_access(changes)
    leftovers.remove_folders(changes)
    kept = _purge(desired, changes)
    CredentialStore(
        encrypted=any(path.startswith(unit_paths.ENCRYPTED_CREDENTIALS) for path in changes.remove_credentials)
    ).remove(changes.remove_credentials)
    _remove_images(changes)
    call("enable", changes.enable, "--no-reload")
    started = [desired["vms"][name]["unit"] for name in (*changes.restart, *changes.start)]
    if address_filters.remove(started) or changes.reload or changes.enable or changes.disable:
        systemd.systemctl("daemon-reload")
    _reset_failures([path.rpartition("/")[2] for path in changes.remove_files])
    _stop_former_starts(desired, changes.start)
    suspects: list[str] = []
    before = systemd.end_of_journal() if changes.start or changes.restart or changes.refresh else ""
    late = await_images(desired, [*changes.start, *changes.restart], "the VM starts by itself once it is there", board)
    late.update({name: [_NOT_YET.format(name)] for name in changes.restart if name in late})
    # A restart may close storage that another VM starts with.
    restarted = restarts.restart_in_turn(desired, [name for name in changes.restart if name not in late])
    call("start", [name for name in changes.start if name in late], "--no-block")
    names = [name for name in changes.start if name not in late]
    try:
        call("start", names)
    except HostError:
        # The states of the units show which VM has failed; the others are started all the same.
        suspects += names
    refreshed = _refresh(changes.refresh, before)
    return {**_failed(desired, suspects, before), **late, **run_on, **kept, **restarted, **refreshed}


def _purge(desired: DesiredHost, changes: Changes) -> dict[str, list[str]]:
    """Remove what VMs have written, unless one still runs; return those."""
    states = systemd.show([desired["vms"][name]["unit"] for name in changes.purge])
    run_on = [name for name in changes.purge if states[desired["vms"][name]["unit"]]["active"] not in STOPPED]
    leftovers.purge([name for name in changes.purge if name not in run_on])
    return {name: [f"vm {name}: has not stopped, so its files were not removed"] for name in run_on}


def _shut_down_with_helpers(desired: DesiredHost, changes: Changes) -> dict[str, list[str]]:
    """Shut down the VMs that are restarted without one of their helpers; those that run on keep it. Return these."""
    removed = {unit_paths.vm_of_unit(path.rpartition("/")[2]) for path in changes.remove_files}
    run_on = restarts.shut_down(desired, [name for name in changes.restart if name in removed])
    changes.restart = [name for name in changes.restart if name not in run_on]
    changes.restart_required.update(run_on)
    return run_on


def _stop_former_starts(desired: DesiredHost, names: Collection[str]) -> None:
    """Stop what earlier starts have left of VMs that do not run.

    A start that systemd repeats, or a helper that is just ending, would make the new start go on with the former unit.
    """
    units = [desired["vms"][name]["unit"] for name in names]
    states = systemd.show(units)
    systemd.stop_vms([unit for unit in units if states[unit]["active"] not in RUNNING])


def _refresh(units: list[str], before: str) -> dict[str, list[str]]:
    """Restart helpers while their VMs run on; return the last log lines of those that fail, by VM."""
    if not units:
        return {}
    with contextlib.suppress(HostError):
        systemd.systemctl("restart", units)
    states = systemd.show(units)
    failed = [unit for unit in units if not _is_active(states, unit)]
    return {unit_paths.vm_of_unit(unit): systemd.last_log_lines([unit], LOG_LINES, after=before) for unit in failed}


def _reset_failures(units: list[str]) -> None:
    """Reset the failed state of removed units, which systemd lists even without a file; it does not know the others."""
    if units:
        with contextlib.suppress(HostError):
            systemd.systemctl("reset-failed", units)


def _remove_images(changes: Changes) -> None:
    """Remove staged images, and stop the units that fetch them."""
    fetching = [
        image for image in map(unit_paths.image_of_unit, (p.rpartition("/")[2] for p in changes.remove_files)) if image
    ]
    if fetching:
        systemd.systemctl("stop", map(unit_paths.image_unit_name, fetching))
    for image in changes.remove_images:
        for path in glob.glob(f"{unit_paths.image_file(image)}*"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _failed(desired: DesiredHost, names: list[str], before: str) -> dict[str, list[str]]:
    """Return the last log lines of each VM that should run and does not; before: the journal's end before its start."""
    states = systemd.show([desired["vms"][name]["unit"] for name in names])
    down = [name for name in names if not _is_active(states, desired["vms"][name]["unit"])]
    with ThreadPoolExecutor(4) as pool:
        logs = pool.map(
            lambda name: systemd.last_log_lines(
                [*desired["vms"][name]["units"], *desired["vms"][name]["staged"]], LOG_LINES, after=before
            ),
            down,
        )
        return dict(zip(down, logs))


def _is_active(states: Mapping[str, UnitState], unit: str) -> bool:
    return unit in states and states[unit]["active"] == "active"
