# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics of a host: units and monitors are doubles, files are real."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._metrics import collect, units, vm_answers
from ansible_collections.directdisk.qemu.plugins.module_utils._metrics.collect import Settings
from ansible_collections.directdisk.qemu.plugins.module_utils._metrics.exposition import FAMILIES, Exposition
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import unit_record
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.tests.unit.fake_qmp import FakeQemu, FloodingMonitor

STATS = {
    "rd_bytes": 1024,
    "wr_bytes": 2048,
    "rd_operations": 2,
    "wr_operations": 3,
    "flush_operations": 1,
    "rd_total_time_ns": 1_500_000_000,
    "failed_wr_operations": 4,
}
GOOD: dict[str, Any] = {
    "query-status": {"status": "io-error"},
    "query-blockstats": [
        {"node-name": "root.format", "stats": STATS},
        {"node-name": "machine.seed", "stats": STATS},
        {"node-name": "made-up.format", "stats": STATS},
    ],
    "query-block": [
        {
            "io-status": "nospace",
            "inserted": {"node-name": "root.format", "image": {"virtual-size": 512, "actual-size": 200}},
        },
        {"inserted": {"node-name": "machine.seed"}},
        {"inserted": {"node-name": "made-up.format"}},
    ],
}


class Host:
    """A hypervisor whose files are in a temporary folder, and whose systemctl answers what a test sets."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.shown: dict[str, dict[str, str]] = {}
        monkeypatch.setattr(unit_record, "UNIT_FOLDERS", (str(folder / "units"), str(folder / "run")))
        monkeypatch.setattr(paths, "UNIT_DIRECTORY", str(folder / "units"))
        monkeypatch.setattr(unit_record, "RECORDS", str(folder / "started"))
        monkeypatch.setattr(paths, "qmp_socket", lambda vm: str(folder / vm))
        monkeypatch.setattr(collect, "CACHE", str(folder / "cache"))
        monkeypatch.setattr(units, "_show", lambda names: {name: self.shown.get(name, {}) for name in names})
        (folder / "units").mkdir()

    def add(self, vm: str, **facts: str) -> None:
        """Write a unit of a VM with a disk root, as it was at its last start, and set what systemd says."""
        unit = paths.unit_name(vm)
        text = '-blockdev \'{"node-name":"root.storage"}\' \\\n -blockdev \'{"node-name":"machine.seed"}\'\n'
        (self.folder / "units" / unit).write_text(text)
        self.shown[unit] = {"ActiveState": "active", "UnitFileState": "enabled", "InvocationID": "1", **facts}
        unit_record._write(unit, {"invocation": "1", "units": unit_record.files_of([unit]), "links_down": []})

    def collect(self, *declared: str, seconds: float = 2.0, details: bool = True) -> dict[str, str]:
        """Return the values by metric and labels."""
        text, problems = collect.collect(Settings("", seconds, details, declared))
        assert problems == []
        return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))


@pytest.fixture(name="host")
def make_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    yield Host(tmp_path, monkeypatch)


def test_a_paused_vm_and_its_disk(host: Host) -> None:
    host.add("web1", NRestarts="3")
    with FakeQemu(host.folder / "web1", answers=GOOD):
        found = host.collect("web1")
    vm, disk = '{vm="web1"}', '{vm="web1",disk="root"}'
    assert found['qemu_vm_state{vm="web1",state="paused"}'] == "1"
    assert found['qemu_vm_state{vm="web1",state="running"}'] == "0"
    assert found['qemu_vm_pause_reason{vm="web1",reason="io-error"}'] == "1"
    for name, value in {"enabled": 1, "declared": 1, "restart_due": 0, "monitor_up": 1}.items():
        assert found[f"qemu_vm_{name}{vm}"] == str(value)
    assert found[f"qemu_vm_automatic_restarts_total{vm}"] == "3"
    assert found[f"qemu_vm_disk_read_bytes_total{disk}"] == "1024"
    assert found[f"qemu_vm_disk_written_bytes_total{disk}"] == "2048"
    assert found[f"qemu_vm_disk_writes_completed_total{disk}"] == "3"
    assert found[f"qemu_vm_disk_read_time_seconds_total{disk}"] == "1.500000"
    assert found['qemu_vm_disk_errors_total{vm="web1",disk="root",operation="write"}'] == "4"
    assert found['qemu_vm_disk_errors_total{vm="web1",disk="root",operation="read"}'] == "0"
    assert found['qemu_vm_disk_io_status{vm="web1",disk="root",status="nospace"}'] == "1"
    assert (found[f"qemu_vm_disk_size_bytes{disk}"], found[f"qemu_vm_disk_allocated_bytes{disk}"]) == ("512", "200")
    assert {name for name in found if "disk=" in name and 'disk="root"' not in name} == set()


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ({"ActiveState": "failed"}, "failed"),
        ({"ActiveState": "activating", "SubState": "auto-restart"}, "failed"),
        ({"ActiveState": "activating", "SubState": "start"}, "starting"),
        ({"ActiveState": "deactivating"}, "stopping"),
        ({"ActiveState": "inactive"}, "stopped"),
        ({"ActiveState": "a new one"}, "unknown"),
        ({"ActiveState": "active"}, "unknown"),  # nobody listens
    ],
)
def test_a_state_of_a_unit(host: Host, facts: dict[str, str], state: str) -> None:
    host.add("web1", **facts, UnitFileState="disabled")
    found = host.collect()
    assert [name for name, value in found.items() if "vm_state" in name and value == "1"] == [
        f'qemu_vm_state{{vm="web1",state="{state}"}}'
    ]
    assert (found['qemu_vm_declared{vm="web1"}'], found['qemu_vm_enabled{vm="web1"}']) == ("0", "0")
    assert found.get('qemu_vm_monitor_up{vm="web1"}', "0") == "0"


def test_the_storage_is_not_asked_without_details(host: Host) -> None:
    host.add("web1")
    running = {**GOOD, "query-status": {"status": "running"}}
    with FakeQemu(host.folder / "web1", answers=running) as qemu:
        found = host.collect("web1", details=False)
    assert qemu.heard == ["qmp_capabilities", "query-status", "query-blockstats"]
    assert found['qemu_vm_monitor_up{vm="web1"}'] == "1"
    assert not [name for name in found if re.match("qemu_vm_disk_(io_status|size|allocated)", name)]


def test_a_vm_that_waits_anyway_tells_which_disk_has_failed(host: Host) -> None:
    host.add("web1")
    with FakeQemu(host.folder / "web1", answers=GOOD):
        found = host.collect("web1", details=False)
    assert found['qemu_vm_disk_io_status{vm="web1",disk="root",status="nospace"}'] == "1"


def test_a_restart_is_due_once_the_unit_has_changed(host: Host) -> None:
    host.add("web1")
    keys = host.folder / "units" / paths.ssh_keys_unit_name("web1")
    keys.write_text("[Service]\n")  # loaded while the VM runs
    with FakeQemu(host.folder / "web1", answers=GOOD):
        assert host.collect()['qemu_vm_restart_due{vm="web1"}'] == "0"
        with open(host.folder / "units" / "qemu-vm-web1.service", "a", encoding="utf-8") as stream:
            stream.write("MemoryMax=1G\n")
        assert host.collect()['qemu_vm_restart_due{vm="web1"}'] == "1"


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("query-blockstats", [{"node-name": "root.format", "stats": {"rd_bytes": -1}}]),
        ("query-blockstats", [{"node-name": "root.format", "stats": {"rd_bytes": 1 << 64}}]),
        ("query-blockstats", [{"node-name": "root.format", "stats": {"rd_bytes": "1\nevil 1"}}]),
        ("query-blockstats", [{"node-name": "root.format", "stats": {"rd_bytes": True}}]),
        ("query-blockstats", {"error": {"desc": "no"}}),
        ("query-block", [{"inserted": {"node-name": "root.format", "image": {"virtual-size": 1.5}}}]),
        ("query-block", 5),
    ],
)
def test_values_that_qemu_does_not_have_are_an_error_of_their_vm(host: Host, command: str, answer: object) -> None:
    host.add("web1")
    with FakeQemu(host.folder / "web1", answers={**GOOD, command: answer}):
        found = host.collect()
    assert found['qemu_vm_monitor_up{vm="web1"}'] == "0"
    assert found['qemu_vm_state{vm="web1",state="paused"}'] == "1"
    assert not [name for name in found if "evil" in name]


@pytest.mark.parametrize("status", ["evil\n", '"} 1', 5, ["running"], None])
def test_a_status_that_qemu_does_not_have_is_not_repeated(host: Host, status: object) -> None:
    host.add("web1")
    with FakeQemu(host.folder / "web1", answers={**GOOD, "query-status": {"status": status}}):
        found = host.collect()
    assert found['qemu_vm_pause_reason{vm="web1",reason="other"}'] == "1"


@pytest.mark.parametrize("piece", [b"A" * 65536, b'{"event":"X"}\n', b'{"QMP":{}}\n{"return":[' + b"{}," * 100_000])
def test_a_hostile_vm_costs_its_time_limit_and_no_other_vm(host: Host, piece: bytes) -> None:
    host.add("evil")
    host.add("web1")
    with FloodingMonitor(host.folder / "evil", piece), FakeQemu(host.folder / "web1", answers=GOOD):
        began = time.monotonic()
        found = host.collect(seconds=1.5)
    assert time.monotonic() - began < 10
    assert found['qemu_vm_monitor_up{vm="evil"}'] == "0"
    assert found['qemu_vm_state{vm="evil",state="unknown"}'] == "1"
    assert found['qemu_vm_monitor_up{vm="web1"}'] == "1"


def test_an_answer_is_limited_in_bytes(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vm_answers, "ANSWER_LIMIT", 1000)
    host.add("web1")
    many = [{"node-name": f"disk{number}.format"} for number in range(100_000)]
    with FakeQemu(host.folder / "web1", answers={**GOOD, "query-blockstats": many}):
        assert host.collect()['qemu_vm_monitor_up{vm="web1"}'] == "0"


def test_vms_are_asked_side_by_side(host: Host) -> None:
    names = [f"vm{number}" for number in range(8)]
    with ExitStack() as stack:
        for name in names:
            host.add(name)
            stack.enter_context(FakeQemu(host.folder / name, answers=GOOD, thinks=0.1))
        began = time.monotonic()
        found = host.collect(seconds=5)
    assert time.monotonic() - began < 2
    assert [found[f'qemu_vm_monitor_up{{vm="{name}"}}'] for name in names] == ["1"] * 8


def test_the_image_cache(host: Host) -> None:
    assert host.collect()["qemu_image_cache_files"] == "0"
    cache = host.folder / "cache"
    cache.mkdir()
    (cache / "a").write_bytes(b"x" * 5000)
    (cache / "b").symlink_to("/etc/passwd")
    found = host.collect()
    assert found["qemu_image_cache_files"] == "1"
    assert 4096 <= int(found["qemu_image_cache_bytes"]) <= 65536
    assert found["qemu_metrics_collection_success"] == "1"
    assert abs(float(found["qemu_metrics_collection_timestamp_seconds"]) - time.time()) < 60


def test_a_systemd_that_does_not_answer_is_told(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> list[units.UnitOfVm]:
        raise units.HostError("systemctl show: no answer")

    monkeypatch.setattr(units, "vms", fail)
    text, problems = collect.collect(Settings("", 1, True, ()))
    assert problems == ["systemctl show: no answer"]
    assert "qemu_metrics_collection_success 0\n" in text


SYSTEMCTL = """#!/bin/sh
echo "$@" >&2
[ "$4" != qemu-vm-web1.service ] && exit 1
printf 'Id=qemu-vm-web1.service\nActiveState=active\nNRestarts=2\n\nId=qemu-vm-off.service\nActiveState=inactive\n'
"""


def test_systemctl_is_asked_once_for_all_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "systemctl").write_text(SYSTEMCTL)
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    shown = units._show(["qemu-vm-web1.service", "qemu-vm-off.service", "qemu-vm-gone.service"])
    assert shown["qemu-vm-web1.service"]["NRestarts"] == "2"
    assert shown["qemu-vm-off.service"]["ActiveState"] == "inactive"
    assert shown["qemu-vm-gone.service"] == {}
    assert units._show([]) == {}
    with pytest.raises(units.HostError, match="systemctl show: show --property=Id,"):
        units._show(["another.service"])
    (tmp_path / "systemctl").write_text("#!/bin/sh\nexec sleep 9\n")
    monkeypatch.setattr(units, "SYSTEMCTL_SECONDS", 0.1)
    with pytest.raises(units.HostError, match="no answer within"):
        units._show(["qemu-vm-web1.service"])


def test_the_file_is_replaced_at_once_and_through_no_link(tmp_path: Path) -> None:
    target, victim = tmp_path / "qemu_vms.prom", tmp_path / "victim"
    victim.write_text("kept")
    (tmp_path / "qemu_vms.prom.new").symlink_to(victim)
    collect.write(str(target), "a 1\n")
    before = os.open(target, os.O_RDONLY)
    collect.write(str(target), "a 2\n")
    assert (os.read(before, 100), target.read_text()) == (b"a 1\n", "a 2\n")
    os.close(before)
    assert (victim.read_text(), sorted(path.name for path in tmp_path.iterdir())) == (
        "kept",
        ["qemu_vms.prom", "victim"],
    )
    assert target.stat().st_mode & 0o777 == 0o644


def test_the_program_writes_what_its_settings_say(host: Host) -> None:
    settings = host.folder / "settings.json"
    target = host.folder / "out.prom"
    settings.write_text(json.dumps({"path": str(target), "seconds": 1, "details": False, "declared": ["a"]}))
    collect.main(str(settings))
    assert "qemu_metrics_collection_success 1\n" in target.read_text()


def test_a_metric_is_named_as_prometheus_asks() -> None:
    for family in FAMILIES:
        assert re.fullmatch(r"qemu_[a-z_]+", family.name)
        assert family.name.endswith("_total") == (family.kind == "counter")
        assert family.help.endswith(".") and "\n" not in family.help


def test_a_label_is_escaped() -> None:
    metrics = Exposition()
    metrics.add("qemu_vm_enabled", True, 'a"b\\c\nd')
    assert metrics.text().endswith('qemu_vm_enabled{vm="a\\"b\\\\c\\nd"} 1\n')
    with pytest.raises(ValueError, match="labels vm"):
        metrics.add("qemu_vm_enabled", 1)


def test_a_link_that_somebody_makes_meanwhile_is_not_written_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    (tmp_path / "vms.prom.new").symlink_to(target)
    monkeypatch.setattr(collect.os, "unlink", lambda path: None)
    with pytest.raises(FileExistsError):
        collect.write(str(tmp_path / "vms.prom"), "text")
    assert not target.exists()


def test_everybody_may_read_the_file_whatever_the_umask_is(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        collect.write(str(tmp_path / "vms.prom"), "text")
    finally:
        os.umask(before)
    assert (tmp_path / "vms.prom").stat().st_mode & 0o777 == 0o644


def test_images_count_with_the_bytes_that_they_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(tmp_path / "sparse", "wb") as stream:
        stream.truncate(1 << 30)
    monkeypatch.setattr(collect, "CACHE", str(tmp_path))
    metrics = Exposition()
    collect._add_cache(metrics)
    assert "qemu_image_cache_files 1\n" in metrics.text()
    assert f"qemu_image_cache_bytes {1 << 30}\n" not in metrics.text()


def test_a_cache_that_cannot_be_read_is_a_problem_and_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(units, "vms", list)
    monkeypatch.setattr(collect.os, "scandir", refuse)
    text, problems = collect.collect(Settings(str(tmp_path / "vms.prom"), 1, details=False, declared=()))
    assert problems == [f"{collect.CACHE}: Permission denied"]
    assert "qemu_metrics_collection_success 0\n" in text


def test_a_status_that_qemu_does_not_have_is_another_one() -> None:
    answers = vm_answers.DiskAnswers()
    vm_answers._add_details(answers, {"io-status": "evil"}, {})
    assert answers.io_status == vm_answers.OTHER
