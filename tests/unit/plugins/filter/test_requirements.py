# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter requirements."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.directdisk.qemu.plugins.filter.requirements import FilterModule
from ansible_collections.directdisk.qemu.tests.unit.support import NBD, disk_of

requirements = FilterModule().filters()["requirements"]
HTTPS: dict[str, Any] = {"https": {"url": "https://192.0.2.7/x", "username": "joe", "password": "pass-of-joe"}}


def test_each_route_to_a_backend_is_named_once_and_without_addresses() -> None:
    vms = {
        "a": {"disks": {"root": NBD, "web": {**HTTPS, "writes": "deny"}, "kit": {**HTTPS, "writes": "deny"}}},
        "b": {"disks": {"web": {**HTTPS, "writes": "deny", "route": "nbdkit"}}, "firmware": "uefi"},
        "c": disk_of({"file": {"filename": "/srv/c"}, "size": "1GiB"}),
    }
    assert requirements(vms) == {
        "routes": [
            {"backend": "file", "route": "driver"},
            {"backend": "https", "route": "auto"},
            {"backend": "https", "route": "nbdkit"},
            {"backend": "nbd", "route": "auto"},
        ],
        "kept": ["file"],
        "uefi": True,
        "secure_boot": False,
        "tpm": False,
    }


@pytest.mark.parametrize("vms", [{}, {"a": {}}, {"a": {**disk_of(NBD), "firmware": "uefi", "state": "absent"}}])
def test_what_is_not_there_needs_nothing(vms: dict[str, Any]) -> None:
    assert requirements(vms) == {"routes": [], "kept": [], "uefi": False, "secure_boot": False, "tpm": False}


def test_firmware_and_a_tpm_are_needed_by_the_vms_that_have_them() -> None:
    needed = requirements({"a": {"firmware": "uefi", "secure_boot": True}, "b": {"tpm": True}})
    assert (needed["uefi"], needed["secure_boot"], needed["tpm"]) == (False, True, True)


def test_a_wrong_declaration_is_refused_with_all_its_errors() -> None:
    with pytest.raises(AnsibleFilterError) as raised:
        requirements({"a": {"cpus": 0}, "b": {"memory": "x"}})
    assert str(raised.value).split("\n") == [
        "vm a: cpus: 0 is less than 1",
        "vm b: memory: 'x' is not a size; write for example 20GiB",
    ]
