# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Queries over the rows of a fleet."""

from __future__ import annotations

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.declared import read_fleet, row
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.queries import ask
from ansible_collections.directdisk.qemu.tests.unit.support import disk_of

FLEET = read_fleet(
    {
        "hv1": {"qemu_vms": {"a": disk_of({"file": {"path": "/srv/a"}, "size": "1GiB"})}},
        "hv2": {"qemu_vms": {"b": disk_of({"file": {"path": "/srv/b"}})}},
    }
)
ROWS = [row(one, disk) for one, disk in FLEET.disks()]


def test_a_query_that_fails_is_named_with_its_first_row() -> None:
    query = "[].abs(size)"
    with pytest.raises(DeclarationError) as raised:
        ask(query, ROWS)
    problem = "In function abs(), invalid type for value: None"
    assert str(raised.value).startswith(f"query (plan_query): {query}: {problem}")
    assert str(raised.value).endswith(", in the row of disk root of b on hv2")


@pytest.mark.parametrize("query", ["length(", "abs('x')"])
def test_a_query_that_fails_on_every_fleet_names_no_row(query: str) -> None:
    with pytest.raises(DeclarationError) as raised:
        ask(query, ROWS)
    assert query in str(raised.value)
    assert "in the row" not in str(raised.value)
