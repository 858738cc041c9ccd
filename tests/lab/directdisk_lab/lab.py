# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of a lab: up, down, purge, status."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from . import images, inventory, keys, machine, namespace, provision, secret_store, storage_files
from .hosts import BY_NAME, HOSTS, Host
from .podman import Podman
from .servers.server import Site
from .settings import Settings
from .shell import LabError, run, say, step, succeeds


@contextmanager
def locked(settings: Settings) -> Iterator[None]:
    """One `up` or `down` at a time, for all labs of this user: they share podman's storage."""
    import fcntl

    settings.base.mkdir(parents=True, exist_ok=True)
    with (settings.base / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def up(settings: Settings, hosts: list[Host]) -> None:
    machine.prepare()
    settings.state.mkdir(parents=True, exist_ok=True)
    settings.state.chmod(0o700)
    with step("keys, certificates and secrets"):
        secrets = secret_store.load(settings)
        keys.make_ssh_key(settings.key, f"directdisk-lab {settings.name}")
        keys.make_tls(settings)
        keys.make_psk(settings, secrets["lab_nbd_psk"])
    podman = Podman(settings)
    running_now = _running(podman)
    images.build_missing(podman, [host for host in hosts if host.name not in running_now])
    if not running_now:
        with step("network"):
            podman.remove_network()
            podman.make_network()
    with ThreadPoolExecutor(max_workers=4) as pool:
        sites = [Site(settings, host, secrets) for host in hosts]
        host_keys = dict(pool.map(lambda site: (site.host.name, _start(podman, site, running_now)), sites))
    with step("inventory"):
        _remember_keys(settings, host_keys)
        inventory.write(settings, set(podman.containers()), secrets)
    say(f"ready: {settings.inventory}")


def build(settings: Settings, hosts: list[Host]) -> None:
    machine.prepare()
    images.build_missing(Podman(settings), hosts)


def _running(podman: Podman) -> set[str]:
    """Names of the hosts that run; one with an outdated image is left alone, and told of."""
    found = {name: row for name, row in podman.containers().items() if row.state == "running"}
    for name, row in found.items():
        if row.image != images.image_of(BY_NAME[name]):
            say(f"{name}: runs an image of an older recipe; `lab down` and `lab up` renew it")
    return set(found)


def _start(podman: Podman, site: Site, running_now: set[str]) -> str:
    settings, host = site.settings, site.host
    with step(f"{host.name}: {host.suite}, {settings.address(host)}"):
        storage_files.make(settings, host.name)
        devices = storage_files.attach(settings, host.name)
        if host.name not in running_now:
            podman.start(host, images.image_of(host), HOSTS)
        podman.reach_network()
        state = provision.wait_for_systemd(podman, host)
        key = provision.provision(podman, site, devices)
        if state == "degraded" and provision.wait_for_systemd(podman, host) == "degraded":  # a unit wanted its files
            say(f"{host.name}: systemd is degraded, see: lab exec {host.name} systemctl --failed")
        provision.wait_for_ssh(settings, host)
    return key


def _remember_keys(settings: Settings, keys: dict[str, str]) -> None:
    """known_hosts: the new keys, and the lines of hosts that were not touched."""
    addresses = {host.name: settings.address(host) for host in HOSTS}
    new = {addresses[name]: f"{addresses[name]},{name} {key}\n" for name, key in keys.items()}
    old = settings.known_hosts.read_text().splitlines(True) if settings.known_hosts.exists() else []
    kept = [line for line in old if line.split(",")[0] not in new]
    settings.known_hosts.write_text("".join([*kept, *new.values()]))
    settings.sockets.mkdir(mode=0o700, parents=True, exist_ok=True)


def down(settings: Settings) -> None:
    machine.require_root()
    if shutil.which("podman") and (settings.cache / "storage").exists():
        podman = Podman(settings)
        with step("containers and network removed"):
            _remove_containers(podman)
    with step("loop devices, namespace and state removed"):
        _end_ssh(settings)
        storage_files.detach_all(settings)
        namespace.leave(settings)
        _remove_cgroups(settings)
        shutil.rmtree(settings.state, ignore_errors=True)
        _tidy_run(settings)


def _remove_containers(podman: Podman) -> None:
    names = podman("ps", "--all", "--quiet", f"--filter=label={podman.label}").split()
    if names:
        podman("rm", "--force", "--volumes", "--time=0", *names)
    podman.remove_network()


def _end_ssh(settings: Settings) -> None:
    """End ansible's ssh masters and forget their sockets."""
    if not settings.sockets.is_dir():
        return
    for path in settings.sockets.iterdir():
        if stat.S_ISSOCK(path.stat().st_mode):
            succeeds(["ssh", "-F", "/dev/null", "-o", f"ControlPath={path}", "-O", "exit", "lab"])
    shutil.rmtree(settings.sockets, ignore_errors=True)


def _remove_cgroups(settings: Settings) -> None:
    for top in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")):
        folder = top / f"directdisk-lab-{settings.name}"
        if folder.is_dir():
            for path in sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True):
                path.rmdir()
            folder.rmdir()


def _tidy_run(settings: Settings) -> None:
    """Without any lab left, podman's run-time files and mounts go too."""
    if any(_other_labs(settings)):
        return
    overlay = settings.cache / "storage" / "overlay"
    if overlay.is_mount():
        run(["umount", str(overlay)])
    shutil.rmtree(settings.run, ignore_errors=True)
    if settings.run.parent.is_dir() and not any(settings.run.parent.iterdir()):
        settings.run.parent.rmdir()


def _other_labs(settings: Settings) -> Iterator[Path]:
    for path in settings.base.glob("*/secrets.yml"):
        if path.parent != settings.state:
            yield path.parent


def purge(settings: Settings) -> None:
    down(settings)
    others = [path.name for path in _other_labs(settings)]
    if others:
        raise LabError(f"the image cache is kept, other labs use it: {' '.join(others)}")
    with step("image cache removed"):
        shutil.rmtree(settings.base, ignore_errors=True)


def _is_up(settings: Settings) -> bool:
    holds = namespace.machine_is_cgroup2() or namespace.holder(settings) is not None
    return holds and settings.inventory.exists()


def running(settings: Settings) -> Podman:
    """podman of a lab that is up."""
    machine.require_root()
    if not _is_up(settings):
        raise LabError(f"lab {settings.name} is not up: run `lab up`")
    return Podman(settings)


def status(settings: Settings) -> None:
    if not _is_up(settings):
        print(f"lab {settings.name}: down")
        return
    podman = running(settings)
    found = podman.containers()
    print(f"lab {settings.name}: {settings.inventory}")
    for host in HOSTS:
        if host.name in found:
            container = settings.container(host)
            system = podman("exec", container, "systemctl", "is-system-running", check=False)
            address = settings.address(host)
            state = found[host.name].state
            print(f"{host.name:9} {host.suite:9} {address:15} {state:8} {system.strip()}")
    for path, device in sorted(storage_files.loops(settings).items()):
        print(f"{device:9} {path.relative_to(settings.state / 'srv')}")
