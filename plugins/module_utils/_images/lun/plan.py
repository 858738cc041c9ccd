# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be done to a LUN, from what is wanted and what was found. Pure."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._images.contract import (
    DesiredImage,
    ImagePlan,
    ObservedImage,
    Step,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.options import format_of, serves
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.server import plan as server
from ansible_collections.directdisk.qemu.plugins.module_utils._images.volume import content


def plan(desired: DesiredImage, observed: ObservedImage) -> ImagePlan:
    if serves(desired):
        return server.plan(desired, observed)
    described = desired.disk.described
    if desired.state == "absent":
        return _plan_absent(described, observed)
    if not observed["exists"]:
        others = ", ".join(map(str, observed["luns"])) or "none"
        raise DeclarationError(described, f"the target has no such LUN (it has: {others}); correct lun")
    if observed["type"] != "disk":
        raise DeclarationError(described, f"is a {observed['type']}, no disk (there are: {_others(desired, observed)})")
    found = _Plan(desired, observed)
    found.fill()
    found.grow()
    if found.steps and observed["read_only"]:
        raise DeclarationError(described, "the target gives it out read-only; correct that at the target")
    return ImagePlan(found.after, tuple(found.steps), tuple(found.warnings))


def _plan_absent(described: str, observed: ObservedImage) -> ImagePlan:
    if observed["exists"]:
        problem = "an initiator cannot remove a LUN; say tgt, and run this on the storage host (delegate_to)"
        raise DeclarationError(described, problem)
    return ImagePlan(observed)


def _others(desired: DesiredImage, observed: ObservedImage) -> str:
    return ", ".join(f"LUN {lun}" for lun in observed["luns"] if lun != desired.disk.source["lun"]) or "no other LUN"


class _Plan:
    """Grows step by step; ``after`` is what a look would find."""

    def __init__(self, desired: DesiredImage, observed: ObservedImage) -> None:
        self.desired = desired
        self.disk = desired.disk
        self.observed = observed
        self.after = {key: value for key, value in observed.items() if key != "fingerprint"}
        self.steps: list[Step] = []
        self.warnings: list[str] = []

    def fill(self) -> None:
        """A format where there is none, and then what a new disk begins as."""
        plain = format_of(self.disk) == ("raw", False)
        unlike = (self.observed["format"], self.observed["encrypted"]) != format_of(self.disk)
        overwrites = bool(self.observed.get("_may_be_overwritten"))
        fresh = overwrites or self.observed["content"] != content.DATA
        formats, imports = not plain and (unlike or overwrites), self.disk.origin and fresh
        if self.observed.get("_not_raw") and not fresh:
            raise DeclarationError(self.disk.described, f"{self.observed['_not_raw']}; it was not touched")
        if unlike and not fresh:
            problem = (
                f"has data that is no {_words(self.disk)}{_found(self.observed)}; "
                f"to lose it, say overwrite: {self.observed['fingerprint']}"
            )
            raise DeclarationError(self.disk.described, problem)
        if self.desired.monitor and (formats or imports):
            problem = "is still to be written, and a running machine has it open; stop the machine"
            raise DeclarationError(self.disk.described, problem)
        if formats:
            self._write_format(wipe=overwrites)
        if not fresh and "_data_at" in self.observed:
            self.warnings.append(content.hidden(self.disk.described, self.observed["_data_at"]))
        if imports:
            self._import(wipe=overwrites and plain)
        elif self.after["content"] == content.UNFINISHED:
            self.warnings.append(
                f"{self.disk.described}: an import into it was interrupted; declare its source to finish it"
            )

    def _write_format(self, *, wipe: bool) -> None:
        form, encrypted = format_of(self.disk)
        capacity = self.observed["capacity"]
        size = (
            self.desired.size or self.observed.get("_source_size")
            if form == "qcow2"
            else capacity - content.LUKS_HEADER
        )
        if not size:
            raise DeclarationError("size", "is missing: how much a guest is to see of the qcow2")
        if size <= 0:
            raise DeclarationError(self.disk.described, f"has {capacity} bytes, too few for {_words(self.disk)}")
        self._check_room(size)
        words = f"write {_words(self.disk)} of {size} bytes on {self.disk.described}"
        values = {"size": size, "wipe": self._ends() if wipe else [], "portal": self.observed["portal"]}
        self.steps.append(Step("format", f"overwrite the data and {words}" if wipe else words, values, destroys=wipe))
        self.after.update(format=form, encrypted=encrypted, size=size, content=content.DATA)

    def _import(self, *, wipe: bool) -> None:
        if self.disk.origin is None:
            raise AssertionError
        size = self.observed["_source_size"]
        if size > self.after["size"]:
            problem = f"has room for {self.after['size']} bytes, and {self.disk.origin.described} has {size}"
            raise DeclarationError(self.disk.described, problem)
        again = "finish the import of" if self.observed["content"] == content.UNFINISHED else "import"
        words = f"{again} {self.disk.origin.described} into {self.disk.described}"
        values = {"size": size, "wipe": self._ends() if wipe else [], "portal": self.observed["portal"]}
        self.steps.append(Step("import", f"overwrite the data and {words}" if wipe else words, values, destroys=wipe))
        self.after["content"] = content.DATA

    def _ends(self) -> list[tuple[int, int]]:
        return content.wiped(self.observed["capacity"])

    def grow(self) -> None:
        form, _encrypted = format_of(self.disk)
        desired = self.desired.size
        if form == "raw" and self.desired.monitor:
            desired = self.observed["capacity"] - self.observed["_header"]
        if not desired or desired == self.after["size"]:
            return
        if desired < self.after["size"]:
            words = f"{self.disk.described} has {self.after['size']} bytes; it is never shrunk to {desired}"
            self.warnings.append(words)
            return
        if form == "qcow2":
            self._check_room(desired)
        words = f"grow {self.disk.described} from {self.after['size']} to {desired} bytes"
        self.steps.append(Step("grow", words, {"size": desired, "portal": self.observed["portal"]}))
        self.after["size"] = desired

    def _check_room(self, size: int) -> None:
        form, encrypted = format_of(self.disk)
        needed = content.needed_for_qcow2(size, encrypted=encrypted) if form == "qcow2" else 0
        if needed > self.observed["capacity"]:
            problem = (
                f"has {self.observed['capacity']} bytes, and a qcow2 of {size} bytes takes up to {needed}; "
                "say a smaller size, or grow the LUN"
            )
            raise DeclarationError(self.disk.described, problem)


def _words(disk: Disk) -> str:
    form, encrypted = format_of(disk)
    return f"{form} with luks" if form != "raw" and encrypted else "luks" if encrypted else form


def _found(observed: ObservedImage) -> str:
    if observed["format"] == "qcow2":
        return f" but a qcow2 {'with' if observed['encrypted'] else 'without'} luks"
    return " but luks" if observed["encrypted"] else ""
