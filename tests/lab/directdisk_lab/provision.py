# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a started host gets: its files in one archive, then one script."""

from __future__ import annotations

import hashlib
import io
import os
import shlex
import socket
import tarfile
import time
from pathlib import Path

from .hosts import Host
from .podman import Podman
from .secret_store import load
from .settings import FILES, Settings
from .shell import LabError, run

ETC = "etc/directdisk-lab"
UNIT = "etc/systemd/system/lab-nbd@.service"
STAMP = f"/{ETC}/stamp"

WAIT = """\
for attempt in $(seq 300); do
  state=$(systemctl is-system-running 2>/dev/null || true)
  case "$state" in running|degraded) break ;; esac
  sleep 0.1
done
echo "$state"
"""
# Services restart only when their files changed: a test's connections survive a second `lab up`.
SERVICES = """\
set -e
if [ "$(cat {stamp} 2>/dev/null)" != {digest} ]; then
  systemctl daemon-reload
  systemctl enable --quiet {units}
  systemctl restart {units}
  echo {digest} > {stamp}
fi
systemctl is-active --quiet {units} || {{ systemctl --no-pager status {units}; exit 1; }} >&2
"""
LOOP = """\
[ -b {device} ] || mknod {device} b {major} {minor}
chown root:disk {device}
chmod 660 {device}
mkdir -p /dev/disk/by-id
ln -sfn {device} /dev/disk/by-id/lab-{name}
"""


class Files(dict[str, bytes]):
    """Content by path; private keys and secrets are recognised by name."""

    def tar(self) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for path, content in self.items():
                entry = tarfile.TarInfo(path)
                entry.size, entry.mode = len(content), self._mode(path)
                archive.addfile(entry, io.BytesIO(content))
        return buffer.getvalue()

    @staticmethod
    def _mode(path: str) -> int:
        private = path.endswith(("-key.pem", ".psk", "htpasswd", "authorized_keys"))
        return 0o600 if private else 0o644

    def add_folder(self, source: Path, target: str) -> None:
        for path in sorted(source.iterdir()):
            self[f"{target}/{path.name}"] = path.read_bytes()


def _nbd_options(host: Host) -> dict[str, str]:
    """nbdkit's options by service instance; all instances export the same files by name."""
    local = {"unix": "--unix=/run/lab-nbd-unix/socket"}
    if host.group != "storage":
        return local
    x509 = f"--port=10810 --tls=require --tls-verify-peer --tls-certificates=/{ETC}/tls"
    psk = f"--port=10811 --tls=require --tls-psk=/{ETC}/psk/keys.psk"
    return {**local, "plain": "--port=10809", "tls": x509, "psk": psk}


def _htpasswd(facts: dict[str, str]) -> bytes:
    password = facts["lab_http_password"].encode()
    hashed = run(["openssl", "passwd", "-5", "-stdin"], stdin=password).strip()
    return f"{facts['lab_http_user']}:{hashed}\n".encode()


def files_of(settings: Settings, host: Host, *, hashed_password: bytes) -> Files:
    facts = load(settings)
    files = Files()
    files["root/.ssh/authorized_keys"] = settings.key.with_suffix(".pub").read_bytes()
    files.add_folder(settings.tls / "psk", f"{ETC}/psk")
    files[UNIT] = (FILES / "lab-nbd@.service").read_bytes()
    for name, options in _nbd_options(host).items():
        files[f"{ETC}/nbd/{name}.env"] = f"NBDKIT_OPTIONS={options}\n".encode()
    if host.group == "storage":
        files.add_folder(settings.tls / "server", f"{ETC}/tls")
        files[f"{ETC}/htpasswd"] = hashed_password
        cookie = facts["lab_http_cookie"].split("=", 1)[1]
        conf = (FILES / "nginx.conf").read_text().replace("@COOKIE@", cookie)
        files["etc/nginx/nginx.conf"] = conf.encode()
    else:
        files.add_folder(settings.tls / "client", f"{ETC}/tls")
    return files


def _script(host: Host, files: Files, devices: dict[str, str]) -> str:
    changing = {path: text for path, text in files.items() if not path.endswith("htpasswd")}
    digest = hashlib.sha256(repr(sorted(changing.items())).encode()).hexdigest()
    units = [f"lab-nbd@{name}.service" for name in _nbd_options(host)]
    units += ["nginx.service"] if host.group == "storage" else []
    script = SERVICES.format(stamp=STAMP, digest=digest, units=shlex.join(units))
    for name, device in devices.items():
        number = Path(device).stat().st_rdev
        major, minor = os.major(number), os.minor(number)
        script += LOOP.format(device=device, name=name, major=major, minor=minor)
    return f"{script}cat /etc/ssh/ssh_host_ed25519_key.pub\n"


def wait_for_systemd(podman: Podman, host: Host) -> str:
    """Wait until systemd has finished starting; its own word for the state."""
    container = podman.settings.container(host)
    for _attempt in range(100):  # podman exec works before systemd answers
        state = podman("exec", container, "sh", "-c", WAIT, check=False).strip()
        if state in ("running", "degraded"):
            return state
        time.sleep(0.1)
    raise LabError(f"{host.name}: systemd does not get ready ({state})")


def provision(podman: Podman, host: Host, devices: dict[str, str]) -> str:
    """Give a host its files, services and devices; its ssh host key."""
    container = podman.settings.container(host)
    hashed = _htpasswd(load(podman.settings)) if host.group == "storage" else b""
    files = files_of(podman.settings, host, hashed_password=hashed)
    unpack = ("tar", "--extract", "--directory=/", "--no-same-owner", "--same-permissions")
    podman("exec", "--interactive", container, *unpack, stdin=files.tar())
    script = _script(host, files, devices).encode()
    key = podman("exec", "--interactive", container, "sh", "-s", stdin=script)
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
