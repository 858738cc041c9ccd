# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The results of the tasks of many hosts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.registered import registered_results


class HostVars(Mapping[str, Any]):
    """Like Ansible's: evaluates templates, but for raw_get()."""

    def __getitem__(self, host: str) -> Any:
        raise AssertionError(host)

    def __iter__(self) -> Iterator[str]:
        raise AssertionError

    def __len__(self) -> int:
        raise AssertionError

    def raw_get(self, host: str) -> dict[str, Any]:
        """Return the variables of a host."""
        return {"asked": {"host": host, "process": os.getpid()}, "other": "{{ template }}"}


def test_only_what_is_asked_for_is_returned() -> None:
    found = registered_results(HostVars(), ["hv1"], ["asked", "missing"])
    assert found == {"hv1": {"asked": {"host": "hv1", "process": os.getpid()}}}


def test_the_variables_of_many_hosts_are_read_by_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    hosts = [f"hv{number}" for number in range(1000)]
    found = registered_results(HostVars(), hosts, ["asked"])
    assert [one["asked"]["host"] for one in found.values()] == list(found) == hosts
    assert os.getpid() not in {one["asked"]["process"] for one in found.values()}
