# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's side of one host: the request to observe it, its desired state, and its failures. No I/O."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Hint
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.explain import declared_texts, find_hint
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.identities import (
    Resolved,
    doubts,
    identities_of,
    names_in,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.pci import is_port
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.shared_disks import (
    OpenStorage,
    refuse_shared_disks,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import Collected, DeclarationError, HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import raise_collected
from ansible_collections.directdisk.qemu.plugins.module_utils._plan import host_size, screen, ssh_agent
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import Changes, is_masked
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import (
    DesiredHost,
    DesiredVm,
    FileContent,
    ObservedFile,
    ObservedHost,
    ObserveRequest,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_disk import (
    fixed_disks,
    live_drives,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_networks import live_networks
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.owners import PROGRAMS, questions
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.plan import (
    Plan,
    declared_credentials,
    describe_plan,
    make_plan,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.running_parts import (
    parts_of,
    words_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.start_check import starts_paused
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.vm_states import RUNNING, STOPPED
from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import text_of
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import (
    file_access,
    image_fetch,
    tgt_serve,
    unit_record,
    vm_control,
    vms_resume,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths as unit_paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.node_names import disk_node
from ansible_collections.directdisk.qemu.plugins.module_utils._units.service import Service
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import opened_disks, render

_WAITS = Hint(
    "it waits for",
    "its server does not answer",
    "check that it runs and that this host can reach it; start_timeout limits how long a start may take",
)
"""The line with which qemu-vm-control.py reports a start that has timed out."""
_FILES = render.TEMPLATES.parent / "files"
_MODULES = {
    unit_paths.ACCESS_PROGRAM: file_access,
    unit_paths.CONTROL_PROGRAM: vm_control,
    unit_paths.IMAGE_PROGRAM: image_fetch,
    unit_paths.TGT_PROGRAM: tgt_serve,
    unit_paths.RECORD_PROGRAM: unit_record,
    unit_paths.RESUME_PROGRAM: vms_resume,
    **PROGRAMS,
}
"""Programs that modules import, too."""


def observe_request(vms: Iterable[Vm], *, texts: bool, prune: bool = False, addresses: bool = False) -> ObserveRequest:
    """Return the request to observe the host of these VMs; texts: with the texts of units, for a diff."""
    vms = list(vms)
    present = [vm for vm in vms if vm.state != "absent"]
    return {
        "vms": [vm.name for vm in vms],
        "paths": sorted({path for vm in present for path, _kinds, _where in _needed_paths(vm)}),
        "texts": texts,
        "heads": opened_disks.paths_of_heads(present),
        "names": sorted({name for vm in present for disk in vm.disks for name in names_in(disk)}),
        "owners": questions(present),
        "purged": [vm.name for vm in vms if vm.settings["purge"]],
        "prune": prune,
        "addresses": addresses,
    }


def secrets_of(vms: Iterable[Vm]) -> dict[tuple[str, str], str]:
    """Return every secret text of the VMs, by owner and name of its credential."""
    return {
        credential: text for vm in vms if vm.state != "absent" for credential, text in declared_credentials(vm).items()
    }


def at_rest(secrets: Mapping[tuple[str, str], str], *, encrypted: bool) -> dict[str, str]:
    """Return secret texts by the paths at which they are stored."""
    return {
        unit_paths.credential_file(owner, name, encrypted=encrypted): text for (owner, name), text in secrets.items()
    }


def make_plans(vms: Iterable[Vm], capabilities: Capabilities, observed: ObservedHost) -> list[Plan]:
    """Plan all VMs; raise every reason why this host cannot run one of them."""
    plans: list[Plan] = []
    errors: list[Exception] = []
    for vm in vms:
        try:
            if vm.state == "absent":
                plans.append(Plan(vm, (), ()))
                continue
            _check_paths(vm, observed["paths"])
            plans.append(make_plan(vm, capabilities, _kept_places(vm, observed)))
        except (DeclarationError, Collected) as error:
            errors.append(error)
    raise_collected(errors)
    return plans


def _kept_places(vm: Vm, observed: ObservedHost) -> dict[str, str]:
    """Return the places of a VM's devices in its unit. A VM that does not run on gets new spare ports at its start."""
    unit = unit_paths.unit_name(vm.name)
    path = f"{unit_paths.UNIT_DIRECTORY}/{unit}"
    places = observed["files"][path]["places"] if path in observed["files"] else {}
    # One that this run stops has the unit of a stopped one at once, which the next run leaves as it is.
    runs = vm.state != "stopped" and unit in observed["units"] and observed["units"][unit]["active"] in RUNNING
    return {device: place for device, place in places.items() if runs or not is_port(device)}


def _needed_paths(vm: Vm) -> Iterable[tuple[str, tuple[str, ...], str]]:
    """Yield the paths that must exist on the host, the kinds of file that they may be, and what they are for."""
    for disk in vm.disks:
        reach = disk.backend.access.reach(disk.source)
        where = f"disk {disk.name} of {vm.name}: {disk.backend.name}"
        yield from ((path, ("file", "missing") if disk.kept else ("file",), where) for path in reach.files)
        yield from ((path, ("block", "char"), where) for path in reach.devices)
        yield from (
            (path, ("file",), where) for path in (*reach.loaded, *filter(None, (reach.trust, reach.known_hosts)))
        )
    for network in vm.networks:
        if network.bridge:
            yield (
                f"/sys/class/net/{network.bridge}/bridge",
                ("directory",),
                f"network {network.name} of {vm.name}: bridge {network.bridge}",
            )


def _check_paths(vm: Vm, paths: Mapping[str, str]) -> None:
    errors = []
    for path, kinds, where in _needed_paths(vm):
        kind = paths.get(path, "missing")
        if kind in kinds:
            continue
        if path.startswith("/sys/class/net/"):
            problem = "this host has no such bridge; create it first"
        elif kind == "missing":
            problem = f"{path} does not exist; create it, or correct its path"
        elif kind in ("block", "char"):
            problem = f"{path} is a device; declare it with host_device"
        else:
            problem = (
                f"{path} is a {kind}, but must be a {' or '.join(kinds)} device"
                if "block" in kinds
                else f"{path} is a {kind}, but must be a file"
            )
        errors.append(DeclarationError(where, problem))
    raise_collected(errors)


def desired_state(plans: Iterable[Plan], *, encrypted: bool) -> DesiredHost:
    """Return the desired state of the host of these plans."""
    plans = list(plans)
    # Python may have left a folder of compiled programs there.
    programs = [program for program in _FILES.iterdir() if program.is_file()]
    texts = {f"{unit_paths.PROGRAMS}/{program.name}": program.read_text(encoding="utf-8") for program in programs}
    texts.update({path: text_of(program) for path, program in _MODULES.items()})
    files: dict[str, FileContent] = {path: {"text": text, "mode": 0o755} for path, text in sorted(texts.items())}
    for unit in unit_paths.COMMON_UNITS:
        files[f"{unit_paths.UNIT_DIRECTORY}/{unit}"] = {"text": render.render_common(unit), "mode": 0o644}
    files[unit_paths.NEEDRESTART] = {"text": render.render_common("needrestart.conf"), "mode": 0o644}
    images: dict[str, list[str]] = {}
    for service in (service for plan in plans for service in plan.services):
        text = render.render_service(service, encrypted=encrypted)
        files[f"{unit_paths.UNIT_DIRECTORY}/{service.name}"] = {"text": text, "mode": 0o644}
        if service.image:
            images[service.image] = _credentials(service, encrypted=encrypted)
    vms = {plan.vm.name: _desired_vm(plan, encrypted=encrypted) for plan in plans}
    return {"files": files, "vms": vms, "images": images}


def only_helpers(desired: DesiredHost) -> DesiredHost:
    """Return the part of a desired state that may change while VMs run on: the ssh-agents and their keys."""
    vms: dict[str, DesiredVm] = {}
    for name, vm in desired["vms"].items():
        units = [unit for unit in vm["units"] if unit in ssh_agent.unit_names(name)]
        if units:
            credentials = {unit: vm["credentials"][unit] for unit in units}
            vms[name] = {**vm, "state": "unchanged", "units": units, "credentials": credentials}
    kept = {unit for vm in vms.values() for unit in vm["units"]}
    files = {
        path: file
        for path, file in desired["files"].items()
        if path.startswith(unit_paths.PROGRAMS) or path.rpartition("/")[2] in kept
    }
    return {"files": files, "vms": vms}


def _credentials(service: Service, *, encrypted: bool) -> list[str]:
    """Return the paths of the credentials that a service loads and the collection writes."""
    return sorted(
        unit_paths.credential_file(service.owner, credential.name, encrypted=encrypted)
        for credential in service.credentials.values()
        if credential.value is not None
    )


def _desired_vm(plan: Plan, *, encrypted: bool) -> DesiredVm:
    name, settings = plan.vm.name, plan.vm.settings
    services = [service for service in plan.services if service.vm]
    argv = words_of(plan.services[-1].args) if plan.services else []
    parts = parts_of(argv)
    fixed = fixed_disks(plan)
    return {
        "state": settings["state"],
        "purge": settings["purge"],
        "autostart": settings["autostart"],
        "restart": settings["restart"],
        "unit": unit_paths.unit_name(name),
        "units": [service.name for service in services],
        "reloaded": [service.name for service in services if service.reloads],
        "credentials": {service.name: _credentials(service, encrypted=encrypted) for service in services},
        "staged": [service.name for service in plan.services if service.image],
        "start_timeout": settings["start_timeout"],
        "resumes": settings["on_pause"] == "resume" and not starts_paused(plan.vm),
        "stop_timeout": settings["stop_timeout"],
        "ready_console": (settings.get("ready_when") or {}).get("console", ""),
        "ready_timeout": (settings.get("ready_when") or {}).get("timeout", 0),
        "argv": argv,
        "fixed": fixed,
        "networks": live_networks(plan.vm.networks, parts),
        "screen_password": screen.password_file(plan.vm, encrypted=encrypted),
        "disks": live_drives(plan, parts, encrypted=encrypted),
    }


def undeclared(observed: ObservedHost, vms: Iterable[Vm]) -> list[str]:
    """Return the VMs that have units on the host, but no declaration."""
    names = {unit_paths.vm_of_unit(path.rpartition("/")[2]) for path in observed["files"]}
    return sorted(names - {""} - {vm.name for vm in vms})


def refuse_taken_storage(vms: Iterable[Vm], observed: ObservedHost, names: Iterable[str]) -> None:
    """Refuse storage that a running VM without a declaration has open; names: these VMs."""
    units = {name: unit_paths.unit_name(name) for name in names}
    running = {name: unit for name, unit in units.items() if observed["units"][unit]["active"] not in STOPPED}
    resolved = observed.get("names", {})
    opened = {
        f"{name}, which runs without a declaration": _open_storage(
            observed["files"][f"{unit_paths.UNIT_DIRECTORY}/{unit}"], resolved
        )
        for name, unit in running.items()
    }
    refuse_shared_disks(vms, opened, resolved)


def _open_storage(file: ObservedFile, resolved: Resolved) -> list[OpenStorage]:
    """Return the storage that a unit's VM has open, with its other names."""
    return [
        OpenStorage(identities_of(identity, file["spellings"].get(identity), resolved), writes)
        for identity, writes in file["opened"].items()
    ]


def refuse_masked_target(changes: Changes, observed: ObservedHost) -> None:
    """Refuse to start VMs on a host that has been told to start none."""
    names = sorted({*changes.start, *changes.restart, *changes.enable})
    if names and is_masked(observed):
        raise HostError(
            f"{unit_paths.TARGET} is masked, so this host starts no VM, and {', '.join(names)} would start: unmask it "
            f"(systemctl unmask {unit_paths.TARGET}; or boot without systemd.mask={unit_paths.TARGET}), or declare "
            "state: stopped or absent"
        )


def refuse_too_large(vms: Iterable[Vm], changes: Changes, observed: ObservedHost) -> None:
    """Refuse to start a VM that needs more memory than the host has."""
    size, starting = observed.get("size"), {*changes.start, *changes.restart}
    if size:
        raise_collected(list(host_size.too_large((vm for vm in vms if vm.name in starting), size)))


def overcommitted(vms: Iterable[Vm], changes: Changes, observed: ObservedHost, host: str) -> list[str]:
    """Return warnings about the memory and CPUs of all VMs of a host on which one will start."""
    size = observed.get("size")
    warned = size if changes.start or changes.restart else None
    return [f"{host}: {warning}" for warning in host_size.overcommitted(vms, warned)] if warned else []


def doubtful_storage(vms: Iterable[Vm], observed: ObservedHost, host: str) -> list[str]:
    """Return warnings about disks of a host that may be the same storage."""
    disks = ((f"disk {disk.name} of {vm.name}", disk) for vm in vms if vm.state != "absent" for disk in vm.disks)
    return [f"{host}: {where}: {doubt}" for where, doubt in doubts(disks, observed.get("names", {}))]


def diffs(changes: Changes, desired: DesiredHost, observed: ObservedHost) -> list[dict[str, str]]:
    """Return the changes as diffs: files line by line, everything else as one line per action."""
    shown = []
    for path in changes.write_files:
        shown.append({"prepared": _unified(path, _text_of(observed, path), desired["files"][path]["text"])})
    shown += [{"prepared": _unified(path, _text_of(observed, path), "")} for path in changes.remove_files]
    shown_above = {f"write {path}" for path in changes.write_files} | {
        f"remove {path}" for path in changes.remove_files
    }
    others = [action for action in changes.actions() if action not in shown_above]
    return [*shown, {"prepared": "".join(f"{action}\n" for action in others)}] if others else shown


def _text_of(observed: ObservedHost, path: str) -> str:
    return observed["files"][path].get("text", "") if path in observed["files"] else ""


def _unified(path: str, before: str, after: str) -> str:
    lines = difflib.unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), path, path)
    return "".join(lines)


def explain_failure(plan: Plan, lines: Iterable[str], host: str) -> list[str]:
    """Explain why a VM did not start: its disk and the hint of the disk's backend, then the log itself."""
    lines = list(lines)
    name = plan.vm.name
    if lines and all(line.startswith(f"vm {name}: ") for line in lines):
        # Messages of the module, not a log: the VM may run.
        return [f"{host}: {line}" for line in lines]
    explained: dict[str, tuple[str, bool]] = {}
    for line in lines:
        if line.startswith(tuple(f"disk {planned.disk.name} of {name}: " for planned in plan.disks)):
            explained[f"{host}: {line}"] = ("", False)
            continue
        planned = next((p for p in plan.disks if _mentions(line, p.disk)), None)
        for candidate in [planned] if planned else plan.disks:
            hints = (_WAITS, *candidate.disk.backend.hints) if planned else candidate.disk.backend.hints
            hint = find_hint(hints, line, declared_texts(candidate.disk.source))
            if hint:
                where = f"{host}: disk {candidate.disk.name} of {name}: {candidate.disk.described}"
                explained[f"{where}: {hint.meaning}; {hint.advice}"] = (where, hint.names_no_cause)
                break
    clear = {where for where, names_no_cause in explained.values() if not names_no_cause}
    log = "".join(f"\n    {line}" for line in lines) or "\n    (no log)"
    first = [text for text, (where, names_no_cause) in explained.items() if not (names_no_cause and where in clear)]
    first = first or [f"{host}: vm {name}: did not start"]
    return [*first[:-1], f"{first[-1]}\n  its log:{log}"]


def _mentions(line: str, disk: Disk) -> bool:
    """Return if a line of the log names a node, a file or the helper of a disk."""
    name, node = re.escape(disk.name), re.escape(disk_node(disk.name, ""))
    if re.search(
        rf'"node-name":"{node}|/{name}(-[0-9a-f]{{8}})?\.qcow2|\.{name}(/nbd\.sock|\.nbdkit|\.tgt)|/ssh\.{name}\.',
        line,
    ):
        return True
    reach = disk.backend.access.reach(disk.source)
    if _WAITS.pattern in line:
        return any(f" {server}:" in line for server in reach.servers)
    places = (*reach.files, *reach.devices, *reach.sockets, disk.backend.source.describe(disk.source))
    return any(place in line for place in places)


def summary(plans: Iterable[Plan]) -> dict[str, Any]:
    """Return the VMs as planned, for the result of the task."""
    return {
        plan.vm.name: {
            "state": plan.vm.state,
            "unit": unit_paths.unit_name(plan.vm.name),
            "disks": describe_plan(plan),
        }
        for plan in plans
    }
