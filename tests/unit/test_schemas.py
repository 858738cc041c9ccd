# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every node and every option, held against the recorded schemas of QEMU 5.2, 7.2, 10.0 and 11.1."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option
from ansible_collections.directdisk.qemu.tests.unit.qapi import Schema, Version, schemas
from ansible_collections.directdisk.qemu.tests.unit.support import golden_nodes

NODES = list(golden_nodes())
each_schema = pytest.mark.parametrize("schema", schemas(), ids=str)
each_backend = pytest.mark.parametrize("backend", BACKENDS.values(), ids=lambda backend: backend.name)
DRIVEN = [backend for backend in BACKENDS.values() if backend.access.driver]
each_driven_backend = pytest.mark.parametrize("backend", DRIVEN, ids=lambda backend: backend.name)

BUILT_SINCE: dict[str, dict[str, Version]] = {"nbd": {"tls-hostname": (7, 0)}, "rbd": {"encrypt": (6, 1)}}
"""Members that a backend builds itself, and that not every QEMU has."""

VALUES_SINCE: dict[str, Version] = {
    ".host-key-check.type: 'sha256' is not in the enumeration": (7, 0),
    ".encrypt.format: 'luks-any' is not in the enumeration": (8, 0),
    ".encrypt.key-secret: is unexpected": (8, 0),
    ".encrypt.parent: is unexpected": (8, 0),
}
"""What an older QEMU says to values that it does not know."""


def gone(driver: str, version: Version) -> bool:
    """Whether a QEMU has a driver no more, as its backend says."""
    until = next((backend.access.driver_until for backend in DRIVEN if backend.access.driver == driver), None)
    return until is not None and version >= until


def handled_members(options: Iterable[Option]) -> set[str]:
    """Names of the QAPI members that a table of options can produce."""
    return {f"{option.qemu}-secret" if option.secret else option.qemu for option in options if option.qemu}


def skip_without(driver: str, schema: Schema) -> None:
    if driver not in schema.drivers:
        pytest.skip(f"{schema} has no driver {driver} any more")


def since(driver: str) -> dict[str, Version]:
    """The members of a driver that not every QEMU has."""
    options: Iterable[Option] = next((b.options for b in BACKENDS.values() if b.access.driver == driver), ())
    return {**BUILT_SINCE.get(driver, {}), **{o.qemu: o.since for o in options if o.qemu and o.since}}


def needed(node: Node) -> Version:
    """The first QEMU that takes a node."""
    driver = str(node["driver"])
    errors = {error for schema in schemas() if driver in schema.drivers for error in schema.node_errors(node)}
    late = [first for member, first in since(driver).items() if member in node]
    return max([(0, 0), *late, *(VALUES_SINCE[error] for error in errors & set(VALUES_SINCE))])


def own_members(driver: str, schema: Schema) -> set[str]:
    """The members that golden nodes of a driver have, without the common ones."""
    return {key for _name, node in NODES if node["driver"] == driver for key in node} - schema.common_members


def test_the_four_recordings_are_there() -> None:
    assert [schema.version for schema in schemas()] == [(5, 2), (7, 2), (10, 0), (11, 1)]


@each_schema
@pytest.mark.parametrize(
    ("node", "error"),
    [
        ({}, ".driver: is missing"),
        ({"driver": "none"}, ".driver: 'none' is not in the enumeration"),
        ({"driver": "file"}, ".filename: is missing"),
        ({"driver": "file", "filename": 1}, ".filename: 1 is no string"),
        ({"driver": "file", "filename": "/a", "read-only": "on"}, ".read-only: 'on' is no boolean"),
        ({"driver": "file", "filename": "/a", "url": "x"}, ".url: is unexpected"),
        ({"driver": "raw", "file": "a", "offset": True}, ".offset: True is no int"),
        ({"driver": "raw", "file": {"driver": "file"}}, ".file.filename: is missing"),
        ({"driver": "nbd", "server": {"type": "inet", "host": "h", "port": 1}}, ".server.port: 1 is no string"),
        ({"driver": "gluster", "volume": "v", "path": "p", "server": {}}, ".server: {} is no array"),
        ({"driver": "qcow2", "file": "a", "backing": None}, ""),
        ({"driver": "qcow2", "file": "a", "backing": 1}, ".backing: 1 is no object"),
    ],
)
def test_the_validator_sees_what_does_not_fit(schema: Schema, node: dict[str, object], error: str) -> None:
    if node.get("driver", "file") in schema.drivers or error.startswith(".driver"):
        assert error in [*schema.node_errors(node), *([] if error else [""])]
        assert error or not schema.node_errors(node)


@each_schema
def test_every_golden_node_fits_but_for_what_a_later_qemu_brings(schema: Schema) -> None:
    for name, node in NODES:
        if node["driver"] not in schema.drivers:
            assert any(node["driver"] in other.drivers for other in schemas())
            continue
        late = since(str(node["driver"]))
        newer = [key for key in node if key in late and schema.version < late[key]]
        errors = [e for e in schema.node_errors(node) if schema.version >= VALUES_SINCE.get(e, (0, 0))]
        assert errors == [f".{key}: is unexpected" for key in newer], name


@each_schema
@each_driven_backend
def test_a_driver_is_there_until_the_version_that_its_backend_says(schema: Schema, backend: Backend) -> None:
    assert (backend.access.driver in schema.drivers) != gone(backend.access.driver, schema.version)


@each_schema
@each_driven_backend
def test_the_probe_offers_a_node_that_fits(schema: Schema, backend: Backend) -> None:
    skip_without(backend.access.driver, schema)
    assert schema.node_errors(backend.access.node(backend.source.sample, UnitResources("", "probe", ""))) == []


@each_schema
@each_driven_backend
def test_every_member_of_a_driver_is_exposed_or_left_out_for_a_reason(schema: Schema, backend: Backend) -> None:
    skip_without(backend.access.driver, schema)
    accounted = (
        handled_members(backend.options) | own_members(backend.access.driver, schema) | set(backend.access.unhandled)
    )
    assert schema.driver_members(backend.access.driver) - accounted == set()


@each_backend
def test_no_member_is_both_exposed_and_left_out(backend: Backend) -> None:
    assert handled_members(backend.options) & set(backend.access.unhandled) == set()
    assert all(reason.strip() for reason in backend.access.unhandled.values())


@each_driven_backend
def test_every_member_named_exists_in_some_schema(backend: Backend) -> None:
    known = set().union(*(schema.driver_members(backend.access.driver) for schema in schemas()))
    assert (handled_members(backend.options) | set(backend.access.unhandled)) - known == set()


@each_schema
@each_driven_backend
def test_a_member_is_there_from_the_version_that_its_option_says(schema: Schema, backend: Backend) -> None:
    skip_without(backend.access.driver, schema)
    late = since(backend.access.driver)
    for member in handled_members(backend.options) | set(late):
        there = member in schema.driver_members(backend.access.driver)
        assert there == (schema.version >= late.get(member, (0, 0))), f"{member} in {schema}"


@each_driven_backend
def test_a_golden_case_has_every_member_that_a_backend_can_make(backend: Backend) -> None:
    seen = own_members(backend.access.driver, schemas()[-1])
    options = (option for option in backend.options if not option.routes or "driver" in option.routes)
    assert handled_members(options) - seen == set()
