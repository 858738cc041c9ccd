# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes what a tgtd gives out, and what it will give out after its next start."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workspace import Workspace
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._clients import tgt
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._host.files import write_atomically
from ansible_collections.directdisk.qemu.plugins.module_utils._images.contract import DesiredImage
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.server.observe import tgtd_of
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.server.options import lun_of, to_keep


def _tid(tgtd: tgt.Tgtd, desired: DesiredImage) -> int:
    return int(tgtd.targets()[desired.disk.source["target"]]["tid"])


def _make_store(desired: DesiredImage, values: Values, bench: Workspace) -> None:
    options = desired.provision["tgt"]
    try:
        with os.fdopen(os.open(options["store"], os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as store:
            store.truncate(options["size"])
    except OSError as error:
        raise HostError(f"{options['store']}: {error.strerror}") from None


def _grow_store(desired: DesiredImage, values: Values, bench: Workspace) -> None:
    options = desired.provision["tgt"]
    try:
        os.truncate(options["store"], options["size"])
    except OSError as error:
        raise HostError(f"{options['store']}: {error.strerror}") from None
    tgtd = tgtd_of(bench)
    target = tgtd.targets().get(desired.disk.source["target"])
    if target and desired.disk.source["lun"] in target["luns"]:
        # It looks at the size of its store only when it opens it.
        for change in ("online=0", f"path={options['store']}", "online=1"):
            tgtd.ask(tgt.UPDATE, tgt.LUN, change, tid=target["tid"], lun=desired.disk.source["lun"])


def _new_target(desired: DesiredImage, values: Values, bench: Workspace) -> None:
    tgtd = tgtd_of(bench)
    number = max((target["tid"] for target in tgtd.targets().values()), default=0) + 1
    tgtd.ask(tgt.NEW, tgt.TARGET, f"targetname={desired.disk.source['target']}", tid=number)


def _new_lun(desired: DesiredImage, values: Values, bench: Workspace) -> None:
    store = desired.provision["tgt"]["store"]
    tgtd = tgtd_of(bench)
    where = {"tid": _tid(tgtd, desired), "lun": desired.disk.source["lun"]}
    tgtd.ask(tgt.NEW, tgt.LUN, f"path={store},bstype=rdwr", **where)
    _set_lun(desired, values, bench)


def _set_lun(desired: DesiredImage, values: Values, bench: Workspace) -> None:
    tgtd = tgtd_of(bench)
    where = {"tid": _tid(tgtd, desired), "lun": desired.disk.source["lun"]}
    for name, value in lun_of(desired).parameters().items():
        tgtd.ask(tgt.UPDATE, tgt.LUN, f"{name}={value}", **where)


def _new_account(desired: DesiredImage, values: Values, bench: Workspace) -> None:
    source = desired.disk.source
    tgtd_of(bench).ask(tgt.NEW, tgt.ACCOUNT, f"user={source['user']},password={source['password']}")


def _new_password(desired: DesiredImage, values: Values, bench: Workspace) -> None:
    _remove_account(desired, values, bench)
    _new_account(desired, values, bench)
    if _user_is_missing(desired, bench):
        _bind_account(desired, values, bench)


def _user_is_missing(desired: DesiredImage, bench: Workspace) -> bool:
    target = tgtd_of(bench).targets()[desired.disk.source["target"]]
    return desired.disk.source["user"] not in target["accounts"]


def _bind_account(desired: DesiredImage, values: Values, bench: Workspace) -> None:
    tgtd = tgtd_of(bench)
    if _user_is_missing(desired, bench):
        tgtd.ask(tgt.BIND, tgt.ACCOUNT, f"user={desired.disk.source['user']}", tid=_tid(tgtd, desired))


def _unbind_accounts(desired: DesiredImage, values: Values, bench: Workspace) -> None:
    tgtd = tgtd_of(bench)
    target = tgtd.targets()[desired.disk.source["target"]]
    for user in set(target["accounts"]) - {desired.disk.source.get("user")}:
        tgtd.ask(tgt.UNBIND, tgt.ACCOUNT, f"user={user}", tid=target["tid"])


def _remove_account(desired: DesiredImage, values: Values, bench: Workspace) -> None:
    tgtd_of(bench).ask(tgt.DELETE, tgt.ACCOUNT, f"user={desired.disk.source['user']}")


def _admit(desired: DesiredImage, values: Values, bench: Workspace) -> None:
    tgtd = tgtd_of(bench)
    target = tgtd.targets()[desired.disk.source["target"]]
    there, declared = set(target["initiators"]), set(desired.provision["tgt"]["initiators"])
    for operation, initiators in ((tgt.BIND, declared - there), (tgt.UNBIND, there - declared)):
        for initiator in sorted(initiators):
            kind = "name" if tgt.is_name(initiator) else "address"
            tgtd.ask(operation, tgt.TARGET, f"initiator-{kind}={initiator}", tid=target["tid"])


def _keep(desired: DesiredImage, values: Values, bench: Workspace) -> None:
    kept = to_keep(desired, tgt.read_kept(desired.disk.source["target"]))
    if kept.luns:
        write_atomically(kept.path, kept.text(), mode=0o600)
        return
    with contextlib.suppress(FileNotFoundError):
        os.unlink(kept.path)


def _remove_target(desired: DesiredImage, values: Values, bench: Workspace) -> None:
    tgtd = tgtd_of(bench)
    tgtd.ask(tgt.DELETE, tgt.TARGET, tid=_tid(tgtd, desired), force=desired.provision["tgt"]["force"])


def _remove_lun(desired: DesiredImage, values: Values, bench: Workspace) -> None:
    tgtd = tgtd_of(bench)
    tgtd.ask(tgt.DELETE, tgt.LUN, tid=_tid(tgtd, desired), lun=desired.disk.source["lun"])


def _remove_store(desired: DesiredImage, values: Values, bench: Workspace) -> None:
    try:
        os.unlink(desired.provision["tgt"]["store"])
    except OSError as error:
        raise HostError(f"{desired.provision['tgt']['store']}: {error.strerror}") from None


ACTIONS: Mapping[str, Any] = {
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
