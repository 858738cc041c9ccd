# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What playbooks/adopt.yml prints is a declaration, whatever stands in a command line or a unit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from ansible.plugins.filter.core import to_nice_yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt import unit_file
from ansible_collections.directdisk.qemu.plugins.module_utils._host import unmanaged
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import render
from ansible_collections.directdisk.qemu.tests.unit.ansible_run import run_playbook, write_inventory
from ansible_collections.directdisk.qemu.tests.unit.real_parts import may_confine
from ansible_collections.directdisk.qemu.tests.unit.support import UNIT_TESTS

TEMPLATE = UNIT_TESTS.parents[1] / "playbooks" / "templates" / "adopted.yml.j2"


def printed(unmanaged: list[dict[str, Any]]) -> str:
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters["to_nice_yaml"] = to_nice_yaml
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(inventory_hostname="hv1", __adopt_observed={"unmanaged": unmanaged})


def vm(*words: str) -> dict[str, Any]:
    process = unmanaged.Process(name="unit")
    return unmanaged.as_declared(unmanaged.Start(["kvm", *words], process, "odd.service", 7), set())


def test_what_is_printed_is_the_declaration() -> None:
    odd = vm(
        *("-name", "a\n\u2028b", "-serial", "x\n  evil: {{ 1 }}\x85y"),
        *("-drive", "file=rbd:vms/aé:id=x:key=AAp4ss==,format=raw,if=virtio"),
    )
    text = printed([odd, vm("-M", "x\r\u2028: y")])
    assert yaml.safe_load(text) == {"qemu_vms": {"a-b": odd["declaration"]}}
    assert (
        "  # a-b: process 7, unit odd.service\n  # SECRET ansible-vault encrypt_string --name vault_a_b_disk_key"
        in text
    )
    assert "  # LEFT -serial x   evil: {{ 1 }} y: the console is a socket" in text
    assert "  # NOT DECLARED -machine: 'x" in text
    assert "p4ss" not in text


def test_a_host_without_vms_has_an_empty_declaration() -> None:
    assert yaml.safe_load(printed([])) == {"qemu_vms": {}}


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\t\n%$'\"\\; #")), max_size=4)
)
def test_a_unit_of_odd_words_is_read_as_it_was_written(words: list[str]) -> None:
    line = " ".join(render.word(word) for word in ["/bin/x", *words])
    assert unit_file.start_commands(f"ExecStart={line}\n") == [["/bin/x", *words]]


def test_hosts_are_written_if_the_first_one_has_nothing(tmp_path: Path) -> None:
    if not may_confine():
        pytest.skip("a host without processes requires namespaces")
    alone = tmp_path / "alone"
    alone.write_text(f'#!/bin/sh\nexec unshare --fork --pid --mount-proc {sys.executable} "$@"\n')
    alone.chmod(0o755)
    local = "ansible_connection: local, ansible_python_interpreter:"
    hosts = f'{{hv1: {{{local} "{alone}"}}, hv2: {{{local} "{sys.executable}"}}}}'
    write_inventory(tmp_path, {"hosts.yml": f"all: {{children: {{hypervisors: {{hosts: {hosts}}}}}}}\n"})
    with subprocess.Popen(["kvm", "600"], executable="/bin/sleep") as process:
        try:
            folder = tmp_path / "adopted"
            status, output = run_playbook(tmp_path, "directdisk.qemu.adopt", "-e", f"adopt_directory={folder}")
        finally:
            process.kill()
    assert status == 0, output
    assert [path.name for path in (folder / "host_vars").iterdir()] == ["hv2.yml"]
