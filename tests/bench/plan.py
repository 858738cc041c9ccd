# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times plan.yml over growing inventories: 20 VMs of 3 disks a host. Started by tests/bench/run plan."""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

VMS = 20
SECONDS, MEMORY = 60, 1024
"""Aims for 1,000 hosts: seconds, and MiB of all processes together."""
LINEAR = 1.25
"""A host more may cost so many times as much in the upper half of the sizes as in the lower."""
LICENCE = "# SPDX-FileCopyrightText: directdisk.qemu contributors\n# SPDX-License-Identifier: GPL-3.0-or-later\n---\n"
GROUP_VARS = """\
vault_ceph_key: QVFEVm1GSlQwSm5JSnhBQWpYRy8yMg==
vault_chap: a
vault_images_password: b
vault_luks: c
storage_address: 192.0.2.6
"""

DISKS = (
    """\
      root:
        rbd:
          pool: vms{pool}
          image: {name}-root
          user: qemu
          key: "{{{{ vault_ceph_key }}}}"
          monitors: [192.0.2.1, 192.0.2.2, 192.0.2.3]
        size: 20GiB
        discard: unmap
      data:
        iscsi: {{portal: 192.0.2.9, target: "iqn.x:{name}", lun: 1, user: web, password: "{{{{ vault_chap }}}}"}}
        iops: {{total: 2000}}
      tools:
        https: {{url: "https://images.example/x", username: web, password: "{{{{ vault_images_password }}}}"}}
        format: qcow2
        writes: discard
""",
    """\
      root:
        uri: "nfs://192.0.2.7/export{pool}/{name}-root.qcow2"
        format: qcow2
        size: 40GiB
        cache: none
      data:
        nbd: {{host: "{{{{ storage_address }}}}", export: {name}}}
        iothread: true
      logs:
        file: {{filename: /srv/vms/{name}-logs.qcow2}}
        format: qcow2
        size: 100GiB
""",
    """\
      root:
        rbd: {{pool: vms{pool}, image: {name}-root, key: "{{{{ vault_ceph_key }}}}", monitors: [192.0.2.1]}}
        size: 200GiB
      data:
        gluster: {{host: 192.0.2.5, volume: gv{pool}, path: {name}.img}}
        size: 1TiB
      scratch:
        file: {{filename: /srv/vms/{name}-scratch.qcow2}}
        format: qcow2
        size: 50GiB
        luks: {{passphrase: "{{{{ vault_luks }}}}"}}
""",
)


def vm(host: int, vm: int) -> str:
    """One machine of three disks."""
    name = f"h{host}-v{vm}"
    head = f"  {name}:\n    memory: 4GiB\n    cpus: 4\n    disks:\n"
    mac = f"52:55:{host >> 8:02x}:{host & 255:02x}:00:{vm:02x}"
    return f"{head}{DISKS[vm % len(DISKS)].format(name=name, pool=host % 7)}" + (
        f'    networks:\n      lan: {{bridge: br0, mac: "{mac}"}}\n'
    )


def write_inventory(folder: Path, hosts: int) -> None:
    """As a large site keeps it: one file of variables a hypervisor, and secrets apart."""
    (folder / "host_vars").mkdir(parents=True)
    (folder / "group_vars").mkdir()
    names = "".join(f"        hv{number}:\n" for number in range(hosts))
    (folder / "hosts.yml").write_text(f"{LICENCE}all:\n  children:\n    hypervisors:\n      hosts:\n{names}")
    (folder / "group_vars" / "hypervisors.yml").write_text(f"{LICENCE}{GROUP_VARS}")
    for number in range(hosts):
        vms = "".join(vm(number, one) for one in range(VMS))
        (folder / "host_vars" / f"hv{number}.yml").write_text(f"{LICENCE}qemu_vms:\n{vms}")


@dataclass
class Run:
    """One run of a program of Ansible's."""

    seconds: float
    cpu: float
    memory: int
    """MiB of all its processes together, at the most."""


def run(*command: str) -> Run:
    """Run it, and look every so often at how much memory it has."""
    before, begin, memory = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic(), 0
    with Path("output").open("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        while process.poll() is None:
            memory = max(memory, sum(map(shared_fairly, processes_of(process.pid))))
            time.sleep(0.2)
        seconds = time.monotonic() - begin
        output.seek(0)
        text = output.read()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        sys.exit(f"tests/bench/run: {' '.join(command)}:\n{text[-3000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(seconds, cpu, memory >> 10)


def processes_of(pid: int) -> Iterator[int]:
    """A process and all below it."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:
            continue
        for child in children:
            yield from processes_of(int(child))


def shared_fairly(pid: int) -> int:
    """KiB of a process, where what several share counts once."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)


def aims(medians: dict[int, Run]) -> Iterator[str]:
    """Each aim, and how far it is."""
    if 1000 in medians:
        found = medians[1000]
        yield aim(f"1,000 hosts: {found.seconds:.1f} s", f"{SECONDS} s", found.seconds <= SECONDS)
        yield aim(f"1,000 hosts: {found.memory} MiB", f"{MEMORY} MiB", found.memory <= MEMORY)
    if len(medians) > 2:
        low, *_between, high = sizes = sorted(medians)
        middle = sizes[len(sizes) // 2]
        lower, upper = ((medians[b].cpu - medians[a].cpu) / (b - a) * 1000 for a, b in ((low, middle), (middle, high)))
        words = f"CPU a host more: {lower:.0f} ms up to {middle} hosts, {upper:.0f} ms from there"
        yield aim(words, f"{LINEAR} times", upper <= LINEAR * lower)


def aim(found: str, wanted: str, met: bool) -> str:
    return f"{'met ' if met else 'MISSED'} {found} (aim: {wanted})"


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests/bench/run plan", description="See tests/bench/README.md.")
    parser.add_argument("--work", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--sizes", default="100,300,1000", help="numbers of hosts: 100,300,1000")
    parser.add_argument("--repeat", type=int, default=3, help="rounds of which the median counts: 3")
    options = parser.parse_args()
    sizes = sorted({int(word) for word in options.sizes.split(",")})
    os.chdir(options.work)
    for size in sizes:
        write_inventory(options.work / f"fleet{size}", size)
    medians = {}
    print(f"{os.cpu_count()} cores; in brackets the ratio to a ping of localhost in the same round\n")
    print("| hosts | disks | seconds | CPU seconds | MiB |\n| ---: | ---: | ---: | ---: | ---: |")
    for size in sizes:
        pings, runs = [], []
        for _round in range(options.repeat):
            pings.append(run("ansible", "localhost", "-m", "ping").seconds)
            runs.append(run("ansible-playbook", "-i", f"fleet{size}/hosts.yml", "directdisk.qemu.plan"))
        median = statistics.median
        medians[size] = Run(
            median(one.seconds for one in runs),
            median(one.cpu for one in runs),
            max(one.memory for one in runs),
        )
        ratio = median(one.seconds / ping for one, ping in zip(runs, pings))
        found = medians[size]
        disks = f"{size * VMS * 3}"
        print(
            f"| {size} | {disks} | {found.seconds:.1f} ({ratio:.0f}) | {found.cpu:.1f} | {found.memory} |", flush=True
        )
    print("", *aims(medians), sep="\n")


if __name__ == "__main__":
    main()
