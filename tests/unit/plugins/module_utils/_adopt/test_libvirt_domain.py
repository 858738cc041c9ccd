# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Domains of libvirt are declared as adopted_libvirt.yml has it, and nothing of them is lost in silence."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.convert import convert
from ansible_collections.directdisk.qemu.tests.unit.support import UNIT_TESTS

CASES: list[dict[str, Any]] = yaml.safe_load((UNIT_TESTS / "adopted_libvirt.yml").read_text(encoding="utf-8"))
USUAL = {"accel": "kvm", "machine": "pc", "memory": "512MiB", "cpus": 1, "cpu_model": "qemu64", "console": False}


def document(case: dict[str, Any]) -> str:
    """Return the domain of a case, completed by what every domain has."""
    given = case.get("given", "")
    memory = "" if "<memory>" in given else "<memory unit='MiB'>512</memory>"
    features = case.get("features", "<features><acpi/></features>")
    system = f"<os><type arch='x86_64' machine='pc'>hvm</type>{case.get('os', '')}</os>"
    devices = f"<devices>{case.get('devices', '')}</devices>"
    return f"<domain type='kvm'><name>web1</name>{memory}{system}{features}{given}{devices}</domain>"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_domain_is_declared_with_all_that_it_says(case: dict[str, Any]) -> None:
    converted = convert(document(case), name="web1")
    expected = {**USUAL, **case.get("declaration", {})}
    assert converted.declaration == {key: value for key, value in expected.items() if value is not None}
    assert list(converted.declaration.get("disks", {})) == list(expected.get("disks", {}))
    assert converted.left == case.get("left", [])
    for secret in case.get("secrets", []):
        assert secret not in repr(converted)


@pytest.mark.parametrize("display", [4, 59630, 59635])
def test_a_display_of_vnc_has_a_port(display: int) -> None:
    vnc = convert(f"qemu-system-x86_64 -nodefaults -vnc [::]:{display}").declaration["vnc"]
    assert vnc == {"address": "::", "port": 5900 + display}


def test_a_display_without_a_port_is_named() -> None:
    converted = convert("qemu-system-x86_64 -nodefaults -vnc :59636")
    assert "vnc" not in converted.declaration
    assert "-vnc :59636: cannot be declared" in converted.left
