# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From desired and observed to the changes of a run."""

from __future__ import annotations

import copy
from typing import Any, Callable

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._plan.baseline import baseline_of, changed_since
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import _NO_CHANGES, Changes, decide, digest

UNITS = "/etc/systemd/system"
TARGET = f"{UNITS}/qemu-vms.target"
UNIT = f"{UNITS}/qemu-vm-web1.service"
HELPER = f"{UNITS}/qemu-vm-web1.root.nbdkit.service"
SECRET = "/etc/credstore/qemu-vm-web1.root.password"
VERSION = "1"
"""The version of each credential."""
DROP_IN = f"{UNIT}.d/limits.conf"

State = tuple[dict[str, Any], dict[str, Any]]


def settled() -> State:
    """A host where web1 runs as desired."""
    texts = {TARGET: "target\n", UNIT: "unit\n", HELPER: "helper\n"}
    vm = {
        "state": "started",
        "autostart": True,
        "restart": "never",
        "purge": False,
        "unit": "qemu-vm-web1.service",
        "units": ["qemu-vm-web1.root.nbdkit.service", "qemu-vm-web1.service"],
        "reloaded": [],
        "credentials": {"qemu-vm-web1.root.nbdkit.service": [SECRET], "qemu-vm-web1.service": []},
        "staged": [],
    }
    files = {path: {"text": text, "mode": 0o644} for path, text in texts.items()}
    desired = {"files": files, "vms": {"web1": vm}, "images": {}}
    running = {"active": "active", "enabled": True, "reload": False, "started_from": None, "drop_ins": {}}
    started_from = {
        "qemu-vm-web1.service": {UNIT: digest("unit\n")},
        "qemu-vm-web1.root.nbdkit.service": {HELPER: digest("helper\n"), SECRET: VERSION},
    }
    observed = {
        "files": {path: {"sha256": digest(text), "images": [], "places": {}} for path, text in texts.items()},
        "units": {
            "qemu-vm-web1.service": {**running, "started_from": started_from, "drop_ins": {}},
            "qemu-vm-web1.root.nbdkit.service": {**running, "enabled": False},
            "qemu-vms.target": running,
        },
        "credentials": {SECRET: {"version": VERSION, "current": True}},
        "staged": [],
        "folders": [],
        "links": [],
        "processes": {},
    }
    return desired, observed


def new_host(desired: dict[str, Any], observed: dict[str, Any]) -> None:
    observed.update(files={}, units={}, credentials={})


def wanted(**settings: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    return lambda desired, observed: desired["vms"]["web1"].update(settings)


def unit_is(**state: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    return lambda desired, observed: observed["units"]["qemu-vm-web1.service"].update(state)


def changed_file(path: str) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    """Another text is declared than the VM was started from."""

    def change(desired: dict[str, Any], observed: dict[str, Any]) -> None:
        observed["files"][path].update(sha256="old")
        started_from(path, "old")(desired, observed)

    return change


def edited_file(path: str) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    """Somebody has changed the file since the start."""
    return lambda desired, observed: observed["files"][path].update(sha256="edited")


def started_from(path: str, version: str) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def change(desired: dict[str, Any], observed: dict[str, Any]) -> None:
        for files in (observed["units"]["qemu-vm-web1.service"]["started_from"] or {}).values():
            files.update({path: version} if path in files else {})

    return change


def drop_in(now: str, then: str) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    """A drop-in has these versions; empty if it does not exist."""

    def change(desired: dict[str, Any], observed: dict[str, Any]) -> None:
        state = observed["units"]["qemu-vm-web1.service"]
        state["drop_ins"].update({DROP_IN: now} if now else {})
        state["started_from"]["qemu-vm-web1.service"].update({DROP_IN: then} if then else {})

    return change


def secret_is(**state: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    return lambda desired, observed: observed["credentials"][SECRET].update(state)


def missing(*keys: str) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    return lambda desired, observed: observed[keys[0]].pop(keys[1])


def no_helper(desired: dict[str, Any], observed: dict[str, Any]) -> None:
    desired["vms"]["web1"]["units"].remove("qemu-vm-web1.root.nbdkit.service")
    del desired["files"][HELPER]


def no_secret(desired: dict[str, Any], observed: dict[str, Any]) -> None:
    desired["vms"]["web1"]["credentials"]["qemu-vm-web1.root.nbdkit.service"] = []


def has_folders(*paths: str) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    return lambda desired, observed: observed["folders"].extend(paths)


def other_vm(desired: dict[str, Any], observed: dict[str, Any]) -> None:
    observed["files"][f"{UNITS}/qemu-vm-web10.service"] = {"sha256": "x", "images": [], "places": {}}
    observed["credentials"]["/etc/credstore/qemu-vm-web10.root.password"] = {"version": VERSION, "current": False}


def nothing_declared(desired: dict[str, Any], observed: dict[str, Any]) -> None:
    desired["vms"] = {}
    observed["units"]["qemu-vms.target"]["enabled"] = False


def gone(desired: dict[str, Any], observed: dict[str, Any]) -> None:
    desired["vms"]["web1"].update(state="absent", units=[], credentials={})
    for path in (UNIT, HELPER):
        del desired["files"][path]


def gone_already(desired: dict[str, Any], observed: dict[str, Any]) -> None:
    gone(desired, observed)
    new_host(desired, observed)
    observed["files"][TARGET] = {"sha256": digest("target\n"), "images": [], "places": {}}
    observed["units"] = {
        "qemu-vms.target": {"active": "active", "enabled": True, "reload": False, "started_from": None, "drop_ins": {}}
    }


STAGED = f"{UNITS}/qemu-image-abc0.service"
STAGED_SECRET = "/etc/credstore/qemu-image-abc0.image.curl"
AGENT, KEYS = "qemu-vm-web1.ssh.agent.service", "qemu-vm-web1.ssh.keys.service"
KEY = "/etc/credstore/qemu-vm-web1.ssh.root.key.key"


def staged(desired: dict[str, Any], observed: dict[str, Any]) -> None:
    """web1 has a staged image, and it is there."""
    desired["files"][STAGED] = {"text": "image\n", "mode": 0o644}
    desired["images"]["abc0"] = [STAGED_SECRET]
    observed["files"][STAGED] = {"sha256": digest("image\n"), "images": [], "places": {}}
    observed["credentials"][STAGED_SECRET] = {"version": VERSION, "current": True}
    observed["staged"].append("abc0")


def no_longer_staged(desired: dict[str, Any], observed: dict[str, Any]) -> None:
    staged(desired, observed)
    del desired["files"][STAGED], desired["images"]["abc0"]


def staged_for_another(desired: dict[str, Any], observed: dict[str, Any]) -> None:
    """A machine that is not declared opens the image."""
    no_longer_staged(desired, observed)
    other_vm(desired, observed)
    observed["files"][f"{UNITS}/qemu-vm-web10.service"]["images"] = ["abc0"]


def keys(desired: dict[str, Any], observed: dict[str, Any]) -> None:
    """web1 has an agent, and its keys are loaded."""
    vm = desired["vms"]["web1"]
    vm["units"] += [AGENT, KEYS]
    vm["credentials"].update({AGENT: [], KEYS: [KEY]})
    vm["reloaded"] = [KEYS]
    observed["credentials"][KEY] = {"version": VERSION, "current": True}
    for unit in (AGENT, KEYS):
        desired["files"][f"{UNITS}/{unit}"] = {"text": unit, "mode": 0o644}
        observed["files"][f"{UNITS}/{unit}"] = {"sha256": digest(unit), "images": [], "places": {}}
        observed["units"][unit] = {
            "active": "active",
            "enabled": False,
            "reload": False,
            "started_from": None,
            "drop_ins": {},
        }
    observed["units"][KEYS]["started_from"] = {KEYS: {f"{UNITS}/{KEYS}": digest(KEYS), KEY: VERSION}}
    observed["units"]["qemu-vm-web1.service"]["started_from"][AGENT] = {f"{UNITS}/{AGENT}": digest(AGENT)}


def key_is(**state: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    return lambda desired, observed: observed["credentials"][KEY].update(state)


CASES = [
    ("nothing to do", [], []),
    (
        "a new host",
        [new_host],
        [
            f"write credential {SECRET}",
            f"write {TARGET}",
            f"write {UNIT}",
            f"write {HELPER}",
            "enable vm web1",
            "enable all vms",
            "start vm web1",
            "reload systemd",
        ],
    ),
    (
        "a new host, not to be started",
        [new_host, wanted(state="stopped", autostart=False)],
        [
            f"write credential {SECRET}",
            f"write {TARGET}",
            f"write {UNIT}",
            f"write {HELPER}",
            "enable all vms",
            "reload systemd",
        ],
    ),
    (
        "a changed unit waits for a restart",
        [changed_file(UNIT)],
        [f"write {UNIT}", "reload systemd", "restart needed: web1"],
    ),
    (
        "a changed unit is restarted where that is allowed",
        [changed_file(UNIT), wanted(restart="when_needed")],
        [f"write {UNIT}", "restart vm web1", "reload systemd"],
    ),
    (
        "a changed helper counts as well",
        [changed_file(HELPER), wanted(restart="when_needed")],
        [f"write {HELPER}", "restart vm web1", "reload systemd"],
    ),
    (
        "a changed unit of a VM that is down is started",
        [changed_file(UNIT), unit_is(active="failed")],
        [f"write {UNIT}", "start vm web1", "reload systemd"],
    ),
    (
        "a changed target restarts nobody",
        [changed_file(TARGET), wanted(restart="when_needed")],
        [f"write {TARGET}", "reload systemd"],
    ),
    (
        "a changed secret waits for a restart",
        [secret_is(current=False)],
        [f"write credential {SECRET}", "restart needed: web1"],
    ),
    (
        "a changed secret restarts where that is allowed",
        [secret_is(current=False), wanted(restart="when_needed")],
        [f"write credential {SECRET}", "restart vm web1"],
    ),
    (
        "a secret that is gone is written again",
        [missing("credentials", SECRET)],
        [f"write credential {SECRET}", "restart needed: web1"],
    ),
    ("a run was killed after it wrote the unit", [started_from(UNIT, "old")], ["restart needed: web1"]),
    ("a run was killed after it wrote the secret", [started_from(SECRET, "0")], ["restart needed: web1"]),
    (
        "a file that somebody has edited is written again, and the VM runs from what is declared",
        [edited_file(UNIT), edited_file(HELPER), wanted(restart="when_needed")],
        [f"write {UNIT}", f"write {HELPER}", "reload systemd"],
    ),
    (
        "started from what somebody had edited",
        [started_from(UNIT, "edited"), edited_file(UNIT)],
        [f"write {UNIT}", "reload systemd", "restart needed: web1"],
    ),
    ("started from a unit that systemd had not read", [started_from(UNIT, "")], ["restart needed: web1"]),
    ("a new drop-in", [drop_in("1", "")], ["restart needed: web1"]),
    ("a changed drop-in", [drop_in("2", "1")], ["restart needed: web1"]),
    ("a removed drop-in", [drop_in("", "1")], ["restart needed: web1"]),
    ("a drop-in of its start", [drop_in("1", "1")], []),
    (
        "a run was killed before it restarted",
        [started_from(UNIT, "old"), wanted(restart="when_needed")],
        ["restart vm web1"],
    ),
    (
        "a run was killed before systemd read the unit",
        [unit_is(reload=True, active="inactive")],
        ["start vm web1", "reload systemd"],
    ),
    ("a run was killed before it enabled", [unit_is(enabled=False, active="")], ["enable vm web1", "start vm web1"]),
    ("a run was killed before it enabled the target", [missing("units", "qemu-vms.target")], ["enable all vms"]),
    (
        "a run was killed between secret and unit",
        [missing("files", UNIT), unit_is(active="")],
        [f"write {UNIT}", "start vm web1", "reload systemd"],
    ),
    ("what it was started from is not known", [unit_is(started_from=None)], ["restart needed: web1"]),
    ("it is on its way up", [unit_is(active="activating")], ["start vm web1"]),
    ("it reloads", [unit_is(active="reloading")], []),
    ("to be stopped, also after a boot", [wanted(state="stopped")], ["stop vm web1", "disable vm web1"]),
    (
        "to be stopped while it starts",
        [wanted(state="stopped"), unit_is(active="activating")],
        ["stop vm web1", "disable vm web1"],
    ),
    ("stopped already", [wanted(state="stopped"), unit_is(active="inactive", enabled=False)], []),
    ("stopped until the host boots", [wanted(state="stopped"), unit_is(active="inactive")], ["disable vm web1"]),
    ("stopped by a failure", [wanted(state="stopped"), unit_is(active="failed", enabled=False)], []),
    ("its guest has powered off", [unit_is(active="inactive")], ["start vm web1"]),
    ("started again", [unit_is(active="inactive", enabled=False)], ["enable vm web1", "start vm web1"]),
    (
        "stopped and changed",
        [wanted(state="stopped"), unit_is(active="inactive", enabled=False), changed_file(UNIT)],
        [f"write {UNIT}", "reload systemd"],
    ),
    ("not to start with the host", [wanted(autostart=False)], ["disable vm web1"]),
    ("to start with the host", [unit_is(enabled=False)], ["enable vm web1"]),
    ("a helper that is no longer needed", [no_helper], [f"remove {HELPER}", "reload systemd"]),
    ("a secret that is no longer needed", [no_secret], [f"remove credential {SECRET}"]),
    ("another machine with a similar name", [other_vm], []),
    ("no machine is declared", [nothing_declared], []),
    (
        "to be gone",
        [gone],
        [
            "stop vm web1",
            "disable vm web1",
            f"remove {UNIT}",
            f"remove {HELPER}",
            f"remove credential {SECRET}",
            "reload systemd",
        ],
    ),
    ("gone already", [gone_already], []),
    (
        "gone, and its folders are not",
        [gone_already, has_folders("/run/qemu-vm-web1.root", "/var/cache/qemu-vm-web1", "/var/cache/qemu-vm-web10")],
        ["remove folder /run/qemu-vm-web1.root", "remove folder /var/cache/qemu-vm-web1"],
    ),
    ("the folders of a VM that is declared", [has_folders("/var/cache/qemu-vm-web1")], []),
    (
        "to be gone, with its folders; systemd removes what is below /run",
        [gone, has_folders("/run/qemu-vm-web1", "/var/cache/qemu-vm-web1")],
        [
            "stop vm web1",
            "disable vm web1",
            f"remove {UNIT}",
            f"remove {HELPER}",
            f"remove credential {SECRET}",
            "remove folder /var/cache/qemu-vm-web1",
            "reload systemd",
        ],
    ),
    (
        "to be gone, and a run was killed after it stopped",
        [gone, unit_is(active="inactive", enabled=False)],
        [f"remove {UNIT}", f"remove {HELPER}", f"remove credential {SECRET}", "reload systemd"],
    ),
    ("a staged image", [staged], []),
    (
        "a staged image with another password",
        [staged, lambda desired, observed: observed["credentials"][STAGED_SECRET].update(current=False)],
        [f"write credential {STAGED_SECRET}"],
    ),
    (
        "a staged image that nothing declares any more",
        [no_longer_staged],
        [
            f"remove {STAGED}",
            f"remove credential {STAGED_SECRET}",
            "remove staged image abc0",
            "reload systemd",
        ],
    ),
    ("a staged image of a VM without a declaration", [staged_for_another], []),
    (
        "what is left of a staged image",
        [lambda desired, observed: observed["staged"].append("abc1")],
        ["remove staged image abc1"],
    ),
    ("keys", [keys], []),
    (
        "a changed key is loaded, and the VM runs on",
        [keys, key_is(current=False)],
        [f"write credential {KEY}", f"restart {KEYS}"],
    ),
    ("a run was killed before it loaded a changed key", [keys, key_is(version="2")], [f"restart {KEYS}"]),
    (
        "a changed key of a VM that is down",
        [keys, key_is(current=False), unit_is(active="failed")],
        [f"write credential {KEY}", "start vm web1"],
    ),
]


@pytest.mark.parametrize(("edits", "actions"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_a_run_does(edits: list[Callable[..., None]], actions: list[str]) -> None:
    desired, observed = settled()
    for edit in edits:
        edit(desired, observed)
    before = copy.deepcopy((desired, observed))
    changes = decide(desired, observed)
    assert [*changes.actions(), *(f"restart needed: {name}" for name in changes.restart_required)] == actions
    assert changes.any() == any(not action.startswith("restart needed") for action in actions)
    assert (desired, observed) == before


LIVE = (
    "controllers",
    "eject",
    "insert",
    "detach",
    "attach",
    "limit",
    "reopen",
    "unplug",
    "plug",
    "link",
    "bridge",
    "sizes",
)


def test_every_change_has_words() -> None:
    changes = Changes(reload=True)
    for name, value in vars(changes).items():
        if isinstance(value, list):
            value.append(("web1", name) if name in LIVE else f"<{name}>")
    changes.purge["web1"] = ["/lost"]
    changes.take_over["web1"] = ["take over"]
    device: Any = {"id": "hand", "driver": "e1000", "nodes": [], "netdev": ""}
    changes.unplug_undeclared["web1"] = [device]
    assert len(changes.actions()) == len(vars(changes)) - len(_NO_CHANGES)


def replaced_by_another_run(desired: dict[str, Any], observed: dict[str, Any]) -> None:
    observed["files"][UNIT]["sha256"] = "of another run"


@pytest.mark.parametrize(
    ("before", "meanwhile", "changed"),
    [
        ([], [], []),
        ([new_host], [], []),
        ([changed_file(UNIT)], [], []),
        # Another run has done what this one would do.
        ([changed_file(UNIT), unit_is(enabled=False)], [new_host, lambda d, o: o.update(settled()[1])], []),
        ([], [replaced_by_another_run], [UNIT]),
        ([changed_file(UNIT)], [replaced_by_another_run], [UNIT]),
        ([], [missing("files", HELPER)], [HELPER]),
        # It was stopped by another run, and this one has it declared started, as it was.
        ([], [unit_is(enabled=False, active="inactive")], ["qemu-vm-web1.service"]),
        # It has crashed.
        ([], [unit_is(active="failed")], []),
        ([], [other_vm], []),
        ([gone], [missing("files", UNIT), missing("files", HELPER), unit_is(enabled=False)], []),
        ([gone], [replaced_by_another_run], [UNIT]),
        ([gone, new_host], [lambda d, o: o.update(settled()[1])], [HELPER, UNIT, "qemu-vm-web1.service"]),
    ],
)
def test_what_another_run_has_changed_since_this_one_looked(
    before: list[Callable[..., None]], meanwhile: list[Callable[..., None]], changed: list[str]
) -> None:
    desired, observed = settled()
    for edit in before:
        edit(desired, observed)
    desired["baseline"] = copy.deepcopy(baseline_of(desired, observed))
    for edit in meanwhile:
        edit(desired, observed)
    assert changed_since(desired, observed) == changed
