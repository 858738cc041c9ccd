# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wrong values of the variables of roles and playbooks, and what people read about them."""

from __future__ import annotations

import json
from functools import reduce
from operator import getitem
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.action import ActionBase
from ansible.template import Templar

from ansible_collections.directdisk.qemu.plugins.action import fleet_plan, fleet_report
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.read_vm import read_vms
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.selection import missing
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.run_options import VARIABLES, read_run_options
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.scope import scope_of
from ansible_collections.directdisk.qemu.tests.unit.ansible_run import ROOT, as_template, run_playbook, write_inventory

NAMES: list[tuple[Any, str]] = [
    ([], "is empty; name VMs, or leave it out"),
    ({"web1": True}, "is a mapping; name VMs in a list or separated by commas"),
    *((value, "has an entry that is not a name; name VMs as text") for value in (True, ["web1", None], [["web1"]])),
]
EXACT_NAMES = [*NAMES, ("web*", "'web*' is not the name of a VM; name each VM in full")]
FLAGS: list[tuple[Any, str]] = [
    ("maybe", "'maybe' is neither true nor false"),
    ([1], "[1] is neither true nor false"),
]
NUMBERS: list[tuple[Any, str]] = [
    (value, f"'{value}' is not a whole number from 0 on") for value in ("x", -1, 1.5, [1], True)
]
WRONG = {
    "qemu_vms_only": NAMES,
    "qemu_vms_recreate": EXACT_NAMES,
    "qemu_vms_takeover": EXACT_NAMES,
    "qemu_vms_prune": FLAGS,
    "qemu_vms_restart": [
        ("sometimes", "'sometimes' is not one of declared, due"),
        ({"a": 1}, "{'a': 1} is not one of declared, due"),
    ],
    "qemu_vms_restart_serial": NUMBERS,
    "qemu_vms_restart_force": FLAGS,
}
DECLARATIONS = [
    ([1], "hv1: qemu_vms is not a mapping of VM names to VMs"),
    ("text", "hv1: qemu_vms is not a mapping of VM names to VMs"),
    ({"a b": {}}, "hv1: vm a b: its name is not 1 to 28 of the characters"),
    ({"web1": []}, "hv1: vm web1: a list given, not options (uuid, memory, "),
]


@pytest.mark.parametrize(
    ("variable", "value", "words"), [(name, *wrong) for name, values in WRONG.items() for wrong in values]
)
def test_a_wrong_variable_of_a_run_is_named_with_its_value(variable: str, value: Any, words: str) -> None:
    option = next(option for option, name in VARIABLES.items() if name == variable)
    with pytest.raises(DirectDiskError) as error:
        read_run_options({option: value})
    assert str(error.value) == f"qemu_vms: {option} ({variable}): {words}"


def test_every_variable_of_the_role_is_checked_and_reaches_its_option() -> None:
    role = ROOT / "roles/qemu_vms"
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    assert set(WRONG) == set(specs) - {"qemu_vms"}
    for name, task in (("look.yml", 0), ("changes.yml", 1)):
        options = yaml.safe_load((role / "tasks" / name).read_text())[task]["directdisk.qemu.qemu_vms"]
        passed = {option: value for option, value in options.items() if "qemu_vms_" in value and "__" not in value}
        assert passed == {option: f"{{{{ {variable} | default(omit) }}}}" for option, variable in VARIABLES.items()}


@pytest.mark.parametrize(("declaration", "words"), DECLARATIONS)
def test_a_declaration_that_is_none_is_named_with_its_host(declaration: Any, words: str) -> None:
    with pytest.raises(DirectDiskError) as error:
        read_vms(declaration, "hv1")
    assert str(error.value).startswith(words)


def test_names_that_no_vm_has_are_known_after_all_hosts_were_asked() -> None:
    names = {"only_vms": ["nosuch"], "recreate": ["web2"], "takeover": ["web3"]}
    scope = scope_of(read_vms({"web1": {}}, "hv1"), read_run_options(names))
    assert scope.unmatched == names


@pytest.mark.parametrize(
    ("requires", "words"),
    [
        ({"routes": [{"backend": "rdb", "route": "auto"}]}, "requires: there is no backend 'rdb' (there are: "),
        ({"kept": ["rdb"]}, "requires: there is no backend 'rdb' (there are: "),
        (
            {"routes": [{"backend": "nfs", "route": "mount"}]},
            "requires: nfs has no route 'mount' (there are: auto, driver",
        ),
    ],
)
def test_wrong_requirements_of_a_host_are_named(requires: dict[str, Any], words: str) -> None:
    with pytest.raises(DirectDiskError) as error:
        missing(requires, Capabilities(emulator="/usr/bin/qemu-system-x86_64", family="debian"))
    assert str(error.value).startswith(words)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("qemu_vms_serial", [1, "0%"], '[1, "0%"] is not a number of hosts, a share such as 20% or a list of these'),
        ("qemu_vms_max_fail_percentage", 101, "is not a number from 0 to 100"),
    ],
)
def test_a_wrong_size_of_batches_is_named(tmp_path: Path, variable: str, value: Any, words: str) -> None:
    write_inventory(tmp_path, {"hosts.yml": "all: {children: {hypervisors: {hosts: {hv1: }}}}"})
    wrong = json.dumps({variable: value})
    status, output = run_playbook(tmp_path, "directdisk.qemu.site", "-e", wrong)
    assert status != 0
    assert f"{variable}: " in output
    assert words in output
    assert "TASK" not in output


def template_of_play(playbook: str, number: int, variables: dict[str, Any], *path: str) -> Any:
    """Evaluate a template of a playbook, with the variables of its play and these."""
    play = yaml.safe_load((ROOT / "playbooks" / f"{playbook}.yml").read_text(encoding="utf-8"))[number]
    own = {name: as_template(value) for name, value in play.get("vars", {}).items()}
    templar = Templar(loader=DataLoader(), variables={**own, **variables})
    return as_number(templar.template(as_template(reduce(getitem, path, play))))


def as_number(value: Any) -> Any:
    """Return the number that a text consists of: with ansible-core before 2.19, a template gives text."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


@pytest.mark.parametrize(
    ("value", "right"),
    [
        *((value, True) for value in (1, "20", "1%", "100%", [1, "50%"])),
        *(
            (value, False)
            for value in (0, "0", "0%", "101%", -1, 1.5, True, None, "", [], [None], [1, None], [1, 0], {"a": 1})
        ),
    ],
)
def test_batches_are_numbers_and_shares(value: Any, right: bool) -> None:
    assert template_of_play("site", 0, {"qemu_vms_serial": value}, "vars", "__right_serial") is right
    if right:
        assert template_of_play("site", 0, {"qemu_vms_serial": value}, "serial") == as_number(value)


def test_the_run_ends_after_as_many_failed_hosts_as_are_set() -> None:
    assert template_of_play("site", 0, {"qemu_vms_max_fail_percentage": 5}, "max_fail_percentage") == 5


@pytest.mark.parametrize(
    ("playbook", "play", "path"),
    [
        *((name, 0, ("hosts",)) for name in ("site", "plan", "report", "adopt")),
        ("plan", 1, ("vars", "__plan_hosts")),
        ("site", 0, ("serial",)),
        ("site", 0, ("max_fail_percentage",)),
    ],
)
def test_a_variable_whose_template_fails_does_not_become_all_hosts(playbook: str, play: int, path: tuple[str]) -> None:
    names = ("qemu_vms_hosts", "qemu_vms_serial", "qemu_vms_max_fail_percentage")
    variables = {name: as_template("{{ nope }}") for name in names}
    with pytest.raises(AnsibleError, match="nope"):
        template_of_play(playbook, play, {**variables, "plan_ask_hosts": True}, *path)
    assert template_of_play(playbook, play, {"plan_ask_hosts": True}, *path) in ("hypervisors", "all", "100%", 100)


@pytest.mark.parametrize(
    ("action", "arguments", "words"),
    [
        (fleet_plan, {"hosts": []}, "hosts (qemu_vms_hosts): no host of the inventory matches"),
        *(
            (
                fleet_report,
                {"hosts": [], "answers": "", "path": path},
                f"path (report): {path!r} is not the name of a file",
            )
            for path in (["x"], True, None, "")
        ),
    ],
)
def test_a_wrong_option_of_a_playbook_is_named(
    monkeypatch: pytest.MonkeyPatch, action: ModuleType, arguments: dict[str, Any], words: str
) -> None:
    monkeypatch.setattr(ActionBase, "run", lambda self, tmp=None, task_vars=None: {})
    one = action.ActionModule(MagicMock(args=arguments, check_mode=True), *[MagicMock() for _argument in range(5)])
    result = one.run(task_vars={"hostvars": {}})
    assert result["failed"] is True
    assert result["msg"].startswith(words)


@pytest.mark.parametrize("role", ["metrics", "storage_client"])
def test_a_declaration_whose_template_fails_does_not_become_an_empty_one(role: str) -> None:
    folder = ROOT / "roles" / role
    defaults = yaml.safe_load((folder / "defaults/main.yml").read_text(encoding="utf-8"))
    own = {name: as_template(value) if isinstance(value, str) else value for name, value in defaults.items()}
    variables = {"inventory_hostname": "hv1", **own, "qemu_vms": as_template("{{ nope }}")}
    templar = Templar(loader=DataLoader(), variables=variables)
    (template,) = [value for name, value in own.items() if name in ("metrics_declared", "storage_client_requires")]
    with pytest.raises(AnsibleError, match=r"nope|not a mapping"):
        templar.template(template)
