# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""UEFI with and without Secure Boot: its variables, its arguments, and the firmware that is taken for it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._host import probe
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.plan import make_plan
from ansible_collections.directdisk.qemu.tests.unit.support import NBD, capabilities, disk_of, vm

SECURE: dict[str, Any] = {**disk_of(NBD), "firmware": "uefi", "secure_boot": True}
PLAIN: dict[str, Any] = {**disk_of(NBD), "firmware": "uefi"}


def unit(declared: dict[str, Any]) -> tuple[str, list[str]]:
    """The command line of a VM, and the commands before it."""
    service = make_plan(vm(declared), capabilities()).services[-1]
    return " ".join(word for group in service.args for word in group), [" ".join(one.argv) for one in service.before]


def test_secure_boot_never_starts_from_variables_without_keys() -> None:
    argv, before = unit(SECURE)
    assert (
        "/bin/cp --no-preserve=all -- /usr/share/OVMF/OVMF_VARS_4M.ms.fd /var/lib/qemu-vm-web1/uefi-vars-secure.fd.new"
        in before
    )
    assert '"filename":"/var/lib/qemu-vm-web1/uefi-vars-secure.fd"' in argv
    plain, before_plain = unit(PLAIN)
    assert "uefi-vars.fd" in plain and "secure" not in plain
    # What was enrolled or changed with one kind of firmware is neither used nor overwritten with the other.
    assert not any("uefi-vars.fd" in command for command in before)
    assert not any("secure" in command for command in before_plain)


def test_the_guest_cannot_write_the_variables_itself() -> None:
    argv, _before = unit(SECURE)
    assert ",smm=on" in argv
    assert "-global driver=cfi.pflash01,property=secure,value=on" in argv


def descriptor(*features: str, **mapping: Any) -> dict[str, Any]:
    image = {"filename": "/dev/null", "format": "raw"}
    return {
        "interface-types": ["uefi"],
        "features": ["acpi-s3", *features],
        "targets": [{"architecture": "x86_64", "machines": ["pc-q35-*"]}],
        "mapping": {"device": "flash", "executable": image, "nvram-template": image, **mapping},
    }


@pytest.mark.parametrize(
    ("features", "plain", "secure"),
    [
        ((), True, False),
        (("secure-boot", "requires-smm", "enrolled-keys"), False, True),
        # Firmware that has Secure Boot and no keys is in setup mode, and boots anything.
        (("secure-boot", "requires-smm"), False, False),
        # Without SMM, a guest writes its own keys.
        (("secure-boot", "enrolled-keys"), False, False),
    ],
)
def test_firmware_is_taken_by_its_features(features: tuple[str, ...], plain: bool, secure: bool) -> None:
    for wanted, found in ((False, plain), (True, secure)):
        assert (probe._read_firmware(descriptor(*features), secure_boot=wanted) is not None) is found
