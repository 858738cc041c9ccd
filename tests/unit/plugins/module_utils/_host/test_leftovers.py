# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What VMs and helpers leave behind is removed, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import leftovers
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import Changes
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths

UNITS = paths.UNIT_DIRECTORY


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host's folders, where web1 and web10 have run."""
    for place in ("run", "cache", "lib", "log"):
        for name in ("qemu-vm-web1", "qemu-vm-web10", "qemu-vms-access"):
            (tmp_path / place / "private" / name).mkdir(parents=True)
            (tmp_path / place / name).symlink_to(f"private/{name}")
    (tmp_path / "run" / "qemu-vm-web1.root").mkdir()
    (tmp_path / "cache" / "private" / "qemu-vm-web1" / "root.qcow2").touch()
    (tmp_path / "lib" / "private" / "qemu-vm-web1" / "root.qcow2").touch()
    monkeypatch.setattr(leftovers, "_DISPOSABLE", (f"{tmp_path}/run", f"{tmp_path}/cache"))
    monkeypatch.setattr(leftovers, "_KEPT", (f"{tmp_path}/lib", f"{tmp_path}/log"))
    return tmp_path


def test_folders_go_with_their_vm_unless_they_hold_what_it_wrote(root: Path) -> None:
    found = leftovers.folders(["web1"])
    assert found == [
        f"{root}/cache/qemu-vm-web1",
        f"{root}/log/qemu-vm-web1",
        f"{root}/run/qemu-vm-web1",
        f"{root}/run/qemu-vm-web1.root",
    ]
    leftovers.remove_folders(Changes(remove_folders=found))
    assert leftovers.folders(["web1"]) == []
    assert sorted(str(path.relative_to(root)) for path in root.glob("**/*web1*")) == [
        *(f"{place}/private/qemu-vm-web10" for place in ("cache",)),
        "cache/qemu-vm-web10",
        *("lib/private/qemu-vm-web1", "lib/private/qemu-vm-web10", "lib/qemu-vm-web1", "lib/qemu-vm-web10"),
        *("log/private/qemu-vm-web10", "log/qemu-vm-web10", "run/private/qemu-vm-web10", "run/qemu-vm-web10"),
    ]
    assert (root / "lib" / "private" / "qemu-vm-web1" / "root.qcow2").exists()


def test_only_the_link_to_a_folder_that_is_kept_goes(root: Path) -> None:
    found = leftovers.links(["web1"])
    assert found == [f"{root}/lib/qemu-vm-web1"]
    leftovers.remove_folders(Changes(remove_links=found))
    assert leftovers.links(["web1"]) == []
    assert (root / "lib" / "private" / "qemu-vm-web1" / "root.qcow2").exists()


def test_what_was_written_meanwhile_stays(root: Path) -> None:
    (root / "log" / "private" / "qemu-vm-web1" / "console.log").touch()
    leftovers.remove_folders(Changes(remove_folders=[f"{root}/log/qemu-vm-web1"]))
    assert (root / "log" / "private" / "qemu-vm-web1" / "console.log").exists()


def test_a_link_in_a_folder_is_not_followed(root: Path, tmp_path: Path) -> None:
    (root / "outside").mkdir()
    (root / "outside" / "file").touch()
    (root / "cache" / "private" / "qemu-vm-web1" / "link").symlink_to(root / "outside")
    leftovers.remove_folders(Changes(remove_folders=[f"{root}/cache/qemu-vm-web1"]))
    assert (root / "outside" / "file").exists()


def test_a_helper_is_stopped_before_its_unit_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(leftovers.systemd, "systemctl", lambda verb, units: called.append((verb, [*units])))
    leftovers.stop_helpers(Changes(remove_files=[f"{UNITS}/qemu-image-a0.service"]))
    assert called == []
    files = [f"{UNITS}/qemu-vm-{name}.service" for name in ("web1.a.nbdkit", "web1.b.tgt", "web2.a.nbdkit")]
    leftovers.stop_helpers(Changes(remove_files=files, restart=["web1"], start=["web2"]))
    assert called == [
        (
            "stop",
            ["qemu-vm-web1.service"]
            + [f"qemu-vm-{name}.service" for name in ("web1.a.nbdkit", "web1.b.tgt", "web2.a.nbdkit")],
        )
    ]


def test_a_helper_that_a_vm_still_uses_runs_on(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    monkeypatch.setattr(leftovers.systemd, "systemctl", lambda verb, units: called.append(verb))
    files = [f"{UNITS}/qemu-vm-web1.a.nbdkit.service"]
    leftovers.stop_helpers(Changes(remove_files=files, restart_required={"web1": ["changed"]}))
    assert called == []


def test_access_is_taken_back_with_the_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    revoked: list[str] = []
    monkeypatch.setattr(leftovers.file_access, "revoke", revoked.append)
    leftovers.revoke_access(Changes(remove_files=[f"{UNITS}/qemu-vm-web1.service"]))
    assert revoked == ["qemu-vm-web1.service"]


def test_a_purge_lists_and_removes_all_of_one_vm(root: Path) -> None:
    (root / "elsewhere").mkdir()
    (root / "elsewhere" / "image").touch()
    (root / "lib" / "private" / "qemu-vm-web1" / "link").symlink_to(root / "elsewhere")
    (root / "log" / "private" / "qemu-vm-web1" / "a\nb").touch()
    assert leftovers.written("web1") == [
        f"{root}/lib/private/qemu-vm-web1/link",
        f"{root}/lib/private/qemu-vm-web1/root.qcow2",
        f"{root}/log/private/qemu-vm-web1/a\\x0ab",
    ]
    assert leftovers.written("web10") == []
    leftovers.purge(["web1"])
    assert [path.name for path in root.glob("l*/**/*web1*")].count("qemu-vm-web1") == 0
    assert leftovers.written("web1") == []
    assert (root / "lib" / "private" / "qemu-vm-web10").exists()
    assert (root / "elsewhere" / "image").exists()


def test_folders_that_are_of_no_vm_stay_whatever_asks_for_them(root: Path) -> None:
    for place in ("run", "lib"):
        (root / place / "dpkg").mkdir()
        (root / place / "dpkg" / "status").touch()
    assert leftovers.folders([""]) == leftovers.links([""]) == []
    leftovers.purge([""])
    for change in (Changes(remove_folders=[f"{root}/run/dpkg"]), Changes(remove_folders=[f"{root}/run"])):
        with pytest.raises(HostError, match=r"is no folder of a VM, and is not removed$"):
            leftovers.remove_folders(change)
    assert (root / "run" / "dpkg" / "status").exists() and (root / "lib" / "dpkg" / "status").exists()


def test_a_fault_in_the_choice_of_folders_removes_none_of_others(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "lib" / "dpkg").mkdir()
    monkeypatch.setattr(leftovers, "_folders_in", lambda *_: [f"{root}/lib/dpkg"])
    with pytest.raises(HostError, match="/lib/dpkg: is no folder of a VM"):
        leftovers.purge(["web1"])
    assert (root / "lib" / "dpkg").exists()
