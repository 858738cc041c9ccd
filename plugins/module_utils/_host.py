# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's side: look at everything at once, then carry out what was decided."""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils import (
    _agent,
    _files,
    _folders,
    _leftovers,
    _opened_storage,
    _paths,
    _systemd,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._changes import (
    STOPPED,
    Changes,
    changed_since,
    decide,
    digest,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._credentials import Secrets, Store
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._in_use import ask_owners, of_stopped
from ansible_collections.directdisk.qemu.plugins.module_utils._locks import VMS, VMS_SECONDS, alone
from ansible_collections.directdisk.qemu.plugins.module_utils._names import resolve
from ansible_collections.directdisk.qemu.plugins.module_utils._running import opened_by
from ansible_collections.directdisk.qemu.plugins.module_utils._staged_start import await_images
from ansible_collections.directdisk.qemu.plugins.module_utils._unmanaged import unmanaged_processes

LOG_LINES = 16
_MOST_OVERLAYS = 1000


def observe(
    *,
    vms: list[str],
    paths: list[str],
    secrets: Secrets,
    encrypted: bool,
    texts: bool = False,
    names: Sequence[str] = (),
    owners: Mapping[str, Any] | None = None,
    processes: bool = True,
) -> dict[str, Any]:
    """Everything about this host that decide() needs, as plain data without a secret in it.

    vms: names of the machines; paths: of these, what kind of file is there; texts: also the text of each unit, for a
    diff; names: servers and paths of disks, of which the host may know that two are one; owners: what to ask the
    storage of machines that do not run (_owners.questions);
    processes: also the QEMU processes that are not the collection's.
    """
    files = _observe_files(texts)
    units = {path.rpartition("/")[2] for path in files if path.endswith(".service")}
    units |= {_paths.unit_name(vm) for vm in vms} | {_paths.TARGET}
    states = _systemd.show(sorted(units))
    for unit, state in states.items():
        state["started"] = _started(unit)
    for unit, opened in _opened_storage.opened_now(_opened(files), states).items():
        files[f"{_paths.UNIT_DIRECTORY}/{unit}"]["opened"] = opened
    return {
        "files": files,
        "units": states,
        "credentials": Store(encrypted=encrypted).observe(secrets),
        "paths": {path: _kind(path) for path in paths},
        "names": resolve(names),
        "staged": _staged(),
        "overlays": {vm: _overlays(vm) for vm in vms},
        "unmanaged": unmanaged_processes(paths) if processes else [],
        **ask_owners(of_stopped(owners or {}, states, STOPPED), secrets),
        "folders": _leftovers.folders(vms),
    }


def _overlays(vm: str) -> list[str]:
    """Names of the overlays in a VM's state directory; its user owns it, so their number is bounded."""
    paths = glob.iglob(f"{_paths.state_directory(vm)}/*.qcow2")
    return sorted(os.path.basename(path) for path in itertools.islice(paths, _MOST_OVERLAYS))


def stop(names: list[str]) -> dict[str, Any]:
    """Stop VMs, and let none of them start again by itself, before another host starts them; returns those that are
    stopped."""
    units = {name: _paths.unit_name(name) for name in names}
    with _only_run():
        _systemd.systemctl("disable", units.values())
        _stop(list(units.values()))
        states = _systemd.show(list(units.values()))
    return {"stopped": [name for name, unit in units.items() if states[unit]["active"] in STOPPED]}


def apply(desired: Mapping[str, Any], secrets: Secrets, *, encrypted: bool) -> dict[str, Any]:
    """Make the host as desired; returns what was done, and for each machine that does not run its last words."""
    with _only_run():
        seen = observe(vms=list(desired["vms"]), paths=[], secrets=secrets, encrypted=encrypted, processes=False)
        refuse_overtaken(desired, seen)
        changes = decide(desired, seen)
        replaced = {path: seen["files"][path] for path in changes.write_files if path in seen["files"]}
        _opened_storage.remember(_opened(replaced), seen["units"])
        _write(desired, secrets, changes, Store(encrypted=encrypted))
        failures = _switch(desired, changes)
    return {"actions": changes.actions(), "failures": failures}


@contextlib.contextmanager
def _only_run() -> Iterator[None]:
    """Two runs on one host take turns."""
    with alone(VMS, 0, seconds=VMS_SECONDS, about="this host's VMs"):
        _folders.remove_payloads()
        run = os.path.dirname(_opened_storage.RECORD)
        for folder in (_paths.UNIT_DIRECTORY, _paths.CREDENTIALS, _paths.ENCRYPTED_CREDENTIALS, _paths.PROGRAMS, run):
            _files.remove_leftovers(folder)
        yield


def refuse_overtaken(desired: Mapping[str, Any], observed: Mapping[str, Any]) -> None:
    """What a run wants is as old as its look at the host; if another one has changed things since, it fails."""
    changed = changed_since(desired, observed)
    if changed:
        raise HostError(
            f"another run has changed {', '.join(changed)} since this one looked at the host; nothing was changed, "
            "run it again"
        )


def _observe_files(texts: bool) -> dict[str, dict[str, Any]]:
    found = {}
    for path in (
        *glob.glob(f"{_paths.PROGRAMS}/qemu-*"),
        *(f"{_paths.UNIT_DIRECTORY}/{unit}" for unit in _paths.COMMON_UNITS),
        *glob.glob(f"{_paths.UNIT_DIRECTORY}/qemu-vm-*.service"),
        *glob.glob(f"{_paths.UNIT_DIRECTORY}/qemu-image-*.service"),
    ):
        text = _files.read_text(path)
        if text:
            found[path] = {
                "sha256": digest(text),
                "mtime": _mtime(path),
                "opened": opened_by(text),
                "images": _images_of(text),
            }
            if texts:
                found[path]["text"] = text
    return found


def _opened(files: Mapping[str, Any]) -> dict[str, dict[str, bool]]:
    """By launch unit, what the VM opens; files: units among them, as they are observed."""
    units = {path.rpartition("/")[2]: file["opened"] for path, file in files.items()}
    return {unit: opened for unit, opened in units.items() if unit == _paths.unit_name(_paths.vm_of_unit(unit))}


def _images_of(text: str) -> list[str]:
    """The staged images that a unit waits for."""
    line = next((line for line in text.split("\n") if line.startswith("Wants=")), "")
    return [image for image in map(_paths.image_of_unit, line[len("Wants=") :].split()) if image]


def _started(unit: str) -> float | None:
    """When a machine's QEMU, or its agent's keys, were last made ready."""
    vm = _paths.vm_of_unit(unit)
    return _mtime(_agent.loaded_path(vm) if unit == _agent.keys_unit_name(vm) else _paths.qmp_socket(vm))


def _staged() -> list[str]:
    """The images in the cache; of one that is being fetched there are two files."""
    try:
        names = os.listdir(os.path.dirname(_paths.image_file("")))
    except FileNotFoundError:
        return []
    return sorted({name.partition(".")[0] for name in names})


def _mtime(path: str) -> float | None:
    """When a file was changed; of a link, for a VM may have put one there, the link itself."""
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return None


def _kind(path: str) -> str:
    """file, directory, block, char, socket, or missing."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return "missing"
    kinds = (
        (stat.S_ISREG, "file"),
        (stat.S_ISDIR, "directory"),
        (stat.S_ISBLK, "block"),
        (stat.S_ISCHR, "char"),
        (stat.S_ISSOCK, "socket"),
    )
    return next((name for test, name in kinds if test(mode)), "other")


def _write(desired: Mapping[str, Any], secrets: Secrets, changes: Changes, store: Store) -> None:
    """Files and credentials; nothing runs differently before systemd is told."""
    store.write({path: secrets[path] for path in changes.write_credentials})
    os.makedirs(_paths.PROGRAMS, mode=0o755, exist_ok=True)
    for path in changes.write_files:
        _files.write_atomically(path, desired["files"][path]["text"], mode=desired["files"][path]["mode"])


def _switch(desired: Mapping[str, Any], changes: Changes) -> dict[str, list[str]]:
    """Stop, remove, enable, start; one call of systemctl each, however many machines."""

    def call(verb: str, names: list[str], *options: str) -> None:
        """systemctl wants at least one unit."""
        units = [desired["vms"][name]["unit"] if name else _paths.TARGET for name in names]
        if units:
            _systemd.systemctl(verb, units, *options)

    _stop([desired["vms"][name]["unit"] for name in changes.stop])
    _leftovers.stop_helpers(changes)
    call("disable", changes.disable, "--no-reload")
    for path in changes.remove_files:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    _leftovers.take_back_access(changes)
    _leftovers.remove_folders(changes)
    Store(encrypted=any(path.startswith(_paths.ENCRYPTED_CREDENTIALS) for path in changes.remove_credentials)).remove(
        changes.remove_credentials
    )
    _forget_images(changes)
    call("enable", changes.enable, "--no-reload")
    if changes.reload or changes.enable or changes.disable:
        _systemd.systemctl("daemon-reload")
    _forget_failures([path.rpartition("/")[2] for path in changes.remove_files])
    suspects: list[str] = []
    late = await_images(desired, [*changes.start, *changes.restart])
    # First what may give up storage that another VM starts with.
    for verb, names in (("restart", changes.restart), ("start", changes.start)):
        call(verb, [name for name in names if name in late], "--no-block")
        names = [name for name in names if name not in late]
        try:
            call(verb, names)
        except HostError:
            # One that does not come up is found by its state, so that the others are started all the same.
            suspects += names
    return {**_failed(desired, suspects), **late, **_refresh(changes.refresh)}


def _stop(units: list[str]) -> None:
    """Stop machines, and wait for their helpers, too: systemctl waits for the units alone that it was given."""
    if units:
        paths = glob.glob(f"{_paths.UNIT_DIRECTORY}/qemu-vm-*.*.service")
        helpers = [name for name in map(os.path.basename, paths) if _paths.unit_name(_paths.vm_of_unit(name)) in units]
        _systemd.systemctl("stop", [*units, *helpers])


def _refresh(units: list[str]) -> dict[str, list[str]]:
    """Start helpers again while their machines run on; the last words of those that fail, by machine."""
    if not units:
        return {}
    with contextlib.suppress(HostError):
        _systemd.systemctl("restart", units)
    states = _systemd.show(units)
    failed = [unit for unit in units if states.get(unit, {}).get("active") != "active"]
    return {_paths.vm_of_unit(unit): _systemd.last_log_lines([unit], LOG_LINES) for unit in failed}


def _forget_failures(units: list[str]) -> None:
    """A unit that had failed stands in systemd's lists even without a file; one that had not, systemd does not know."""
    if units:
        with contextlib.suppress(HostError):
            _systemd.systemctl("reset-failed", units)


def _forget_images(changes: Changes) -> None:
    """Remove staged images, and stop those who fetch them."""
    fetching = [
        image for image in map(_paths.image_of_unit, (p.rpartition("/")[2] for p in changes.remove_files)) if image
    ]
    if fetching:
        _systemd.systemctl("stop", map(_paths.image_unit_name, fetching))
    for image in changes.remove_images:
        for path in glob.glob(f"{_paths.image_file(image)}*"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _failed(desired: Mapping[str, Any], names: list[str]) -> dict[str, list[str]]:
    """The last lines of the log of each machine that should run now, and does not."""
    states = _systemd.show([desired["vms"][name]["unit"] for name in names])
    down = [name for name in names if states.get(desired["vms"][name]["unit"], {}).get("active") != "active"]
    with ThreadPoolExecutor(4) as pool:
        logs = pool.map(
            lambda name: _systemd.last_log_lines(
                [*desired["vms"][name]["units"], *desired["vms"][name]["staged"]], LOG_LINES
            ),
            down,
        )
        return dict(zip(down, logs))
