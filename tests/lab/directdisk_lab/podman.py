# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""podman with a storage of its own, so that the lab never mixes with other containers."""

from __future__ import annotations

import json
import os
import resource
import secrets
import subprocess
from pathlib import Path
from typing import NamedTuple

from . import namespace
from .hosts import Host
from .settings import Settings
from .shell import LabError, run, succeeds

CONF = """\
# written by the lab
[containers]
default_ulimits = ["nofile={nofile}:{nofile}", "nproc={nproc}:{nproc}"]
pids_limit = 0
[engine]
cgroup_manager = "{manager}"
events_logger = "file"
lock_type = "file"
"""


def _limit(which: int, most: int) -> int:
    """podman's own defaults may exceed what this process may set, and so refuse to start anything."""
    hard = resource.getrlimit(which)[1]
    return most if hard == resource.RLIM_INFINITY else min(hard, most)


class Container(NamedTuple):
    """State of a container, as podman reports it."""

    state: str
    image: str


class Network(NamedTuple):
    """A podman network and its bridge."""

    name: str
    bridge: str


class Podman:
    """podman calls of one lab."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.systemd = Path("/run/systemd/system").is_dir()
        conf = settings.cache / "containers.conf"
        conf.parent.mkdir(parents=True, exist_ok=True)
        settings.run.mkdir(parents=True, exist_ok=True)
        conf.write_text(
            CONF.format(
                nofile=_limit(resource.RLIMIT_NOFILE, 1 << 20),
                nproc=_limit(resource.RLIMIT_NPROC, 1 << 15),
                manager="systemd" if self.systemd else "cgroupfs",
            )
        )
        os.environ["CONTAINERS_CONF"] = str(conf)
        self.prefix = [*namespace.enter(settings), "podman", *self._roots()]

    def _roots(self) -> list[str]:
        cache, run_time = self.settings.cache, self.settings.run
        return [
            f"--root={cache / 'storage'}",
            f"--runroot={run_time / 'run'}",
            f"--tmpdir={run_time / 'tmp'}",
            f"--network-config-dir={cache / 'networks'}",
            "--storage-driver=overlay",
        ]

    @property
    def cgroup_parent(self) -> str:
        return "" if self.systemd else f"/directdisk-lab-{self.settings.name}"

    def __call__(self, *args: str, stdin: bytes | None = None, check: bool = True) -> str:
        return run([*self.prefix, *args], stdin=stdin, check=check)

    def ok(self, *args: str) -> bool:
        return succeeds([*self.prefix, *args])

    def interactive(self, *args: str) -> int:
        return subprocess.call([*self.prefix, *args])

    def containers(self) -> dict[str, Container]:
        """This lab's containers by host name."""
        found = json.loads(self("ps", "--all", f"--filter=label={self.label}", "--format=json") or "[]")
        return {row["Labels"]["directdisk-lab-host"]: Container(row["State"], row["Image"]) for row in found or []}

    @property
    def label(self) -> str:
        return f"directdisk-lab={self.settings.name}"

    def network(self) -> Network | None:
        """The lab's network, if it exists."""
        names = self("network", "ls", "--quiet", f"--filter=label={self.label}").split()
        if not names:
            return None
        found = json.loads(self("network", "inspect", names[0]))
        return Network(names[0], str(found[0]["network_interface"]))

    def remove_network(self) -> None:
        network = self.network()
        if network:
            self("network", "rm", "--force", network.name)
            if Path(f"/sys/class/net/{network.bridge}").exists():
                run(["ip", "link", "delete", network.bridge])

    def make_network(self) -> None:
        """The lab's internal network; a bridge left by a lab that lost its state is removed first.

        Its name is new every time, for podman may remember addresses of killed containers by it.
        """
        for line in run(["ip", "-oneline", "-4", "address"]).splitlines():
            words = line.split()
            if words[3].split("/")[0] == self.settings.gateway:
                self._drop_stale(words[1])
        self(
            "network",
            "create",
            "--internal",
            "--disable-dns",
            f"--label={self.label}",
            f"--subnet={self.settings.subnet}",
            f"{self.settings.name}-{secrets.token_hex(3)}",
        )

    def reach_network(self) -> None:
        """Give the bridge its address: for internal networks not every netavark does."""
        address = f"{self.settings.gateway}/{self.settings.subnet.prefixlen}"
        network = self.network()
        if network:
            run(["ip", "address", "replace", address, "dev", network.bridge])

    def _drop_stale(self, link: str) -> None:
        ports = Path(f"/sys/class/net/{link}/brif")
        if not link.startswith("podman") or not ports.is_dir() or any(ports.iterdir()):
            raise LabError(f"{self.settings.subnet} is used by {link}: set DIRECTDISK_LAB_SUBNET")
        run(["ip", "link", "delete", link])

    def start(self, host: Host, image: str, known: tuple[Host, ...]) -> None:
        """Start a host's container, again when it had stopped; /srv stays."""
        settings, name = self.settings, self.settings.container(host)
        network = self.network()
        if not network:
            raise LabError(f"{host.name}: the lab's network is gone")
        self("rm", "--force", "--ignore", "--time=0", name)
        settings.srv(host.name).mkdir(parents=True, exist_ok=True)
        self(
            "run",
            "--detach",
            f"--name={name}",
            f"--hostname={host.name}",
            f"--label={self.label}",
            f"--label=directdisk-lab-host={host.name}",
            "--privileged",
            "--systemd=always",
            f"--network={network.name}",
            f"--ip={settings.address(host)}",
            *(f"--add-host={other.name}:{settings.address(other)}" for other in known),
            f"--volume={settings.srv(host.name)}:/srv",
            "--env=LANG=C.UTF-8",
            *([f"--cgroup-parent={self.cgroup_parent}"] if self.cgroup_parent else []),
            image,
        )
