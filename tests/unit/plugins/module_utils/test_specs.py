# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Argument specs and documentation come from the tables that declarations are read by."""

from __future__ import annotations

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.directdisk.qemu.plugins.doc_fragments.disk import ModuleDocFragment
from ansible_collections.directdisk.qemu.plugins.module_utils._backends import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._specs import argument_spec, disk_options

SPEC = argument_spec(disk_options())
DOCUMENTED = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]


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


def test_every_backend_and_option_is_documented_as_it_is_read() -> None:
    assert set(DOCUMENTED) == set(SPEC) >= set(BACKENDS)
    for name, backend in BACKENDS.items():
        assert set(DOCUMENTED[name]["suboptions"]) == {option.name for option in backend.options}
    for name, documented in DOCUMENTED.items():
        same = {key: value for key, value in documented.items() if key not in ("description", "suboptions")}
        assert same == {key: value for key, value in SPEC[name].items() if key != "options"}


def test_every_secret_is_hidden_in_logs() -> None:
    for backend in BACKENDS.values():
        for option in backend.options:
            assert SPEC[backend.name]["options"][option.name].get("no_log", False) == option.secret
