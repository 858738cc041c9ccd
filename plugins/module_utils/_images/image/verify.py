# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observes the content of an image, and compares it with what is declared."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.directdisk.qemu.plugins.module_utils._access.file_kind import not_raw
from ansible_collections.directdisk.qemu.plugins.module_utils._access.image_header import Header
from ansible_collections.directdisk.qemu.plugins.module_utils._access.nodes import Storage
from ansible_collections.directdisk.qemu.plugins.module_utils._access.qemu_img import check_qcow2
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import DesiredImage
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.image.observed import Kind, ObservedContent
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import in_words


def observe_content(kind: type[Kind], desired: DesiredImage, storage: Storage, *, in_use: bool = False) -> Kind:
    """Return the state of an image that exists; ``problem`` tells why it is not what is declared."""
    header = storage.header()
    observed = describe_header(kind, desired.disk, header, None)
    if observed.problem:
        return replace(observed, size=storage.describe()["virtual-size"])
    with storage.image(header) as image:
        observed = replace(observed, size=image.size, problem=size_problem(desired, image.size))
    if "sha256" in desired.provision:
        observed = _add_digest(observed, desired.provision["sha256"], storage)
    if desired.provision["check"] and header.format == "qcow2" and not in_use:
        # A VM that writes to the image makes it look damaged.
        observed = _add_check(observed, desired.disk, storage)
    return observed


def verify(desired: DesiredImage, bench: Workbench, consequence: str) -> None:
    """Raise HostError if what was just written is not what is declared."""
    if desired.provision["check"] or {"sha256", "virtual_size"} & set(desired.provision):
        with bench.storage(desired.disk) as storage:
            observed = observe_content(ObservedContent, desired, storage)
        if observed.problem:
            raise HostError(f"{observed.problem}; {consequence}")


def size_problem(desired: DesiredImage, size: int | None) -> str | None:
    """Return why a size is not the declared ``virtual_size``; None if it is, or is not known."""
    declared = desired.provision.get("virtual_size")
    if size is None or declared in (None, size):
        return None
    return f"it has {in_words(size, declared)}, and {in_words(declared, size)} are declared"


def _add_digest(observed: Kind, declared: str, storage: Storage) -> Kind:
    with storage.accessed() as stored:
        digest = stored.sha256()
    if digest == declared:
        return replace(observed, sha256=digest)
    return replace(observed, sha256=digest, problem=f"its sha256 is {digest}, and {declared} is declared")


def _add_check(observed: Kind, disk: Disk, storage: Storage) -> Kind:
    """Add the errors and leaks that qemu-img check finds in the tables of a qcow2."""
    with storage.served(writable=False) as uri:
        report = check_qcow2(uri, disk.settings.get("luks", {}).get("passphrase", ""), storage.bench)
    errors = report.get("corruptions", 0) + report.get("check-errors", 0)
    problem = f"qemu-img check finds {errors} errors in it" if errors else observed.problem
    return replace(observed, errors=errors, leaks=report.get("leaks", 0), problem=problem)


def describe_header(kind: type[Kind], disk: Disk, header: Header, length: int | None) -> Kind:
    """Return the state of an image as far as its first bytes tell it; length: of the whole image as it is stored."""
    problem = _why_not_declared(disk, header)
    if problem:
        encrypted = header.encrypted or header.format == "luks"
        return kind(exists=True, size=length, format=header.format, encrypted=encrypted, problem=problem)
    luks = "luks" in disk.settings
    if disk.settings["format"] == "qcow2":
        return kind(
            exists=True,
            size=header.size,
            format="qcow2",
            encrypted=luks,
            cluster_size=header.cluster_size,
            backing=header.backing,
        )
    size = None if length is None else length - header.payload * luks
    return kind(exists=True, size=size, format=disk.settings["format"], encrypted=luks)


def _why_not_declared(disk: Disk, header: Header) -> str:
    if disk.settings["format"] == "qcow2":
        if header.format != "qcow2":
            return "it is declared as qcow2, but it is not a qcow2"
        if header.encrypted != ("luks" in disk.settings):
            return (
                f"it is {'' if header.encrypted else 'not '}encrypted, and luks is {'not ' * header.encrypted}declared"
            )
        return ""
    writable = disk.backend.source.writable and not disk.backend.source.why_read_only(disk.source)
    problem = not_raw(disk.settings, header.head, written_by_guests=writable)
    if problem:
        return problem
    return "luks is declared, but it is not encrypted with it" * ("luks" in disk.settings and header.format != "luks")
