# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Holds values against a recorded answer of query-qmp-schema (QEMU, qapi/introspect.json).

The recordings in schemas/ are trimmed to what the argument of blockdev-add needs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

Version = tuple[int, int]

SCHEMAS = Path(__file__).parent / "schemas"
_BUILTINS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "int": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "object": (dict,),
    "array": (list,),
}


class Schema:
    """The types of one QEMU."""

    def __init__(self, recorded: Mapping[str, Any]) -> None:
        major, minor = recorded["qemu"].split(".")
        self.version: Version = (int(major), int(minor))
        self._types = {entry["name"]: entry for entry in recorded["types"]}
        self._node = self._types[recorded["blockdev-add"]]

    def __str__(self) -> str:
        return f"QEMU {self.version[0]}.{self.version[1]}"

    @property
    def drivers(self) -> set[str]:
        """The block drivers that this QEMU knows by name."""
        driver = next(member for member in self._node["members"] if member["name"] == self._node["tag"])
        return set(self._types[driver["type"]]["values"])

    @property
    def common_members(self) -> set[str]:
        """The members that every node has, whatever its driver."""
        return {member["name"] for member in self._node["members"]}

    def driver_members(self, driver: str) -> set[str]:
        """The members that only nodes of this driver have."""
        return set(self._members(self._node, {"driver": driver})) - self.common_members

    def node_errors(self, node: Any) -> list[str]:
        """Why blockdev-add would refuse a node before it looks at any storage; empty where it fits."""
        return list(self._errors(self._node, node, ""))

    def _errors(self, kind: Mapping[str, Any], value: Any, where: str) -> Iterator[str]:
        meta = kind["meta-type"]
        if meta == "builtin":
            wanted = kind["json-type"]
            fits = wanted == "value" or type(value) in _BUILTINS[wanted]
            if not fits:
                yield f"{where}: {value!r} is no {wanted}"
        elif meta == "enum":
            if value not in kind["values"]:
                yield f"{where}: {value!r} is not in the enumeration"
        elif meta == "array":
            if isinstance(value, list):
                for number, element in enumerate(value):
                    yield from self._errors(self._types[kind["element-type"]], element, f"{where}[{number}]")
            else:
                yield f"{where}: {value!r} is no array"
        elif meta == "alternate":
            branches = [list(self._errors(self._types[m["type"]], value, where)) for m in kind["members"]]
            if all(branches):
                yield min(branches, key=len)[0]
        elif isinstance(value, dict):
            yield from self._object_errors(kind, value, where)
        else:
            yield f"{where}: {value!r} is no object"

    def _object_errors(self, kind: Mapping[str, Any], value: Mapping[str, Any], where: str) -> Iterator[str]:
        members = self._members(kind, value)
        for name in value:
            if name in members:
                yield from self._errors(self._types[members[name]["type"]], value[name], f"{where}.{name}")
            else:
                yield f"{where}.{name}: is unexpected"
        yield from (
            f"{where}.{name}: is missing" for name, m in members.items() if "default" not in m and name not in value
        )

    def _members(self, kind: Mapping[str, Any], value: Mapping[str, Any]) -> dict[str, Any]:
        """The members of an object, with those of the variant that its tag chooses."""
        members = {member["name"]: member for member in kind["members"]}
        if "tag" in kind:
            chosen = value.get(kind["tag"])
            for variant in kind["variants"]:
                if variant["case"] == chosen:
                    members.update(self._members(self._types[variant["type"]], value))
        return members


@lru_cache(maxsize=1)
def schemas() -> tuple[Schema, ...]:
    """The recorded schemas, oldest first."""
    found = [Schema(json.loads(path.read_text(encoding="utf-8"))) for path in SCHEMAS.glob("*.json")]
    return tuple(sorted(found, key=lambda schema: schema.version))
