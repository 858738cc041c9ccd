# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans what is written to a volume of a fixed size: a LUN, a device or an export. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.image_format import has_format
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import Step
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.volume import content
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.volume.changes import (
    ImportSource,
    WriteFormat,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import in_words


@dataclass(frozen=True)
class Volume:
    """A volume that is to be written to."""

    disk: Disk = field(repr=False)
    capacity: int
    size: int
    """Bytes that a guest sees now."""
    content: str
    overwrites: bool
    """Its data may be lost."""
    source_size: int | None = None

    @property
    def described(self) -> str:
        return self.disk.described


def plan_writing(volume: Volume, size: int | None, *, formats: bool, imports: bool) -> tuple[tuple[Step, ...], int]:
    """Return the steps that write a format and the source, and the bytes that a guest sees afterwards.

    size: as declared; None if it is not.
    """
    steps = []
    wipe = content.ends(volume.capacity) if volume.content != content.BLANK or volume.overwrites else ()
    size = _size_of_format(volume, size) if formats else volume.size
    prefix = "overwrite the data and " * volume.overwrites
    if formats:
        description = f"{prefix}write {format_name(volume.disk)} of {in_words(size)} on {volume.described}"
        steps.append(Step(WriteFormat(volume.disk, size, wipe), description, destroys=volume.overwrites))
    if imports:
        steps.append(_import(volume, size, wipe, destroys=volume.overwrites and not formats))
    return tuple(steps), size


def _import(volume: Volume, size: int, wipe: tuple[tuple[int, int], ...], *, destroys: bool) -> Step:
    origin, needed = volume.disk.origin, volume.source_size
    if origin is None or needed is None:
        raise AssertionError
    if needed > size:
        problem = f"has {in_words(needed, size)}, and {volume.described} has room for {in_words(size, needed)}"
        raise DeclarationError("source", problem)
    verb = "finish the import of" if volume.content == content.UNFINISHED else "import"
    description = f"{'overwrite the data and ' * destroys}{verb} {origin.described} into {volume.described}"
    # Behind a format, the ends of the volume are those of the format.
    change = ImportSource(volume.disk, needed, () if has_format(volume.disk) else wipe)
    return Step(change, description, destroys=destroys)


def _size_of_format(volume: Volume, declared: int | None) -> int:
    if volume.disk.settings["format"] == "raw":
        size = volume.capacity - content.LUKS_HEADER
        if size <= 0:
            problem = f"has {volume.capacity} bytes, too few for {format_name(volume.disk)}"
            raise DeclarationError(volume.described, problem)
        return size
    size = declared or volume.source_size or 0
    if not size:
        raise DeclarationError("size", "is required for a new qcow2 without source")
    check_room(volume.disk, size, volume.capacity)
    return size


def check_room(disk: Disk, size: int, capacity: int) -> None:
    """Refuse a qcow2 that the volume cannot hold once a guest has written all of it."""
    needed = content.needed_for_qcow2(size, encrypted="luks" in disk.settings)
    if needed > capacity:
        problem = (
            f"a qcow2 of {in_words(size, needed, capacity)} takes up to {in_words(needed, size, capacity)}, and "
            f"{disk.described} has {in_words(capacity, size, needed)}"
        )
        raise DeclarationError("size", f"{problem}; set a smaller size, or grow the storage")


def format_name(disk: Disk) -> str:
    """Return the name of a disk's format, with its encryption."""
    if disk.settings["format"] == "raw":
        return "luks" if "luks" in disk.settings else "raw"
    return f"{disk.settings['format']} with luks" if "luks" in disk.settings else str(disk.settings["format"])
