# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes that lead from the observed to the desired state of a host. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field

from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import (
    DesiredHost,
    DesiredVm,
    ObservedHost,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_state import UndeclaredDevice
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.running_changes import (
    file_reasons,
    is_current,
    running_changes,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.undeclared import (
    is_paused_by_hand,
    removable,
    undeclared_notes,
    unplug_lines,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.vm_states import RUNNING, STOPPED
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths as unit_paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.restart_rule import digest

_NO_CHANGES = ("restart_required", "conflicts", "left_alone", "notes")
"""Members of Changes that change nothing."""
DiskOfVm = tuple[str, str]
"""The names of a VM and of one of its disks."""
NetworkOfVm = tuple[str, str]
"""The names of a VM and of one of its networks."""


@dataclass
class Changes:
    """The changes of a run, in the order in which they are applied."""

    write_credentials: list[str] = field(default_factory=list)
    write_files: list[str] = field(default_factory=list)
    stop: list[str] = field(default_factory=list)
    disable: list[str] = field(default_factory=list)
    remove_files: list[str] = field(default_factory=list)
    remove_credentials: list[str] = field(default_factory=list)
    remove_folders: list[str] = field(default_factory=list)
    """Folders of VMs that are removed."""
    remove_links: list[str] = field(default_factory=list)
    """Links to folders that are kept: systemd makes them when a VM starts."""
    purge: dict[str, list[str]] = field(default_factory=dict)
    """VMs of which nothing is kept, with the files that are lost."""
    remove_images: list[str] = field(default_factory=list)
    """Staged images that no VM declares any more."""
    reload: bool = False
    enable: list[str] = field(default_factory=list)
    restart: list[str] = field(default_factory=list)
    start: list[str] = field(default_factory=list)
    take_over: dict[str, list[str]] = field(default_factory=dict)
    """VMs whose storage is taken from other clients before they start, with the lines about it."""
    resume: list[str] = field(default_factory=list)
    """VMs that somebody has paused over their monitors."""
    unplug_undeclared: dict[str, list[UndeclaredDevice]] = field(default_factory=dict)
    """Devices that somebody has added to running VMs over their monitors, by VM."""
    detach: list[DiskOfVm] = field(default_factory=list)
    """Disks of running VMs."""
    controllers: list[tuple[str, str]] = field(default_factory=list)
    """Running VMs and their SCSI controllers without disks, which are unplugged."""
    attach: list[DiskOfVm] = field(default_factory=list)
    limit: list[DiskOfVm] = field(default_factory=list)
    reopen: list[DiskOfVm] = field(default_factory=list)
    """Disks that get another discard or detect_zeroes."""
    eject: list[DiskOfVm] = field(default_factory=list)
    """CD drives of running VMs."""
    insert: list[DiskOfVm] = field(default_factory=list)
    unplug: list[NetworkOfVm] = field(default_factory=list)
    """Networks of running VMs."""
    plug: list[NetworkOfVm] = field(default_factory=list)
    link: list[NetworkOfVm] = field(default_factory=list)
    """Networks whose link goes up or down."""
    bridge: list[NetworkOfVm] = field(default_factory=list)
    """Networks that are on another bridge."""
    sizes: list[tuple[str, str]] = field(default_factory=list)
    """Running VMs and what they get more or less of: memory or cpus."""
    passwords: list[str] = field(default_factory=list)
    """Running VMs whose screens get other passwords."""
    refresh: list[str] = field(default_factory=list)
    """Helper units that are restarted while their VM runs on."""
    restart_required: dict[str, list[str]] = field(default_factory=dict)
    """VMs that run on unchanged because their declaration does not allow a restart, with the reasons for one."""
    conflicts: dict[str, list[str]] = field(default_factory=dict)
    """VMs that are left as they are, because somebody has given names of their disks to something else."""
    left_alone: list[str] = field(default_factory=list)
    """VMs that get nothing in the rest of the run, whatever they have given back."""
    notes: list[str] = field(default_factory=list)
    """Lines about what somebody has added to running VMs, and what stays."""

    def any(self) -> bool:
        """Return if a run would change the host."""
        return any(value for key, value in asdict(self).items() if key not in _NO_CHANGES)

    def changed_while_running(self) -> list[str]:
        """Return the VMs that change while they run."""
        parts = (vm for part in self.live_parts().values() for vm, _name in part)
        names = dict.fromkeys([*parts, *self.passwords, *self.unplug_undeclared])
        return [name for name in names if name not in self.left_alone]

    def opening(self) -> list[str]:
        """Return the VMs that open storage in this run."""
        live = (vm for vm, _disk in (*self.attach, *self.insert))
        return list(dict.fromkeys([*self.restart, *self.start, *live]))

    def restart_instead(self, vm: str) -> None:
        """Restart a VM instead of giving it anything while it runs."""
        self.restart.append(vm)
        self._give_nothing_live(vm)

    def keep_devices(self, vm: str) -> None:
        """Give a running VM nothing until its next start, which gives it the devices of its unit."""
        self.restart_required.setdefault(vm, []).append("its guest has not given back every device")
        self._give_nothing_live(vm)

    def keep_vm(self, vm: str) -> None:
        """Keep a VM as it is now: its units, its credentials and its devices."""
        self.write_files = [path for path in self.write_files if not _belongs(path, vm)]
        self.remove_files = [path for path in self.remove_files if not _belongs(path, vm)]
        owner = unit_paths.owner_name(vm)
        self.remove_credentials = [
            path for path in self.remove_credentials if unit_paths.owner_of_credential(path) != owner
        ]
        for names in (self.restart, self.start, self.enable, self.disable):
            if vm in names:
                names.remove(vm)
        self.take_over.pop(vm, None)
        self.restart_required.pop(vm, None)
        self.left_alone.append(vm)
        self._give_nothing_live(vm)

    def live_parts(self) -> dict[str, list[tuple[str, str]]]:
        """Return the parts of VMs that change while these run, by what is done to them."""
        return {
            "detach disk": self.detach,
            "unplug controller": self.controllers,
            "attach disk": self.attach,
            "change limits of disk": self.limit,
            "change options of disk": self.reopen,
            "eject medium of disk": self.eject,
            "insert medium of disk": self.insert,
            "unplug network": self.unplug,
            "plug network": self.plug,
            "change link of network": self.link,
            "change bridge of network": self.bridge,
            "change": self.sizes,
        }

    def _give_nothing_live(self, vm: str) -> None:
        """Leave out what a running VM would be given. What it has given back by then stays among the changes."""
        for part in self.live_parts().values():
            if not any(part is taken for taken in (self.detach, self.controllers, self.eject, self.unplug)):
                part[:] = [one for one in part if one[0] != vm]
        self.passwords = [name for name in self.passwords if name != vm]

    def actions(self) -> list[str]:
        """Describe the changes, one line each."""
        verbs = {
            "write_credentials": "write credential",
            "write_files": "write",
            "stop": "stop vm",
            "disable": "disable vm",
            "remove_files": "remove",
            "remove_credentials": "remove credential",
            "remove_folders": "remove folder",
            "remove_links": "remove link",
            "remove_images": "remove staged image",
            "enable": "enable vm",
            "restart": "restart vm",
            "start": "start vm",
            "refresh": "restart",
        }
        lines = [f"DESTROYS DATA: remove {path}" for paths in self.purge.values() for path in paths]
        lines += [line for taken in self.take_over.values() for line in taken]
        lines += [
            f"{verb} {item}" if item else "enable all vms" for key, verb in verbs.items() for item in getattr(self, key)
        ]
        lines += [f"resume vm {vm}, which was paused over its monitor" for vm in self.resume]
        lines += unplug_lines(self.unplug_undeclared)
        for verb, parts in self.live_parts().items():
            lines += [f"{verb} {name} of {vm}" for vm, name in parts]
        lines += [f"change password of screen of {vm}" for vm in self.passwords]
        return [*lines, "reload systemd"] if self.reload else lines


def _belongs(path: str, vm: str) -> bool:
    """Return if a file is a unit of a VM."""
    return unit_paths.vm_of_unit(path.rpartition("/")[2]) == vm


def decide(desired: DesiredHost, observed: ObservedHost) -> Changes:
    """Return the changes that lead from the observed to the desired state."""
    changes = Changes()
    for path, file in desired["files"].items():
        if sha256_of(observed, path) != digest(file["text"]):
            changes.write_files.append(path)
    for name, vm in desired["vms"].items():
        if vm["state"] == "absent":
            _decide_removals(name, (), (), observed, changes)
            _decide_absent(name, vm, observed, changes)
        else:
            _decide_credentials(_credentials(vm), observed, changes)
            if vm["state"] != "unchanged":
                _decide_removals(name, vm["units"], _credentials(vm), observed, changes)
                _decide_present(name, desired, observed, changes)
            _decide_refresh(vm, desired, observed, changes)
    units = [unit for vm in desired["vms"].values() for unit in vm["units"]]
    if "images" in desired:
        _decide_staged(desired, observed, changes)
        units += [unit_paths.image_unit_name(image) for image in desired["images"]]
        if desired["vms"] and not is_enabled(observed, unit_paths.TARGET) and not is_masked(observed):
            changes.enable.append("")
    opening = {*changes.start, *changes.restart, *changes.changed_while_running()}
    for name, takeovers in desired.get("takeovers", {}).items():
        if name in opening:
            changes.take_over[name] = [line for takeover in takeovers for line in takeover["actions"]]
    unit_files = [
        path for path in (*changes.write_files, *changes.remove_files) if path.startswith(unit_paths.UNIT_DIRECTORY)
    ]
    changes.reload = bool(unit_files) or any(
        observed["units"][unit].get("reload") for unit in units if unit in observed["units"]
    )
    return changes


def sha256_of(observed: ObservedHost, path: str) -> str:
    """Return the digest of a file's text; empty if there is none."""
    return observed["files"][path]["sha256"] if path in observed["files"] else ""


def is_masked(observed: ObservedHost) -> bool:
    """Return if the target of all VMs is masked, so that systemd starts no VM when the host boots."""
    return unit_paths.TARGET in observed["units"] and bool(observed["units"][unit_paths.TARGET].get("masked"))


def _active(observed: ObservedHost, unit: str) -> str:
    return observed["units"][unit]["active"] if unit in observed["units"] else ""


def is_enabled(observed: ObservedHost, unit: str) -> bool:
    """Return if systemd starts a unit when the host boots."""
    return unit in observed["units"] and bool(observed["units"][unit].get("enabled"))


def starts_with_host(vm: Mapping[str, object]) -> bool:
    """Return if the host starts a VM when it boots; a VM that is declared stopped stays stopped.

    vm: a DesiredVm or the settings of a declared VM.
    """
    return bool(vm["autostart"]) and vm["state"] == "started"


def _decide_removals(
    name: str, units: Collection[str], kept: Collection[str], observed: ObservedHost, changes: Changes
) -> None:
    """Remove units and credentials of a VM that are not in its plan."""
    for path in observed["files"]:
        unit = path.rpartition("/")[2]
        if unit_paths.vm_of_unit(unit) == name and unit not in units:
            changes.remove_files.append(path)
    changes.remove_credentials += [
        path
        for path in observed["credentials"]
        if unit_paths.owner_of_credential(path) == unit_paths.owner_name(name) and path not in kept
    ]


def _credentials(vm: DesiredVm) -> list[str]:
    return [path for paths in vm["credentials"].values() for path in paths]


def _decide_credentials(paths: Iterable[str], observed: ObservedHost, changes: Changes) -> None:
    changes.write_credentials += [path for path in paths if not is_current(observed, path)]


def _decide_refresh(vm: DesiredVm, desired: DesiredHost, observed: ObservedHost, changes: Changes) -> None:
    """Restart helpers that take a change while their VM runs on."""
    runs = _active(observed, vm["unit"]) in RUNNING
    for helper in vm["reloaded"] if runs and vm["state"] != "stopped" else ():
        if file_reasons(helper, [helper], vm, desired, observed):
            changes.refresh.append(helper)


def _decide_staged(desired: DesiredHost, observed: ObservedHost, changes: Changes) -> None:
    """Remove staged images that neither a declaration nor the unit of an undeclared VM names."""
    for paths in desired["images"].values():
        _decide_credentials(paths, observed, changes)
    kept = set(desired["images"])
    units = {path: path.rpartition("/")[2] for path in observed["files"]}
    for path, unit in units.items():
        if unit_paths.vm_of_unit(unit) not in desired["vms"]:
            kept |= set(observed["files"][path]["images"])
    units = {path: unit for path, unit in units.items() if unit_paths.image_of_unit(unit)}
    changes.remove_files += [path for path, unit in units.items() if unit_paths.image_of_unit(unit) not in kept]
    owners = {unit_paths.image_owner_name(image) for image in kept}
    changes.remove_credentials += [
        path
        for path in observed["credentials"]
        if unit_paths.owner_of_credential(path).startswith(unit_paths.image_owner_name(""))
        and unit_paths.owner_of_credential(path) not in owners
    ]
    changes.remove_images += [image for image in observed["staged"] if image not in kept]


def _decide_absent(name: str, vm: DesiredVm, observed: ObservedHost, changes: Changes) -> None:
    if _active(observed, vm["unit"]) not in STOPPED:
        changes.stop.append(name)
    if is_enabled(observed, vm["unit"]):
        changes.disable.append(name)
    changes.remove_folders += [
        path
        for path in observed["folders"]
        if unit_paths.vm_of_directory(path.rpartition("/")[2]) == name
        # systemd itself removes the runtime directory of what it stops.
        and not (name in changes.stop and path.startswith(unit_paths.runtime_directory(name)))
    ]
    lost = observed.get("written", {}).get(name, []) if vm["purge"] else []
    if lost:
        changes.purge[name] = lost
    changes.remove_links += [
        path for path in observed["links"] if unit_paths.vm_of_directory(path.rpartition("/")[2]) == name
    ]


def _decide_present(name: str, desired: DesiredHost, observed: ObservedHost, changes: Changes) -> None:
    vm = desired["vms"][name]
    active = _active(observed, vm["unit"])
    if starts_with_host(vm) != is_enabled(observed, vm["unit"]):
        (changes.enable if starts_with_host(vm) else changes.disable).append(name)
    if vm["state"] == "stopped":
        if active not in STOPPED:
            changes.stop.append(name)
    elif active not in RUNNING:
        changes.start.append(name)
    else:
        _decide_running(name, desired, observed, changes)


def _decide_running(name: str, desired: DesiredHost, observed: ObservedHost, changes: Changes) -> None:
    """Change what can be changed while the VM runs, and restart it for the rest if that is allowed."""
    vm = desired["vms"][name]
    live, reasons = running_changes(name, desired, observed)
    if live.conflicts:
        changes.conflicts[name] = list(live.conflicts)
        return
    if reasons and vm["restart"] == "when_needed":
        changes.restart.append(name)
        return
    if reasons:
        changes.restart_required[name] = list(reasons)
    process = observed["processes"].get(name)
    if process:
        changes.notes += undeclared_notes(name, process)
        if is_paused_by_hand(process) and vm["resumes"]:
            changes.resume.append(name)
        if removable(process):
            changes.unplug_undeclared[name] = removable(process)
    changes.detach += [(name, disk) for disk in live.detach]
    changes.controllers += [(name, controller) for controller in live.controllers]
    changes.attach += [(name, disk) for disk in live.attach]
    changes.limit += [(name, disk) for disk in live.limit]
    changes.reopen += [(name, disk) for disk in live.reopen]
    changes.eject += [(name, disk) for disk in live.eject]
    changes.insert += [(name, disk) for disk in live.insert]
    changes.unplug += [(name, network) for network in live.networks.unplug]
    changes.plug += [(name, network) for network in live.networks.plug]
    changes.link += [(name, network) for network in live.networks.link]
    changes.bridge += [(name, network) for network in live.networks.bridge]
    changes.sizes += [(name, size) for size in live.sizes]
    changes.passwords += [name] if live.new_password else []
