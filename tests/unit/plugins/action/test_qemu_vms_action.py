# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin: how often it calls the host, with what, and what it says afterwards."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any
from unittest.mock import MagicMock

import pytest

from ansible_collections.directdisk.qemu.plugins.action.qemu_vms import ActionModule
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.read_vm import read_vms
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.vm_disks import ManagedDisk, entries_of
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import digest
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import decode
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.overlays import overlay_of
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths as unit_paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.unit_text import opened_in, spellings_in
from ansible_collections.directdisk.qemu.tests.unit.support import HOST_NAME, SSH, disk_of, empty_host

pytestmark = pytest.mark.usefixtures("warnings")

PASSWORDS = ["pass-of-joe", "pass-of-luks", "a=cookie-of-joe", "pass-of-seed", "pass-of-vnc"]
SECRET = {
    "web1": {
        **disk_of(
            {
                "https": {
                    "url": "https://192.0.2.7/x",
                    "username": "joe",
                    "password": "pass-of-joe",
                    "cookie": "a=cookie-of-joe",
                },
                "luks": {"passphrase": "pass-of-luks"},
                "writes": "overlay",
            }
        ),
        "cloud_init": {"user_data": {"password": "pass-of-seed"}},
        "vnc": {"password": "pass-of-vnc"},
    }
}
SIMPLE: dict[str, Any] = {"web1": disk_of({"nbd": {"host": "192.0.2.5"}})}


class Host:
    """A test double of the modules on a host: looks answer ``seen``, and an apply does what was desired.

    disks: what becomes of a disk by its name; one that is not named there is as it is declared.
    """

    def __init__(
        self,
        seen: dict[str, Any],
        failures: dict[str, list[str]] | None = None,
        disks: dict[str, dict[str, Any]] | None = None,
    ) -> None:
        self.seen = seen
        self.failures = failures or {}
        self.disks = disks or {}
        self.calls: list[dict[str, Any]] = []
        self.kept: list[tuple[bool, dict[str, Any]]] = []
        """Managed disks, for each observation and prediction (True), and for each call that changes them (False)."""
        self.to_read: list[dict[str, Any]] = []
        """The disks that the last observation was to read."""

    def execute(self, *, module_name: str, module_args: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        if module_name == "directdisk.qemu.qemu_disks":
            return self._reconcile_disks(module_args)
        assert module_name == "directdisk.qemu.qemu_vms"
        self.calls.append(copy.deepcopy(module_args))
        request = module_args["vms"]
        if "observe" in request:
            return {**self.seen, **self._predict(module_args)}
        if "stop" in request:
            return {"stopped": [name for name in request["stop"] if name not in self.failures]}
        self._settle(request["desired"])
        return {"actions": ["done"], "failures": self.failures, "live_failures": {}}

    def _predict(self, module_args: dict[str, Any]) -> dict[str, Any]:
        request = decode(module_args["disks"]) if "disks" in module_args else {"managed": [], "to_read": []}
        self.to_read = request["to_read"]
        if not request["managed"]:
            return {}
        entries = entries_of((ManagedDisk(**one) for one in request["managed"]), self.seen["observed"]["units"])
        self.kept.append((True, entries))
        return {"disks": self._results(entries)}

    def _reconcile_disks(self, module_args: dict[str, Any]) -> dict[str, Any]:
        request = decode(module_args["request"])
        disks, predict = request["disks"], request["predict"]
        assert module_args["disks"] == list(disks)
        self.kept.append((predict, disks))
        if "msg" in self.disks:
            return {name: self.disks[name] for name in ("failed", "msg")}
        return self._results(disks, done=not predict)

    def _results(self, disks: dict[str, Any], *, done: bool = False) -> dict[str, Any]:
        results = [{"name": name, "changed": False, **self.disks.get(name, {})} for name in disks]
        if done:
            results = [{**one, **one.pop("done", {})} for one in results]
        diff = [{"before_header": f"disk {one['name']}", "after": {}} for one in results if one["changed"]]
        failed = any(one.get("failed") for one in results)
        return {"disks": results, "diff": diff, "warnings": ["beware"], **({"failed": True} if failed else {})}

    def _settle(self, desired: dict[str, Any]) -> None:
        running = {"active": "active", "enabled": True, "reload": False, "drop_ins": {}}
        started_from = {
            unit: {
                f"/etc/systemd/system/{unit}": digest(desired["files"][f"/etc/systemd/system/{unit}"]["text"]),
                **dict.fromkeys(credentials, "1"),
            }
            for vm in desired["vms"].values()
            for unit, credentials in vm["credentials"].items()
        }
        units = {
            unit: {**running, "started_from": started_from} for vm in desired["vms"].values() for unit in vm["units"]
        }
        files = {
            path: {
                "sha256": digest(file["text"]),
                "text": file["text"],
                "opened": opened_in(file["text"]),
                "spellings": spellings_in(file["text"]),
                "images": [],
                "places": {},
                "uuid": "",
            }
            for path, file in desired["files"].items()
        }
        written = [path for vm in desired["vms"].values() for paths in vm["credentials"].values() for path in paths]
        written += [path for paths in desired["images"].values() for path in paths]
        self.seen["observed"].update(
            files=files,
            units={**units, "qemu-vms.target": {**running, "started_from": None}},
            credentials={path: {"version": "1", "current": True} for path in written},
        )


def run(
    host: Host, vms: Any, *, check: bool = False, diff: bool = False, variables: Any = None, **more: Any
) -> dict[str, Any]:
    task = MagicMock(args={"vms": vms, **more}, check_mode=check, diff=diff, async_val=0, action="qemu_vms")
    action = ActionModule(task, MagicMock(), MagicMock(), MagicMock(), MagicMock(), MagicMock())
    action._execute_module = host.execute
    result: dict[str, Any] = action.run(task_vars={"inventory_hostname": HOST_NAME, **(variables or {})})
    return result


def test_a_new_host_is_looked_at_once_and_changed_once() -> None:
    host = Host(empty_host())
    result = run(host, SIMPLE)
    assert result["changed"] is True
    assert [list(call["vms"]) for call in host.calls] == [["observe"], ["desired", "encrypted", "wait"]]
    assert result["actions"] == ["done"]
    assert result["vms"] == {
        "web1": {
            "state": "started",
            "unit": "qemu-vm-web1.service",
            "disks": [
                {
                    "disk": "root",
                    "backend": "nbd",
                    "storage": "192.0.2.5:10809/",
                    "route": "driver",
                    "format": "raw",
                    "writes": "keep",
                    "node": "root.format",
                }
            ],
        }
    }


def test_a_second_run_looks_once_and_changes_nothing() -> None:
    host = Host(empty_host())
    run(host, SECRET)
    host.calls.clear()
    result = run(host, SECRET, diff=True)
    assert (result["changed"], result["actions"], result["diff"]) == (False, [], [])
    assert [list(call["vms"]) for call in host.calls] == [["observe"]]


def test_check_mode_looks_once_and_says_what_it_would_do() -> None:
    host = Host(empty_host())
    result = run(host, SIMPLE, check=True)
    assert [list(call["vms"]) for call in host.calls] == [["observe"]]
    assert result["changed"] is True
    assert result["actions"][-2:] == ["start vm web1", "reload systemd"]


@pytest.mark.parametrize("host_name", ["qemu5", "debian12", "debian13"])
def test_secrets_travel_in_the_hidden_option_alone(host_name: str) -> None:
    vms = copy.deepcopy(SECRET)
    if host_name == "qemu5":
        del vms["web1"]["vnc"]
    host = Host(empty_host(host_name))
    result = run(host, vms, diff=True)
    encoded = [base64.b64encode(word.encode()).decode() for word in PASSWORDS]
    for shown in (result, [call["vms"] for call in host.calls]):
        text = json.dumps(shown)
        assert not [word for word in (*PASSWORDS, *encoded) if word in text]
    hidden = {base64.b64decode(text).decode() for text in host.calls[-1]["credentials"].values()}
    assert {"pass-of-joe", "pass-of-luks", "a=cookie-of-joe"} <= hidden
    folder = "/etc/credstore/" if host_name == "qemu5" else "/etc/credstore.encrypted/"
    assert all(path.startswith(folder) for path in host.calls[-1]["credentials"])
    assert host.calls[-1]["vms"]["encrypted"] is (host_name != "qemu5")


def test_a_diff_shows_each_unit_line_by_line_and_the_rest_in_words() -> None:
    host = Host(empty_host())
    run(host, SIMPLE)
    shown = run(host, {"web1": {**SIMPLE["web1"], "cpus": 2}}, diff=True, check=True)["diff"]
    assert len(shown) == 3
    assert "-    -smp 1 \\\n+    -smp 2 \\\n" in shown[0]["prepared"]
    assert shown[1]["prepared"] == "reload systemd\n"


def test_no_diff_is_made_or_asked_for_unless_wanted() -> None:
    host = Host(empty_host())
    assert "diff" not in run(host, SIMPLE)
    assert host.calls[0]["vms"]["observe"]["texts"] is False


def test_a_running_vm_is_restarted_only_where_that_is_allowed(warnings: list[str]) -> None:
    host = Host(empty_host())
    run(host, SIMPLE)
    result = run(host, {"web1": {**SIMPLE["web1"], "cpus": 2}}, check=True)
    assert result["restart_required"] == {"web1": ["/etc/systemd/system/qemu-vm-web1.service has changed"]}
    assert warnings == [
        "hv1: web1: changed, but the running VM keeps its old settings until it is restarted "
        "(set restart: when_needed, or for one run -e qemu_vms_restart=due)"
    ]
    result = run(host, {"web1": {**SIMPLE["web1"], "cpus": 2, "restart": "when_needed"}}, check=True)
    assert result["restart_required"] == {}
    assert "restart vm web1" in result["actions"]


def test_vms_that_are_not_declared_are_named_and_left_alone() -> None:
    host = Host(empty_host())
    run(host, SIMPLE)
    result = run(host, {})
    assert (result["undeclared"], result["changed"]) == (["web1"], False)


def test_a_wrong_declaration_asks_no_host() -> None:
    host = Host(empty_host())
    result = run(host, {"web1": {"cpus": 0, "disks": {"root": {}}}})
    assert result["failed"] is True
    assert result["msg"].split("\n") == [
        "hv1: vm web1: cpus: 0 is less than 1",
        f"hv1: disk root of web1: no backend (one of {', '.join(BACKENDS)}, or uri)",
    ]
    assert host.calls == []


def test_what_a_host_lacks_is_told_before_it_is_changed() -> None:
    host = Host({**empty_host(), "capabilities": {**empty_host()["capabilities"], "kvm": "it hangs"}})
    result = run(host, {**SIMPLE, "web2": disk_of({"file": {"path": "/srv/a"}})})
    assert result["msg"].split("\n") == [
        "hv1: vm web1: accel: kvm does not work on this host (it hangs); enable it, or set accel: tcg",
        "hv1: disk root of web2: file: /srv/a does not exist; create it, or correct its path",
    ]
    assert len(host.calls) == 1


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("missing", {"file": {"path": "/srv/a"}}, "file: /srv/a does not exist; create it, or correct its path"),
        ("directory", {"file": {"path": "/srv/a"}}, "file: /srv/a is a directory, but must be a file"),
        ("block", {"file": {"path": "/srv/a"}}, "file: /srv/a is a device; declare it with host_device"),
        (
            "file",
            {"host_device": {"filename": "/dev/a"}},
            "host_device: /dev/a is a file, but must be a block or char device",
        ),
    ],
)
def test_a_path_of_another_kind_is_refused(kind: str, given: dict[str, Any], message: str) -> None:
    host = Host(empty_host(paths={"/srv/a": kind, "/dev/a": kind}))
    assert run(host, {"web1": disk_of(given)})["msg"] == f"hv1: disk root of web1: {message}"


def test_a_bridge_that_is_not_there_is_told() -> None:
    result = run(Host(empty_host()), {"web1": {"networks": {"lan": {"bridge": "br0"}}}})
    assert result["msg"] == "hv1: network lan of web1: bridge br0: this host has no such bridge; create it first"


CREATE = {"changed": True, "actions": ["create file /srv/a of 1 GiB"], "size": 1024**3}
KEPT: dict[str, Any] = {
    "web1": disk_of({"file": {"path": "/srv/a"}}, size="1GiB"),
    "web2": disk_of({"nbd": {"host": "192.0.2.5"}}),
}


def test_a_run_for_ssh_agents_alone_leaves_the_vms_alone() -> None:
    host = Host(empty_host())
    host._settle = lambda desired: None  # type: ignore[method-assign]
    run(
        host,
        {
            "web1": disk_of({"ssh": {**SSH, "host_key_check": {"mode": "none"}}}),
            "web2": disk_of({"nbd": {"host": "192.0.2.5"}}),
        },
        only="ssh_agents",
    )
    desired = host.calls[-1]["vms"]["desired"]
    agent = ["qemu-vm-web1.ssh.agent.service", "qemu-vm-web1.ssh.keys.service"]
    assert "images" not in desired
    assert {name: (vm["state"], vm["units"]) for name, vm in desired["vms"].items()} == {"web1": ("unchanged", agent)}
    assert [path for path in desired["files"] if path.endswith(("service", "target", "timer"))] == [
        f"{unit_paths.UNIT_DIRECTORY}/{unit}" for unit in agent
    ]


def test_a_failure_of_the_module_is_the_result_and_names_the_host() -> None:
    failure = {"failed": True, "msg": "qemu cannot be probed", "exception": "trace"}
    assert run(Host(failure), SIMPLE) == {**failure, "msg": "hv1: qemu cannot be probed"}


def test_a_vm_that_does_not_come_up_is_explained() -> None:
    line = 'qemu: -blockdev {"driver":"nbd","node-name":"root.storage"}: Failed to connect to 192.0.2.5: refused'
    result = run(Host(empty_host(), failures={"web1": [line]}), SIMPLE)
    assert result["failed"] is True
    assert result["failures"] == ["web1"]
    assert result["msg"] == (
        "hv1: disk root of web1: nbd 192.0.2.5:10809/: the server does not answer; "
        f"check that it runs and that this host may reach it\n  its log:\n    {line}"
    )


def test_a_known_bad_route_is_warned_of(warnings: list[str]) -> None:
    disk = {"http": {"url": "http://192.0.2.7/x"}, "writes": "deny", "route": "driver"}
    run(Host(empty_host("debian12")), {"web1": disk_of(disk)})
    assert len(warnings) == 1
    assert warnings[0].startswith("hv1: disk root of web1: route driver: QEMU's own curl driver now and then hangs")


def test_a_host_that_lacks_something_can_be_reported_and_left_as_it_is() -> None:
    seen = empty_host("debian12")
    seen["capabilities"] = {**seen["capabilities"], "nbdkit": {}}
    host = Host(seen)
    vms = {"web1": disk_of({"http": {"url": "http://192.0.2.7/x"}}, writes="deny")}
    result = run(host, vms, when_lacking="report")
    assert result == {
        "changed": False,
        "missing": [
            "http by route nbdkit: nbdkit cannot serve http (nbdkit is not installed); "
            "install nbdkit curl ca-certificates (role storage_client)"
        ],
        "missing_packages": ["nbdkit", "curl", "ca-certificates"],
    }
    assert len(host.calls) == 1


def test_a_host_that_lacks_the_best_route_runs_on_the_next_one_unless_it_is_to_be_reported() -> None:
    seen = empty_host("debian12")
    seen["capabilities"] = {**seen["capabilities"], "nbdkit": {}}
    vms = {"web1": disk_of({"http": {"url": "http://192.0.2.7/x"}}, writes="deny")}
    result = run(Host(seen), vms)
    assert result["vms"]["web1"]["disks"][0]["route"] == "stage"
    assert result["missing_packages"] == ["nbdkit", "curl", "ca-certificates"]


@pytest.mark.parametrize("more", [{"machines": {}}, {"when_lacking": "shrug"}])
def test_options_that_it_does_not_have_are_refused(more: dict[str, Any]) -> None:
    result = run(Host(empty_host()), SIMPLE, **more)
    assert result["failed"] is True
    assert "qemu_vms" in result["msg"]


def test_what_check_mode_cannot_foresee_is_said(warnings: list[str]) -> None:
    seen = empty_host("debian12")
    seen["capabilities"] = {**seen["capabilities"], "nbdkit": {}}
    vms = {"web1": disk_of({"http": {"url": "http://192.0.2.7/x"}}, writes="deny")}
    result = run(Host(seen), vms, when_lacking="report", check=True, diff=True)
    (shown,) = [one["prepared"] for one in result["diff"]]
    assert shown.startswith(
        "hv1: check mode cannot predict what follows the installation of missing packages (http by route nbd"
    )
    assert warnings == [shown.strip()]
    warnings.clear()
    assert "diff" not in run(Host(seen), vms, when_lacking="report")
    assert warnings == []


def test_a_disk_that_would_leave_its_overlay_behind_is_refused_before_anything_changes() -> None:
    vms = {"web1": disk_of({"nbd": {"host": "192.0.2.5"}}, writes="overlay")}
    (vm,) = read_vms(vms, HOST_NAME)
    base = overlay_of(vm.disks[0]).base
    host = Host(empty_host(overlays={"web1": [f"system-{base}.qcow2"]}))
    result = run(host, vms)
    assert result["failed"] is True
    assert "set renamed_from: system to use it" in result["msg"]
    assert len(host.calls) == 1


MASKED = {"active": "inactive", "enabled": False, "masked": True, "reload": False, "started": None}


@pytest.mark.parametrize("check", [True, False])
def test_a_host_that_is_to_start_no_vm_starts_none(check: bool) -> None:
    host = Host(empty_host(units={"qemu-vms.target": MASKED}))
    answer = run(host, {"web1": {}}, check=check)
    assert answer["failed"]
    assert "qemu-vms.target is masked, so this host starts no VM, and web1 would start" in answer["msg"]
    assert [list(call["vms"]) for call in host.calls] == [["observe"]]


@pytest.mark.parametrize("state", ["stopped", "absent"])
def test_a_host_that_is_to_start_no_vm_is_changed_otherwise(state: str) -> None:
    host = Host(empty_host(units={"qemu-vms.target": MASKED}))
    answer = run(host, {"web1": {"state": state}}, check=True)
    assert "msg" not in answer
    assert "enable all vms" not in answer["actions"]


QCOW2 = b"QFI\xfb".ljust(512, b"\0").hex()


def test_keys_are_loaded_without_reading_disks() -> None:
    host = Host(empty_host())
    run(host, SIMPLE, only="ssh_agents", check=True)
    assert host.to_read == []


def test_an_overlay_is_not_left_behind_because_its_storage_is_named_otherwise() -> None:
    old = disk_of({"nfs": {"host": "storage.lan", "path": "/a"}, "writes": "overlay"})
    new = disk_of({"nfs": {"host": "192.0.2.9", "path": "/a"}, "writes": "overlay"})
    host = Host(empty_host())
    run(host, {"web1": old})
    names = [overlay_of(read_vms({"web1": given}, "hv1")[0].disks[0]).file for given in (old, new)]
    host.seen["observed"].update(names={"storage.lan": ["192.0.2.9"]}, overlays={"web1": names[:1]})
    refused = run(host, {"web1": new})
    assert "disk root of web1: would begin with an empty overlay: " in refused["msg"]
    assert (
        f"was declared as nfs:storage.lan:/a; declare it so again, or rename that file to {names[1]}" in refused["msg"]
    )
    assert not run(host, {"web1": old}).get("failed")
    host.seen["observed"]["overlays"] = {"web1": names}
    assert not run(host, {"web1": new}).get("failed")


def test_a_renamed_disk_takes_its_overlay_along() -> None:
    root = disk_of({"nfs": {"host": "192.0.2.9", "path": "/a"}, "writes": "overlay"})
    host = Host(empty_host())
    run(host, {"web1": root})
    name = overlay_of(read_vms({"web1": root}, "hv1")[0].disks[0]).file
    host.seen["observed"].update(names={}, overlays={"web1": [name]})
    system = {"disks": {"system": {**root["disks"]["root"], "renamed_from": "root"}}}
    assert not run(host, {"web1": system}, check=True).get("failed")
