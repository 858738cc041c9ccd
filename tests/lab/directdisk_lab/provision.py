# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Provisioning of a started host: its files in one archive, then its servers."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import servers
from .host_files import Files
from .hosts import Host
from .podman import Podman
from .servers.server import ETC, SYSTEM, Server, Site
from .settings import Settings
from .shell import LabError

APPLIED = f"/{ETC}/applied.json"
# Tests stop and kill servers as often as they like: a stopped one stays down, a killed one comes back.
MANNERS = """\
[Unit]
StartLimitIntervalSec=0
[Service]
Restart=on-failure
RestartSec=1
TimeoutStopSec=2
"""

WAIT = """\
for attempt in $(seq 300); do
  state=$(systemctl is-system-running 2>/dev/null || true)
  case "$state" in running|degraded) break ;; esac
  sleep 0.1
done
echo "$state"
"""
START = """\
systemctl daemon-reload
systemctl enable --quiet {units}
systemctl restart {units}
printf %s {applied} > {path}
"""
CHECK = """\
for unit in {units}; do
  systemctl is-active --quiet "$unit" || {{ systemctl --no-pager status "$unit"; exit 1; }} >&2
done
"""
LOOP = """\
[ -b {device} ] || mknod {device} b {major} {minor}
chown root:disk {device}
chmod 660 {device}
mkdir -p /dev/disk/by-id
ln -sfn {device} /dev/disk/by-id/lab-{name}
"""


def _common_files(site: Site) -> Files:
    """Keys and certificates, which any server may use."""
    files, settings = Files(), site.settings
    files.add("root/.ssh/authorized_keys", settings.key.with_suffix(".pub").read_bytes(), 0o600)
    files.add_folder(f"{ETC}/psk", settings.psk.parent)
    if site.host.group == "storage":
        files.add_folder(f"{ETC}/tls", settings.tls / "server")
    else:
        files.add_folder(f"{ETC}/tls", settings.tls / "client")
    return files


def _server_files(site: Site, server: Server) -> Files:
    files = Files(server.files(site))
    for unit in server.units:
        files.add(f"{SYSTEM}/{unit}.d/lab-manners.conf", MANNERS)
    return files


def _digest(site: Site, server: Server, files: Files) -> str:
    return hashlib.sha256(f"{files.digest} {server.before(site)} {server.units}".encode()).hexdigest()


def _start_script(site: Site, wanted: dict[str, str], applied: dict[str, str]) -> str:
    """Start the servers whose files changed: a test's connections to the others survive a second `lab up`."""
    mine = servers.of_host(site.host)
    changed = [server for server in mine if wanted[server.name] != applied.get(server.name)]
    script = "set -e\n"
    for server in changed:
        script += f"{server.before(site)}\n"
    if changed:
        units = shlex.join(unit for server in changed for unit in server.units)
        script += START.format(units=units, applied=shlex.quote(json.dumps(wanted)), path=APPLIED)
    return script + CHECK.format(units=shlex.join(unit for server in mine for unit in server.units))


def _device_script(devices: dict[str, str]) -> str:
    script = ""
    for name, device in devices.items():
        number = Path(device).stat().st_rdev
        major, minor = os.major(number), os.minor(number)
        script += LOOP.format(device=device, name=name, major=major, minor=minor)
    return script


def wait_for_systemd(podman: Podman, host: Host) -> str:
    """Wait until systemd has finished starting; its own word for the state."""
    container = podman.settings.container(host)
    for _attempt in range(100):  # podman exec works before systemd answers
        state = podman("exec", container, "sh", "-c", WAIT, check=False).strip()
        if state in ("running", "degraded"):
            return state
        time.sleep(0.1)
    raise LabError(f"{host.name}: systemd does not get ready ({state})")


def provision(podman: Podman, site: Site, devices: dict[str, str]) -> str:
    """Give a host its files, devices and servers; its ssh host key."""

    def execute(*argv: str, stdin: bytes = b"", check: bool = True) -> str:
        return podman("exec", "--interactive", container, *argv, stdin=stdin, check=check)

    container = podman.settings.container(site.host)
    common = _common_files(site)
    files, wanted = Files(common), {}
    for server in servers.of_host(site.host):
        own = _server_files(site, server)
        files.update(own)
        wanted[server.name] = _digest(site, server, Files({**common, **own}))
    applied = json.loads(execute("cat", APPLIED, check=False) or "{}")
    execute("tar", "--extract", "--directory=/", "--no-same-owner", "--same-permissions", stdin=files.tar())
    script = f"{_start_script(site, wanted, applied)}{_device_script(devices)}cat /etc/ssh/ssh_host_ed25519_key.pub\n"
    key = execute("sh", "-s", stdin=script.encode())
    after = [server.after(site) for server in servers.of_host(site.host) if server.after(site)]
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(lambda commands: execute("sh", "-s", stdin=commands.encode()), after))
    return " ".join(key.split()[:2])


def wait_for_ssh(settings: Settings, host: Host) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((settings.address(host), 22), timeout=2) as peer:
                if peer.recv(4) == b"SSH-":
                    return
        except OSError:
            pass
        time.sleep(0.05)
    raise LabError(f"{host.name}: no ssh server on {settings.address(host)}")
