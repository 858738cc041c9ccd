# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times qemu_disks against the storage of the lab, for growing numbers of disks. Started by tests/bench/run disks."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import HERE, HOST, Bench, BenchError

STORAGE = "storage1"
READY = str(HERE / "playbooks" / "disks_ready.yml")
PLAYBOOK = str(HERE / "playbooks" / "disks.yml")
FEW, MANY = 10, 100
AIM = 3.0
"""Times as long as FEW disks that MANY may take when nothing changes."""
CREATE_AIM = 1.5
"""Times as long as Ceph's own program that MANY new images may take."""
CREATE_SIZE = "10GiB"

RBD = {
    "pool": "{{ lab_ceph_pool }}",
    "user": "{{ lab_ceph_user }}",
    "key": "{{ lab_ceph_key }}",
    "monitors": "{{ lab_ceph_monitors }}",
}
NFS = {"host": "{{ lab_storage_address }}", "user": "{{ lab_nfs_user }}", "group": "{{ lab_nfs_group }}"}
SSH = {
    "host": "{{ lab_storage_address }}",
    "port": "{{ lab_ssh_port }}",
    "user": "{{ lab_ssh_user }}",
    "key": "{{ lab_ssh_plain_key }}",
    "host_key": "{{ lab_ssh_known_hosts.split(' ', 1)[1] }}",
}
ISCSI = {
    "portal": "{{ lab_iscsi_portal }}",
    "target": "{{ lab_iscsi_iqn }}:" + HOST,
    "user": "{{ lab_iscsi_user }}",
    "password": "{{ lab_iscsi_password }}",
}
FIRST_LUN = 100
_TGTADM = "tgtadm --lld iscsi --mode logicalunit"
_TARGET = f"tgtadm --lld iscsi --mode target --op show | sed -n 's/^Target \\([0-9]*\\): .*:{HOST}$/\\1/p' | head -n 1"
"""Prints tgt's number of the hypervisor's target."""

Disk = dict[str, Any]


def kinds(name: str) -> list[Disk]:
    """The same disk on storage of five kinds."""
    return [
        {"rbd": {**RBD, "image": name}, "size": "1MiB"},
        {"nfs": {**NFS, "path": f"/srv/nfs/{name}.qcow2"}, "format": "qcow2", "size": "1MiB"},
        {"ssh": {**SSH, "path": f"/srv/ssh/{name}"}, "size": "1MiB"},
        {"file": {"filename": f"/srv/vms/{name}.qcow2"}, "format": "qcow2", "size": "1MiB"},
        {"iscsi": {**ISCSI, "lun": FIRST_LUN + int(name.rpartition("-")[2])}},
    ]


def mixed(count: int) -> list[Disk]:
    return [kinds(f"bench-{number // 5}")[number % 5] for number in range(count)]


def images(count: int) -> list[Disk]:
    return [{"rbd": {**RBD, "image": f"bench-new-{number}"}, "size": CREATE_SIZE} for number in range(count)]


def absent(disk: Disk) -> Disk:
    """The entry that removes a disk."""
    cannot_tell = disk.keys() & {"nfs", "ssh"}  # if anybody has it open
    return {**disk, "state": "absent", **({"provision": {"unused": True}} if cannot_tell else {})}


class Disks:
    """The lab's hypervisor and its storage host."""

    def __init__(self, bench: Bench, lab: Path, work: Path) -> None:
        self._bench = bench
        self._lab = lab
        self._variables = work / "disks.json"

    def up(self) -> None:
        subprocess.run([self._lab, "up", "--hosts", f"{HOST},{STORAGE}"], stdout=sys.stderr, check=True)
        self._bench.find_inventory()
        self._bench.playbook(READY)
        self.on_storage(
            f"target=$({_TARGET}); for n in $(seq 0 {MANY // 5 - 1}); do truncate --size=1M /srv/iscsi/bench-$n && "
            f"{_TGTADM} --op new --tid $target --lun $(({FIRST_LUN} + n)) --backing-store /srv/iscsi/bench-$n; done"
        )

    def down(self) -> None:
        """Leave nothing on the storage."""
        self.run([absent(disk) for disk in mixed(MANY) if "iscsi" not in disk])
        self.run([absent(disk) for disk in images(MANY)])
        self.on_storage(
            f"target=$({_TARGET}); for n in $(seq 0 {MANY // 5 - 1}); do "
            f"{_TGTADM} --op delete --tid $target --lun $(({FIRST_LUN} + n)) || true; done; rm -f /srv/iscsi/bench-*"
        )

    def run(self, disks: Sequence[Disk], *, changed: bool | None = None) -> float:
        """Seconds of a playbook with one task; changed: whether it must change something."""
        self._variables.write_text(json.dumps({"bench_disks": disks}))
        seconds, count, output = self._bench.playbook(PLAYBOOK, "-e", f"@{self._variables}")
        if changed is not None and bool(count) != changed:
            raise BenchError(f"changed={count}\n{output}")
        return seconds

    def unmanaged(self, workers: int) -> float:
        """Seconds in which Ceph's own program makes the same images, on the storage host itself."""
        names = f"seq -f bench-new-%g 0 {MANY - 1} | xargs -P {workers} -I NAME rbd"
        begin = time.monotonic()
        self.on_storage(f"{names} create --size {CREATE_SIZE.removesuffix('iB')} rbd/NAME")
        seconds = time.monotonic() - begin
        self.on_storage(f"{names} remove --no-progress rbd/NAME")
        return seconds

    def on_storage(self, script: str) -> None:
        done = subprocess.run(
            [self._lab, "exec", STORAGE, "sh", "-c", script], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise BenchError(f"{script}:\n{done.stderr}")


def measure(disks: Disks, repeat: int, workers: int) -> dict[str, list[float]]:
    """Seconds of every run, by what it was."""
    found: dict[str, list[float]] = {}

    def note(name: str, seconds: float) -> None:
        found.setdefault(name, []).append(seconds)
        print(f"{name}: {seconds:.2f} s", file=sys.stderr)

    note(f"make {MANY} disks of five kinds", disks.run(mixed(MANY), changed=True))
    for number in range(repeat + 1):
        if number == 1:  # the first round warms up
            found = {name: seconds for name, seconds in found.items() if name.startswith("make")}
        note("none", disks.run([]))
        for count in (FEW, MANY):
            note(f"{count} without a change", disks.run(mixed(count), changed=False))
        note(f"{MANY} new RBD images", disks.run(images(MANY), changed=True))
        note(f"remove {MANY} RBD images", disks.run([absent(disk) for disk in images(MANY)]))
        note(f"{MANY} new RBD images by hand, {workers} at a time", disks.unmanaged(workers))
    return found


def report(found: dict[str, list[float]], workers: int) -> str:
    medians = {name: statistics.median(seconds) for name, seconds in found.items()}
    rows = [f"| {name} | {seconds:.2f} s | {seconds / medians['none']:.2f} |" for name, seconds in medians.items()]
    unmanaged = f"{MANY} new RBD images by hand, {workers} at a time"
    aims = (
        (f"{MANY} disks, to {FEW}", f"{MANY} without a change", f"{FEW} without a change", AIM),
        ("new images, to those by hand", f"{MANY} new RBD images", unmanaged, CREATE_AIM),
    )
    lines = [f"{os.cpu_count()} cores; medians, and the ratio to a task without disks", "", "| run | time | ratio |"]
    lines += ["| --- | --- | --- |", *rows, ""]
    for name, slow, quick, aim in aims:
        ratio = medians[slow] / medians[quick]
        lines.append(f"{'met   ' if ratio <= aim else 'MISSED'} {name}: {ratio:.2f} times as long (aim: {aim})")
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/bench/run disks", description="See tests/bench/README.md.")
    parser.add_argument("--lab", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--repeat", type=int, default=3, help="timed rounds of which the median counts: 3")
    parser.add_argument("--workers", type=int, default=4, help="how many of Ceph's own program run at a time: 4")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    disks = Disks(Bench(options.lab, options.work), options.lab, options.work)
    try:
        disks.up()
        found = measure(disks, options.repeat, options.workers)
    finally:
        disks.down()
    print(report(found, options.workers))


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        sys.exit(f"tests/bench/run: {error}")
