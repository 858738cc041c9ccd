# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rule by which a restart is due."""

from __future__ import annotations

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.restart_rule import Files, is_restart_due


@pytest.mark.parametrize(
    ("started_from", "written", "due"),
    [
        ({"a": {"/a": "1"}}, {"a": {"/a": "1"}}, False),
        ({"a": {"/a": "1"}}, {"a": {"/a": "2"}}, True),
        ({"a": {"/a": "1"}}, {"a": {"/a": "1", "/b": "1"}}, True),
        ({"a": {"/a": "1", "/elsewhere": "1"}}, {"a": {"/a": "1"}}, False),
        ({"a": {"/a": "1", "/etc/systemd/system/a.d/x.conf": "1"}}, {"a": {"/a": "1"}}, True),
        ({"a": {"/a": "1"}}, {"a": {"/a": "1"}, "b": {"/b": "1"}}, True),
        ({"a": {"/a": "1"}, "b": {"/b": "1"}}, {"a": {"/a": "1"}}, False),
        (None, {"a": {"/a": "1"}}, True),
    ],
    ids=["same", "changed", "new", "not the collection's", "no drop-in", "new helper", "unit that reloads", "unknown"],
)
def test_a_restart_is_due_if_a_file_is_another_one(started_from: Files | None, written: Files, due: bool) -> None:
    assert is_restart_due("web1", started_from, written) is due


def test_keys_of_an_ssh_agent_are_loaded_while_the_vm_runs() -> None:
    written = {"qemu-vm-web1.ssh.keys.service": {"/etc/credstore/key": "new"}}
    assert paths.ssh_keys_unit_name("web1") in written
    assert not is_restart_due("web1", {}, written)
    assert is_restart_due("web2", {}, written)
