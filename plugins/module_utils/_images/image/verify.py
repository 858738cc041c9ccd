# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in an image, and whether that is what is declared."""

from __future__ import annotations

from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._access.file_kind import not_raw
from ansible_collections.directdisk.qemu.plugins.module_utils._access.image_header import Header
from ansible_collections.directdisk.qemu.plugins.module_utils._access.nodes import Storage
from ansible_collections.directdisk.qemu.plugins.module_utils._access.qemu_img import check_qcow2
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._images.contract import DesiredImage


def observe_content(desired: DesiredImage, storage: Storage, *, in_use: bool = False) -> dict[str, Any]:
    """What there is, and in ``problem`` why that is not what is declared, where it is not."""
    disk = desired.disk
    header = storage.header()
    found = {"exists": True, **describe_header(disk, header, storage.describe()["virtual-size"])}
    if "problem" in found:
        return found
    with storage.image() as image:
        found["size"] = image.describe()["virtual-size"]
    found.update(size_problem(desired, found["size"]))
    if "sha256" in desired.provision:
        with storage.accessed() as stored:
            found["sha256"] = stored.sha256()
        if found["sha256"] != desired.provision["sha256"]:
            found["problem"] = f"its sha256 is {found['sha256']}, and {desired.provision['sha256']} is declared"
    if desired.provision["check"] and header.format == "qcow2" and not in_use:
        # What a machine is writing to looks damaged.
        found.update(_checked(disk, storage))
    return found


def verify(desired: DesiredImage, bench: Workbench, consequence: str) -> None:
    """Raises HostError where what was just written is not what is declared."""
    if desired.provision["check"] or {"sha256", "virtual_size"} & set(desired.provision):
        with bench.storage(desired.disk) as storage:
            found = observe_content(desired, storage)
        if "problem" in found:
            raise HostError(f"{found['problem']}; {consequence}")


def size_problem(desired: DesiredImage, size: int | None) -> dict[str, str]:
    """Why a size is not the declared one, where it is not."""
    declared = desired.provision.get("virtual_size")
    if size is None or declared in (None, size):
        return {}
    return {"problem": f"it has {size} bytes, and {declared} are declared"}


def _checked(disk: Disk, storage: Storage) -> dict[str, Any]:
    """What qemu-img says of the tables of a qcow2."""
    with storage.served(writable=False) as uri:
        found = check_qcow2(uri, disk.settings.get("luks", {}).get("passphrase", ""), storage.bench)
    errors, leaks = found.get("corruptions", 0) + found.get("check-errors", 0), found.get("leaks", 0)
    said: dict[str, Any] = {"errors": errors, "leaks": leaks}
    if errors:
        said["problem"] = f"qemu-img check finds {errors} errors in it"
    return said


def describe_header(disk: Disk, header: Header, length: int | None) -> dict[str, Any]:
    """What can be said by the first bytes; length: of all of them."""
    problem = _why_not_declared(disk, header)
    if problem:
        return {"size": length, "format": header.format, "encrypted": _is_encrypted(header), "problem": problem}
    size = None if length is None else length - header.payload * ("luks" in disk.settings)
    found = {"size": size, "format": disk.settings["format"], "encrypted": "luks" in disk.settings}
    if disk.settings["format"] == "qcow2":
        found.update(size=header.size, cluster_size=header.cluster_size, backing=header.backing)
    return found


def _is_encrypted(header: Header) -> bool:
    return header.encrypted or header.format == "luks"


def _why_not_declared(disk: Disk, header: Header) -> str:
    if disk.settings["format"] == "qcow2":
        if header.format != "qcow2":
            return "it is declared as qcow2, but it is none"
        if header.encrypted != ("luks" in disk.settings):
            return (
                f"it is {'' if header.encrypted else 'not '}encrypted, and luks is {'not ' * header.encrypted}declared"
            )
        return ""
    writable = disk.backend.writable and not disk.backend.read_only(disk.source)
    problem = not_raw(disk.settings, header.head, written_by_guests=writable)
    if problem:
        return problem
    return "luks is declared, but it is not encrypted with it" * ("luks" in disk.settings and header.format != "luks")
