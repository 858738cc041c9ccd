# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Example inventories, the execution environment, and the files for contributors."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.vars.manager import VariableManager

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.read_vm import read_vms
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.action import plain

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/hosts.yml"))


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: folder.name)
def test_an_example_inventory_is_read(folder: Path) -> None:
    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=[str(folder)])
    variables = VariableManager(loader=loader, inventory=inventory)
    hosts = inventory.get_hosts("hypervisors")
    assert hosts
    for host in hosts:
        templar = Templar(loader=loader, variables=variables.get_vars(host=host))
        assert read_vms(plain(templar.template(variables.get_vars(host=host)["qemu_vms"])), host.name)
    assert f"[{folder.name}]({folder.name})" in (ROOT / "examples" / "README.md").read_text(encoding="utf-8")


def test_an_execution_environment_gets_what_the_controller_needs() -> None:
    files = read_yaml(ROOT / "meta" / "execution-environment.yml")["dependencies"]
    python = (ROOT / files["python"]).read_text(encoding="utf-8")
    assert re.findall(r"^\w+", python, re.M) == ["jmespath"]
    assert "openssh-client" in (ROOT / files["system"]).read_text(encoding="utf-8")


@pytest.mark.skipif(
    not (ROOT / "galaxy.yml").exists(), reason="an installed collection has none, nor has ansible-test here"
)
def test_the_archive_has_the_files_of_an_execution_environment() -> None:
    files = read_yaml(ROOT / "meta" / "execution-environment.yml")["dependencies"]
    ignored = read_yaml(ROOT / "galaxy.yml")["build_ignore"]
    assert not {"meta", "examples", *files.values()} & set(ignored)


def test_the_archive_has_the_lab_for_the_scenario_of_the_examples() -> None:
    if not (ROOT / "galaxy.yml").exists():
        pytest.skip("an installed collection has none, nor has ansible-test here")
    ignored = read_yaml(ROOT / "galaxy.yml")["build_ignore"]
    names = [path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").iterdir() if path.name != "__pycache__"]
    kept = [name for name in ("tests", *names) if not any(fnmatch(name, pattern) for pattern in ignored)]
    assert kept == ["tests", "tests/lab"]


def test_the_scenario_of_the_examples_fits_an_example_inventory() -> None:
    """Its file replaces what the inventory has for its storage."""
    lab = read_yaml(ROOT / "examples" / "molecule" / "default" / "vars" / "lab.yml")
    fleet = read_yaml(ROOT / "examples" / "ceph-fleet" / "group_vars" / "hypervisors" / "fleet.yml")
    assert set(lab["ceph"]) == set(fleet["ceph"])
    sequence = read_yaml(ROOT / "examples" / "molecule" / "default" / "molecule.yml")["scenario"]["test_sequence"]
    assert [step for step in sequence if step != "idempotence" and not _playbook(step).is_file()] == []


def _playbook(step: str) -> Path:
    return ROOT / "examples" / "molecule" / "default" / f"{step}.yml"


def test_every_part_of_the_tests_runs_in_hosted_ci() -> None:
    jobs = read_yaml(ROOT / ".github" / "workflows" / "test.yml")["jobs"]
    parts = [part for job in jobs.values() for part in job["strategy"]["matrix"].get("part", ())]
    listed = re.search(r"^PARTS=\((.*)\)$", (ROOT / "scripts" / "test").read_text(encoding="utf-8"), re.M)
    assert listed and sorted(parts) == sorted(listed[1].split())


@pytest.mark.skipif((ROOT / "changelogs" / "changelog.yaml").exists(), reason="there is a release")
def test_nothing_that_was_never_released_is_repaired() -> None:
    fragments = (ROOT / "changelogs" / "fragments").glob("*.yml")
    assert [path.name for path in fragments if "bugfixes" in read_yaml(path)] == []


@pytest.mark.parametrize("path", sorted((ROOT / "roles").glob("*/templates/*service.j2")), ids=lambda path: path.name)
def test_no_service_has_a_limit_of_starts(path: Path) -> None:
    """A VM restarted by hand a few times in a row would end without its helpers (systemd's limit: 5 starts in 10 s)."""
    assert "\nStartLimitIntervalSec=0\n" in path.read_text(encoding="utf-8")
