# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for the whole repository, however many plugins and roles it has."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MODULES = sorted(path for path in ROOT.glob("plugins/modules/*.py") if path.stem != "__init__")
PLUGINS = sorted(ROOT.glob("plugins/filter/*.py")) + sorted(ROOT.glob("plugins/inventory/*.py"))
PLUGINS += sorted(ROOT.glob("plugins/connection/*.py"))
ON_HOSTS = sorted([*ROOT.glob("plugins/module*/**/*.py"), *ROOT.glob("roles/*/files/*.py")])
"""What hosts run, with Python 3.9 or later."""
ROLES = sorted(path for path in ROOT.glob("roles/*") if path.is_dir())


def assigned_texts(path: Path) -> dict[str, str]:
    """The module-level names that a file binds to a literal text."""
    return {
        target.id: node.value.value
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value.value, str)
    }


def test_the_action_group_lists_exactly_the_public_modules() -> None:
    runtime = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())
    public = [path.stem for path in MODULES if not path.stem.startswith("_")]
    assert public, "no modules found"
    assert runtime["action_groups"]["qemu"] == public


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_a_module_documents_itself(module: Path) -> None:
    texts = assigned_texts(module)
    for name in ("DOCUMENTATION", "EXAMPLES", "RETURN"):
        assert yaml.safe_load(texts.get(name, "")), f"{module.name}: {name} is missing or empty"


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_plugin_documents_itself(plugin: Path) -> None:
    texts = assigned_texts(plugin)
    for name in ("DOCUMENTATION", "EXAMPLES", *(["RETURN"] if plugin.parent.name == "filter" else [])):
        assert texts.get(name, "").strip(), f"{plugin.name}: {name} is missing or empty"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_a_module_has_a_unit_test(module: Path) -> None:
    name = f"test_{module.stem.lstrip('_')}.py"
    assert any(ROOT.glob(f"tests/unit/**/{name}")), f"no tests/unit/**/{name}"


def test_a_timeout_is_caught_as_python_3_9_raises_it() -> None:
    """There, neither socket.timeout nor concurrent.futures.TimeoutError is the built-in TimeoutError."""
    found = [
        f"{path}:{node.lineno}"
        for path in ON_HOSTS
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Name) and node.id == "TimeoutError"
    ]
    assert found == []


def test_digits_are_those_that_int_reads() -> None:
    """isdigit() is true for a superscript, too."""
    assert [str(path) for path in (ROOT / "plugins").rglob("*.py") if ".isdigit()" in path.read_text()] == []


def test_a_file_that_runs_programs_turns_the_rule_against_it_off() -> None:
    """ansible-core 2.20 and later ask for run_command() of a module, see _process/run.py; earlier ones do not."""
    runs = r"\b(subprocess\.(run|Popen|call|check_\w+|get\w*output)|os\.(system|popen|\w*spawn\w*))\("
    texts = {path: path.read_text() for path in ROOT.glob("plugins/module*/**/*.py")}
    running = [path for path, text in texts.items() if re.search(runs, text)]
    assert [path for path in running if "pylint: disable=ansible-bad-function" not in texts[path]] == []


@pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)
@pytest.mark.parametrize("needed", ["README.md", "meta/argument_specs.yml"])
def test_a_role_says_what_it_takes(role: Path, needed: str) -> None:
    assert (role / needed).is_file(), f"roles/{role.name}/{needed} is missing"
