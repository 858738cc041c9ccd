# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must change on a host so that it is as planned: desired and observed go in, a list of changes comes out. Pure.

Both sides are plain data, because they travel between controller and host:

desired: ``files`` {path: {text, mode}}, ``vms`` {name: {state, autostart, restart, unit, units, credentials, images}}
observed: ``files`` {path: {sha256, mtime}}, ``units`` {unit: {active, enabled, reload, started}},
``credentials`` {path: {mtime, current}}, ``images`` {path: {size}}
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils import _paths
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError

RUNNING = ("active", "reloading")
STOPPED = ("inactive", "failed", "")


@dataclass
class Changes:
    """What a run does, in the order in which it does it."""

    write_credentials: list[str] = field(default_factory=list)
    write_files: list[str] = field(default_factory=list)
    create_images: list[str] = field(default_factory=list)
    grow_images: list[str] = field(default_factory=list)
    stop: list[str] = field(default_factory=list)
    disable: list[str] = field(default_factory=list)
    remove_files: list[str] = field(default_factory=list)
    remove_credentials: list[str] = field(default_factory=list)
    reload: bool = False
    enable: list[str] = field(default_factory=list)
    start: list[str] = field(default_factory=list)
    restart: list[str] = field(default_factory=list)
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
            "create_images": "create image",
            "grow_images": "grow image",
            "stop": "stop vm",
            "disable": "disable vm",
            "remove_files": "remove",
            "remove_credentials": "remove credential",
            "enable": "enable vm",
            "start": "start vm",
            "restart": "restart vm",
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
        _decide_removals(name, vm, observed, changes)
        if vm["state"] == "absent":
            _decide_absent(name, vm, observed, changes)
        else:
            _decide_present(name, vm, observed, changes)
    if desired["vms"] and not observed["units"].get(_paths.TARGET, {}).get("enabled"):
        changes.enable.append("")
    units = [unit for vm in desired["vms"].values() for unit in vm["units"]]
    unit_files = [
        path for path in (*changes.write_files, *changes.remove_files) if path.startswith(_paths.UNIT_DIRECTORY)
    ]
    changes.reload = bool(unit_files) or any(observed["units"].get(unit, {}).get("reload") for unit in units)
    return changes


def _decide_removals(name: str, vm: Mapping[str, Any], observed: Mapping[str, Any], changes: Changes) -> None:
    """Units and credentials of this machine that its plan no longer has."""
    units = set(vm["units"]) if vm["state"] != "absent" else set()
    for path in observed["files"]:
        unit = path.rpartition("/")[2]
        if _paths.vm_of_unit(unit) == name and unit not in units:
            changes.remove_files.append(path)
    kept = set(vm["credentials"]) if vm["state"] != "absent" else set()
    changes.remove_credentials += [
        path for path in observed["credentials"] if _paths.vm_of_credential(path) == name and path not in kept
    ]


def _decide_absent(name: str, vm: Mapping[str, Any], observed: Mapping[str, Any], changes: Changes) -> None:
    unit = observed["units"].get(vm["unit"], {})
    if unit.get("active", "") not in STOPPED:
        changes.stop.append(name)
    if unit.get("enabled"):
        changes.disable.append(name)


def _decide_present(name: str, vm: Mapping[str, Any], observed: Mapping[str, Any], changes: Changes) -> None:
    unit = observed["units"].get(vm["unit"], {})
    active = unit.get("active", "")
    for path in vm["credentials"]:
        if not observed["credentials"].get(path, {}).get("current"):
            changes.write_credentials.append(path)
    _decide_images(name, vm, observed, changes)
    if vm["autostart"] != bool(unit.get("enabled")):
        (changes.enable if vm["autostart"] else changes.disable).append(name)
    if vm["state"] == "stopped":
        if active not in STOPPED:
            changes.stop.append(name)
    elif active not in RUNNING:
        changes.start.append(name)
    elif _is_stale(vm, unit, observed, changes):
        (changes.restart if vm["restart"] == "when_needed" else changes.restart_needed).append(name)


def _decide_images(name: str, vm: Mapping[str, Any], observed: Mapping[str, Any], changes: Changes) -> None:
    for image in vm["images"]:
        size = observed["images"].get(image["path"], {}).get("size")
        if size is None:
            changes.create_images.append(image["path"])
        elif size > image["size"]:
            raise DeclarationError(
                f"disk {image['disk']} of {name}: size",
                f"{image['path']} has {size} bytes, more than the {image['size']} declared, "
                "and a disk is never shrunk; declare its real size, or shrink it yourself",
            )
        elif size < image["size"]:
            changes.grow_images.append(image["path"])


def _is_stale(vm: Mapping[str, Any], unit: Mapping[str, Any], observed: Mapping[str, Any], changes: Changes) -> bool:
    """Whether a running machine was started from other units or credentials than those it should have."""
    unit_paths = [f"{_paths.UNIT_DIRECTORY}/{name}" for name in vm["units"]]
    if {*unit_paths, *vm["credentials"]} & {*changes.write_files, *changes.write_credentials}:
        return True
    times = [observed["files"][path]["mtime"] for path in unit_paths]
    times += [observed["credentials"][path]["mtime"] for path in vm["credentials"]]
    started = unit.get("started")
    return started is not None and any(time > started for time in times)
