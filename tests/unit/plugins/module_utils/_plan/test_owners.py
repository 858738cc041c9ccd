# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is asked about the storage of a machine: by its unit, and by the module before anything changes."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._host import in_use
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.owners import questions
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.service import Service
from ansible_collections.directdisk.qemu.tests.unit.support import disk_of, plan, vm

KEY = "AQBzZWNyZXQ="
RBD: dict[str, Any] = {"rbd": {"pool": "vms", "image": "root", "key": KEY, "monitors": ["192.0.2.1"]}}
ISCSI: dict[str, Any] = {"iscsi": {"portal": "192.0.2.9", "target": "iqn.x:y", "lun": 1}}


def unit(given: dict[str, Any], **changes: Any) -> Service:
    return plan(given, **changes).services[-1]


def verbs(service: Service) -> dict[str, list[str]]:
    """The verbs of the program that asks, by when the unit runs it."""
    return {
        when: [one.argv[3] for one in getattr(service, when) if paths.OWNER_PROGRAM in one.argv]
        for when in ("before", "once_open", "after")
    }


def paused(service: Service) -> bool:
    """If QEMU waits for what is asked, and not only until the control program has seen what it has opened."""
    return not service.start_check["run"]


def test_a_guest_on_rbd_runs_when_qemu_alone_has_its_disks_open() -> None:
    service = unit(disk_of(RBD))
    assert verbs(service) == {"before": ["look"], "once_open": ["release"], "after": []}
    assert paused(service)
    # As root, for it has to enter the namespace of QEMU, which alone sees the credentials.
    assert [one.privileged for one in service.once_open] == [True]
    assert paths.qmp_socket("web1") in service.once_open[0].argv
    assert KEY not in repr(service)


@pytest.mark.parametrize("writes", ["deny", "overlay", "discard"])
def test_storage_that_is_only_read_may_have_other_readers(writes: str) -> None:
    service = unit(disk_of(RBD, writes=writes))
    assert verbs(service) == {"before": [], "once_open": [], "after": []}
    assert not paused(service)


def test_a_vm_that_is_declared_to_wait_goes_on_waiting() -> None:
    service = unit({**disk_of(RBD), "extra_args": ["-S"]})
    assert service.once_open[0].argv[3:6] == ("release", "30", "")
    assert paused(service)


def test_without_credentials_for_all_commands_the_second_question_holds_alone() -> None:
    service = unit(disk_of(RBD), systemd=247)
    assert verbs(service) == {"before": [], "once_open": ["release"], "after": []}
    assert paused(service)


def test_reservations_are_asked_for_before_the_start_alone() -> None:
    service = unit(disk_of(ISCSI))
    assert verbs(service) == {"before": ["look"], "once_open": [], "after": []}
    assert not paused(service)


@pytest.mark.parametrize("model", ["scsi-block", "scsi-generic"])
def test_a_guest_that_speaks_scsi_itself_makes_its_own_reservations(model: str) -> None:
    assert verbs(unit(disk_of(ISCSI, model=model)))["before"] == []


@pytest.mark.parametrize("disk", [{"file": "/srv/a.img"}, {"host_device": "/dev/vg/a"}])
def test_qemu_locks_files_and_devices_itself(disk: dict[str, Any]) -> None:
    backend, path = next(iter(disk.items()))
    service = unit(disk_of({backend: {"filename": path}}))
    assert verbs(service) == {"before": [], "once_open": [], "after": ["name"]}
    # It looks at the processes of other users, and its own failure is not the unit's.
    (named,) = [one for one in service.after if paths.OWNER_PROGRAM in one.argv]
    assert (named.privileged, named.optional) == (True, True)


@pytest.mark.parametrize("state", ["stopped", "absent"])
def test_nobody_is_asked_about_a_vm_that_is_not_to_run(state: str) -> None:
    assert questions([vm({**disk_of(RBD), "state": state})]) == {}
    assert list(questions([vm(disk_of(RBD))])) == ["web1"]


def test_nobody_is_asked_about_a_disk_that_is_only_read_or_that_cannot_tell() -> None:
    disks = {"root": {**RBD, "writes": "deny"}, "data": {"nbd": {"host": "192.0.2.5"}}}
    assert questions([vm({"disks": disks})]) == {}
    both = questions([vm({"disks": {**disks, "more": ISCSI}})])["web1"]
    assert [one["identity"] for one in both] == ["iscsi:iqn.x:y/1"]


PRINTS = """
import json, sys
found = []
for check in json.load(sys.stdin):
    texts = [open(check[name]).read() if check.get(name) else "" for name in ("conf", "key")]
    found.append({"in_use": json.dumps([check["image"], *texts]), "not_asked": "", "owners": []})
print(json.dumps(found))
"""


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the program would read, by identity."""
    monkeypatch.setattr(in_use, "text_of", lambda program: PRINTS)
    monkeypatch.setattr(in_use, "END_WITH_PARENT", ())
    # Another user could not get into the folder of a test.
    monkeypatch.setattr(in_use.privileges, "is_root", lambda: False)

    def ask(given: dict[str, Any]) -> dict[str, Any]:
        path = paths.credential_file("qemu-vm-web1", "root.key", encrypted=True)
        answer = in_use.ask_owners(questions([vm(given)]), {path: KEY}, str(tmp_path))
        assert answer["not_asked"] == {}
        assert list(tmp_path.glob("qemu-disks-*")) == []
        return {identity: json.loads(text) for identity, text in answer["in_use"].items()}

    return ask


def test_the_module_asks_with_the_key_and_the_configuration_of_the_unit(shown: Any) -> None:
    assert shown(disk_of(RBD)) == {"rbd::vms/root": ["root", "[global]\nclient_mount_timeout = 20\n", KEY]}


def test_a_configuration_of_the_host_is_joined_as_in_the_unit(shown: Any, tmp_path: Path) -> None:
    (tmp_path / "ceph.conf").write_text("[global]\nfsid = x", encoding="utf-8")
    (tmp_path / "ring").write_text("", encoding="utf-8")
    rbd = {"pool": "vms", "image": "root", "conf": str(tmp_path / "ceph.conf"), "keyring": str(tmp_path / "ring")}
    (found,) = shown(disk_of({"rbd": rbd})).values()
    defaults, of_host, own = found[1].partition("[global]\nfsid = x\n")
    assert (defaults, of_host) == ("[global]\nclient_mount_timeout = 20\n", "[global]\nfsid = x\n")
    # The keyring is where this process may read it, not where the unit's will.
    assert own.startswith("[client.admin]\nkeyring = /") and "/run/credentials/" not in own


def test_only_what_looks_into_processes_is_asked_as_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = questions([vm({"disks": {"a": disk_of(ISCSI)["disks"]["root"], "b": {"file": {"path": "/srv/b"}}}})])
    ran: dict[str, list[str]] = {}

    def answer(user: int, folder: str, verb: str, seconds: int, checks: Any) -> list[Any]:
        for check in checks:
            ran[check["kind"]] = in_use._as_user(user)
        return [{"in_use": check["kind"], "not_asked": "", "owners": []} for check in checks]

    monkeypatch.setattr(in_use, "_run", answer)
    monkeypatch.setattr(in_use, "write_private", lambda *_, **__: "")
    monkeypatch.setattr(in_use.privileges, "is_root", lambda: True)
    monkeypatch.setattr(in_use.privileges, "own_user", lambda: contextlib.nullcontext(4711))
    answered = in_use.ask_owners(asked, {}, str(tmp_path))
    assert answered["in_use"] == {"iscsi:iqn.x:y/1": "iscsi", "path:/srv/b": "path"}
    assert ran == {"iscsi": ["/usr/bin/setpriv", "--reuid=4711", "--regid=4711", "--clear-groups"], "path": []}


def test_a_program_that_fails_leaves_the_question_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_use, "text_of", lambda program: "raise SystemExit(1)")
    monkeypatch.setattr(in_use, "END_WITH_PARENT", ())
    monkeypatch.setattr(in_use.privileges, "is_root", lambda: False)
    answer = in_use.ask_owners(questions([vm(disk_of(ISCSI))]), {}, str(tmp_path))
    reason = "the program that asks has failed"
    assert answer == {"in_use": {}, "not_asked": {"iscsi:iqn.x:y/1": reason}, "owners": {}}


@pytest.mark.parametrize(
    ("active", "asked"), [("inactive", True), ("failed", True), ("active", False), ("activating", False)]
)
def test_a_vm_that_has_its_storage_open_itself_is_not_asked_about(active: str, asked: bool) -> None:
    some = questions([vm(disk_of(ISCSI))])
    states: Any = {"qemu-vm-web1.service": {"active": active}}
    closed = in_use.of_closed(some, states, {"qemu-vm-web1.service": {"iscsi:iqn.x:y/1": True}})
    assert closed == (some if asked else {"web1": []})


def test_a_running_vm_is_asked_about_storage_that_it_does_not_have_open() -> None:
    some = questions([vm(disk_of(ISCSI))])
    assert in_use.of_closed(some, {"qemu-vm-web1.service": {"active": "active"}}, {}) == some  # type: ignore[dict-item]
