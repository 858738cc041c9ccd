# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documents say what the code does: generated parts are current, links lead somewhere."""

from __future__ import annotations

import re
from dataclasses import fields
from importlib import import_module
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from ansible_collections.directdisk.qemu.plugins.filter.from_drive import from_drive
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.access import Access
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.adoption import Adoption
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.packages import Packages
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.source import Source
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.read_vm import read_vms

ROOT = Path(__file__).parents[2]
GENERATOR = ROOT / "scripts" / "generate-docs"
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("roles/*/README.md")),
]


def name_of(value: object) -> str:
    """A path within the checkout, for the names of tests."""
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else str(value)


@pytest.fixture(scope="module", name="generator")
def load_generator() -> ModuleType:
    """The script as a module: its name has no .py."""
    if not GENERATOR.is_file():
        pytest.skip("scripts/ is not here: the archive of the collection has none")
    loader = SourceFileLoader("generate_docs", str(GENERATOR))
    spec = spec_from_loader("generate_docs", loader)
    assert spec
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture(scope="module", name="words")
def load_words(generator: ModuleType) -> ModuleType:
    return import_module(f"{generator.COLLECTION}.scripts.documents.words")


def test_generated_parts_are_current(generator: ModuleType) -> None:
    stale, left = generator.changes(generator.generated())
    assert [name_of(path) for path in (*stale, *left)] == [], "run scripts/generate-docs"


def test_every_generated_part_stands_somewhere(generator: ModuleType) -> None:
    texts = "".join(path.read_text(encoding="utf-8") for path in generator.generated())
    placed = {match[2] for match in re.finditer(r"^ *(<!--|#) generated: (.*?)( -->)?$", texts, re.M)}
    assert placed == {*generator.BLOCKS, "variables"}


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("Needs O(cache=none).", "Needs `cache: none`."),
        ("As O(total), or V(auto).", "As `total`, or `auto`."),
        ("C(tcp:127.0.0.1:2222-:22) M(a.b.c)", "`tcp:127.0.0.1:2222-:22` `a.b.c`"),
        ("the filter P(a.b.c#filter)", "the filter `a.b.c`"),
        ("NOCLOUD(x) RBD", "NOCLOUD(x) RBD"),
    ],
)
def test_ansibles_markup_becomes_markdown(words: ModuleType, text: str, markdown: str) -> None:
    assert words.markdown(text) == markdown


def test_a_table_has_no_empty_column(words: ModuleType) -> None:
    made = words.table(("a", "b", "c"), [("1", "", "x|y"), ("", "", "z")])
    assert made == "| a | c |\n| --- | --- |\n| 1 | x\\|y |\n| | z |"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0"),
        (512, "512"),
        (1024, "1KiB"),
        (3 * 2**30, "3GiB"),
        (2**40 + 1, "1099511627777"),
    ],
)
def test_a_size_is_said_as_a_person_writes_it(words: ModuleType, size: int, text: str) -> None:
    assert words.size_words(size) == text


def test_the_files_of_the_first_steps_fit_together() -> None:
    """The inventory has the host whose variables are shown, and the playbook imports one of the collection."""
    text = (ROOT / "docs" / "first-steps.md").read_text(encoding="utf-8")
    files: dict[str, Any] = {}
    for name, content in re.findall(r"^```yaml\n# (\S+)\n(.*?)^```$", text, re.M | re.S):
        files.setdefault(name, yaml.safe_load(content))
    assert set(files) == {"inventory/hosts.yml", "inventory/host_vars/hv1.yml", "site.yml"}
    assert list(files["inventory/hosts.yml"]["hypervisors"]["hosts"]) == ["hv1"]
    vms = read_vms(files["inventory/host_vars/hv1.yml"]["qemu_vms"], "hv1")
    assert [vm.name for vm in vms if vm.seed] == ["web1"]
    [play] = files["site.yml"]
    assert play["ansible.builtin.import_playbook"] == "directdisk.qemu.site"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_a_command_in_a_document_names_a_playbook_or_module_that_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    playbooks = re.findall(r"ansible-playbook [^\n`]*?directdisk\.qemu\.(\w+)", text)
    modules = re.findall(r"ansible [^\n`]*?-m directdisk\.qemu\.(\w+)", text)
    wanted = [f"playbooks/{name}.yml" for name in playbooks] + [f"plugins/modules/{name}.py" for name in modules]
    assert [file for file in wanted if not (ROOT / file).is_file()] == []


def headings(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    lines = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", line).strip().lower().replace(" ", "-") for line in lines}


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_a_link_leads_somewhere(path: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", path.read_text(encoding="utf-8")):
        file = path.parent / target if target else path
        assert file.exists(), f"{name_of(path)}: {target} is not there"
        assert not anchor or anchor in headings(file), f"{name_of(path)}: {target} has no heading {anchor}"


@pytest.mark.parametrize("part", [Backend, Source, Access, Packages, Adoption])
def test_the_guide_to_a_new_backend_names_the_whole_contract(part: type[Any]) -> None:
    guide = (ROOT / "docs" / "new-backend.md").read_text(encoding="utf-8")
    assert [field.name for field in fields(part) if f"`{field.name}`" not in guide] == []


def test_the_unit_in_the_operations_guide_is_the_golden_one() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```ini\n# (\S+)\n(.*?)^```$", text, re.M | re.S)
    assert len(shown) == 1
    file, unit = shown[0]
    rest = iter((ROOT / file).read_text(encoding="utf-8").splitlines())
    # Each line shown, in the same order; looking a line up uses up those before it.
    missing = [line for line in unit.splitlines() if line and line.strip() != "..." and line not in rest]
    assert missing == []


@pytest.mark.parametrize("begin", ["<domain", "/usr/bin/kvm"])
def test_what_other_managers_show_becomes_the_declaration_that_is_shown(begin: str) -> None:
    text = (ROOT / "docs" / "libvirt-proxmox.md").read_text(encoding="utf-8")
    pairs = re.findall(r"^```(?:text|xml)\n(.*?)^```$.*?^```yaml\n(.*?)^```$", text, re.M | re.S)
    [(given, declared)] = [pair for pair in pairs if pair[0].startswith(begin)]
    converted = from_drive(given)
    assert {converted["name"]: converted["declaration"]} == yaml.safe_load(declared)["qemu_vms"]


NAMED = re.findall(r"`([\w.]+)` \(`(\w+/[\w/]+\.py)`\)", (ROOT / "docs" / "design.md").read_text(encoding="utf-8"))
"""What the design names together with its file."""


@pytest.mark.parametrize(("name", "path"), NAMED)
def test_what_the_design_names_is_in_its_file(name: str, path: str) -> None:
    sources = [file.read_text(encoding="utf-8") for file in ROOT.glob(f"plugins/**/{path}")]
    member = name.rpartition(".")[2]
    assert any(re.search(rf"^\s*((def|class) {member}\b|{member}\b *[:=])", source, re.MULTILINE) for source in sources)
