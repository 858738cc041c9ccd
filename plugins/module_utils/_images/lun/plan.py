# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be done to a LUN, from what is wanted and what was found. Pure."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._images.contract import Proposal, Seen, Step, Wanted
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.options import format_of, serves
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.server.plan import plan as plan_on_server
from ansible_collections.directdisk.qemu.plugins.module_utils._images.volume import content


def plan(wanted: Wanted, seen: Seen) -> Proposal:
    if serves(wanted):
        return plan_on_server(wanted, seen)
    described = wanted.disk.described
    if wanted.state == "absent":
        return _plan_absent(described, seen)
    if not seen["exists"]:
        others = ", ".join(map(str, seen["luns"])) or "none"
        raise DeclarationError(described, f"the target has no such LUN (it has: {others}); correct lun")
    if seen["type"] != "disk":
        raise DeclarationError(described, f"is a {seen['type']}, no disk (there are: {_others(wanted, seen)})")
    found = _Plan(wanted, seen)
    found.fill()
    found.grow()
    if found.steps and seen["read_only"]:
        raise DeclarationError(described, "the target gives it out read-only; correct that at the target")
    return Proposal(found.after, tuple(found.steps), tuple(found.warnings))


def _plan_absent(described: str, seen: Seen) -> Proposal:
    if seen["exists"]:
        problem = "an initiator cannot remove a LUN; say tgt, and run this on the storage host (delegate_to)"
        raise DeclarationError(described, problem)
    return Proposal(seen)


def _others(wanted: Wanted, seen: Seen) -> str:
    return ", ".join(f"LUN {lun}" for lun in seen["luns"] if lun != wanted.disk.source["lun"]) or "no other LUN"


class _Plan:
    """Grows step by step; ``after`` is what a look would find."""

    def __init__(self, wanted: Wanted, seen: Seen) -> None:
        self.wanted = wanted
        self.disk = wanted.disk
        self.seen = seen
        self.after = {key: value for key, value in seen.items() if key != "fingerprint"}
        self.steps: list[Step] = []
        self.warnings: list[str] = []

    def fill(self) -> None:
        """A format where there is none, and then what a new disk begins as."""
        plain = format_of(self.disk) == ("raw", False)
        unlike = (self.seen["format"], self.seen["encrypted"]) != format_of(self.disk)
        overwrites = bool(self.seen.get("_may_be_overwritten"))
        fresh = overwrites or self.seen["content"] != content.DATA
        formats, imports = not plain and (unlike or overwrites), self.disk.origin and fresh
        if self.seen.get("_not_raw") and not fresh:
            raise DeclarationError(self.disk.described, f"{self.seen['_not_raw']}; it was not touched")
        if unlike and not fresh:
            problem = (
                f"has data that is no {_words(self.disk)}{_found(self.seen)}; "
                f"to lose it, say overwrite: {self.seen['fingerprint']}"
            )
            raise DeclarationError(self.disk.described, problem)
        if self.wanted.monitor and (formats or imports):
            problem = "is still to be written, and a running machine has it open; stop the machine"
            raise DeclarationError(self.disk.described, problem)
        if formats:
            self._write_format(wipe=overwrites)
        if not fresh and "_data_at" in self.seen:
            self.warnings.append(content.hidden(self.disk.described, self.seen["_data_at"]))
        if imports:
            self._import(wipe=overwrites and plain)
        elif self.after["content"] == content.UNFINISHED:
            self.warnings.append(
                f"{self.disk.described}: an import into it was interrupted; declare its source to finish it"
            )

    def _write_format(self, *, wipe: bool) -> None:
        form, encrypted = format_of(self.disk)
        capacity = self.seen["capacity"]
        size = self.wanted.size or self.seen.get("_source_size") if form == "qcow2" else capacity - content.LUKS_HEADER
        if not size:
            raise DeclarationError("size", "is missing: how much a guest is to see of the qcow2")
        if size <= 0:
            raise DeclarationError(self.disk.described, f"has {capacity} bytes, too few for {_words(self.disk)}")
        self._check_room(size)
        words = f"write {_words(self.disk)} of {size} bytes on {self.disk.described}"
        values = {"size": size, "wipe": self._ends() if wipe else [], "portal": self.seen["portal"]}
        self.steps.append(Step("format", f"overwrite the data and {words}" if wipe else words, values, destroys=wipe))
        self.after.update(format=form, encrypted=encrypted, size=size, content=content.DATA)

    def _import(self, *, wipe: bool) -> None:
        if self.disk.origin is None:
            raise AssertionError
        size = self.seen["_source_size"]
        if size > self.after["size"]:
            problem = f"has room for {self.after['size']} bytes, and {self.disk.origin.described} has {size}"
            raise DeclarationError(self.disk.described, problem)
        again = "finish the import of" if self.seen["content"] == content.UNFINISHED else "import"
        words = f"{again} {self.disk.origin.described} into {self.disk.described}"
        values = {"size": size, "wipe": self._ends() if wipe else [], "portal": self.seen["portal"]}
        self.steps.append(Step("import", f"overwrite the data and {words}" if wipe else words, values, destroys=wipe))
        self.after["content"] = content.DATA

    def _ends(self) -> list[tuple[int, int]]:
        return content.wiped(self.seen["capacity"])

    def grow(self) -> None:
        form, _encrypted = format_of(self.disk)
        wanted = self.wanted.size
        if form == "raw" and self.wanted.monitor:
            wanted = self.seen["capacity"] - self.seen["_header"]
        if not wanted or wanted == self.after["size"]:
            return
        if wanted < self.after["size"]:
            words = f"{self.disk.described} has {self.after['size']} bytes; it is never shrunk to {wanted}"
            self.warnings.append(words)
            return
        if form == "qcow2":
            self._check_room(wanted)
        words = f"grow {self.disk.described} from {self.after['size']} to {wanted} bytes"
        self.steps.append(Step("grow", words, {"size": wanted, "portal": self.seen["portal"]}))
        self.after["size"] = wanted

    def _check_room(self, size: int) -> None:
        form, encrypted = format_of(self.disk)
        needed = content.needed_for_qcow2(size, encrypted=encrypted) if form == "qcow2" else 0
        if needed > self.seen["capacity"]:
            problem = (
                f"has {self.seen['capacity']} bytes, and a qcow2 of {size} bytes takes up to {needed}; "
                "say a smaller size, or grow the LUN"
            )
            raise DeclarationError(self.disk.described, problem)


def _words(disk: Disk) -> str:
    form, encrypted = format_of(disk)
    return f"{form} with luks" if form != "raw" and encrypted else "luks" if encrypted else form


def _found(seen: Seen) -> str:
    if seen["format"] == "qcow2":
        return f" but a qcow2 {'with' if seen['encrypted'] else 'without'} luks"
    return " but luks" if seen["encrypted"] else ""
