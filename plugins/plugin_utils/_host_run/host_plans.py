# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's side of one host: what to ask it, what it should be like, and what its failures mean. No I/O."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Hint
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.explain import find_hint
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.identities import doubts, names_in
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm, refuse_shared_disks
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import Collected, DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import raise_collected
from ansible_collections.directdisk.qemu.plugins.module_utils._plan import ssh_agent
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import STOPPED, Changes
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.owners import PROGRAMS, questions
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.plan import (
    Plan,
    declared_credentials,
    describe_plan,
    make_plan,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import text_of
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import (
    file_access,
    image_fetch,
    tgt_serve,
    vms_resume,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths as unit_paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.service import Service
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import render

_WAITS = Hint(
    "it waits for",
    "its server does not answer",
    "check that it runs and that this host may reach it; start_timeout says how long a start may take",
)
"""Of the line with which qemu-vm-control.py gives a start up."""
_FILES = render.TEMPLATES.parent / "files"
_MODULES = {
    unit_paths.ACCESS_PROGRAM: file_access,
    unit_paths.IMAGE_PROGRAM: image_fetch,
    unit_paths.TGT_PROGRAM: tgt_serve,
    unit_paths.RESUME_PROGRAM: vms_resume,
    **PROGRAMS,
}
"""Programs that modules use, too."""


def observation(vms: Iterable[Vm], *, texts: bool) -> dict[str, Any]:
    """What to look at on the host of these machines."""
    present = [vm for vm in vms if vm.state != "absent"]
    return {
        "vms": [vm.name for vm in vms],
        "paths": sorted({path for vm in present for path, _kinds, _where in _needed_paths(vm)}),
        "texts": texts,
        "names": sorted({name for vm in present for disk in vm.disks for name in names_in(disk)}),
        "owners": questions(present),
    }


def secrets_of(vms: Iterable[Vm]) -> dict[tuple[str, str], str]:
    """Every secret text of the machines, by owner and name of its credential."""
    return {
        credential: text for vm in vms if vm.state != "absent" for credential, text in declared_credentials(vm).items()
    }


def at_rest(secrets: Mapping[tuple[str, str], str], *, encrypted: bool) -> dict[str, str]:
    """Secret texts by the paths at which they are kept."""
    return {
        unit_paths.credential_file(owner, name, encrypted=encrypted): text for (owner, name), text in secrets.items()
    }


def make_plans(vms: Iterable[Vm], capabilities: Capabilities, paths: Mapping[str, str]) -> list[Plan]:
    """The plans of all machines; raises every reason why this host cannot run one of them."""
    plans: list[Plan] = []
    errors: list[Exception] = []
    for vm in vms:
        try:
            if vm.state == "absent":
                plans.append(Plan(vm, (), ()))
                continue
            _check_paths(vm, paths)
            plans.append(make_plan(vm, capabilities))
        except (DeclarationError, Collected) as error:
            errors.append(error)
    raise_collected(errors)
    return plans


def _needed_paths(vm: Vm) -> Iterable[tuple[str, tuple[str, ...], str]]:
    """Paths that must be on the host: of which kinds, and for what."""
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
            problem = f"{path} is not there; create it, or correct its path"
        elif kind in ("block", "char"):
            problem = f"{path} is a device; declare it with host_device"
        else:
            problem = (
                f"{path} is a {kind}, and a {' or '.join(kinds)} device is wanted"
                if "block" in kinds
                else f"{path} is no file but a {kind}"
            )
        errors.append(DeclarationError(where, problem))
    raise_collected(errors)


def desired(plans: Iterable[Plan], *, encrypted: bool) -> dict[str, Any]:
    """What the host should be like, as decide() reads it."""
    plans = list(plans)
    texts = {
        f"{unit_paths.PROGRAMS}/{program.name}": program.read_text(encoding="utf-8") for program in _FILES.iterdir()
    }
    texts.update({path: text_of(program) for path, program in _MODULES.items()})
    files: dict[str, Any] = {path: {"text": text, "mode": 0o755} for path, text in sorted(texts.items())}
    for unit in unit_paths.COMMON_UNITS:
        files[f"{unit_paths.UNIT_DIRECTORY}/{unit}"] = {"text": render.render_common(unit), "mode": 0o644}
    images: dict[str, list[str]] = {}
    for service in (service for plan in plans for service in plan.services):
        text = render.render_service(service, encrypted=encrypted)
        files[f"{unit_paths.UNIT_DIRECTORY}/{service.name}"] = {"text": text, "mode": 0o644}
        if service.image:
            images[service.image] = _credentials(service, encrypted=encrypted)
    vms = {plan.vm.name: _desired_vm(plan, encrypted=encrypted) for plan in plans}
    return {"files": files, "vms": vms, "images": images}


def only_helpers(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Of a host, only the helpers that may change while their machines run on: the ssh-agents and their keys."""
    vms = {}
    for name, vm in wanted["vms"].items():
        units = [unit for unit in vm["units"] if unit in ssh_agent.unit_names(name)]
        if units:
            credentials = {unit: vm["credentials"][unit] for unit in units}
            vms[name] = {**vm, "state": "unchanged", "units": units, "credentials": credentials}
    kept = {unit for vm in vms.values() for unit in vm["units"]}
    files = {
        path: file
        for path, file in wanted["files"].items()
        if path.startswith(unit_paths.PROGRAMS) or path.rpartition("/")[2] in kept
    }
    return {"files": files, "vms": vms}


def _credentials(service: Service, *, encrypted: bool) -> list[str]:
    """The credentials at rest that a service loads and that are ours to write."""
    return sorted(
        unit_paths.credential_file(service.owner, credential.name, encrypted=encrypted)
        for credential in service.credentials.values()
        if credential.value is not None
    )


def _desired_vm(plan: Plan, *, encrypted: bool) -> dict[str, Any]:
    name, settings = plan.vm.name, plan.vm.settings
    services = [service for service in plan.services if service.vm]
    return {
        "state": settings["state"],
        "autostart": settings["autostart"],
        "restart": settings["restart"],
        "unit": unit_paths.unit_name(name),
        "units": [service.name for service in services],
        "reloaded": [service.name for service in services if service.reloads],
        "credentials": {service.name: _credentials(service, encrypted=encrypted) for service in services},
        "staged": [service.name for service in plan.services if service.image],
        "start_timeout": plan.vm.settings["start_timeout"],
    }


def undeclared(observed: Mapping[str, Any], vms: Iterable[Vm]) -> list[str]:
    """Machines that have units on the host, but no declaration."""
    found = {unit_paths.vm_of_unit(path.rpartition("/")[2]) for path in observed["files"]}
    return sorted(found - {""} - {vm.name for vm in vms})


def refuse_taken_storage(vms: Iterable[Vm], observed: Mapping[str, Any], names: Iterable[str]) -> None:
    """Storage that a running machine without a declaration has open is not opened a second time."""
    units = {name: unit_paths.unit_name(name) for name in names}
    running = {name: unit for name, unit in units.items() if observed["units"][unit]["active"] not in STOPPED}
    opened = {
        f"{name}, which runs without a declaration": observed["files"][f"{unit_paths.UNIT_DIRECTORY}/{unit}"]["opened"]
        for name, unit in running.items()
    }
    refuse_shared_disks(vms, opened, observed.get("names", {}))


def doubtful_storage(vms: Iterable[Vm], observed: Mapping[str, Any], host: str) -> list[str]:
    """What to look at where nobody can tell if two disks of a host are the same storage."""
    disks = ((f"disk {disk.name} of {vm.name}", disk) for vm in vms if vm.state != "absent" for disk in vm.disks)
    return [f"{host}: {where}: {doubt}" for where, doubt in doubts(disks, observed.get("names", {}))]


def diffs(changes: Changes, wanted: Mapping[str, Any], observed: Mapping[str, Any]) -> list[dict[str, str]]:
    """The changes for people: files line by line, everything else in words."""
    shown = []
    for path in changes.write_files:
        before = observed["files"].get(path, {}).get("text", "")
        shown.append({"prepared": _unified(path, before, wanted["files"][path]["text"])})
    shown += [
        {"prepared": _unified(path, observed["files"][path].get("text", ""), "")} for path in changes.remove_files
    ]
    shown_above = {f"write {path}" for path in changes.write_files} | {
        f"remove {path}" for path in changes.remove_files
    }
    words = [action for action in changes.actions() if action not in shown_above]
    return [*shown, {"prepared": "".join(f"{action}\n" for action in words)}] if words else shown


def _unified(path: str, before: str, after: str) -> str:
    lines = difflib.unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), path, path)
    return "".join(lines)


def explain_failure(plan: Plan, lines: Iterable[str], host: str) -> list[str]:
    """What went wrong with a machine that did not start: the disk and its backend's hint, then the log itself."""
    lines = list(lines)
    name = plan.vm.name
    explained = []
    for line in lines:
        if line.startswith(tuple(f"disk {planned.disk.name} of {name}: " for planned in plan.disks)):
            explained.append(f"{host}: {line}")
            continue
        planned = next((p for p in plan.disks if _speaks_of(line, p.disk)), None)
        for candidate in [planned] if planned else plan.disks:
            hints = (_WAITS, *candidate.disk.backend.hints) if planned else candidate.disk.backend.hints
            hint = find_hint(hints, line)
            if hint:
                where = f"{host}: disk {candidate.disk.name} of {name}: {candidate.disk.described}"
                explained.append(f"{where}: {hint.meaning}; {hint.advice}")
                break
    log = "".join(f"\n    {line}" for line in lines) or "\n    (no log)"
    first = list(dict.fromkeys(explained)) or [f"{host}: vm {name}: did not start"]
    return [*first[:-1], f"{first[-1]}\n  its log:{log}"]


def _speaks_of(line: str, disk: Disk) -> bool:
    """Whether a line of the log names a node, a file or the helper of a disk."""
    name = re.escape(disk.name)
    if re.search(
        rf'"node-name":"{name}\.|/{name}(-[0-9a-f]{{8}})?\.qcow2|\.{name}(/nbd\.sock|\.nbdkit|\.tgt)|/ssh\.{name}\.',
        line,
    ):
        return True
    reach = disk.backend.access.reach(disk.source)
    if _WAITS.pattern in line:
        return any(f" {server}:" in line for server in reach.servers)
    places = (*reach.files, *reach.devices, *reach.sockets, disk.backend.source.describe(disk.source))
    return any(place in line for place in places)


def summary(plans: Iterable[Plan]) -> dict[str, Any]:
    """The machines as planned, for the result."""
    return {
        plan.vm.name: {
            "state": plan.vm.state,
            "unit": unit_paths.unit_name(plan.vm.name),
            "disks": describe_plan(plan),
        }
        for plan in plans
    }
