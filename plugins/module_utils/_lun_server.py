# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A LUN seen from its storage host: a tgtd there gives it out, now and after its next start."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils import _tgt as tgt
from ansible_collections.directdisk.qemu.plugins.module_utils._backend import Option, Values
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError, HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._files import write_atomically
from ansible_collections.directdisk.qemu.plugins.module_utils._lifecycle import Proposal, Seen, Step, Wanted
from ansible_collections.directdisk.qemu.plugins.module_utils._workbench import Workbench

# When tgt starts, it hands all of this to a shell.
_PLAIN = "[A-Za-z0-9._+:@%=/-]+"
_PLAIN_HELP = "has a character that tgt's start would not survive (letters, digits and ._+:@%=/- are good)"

OPTIONS = (
    Option(
        "store",
        "The file or block device that holds the LUN's data, on the storage host.",
        "path",
        required=True,
        pattern=_PLAIN,
        pattern_help=_PLAIN_HELP,
    ),
    Option(
        "size",
        "Size of O(tgt.store): a file is made sparse when missing, and grown when smaller. Never shrunk. "
        "Left out for a block device.",
        "size",
    ),
    Option(
        "serial",
        "Serial number of the LUN; without it one that follows from the target's name and the LUN. "
        "tgt's own would change with the order of its targets.",
        pattern="[A-Za-z0-9._-]{1,32}",
        pattern_help="is not 1 to 32 of the characters A-Z a-z 0-9 . _ -",
    ),
    Option("thin", "Let initiators give space back to the store (UNMAP).", "bool", default=False),
    Option("read_only", "Give the LUN out read-only.", "bool", default=False),
    Option(
        "initiators",
        "Who may log in to the target: addresses, networks (CIDR), names of initiators, or V(ALL). "
        "They are those of the whole target.",
        "list",
        default=("ALL",),
        pattern=_PLAIN,
        pattern_help=_PLAIN_HELP,
    ),
    Option("remove_store", "With O(state=absent), remove the file with the data too.", "bool", default=False),
    Option(
        "force",
        "Change or remove the LUN even while an initiator is logged in to the target, whose guest sees errors then.",
        "bool",
        default=False,
    ),
)

_FOR_INITIATORS = ("portals", "expect", "overwrite")


def check(wanted: Wanted) -> None:
    """Refuse what belongs to the task of a hypervisor, and what tgt could not keep."""
    settings, source = wanted.disk.settings, wanted.disk.source
    extra = [name for name in _FOR_INITIATORS if name in wanted.provision]
    extra += ["format"] if settings["format"] != "raw" else []
    extra += ["luks"] if "luks" in settings else []
    extra += ["source"] if wanted.disk.origin else []
    extra += ["monitor"] if wanted.monitor else []
    if extra:
        raise DeclarationError("tgt", f"is for the storage host, {extra[0]} for a hypervisor: make them two tasks")
    for name in ("user", "password", "target"):
        if name in source and not _is_plain(source[name]):
            raise DeclarationError(name, f"its text {_PLAIN_HELP}")
    if source["lun"] == 0:
        raise DeclarationError("lun", "0 is the controller of a tgt target; its first disk is 1")


def _is_plain(text: str) -> bool:
    return all(character.isascii() and (character.isalnum() or character in "._+:@%=/-") for character in text)


def lun_of(wanted: Wanted) -> tgt.KeptLun:
    """The LUN as it is declared."""
    options, source = wanted.provision["tgt"], wanted.disk.source
    derived = hashlib.sha256(f"{source['target']}/{source['lun']}".encode()).hexdigest()[:16]
    return tgt.KeptLun(options["store"], options.get("serial", derived), options["thin"], options["read_only"])


def _tgtd(bench: Workbench) -> tgt.Tgtd:
    return bench.shared("tgtd", lambda: tgt.Tgtd(bench.open_timeout))


# --- looking ---------------------------------------------------------------------------------------------------------


def observe(wanted: Wanted, bench: Workbench) -> Seen:
    source = wanted.disk.source
    name, user = source["target"], source.get("user", "")
    tgtd = _tgtd(bench)
    targets = tgtd.targets()
    target = targets.get(name, {})
    lun = target.get("luns", {}).get(source["lun"])
    seen: dict[str, Any] = {
        "exists": lun is not None,
        "target_exists": name in targets,
        "other_luns": sorted(set(target.get("luns", {})) - {0, source["lun"]}),
        "accounts": sorted(target.get("accounts", ())),
        "initiators": sorted(target.get("initiators", ())),
        "sessions": sorted(target.get("sessions", ())),
        "account": _account(user, source.get("password", ""), tgtd.accounts()),
        "account_shared_with": sorted(n for n, t in targets.items() if n != name and user in t["accounts"]),
        "declared_in": tgt.declared_elsewhere(name),
        **_store(wanted.provision["tgt"]["store"]),
    }
    if lun is not None:
        seen["store"] = lun["Backing store path"]
        seen["serial"] = lun["SCSI SN"]
        seen["thin"] = lun["Thin-provisioning"] == "Yes"
        seen["read_only"] = lun["Readonly"] == "Yes"
    kept = tgt.read_kept(name)
    seen["kept"] = source["lun"] in kept.luns
    seen["kept_so"] = kept == _to_keep(wanted, kept)
    return seen


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


def _to_keep(wanted: Wanted, kept: tgt.KeptTarget) -> tgt.KeptTarget:
    """What the file of the target is to hold, with the other LUNs that it holds."""
    source, number = wanted.disk.source, wanted.disk.source["lun"]
    luns = {other: lun for other, lun in kept.luns.items() if other != number}
    if wanted.state == "absent":
        return replace(kept, luns=luns)
    initiators = wanted.provision["tgt"]["initiators"]
    user, password = source.get("user", ""), source.get("password", "")
    return tgt.KeptTarget(source["target"], {**luns, number: lun_of(wanted)}, user, password, tuple(initiators))


# --- planning --------------------------------------------------------------------------------------------------------


def plan(wanted: Wanted, seen: Seen) -> Proposal:
    found = _Plan(wanted, seen)
    if wanted.state == "absent":
        found.remove()
    else:
        found.give_out()
    if seen["declared_in"] and found.steps:
        raise found.refusal(f"its target is declared in {seen['declared_in']}, which is not kept from here")
    return Proposal(found.after, tuple(found.steps))


class _Plan:
    """Grows step by step; ``after`` is what a look would find."""

    def __init__(self, wanted: Wanted, seen: Seen) -> None:
        self.options = wanted.provision["tgt"]
        self.source = wanted.disk.source
        self.described = wanted.disk.described
        self.lun = lun_of(wanted)
        self.seen = seen
        self.after = dict(seen)
        self.steps: list[Step] = []

    def refusal(self, problem: str) -> DeclarationError:
        return DeclarationError(self.described, problem)

    def _step(self, verb: str, words: str, **after: Any) -> None:
        self.steps.append(Step(verb, words))
        self.after.update(after)

    def give_out(self) -> None:
        self._make_store()
        if not self.seen["target_exists"]:
            self._step("new_target", f"create target {self.source['target']}", target_exists=True)
        self._bind_account()
        if not self.seen["exists"]:
            words = f"give {self.lun.store} out as LUN {self.source['lun']} of {self.source['target']}"
            self._step("new_lun", words, exists=True, **self._as_seen())
        else:
            self._change_lun()
        if self.after["initiators"] != sorted(self.options["initiators"]):
            words = f"admit {', '.join(self.options['initiators'])} to {self.source['target']}, and no others"
            self._step("admit", words, initiators=sorted(self.options["initiators"]))
        if not self.seen["kept_so"]:
            words = f"keep it for the next start of tgt, in {tgt.KeptTarget(self.source['target']).path}"
            self._step("keep", words, kept=True, kept_so=True)

    def _as_seen(self) -> dict[str, Any]:
        lun = self.lun
        return {"store": lun.store, "serial": lun.serial, "thin": lun.thin, "read_only": lun.read_only}

    def _make_store(self) -> None:
        size, there = self.options.get("size"), self.seen["size"]
        if there is None and size is None:
            raise DeclarationError("tgt: size", f"is missing, and there is no {self.lun.store} yet")
        if there is None:
            self._step("make_store", f"make {self.lun.store} of {size} bytes", size=size)
        elif size is not None and size > there:
            words = f"grow {self.lun.store} from {there} to {size} bytes"
            if self.seen["exists"]:
                self._ask_for_force(words)
            self._step("grow_store", words, size=size)

    def _bind_account(self) -> None:
        user = self.source.get("user", "")
        others = [name for name in self.seen["accounts"] if name != user]
        if self.seen["account"] in ("differs", "unknown"):
            self._change_password(user)
        elif self.seen["account"] == "missing":
            self._step("new_account", f"create account {user}", account="fits")
        if user and user not in self.after["accounts"]:
            self._step("bind_account", f"let account {user} log in to {self.source['target']}")
        if others:
            self._step("unbind_accounts", f"let {', '.join(others)} no longer log in to {self.source['target']}")
        self.after["accounts"] = [user] if user else []

    def _change_password(self, user: str) -> None:
        """An account belongs to the whole tgtd."""
        if self.seen["account_shared_with"]:
            others = ", ".join(self.seen["account_shared_with"])
            raise self.refusal(f"account {user} has another password, also for {others}; say another user")
        self._step("new_password", f"change the password of account {user}", account="fits")

    def _change_lun(self) -> None:
        if self.seen["store"] != self.lun.store:
            problem = f"gives out {self.seen['store']}, not {self.lun.store}; say another lun, or remove this one first"
            raise self.refusal(problem)
        differences = [name for name, value in self._as_seen().items() if self.seen[name] != value]
        if differences:
            words = f"change {', '.join(differences)} of {self.described}"
            self._ask_for_force(words)
            self._step("set_lun", words, **self._as_seen())

    def _ask_for_force(self, words: str) -> None:
        if self.seen["sessions"] and not self.options["force"]:
            names = ", ".join(dict.fromkeys(self.seen["sessions"]))
            problem = f"{names} is logged in; stop its machine, or say tgt: {{force: true}}, to {words}"
            raise self.refusal(problem)

    def remove(self) -> None:
        number, name = self.source["lun"], self.source["target"]
        last = not self.seen["other_luns"]
        if last and (self.seen["exists"] or (self.seen["target_exists"] and self.seen["kept"])):
            self._ask_for_force(f"remove target {name}")
            gone = {"target_exists": False, "accounts": [], "initiators": [], "sessions": []}
            self._step("remove_target", f"remove target {name} and its LUN {number}", exists=False, **gone)
            if self.seen["account"] not in ("none", "missing") and not self.seen["account_shared_with"]:
                self._step("remove_account", f"remove account {self.source['user']}", account="missing")
        elif self.seen["exists"]:
            self._ask_for_force(f"remove LUN {number}")
            self._step("remove_lun", f"remove LUN {number} of {name}", exists=False)
        if self.seen["kept"]:
            self._step("forget", f"forget it in {tgt.KeptTarget(name).path}", kept=False, kept_so=True)
        if self.options["remove_store"] and self.seen["size"] is not None:
            self._step("remove_store", f"remove {self.lun.store} and all data in it", size=None)
        for key in self._as_seen():
            self.after.pop(key, None)


# --- carrying out ----------------------------------------------------------------------------------------------------


def _tid(tgtd: tgt.Tgtd, wanted: Wanted) -> int:
    return int(tgtd.targets()[wanted.disk.source["target"]]["tid"])


def _make_store(wanted: Wanted, values: Values, bench: Workbench) -> None:
    options = wanted.provision["tgt"]
    try:
        with os.fdopen(os.open(options["store"], os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as store:
            store.truncate(options["size"])
    except OSError as error:
        raise HostError(f"{options['store']}: {error.strerror}") from None


def _grow_store(wanted: Wanted, values: Values, bench: Workbench) -> None:
    options = wanted.provision["tgt"]
    try:
        os.truncate(options["store"], options["size"])
    except OSError as error:
        raise HostError(f"{options['store']}: {error.strerror}") from None
    tgtd = _tgtd(bench)
    target = tgtd.targets().get(wanted.disk.source["target"])
    if target and wanted.disk.source["lun"] in target["luns"]:
        # It looks at the size of its store only when it opens it.
        for change in ("online=0", f"path={options['store']}", "online=1"):
            tgtd.ask(tgt.UPDATE, tgt.LUN, change, tid=target["tid"], lun=wanted.disk.source["lun"])


def _new_target(wanted: Wanted, values: Values, bench: Workbench) -> None:
    tgtd = _tgtd(bench)
    number = max((target["tid"] for target in tgtd.targets().values()), default=0) + 1
    tgtd.ask(tgt.NEW, tgt.TARGET, f"targetname={wanted.disk.source['target']}", tid=number)


def _new_lun(wanted: Wanted, values: Values, bench: Workbench) -> None:
    store = wanted.provision["tgt"]["store"]
    tgtd = _tgtd(bench)
    where = {"tid": _tid(tgtd, wanted), "lun": wanted.disk.source["lun"]}
    tgtd.ask(tgt.NEW, tgt.LUN, f"path={store},bstype=rdwr", **where)
    _set_lun(wanted, values, bench)


def _set_lun(wanted: Wanted, values: Values, bench: Workbench) -> None:
    tgtd = _tgtd(bench)
    where = {"tid": _tid(tgtd, wanted), "lun": wanted.disk.source["lun"]}
    for name, value in lun_of(wanted).parameters().items():
        tgtd.ask(tgt.UPDATE, tgt.LUN, f"{name}={value}", **where)


def _new_account(wanted: Wanted, values: Values, bench: Workbench) -> None:
    source = wanted.disk.source
    _tgtd(bench).ask(tgt.NEW, tgt.ACCOUNT, f"user={source['user']},password={source['password']}")


def _new_password(wanted: Wanted, values: Values, bench: Workbench) -> None:
    _remove_account(wanted, values, bench)
    _new_account(wanted, values, bench)
    if _user_is_missing(wanted, bench):
        _bind_account(wanted, values, bench)


def _user_is_missing(wanted: Wanted, bench: Workbench) -> bool:
    target = _tgtd(bench).targets()[wanted.disk.source["target"]]
    return wanted.disk.source["user"] not in target["accounts"]


def _bind_account(wanted: Wanted, values: Values, bench: Workbench) -> None:
    tgtd = _tgtd(bench)
    if _user_is_missing(wanted, bench):
        tgtd.ask(tgt.BIND, tgt.ACCOUNT, f"user={wanted.disk.source['user']}", tid=_tid(tgtd, wanted))


def _unbind_accounts(wanted: Wanted, values: Values, bench: Workbench) -> None:
    tgtd = _tgtd(bench)
    target = tgtd.targets()[wanted.disk.source["target"]]
    for user in set(target["accounts"]) - {wanted.disk.source.get("user")}:
        tgtd.ask(tgt.UNBIND, tgt.ACCOUNT, f"user={user}", tid=target["tid"])


def _remove_account(wanted: Wanted, values: Values, bench: Workbench) -> None:
    _tgtd(bench).ask(tgt.DELETE, tgt.ACCOUNT, f"user={wanted.disk.source['user']}")


def _admit(wanted: Wanted, values: Values, bench: Workbench) -> None:
    tgtd = _tgtd(bench)
    target = tgtd.targets()[wanted.disk.source["target"]]
    there, declared = set(target["initiators"]), set(wanted.provision["tgt"]["initiators"])
    for operation, initiators in ((tgt.BIND, declared - there), (tgt.UNBIND, there - declared)):
        for initiator in sorted(initiators):
            kind = "name" if tgt.is_name(initiator) else "address"
            tgtd.ask(operation, tgt.TARGET, f"initiator-{kind}={initiator}", tid=target["tid"])


def _keep(wanted: Wanted, values: Values, bench: Workbench) -> None:
    kept = _to_keep(wanted, tgt.read_kept(wanted.disk.source["target"]))
    if kept.luns:
        write_atomically(kept.path, kept.text(), mode=0o600)
        return
    with contextlib.suppress(FileNotFoundError):
        os.unlink(kept.path)


def _remove_target(wanted: Wanted, values: Values, bench: Workbench) -> None:
    tgtd = _tgtd(bench)
    tgtd.ask(tgt.DELETE, tgt.TARGET, tid=_tid(tgtd, wanted), force=wanted.provision["tgt"]["force"])


def _remove_lun(wanted: Wanted, values: Values, bench: Workbench) -> None:
    tgtd = _tgtd(bench)
    tgtd.ask(tgt.DELETE, tgt.LUN, tid=_tid(tgtd, wanted), lun=wanted.disk.source["lun"])


def _remove_store(wanted: Wanted, values: Values, bench: Workbench) -> None:
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
