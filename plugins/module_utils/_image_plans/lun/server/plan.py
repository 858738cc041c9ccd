# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans a LUN on its storage host. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import (
    Change,
    DesiredImage,
    ImagePlan,
    Step,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.lun.server import changes
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.lun.server.changes import ObservedExport
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.lun.server.kept import KeptTarget
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.lun.server.options import lun_of
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import in_words


def plan(desired: DesiredImage, observed: ObservedExport) -> ImagePlan:
    builder = _ExportPlan(desired, observed)
    if desired.state == "absent":
        builder.remove()
    else:
        builder.export()
    if observed.declared_in and builder.steps:
        raise builder.refusal(
            f"its target is declared in {observed.declared_in}, which this module does not change; remove it there"
        )
    return ImagePlan(builder.after, tuple(builder.steps))


class _ExportPlan:
    """Collects steps; ``after`` is the state after those so far."""

    def __init__(self, desired: DesiredImage, observed: ObservedExport) -> None:
        self.options = desired.provision["tgt"]
        self.source = desired.disk.source
        self.described = desired.disk.described
        self.lun = lun_of(desired)
        self.observed = observed
        self.after = observed
        self.steps: list[Step] = []

    def refusal(self, problem: str) -> DeclarationError:
        return DeclarationError(self.described, problem)

    def _step(self, change: Change, description: str, *, destroys: bool = False, **after: Any) -> None:
        self.steps.append(Step(change, description, destroys=destroys))
        self.after = replace(self.after, **after)

    def export(self) -> None:
        self._make_store()
        if not self.observed.target_exists:
            self._step(changes.CreateTarget(), f"create target {self.source['target']}", target_exists=True)
        self._bind_account()
        if not self.observed.exists:
            description = f"export {self.lun.store} as LUN {self.source['lun']} of {self.source['target']}"
            self._step(changes.CreateLun(), description, exists=True, **self._parameters())
        else:
            self._update_lun()
        initiators = tuple(sorted(self.options["initiators"]))
        if self.after.initiators != initiators:
            description = (
                f"let {', '.join(self.options['initiators'])} log in to {self.source['target']}, and no others"
            )
            self._step(changes.SetInitiators(), description, initiators=initiators)
        if not self.observed.kept_so:
            description = f"write it to {KeptTarget(self.source['target']).path} for the next start of tgt"
            self._step(changes.KeepConfiguration(), description, kept=True, kept_so=True)

    def _parameters(self) -> dict[str, Any]:
        lun = self.lun
        return {"store": lun.store, "serial": lun.serial, "thin": lun.thin, "read_only": lun.read_only}

    def _make_store(self) -> None:
        size, current = self.options.get("size"), self.observed.size
        if current is None and size is None:
            raise DeclarationError("tgt: size", f"is required, because {self.lun.store} does not exist yet")
        if current is None:
            self._step(changes.MakeStore(), f"make {self.lun.store} of {in_words(size)}", size=size)
        elif size is not None and size > current:
            description = f"grow {self.lun.store} from {in_words(current, size)} to {in_words(size, current)}"
            if self.observed.exists:
                self._require_force(description)
            self._step(changes.GrowStore(), description, size=size)

    def _bind_account(self) -> None:
        user, target = self.source.get("user", ""), self.source["target"]
        others = [name for name in self.observed.accounts if name != user]
        if self.observed.account in ("differs", "unknown"):
            self._change_password(user)
        elif self.observed.account == "missing":
            self._step(changes.CreateAccount(), f"create account {user}", account="fits")
        if user and user not in self.after.accounts:
            self._step(changes.BindAccount(), f"let account {user} log in to {target}")
        if others:
            self._step(changes.UnbindAccounts(), f"let {', '.join(others)} no longer log in to {target}")
        self.after = replace(self.after, accounts=(user,) if user else ())

    def _change_password(self, user: str) -> None:
        """Change the password, unless the account, which belongs to the whole tgtd, has other targets."""
        if self.observed.account_shared_with:
            others = ", ".join(self.observed.account_shared_with)
            raise self.refusal(f"account {user} has another password, also for {others}; declare another user")
        self._step(changes.ChangePassword(), f"change the password of account {user}", account="fits")

    def _update_lun(self) -> None:
        if self.observed.store != self.lun.store:
            problem = f"exports {self.observed.store}, not {self.lun.store}; declare another lun, or remove this one"
            raise self.refusal(problem)
        parameters = self._parameters()
        differences = [name for name, value in parameters.items() if getattr(self.observed, name) != value]
        if differences:
            description = f"change {', '.join(differences)} of {self.described}"
            self._require_force(description)
            self._step(changes.UpdateLun(), description, **parameters)

    def _require_force(self, description: str) -> None:
        if self.observed.sessions and not self.options["force"]:
            names = ", ".join(dict.fromkeys(self.observed.sessions))
            problem = f"{names} is logged in; stop its VM, or set tgt: {{force: true}}, to {description}"
            raise self.refusal(problem)

    def remove(self) -> None:
        number, name, observed = self.source["lun"], self.source["target"], self.observed
        is_last = not observed.other_luns
        if is_last and (observed.exists or (observed.target_exists and observed.kept)):
            self._remove_target(number, name)
        elif observed.exists:
            self._require_force(f"remove LUN {number}")
            self._step(changes.RemoveLun(), f"remove LUN {number} of {name}", exists=False)
        if observed.kept:
            path = KeptTarget(name).path
            self._step(changes.ForgetConfiguration(), f"remove it from {path}", kept=False, kept_so=True)
        if self.options["remove_store"] and observed.size is not None:
            description = f"remove {self.lun.store} and all data in it"
            self._step(changes.RemoveStore(), description, destroys=True, size=None)
        self.after = replace(self.after, store=None, serial=None, thin=None, read_only=None)

    def _remove_target(self, number: int, name: str) -> None:
        self._require_force(f"remove target {name}")
        self._step(
            changes.RemoveTarget(),
            f"remove target {name} and its LUN {number}",
            exists=False,
            target_exists=False,
            accounts=(),
            initiators=(),
            sessions=(),
        )
        if self.observed.account not in ("none", "missing") and not self.observed.account_shared_with:
            self._step(changes.RemoveAccount(), f"remove account {self.source['user']}", account="missing")
