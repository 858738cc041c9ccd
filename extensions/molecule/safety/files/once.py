# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves guests that write and verify between two hypervisors, and shows that none of them ever ran twice.

At the end somebody starts a second writer by hand, and the guests must notice.

once.py LAB INVENTORY [--kills N] [--seed N]

LAB: the program tests/lab/lab; INVENTORY: of the lab. The disks of the guests must be there. What it prints last is a
summary as JSON; it fails with the first thing that is not as it must be.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

HOSTS = ("hv1", "hv2")
VMS = {
    "once-nfs": (
        '{nfs: {host: "{{ lab_storage_address }}", path: "{{ lab_nfs_export }}/once.raw", '
        'uid: "{{ lab_nfs_user }}", gid: "{{ lab_nfs_group }}"}}'
    ),
    "once-rbd": (
        '{rbd: {pool: "{{ lab_ceph_pool }}", image: once, user: "{{ lab_ceph_user }}", key: "{{ lab_ceph_key }}", '
        'monitors: "{{ lab_ceph_monitors }}", networks: ["{{ lab_storage_address }}"]}}'
    ),
}
SITE = "directdisk.qemu.site"
BY_HAND = (
    "systemd-run --quiet --collect --unit={unit} qemu-system-x86_64 -accel tcg -display none -name {unit} {options}"
)
TROUBLE = re.compile("SECOND-WRITER.*|(?:READ|WRITE)-ERROR.*|VERIFIED bad=(?!00000000).*")
OBSERVE = f"""
cat /proc/[0-9]*/cmdline 2>/dev/null
for vm in {" ".join(VMS)}; do printf '\\n== %s\\n' $vm; cat /var/log/qemu-vm-$vm/console.log 2>/dev/null; done
"""
LONGEST_RUN = 900


class Wrong(Exception):
    """Something is not as it must be."""


class Observed(NamedTuple):
    """The VMs whose QEMU runs on a host, and the logs of all consoles."""

    running: list[str]
    logs: dict[str, str]

    @classmethod
    def of(cls, text: str) -> Observed:
        processes, *logs = text.split("\n== ")
        names = set(re.findall(rf"-name\0(?:guest=)?({'|'.join(VMS)})\b", processes))
        return cls(sorted(names), {name: log for name, _end, log in (one.partition("\n") for one in logs)})


class Fleet:
    """The two hypervisors, and what is declared for them."""

    def __init__(self, lab: str, inventory: str, folder: Path) -> None:
        self._lab, self._folder = lab, folder
        self._command = ["ansible-playbook", "-i", inventory, "-i", str(folder / "hosts.yml")]
        (folder / "hosts.yml").write_text(f"hypervisors: {{hosts: {{{', '.join(f'{host}: ' for host in HOSTS)}}}}}\n")
        (folder / "host_vars").mkdir()

    def declare(self, **states: str) -> None:
        """The state of all VMs on each host; empty where they are not declared."""
        for host in HOSTS:
            options = f"memory: 32MiB, accel: tcg, stop_timeout: 20, state: {states[host]}"
            vms = "".join(
                f"  {name}: {{{options}, disks: {{root: {disk}}}}}\n" for name, disk in VMS.items() if states[host]
            )
            (self._folder / "host_vars" / f"{host}.yml").write_text(f"qemu_vms:\n{vms}" if vms else "qemu_vms: {}\n")

    def run(self, *arguments: str, kill_after: float = 0) -> tuple[int, str]:
        """Run site, and kill it with all its processes after some seconds; exit status (-9 if killed) and output."""
        command = [*self._command, SITE, "-e", f"qemu_vms_hosts={','.join(HOSTS)}", *arguments]
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as run:
            try:
                output, _none = run.communicate(timeout=kill_after or LONGEST_RUN)
            except subprocess.TimeoutExpired:
                os.killpg(run.pid, signal.SIGKILL)
                output, _none = run.communicate()
        return run.returncode, output

    def must(self, *arguments: str) -> float:
        """Run site, which must not fail; its seconds."""
        begin = time.monotonic()
        status, output = self.run(*arguments)
        if status:
            raise Wrong(f"site failed:\n{output}")
        return time.monotonic() - begin

    def refused(self, *patterns: str, arguments: tuple[str, ...] = (), named: tuple[str, ...] = ()) -> None:
        """Run site, which must fail with these patterns, change nothing, and have these rows in its table."""
        status, output = self.run(*arguments)
        missing = [pattern for pattern in patterns if not re.search(pattern, output)]
        missing += [row for row in named if not re.search(rf"^{row}", output, re.M)]
        if not status or missing or re.search(r"changed=[1-9]", output):
            raise Wrong(f"site was to refuse, without a change ({missing} missing, status {status}):\n{output}")

    def on(self, host: str, script: str) -> str:
        done = subprocess.run(
            [self._lab, "exec", host, "sh", "-c", script], capture_output=True, text=True, check=False, timeout=60
        )
        return done.stdout

    def observe(self) -> dict[str, Observed]:
        """What each host shows, in one call each."""
        return {host: Observed.of(self.on(host, OBSERVE)) for host in HOSTS}

    def check_guests(self, where: str = "") -> None:
        """No guest has seen another writer or lost a write; where: the host on which all of them must be."""
        self.check_consoles(where)
        self.check_disks()

    def check_consoles(self, where: str = "") -> None:
        """Where the VMs run, and what the guests have said."""
        observed = self.observe()
        running = {host: one.running for host, one in observed.items()}
        if where and running != {host: sorted(VMS) if host == where else [] for host in HOSTS}:
            raise Wrong(f"all VMs were to run on {where}: {running}")
        for host, one in observed.items():
            for name, log in one.logs.items():
                trouble = TROUBLE.search(log)
                if trouble:
                    raise Wrong(f"{name} on {host}: {trouble.group()}")
                if host == where and "WRITER-UP" not in log:
                    raise Wrong(f"{name} on {host} has printed nothing: {log!r}")

    def check_disks(self) -> None:
        """The notes that guests leave on their disks, read where the storage is: a log may be gone, these are not."""
        notes = " 2>/dev/null | tail -c +513 | od -A n -t x4 -N 12; "
        words = self.on("storage1", f"cat /srv/nfs/once.raw{notes}rbd export --no-progress rbd/once -{notes}").split()
        if len(words) != 6 or (words[2], words[5]) != ("00000000", "00000000"):
            raise Wrong(f"another writer is noted on a disk: {words}")


def other(host: str) -> str:
    return HOSTS[1 - HOSTS.index(host)]


def pasted(fleet: Fleet, here: str) -> None:
    """Cut from one host's variables and pasted into the other's: refused, in check mode and with --limit, too."""
    there = other(here)
    fleet.declare(**{here: "", there: "started"})
    told = [rf"{there}: disk root of {name} \(.*: {name} runs on {here}, which does not declare it; " for name in VMS]
    fleet.on(here, BY_HAND.format(unit="once-unknown", options="-S"))
    rows = [rf"{here} +{name} +running .*not declared" for name in (*VMS, "once-unknown")]
    fleet.refused(*told, named=(*rows, rf"{here} +once-unknown .*\(process "))
    fleet.on(here, "systemctl stop once-unknown")
    fleet.check_consoles(here)
    fleet.refused(*told, arguments=("--check",))
    fleet.check_consoles(here)
    fleet.declare(**{here: "started", there: "started"})
    fleet.refused(*[rf"{there}: disk root of {name} \(.*: {name} runs on {here}" for name in VMS])
    fleet.check_consoles(here)
    fleet.declare(**{here: "absent", there: "started"})
    alone = [rf"{there}: vm {name}: {here} declares it absent and could not be asked" for name in VMS]
    fleet.refused(*alone, arguments=("--limit", there))
    fleet.check_guests(here)


def moved(fleet: Fleet, here: str) -> float:
    """state: absent here, declared there, in one run."""
    fleet.declare(**{here: "absent", other(here): "started"})
    seconds = fleet.must()
    fleet.check_guests(other(here))
    return seconds


def killed(fleet: Fleet, here: str, after: float) -> str:
    """The same with a run that is killed; the next one ends what it began."""
    there = other(here)
    fleet.declare(**{here: "absent", there: "started"})
    status, output = fleet.run(kill_after=after)
    fleet.check_guests()
    tasks = re.findall(r"^TASK \[(.*?)\]", output, re.MULTILINE)
    # What the killed run has left to do on a host may end now; the storage says who is first.
    status, output = fleet.run()
    if status:
        fleet.check_guests()
        fleet.must()
    fleet.check_guests(there)
    return tasks[-1] if tasks else "(before the first task)"


def noticed(fleet: Fleet, here: str) -> None:
    """A second writer, started by hand: without it, guests that never see one prove nothing."""
    address = fleet.on("storage1", "hostname -I").split()[0]
    disk = f"-nodefaults -m 32 -serial null -drive 'file=nfs://{address}/srv/nfs/once.raw?uid=1000&gid=1000,format=raw,if=virtio'"
    fleet.on(other(here), BY_HAND.format(unit="once-rival", options=disk))
    try:
        for check in (fleet.check_consoles, fleet.check_disks):
            deadline = time.monotonic() + 90
            with contextlib.suppress(Wrong):
                while time.monotonic() < deadline:
                    check()
                    time.sleep(0.5)
                sys.exit(f"once.py: a second writer was not noticed ({check.__name__})")
    finally:
        fleet.on(other(here), "systemctl stop once-rival")


def removed(fleet: Fleet) -> None:
    """No host has the VMs, nor what they have said."""
    fleet.declare(hv1="absent", hv2="absent")
    fleet.must()
    for host in HOSTS:
        fleet.on(host, "rm -rf /var/log/qemu-vm-once-* /var/log/private/qemu-vm-once-*")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("lab")
    parser.add_argument("inventory")
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(10**6)
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="once-") as folder:
        fleet = Fleet(options.lab, options.inventory, Path(folder))
        removed(fleet)
        fleet.declare(hv1="started", hv2="")
        fleet.must()
        fleet.check_guests("hv1")
        pasted(fleet, "hv1")
        seconds = moved(fleet, "hv1")
        here, deaths = "hv2", []
        for _number in range(options.kills):
            after = chance.uniform(0.5, seconds)
            deaths.append(f"{after:.2f} s: {killed(fleet, here, after)}")
            print(deaths[-1], flush=True)
            here = other(here)
        noticed(fleet, here)
        removed(fleet)
    print(json.dumps({"seed": seed, "move": round(seconds, 2), "killed": deaths}, indent=1))


if __name__ == "__main__":
    try:
        main()
    except Wrong as wrong:
        sys.exit(f"once.py: {wrong}")
