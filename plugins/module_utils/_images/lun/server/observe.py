# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at a LUN on its storage host: what tgtd gives out, and what it will give out after its next start."""

from __future__ import annotations

import os
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workspace import Workspace
from ansible_collections.directdisk.qemu.plugins.module_utils._clients import tgt
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._images.contract import DesiredImage, ObservedImage
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.server.options import to_keep


def tgtd_of(bench: Workspace) -> tgt.Tgtd:
    return bench.shared("tgtd", lambda: tgt.Tgtd(bench.open_timeout))


def observe(desired: DesiredImage, bench: Workspace) -> ObservedImage:
    source = desired.disk.source
    name, user = source["target"], source.get("user", "")
    tgtd = tgtd_of(bench)
    targets = tgtd.targets()
    target = targets.get(name, {})
    lun = target.get("luns", {}).get(source["lun"])
    observed: dict[str, Any] = {
        "exists": lun is not None,
        "target_exists": name in targets,
        "other_luns": sorted(set(target.get("luns", {})) - {0, source["lun"]}),
        "accounts": sorted(target.get("accounts", ())),
        "initiators": sorted(target.get("initiators", ())),
        "sessions": sorted(target.get("sessions", ())),
        "account": _account(user, source.get("password", ""), tgtd.accounts()),
        "account_shared_with": sorted(n for n, t in targets.items() if n != name and user in t["accounts"]),
        "declared_in": tgt.declared_elsewhere(name),
        **_store(desired.provision["tgt"]["store"]),
    }
    if lun is not None:
        observed["store"] = lun["Backing store path"]
        observed["serial"] = lun["SCSI SN"]
        observed["thin"] = lun["Thin-provisioning"] == "Yes"
        observed["read_only"] = lun["Readonly"] == "Yes"
    kept = tgt.read_kept(name)
    observed["kept"] = source["lun"] in kept.luns
    observed["kept_so"] = kept == to_keep(desired, kept)
    return observed


def _account(user: str, password: str, accounts: list[str]) -> str:
    """What is known of the account that is declared."""
    if not user:
        return "none"
    if user not in accounts:
        return "missing"
    passwords = tgt.passwords_of(user)
    return "fits" if passwords == {password} else "differs" if passwords else "unknown"


def _store(path: str) -> dict[str, Any]:
    """size: in bytes; None where there is nothing yet."""
    try:
        with open(path, "rb") as store:
            return {"size": store.seek(0, os.SEEK_END)}
    except FileNotFoundError:
        return {"size": None}
    except OSError as error:
        raise DeclarationError("tgt: store", f"{path}: {error.strerror}") from None
