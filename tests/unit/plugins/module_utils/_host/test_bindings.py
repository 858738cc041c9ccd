# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules of the distribution's Python: where they are missing, and where else they are."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import pytest
from ansible.module_utils.common import respawn

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import CapabilityError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import bindings as host_bindings
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.selection import missing
from ansible_collections.directdisk.qemu.tests.unit.support import capabilities


def needing(*modules: str) -> Backend:
    backend = BACKENDS["rbd"]
    return replace(backend, packages=replace(backend.packages, python_modules=modules))


NOWHERE = needing("directdisk_no_such_module")
WHY = "no Python of this host has the modules directdisk_no_such_module"


def test_nothing_is_done_where_the_modules_are_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(respawn, "respawn_module", pytest.fail)
    host_bindings.need_bindings([needing("json", "re")], "debian")
    assert host_bindings.why_none(("json",)) == ""


def test_the_module_begins_anew_where_another_interpreter_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    monkeypatch.setattr(host_bindings, "_interpreter_with", lambda bindings: "/usr/bin/python3")
    monkeypatch.setattr(respawn, "respawn_module", begun.append)
    host_bindings.need_bindings([NOWHERE], "debian")
    assert begun == ["/usr/bin/python3"]
    monkeypatch.setattr(respawn, "has_respawned", lambda: True)
    with pytest.raises(CapabilityError, match="no Python of this host"):
        host_bindings.need_bindings([NOWHERE], "debian")


def test_an_interpreter_is_asked_by_importing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_bindings, "INTERPRETERS", ("/nonexistent", "/bin/false", sys.executable))
    assert host_bindings.why_none(NOWHERE.packages.python_modules) == WHY


@pytest.mark.parametrize(
    ("family", "advice"), [("debian", "; install python3-rados python3-rbd (role storage_client)"), ("", "")]
)
def test_where_nothing_has_them_the_packages_are_named(
    monkeypatch: pytest.MonkeyPatch, family: str, advice: str
) -> None:
    monkeypatch.setattr(host_bindings, "INTERPRETERS", ())
    with pytest.raises(CapabilityError) as caught:
        host_bindings.need_bindings([NOWHERE], family)
    assert str(caught.value) == f"rbd: {WHY}{advice}"


def test_a_declaration_brings_them_only_where_images_are_kept() -> None:
    lacking: Any = capabilities(bindings={"rbd": "no Python of this host has the modules rados and rbd"})
    assert missing({"kept": ["file"]}, lacking) == ([], [])
    assert missing({"kept": ["rbd"]}, lacking) == (
        [
            "images of rbd: no Python of this host has the modules rados and rbd; "
            "install python3-rados python3-rbd (role storage_client)"
        ],
        ["python3-rados", "python3-rbd"],
    )
