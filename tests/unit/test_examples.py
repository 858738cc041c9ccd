# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every example in YAML, of the documents and of the plugins, is read by the code that a run reads it with.

A declaration is held against the JSON schema, too.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ansible.modules
import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.parsing.dataloader import DataLoader

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import read_image
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.read_vm import read_vms
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.argument_spec import (
    argument_spec,
    declaration_of,
    disk_module_options,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.entries import read_entries
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.info_entries import read_info_entries
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.kinds import KINDS

jsonschema = pytest.importorskip("jsonschema")

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "qemu_vms.schema.json").read_text(encoding="utf-8"))
PREFIX = "directdisk.qemu."
DOCUMENTS = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("roles/*/README.md"))]
PLUGINS = sorted(path for path in ROOT.glob("plugins/*/*.py") if "EXAMPLES = " in path.read_text(encoding="utf-8"))
DISK_MODULES = {"qemu_remote_image": "image", "qemu_iscsi_disk": "lun", "qemu_rbd_disk": "rbd"}
BUILTIN = {path.stem for path in Path(ansible.modules.__path__[0]).glob("*.py")}
KEYWORDS = {"name", "register", "when", "failed_when", "changed_when", "become", "delegate_to", "loop", "vars"}
KEYWORDS |= {"ignore_errors", "run_once"}
"""Keywords of tasks that the examples use."""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def texts() -> Iterator[tuple[str, str]]:
    """Every example, with its place."""
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        for match in re.finditer(r"^( *)```yaml\n(.*?)^ *```$", text, re.M | re.S):
            line = text.count("\n", 0, match.start()) + 1
            yield f"{name_of(path)}:{line}", re.sub(f"^{match[1]}", "", match[2], flags=re.M)
    for path in PLUGINS:
        text = assigned(path, "EXAMPLES")
        yield name_of(path), text
        for number, play in enumerate(re.findall(r"^# (- hosts:.*(?:\n# .*)*)", text, re.M)):
            yield f"{name_of(path)}:play {number}", re.sub("^# ", "", play, flags=re.M)


def assigned(path: Path, name: str) -> str:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return next(
        str(ast.literal_eval(node.value))
        for node in body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name
    )


def filled(value: Any, place: str = "") -> Any:
    """Return a value with something that fits in the place of each template; two digits fit most options."""
    if isinstance(value, Mapping):
        return {key: filled(inner, f"{place}.{key}") for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, place) for inner in value]
    backend = BACKENDS.get(place.rpartition(".")[2])
    if backend and whole_template(value):
        return dict(backend.source.sample)
    return re.sub(r"\{\{.*?\}\}", lambda _match: fitting(place), value) if text(value) else value


def fitting(place: str) -> str:
    backend, name = ["", *place.split(".")][-2:]
    options = BACKENDS[backend].options if backend in BACKENDS else ()
    return next((option.like for option in options if option.name == name and option.secret), "00")


def text(value: Any) -> bool:
    return isinstance(value, str)


def whole_template(value: Any) -> bool:
    return text(value) and value.startswith("{{") and value.endswith("}}")


def documented(module: str) -> dict[str, Any]:
    """Return the argument spec of a module, from its documentation."""
    if module in DISK_MODULES:
        return argument_spec(disk_module_options(KINDS[DISK_MODULES[module]]))
    documentation = yaml.safe_load(assigned(ROOT / "plugins" / "modules" / f"{module}.py", "DOCUMENTATION"))
    return spec_of(documentation.get("options") or {})


def spec_of(options: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("type", "choices", "required", "elements", "default")
    return {
        name: {
            **{key: option[key] for key in kept if key in option},
            **({"options": spec_of(option["suboptions"])} if "suboptions" in option else {}),
        }
        for name, option in options.items()
    }


def check_schema(part: str, declared: Any) -> None:
    """Hold a declaration against a part of the schema: templates, too, as an editor does."""
    validator = jsonschema.Draft7Validator(
        {"$ref": f"#/{part}", **{k: SCHEMA[k] for k in ("definitions", "properties")}}
    )
    assert [error.message for error in validator.iter_errors(declared)] == []


def check_vms(declared: Any) -> None:
    check_schema("properties/qemu_vms", declared)
    assert read_vms(filled(declared))


def check_arguments(spec: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    assert set(arguments) <= set(spec)
    known = {name: one for name, one in arguments.items() if not whole_template(one)}
    left_to_run = {name for name in arguments if name not in known}
    result = ArgumentSpecValidator({k: v for k, v in spec.items() if k not in left_to_run}).validate(filled(known))
    assert result.error_messages == []


def check_module(module: str, arguments: Mapping[str, Any]) -> None:
    check_arguments(documented(module), arguments)
    known = (
        arguments.items() if module in DISK_MODULES else [(k, v) for k, v in arguments.items() if not whole_template(v)]
    )
    declared = filled(dict(known))
    if module == "qemu_vms" and "vms" in declared:
        check_vms(arguments["vms"])
    elif module == "qemu_disks" and "disks" in declared:
        read_entries(declared["disks"])
    elif module == "qemu_disks_info" and "disks" in declared:
        read_info_entries(declared["disks"])
    elif module in DISK_MODULES:
        run = {name: one for name, one in declared.items() if name in ("state", "monitor", "node")}
        read_entries([{**declaration_of(KINDS[DISK_MODULES[module]], declared), **run}])


def check_role(role: str, variables: Mapping[str, Any], part: str = "main") -> None:
    specs = yaml.safe_load((ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    check_arguments(spec_of(specs["argument_specs"][part]["options"]), variables)


def check_task(task: Mapping[str, Any]) -> None:
    (action,) = [key for key in task if "." in key]
    assert set(task) - {action} <= KEYWORDS
    for name in re.findall(rf"\| *{re.escape(PREFIX)}(\w+)", json.dumps(task)):
        assert (ROOT / "plugins" / "filter" / f"{name}.py").is_file()
    if action == "ansible.builtin.include_role":
        included = task[action]
        check_role(included["name"].removeprefix(PREFIX), task.get("vars", {}), included.get("tasks_from", "main"))
    elif action.startswith(PREFIX):
        check_module(action.removeprefix(PREFIX), task[action] or {})
    else:
        assert action.removeprefix("ansible.builtin.") in BUILTIN


def check_play(play: Mapping[str, Any]) -> None:
    roles = [{"role": role} if text(role) else role for role in play.get("roles", [])]
    for role in roles:
        own = {key: one for key, one in role.items() if key not in ("role", "tags", "when")}
        name = role["role"].removeprefix(PREFIX)
        check_role(name, {**{k: v for k, v in play.get("vars", {}).items() if k.startswith(name)}, **own})
    for task in play.get("tasks", []):
        check_task(task)
    if "qemu_vms" in play.get("vars", {}):
        check_vms(play["vars"]["qemu_vms"])
    assert roles or play.get("tasks") or play.get("vars")


def check_list(items: Sequence[Mapping[str, Any]]) -> None:
    for item in items:
        if "hosts" in item:
            check_play(item)
        elif "ansible.builtin.import_playbook" in item:
            name = item["ansible.builtin.import_playbook"].removeprefix(PREFIX)
            assert (ROOT / "playbooks" / f"{name}.yml").is_file()
        else:
            check_task(item)


def check_plugin_configuration(values: Mapping[str, Any]) -> None:
    path = ROOT / "plugins" / "inventory" / f"{values['plugin'].removeprefix(PREFIX)}.py"
    constructed = {"compose", "groups", "keyed_groups", "strict", "use_extra_vars", "leading_separator"}
    assert set(values) <= {*yaml.safe_load(assigned(path, "DOCUMENTATION"))["options"], *constructed}


def check_variables(variables: Mapping[str, Any], tmp_path: Path) -> str:
    """Check a mapping; return what it is."""
    if "plugin" in variables:
        check_plugin_configuration(variables)
        return "configuration of an inventory plugin"
    if all(isinstance(one, Mapping) and "hosts" in one for one in variables.values()):
        file = tmp_path / "hosts.yml"
        file.write_text(yaml.safe_dump(dict(variables)), encoding="utf-8")
        assert InventoryManager(loader=DataLoader(), sources=[str(file)]).get_hosts()
        return "inventory"
    if "qemu_vms" in variables:
        check_vms(variables["qemu_vms"])
        return "declaration"
    if "dependencies" in variables:
        assert variables["version"] == 3
        return "execution environment"
    if all(key.startswith("ansible_") for key in variables):
        return check_connection_variables(variables)
    role = next((path.name for path in ROOT.glob("roles/*") if all(key.startswith(path.name) for key in variables)), "")
    if role:
        check_role(role, variables)
        return "variables of a role"
    disks = variables["disks"] if set(variables) == {"disks"} else variables
    for name, one in disks.items():
        check_schema("definitions/disk", one)
        read_image(name, filled(one), f"disk {name}")
    return "disks"


def check_connection_variables(variables: Mapping[str, Any]) -> str:
    path = ROOT / "plugins" / "connection" / "guest_agent.py"
    options = yaml.safe_load(assigned(path, "DOCUMENTATION"))["options"].values()
    known = {variable["name"] for option in options for variable in option.get("vars", [])}
    assert set(variables) <= {"ansible_connection", *known}
    return "variables of a connection"


EXAMPLES = list(texts())


@pytest.mark.parametrize(("where", "example"), EXAMPLES, ids=[where for where, _example in EXAMPLES])
def test_an_example_is_read(where: str, example: str, tmp_path: Path) -> None:
    read = yaml.safe_load(example)
    if isinstance(read, list):
        check_list(read)
    else:
        assert check_variables(read, tmp_path)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_json_in_a_document_is_json(path: Path) -> None:
    for example in re.findall(r"^```json\n(.*?)^```$", path.read_text(encoding="utf-8"), re.M | re.S):
        json.loads(example)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_a_command_sets_variables_that_are_read(path: Path) -> None:
    readers = [*ROOT.glob("playbooks/*.yml"), *ROOT.glob("plugins/action/*.py")]
    readers += ROOT.glob("roles/*/meta/argument_specs.yml")
    known = "".join(one.read_text(encoding="utf-8") for one in readers)
    lines = re.findall(r"ansible-playbook [^\n`]*", path.read_text(encoding="utf-8"))
    names = {name for line in lines for name in re.findall(r"-e '?(\w+)=", line)}
    assert [name for name in sorted(names) if not re.search(rf"\b{name}\b", known)] == []


def test_examples_of_all_kinds_are_found() -> None:
    places = " ".join(where for where, _example in EXAMPLES)
    assert len(EXAMPLES) > 40
    assert all(word in places for word in ("docs/backends/", "roles/libnfs", "plugins/connection", "plugins/modules"))


def test_the_main_documents_show_a_declaration() -> None:
    shown = {where.partition(":")[0] for where, example in EXAMPLES if "qemu_vms:" in example}
    assert shown >= {"README.md", "docs/first-steps.md", "docs/declaration.md", "roles/qemu_vms/README.md"}


def test_the_scenario_for_ci_starts_before_there_is_a_lab() -> None:
    """A missing file of --extra-vars ends Ansible; a missing inventory is a warning."""
    scenario = yaml.safe_load((ROOT / "examples/molecule/default/molecule.yml").read_text(encoding="utf-8"))
    arguments = scenario["ansible"]["executor"]["args"]["ansible_playbook"]
    files = [argument.removeprefix("--extra-vars=@") for argument in arguments if "--extra-vars" in argument]
    assert files == ["${MOLECULE_SCENARIO_DIRECTORY}/vars/lab.yml"]
