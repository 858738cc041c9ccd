# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes what a tgtd gives out, and what it will give out after its next start."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workspace import Workspace
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._clients import tgt
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._host.files import write_atomically
from ansible_collections.directdisk.qemu.plugins.module_utils._images.contract import Wanted
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.server.observe import tgtd_of
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.server.options import lun_of, to_keep
from ansible_collections.directdisk.qemu.plugins.module_utils._programs.tgt_serve import (
    ACCOUNT,
    BIND,
    DELETE,
    LOGICAL_UNIT,
    NEW,
    TARGET,
    UNBIND,
    UPDATE,
)


def _tid(tgtd: tgt.Tgtd, wanted: Wanted) -> int:
    return int(tgtd.targets()[wanted.disk.source["target"]]["tid"])


def _make_store(wanted: Wanted, values: Values, bench: Workspace) -> None:
    options = wanted.provision["tgt"]
    try:
        with os.fdopen(os.open(options["store"], os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as store:
            store.truncate(options["size"])
    except OSError as error:
        raise HostError(f"{options['store']}: {error.strerror}") from None


def _grow_store(wanted: Wanted, values: Values, bench: Workspace) -> None:
    options = wanted.provision["tgt"]
    try:
        os.truncate(options["store"], options["size"])
    except OSError as error:
        raise HostError(f"{options['store']}: {error.strerror}") from None
    tgtd = tgtd_of(bench)
    target = tgtd.targets().get(wanted.disk.source["target"])
    if target and wanted.disk.source["lun"] in target["luns"]:
        # It looks at the size of its store only when it opens it.
        for change in ("online=0", f"path={options['store']}", "online=1"):
            tgtd.ask(UPDATE, LOGICAL_UNIT, change, tid=target["tid"], lun=wanted.disk.source["lun"])


def _new_target(wanted: Wanted, values: Values, bench: Workspace) -> None:
    tgtd = tgtd_of(bench)
    number = max((target["tid"] for target in tgtd.targets().values()), default=0) + 1
    tgtd.ask(NEW, TARGET, f"targetname={wanted.disk.source['target']}", tid=number)


def _new_lun(wanted: Wanted, values: Values, bench: Workspace) -> None:
    store = wanted.provision["tgt"]["store"]
    tgtd = tgtd_of(bench)
    where = {"tid": _tid(tgtd, wanted), "lun": wanted.disk.source["lun"]}
    tgtd.ask(NEW, LOGICAL_UNIT, f"path={store},bstype=rdwr", **where)
    _set_lun(wanted, values, bench)


def _set_lun(wanted: Wanted, values: Values, bench: Workspace) -> None:
    tgtd = tgtd_of(bench)
    where = {"tid": _tid(tgtd, wanted), "lun": wanted.disk.source["lun"]}
    for name, value in lun_of(wanted).parameters().items():
        tgtd.ask(UPDATE, LOGICAL_UNIT, f"{name}={value}", **where)


def _new_account(wanted: Wanted, values: Values, bench: Workspace) -> None:
    source = wanted.disk.source
    tgtd_of(bench).ask(NEW, ACCOUNT, f"user={source['user']},password={source['password']}")


def _new_password(wanted: Wanted, values: Values, bench: Workspace) -> None:
    _remove_account(wanted, values, bench)
    _new_account(wanted, values, bench)
    if _user_is_missing(wanted, bench):
        _bind_account(wanted, values, bench)


def _user_is_missing(wanted: Wanted, bench: Workspace) -> bool:
    target = tgtd_of(bench).targets()[wanted.disk.source["target"]]
    return wanted.disk.source["user"] not in target["accounts"]


def _bind_account(wanted: Wanted, values: Values, bench: Workspace) -> None:
    tgtd = tgtd_of(bench)
    if _user_is_missing(wanted, bench):
        tgtd.ask(BIND, ACCOUNT, f"user={wanted.disk.source['user']}", tid=_tid(tgtd, wanted))


def _unbind_accounts(wanted: Wanted, values: Values, bench: Workspace) -> None:
    tgtd = tgtd_of(bench)
    target = tgtd.targets()[wanted.disk.source["target"]]
    for user in set(target["accounts"]) - {wanted.disk.source.get("user")}:
        tgtd.ask(UNBIND, ACCOUNT, f"user={user}", tid=target["tid"])


def _remove_account(wanted: Wanted, values: Values, bench: Workspace) -> None:
    tgtd_of(bench).ask(DELETE, ACCOUNT, f"user={wanted.disk.source['user']}")


def _admit(wanted: Wanted, values: Values, bench: Workspace) -> None:
    tgtd = tgtd_of(bench)
    target = tgtd.targets()[wanted.disk.source["target"]]
    there, declared = set(target["initiators"]), set(wanted.provision["tgt"]["initiators"])
    for operation, initiators in ((BIND, declared - there), (UNBIND, there - declared)):
        for initiator in sorted(initiators):
            kind = "name" if tgt.is_name(initiator) else "address"
            tgtd.ask(operation, TARGET, f"initiator-{kind}={initiator}", tid=target["tid"])


def _keep(wanted: Wanted, values: Values, bench: Workspace) -> None:
    kept = to_keep(wanted, tgt.read_kept(wanted.disk.source["target"]))
    if kept.luns:
        write_atomically(kept.path, kept.text(), mode=0o600)
        return
    with contextlib.suppress(FileNotFoundError):
        os.unlink(kept.path)


def _remove_target(wanted: Wanted, values: Values, bench: Workspace) -> None:
    tgtd = tgtd_of(bench)
    tgtd.ask(DELETE, TARGET, tid=_tid(tgtd, wanted), force=wanted.provision["tgt"]["force"])


def _remove_lun(wanted: Wanted, values: Values, bench: Workspace) -> None:
    tgtd = tgtd_of(bench)
    tgtd.ask(DELETE, LOGICAL_UNIT, tid=_tid(tgtd, wanted), lun=wanted.disk.source["lun"])


def _remove_store(wanted: Wanted, values: Values, bench: Workspace) -> None:
    try:
        os.unlink(wanted.provision["tgt"]["store"])
    except OSError as error:
        raise HostError(f"{wanted.provision['tgt']['store']}: {error.strerror}") from None


VERBS: Mapping[str, Any] = {
    "make_store": _make_store,
    "grow_store": _grow_store,
    "new_target": _new_target,
    "new_account": _new_account,
    "new_password": _new_password,
    "bind_account": _bind_account,
    "unbind_accounts": _unbind_accounts,
    "new_lun": _new_lun,
    "set_lun": _set_lun,
    "admit": _admit,
    "keep": _keep,
    "forget": _keep,
    "remove_lun": _remove_lun,
    "remove_target": _remove_target,
    "remove_account": _remove_account,
    "remove_store": _remove_store,
}
