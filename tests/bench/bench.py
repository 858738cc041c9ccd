# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times playbooks against one host of the lab, for growing numbers of VMs. Started by tests/bench/run."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOST = "hv1"
FOLDER = "/srv/vms/bench"
PLAYBOOKS = {
    "role": str(HERE / "playbooks" / "role.yml"),
    "site": "directdisk.qemu.site",
    "loops": str(HERE / "playbooks" / "loops.yml"),
    "libvirt": str(HERE / "playbooks" / "libvirt.yml"),
}
OTHERS = ("loops", "libvirt")
"""What the collection is compared with: they cannot give a running VM a disk in one run."""
RUNS = ("first", "no change", "disks added", "one changed", "all stopped", "stopped, no change")
OTHERS_RUNS = ("first", "no change", "one changed")
AIMS = {"first": 0.100, "no change": 0.020, "stopped, no change": 0.010}
"""Seconds that a VM more may cost."""
PING_AIM = (10, 0.5)
"""At this many VMs a run without a change may take so many seconds more than ping."""
MEMORY, OTHER_MEMORY = "16MiB", "24MiB"
DISK_SIZE = "2M"
DISKS = ("root", "data")
ADDED_DISK = "added"
BOOT_SECTOR = bytes.fromhex("fa b0ff e621 b030 e643 f4 ebfd").ljust(510, b"\0") + b"\x55\xaa"
"""A guest that masks its interrupts, stops its timer and halts: fifty that idle should cost the host nothing."""

COUNT_UNITS = "systemctl list-units --no-legend --plain --state=active '{}*.service' | wc -l"
COUNT = {"loops": COUNT_UNITS.format("loop-vm"), "libvirt": "virsh --quiet list | wc -l"}
REMOVE = {
    "loops": "systemctl disable --now $(systemctl list-unit-files --no-legend --plain 'loop-vm*' | cut -d' ' -f1); "
    "rm -f /etc/systemd/system/loop-vm*; systemctl daemon-reload",
    "libvirt": "for vm in $(virsh --quiet list --all --name); do virsh destroy $vm; virsh undefine $vm; done",
}
"""How many VMs run, and how they are removed, where the collection does not do it."""


class BenchError(Exception):
    """A run did not do what it is measured for."""


@dataclass
class Sample:
    """One kind of run at one number of VMs."""

    seconds: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    """Each over the ping of its own round."""
    excesses: list[float] = field(default_factory=list)
    """Each minus the ping of its own round."""
    tasks: int = 0
    modules: int = 0


class Bench:
    """One lab host, and the declaration of its VMs."""

    def __init__(self, lab: Path, work: Path) -> None:
        self._lab = lab
        self._work = work
        self._inventory = work / "inventory"
        self._inventory.mkdir()
        (self._inventory / "hosts.yml").write_text(f"all: {{hosts: {{{HOST}: {{}}}}}}\n")
        (self._inventory / "host_vars").mkdir()
        self.declaration = self._inventory / "host_vars" / f"{HOST}.yml"
        self._boot_sector = work / "boot-sector"
        self._boot_sector.write_bytes(BOOT_SECTOR)

    def up(self, libvirt: bool = False) -> None:
        """The lab's host, with all that is done once in a host's life behind it."""
        subprocess.run([self._lab, "up", "--hosts", HOST], stdout=sys.stderr, check=True)
        if libvirt:
            subprocess.run([HERE / "libvirt_host", self._lab, HOST, self._work], stdout=sys.stderr, check=True)
        self.find_inventory()
        self.make_template()
        self.declare(1)
        self.make_disks(1)
        self.playbook(PLAYBOOKS["site"])  # installs packages and fills caches
        self.remove("site", 1)

    def find_inventory(self) -> None:
        self._lab_inventory = self._output([str(self._lab), "inventory"]).strip()

    def make_template(self) -> None:
        """The image that every machine boots from a copy of its own."""
        with self._boot_sector.open("rb") as stream:
            self.on_host(
                f"mkdir -p {FOLDER} && cd {FOLDER} && cat >raw && truncate --size={DISK_SIZE} raw && "
                "qemu-img convert -f raw -O qcow2 raw template",
                stdin=stream.fileno(),
            )

    def declare(
        self, count: int, *, state: str = "started", disks: Sequence[str] = DISKS, changed: bool = False
    ) -> None:
        """VMs with qcow2 files, for all playbooks; ``changed``: the last one has other settings than at first."""
        memories = {f"vm{number}": MEMORY for number in range(1, count + 1)}
        if changed:
            memories[f"vm{count}"] = OTHER_MEMORY
        lines = [
            f"bench_memory: {json.dumps(memories)}",
            f"bench_folder: {FOLDER}",
            f"bench_disks: {json.dumps(DISKS)}",
        ]
        lines.append("qemu_vms:")
        for name, memory in memories.items():
            lines += [
                f"  {name}:",
                f"    state: {state}",
                f"    memory: {memory}",
                "    accel: tcg",
                "    stop_timeout: 1",
                "    disks:",
            ]
            for disk in disks:
                lines += [
                    f"      {disk}:",
                    f"        file: {{path: {FOLDER}/{name}-{disk}.qcow2}}",
                    "        format: qcow2",
                    f"        size: {DISK_SIZE}",
                ]
        self.declaration.write_text("\n".join(lines) + "\n")

    def make_disks(self, count: int) -> None:
        self.on_host(
            f"cd {FOLDER} && rm -f *.qcow2 && "
            f"for n in $(seq {count}); do cp template vm$n-root.qcow2; cp template vm$n-data.qcow2; done; sync"
        )

    def remove_disks(self) -> None:
        self.on_host(f"rm -f {FOLDER}/*.qcow2; sync")

    def remove(self, kind: str, count: int) -> None:
        """Everything but the disks."""
        if kind in OTHERS:
            self.on_host(REMOVE[kind])
            return
        self.declare(count, state="absent")
        self.playbook(PLAYBOOKS["role"])

    def playbook(self, name: str, *arguments: str) -> tuple[float, int, str]:
        """Run a playbook; its seconds, how many tasks changed something, and what it said."""
        command = ["ansible-playbook", "--limit", HOST, "-i", self._lab_inventory, "-i", str(self._inventory)]
        begin = time.monotonic()
        output = self._output([*command, name, *arguments])
        seconds = time.monotonic() - begin
        recap = re.search(rf"^{HOST} +: ok=\d+ +changed=(\d+) ", output, re.M)
        if not recap:
            raise BenchError(f"{name}: no recap in\n{output}")
        return seconds, int(recap.group(1)), output

    def running(self, kind: str) -> int:
        return int(self.on_host(COUNT.get(kind, COUNT_UNITS.format("qemu-vm-vm"))))

    def open_images(self) -> int:
        """How many of the images a process has open."""
        links = self.on_host(
            f"find /proc/[0-9]*/fd -lname '{FOLDER}/*.qcow2' -printf '%l\\n' 2>/dev/null | sort -u || true"
        )
        return len(links.splitlines())

    def on_host(self, script: str, stdin: int = subprocess.DEVNULL) -> str:
        return self._output([str(self._lab), "exec", HOST, "sh", "-c", script], stdin=stdin)

    @staticmethod
    def _output(command: Sequence[str], stdin: int = subprocess.DEVNULL) -> str:
        done = subprocess.run(command, stdin=stdin, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"{shlex.join(command)}:\n{done.stdout}{done.stderr}")
        return done.stdout


class Rounds:
    """All rounds at one number of VMs, and what came of them."""

    def __init__(self, bench: Bench, count: int, create: bool) -> None:
        self._bench = bench
        self._count = count
        self._create = create
        self.samples: dict[tuple[str, str], Sample] = defaultdict(Sample)
        self.pings: list[float] = []

    def go(self, kinds: Sequence[str], repeat: int) -> None:
        """One round that counts tasks and warms up, then those that are timed."""
        for number in range(repeat + 1):
            timed = number > 0
            for kind in kinds:
                self._round(kind, timed)
            print(f"{self._count} VMs: round {number} of {repeat}", file=sys.stderr)

    def _round(self, kind: str, timed: bool) -> None:
        if self._create:
            self._bench.remove_disks()
        else:
            self._bench.make_disks(self._count)
        ping = self._bench.playbook(str(HERE / "playbooks" / "ping.yml"))[0]
        if timed:
            self.pings.append(ping)
        disks = DISKS
        for run in runs_of(kind):
            if run == "disks added":
                disks = (*DISKS, ADDED_DISK)
            state = "stopped" if "stopped" in run else "started"
            changed_vm = run in RUNS[RUNS.index("one changed") :]
            self._bench.declare(self._count, state=state, disks=disks, changed=changed_vm)
            seconds, changed, output = self._bench.playbook(PLAYBOOKS[kind], *([] if timed else ["-vvv"]))
            self._check(kind, run, changed, output)
            sample = self.samples[kind, run]
            if timed:
                sample.seconds.append(seconds)
                sample.ratios.append(seconds / ping)
                sample.excesses.append(seconds - ping)
            else:
                sample.tasks = len(re.findall(r"^TASK \[", output, re.M)) - output.count("\nskipping: [")
                sample.modules = output.count("Using module file ")
        self._bench.remove(kind, self._count)

    def _check(self, kind: str, run: str, changed: int, output: str) -> None:
        """Raise where a run did not do what it is measured for."""
        if bool(changed) == run.endswith("no change"):
            raise BenchError(f"{kind}, {run}: changed={changed}\n{output}")
        if run == "first" and self._bench.running(kind) != self._count:
            raise BenchError(f"{kind}, {run}: {self._bench.running(kind)} of {self._count} VMs run")
        if run == "disks added" and self._bench.open_images() != self._count * (len(DISKS) + 1):
            raise BenchError(f"{kind}, {run}: {self._bench.open_images()} images are open\n{output}")


def profile(bench: Bench, count: int) -> None:
    """One first run's changes and one run without a change, step by step."""
    import profiling  # it imports the collection

    bench.make_disks(count)
    bench.declare(count)
    profiling.apply(bench, bench.declaration)
    profiling.look(bench, bench.declaration)


def runs_of(kind: str) -> Sequence[str]:
    return OTHERS_RUNS if kind in OTHERS else RUNS


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least squares: seconds a VM."""
    return statistics.linear_regression(*zip(*points)).slope if len(points) > 1 else float("nan")


def table(results: dict[int, Rounds], kinds: Sequence[str]) -> str:
    """The results as Markdown."""
    sizes = sorted(results)
    head = ["playbook", "run", *(f"N={size}" for size in sizes), "ms per VM", "tasks", "module runs"]
    lines = [head, ["-"] * len(head)]
    for kind in kinds:
        for run in runs_of(kind):
            samples = [results[size].samples[kind, run] for size in sizes]
            medians = [statistics.median(sample.seconds) for sample in samples]
            ratios = [statistics.median(sample.ratios) for sample in samples]
            lines.append(
                [
                    kind,
                    run,
                    *(f"{seconds:.2f} s ({ratio:.2f})" for seconds, ratio in zip(medians, ratios)),
                    f"{1000 * slope(list(zip(sizes, medians))):.1f}",
                    _counts(sample.tasks for sample in samples),
                    _counts(sample.modules for sample in samples),
                ]
            )
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    lines[1] = ["-" * width for width in widths]
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines)


def _counts(counts: Iterator[int]) -> str:
    """One number, or all of them where they differ."""
    found = list(counts)
    return str(found[0]) if len(set(found)) == 1 else " ".join(map(str, found))


def aims(results: dict[int, Rounds], kinds: Sequence[str]) -> Iterator[str]:
    """Each aim, and how far it is."""
    sizes = sorted(results)
    for kind in [kind for kind in kinds if kind not in OTHERS]:
        for run, aim in AIMS.items():
            medians = [statistics.median(results[size].samples[kind, run].seconds) for size in sizes]
            if len(sizes) > 1:
                found = slope(list(zip(sizes, medians)))
                yield _aim(f"{kind}, {run}: {1000 * found:.1f} ms a VM", f"{1000 * aim:.0f} ms", found <= aim)
        count, aim = PING_AIM
        if count in results:
            found = statistics.median(results[count].samples[kind, "no change"].excesses)
            yield _aim(f"{kind}, no change, {count} VMs: {found:.2f} s over ping", f"{aim} s", found <= aim)


def _aim(found: str, aim: str, met: bool) -> str:
    return f"{'met ' if met else 'MISSED'} {found} (aim: {aim})"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/bench/run", description="See tests/bench/README.md.")
    parser.add_argument("--lab", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--sizes", type=_numbers, default=(1, 10, 50), help="numbers of VMs: 1,10,50")
    parser.add_argument("--repeat", type=int, default=3, help="timed rounds of which the median counts: 3")
    parser.add_argument("--only", choices=sorted(PLAYBOOKS), help="one playbook instead of role and site")
    parser.add_argument("--compare", action="store_true", help="with loops over ordinary modules and community.libvirt")
    parser.add_argument("--create", action="store_true", help="let the first run create the image files, too")
    parser.add_argument("--profile", action="store_true", help="where the time of one run without a change goes")
    return parser.parse_args()


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(sorted({int(word) for word in text.split(",")}))


@contextlib.contextmanager
def vms_removed_after(bench: Bench, kinds: Sequence[str], most: int) -> Iterator[None]:
    """Leave no VM behind, whatever happens."""
    try:
        yield
    finally:
        for kind in kinds:
            bench.remove(kind, most)
        bench.remove_disks()


def main() -> None:
    options = arguments()
    if options.repeat < 1 or min(options.sizes) < 1:
        sys.exit("tests/bench/run: --sizes and --repeat begin at 1")
    kinds = [options.only] if options.only else [kind for kind in PLAYBOOKS if options.compare or kind not in OTHERS]
    bench = Bench(options.lab, options.work)
    bench.up(libvirt="libvirt" in kinds)
    most = max(options.sizes)
    with vms_removed_after(bench, kinds, most):
        if options.profile:
            profile(bench, most)
            return
        results = {}
        for size in options.sizes:
            results[size] = Rounds(bench, size, options.create)
            results[size].go(kinds, options.repeat)
        pings = [seconds for rounds in results.values() for seconds in rounds.pings]
        print(f"{os.cpu_count()} cores; seconds, and in brackets the ratio to ping in the same round")
        print(f"ping: {statistics.median(pings):.2f} s, from {min(pings):.2f} to {max(pings):.2f}\n")
        print(table(results, kinds), "", *aims(results, kinds), sep="\n")


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        sys.exit(f"tests/bench/run: {error}")
