# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes, access lists and folders of VMs and helpers that are no longer declared."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Collection, Iterable

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError, printable
from ansible_collections.directdisk.qemu.plugins.module_utils._host import systemd
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import Changes
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import file_access
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths

_DISPOSABLE = ("/run", "/var/cache")
"""Folders here are removed with their VM."""
_MOST_FILES = 1000
"""The VM's user owns the folders that are kept, so the number of files that are listed is bounded."""
_KEPT = ("/var/lib", "/var/log")
"""Folders here are removed with their VM only if they are empty: overlays, UEFI variables and logs are in them."""


def folders(vms: Collection[str]) -> list[str]:
    """Return the folders of these VMs that are removed with them."""
    candidates = {path for place in (*_DISPOSABLE, *_KEPT) for path in _folders_in(place, vms)}
    return sorted(path for path in candidates if not path.startswith(_KEPT) or _is_empty(path))


def links(vms: Collection[str]) -> list[str]:
    """Return the links to folders of these VMs that are kept; the folders themselves are in "private"."""
    candidates = [path for place in _KEPT for path in _folders_in(place, vms)]
    return sorted(path for path in candidates if os.path.islink(path) and not _is_empty(path))


def written(vm: str) -> list[str]:
    """Return the files that a VM and its helpers have written to the folders that are kept."""
    places = {f"{_private(place)}/{path.rpartition('/')[2]}" for place in _KEPT for path in _folders_in(place, [vm])}
    walked = (entry for place in sorted(places) for entry in os.walk(place))
    files = (f"{folder}/{name}" for folder, folders, names in walked for name in (*names, *_links(folder, folders)))
    return sorted(map(printable, itertools.islice(files, _MOST_FILES)))


def _links(folder: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if os.path.islink(f"{folder}/{name}")]


def purge(vms: Collection[str]) -> None:
    """Remove the folders of these VMs that are kept otherwise, and the links to them."""
    for path in (path for place in _KEPT for path in _folders_in(place, vms)):
        place, _slash, name = path.rpartition("/")
        for folder in (path, f"{_private(place)}/{name}"):
            _remove(folder)


def _remove(folder: str) -> None:
    """Remove a folder of a VM, or the link to it; refuse any other one, whoever asks: this is root in /var/lib."""
    if not paths.vm_of_directory(folder.rpartition("/")[2]):
        raise HostError(f"{folder}: is no folder of a VM, and is not removed")
    if os.path.islink(folder):
        os.unlink(folder)
    elif os.path.isdir(folder):
        # It never follows links (shutil.rmtree.avoids_symlink_attacks).
        shutil.rmtree(folder)


def _folders_in(place: str, vms: Collection[str]) -> list[str]:
    # A dynamic user's folders are in "private", which only root may enter, with links to them (systemd.exec(5)).
    names: set[str] = set()
    for folder in (place, _private(place)):
        with contextlib.suppress(FileNotFoundError):
            names.update(os.listdir(folder))
    return [f"{place}/{name}" for name in names if (vm := paths.vm_of_directory(name)) and vm in vms]


def _private(path: str) -> str:
    return f"{path}/private"


def _is_empty(path: str) -> bool:
    place, _slash, name = path.rpartition("/")
    try:
        return not os.listdir(f"{_private(place)}/{name}")
    except FileNotFoundError:
        # Only the link exists, or the folder is not a dynamic user's.
        return os.path.islink(path)


def stop_helpers(changes: Changes) -> None:
    """Stop helpers whose unit files are removed: without the file, systemd does not know how to stop them.

    A VM that is restarted without the helper is stopped first. A VM that runs on still uses the helper, and its own
    unit stops it in the end (file_access.end_orphans).
    """
    removed = [path.rpartition("/")[2] for path in changes.remove_files]
    helpers = [unit for unit in removed if paths.vm_of_unit(unit) not in ("", *changes.restart_required)]
    vms = dict.fromkeys(paths.vm_of_unit(unit) for unit in helpers)
    if helpers:
        systemd.systemctl("stop", [*(paths.unit_name(vm) for vm in vms if vm in changes.restart), *helpers])


def revoke_access(changes: Changes) -> None:
    """Remove the access lists that units could not remove, for example because the host has crashed."""
    for path in changes.remove_files:
        file_access.revoke(path.rpartition("/")[2])


def remove_folders(changes: Changes) -> None:
    for path in changes.remove_folders:
        place, _slash, name = path.rpartition("/")
        for folder in (path, f"{_private(place)}/{name}"):
            if path.startswith(_KEPT) and not os.path.islink(folder):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
            else:
                _remove(folder)
    for path in changes.remove_links:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
