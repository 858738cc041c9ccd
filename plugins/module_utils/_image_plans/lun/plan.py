# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans a LUN. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import DesiredImage, ImagePlan, Step
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.lun.observed import GrowLun, ObservedLun
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.lun.options import (
    at_portal,
    format_of,
    serves,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.lun.server import plan as server
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.volume import content
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.volume.plan import (
    Volume,
    check_room,
    format_name,
    plan_writing,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import in_words


def plan(desired: DesiredImage, observed: Any) -> ImagePlan:
    return server.plan(desired, observed) if serves(desired) else _plan_lun(desired, observed)


def _plan_lun(desired: DesiredImage, observed: ObservedLun) -> ImagePlan:
    described = desired.disk.described
    if desired.state == "absent":
        return _plan_absent(described, observed)
    if not observed.exists:
        others = ", ".join(map(str, observed.luns)) or "none"
        raise DeclarationError(described, f"the target has no such LUN (it has: {others}); correct lun")
    if observed.device.type != "disk":
        others = ", ".join(f"LUN {lun}" for lun in observed.luns if lun != desired.disk.source["lun"])
        problem = f"is a {observed.device.type}, not a disk (there are: {others or 'no other LUN'})"
        raise DeclarationError(described, problem)
    builder = _LunPlan(desired, observed)
    builder.fill()
    builder.grow()
    if builder.steps and observed.device.read_only:
        raise DeclarationError(described, "the target exports it read-only; correct that at the target")
    return ImagePlan(builder.after, tuple(builder.steps), tuple(builder.warnings))


def _plan_absent(described: str, observed: ObservedLun) -> ImagePlan:
    if observed.exists:
        problem = "an initiator cannot remove a LUN; set tgt, and run this on the storage host (delegate_to)"
        raise DeclarationError(described, problem)
    return ImagePlan(observed)


class _LunPlan:
    """Collects steps; ``after`` is the state after those so far."""

    def __init__(self, desired: DesiredImage, observed: ObservedLun) -> None:
        self.desired = desired
        self.disk = desired.disk
        self.observed = observed
        self.after = replace(observed, fingerprint=None)
        self.steps: list[Step] = []
        self.warnings: list[str] = []

    def fill(self) -> None:
        """Plan a format if it is missing, and the source of a new disk."""
        observed, declared = self.observed, format_of(self.disk)
        differs, overwrites = observed.bytes_format != declared, observed.may_be_overwritten
        fresh = overwrites or observed.content != content.DATA
        if not fresh:
            self._refuse_foreign_data(differs=differs)
        formats = declared != ("raw", False) and (differs or overwrites)
        imports = bool(self.disk.origin) and fresh
        if formats or imports:
            self._write(formats=formats, imports=imports, overwrites=overwrites)
        elif observed.content == content.UNFINISHED:
            self.warnings.append(
                f"{self.disk.described}: an import into it was interrupted; declare its source to finish it"
            )
        if not fresh and observed.data_at is not None:
            self.warnings.append(content.hidden(self.disk.described, observed.data_at))

    def _refuse_foreign_data(self, *, differs: bool) -> None:
        """Refuse data in another format than the declared one."""
        if self.observed.not_raw:
            raise DeclarationError(self.disk.described, f"{self.observed.not_raw}; it was not changed")
        if differs:
            problem = (
                f"has data that is not {format_name(self.disk)}{_found(self.observed)}; "
                f"to lose it, set overwrite: {self.observed.fingerprint}"
            )
            raise DeclarationError(self.disk.described, problem)

    def _write(self, *, formats: bool, imports: bool, overwrites: bool) -> None:
        if self.desired.monitor:
            problem = "must be written to, and a running VM has it open; stop the VM"
            raise DeclarationError(self.disk.described, problem)
        observed = self.observed
        volume = Volume(
            at_portal(self.disk, observed.portal),
            observed.capacity,
            observed.size or 0,
            observed.content or content.DATA,
            overwrites,
            observed.source_size,
        )
        steps, size = plan_writing(volume, self.desired.size, formats=formats, imports=imports)
        self.steps.extend(steps)
        form, encrypted = format_of(self.disk)
        self.after = replace(self.after, format=form, encrypted=encrypted, size=size, content=content.DATA)

    def grow(self) -> None:
        form, _encrypted = format_of(self.disk)
        size, current = self.desired.size, self.after.size or 0
        if form == "raw" and self.desired.monitor:
            size = self.observed.capacity - self.observed.header
        if not size or size == current:
            return
        if size < current:
            self.warnings.append(
                f"{self.disk.described} has {in_words(current, size)}; it is never shrunk to {in_words(size, current)}"
            )
            return
        if form == "qcow2":
            check_room(self.disk, size, self.observed.capacity)
        description = f"grow {self.disk.described} from {in_words(current, size)} to {in_words(size, current)}"
        self.steps.append(Step(GrowLun(at_portal(self.disk, self.observed.portal), size), description))
        self.after = replace(self.after, size=size)


def _found(observed: ObservedLun) -> str:
    if observed.format == "qcow2":
        return f" but a qcow2 {'with' if observed.encrypted else 'without'} luks"
    return " but luks" if observed.encrypted else ""
