# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that QEMU's own drivers make and grow: files on a server or on the host, and formats on what is there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backend import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError, QmpError
from ansible_collections.directdisk.qemu.plugins.module_utils._lifecycle import Lifecycle, Proposal, Seen, Step, Wanted
from ansible_collections.directdisk.qemu.plugins.module_utils._workbench import Workbench

OPTIONS = ()


def _check(wanted: Wanted) -> None:
    del wanted


def _observe(wanted: Wanted, bench: Workbench) -> Seen:
    try:
        with bench.image(wanted.disk) as node:
            found = node.describe()
    except QmpError as error:
        if re.search("No such file or directory", str(error)):
            return {"exists": False}
        raise
    return {"exists": True, "size": found["virtual-size"], "format": wanted.disk.settings["format"]}


def _plan(wanted: Wanted, seen: Seen) -> Proposal:
    size = wanted.size
    if not seen["exists"]:
        if size is None:
            raise DeclarationError("size", "is missing, and there is no image yet")
        words = f"create {wanted.disk.described} of {size} bytes"
        return Proposal({"exists": True, "size": size, "format": "raw"}, (Step("create", words, {"size": size}),))
    return Proposal(seen)


def _create(wanted: Wanted, values: Values, bench: Workbench) -> None:
    raise NotImplementedError


_VERBS: Mapping[str, Any] = {"create": _create}

LIFECYCLE = Lifecycle("image", OPTIONS, _check, _observe, _plan, _VERBS)
