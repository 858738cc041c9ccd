# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sources that new images are copied from."""

from __future__ import annotations

import contextlib

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._host.in_use import ask_owners
from ansible_collections.directdisk.qemu.plugins.module_utils._host.storage_users import vms_that_write
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.owners import source_question


def size_of_source(origin: Disk, bench: Workbench) -> int:
    """Return the bytes that a guest sees of a source; DeclarationError if somebody who is known writes to it."""
    writers = vms_that_write(origin)
    if writers:
        raise _written(f"VM {writers[0]} of this host writes to {origin.described}", "stop the VM")
    owners = bench.shared(("owners", origin.identity), lambda: contextlib.nullcontext(_owners_of(origin)))
    if owners:
        raise _written(f"{origin.described} may be written to, because it is {owners[0]}", "stop what has it open")
    return bench.size_of_source(origin)


def _written(by: str, advice: str) -> DeclarationError:
    problem = f"{by}: a copy would have parts of different moments; {advice}, or copy a snapshot"
    return DeclarationError("source", problem)


def _owners_of(origin: Disk) -> list[str]:
    """Ask the storage who writes to it, such as a VM of another host; nobody if it cannot tell."""
    question = None if origin.backend.source.why_read_only(origin.source) else source_question(origin)
    if question is None:
        return []
    asked, secrets = question
    return [owner["name"] for owner in ask_owners({"": [asked]}, secrets)["owners"].get(origin.identity, [])]
