# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates of a declaration that fail, in playbooks/site.yml."""

from __future__ import annotations

import json
from pathlib import Path

from ansible_collections.directdisk.qemu.tests.unit.ansible_run import run_playbook, write_inventory


def test_an_undefined_variable_is_named_with_its_vm_and_disk(tmp_path: Path) -> None:
    rbd = {"pool": "vms", "image": "{{ nothing }}", "key": "{{ vault_none }}", "monitors": ["{{ monitor }}"]}
    variables = {"monitor": "192.0.2.1", "qemu_vms": {"web1": {"disks": {"root": {"rbd": rbd}}}}}
    hosts = {"hv1": {**variables, "ansible_connection": "local", "ansible_become": False}}
    inventory = {"all": {"children": {"hypervisors": {"hosts": hosts}}}}
    write_inventory(tmp_path, {"hosts.yml": json.dumps(inventory)})
    status, output = run_playbook(tmp_path, "directdisk.qemu.site")
    assert status
    for line in (
        "hv1: disk root of web1: rbd: image: 'nothing' is undefined",
        "hv1: disk root of web1: rbd: key: 'vault_none' is undefined",
    ):
        assert line in output
    assert "monitor" not in output.replace("monitors", "")
