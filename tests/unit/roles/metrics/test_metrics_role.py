# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program of role metrics as its template makes it, and the examples that are shipped with it."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.directdisk.qemu.plugins.module_utils._metrics.exposition import FAMILIES
from ansible_collections.directdisk.qemu.tests.unit.ansible_run import as_template

ROLE = Path(__file__).parents[4] / "roles" / "metrics"
MODULE_UTILS = ROLE.parents[1] / "plugins" / "module_utils"
PACKAGE = "ansible_collections.directdisk.qemu.plugins.module_utils."
NAMES = {family.name for family in FAMILIES}


def variables() -> dict[str, Any]:
    found = {"role_path": str(ROLE)}
    for folder in ("defaults", "vars"):
        found.update(yaml.safe_load((ROLE / folder / "main.yml").read_text(encoding="utf-8")))
    return found


def test_the_program_has_all_that_it_imports_in_the_right_order() -> None:
    """It runs where Ansible and the collection are not installed."""
    modules = variables()["__metrics_modules"]
    for number, name in enumerate(modules):
        tree = ast.parse((MODULE_UTILS / f"{name}.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE[:-1]):
                module = (node.module or "").removeprefix(PACKAGE).replace(".", "/")
                needed = {module} if "/" in module or module in modules else set()
                needed = needed if module in modules else {f"{module}/{alias.name}" for alias in node.names}
                assert needed <= set(modules[:number]), f"{name} imports {needed}"


def test_the_program_runs_without_ansible(tmp_path: Path) -> None:
    templar = Templar(loader=DataLoader(), variables=variables())
    text = templar.template(as_template((ROLE / "templates" / "program.py.j2").read_text(encoding="utf-8")))
    program, settings, target = tmp_path / "program.py", tmp_path / "settings.json", tmp_path / "qemu_vms.prom"
    program.write_text(text, encoding="utf-8")
    settings.write_text(json.dumps({"path": str(target), "seconds": 1, "details": False, "declared": []}))
    subprocess.run([sys.executable, "-IS", str(program), str(settings)], check=True, cwd="/")
    assert "# TYPE qemu_metrics_collection_success gauge\n" in target.read_text()


@pytest.mark.parametrize(
    ("vms", "declared"),
    [
        ({"b": {}, "a": None, "gone": {"state": "absent"}, "off": {"state": "stopped"}}, ["a", "b", "off"]),
        ({}, []),
        (None, []),
    ],
)
def test_a_vm_that_is_to_be_removed_is_not_declared(vms: object, declared: list[str]) -> None:
    found = variables()
    found.update(
        qemu_vms=vms,
        **{name: as_template(found[name]) for name in ("__metrics_absent", "metrics_declared")},
    )
    templar = Templar(loader=DataLoader(), variables=found)
    assert sorted(templar.template(found["metrics_declared"])) == declared


@pytest.mark.parametrize(
    ("value", "accepted"),
    [
        ("/var/lib/prometheus/node-exporter", True),
        ("/srv/my.metrics+1/", True),
        ("metrics", False),
        ("/var/lib/../../etc", False),
        ("/srv/./metrics", False),
        ("/srv/a b", False),
        ("/srv/a\nReadWritePaths=/", False),
        ("/srv/a\n", False),
        ("/srv/%h", False),
        ("/", False),
        ("", False),
    ],
)
def test_the_folder_of_the_metrics_is_a_path_that_a_unit_can_name(value: str, accepted: bool) -> None:
    check = yaml.safe_load((ROLE / "tasks" / "main.yml").read_text(encoding="utf-8"))[0]
    (condition,) = [one["that"] for one in check["loop"] if one["that"].startswith("metrics_directory ")]
    templar = Templar(loader=DataLoader(), variables={"metrics_directory": value})
    assert templar.template(as_template(f"{{{{ {condition} }}}}")) is accepted


@pytest.mark.parametrize(("value", "details"), [("false", False), ("yes", True), (True, True)])
def test_a_truth_value_may_be_the_text_that_e_passes(value: object, details: bool) -> None:
    found = {**variables(), "metrics_disk_details": value, "metrics_declared": ["web1"]}
    text = (ROLE / "templates" / "settings.json.j2").read_text(encoding="utf-8")
    settings = Templar(loader=DataLoader(), variables=found).template(as_template(text))
    assert (json.loads(settings) if isinstance(settings, str) else settings)["details"] is details


def test_the_defaults_are_those_of_the_specification() -> None:
    options = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text(encoding="utf-8"))
    specified = options["argument_specs"]["main"]["options"]
    del defaults["qemu_vms"]  # role qemu_vms specifies the declaration
    assert set(defaults) == set(specified)
    del defaults["metrics_declared"]  # a template
    assert defaults == {name: option["default"] for name, option in specified.items() if "default" in option}


def expressions() -> list[str]:
    rules = yaml.safe_load((ROLE / "files" / "alerts.yml").read_text(encoding="utf-8"))
    board = json.loads((ROLE / "files" / "grafana.json").read_text(encoding="utf-8"))
    found = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    found += [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return found + [one["definition"] for one in board["templating"]["list"] if "definition" in one]


@pytest.mark.parametrize("expression", expressions())
def test_an_example_asks_for_metrics_and_labels_that_there_are(expression: str) -> None:
    names = set(re.findall(r"\bqemu_[a-z_]+", expression))
    assert names and names <= NAMES
    labels = {label for family in FAMILIES if family.name in names for label in family.labels}
    used = re.findall(r"[{,](\w+)[=!]~?", expression)
    assert set(used) <= labels | {"instance"}


def test_an_alert_says_what_and_where() -> None:
    rules = yaml.safe_load((ROLE / "files" / "alerts.yml").read_text(encoding="utf-8"))
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert "$labels." in rule["annotations"]["summary"]
