# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applies changes to the exports of a tgtd, and to its configuration for the next start."""

from __future__ import annotations

import contextlib
import os

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workspace import Workspace
from ansible_collections.directdisk.qemu.plugins.module_utils._clients import tgt
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._host.files import write_atomically
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import Change, DesiredImage
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.lun.server import changes
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.lun.server.kept import is_name
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.lun.server.options import lun_of, to_keep
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lifecycle import Actions
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.server.kept_files import read_kept
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.server.observe import tgtd_of
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


def _tid(tgtd: tgt.Tgtd, desired: DesiredImage) -> int:
    return tgtd.targets()[desired.disk.source["target"]].tid


def _make_store(desired: DesiredImage, change: Change, bench: Workspace) -> None:
    options = desired.provision["tgt"]
    try:
        with os.fdopen(os.open(options["store"], os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as store:
            store.truncate(options["size"])
    except OSError as error:
        raise HostError(f"{options['store']}: {error.strerror}") from None


def _grow_store(desired: DesiredImage, change: Change, bench: Workspace) -> None:
    options = desired.provision["tgt"]
    try:
        os.truncate(options["store"], options["size"])
    except OSError as error:
        raise HostError(f"{options['store']}: {error.strerror}") from None
    tgtd = tgtd_of(bench)
    target = tgtd.targets().get(desired.disk.source["target"])
    if target and desired.disk.source["lun"] in target.luns:
        # tgtd reads the size of a store only when it opens it.
        for parameter in ("online=0", f"path={options['store']}", "online=1"):
            tgtd.ask(UPDATE, LOGICAL_UNIT, parameter, tid=target.tid, lun=desired.disk.source["lun"])


def _create_target(desired: DesiredImage, change: Change, bench: Workspace) -> None:
    tgtd = tgtd_of(bench)
    number = max((target.tid for target in tgtd.targets().values()), default=0) + 1
    tgtd.ask(NEW, TARGET, f"targetname={desired.disk.source['target']}", tid=number)


def _create_lun(desired: DesiredImage, change: Change, bench: Workspace) -> None:
    store = desired.provision["tgt"]["store"]
    tgtd = tgtd_of(bench)
    where = {"tid": _tid(tgtd, desired), "lun": desired.disk.source["lun"]}
    tgtd.ask(NEW, LOGICAL_UNIT, f"path={store},bstype=rdwr", **where)
    _update_lun(desired, change, bench)


def _update_lun(desired: DesiredImage, change: Change, bench: Workspace) -> None:
    tgtd = tgtd_of(bench)
    where = {"tid": _tid(tgtd, desired), "lun": desired.disk.source["lun"]}
    for name, value in lun_of(desired).parameters().items():
        tgtd.ask(UPDATE, LOGICAL_UNIT, f"{name}={value}", **where)


def _create_account(desired: DesiredImage, change: Change, bench: Workspace) -> None:
    source = desired.disk.source
    tgtd_of(bench).ask(NEW, ACCOUNT, f"user={source['user']},password={source['password']}")


def _change_password(desired: DesiredImage, change: Change, bench: Workspace) -> None:
    _remove_account(desired, change, bench)
    _create_account(desired, change, bench)
    if _user_is_missing(desired, bench):
        _bind_account(desired, change, bench)


def _user_is_missing(desired: DesiredImage, bench: Workspace) -> bool:
    target = tgtd_of(bench).targets()[desired.disk.source["target"]]
    return desired.disk.source["user"] not in target.accounts


def _bind_account(desired: DesiredImage, change: Change, bench: Workspace) -> None:
    tgtd = tgtd_of(bench)
    if _user_is_missing(desired, bench):
        tgtd.ask(BIND, ACCOUNT, f"user={desired.disk.source['user']}", tid=_tid(tgtd, desired))


def _unbind_accounts(desired: DesiredImage, change: Change, bench: Workspace) -> None:
    tgtd = tgtd_of(bench)
    target = tgtd.targets()[desired.disk.source["target"]]
    for user in set(target.accounts) - {desired.disk.source.get("user")}:
        tgtd.ask(UNBIND, ACCOUNT, f"user={user}", tid=target.tid)


def _remove_account(desired: DesiredImage, change: Change, bench: Workspace) -> None:
    tgtd_of(bench).ask(DELETE, ACCOUNT, f"user={desired.disk.source['user']}")


def _set_initiators(desired: DesiredImage, change: Change, bench: Workspace) -> None:
    tgtd = tgtd_of(bench)
    target = tgtd.targets()[desired.disk.source["target"]]
    there, declared = set(target.initiators), set(desired.provision["tgt"]["initiators"])
    for operation, initiators in ((BIND, declared - there), (UNBIND, there - declared)):
        for initiator in sorted(initiators):
            kind = "name" if is_name(initiator) else "address"
            tgtd.ask(operation, TARGET, f"initiator-{kind}={initiator}", tid=target.tid)


def _write_configuration(desired: DesiredImage, change: Change, bench: Workspace) -> None:
    kept = to_keep(desired, read_kept(desired.disk.source["target"]))
    if kept.luns:
        write_atomically(kept.path, kept.text(), mode=0o600)
        return
    with contextlib.suppress(FileNotFoundError):
        os.unlink(kept.path)


def _remove_target(desired: DesiredImage, change: Change, bench: Workspace) -> None:
    tgtd = tgtd_of(bench)
    tgtd.ask(DELETE, TARGET, tid=_tid(tgtd, desired), force=desired.provision["tgt"]["force"])


def _remove_lun(desired: DesiredImage, change: Change, bench: Workspace) -> None:
    tgtd = tgtd_of(bench)
    tgtd.ask(DELETE, LOGICAL_UNIT, tid=_tid(tgtd, desired), lun=desired.disk.source["lun"])


def _remove_store(desired: DesiredImage, change: Change, bench: Workspace) -> None:
    try:
        os.unlink(desired.provision["tgt"]["store"])
    except OSError as error:
        raise HostError(f"{desired.provision['tgt']['store']}: {error.strerror}") from None


ACTIONS: Actions = {
    changes.MakeStore: _make_store,
    changes.GrowStore: _grow_store,
    changes.CreateTarget: _create_target,
    changes.CreateAccount: _create_account,
    changes.ChangePassword: _change_password,
    changes.BindAccount: _bind_account,
    changes.UnbindAccounts: _unbind_accounts,
    changes.CreateLun: _create_lun,
    changes.UpdateLun: _update_lun,
    changes.SetInitiators: _set_initiators,
    changes.KeepConfiguration: _write_configuration,
    changes.ForgetConfiguration: _write_configuration,
    changes.RemoveLun: _remove_lun,
    changes.RemoveTarget: _remove_target,
    changes.RemoveAccount: _remove_account,
    changes.RemoveStore: _remove_store,
}
