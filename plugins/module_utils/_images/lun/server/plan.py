# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be done on a LUN's storage host, from what is wanted and what was found. Pure."""

from __future__ import annotations

from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._clients.tgt import KeptTarget
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._images.contract import (
    DesiredImage,
    ImagePlan,
    ObservedImage,
    Step,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.server.options import lun_of


def plan(desired: DesiredImage, observed: ObservedImage) -> ImagePlan:
    found = _Plan(desired, observed)
    if desired.state == "absent":
        found.remove()
    else:
        found.give_out()
    if observed["declared_in"] and found.steps:
        raise found.refusal(f"its target is declared in {observed['declared_in']}, which is not kept from here")
    return ImagePlan(found.after, tuple(found.steps))


class _Plan:
    """Grows step by step; ``after`` is what a look would find."""

    def __init__(self, desired: DesiredImage, observed: ObservedImage) -> None:
        self.options = desired.provision["tgt"]
        self.source = desired.disk.source
        self.described = desired.disk.described
        self.lun = lun_of(desired)
        self.observed = observed
        self.after = dict(observed)
        self.steps: list[Step] = []

    def refusal(self, problem: str) -> DeclarationError:
        return DeclarationError(self.described, problem)

    def _step(self, verb: str, words: str, *, destroys: bool = False, **after: Any) -> None:
        self.steps.append(Step(verb, words, destroys=destroys))
        self.after.update(after)

    def give_out(self) -> None:
        self._make_store()
        if not self.observed["target_exists"]:
            self._step("new_target", f"create target {self.source['target']}", target_exists=True)
        self._bind_account()
        if not self.observed["exists"]:
            words = f"give {self.lun.store} out as LUN {self.source['lun']} of {self.source['target']}"
            self._step("new_lun", words, exists=True, **self._as_seen())
        else:
            self._change_lun()
        if self.after["initiators"] != sorted(self.options["initiators"]):
            words = f"admit {', '.join(self.options['initiators'])} to {self.source['target']}, and no others"
            self._step("admit", words, initiators=sorted(self.options["initiators"]))
        if not self.observed["kept_so"]:
            words = f"keep it for the next start of tgt, in {KeptTarget(self.source['target']).path}"
            self._step("keep", words, kept=True, kept_so=True)

    def _as_seen(self) -> dict[str, Any]:
        lun = self.lun
        return {"store": lun.store, "serial": lun.serial, "thin": lun.thin, "read_only": lun.read_only}

    def _make_store(self) -> None:
        size, there = self.options.get("size"), self.observed["size"]
        if there is None and size is None:
            raise DeclarationError("tgt: size", f"is missing, and there is no {self.lun.store} yet")
        if there is None:
            self._step("make_store", f"make {self.lun.store} of {size} bytes", size=size)
        elif size is not None and size > there:
            words = f"grow {self.lun.store} from {there} to {size} bytes"
            if self.observed["exists"]:
                self._ask_for_force(words)
            self._step("grow_store", words, size=size)

    def _bind_account(self) -> None:
        user = self.source.get("user", "")
        others = [name for name in self.observed["accounts"] if name != user]
        if self.observed["account"] in ("differs", "unknown"):
            self._change_password(user)
        elif self.observed["account"] == "missing":
            self._step("new_account", f"create account {user}", account="fits")
        if user and user not in self.after["accounts"]:
            self._step("bind_account", f"let account {user} log in to {self.source['target']}")
        if others:
            self._step("unbind_accounts", f"let {', '.join(others)} no longer log in to {self.source['target']}")
        self.after["accounts"] = [user] if user else []

    def _change_password(self, user: str) -> None:
        """An account belongs to the whole tgtd."""
        if self.observed["account_shared_with"]:
            others = ", ".join(self.observed["account_shared_with"])
            raise self.refusal(f"account {user} has another password, also for {others}; say another user")
        self._step("new_password", f"change the password of account {user}", account="fits")

    def _change_lun(self) -> None:
        if self.observed["store"] != self.lun.store:
            problem = (
                f"gives out {self.observed['store']}, not {self.lun.store}; say another lun, or remove this one first"
            )
            raise self.refusal(problem)
        differences = [name for name, value in self._as_seen().items() if self.observed[name] != value]
        if differences:
            words = f"change {', '.join(differences)} of {self.described}"
            self._ask_for_force(words)
            self._step("set_lun", words, **self._as_seen())

    def _ask_for_force(self, words: str) -> None:
        if self.observed["sessions"] and not self.options["force"]:
            names = ", ".join(dict.fromkeys(self.observed["sessions"]))
            problem = f"{names} is logged in; stop its machine, or say tgt: {{force: true}}, to {words}"
            raise self.refusal(problem)

    def remove(self) -> None:
        number, name = self.source["lun"], self.source["target"]
        last = not self.observed["other_luns"]
        if last and (self.observed["exists"] or (self.observed["target_exists"] and self.observed["kept"])):
            self._ask_for_force(f"remove target {name}")
            gone: dict[str, Any] = {"target_exists": False, "accounts": [], "initiators": [], "sessions": []}
            self._step("remove_target", f"remove target {name} and its LUN {number}", exists=False, **gone)
            if self.observed["account"] not in ("none", "missing") and not self.observed["account_shared_with"]:
                self._step("remove_account", f"remove account {self.source['user']}", account="missing")
        elif self.observed["exists"]:
            self._ask_for_force(f"remove LUN {number}")
            self._step("remove_lun", f"remove LUN {number} of {name}", exists=False)
        if self.observed["kept"]:
            self._step("forget", f"forget it in {KeptTarget(name).path}", kept=False, kept_so=True)
        if self.options["remove_store"] and self.observed["size"] is not None:
            words = f"remove {self.lun.store} and all data in it"
            self._step("remove_store", words, destroys=True, size=None)
        for key in self._as_seen():
            self.after.pop(key, None)
