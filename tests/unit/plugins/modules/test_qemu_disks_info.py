# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""qemu_disks_info: its declarations, the user that it needs, and its result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._access import workspace
from ansible_collections.directdisk.qemu.plugins.module_utils._access.confinement import Confinement
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError, HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.info_entries import read_info_entries
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import encode
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities
from ansible_collections.directdisk.qemu.plugins.modules import qemu_disks_info
from ansible_collections.directdisk.qemu.tests.unit.plugins.modules.module_run import run_module
from ansible_collections.directdisk.qemu.tests.unit.support import probed

LUKS: dict[str, Any] = {"nbd": {"host": "192.0.2.5"}, "luks": {"passphrase": "geheim"}}


@pytest.mark.parametrize(
    ("declared", "names"),
    [
        (LUKS, ["nbd 192.0.2.5:10809/"]),
        ({"uri": "nbd://192.0.2.5", "name": "a"}, ["a"]),
        ([LUKS, LUKS], ["nbd 192.0.2.5:10809/", "nbd 192.0.2.5:10809/"]),
        ({"a": LUKS, "b": {"iscsi": {"portal": "192.0.2.9"}}}, ["a", "b"]),
    ],
)
def test_one_disk_and_many_are_read(declared: Any, names: list[str]) -> None:
    assert [entry.name for entry in read_info_entries(declared)] == names


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"a": {**LUKS, "state": "absent"}}, "disk a: state: a disk is only read here; leave state out"),
        ({"iscsi": {"portal": "a:b:c"}}, "disk 1: iscsi: portal: 'a:b:c' is not a host"),
        ({"iscsi": {"portal": "h"}, "format": "raw"}, "disk 1: iscsi: target is missing"),
        (5, "disks: is neither a list of disks nor a mapping of names to disks"),
        ({"a": {"nbdd": {}}, "b": 5}, "disk a: no backend"),
    ],
)
def test_what_is_wrong_is_refused(declared: Any, message: str) -> None:
    with pytest.raises(DirectDiskError) as raised:
        read_info_entries(declared)
    assert str(raised.value).startswith(message)


def test_a_disk_that_fails_leaves_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    good = {"name": "a", "changed": False, "actions": [], "warnings": [], "before": {}, "after": {"exists": True}}
    bad = {"name": "b", "changed": False, "failed": True, "refused": False, "msg": "disk b: no", "exception": "Trace"}
    monkeypatch.setattr(qemu_disks_info, "probe", lambda: probed("debian12"))
    monkeypatch.setattr(qemu_disks_info, "inform_about", lambda *_, **__: [dict(good), dict(bad)])
    answer = run_module(monkeypatch, qemu_disks_info, disks=["a"], request=encode({"disks": [LUKS]}))
    assert (answer["failed"], answer["msg"], answer["exception"]) == (True, "disk b: no", "Trace")
    assert answer["disks"] == [
        {"name": "a", "image": {"exists": True}},
        {"name": "b", "failed": True, "msg": "disk b: no", "exception": "Trace"},
    ]


def test_without_its_action_plugin_it_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_module(monkeypatch, qemu_disks_info, disks=[LUKS])["failed"]


def test_another_user_than_root_has_a_folder_and_no_confined_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("os.chown", lambda *_, **__: None)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with workspace.Workspace(Capabilities.from_probe(probed("debian12"))) as bench:
        assert bench.folder.startswith(str(tmp_path))
        with pytest.raises(HostError) as raised:
            bench.confined(Confinement())
    assert str(raised.value) == (
        "reading this storage by a confined process of QEMU needs root on the host: set become: true"
    )
