# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Argument specs and documentation come from the tables that declarations are read by."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.directdisk.qemu.plugins.doc_fragments.disk import ModuleDocFragment
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import read_image
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.argument_spec import (
    argument_spec,
    declaration_of,
    disk_module_options,
    disk_options,
    documentation,
    without_omitted,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.kinds import KINDS

SPEC = argument_spec(disk_options())


def test_ansible_reads_a_disk_by_the_argument_spec() -> None:
    disk = {"nbd": {"host": "192.0.2.5", "port": "10810"}, "queues": "2", "writes": "deny"}
    result = ArgumentSpecValidator(SPEC).validate(disk)
    assert result.error_messages == []
    assert result.validated_parameters["nbd"]["port"] == 10810
    assert result.validated_parameters["queues"] == 2


def test_ansible_refuses_what_the_table_does_not_have() -> None:
    result = ArgumentSpecValidator(SPEC).validate({"nbd": {"hots": "x"}, "writes": "sometimes"})
    messages = " ".join(result.error_messages)
    assert "hots" in messages
    assert "value of writes must be one of: keep, overlay, discard, deny" in messages


def same_as_read(documented: dict[str, Any], spec: dict[str, Any]) -> None:
    assert set(documented) == set(spec)
    for name, option in documented.items():
        same = {key: value for key, value in option.items() if key not in ("description", "suboptions")}
        assert same == {key: value for key, value in spec[name].items() if key not in ("options", "no_log")}
        same_as_read(option.get("suboptions", {}), spec[name].get("options", {}))


def test_every_backend_and_option_is_documented_as_it_is_read() -> None:
    assert set(SPEC) >= set(BACKENDS)
    same_as_read(documentation(disk_options()), SPEC)


@pytest.mark.parametrize("kind", KINDS)
def test_the_fragment_of_a_module_has_the_options_that_it_reads(kind: str) -> None:
    documented = yaml.safe_load(getattr(ModuleDocFragment, kind.upper()))["options"]
    same_as_read(documented, argument_spec(disk_module_options(KINDS[kind])))


def test_the_options_of_a_module_declare_a_disk() -> None:
    spec = argument_spec(disk_module_options(KINDS["image"]))
    parameters = {"nfs": {"host": "192.0.2.7", "path": "/a"}, "size": "1GiB", "format": "qcow2", "state": "absent"}
    read = ArgumentSpecValidator(spec).validate(parameters).validated_parameters
    declared = declaration_of(KINDS["image"], without_omitted(disk_module_options(KINDS["image"]), read))
    assert declared.items() >= {"nfs": {"host": "192.0.2.7", "path": "/a"}, "size": "1GiB", "format": "qcow2"}.items()
    assert "state" not in declared
    assert read_image("disk", declared, "disk").settings["size"] == 1024**3


def test_every_secret_is_hidden_in_logs() -> None:
    for backend in BACKENDS.values():
        for option in backend.options:
            assert SPEC[backend.name]["options"][option.name].get("no_log", False) == option.secret


def test_an_option_that_another_names_is_named_as_a_whole() -> None:
    documented = documentation(disk_options())
    assert "this or O(gluster.host)" in documented["gluster"]["suboptions"]["servers"]["description"][0]
    assert "needs O(cache=none)" in documented["file"]["suboptions"]["aio"]["description"][0]
    alone = documentation(BACKENDS["file"].options)
    assert "needs C(cache: none)" in alone["aio"]["description"][0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_documentation_of_a_module_repeats_no_page_of_a_backend(kind: str) -> None:
    documented = documentation(disk_module_options(KINDS[kind]))
    for name in (*BACKENDS, "source"):
        assert "suboptions" not in documented.get(name, {})
    for name in {*BACKENDS} & {*documented}:
        assert f"C(docs/backends/{name}.md)" in documented[name]["description"][0]
