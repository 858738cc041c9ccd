# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applies the live changes of a run: first what VMs give back, and once their units are written what they get."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import OTHER_ANSWER, Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError, HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import (
    live_disks,
    live_media,
    live_networks,
    live_overlays,
    live_record,
    live_sizes,
    systemd,
    taps,
    undeclared,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._host.credential_store import Secrets
from ansible_collections.directdisk.qemu.plugins.module_utils._host.staged_start import await_images
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import Changes, DiskOfVm
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import DesiredHost, ObservedHost
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live import running_now
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_media import empty_drive, without_medium
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_networks import tap_of
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_state import LiveDisk
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.overlays import discarded_path
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.running_parts import Part
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.sizes import sizes_of
from ansible_collections.directdisk.qemu.plugins.module_utils._process.progress import ProgressBoard
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import file_access
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths

_SECONDS = 60.0
"""Time limit of the commands for one disk or network, without the time that a guest may take."""
_WORKERS = 16
_LOG_LINES = 8

Failures = dict[str, list[str]]
"""Messages about what was not changed, by VM."""
_Change = Callable[[Monitor, str, str], None]
"""Changes a part of a VM; its arguments are the names of both."""


def resume(changes: Changes) -> Failures:
    """Let the guests of VMs run on that somebody has paused."""

    def resume_one(monitor: Monitor, _vm: str, _part: str) -> None:
        if monitor.execute("query-status").get("status") == "paused":
            monitor.execute("cont")

    messages = _each([(vm, "state") for vm in changes.resume], resume_one, "run")
    changes.resume = [vm for vm in changes.resume if (vm, "state") not in messages]
    return _by_vm(messages)


def unplug_undeclared(changes: Changes) -> Failures:
    """Unplug the devices of running VMs that nobody has declared. The changes keep those that have been unplugged."""
    devices = {(vm, one["id"]): one for vm, some in changes.unplug_undeclared.items() for one in some}

    def unplug_one(monitor: Monitor, vm: str, device: str) -> None:
        undeclared.remove(monitor, devices[vm, device])

    messages = _each(devices, unplug_one, "undeclared device")
    for vm, some in list(changes.unplug_undeclared.items()):
        changes.unplug_undeclared[vm] = [one for one in some if (vm, one["id"]) not in messages]
        if not changes.unplug_undeclared[vm]:
            del changes.unplug_undeclared[vm]
    return _by_vm(messages)


def detach(desired: DesiredHost, observed: ObservedHost, changes: Changes) -> Failures:
    """Detach the disks of running VMs that are not declared any more, and unplug the controllers of their last ones."""

    def detach_one(monitor: Monitor, vm: str, disk: str) -> None:
        parts = running_now(observed["processes"][vm]).disks
        live_disks.detach(monitor, disk, parts[disk])
        _take_files_back(desired["vms"][vm]["unit"], parts, disk)
        live_overlays.remove(discarded_path(vm, disk))
        _remember(desired, observed, (vm, disk), None)

    def unplug_one(monitor: Monitor, _vm: str, controller: str) -> None:
        live_disks.unplug(monitor, controller, live_disks.UNPLUG_SECONDS)

    failures = _take(changes.detach, detach_one)
    # A controller goes with the disks that are still behind it.
    changes.controllers = [one for one in changes.controllers if one[0] not in failures]
    return {**failures, **_take(changes.controllers, unplug_one, "controller")}


def eject(desired: DesiredHost, observed: ObservedHost, changes: Changes) -> Failures:
    """Take media out of the CD drives of running VMs."""

    def eject_one(monitor: Monitor, vm: str, drive: str) -> None:
        parts = running_now(observed["processes"][vm]).disks
        live_media.eject(monitor, drive, parts[drive])
        _take_files_back(desired["vms"][vm]["unit"], parts, drive)
        _remember(desired, observed, (vm, drive), empty_drive(without_medium(parts[drive])))

    return _take(changes.eject, eject_one)


def _take_files_back(unit: str, parts: Mapping[str, Part], disk: str) -> None:
    """Let a VM not open the files of a former disk again, as far as its start has allowed that."""
    others = {path for name, part in parts.items() if name != disk for path in _files(part)}
    file_access.revoke_paths(unit, _files(parts[disk]) - others)


def _files(part: Part) -> set[str]:
    return {path for node in part.nodes for path in [json.loads(node).get("filename")] if isinstance(path, str)}


def insert(
    desired: DesiredHost, observed: ObservedHost, changes: Changes, secrets: Secrets, board: ProgressBoard | None = None
) -> Failures:
    """Put media into the empty CD drives of running VMs, whose units have been written and loaded."""
    late = await_images(desired, dict(changes.insert), "run this again once it is there", board)

    def insert_one(monitor: Monitor, vm: str, drive: str) -> None:
        new = desired["vms"][vm]["disks"][drive]
        # Those that run are the ones of the former medium.
        _start_helpers(new, "restart")
        _remember(desired, observed, (vm, drive), new)

        def record(passed: dict[str, str]) -> None:
            _remember(desired, observed, (vm, drive), {**new, "passed": passed})

        live_media.insert(monitor, drive, new, secrets, record)

    failures = _for_all([one for one in changes.insert if one[0] not in late], insert_one)
    return {**failures, **{vm: [f"vm {vm}: {line}" for line in lines] for vm, lines in late.items()}}


def change_options(desired: DesiredHost, observed: ObservedHost, changes: Changes) -> Failures:
    """Change the limits and options of disks of running VMs."""

    def change_one(monitor: Monitor, vm: str, disk: str) -> None:
        new = desired["vms"][vm]["disks"][disk]
        before = observed["processes"][vm]["disks"].get(disk)
        # An earlier version recorded none.
        passed = before.get("passed", {}) if before else {}
        if (vm, disk) in changes.limit:
            live_disks.limit(monitor, new)
        if (vm, disk) in changes.reopen:
            live_disks.reopen(monitor, disk, new, passed)
        _remember(desired, observed, (vm, disk), {**new, "passed": passed})

    return _for_all(dict.fromkeys((*changes.limit, *changes.reopen)), change_one)


def attach(
    desired: DesiredHost, observed: ObservedHost, changes: Changes, secrets: Secrets, board: ProgressBoard | None = None
) -> Failures:
    """Attach new disks to running VMs, whose units have been written and loaded."""
    late = await_images(desired, dict(changes.attach), "run this again once it is there", board)

    def attach_one(monitor: Monitor, vm: str, disk: str) -> None:
        new = desired["vms"][vm]["disks"][disk]
        _start_helpers(new)
        # First: a run that is killed leaves a part of the disk at most, and the next run knows what it consists of.
        _remember(desired, observed, (vm, disk), new)

        def record(passed: dict[str, str]) -> None:
            _remember(desired, observed, (vm, disk), {**new, "passed": passed})

        live_disks.attach(monitor, disk, new, secrets, record)

    failures = _for_all([one for one in changes.attach if one[0] not in late], attach_one)
    return {**failures, **{vm: [f"vm {vm}: {line}" for line in lines] for vm, lines in late.items()}}


def unplug(desired: DesiredHost, observed: ObservedHost, changes: Changes) -> Failures:
    """Unplug the networks of running VMs that are not declared any more."""

    def unplug_one(monitor: Monitor, vm: str, network: str) -> None:
        part = running_now(observed["processes"][vm]).networks[network]
        unit = desired["vms"][vm]["unit"]
        try:
            live_networks.unplug(monitor, vm, network, part)
        except DirectDiskError:
            if tap_of(part):
                taps.remember_kept(vm, tap_of(part), observed["units"][unit]["invocation"])
            raise
        live_record.remember_network(unit, observed["units"], network, None)

    return _take(changes.unplug, unplug_one, "network")


def change_networks(desired: DesiredHost, observed: ObservedHost, changes: Changes) -> Failures:
    """Plug new networks into running VMs, whose units have been written, and change links and bridges."""

    def plug_one(monitor: Monitor, vm: str, network: str) -> None:
        new = desired["vms"][vm]["networks"][network]
        # First, as with disks.
        live_record.remember_network(desired["vms"][vm]["unit"], observed["units"], network, new)
        live_networks.plug(monitor, vm, network, new)

    def link_one(monitor: Monitor, vm: str, network: str) -> None:
        new = desired["vms"][vm]["networks"][network]
        live_networks.set_link(monitor, network, up=not new["link_down"])
        live_record.remember_network(desired["vms"][vm]["unit"], observed["units"], network, new)

    def bridge_one(_monitor: Monitor, vm: str, network: str) -> None:
        new = desired["vms"][vm]["networks"][network]
        taps.set_bridge(new["tap"], new["bridge"])

    return joined(
        _for_all(changes.plug, plug_one, "network"),
        _for_all(changes.link, link_one, "network"),
        _for_all(changes.bridge, bridge_one, "network"),
    )


def change_passwords(desired: DesiredHost, changes: Changes, secrets: Secrets) -> Failures:
    """Give the screens of running VMs their new passwords; their credentials have been written."""

    def change_one(monitor: Monitor, vm: str, _part: str) -> None:
        password = secrets[desired["vms"][vm]["screen_password"]]
        monitor.execute("set_password", {"protocol": "vnc", "password": password})

    return _for_all([(vm, "password") for vm in changes.passwords], change_one, "screen")


def change_sizes(desired: DesiredHost, observed: ObservedHost, changes: Changes) -> Failures:
    """Give running VMs their memory and CPUs."""

    def change_one(monitor: Monitor, vm: str, size: str) -> None:
        started = sizes_of(observed["processes"][vm]["argv"])
        live_sizes.change(monitor, size, started, sizes_of(desired["vms"][vm]["argv"]))

    return _for_all(changes.sizes, change_one, "")


def joined(*some: Failures) -> Failures:
    """Return all messages by VM."""
    names = dict.fromkeys(name for failures in some for name in failures)
    return {name: [line for failures in some for line in failures.get(name, ())] for name in names}


def _start_helpers(disk: LiveDisk, verb: str = "start") -> None:
    """Start or restart the helpers of a disk; they run as long as its VM, whose unit starts them, too."""
    if disk["helpers"]:
        try:
            systemd.systemctl(verb, disk["helpers"])
        except HostError as error:
            log = "".join(f"\n    {line}" for line in systemd.last_log_lines(disk["helpers"], _LOG_LINES))
            raise HostError(f"{error}\n  its log:{log}") from None


def _remember(desired: DesiredHost, observed: ObservedHost, disk: DiskOfVm, now: LiveDisk | None) -> None:
    live_record.remember(desired["vms"][disk[0]]["unit"], observed["units"], disk[1], now)


def _take(parts: list[tuple[str, str]], change: _Change, kind: str = "disk") -> Failures:
    """Take parts from VMs; return why some were not given back, and leave only the others in the list.

    Whatever becomes of their VMs in the rest of the run, these changes have been made.
    """
    messages = _each(parts, change, kind)
    parts[:] = [one for one in parts if one not in messages]
    return _by_vm(messages)


def _for_all(parts: Iterable[tuple[str, str]], change: _Change, kind: str = "disk") -> Failures:
    """Change parts of VMs; return why some were not changed."""
    return _by_vm(_each(parts, change, kind))


def _by_vm(messages: Mapping[tuple[str, str], str]) -> Failures:
    failures: Failures = {}
    for (vm, _name), message in messages.items():
        failures.setdefault(vm, []).append(message)
    return failures


def _each(parts: Iterable[tuple[str, str]], change: _Change, kind: str) -> dict[tuple[str, str], str]:
    """Change parts of VMs, those of one VM in their order; return messages about those that were not changed.

    kind: what these parts are, for messages.
    """
    by_vm: dict[str, list[str]] = {}
    for vm, name in parts:
        by_vm.setdefault(vm, []).append(name)

    def change_vm(vm: str) -> dict[tuple[str, str], str]:
        failed: dict[tuple[str, str], str] = {}
        for name in by_vm[vm]:
            try:
                with Monitor.connect(paths.qmp_socket(vm), seconds=_SECONDS) as monitor:
                    change(monitor, vm, name)
            except DirectDiskError as error:
                failed[vm, name] = f"{kind} {name} of {vm}: {error}".lstrip()
            except OTHER_ANSWER as error:
                wrong = f"its monitor does not answer as QEMU does ({type(error).__name__})"
                failed[vm, name] = f"{kind} {name} of {vm}: {wrong}".lstrip()
        return failed

    with ThreadPoolExecutor(_WORKERS) as pool:
        return {part: message for failed in pool.map(change_vm, by_vm) for part, message in failed.items()}
