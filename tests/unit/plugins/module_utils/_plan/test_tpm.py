# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The TPM of a VM: its unit, and what becomes of it."""

from __future__ import annotations

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import CapabilityError
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.plan import make_plan
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.render import render_service
from ansible_collections.directdisk.qemu.tests.unit.support import NBD, capabilities, disk_of, vm

TPM = make_plan(vm({**disk_of(NBD), "tpm": True}), capabilities()).services
WITHOUT = make_plan(vm(disk_of(NBD)), capabilities()).services


def test_the_secrets_of_the_tpm_are_not_those_of_qemu() -> None:
    swtpm, qemu = TPM
    assert swtpm.user != qemu.user
    text = render_service(swtpm, encrypted=True)
    assert f"User={swtpm.user}\n" in text
    assert "StateDirectoryMode=0700\n" in text
    assert "\nPrivateDevices=yes\n" in text
    assert "RestrictAddressFamilies=AF_UNIX\n" in text
    assert "\nIPAddressDeny=any\n" in text


def test_the_tpm_runs_before_the_vm_and_ends_with_it() -> None:
    swtpm, qemu = TPM
    assert qemu.helpers == (swtpm.name,)
    text = render_service(swtpm, encrypted=True)
    assert f"PartOf={qemu.name}\nStopWhenUnneeded=yes\n" in text
    assert f"After=network-online.target {swtpm.name}\n" in render_service(qemu, encrypted=True)


def test_its_folder_belongs_to_the_vm_and_to_no_disk() -> None:
    (folder,) = (word[4:].split(",")[0] for group in TPM[0].args for word in group if word.startswith("dir="))
    assert folder.startswith("/var/lib/")
    # So it is listed by a purge, and kept by anything else.
    assert paths.vm_of_directory(folder.rpartition("/")[2]) == "web1"
    assert folder.endswith(".machine")


def test_a_vm_without_a_tpm_has_the_unit_that_it_had() -> None:
    (qemu,) = WITHOUT
    assert "tpm" not in render_service(qemu, encrypted=True)


def test_a_host_without_swtpm_runs_no_vm_with_a_tpm() -> None:
    lacking = capabilities(programs={})
    with pytest.raises(CapabilityError, match=r"^vm web1: tpm: this host has no swtpm; install swtpm"):
        make_plan(vm({**disk_of(NBD), "tpm": True}), lacking)
    assert make_plan(vm(disk_of(NBD)), lacking).services


@pytest.mark.parametrize(
    ("family", "launcher"), [("redhat", "/usr/bin/env "), ("fedora", "/usr/bin/env "), ("debian", "")]
)
def test_systemd_executes_what_the_policy_of_the_host_lets_it(family: str, launcher: str) -> None:
    for service in make_plan(vm({**disk_of(NBD), "tpm": True}), capabilities(family=family)).services:
        assert f"\nExecStart={launcher}{service.args[0][0]} " in render_service(service, encrypted=True)
