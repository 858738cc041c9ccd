# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# pylint: disable=ansible-bad-function
"""Python modules of the distribution, which the distribution's interpreter has, but perhaps not Ansible's."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterable

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import CapabilityError
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.selection import advice

INTERPRETERS = ("/usr/bin/python3", "/usr/libexec/platform-python")
"""The interpreters of distributions."""


def need_bindings(backends: Iterable[Backend], family: str) -> None:
    """Restart the module with an interpreter that has the bindings of backends, if this one lacks them."""
    from ansible.module_utils.common import respawn

    for backend in backends:
        if _here(backend.packages.python_modules):
            continue
        interpreter = "" if respawn.has_respawned() else _interpreter_with(backend.packages.python_modules)
        if not interpreter:
            packages = backend.packages.python.get(family, ())
            raise CapabilityError(backend.name, _none_has(backend.packages.python_modules) + advice(packages))
        respawn.respawn_module(interpreter)


def why_none(bindings: tuple[str, ...]) -> str:
    """Return why no Python of this host has these modules; empty if one has them."""
    return "" if _here(bindings) or _interpreter_with(bindings) else _none_has(bindings)


def _none_has(bindings: tuple[str, ...]) -> str:
    return f"no Python of this host has the modules {' and '.join(bindings)}"


def _here(bindings: tuple[str, ...]) -> bool:
    return all(importlib.util.find_spec(name) for name in bindings)


def _interpreter_with(bindings: tuple[str, ...]) -> str:
    """Return the distribution's interpreter that has these modules; empty if none has them."""
    test = f"import {', '.join(bindings)}"
    return next((path for path in INTERPRETERS if path != sys.executable and _runs(path, test)), "")


def _runs(interpreter: str, program: str) -> bool:
    try:
        done = subprocess.run([interpreter, "-c", program], capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
