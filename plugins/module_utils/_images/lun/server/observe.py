# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observes a LUN on its storage host: the exports of tgtd, and its configuration for the next start."""

from __future__ import annotations

import os
from dataclasses import replace

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workspace import Workspace
from ansible_collections.directdisk.qemu.plugins.module_utils._clients import tgt
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import DesiredImage
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.lun.server.changes import ObservedExport
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.lun.server.options import to_keep
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.server import kept_files


def tgtd_of(bench: Workspace) -> tgt.Tgtd:
    return bench.shared("tgtd", lambda: tgt.Tgtd(bench.open_timeout))


def observe(desired: DesiredImage, bench: Workspace) -> ObservedExport:
    source = desired.disk.source
    name, user = source["target"], source.get("user", "")
    tgtd = tgtd_of(bench)
    targets = tgtd.targets()
    target = targets.get(name, tgt.Target(0))
    lun = target.luns.get(source["lun"])
    kept = kept_files.read_kept(name)
    observed = ObservedExport(
        exists=lun is not None,
        size=_size_of_store(desired.provision["tgt"]["store"]),
        target_exists=name in targets,
        other_luns=tuple(sorted(set(target.luns) - {0, source["lun"]})),
        accounts=tuple(sorted(target.accounts)),
        initiators=tuple(sorted(target.initiators)),
        sessions=tuple(sorted(target.sessions)),
        account=_account(user, source.get("password", ""), tgtd.accounts()),
        account_shared_with=tuple(sorted(n for n, t in targets.items() if n != name and user in t.accounts)),
        declared_in=kept_files.declared_elsewhere(name),
        kept=source["lun"] in kept.luns,
        kept_so=kept == to_keep(desired, kept),
    )
    if lun is None:
        return observed
    return replace(observed, store=lun.store, serial=lun.serial, thin=lun.thin, read_only=lun.read_only)


def _account(user: str, password: str, accounts: list[str]) -> str:
    """Return the state of the declared account."""
    if not user:
        return "none"
    if user not in accounts:
        return "missing"
    passwords = kept_files.passwords_of(user)
    return "fits" if passwords == {password} else "differs" if passwords else "unknown"


def _size_of_store(path: str) -> int | None:
    """Return the bytes of a store; None if it does not exist yet."""
    try:
        with open(path, "rb") as store:
            return store.seek(0, os.SEEK_END)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DeclarationError("tgt: store", f"{path}: {error.strerror}") from None
