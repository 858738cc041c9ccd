# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for any input whatever: only errors of our own, and the same answer each time."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS, from_uri
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.read_vm import read_vms
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.schema import (
    DISK_OPTIONS,
    NETWORK_OPTIONS,
    VM_OPTIONS,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError, DirectDiskError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import parse_size
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.plan import declared_credentials, make_plan
from ansible_collections.directdisk.qemu.plugins.module_utils._units.compact_json import compact
from ansible_collections.directdisk.qemu.tests.unit.qapi import schemas
from ansible_collections.directdisk.qemu.tests.unit.support import HOST_NAME, capabilities, nodes_of

SCHEMES = sorted(scheme for backend in BACKENDS.values() for scheme in backend.adoption.schemes)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=3)
JSON_LIKE = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=3),
    max_leaves=8,
)
URI_TEXT = st.builds(
    "{}{}{}".format,
    st.sampled_from([*SCHEMES, "rbd", ""]),
    st.sampled_from([":", "://", ":///", ":unix:", ""]),
    st.text(alphabet="ah1/:@?&=%[]#. \n\tü$'\"\\") | st.text(),
)


def plausible(option: Option) -> st.SearchStrategy[Any]:
    """Values that often fit an option, and sometimes do not."""
    good: st.SearchStrategy[Any] = {
        "int": st.integers(0, 300),
        "bool": st.booleans(),
        "size": st.sampled_from(["1GiB", "10M", 4096, "512"]),
        "path": st.sampled_from(["/srv/a.img", "/dev/sda", "/a b/%$'\"", "/é,"]),
        "dict": options_of(option.options),
        "list": st.lists(st.text(max_size=5), max_size=2),
        "any": JSON_LIKE,
    }.get(option.type, st.text(max_size=8))
    if option.choices:
        good = st.sampled_from(option.choices)
    if option.name == "url":
        good = st.builds(
            "{}://h{}/{}".format, st.sampled_from(["http", "https"]), st.sampled_from(["", ":81"]), st.text()
        )
    return st.one_of(good, good, good, JSON_LIKE)


def options_of(options: tuple[Option, ...], **more: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    required = {o.name: plausible(o) for o in options if o.required}
    optional = {o.name: plausible(o) for o in options if not o.required}
    return st.fixed_dictionaries(required, optional={**optional, **more})


NAMES = st.sampled_from(["root", "data", "a_b-C"]) | st.text(max_size=4)
BACKEND = st.one_of(*(st.fixed_dictionaries({n: options_of(b.options)}) for n, b in BACKENDS.items()))
URI = st.fixed_dictionaries({"uri": URI_TEXT})
_DISK_SETTINGS = options_of(tuple(o for o in DISK_OPTIONS if o.name != "uri"))
DISKS = st.builds(lambda storage, settings: {**settings, **storage}, BACKEND | URI, _DISK_SETTINGS | st.just({}))
VMS = st.dictionaries(
    NAMES,
    options_of(
        tuple(o for o in VM_OPTIONS if o.name not in ("disks", "networks")),
        disks=st.dictionaries(NAMES, DISKS, max_size=2),
        networks=st.dictionaries(NAMES, options_of(NETWORK_OPTIONS), max_size=2),
    ),
    max_size=2,
)
SIMPLE_VMS = st.dictionaries(
    st.sampled_from(["a", "b"]),
    st.fixed_dictionaries({"disks": st.dictionaries(st.sampled_from(["x", "y"]), DISKS, max_size=2)}),
)


@given(JSON_LIKE)
@example({"web1": {"disks": {"root": {"file": {"filename": None}}}}})
@example({"web1": {"cloud_init": {"user_data": "x", "meta_data": "x"}}})
@example({"web1": {"memory": "9" * 400}})
@example({"web1": {"cpus": "9" * 5000}})
@example({"web1": {"memory": 10**400}})
def test_reading_anything_raises_only_errors_of_our_own(declared: Any) -> None:
    with contextlib.suppress(DirectDiskError):
        read_vms(declared, HOST_NAME)


@given(VMS | SIMPLE_VMS)
def test_what_is_read_is_planned_the_same_each_time_and_fits_the_schema(declared: Any) -> None:
    newest, facts = schemas()[-1], capabilities("sid")
    try:
        vms = read_vms(declared, HOST_NAME)
        plans = [make_plan(vm, facts) for vm in vms]
    except DirectDiskError:
        return
    for plan in plans:
        nodes = nodes_of(plan)
        assert [newest.node_errors(node) for node in nodes] == [[]] * len(nodes)
        assert len({node["node-name"] for node in nodes}) == len(nodes)
        assert all(len(node["node-name"]) <= 31 for node in nodes)
        again = make_plan(read_vms(declared, HOST_NAME)[vms.index(plan.vm)], facts)
        assert compact(nodes_of(again)) == compact(nodes)
        assert [s.args for s in again.services] == [s.args for s in plan.services]
        assert declared_credentials(plan.vm) == declared_credentials(again.vm)


@given(URI_TEXT)
@example("nbd://[::1]x/")
@example("http://[::1]x/y")
@example("http://[v1.x]/y")
def test_reading_a_uri_raises_only_errors_of_our_own(uri: str) -> None:
    try:
        backend, options = from_uri(uri)
    except DeclarationError:
        return
    assert uri.startswith(backend.adoption.schemes)
    json.dumps(options)
    for writes in ("deny", "overlay"):
        try:
            vm = read_vms({"a": {"disks": {"root": {"uri": uri, "writes": writes}}}})[0]
            make_plan(vm, capabilities("debian13"))
        except DirectDiskError as error:
            assert str(error)


@given(st.integers(1, 2**63 - 1))
def test_a_whole_number_of_bytes_is_read_exactly(size: int) -> None:
    assert parse_size(size) == parse_size(str(size)) == parse_size(f" {size}B ") == size


@given(st.integers(1, 8191), st.sampled_from(["K", "k", "M", "G", "T", "P"]), st.sampled_from(["", "i", "iB"]))
def test_units_are_powers_of_1024(number: int, unit: str, rest: str) -> None:
    assert parse_size(f"{number}{unit}{rest}") == number * 1024 ** ("KMGTP".index(unit.upper()) + 1)
    assert parse_size(f"{number}.5{unit}{rest}") == number * 1024 ** ("KMGTP".index(unit.upper()) + 1) + 512 * 1024 ** (
        "KMGTP".index(unit.upper())
    )


@given(SCALARS | st.from_regex(r"\A[0-9.]{1,30} ?[kKMGTPE]?[iB]{0,2}\Z"))
def test_a_size_is_read_or_refused_with_an_error_of_our_own(text: Any) -> None:
    try:
        size = parse_size(text)
    except DeclarationError:
        return
    assert isinstance(size, int)
    assert 0 < size < 2**63
