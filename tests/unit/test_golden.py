# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declarations in, units and node graphs out, compared with what people have read and approved.

`scripts/test unit --update-golden` rewrites the expected files; read the diff as you would read the code.
"""

from __future__ import annotations

import json

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.read_vm import read_vms
from ansible_collections.directdisk.qemu.plugins.module_utils._units.compact_json import compact
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import host_plans, render
from ansible_collections.directdisk.qemu.tests.unit.support import (
    GOLDEN,
    HOST_NAME,
    HOSTS,
    Case,
    capabilities,
    golden_cases,
    nodes_of,
    plans_of,
)
from ansible_collections.directdisk.qemu.tests.unit.systemd_model import exec_words

CASES = golden_cases()


def rendered(case: Case) -> dict[str, str]:
    """The texts that a case makes, by the names of their files."""
    plans = plans_of(case)
    texts = {
        service.name: render.render_service(service, encrypted=capabilities(case.host).encrypts)
        for plan in plans
        for service in plan.services
    }
    graphs = [
        f"{compact(plan.vm.name)}: [{','.join(f'{chr(10)}  {compact(node)}' for node in nodes_of(plan))}\n]"
        for plan in plans
    ]
    texts["graph.json"] = "{{\n{}\n}}\n".format(",\n".join(graphs))
    texts["warnings.txt"] = "".join(f"{warning}\n" for plan in plans for warning in plan.warnings)
    return {name: text for name, text in texts.items() if text}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_declaration_makes_the_approved_units_and_graphs(case: Case, update_golden: bool) -> None:
    made = rendered(case)
    case.folder.mkdir(exist_ok=True)
    if update_golden:
        for path in case.folder.iterdir():
            if path.name not in made:
                path.unlink()
        for name, text in made.items():
            (case.folder / name).write_text(text, encoding="utf-8")
    expected = {path.name: path.read_text(encoding="utf-8") for path in case.folder.iterdir()}
    assert sorted(made) == sorted(expected)
    for name, text in made.items():
        assert text == expected[name], f"{case.folder / name}: changed; --update-golden rewrites it"


def test_there_is_no_golden_file_without_a_case(update_golden: bool) -> None:
    wanted = {case.folder for case in CASES}
    stale = [path for path in GOLDEN.glob("*/*/") if path.is_dir() and path not in wanted]
    if update_golden:
        for folder in stale:
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()
            if not any(folder.parent.iterdir()):
                folder.parent.rmdir()
        stale = []
    assert stale == []


def test_every_recorded_host_is_used() -> None:
    assert {path.stem for path in HOSTS.iterdir()} == {case.host for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_systemd_reads_back_exactly_the_planned_command_lines(case: Case) -> None:
    for plan in plans_of(case):
        for service in plan.services:
            text = render.render_service(service, encrypted=True)
            commands = exec_words(text)
            launcher = [service.launcher] if service.launcher else []
            assert commands["ExecStart"] == [[*launcher, *(word for group in service.args for word in group)]]
            assert commands.get("ExecStartPre", []) == [list(command.argv) for command in service.before]
            assert commands.get("ExecStopPost", []) == [list(command.argv) for command in service.after]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_no_secret_stands_in_a_unit(case: Case) -> None:
    texts = rendered(case)
    for credential, secret in host_plans.secrets_of(read_vms(case.vms, HOST_NAME)).items():
        for line in secret.splitlines():
            # Two-digit keys and the like stand everywhere by chance.
            if len(line) > 4:
                assert not [name for name, text in texts.items() if json.dumps(line)[1:-1] in text], credential
