# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Host images, built from packages by mmdebstrap; podman's storage caches them by a hash of their recipe."""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor

from .hosts import Host
from .podman import Podman
from .settings import FILES
from .shell import LabError, step

REPOSITORY = "localhost/directdisk-lab"
INIT = "/usr/local/sbin/lab-init"
# What must not run in a container that shares the machine's kernel, or only costs time.
MASKED = (
    "apt-daily-upgrade.timer apt-daily.timer console-getty.service dpkg-db-backup.timer"
    " e2scrub_all.timer getty.target systemd-binfmt.service systemd-modules-load.service"
    " systemd-sysctl.service systemd-udevd.service"
    " ceph-crash.service nfs-blkmap.service nfs-client.target nvmf-autoconnect.service rpc-gssd.service"
    " run-rpc_pipefs.mount smartmontools.service vsftpd.service"
)
MMDEBSTRAP = (
    "mmdebstrap",
    "--variant=minbase",
    "--mode=root",
    "--format=tar",
    '--aptopt=Acquire::Languages "none"',
    '--aptopt=Acquire::Check-Valid-Until "false"',  # a mirror may be a snapshot
    '--aptopt=APT::Install-Recommends "false"',
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=force-unsafe-io",
    '--customize-hook=rm -f "$1"/etc/ssh/ssh_host_* && : > "$1/etc/machine-id"',
    '--customize-hook=mkdir -m 700 -p "$1/root/.ssh"',
    f'--customize-hook=for unit in {MASKED}; do ln -sf /dev/null "$1/etc/systemd/system/$unit"; done',
    f'--customize-hook=install -m 755 "$LAB_FILES/lab-init" "$1{INIT}"',
)


def image_of(host: Host) -> str:
    """The image's full name; the tag changes with anything that goes into it."""
    scripts = [(FILES / name).read_text() for name in ("lab-init", "hold-back")]
    recipe = [host.suite, host.packages, host.held_back, host.as_released, MMDEBSTRAP, scripts]
    digest = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:12]
    return f"{REPOSITORY}/{host.image_name}:{digest}"


def _pin(host: Host) -> str:
    """The command that tells apt to prefer the release itself for some packages."""
    packages = " ".join(f"src:{name}" for name in host.as_released)
    lines = [f"Package: {packages}", f"Pin: release n={host.suite}", "Pin-Priority: 1001"]
    return f'printf "%s\\n" {shlex.join(lines)} > "$1/etc/apt/preferences.d/lab"'


def _bootstrap(podman: Podman, host: Host) -> None:
    """Run mmdebstrap and import its tar archive."""
    folder = podman.settings.cache / "build"
    folder.mkdir(parents=True, exist_ok=True)
    archive, log = folder / f"{host.image_name}.tar", folder / f"{host.image_name}.log"
    argv = [*MMDEBSTRAP, f"--include={','.join(host.packages)}"]
    if host.as_released:
        argv.append(f"--setup-hook={_pin(host)}")
    if host.held_back:
        argv.append(f'--customize-hook=sh "$LAB_FILES/hold-back" "$1" {host.held_back}')
    argv += [host.suite, str(archive)]
    with log.open("wb") as output:
        done = subprocess.run(
            ["env", f"LAB_FILES={FILES}", *argv], stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
        )
    if done.returncode != 0:
        raise LabError(f"image {host.image_name}: mmdebstrap failed, see {log}")
    podman("import", "--quiet", f'--change=CMD ["{INIT}"]', str(archive), image_of(host))
    archive.unlink()


def _forget_older(podman: Podman, host: Host) -> None:
    """Remove images of older recipes, except those that a container still uses."""
    name = image_of(host).rsplit(":", 1)[0]
    for image in podman("images", "--format={{.Repository}}:{{.Tag}}", name).split():
        if image != image_of(host):
            podman("rmi", image, check=False)


def _build(podman: Podman, host: Host) -> None:
    with step(f"image {host.image_name}: built from packages"):
        _bootstrap(podman, host)


def build_missing(podman: Podman, hosts: list[Host]) -> None:
    """Build what is not cached, two at once, the largest first."""
    wanted = {image_of(host): host for host in hosts}
    missing = [host for image, host in wanted.items() if not podman.ok("image", "exists", image)]
    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(lambda host: _build(podman, host), sorted(missing, key=lambda host: -len(host.packages))))
    for host in wanted.values():
        _forget_older(podman, host)
