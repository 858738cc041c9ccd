# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shape: which room may import which, what is pure, who knows a backend, how long and many they are.

The rooms and their order are read from docs/design.md. Each rule is a function of the sources, so that a test can show
that it finds what it should.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.registry import ROUTES

ROOT = Path(__file__).parents[2]
PACKAGE = "ansible_collections.directdisk.qemu.plugins."
LONGEST_FILE, LONGEST_FUNCTION = 400, 50  # lines
MOST_ENTRIES, MOST_FILES = 16, 40  # at the top of module_utils, and in a room
PURE = {
    *("__future__", "base64", "binascii", "collections", "contextlib", "dataclasses", "difflib", "enum", "fractions"),
    *("functools", "hashlib", "html", "ipaddress", "itertools", "json", "math", "posixpath", "re"),
    *("types", "typing", "urllib.parse", "uuid", "xml.etree"),
}
"""Libraries without input and output. Others are refused: a list of those that have some would never be complete."""
CALLS_OUT = {"__import__", "breakpoint", "eval", "exec", "input", "open", "print"}
"""Functions of Python itself that a pure room does not call."""
KNOWS_BACKENDS = (
    "module_utils/_backends/",
    "module_utils/_image_plans/",
    "module_utils/_images/",
    "module_utils/_routes/nbdkit.py",  # QEMU reads from it as from any NBD server
    "module_utils/_routes/tgt.py",  # QEMU reads from it as from any iSCSI target
)
"""Where the name of a backend may stand: its own file or folder, in the words of docs/design.md."""
KNOWS_ROUTES = (
    "module_utils/_routes/",
    "module_utils/_backends/",
    "module_utils/_access/",
    "module_utils/_image_plans/image/",  # images that are kept in this host's cache, by route stage
    "module_utils/_images/image/",  # images that are kept in this host's cache, by route stage
    "module_utils/_host/probe.py",  # asks nbdkit what it can do
    "plugin_utils/_inventory/conflicts.py",  # two disks of a host may get the same loopback address for tgtd
)
ASKED_FOR = {"BACKENDS", "ROUTES", "backend", "backend_name", "image_kind", "route", "routes_for"}
"""Names of what holds a backend or a route: an expression with one of them has no name of one as text."""

_ABOUT_VMS = ("_adopt", "_metrics", "_declaration/read_vm.py", "_plan/plan.py", "_plan/changes.py", "_host/apply.py")
_KINDS = {"rbd", "lun", "image", "stores", "volume"}
SHIPS_NOT = {
    "qemu_info": ("_access", "_image_plans", "_images", "_plan/plan.py", "_plan/changes.py", "_host/apply.py"),
    "qemu_disks": _ABOUT_VMS,
    "qemu_disks_info": _ABOUT_VMS,
    **{
        module: (*_ABOUT_VMS, *(f"{room}/{kind}" for room in ("_image_plans", "_images") for kind in _KINDS - own))
        for module, own in (
            ("qemu_rbd_disk", {"rbd"}),
            ("qemu_iscsi_disk", {"lun", "volume"}),
            ("qemu_remote_image", {"image", "stores", "volume"}),
        )
    },
}
"""What modules do not need. Ansible reads and packs all that they import, also indirectly, in each run."""


@dataclass(frozen=True)
class Room:
    """A row of the table in docs/design.md."""

    path: str
    why: str

    @property
    def pure(self) -> bool:
        return self.why.startswith("pure")


@dataclass(frozen=True)
class Source:
    """A file below plugins/."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def module(self) -> str:
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @cached_property
    def import_statements(self) -> list[ast.Import | ast.ImportFrom]:
        """Also those for types alone, and those within a function."""
        return [node for node in ast.walk(self.tree) if isinstance(node, (ast.Import, ast.ImportFrom))]

    def imports(self, modules: Mapping[str, Source]) -> Iterator[str]:
        """Modules of the collection that it imports."""
        for node in self.import_statements:
            if isinstance(node, ast.Import):
                yield from (alias.name.removeprefix(PACKAGE) for alias in node.names if _is_own(alias.name))
            elif _is_own(self._origin(node)):
                module = self._origin(node).removeprefix(PACKAGE)
                for alias in node.names:
                    yield f"{module}.{alias.name}" if f"{module}.{alias.name}" in modules else module

    def libraries(self) -> Iterator[str]:
        """Modules of others that it imports."""
        for node in self.import_statements:
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names if not _is_own(alias.name))
            elif not _is_own(self._origin(node)):
                yield self._origin(node)

    @cached_property
    def texts_beside_names(self) -> list[tuple[set[str], int]]:
        """Constants in expressions that ask for a backend or route, each with its line."""
        found = []
        for node in ast.walk(self.tree):
            is_method = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            if is_method or isinstance(node, (ast.Compare, ast.Subscript)):
                inside = list(ast.walk(node))
                asked = {getattr(child, "attr", getattr(child, "id", "")) for child in inside}
                if asked & ASKED_FOR and "driver" not in asked:
                    constants = (child.value for child in inside if isinstance(child, ast.Constant))
                    found.append(({one for one in constants if isinstance(one, str)}, node.lineno))
        return found

    def _origin(self, node: ast.ImportFrom) -> str:
        """The module from which a statement imports, whose name may be relative."""
        if not node.level:
            return node.module or ""
        above = f"{PACKAGE}{self.path.replace('/', '.')}".split(".")[: -1 - node.level]
        return ".".join([*above, *([node.module] if node.module else [])])


def _is_own(module: str) -> bool:
    return module.startswith(PACKAGE)


def rooms_in(document: str) -> list[Room]:
    """The rooms, each above those that may import it."""
    rows = re.findall(r"^\| `((?:module|plugin)_utils/[^`]+)` \| [^|]+ \| ([^|]+) \|$", document, re.MULTILINE)
    return [Room(path, why) for path, why in rows]


ROOMS = rooms_in((ROOT / "docs" / "design.md").read_text(encoding="utf-8"))
SOURCES = [
    Source(str(path.relative_to(ROOT / "plugins")), path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "plugins").rglob("*.py"))
]


def room_of(source: Source) -> Room | None:
    return next((room for room in ROOMS if source.path == room.path or source.path.startswith(f"{room.path}/")), None)


def imports_upwards(sources: list[Source]) -> list[str]:
    """Imports against the order of the rooms."""
    modules = {source.module: source for source in sources}
    found = []
    for source in sources:
        room = room_of(source)
        for imported in source.imports(modules):
            other = room_of(modules[imported]) if imported in modules else None
            if room and other and ROOMS.index(other) > ROOMS.index(room):
                found.append(f"{source.path} imports {imported}")
    return found


def circles(sources: list[Source]) -> list[str]:
    """Files that import themselves, by way of others."""
    modules = {source.module: source for source in sources}
    above = {source.module: set(source.imports(modules)) & set(modules) for source in sources}
    left = dict(above)
    while True:
        leaves = [module for module, imported in left.items() if not imported & set(left) - {module}]
        if not leaves:
            return sorted(left)
        for module in leaves:
            del left[module]


def input_and_output(sources: list[Source]) -> list[str]:
    """What a pure room imports or calls that is not."""
    pure = [source for source in sources if (room := room_of(source)) and room.pure]
    imported = [f"{source.path} imports {name}" for source in pure for name in source.libraries() if not _is_pure(name)]
    called = [
        f"{source.path} calls {node.func.id}()"
        for source in pure
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS_OUT
    ]
    return imported + called


def _is_pure(library: str) -> bool:
    return any(library == name or library.startswith(f"{name}.") for name in PURE)


def names_out_of_place(sources: list[Source]) -> list[str]:
    """Questions for a backend or route by its name, and imports of one's file, where nobody should know it."""
    modules = {source.module: source for source in sources}
    found = []
    for source in sources:
        for names, places, folder in (
            (set(BACKENDS), KNOWS_BACKENDS, "module_utils._backends."),
            (set(ROUTES), KNOWS_ROUTES, "module_utils._routes."),
        ):
            if source.path.startswith(places):
                continue
            asked = ((name, line) for texts, line in source.texts_beside_names for name in sorted(texts & names))
            found += [f"{source.path}:{line} knows {name}" for name, line in asked]
            imported = (one.removeprefix(folder) for one in source.imports(modules) if one.startswith(folder))
            found += [f"{source.path} imports {one}" for one in imported if one.partition(".")[0] in names]
    return found


def ships_too_much(sources: list[Source]) -> list[str]:
    """What a module imports, and so brings to the host, and does not need there."""
    modules = {source.module: source for source in sources}
    found = []
    for module, needless in SHIPS_NOT.items():
        shipped, left = set[str](), [f"modules.{module}"]
        while left:
            one = left.pop()
            if one in modules and one not in shipped:
                shipped.add(one)
                left += modules[one].imports(modules)
        paths = (modules[one].path.removeprefix("module_utils/") for one in sorted(shipped))
        found += [f"{module} ships {path}" for path in paths if path.startswith(needless)]
    return found


def too_long(sources: list[Source]) -> list[str]:
    """Files and functions that nobody takes in at once."""
    found = []
    for source in sources:
        lines = source.text.count("\n")
        if lines > LONGEST_FILE:
            found.append(f"{source.path} has {lines} lines")
        for node in ast.walk(source.tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno:
                lines = node.end_lineno - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    found.append(f"{source.path}: {node.name}() has {lines} lines")
    return found


def too_many(sources: list[Source]) -> list[str]:
    """More rooms, or more files in a room, than a newcomer looks through."""
    top = {source.path.split("/")[1] for source in sources if source.path.startswith("module_utils/")}
    rooms = (room_of(source) for source in sources if source.text)  # most __init__.py are empty
    files = Counter(room.path for room in rooms if room)
    found = [f"{path} has {count} files" for path, count in files.items() if count > MOST_FILES]
    return [*found, f"module_utils has {len(top)} entries"] if len(top) > MOST_ENTRIES else found


RULES = (imports_upwards, circles, input_and_output, names_out_of_place, ships_too_much, too_long, too_many)


def test_every_file_is_in_a_room() -> None:
    assert len(ROOMS) > 10
    folders = ("module_utils/", "plugin_utils/")
    assert [source.path for source in SOURCES if source.path.startswith(folders) and not room_of(source)] == []
    assert [room.path for room in ROOMS if not (ROOT / "plugins" / room.path).exists()] == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.__name__))
def test_the_sources_keep_the_rules(rule: object) -> None:
    assert callable(rule)
    assert rule(SOURCES) == []


IMPORT = f"from {PACKAGE}module_utils."
BROKEN = {
    "upwards": (imports_upwards, {"module_utils/_options/read.py": f"{IMPORT}_host import probe"}),
    "by a whole name": (
        imports_upwards,
        {"module_utils/_options/read.py": f"import {PACKAGE}module_utils._host.probe"},
    ),
    "by a relative name": (imports_upwards, {"module_utils/_options/read.py": "from .._host import probe"}),
    "for types alone": (
        imports_upwards,
        {"module_utils/_plan/plan.py": f"if TYPE_CHECKING:\n    {IMPORT}_host.probe import probe"},
    ),
    "circle": (
        circles,
        {
            "module_utils/_plan/a.py": f"{IMPORT}_plan import b",
            "module_utils/_plan/b.py": f"def f():\n    {IMPORT}_plan.a import c",
        },
    ),
    "process in a pure room": (input_and_output, {"module_utils/_plan/plan.py": "import subprocess"}),
    "clock in a pure room": (input_and_output, {"module_utils/_adopt/texts.py": "from datetime import datetime"}),
    "file in a pure room": (input_and_output, {"module_utils/_plan/plan.py": "def f():\n    return open('/a')"}),
    "backend by name": (
        names_out_of_place,
        {"module_utils/_plan/plan.py": 'if disk.backend.name in ("rbd", "nfs"):\n    pass'},
    ),
    "backend by import of a part": (
        names_out_of_place,
        {"module_utils/_plan/plan.py": f"{IMPORT}_backends.rbd.ceph import user_of"},
    ),
    "backend by index": (names_out_of_place, {"module_utils/_adopt/texts.py": 'x = BACKENDS["iscsi"]'}),
    "backend by method": (
        names_out_of_place,
        {"module_utils/_plan/plan.py": 'x = {"rbd": 1}.get(disk.backend.name)'},
    ),
    "backend by import": (names_out_of_place, {"module_utils/_host/apply.py": f"{IMPORT}_backends import rbd"}),
    "route by name": (names_out_of_place, {"plugin_utils/_host_run/host_plans.py": 'x = planned.route == "nbdkit"'}),
    "route by import": (names_out_of_place, {"module_utils/_plan/plan.py": f"{IMPORT}_routes.stage import places_of"}),
    "needless file": (
        ships_too_much,
        {"module_utils/_images/module.py": f"from {PACKAGE}module_utils._declaration.read_vm import read_vms"},
    ),
    "long file": (too_long, {"module_utils/_plan/plan.py": "x = 1\n" * (LONGEST_FILE + 1)}),
    "many rooms": (too_many, {f"module_utils/_room{number}/a.py": "x = 1\n" for number in range(MOST_ENTRIES)}),
    "many files": (too_many, {f"module_utils/_plan/a{number}.py": "x = 1\n" for number in range(MOST_FILES)}),
    "long function": (too_long, {"action/qemu_vms.py": "def f():\n" + "    x = 1\n" * LONGEST_FUNCTION}),
}


@pytest.mark.parametrize("case", BROKEN)
def test_each_rule_finds_what_breaks_it(case: str) -> None:
    rule, files = BROKEN[case]
    changed = [source for source in SOURCES if source.path not in files]
    changed += [Source(path, text) for path, text in files.items()]
    assert set(rule(changed)) - set(rule(SOURCES)), f"{rule.__name__} finds nothing"
