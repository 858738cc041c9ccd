# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What VMs and helpers leave on a host when they are no longer declared: processes, access lists, folders."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection

from ansible_collections.directdisk.qemu.plugins.module_utils._host import systemd
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import Changes
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import file_access
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths

_DISPOSABLE = ("/run", "/var/cache")
"""Folders here go with their VM."""
_KEPT = ("/var/lib", "/var/log")
"""Folders here go with their VM only if they are empty: overlays, UEFI variables and console logs are in them."""


def folders(vms: Collection[str]) -> list[str]:
    """The folders of these VMs that would go with them."""
    found = {path for place in (*_DISPOSABLE, *_KEPT) for path in _folders_in(place, vms)}
    return sorted(path for path in found if not path.startswith(_KEPT) or _is_empty(path))


def _folders_in(place: str, vms: Collection[str]) -> list[str]:
    """A dynamic user's folders are in one that only root may enter, and a link leads there (systemd.exec(5))."""
    names: set[str] = set()
    for folder in (place, _private(place)):
        with contextlib.suppress(FileNotFoundError):
            names.update(os.listdir(folder))
    return [f"{place}/{name}" for name in names if paths.vm_of_directory(name) in vms]


def _private(path: str) -> str:
    return f"{path}/private"


def _is_empty(path: str) -> bool:
    place, _slash, name = path.rpartition("/")
    try:
        return not os.listdir(f"{_private(place)}/{name}")
    except FileNotFoundError:
        # Only the link is left, or the folder of what is no dynamic user's.
        return os.path.islink(path)


def stop_helpers(changes: Changes) -> None:
    """Stop what loses its unit's file: without it systemd no longer knows when to stop it, and what to remove then.

    A VM that is restarted without the helper is stopped first. One that runs on still uses it, and its own unit stops
    it at last (file_access.end_orphans).
    """
    removed = [path.rpartition("/")[2] for path in changes.remove_files]
    helpers = [unit for unit in removed if paths.vm_of_unit(unit) not in ("", *changes.restart_needed)]
    vms = dict.fromkeys(paths.vm_of_unit(unit) for unit in helpers)
    if helpers:
        systemd.systemctl("stop", [*(paths.unit_name(vm) for vm in vms if vm in changes.restart), *helpers])


def take_back_access(changes: Changes) -> None:
    """Access lists whose unit did not come to take them back: the host may have crashed."""
    for path in changes.remove_files:
        file_access.revoke(path.rpartition("/")[2])


def remove_folders(changes: Changes) -> None:
    for path in changes.remove_folders:
        place, _slash, name = path.rpartition("/")
        for folder in (path, f"{_private(place)}/{name}"):
            if os.path.islink(folder):
                os.unlink(folder)
            elif path.startswith(_KEPT):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
            elif os.path.isdir(folder):
                # It never follows a link on its way (shutil.rmtree.avoids_symlink_attacks).
                shutil.rmtree(folder)
