# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must change on a host so that it is as planned: desired and observed go in, a list of changes comes out. Pure.

Both sides are plain data, because they travel between controller and host:

desired: ``files`` {path: {text, mode}}, ``vms`` {name: {state, autostart, restart, unit, units, reloaded, credentials,
staged, start_timeout}}, ``images`` {staged image: its credentials}; without ``images`` it is about helpers alone, and
the state of each machine is ``unchanged``; ``looked`` is what was observed when it was decided, see looked_at()
observed: ``files`` {path: {sha256, mtime, images}}, ``units`` {unit: {active, enabled, reload, started}},
``credentials`` {path: {mtime, current}}, ``staged`` [staged images in the cache], ``folders`` [folders of the VMs that
go with them]
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils import _paths

RUNNING = ("active", "reloading")
STOPPED = ("inactive", "failed", "")


@dataclass
class Changes:
    """What a run does, in the order in which it does it."""

    write_credentials: list[str] = field(default_factory=list)
    write_files: list[str] = field(default_factory=list)
    stop: list[str] = field(default_factory=list)
    disable: list[str] = field(default_factory=list)
    remove_files: list[str] = field(default_factory=list)
    remove_credentials: list[str] = field(default_factory=list)
    remove_folders: list[str] = field(default_factory=list)
    """Folders of VMs that are gone."""
    remove_images: list[str] = field(default_factory=list)
    """Staged images that nothing declares any more."""
    reload: bool = False
    enable: list[str] = field(default_factory=list)
    restart: list[str] = field(default_factory=list)
    start: list[str] = field(default_factory=list)
    refresh: list[str] = field(default_factory=list)
    """Units that start again while their machine runs on."""
    restart_needed: list[str] = field(default_factory=list)
    """Machines that run on with what they were started with, because nobody allowed a restart."""

    def any(self) -> bool:
        """Whether a run would change the host."""
        return any(value for key, value in asdict(self).items() if key != "restart_needed")

    def actions(self) -> list[str]:
        """The changes in words, one line each."""
        words = {
            "write_credentials": "write credential",
            "write_files": "write",
            "stop": "stop vm",
            "disable": "disable vm",
            "remove_files": "remove",
            "remove_credentials": "remove credential",
            "remove_folders": "remove folder",
            "remove_images": "remove staged image",
            "enable": "enable vm",
            "restart": "restart vm",
            "start": "start vm",
            "refresh": "restart",
        }
        lines = [
            f"{word} {item}" if item else "enable all vms" for key, word in words.items() for item in getattr(self, key)
        ]
        return [*lines, "reload systemd"] if self.reload else lines


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def decide(desired: Mapping[str, Any], observed: Mapping[str, Any]) -> Changes:
    """The changes that lead from observed to desired."""
    changes = Changes()
    for path, wanted in desired["files"].items():
        if observed["files"].get(path, {}).get("sha256") != digest(wanted["text"]):
            changes.write_files.append(path)
    for name, vm in desired["vms"].items():
        if vm["state"] == "absent":
            _decide_removals(name, (), (), observed, changes)
            _decide_absent(name, vm, observed, changes)
        else:
            _decide_credentials(_credentials(vm), observed, changes)
            if vm["state"] != "unchanged":
                _decide_removals(name, vm["units"], _credentials(vm), observed, changes)
                _decide_present(name, vm, observed, changes)
            _decide_refresh(vm, observed, changes)
    units = [unit for vm in desired["vms"].values() for unit in vm["units"]]
    if "images" in desired:
        _decide_staged(desired, observed, changes)
        units += [_paths.image_unit_name(image) for image in desired["images"]]
        if desired["vms"] and not observed["units"].get(_paths.TARGET, {}).get("enabled"):
            changes.enable.append("")
    unit_files = [
        path for path in (*changes.write_files, *changes.remove_files) if path.startswith(_paths.UNIT_DIRECTORY)
    ]
    changes.reload = bool(unit_files) or any(observed["units"].get(unit, {}).get("reload") for unit in units)
    return changes


def looked_at(desired: Mapping[str, Any], observed: Mapping[str, Any]) -> dict[str, Any]:
    """What another run may change meanwhile: the files of these VMs, and if they start with the host."""
    units = {vm["unit"] for vm in desired["vms"].values()}
    paths = {path for path in observed["files"] if _paths.vm_of_unit(path.rpartition("/")[2]) in desired["vms"]}
    return {
        "files": {path: observed["files"].get(path, {}).get("sha256", "") for path in {*desired["files"], *paths}},
        "enabled": {unit: bool(observed["units"].get(unit, {}).get("enabled")) for unit in units},
    }


def changed_since(desired: Mapping[str, Any], observed: Mapping[str, Any]) -> list[str]:
    """What is neither as it was when this was decided, nor as it should be: somebody else has decided otherwise."""
    before, now = desired["looked"], looked_at(desired, observed)
    goal = {path: digest(file["text"]) for path, file in desired["files"].items()}
    files = [
        path
        for path, sha256 in sorted({**dict.fromkeys(before["files"], ""), **now["files"]}.items())
        if sha256 not in (before["files"].get(path, ""), goal.get(path, ""))
    ]
    states = {vm["unit"]: vm for vm in desired["vms"].values() if vm["state"] != "unchanged"}
    units = [
        unit
        for unit, vm in sorted(states.items())
        if now["enabled"][unit] not in (before["enabled"][unit], starts_with_host(vm))
    ]
    return [*files, *units]


def starts_with_host(vm: Mapping[str, Any]) -> bool:
    """Stopped means stopped until it is declared otherwise: a reboot must not start it."""
    return bool(vm["autostart"]) and vm["state"] == "started"


def _decide_removals(
    name: str, units: Collection[str], kept: Collection[str], observed: Mapping[str, Any], changes: Changes
) -> None:
    """Units and credentials of this machine that its plan no longer has."""
    for path in observed["files"]:
        unit = path.rpartition("/")[2]
        if _paths.vm_of_unit(unit) == name and unit not in units:
            changes.remove_files.append(path)
    changes.remove_credentials += [
        path
        for path in observed["credentials"]
        if _paths.owner_of_credential(path) == _paths.owner_name(name) and path not in kept
    ]


def _credentials(vm: Mapping[str, Any]) -> list[str]:
    return [path for paths in vm["credentials"].values() for path in paths]


def _decide_credentials(paths: Iterable[str], observed: Mapping[str, Any], changes: Changes) -> None:
    changes.write_credentials += [path for path in paths if not observed["credentials"].get(path, {}).get("current")]


def _decide_refresh(vm: Mapping[str, Any], observed: Mapping[str, Any], changes: Changes) -> None:
    """Helpers that take a change while their machine runs on."""
    runs = observed["units"].get(vm["unit"], {}).get("active") in RUNNING
    for helper in vm["reloaded"] if runs and vm["state"] != "stopped" else ():
        started = observed["units"].get(helper, {}).get("started")
        if _is_newer(vm, helper, started, observed, changes):
            changes.refresh.append(helper)


def _decide_staged(desired: Mapping[str, Any], observed: Mapping[str, Any], changes: Changes) -> None:
    """Staged images are kept for as long as a declaration, or the unit of an undeclared machine, names them."""
    for paths in desired["images"].values():
        _decide_credentials(paths, observed, changes)
    kept = set(desired["images"])
    units = {path: path.rpartition("/")[2] for path in observed["files"]}
    for path, unit in units.items():
        if _paths.vm_of_unit(unit) not in desired["vms"]:
            kept |= set(observed["files"][path]["images"])
    units = {path: unit for path, unit in units.items() if _paths.image_of_unit(unit)}
    changes.remove_files += [path for path, unit in units.items() if _paths.image_of_unit(unit) not in kept]
    owners = {_paths.image_owner_name(image) for image in kept}
    changes.remove_credentials += [
        path
        for path in observed["credentials"]
        if _paths.owner_of_credential(path).startswith(_paths.image_owner_name(""))
        and _paths.owner_of_credential(path) not in owners
    ]
    changes.remove_images += [image for image in observed["staged"] if image not in kept]


def _decide_absent(name: str, vm: Mapping[str, Any], observed: Mapping[str, Any], changes: Changes) -> None:
    unit = observed["units"].get(vm["unit"], {})
    if unit.get("active", "") not in STOPPED:
        changes.stop.append(name)
    if unit.get("enabled"):
        changes.disable.append(name)
    changes.remove_folders += [
        path
        for path in observed["folders"]
        if _paths.vm_of_directory(path.rpartition("/")[2]) == name
        # systemd itself removes the runtime directory of what it stops.
        and not (name in changes.stop and path.startswith(_paths.runtime_directory(name)))
    ]


def _decide_present(name: str, vm: Mapping[str, Any], observed: Mapping[str, Any], changes: Changes) -> None:
    unit = observed["units"].get(vm["unit"], {})
    active = unit.get("active", "")
    if starts_with_host(vm) != bool(unit.get("enabled")):
        (changes.enable if starts_with_host(vm) else changes.disable).append(name)
    if vm["state"] == "stopped":
        if active not in STOPPED:
            changes.stop.append(name)
    elif active not in RUNNING:
        changes.start.append(name)
    elif _is_stale(vm, observed, changes):
        (changes.restart if vm["restart"] == "when_needed" else changes.restart_needed).append(name)


def _is_stale(vm: Mapping[str, Any], observed: Mapping[str, Any], changes: Changes) -> bool:
    """Whether a running machine was started from other units or credentials than those it should have."""
    started = observed["units"][vm["unit"]].get("started")
    units = [unit for unit in vm["units"] if unit not in vm["reloaded"]]
    return any(_is_newer(vm, unit, started, observed, changes) for unit in units)


def _is_newer(
    vm: Mapping[str, Any], unit: str, started: float | None, observed: Mapping[str, Any], changes: Changes
) -> bool:
    """Whether a unit's file or credentials have changed since something was started from them."""
    path, credentials = f"{_paths.UNIT_DIRECTORY}/{unit}", vm["credentials"][unit]
    if {path, *credentials} & {*changes.write_files, *changes.write_credentials}:
        return True
    times = [observed["files"][path]["mtime"], *(observed["credentials"][one]["mtime"] for one in credentials)]
    return started is not None and any(time > started for time in times)
