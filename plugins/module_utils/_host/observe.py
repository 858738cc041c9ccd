# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The observation of a host: all that a plan compares with the declaration, in one call."""

from __future__ import annotations

import glob
import itertools
import os
import stat
from collections.abc import Mapping, Sequence

from ansible_collections.directdisk.qemu.plugins.module_utils._host import files as host_files
from ansible_collections.directdisk.qemu.plugins.module_utils._host import former_storage, leftovers, systemd
from ansible_collections.directdisk.qemu.plugins.module_utils._host.credential_store import CredentialStore, Secrets
from ansible_collections.directdisk.qemu.plugins.module_utils._host.host_size import host_size
from ansible_collections.directdisk.qemu.plugins.module_utils._host.in_use import ask_owners, of_closed
from ansible_collections.directdisk.qemu.plugins.module_utils._host.names import resolve
from ansible_collections.directdisk.qemu.plugins.module_utils._host.open_storage import unmanaged_processes
from ansible_collections.directdisk.qemu.plugins.module_utils._host.own_addresses import own_addresses
from ansible_collections.directdisk.qemu.plugins.module_utils._host.processes import running_processes
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import (
    HEAD_LENGTH,
    ObservedFile,
    ObservedHost,
    ObservedUnit,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.storage_owners import OwnerQuestion
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import unit_record
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths as unit_paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.restart_rule import digest
from ansible_collections.directdisk.qemu.plugins.module_utils._units.unit_text import (
    images_in,
    opened_in,
    places_in,
    spellings_in,
    uuid_in,
)

_MOST_OVERLAYS = 1000


def observe(
    *,
    vms: list[str],
    paths: list[str],
    secrets: Secrets,
    encrypted: bool,
    texts: bool = False,
    heads: Sequence[str] = (),
    names: Sequence[str] = (),
    owners: Mapping[str, Sequence[OwnerQuestion]] | None = None,
    purged: Sequence[str] = (),
    prune: bool = False,
    addresses: bool = False,
    processes: bool = True,
) -> ObservedHost:
    """Return the state of this host; the arguments are those of an ObserveRequest.

    processes: report names, too, and QEMU processes that no unit of the collection started.
    """
    files = _observe_files(texts)
    units = {path.rpartition("/")[2] for path in files if path.endswith(".service")}
    units |= {unit_paths.unit_name(vm) for vm in vms} | {unit_paths.TARGET}
    if prune:
        vms = sorted({*vms, *map(unit_paths.vm_of_unit, units)} - {""})
    states, former = _observe_units(sorted(units)), former_storage.read()
    for unit, opened in former_storage.opened_now(opened_by_unit(files), states, former).items():
        files[f"{unit_paths.UNIT_DIRECTORY}/{unit}"]["opened"] = opened
    listed = {path.rpartition("/")[2]: file["spellings"] for path, file in files.items()}
    for unit, spellings in former_storage.with_former(listed, former).items():
        listed[unit].update(spellings)
    asked = ask_owners(of_closed(owners or {}, states, opened_by_unit(files)), secrets)
    return {
        "files": files,
        "units": states,
        "credentials": CredentialStore(encrypted=encrypted).observe(secrets),
        "paths": {path: _kind(path) for path in paths},
        "names": resolve({*names, *_servers(files)}) if processes else {},
        "heads": {path: _head(path) for path in heads},
        "not_read": {},
        "staged": _staged(),
        "overlays": {vm: _overlays(vm) for vm in vms},
        "unmanaged": unmanaged_processes(paths) if processes else [],
        **asked,
        "processes": running_processes(vms, states),
        "folders": leftovers.folders(vms),
        "links": leftovers.links(vms),
        "written": {vm: leftovers.written(vm) for vm in purged},
        "size": host_size(),
        "addresses": own_addresses() if addresses else [],
    }


def _servers(files: Mapping[str, ObservedFile]) -> set[str]:
    """Return the names of servers and paths of the storage in units."""
    return {name for file in files.values() for one in file["spellings"].values() for name in one["names"]}


def _observe_files(texts: bool) -> dict[str, ObservedFile]:
    observed: dict[str, ObservedFile] = {}
    for path in (
        *glob.glob(f"{unit_paths.PROGRAMS}/qemu-*"),
        *(f"{unit_paths.UNIT_DIRECTORY}/{unit}" for unit in unit_paths.COMMON_UNITS),
        unit_paths.NEEDRESTART,
        *glob.glob(unit_paths.units_of_vms()),
        *glob.glob(f"{unit_paths.UNIT_DIRECTORY}/qemu-image-*.service"),
    ):
        text = host_files.read_text(path)
        if text:
            observed[path] = {
                "sha256": digest(text),
                "opened": opened_in(text),
                "spellings": spellings_in(text),
                "images": images_in(text),
                "places": places_in(text),
                "uuid": uuid_in(text),
            }
            if texts:
                observed[path]["text"] = text
    return observed


def opened_by_unit(files: Mapping[str, ObservedFile]) -> dict[str, dict[str, bool]]:
    """Return what each launch unit among the files opens, by its name."""
    units = {path.rpartition("/")[2]: file["opened"] for path, file in files.items()}
    return {unit: opened for unit, opened in units.items() if unit == unit_paths.unit_name(unit_paths.vm_of_unit(unit))}


def _observe_units(units: Sequence[str]) -> dict[str, ObservedUnit]:
    drop_ins = unit_record.drop_ins(units)
    return {
        unit: {
            **state,
            "started_from": unit_record.recorded(unit, state["invocation"]),
            "drop_ins": drop_ins[unit],
        }
        for unit, state in systemd.states(units).items()
    }


def _overlays(vm: str) -> list[str]:
    """Return the names of the overlays in a VM's state directory; its user owns it, so their number is bounded."""
    # The link to it goes with an absent VM.
    paths = glob.iglob(f"{unit_paths.private_state_directory(vm)}/*.qcow2")
    return sorted(os.path.basename(path) for path in itertools.islice(paths, _MOST_OVERLAYS))


def _staged() -> list[str]:
    """Return the images in the cache; an image that is being fetched has two files."""
    try:
        names = os.listdir(os.path.dirname(unit_paths.image_file("")))
    except FileNotFoundError:
        return []
    return sorted({name.partition(".")[0] for name in names})


def _kind(path: str) -> str:
    """Return file, directory, block, char, socket, other or missing."""
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


def _head(path: str) -> str:
    """Return the first bytes of a regular file or block device in hexadecimal; empty if it cannot be read."""
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISBLK(mode):
            return ""
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        return os.read(handle, HEAD_LENGTH).hex()
    except OSError:
        return ""
    finally:
        os.close(handle)
