# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys, certificates and password hashes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .hosts import BY_NAME
from .settings import Settings
from .shell import run

DAYS = "365"
PSK_USER = "qemu"
CA_EXTENSIONS = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
LEAF_EXTENSIONS = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\n"


def write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)


def make_ssh_key(path: Path, comment: str, passphrase: str = "") -> None:
    """A key pair, unless it is there."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", comment, "-f", str(path)])


def hashed(password: str) -> str:
    """For htpasswd and shadow; always the same for a password, so that nothing restarts for a new salt."""
    salt = hashlib.sha256(password.encode()).hexdigest()[:16]
    return run(["openssl", "passwd", "-5", "-salt", salt, "-stdin"], stdin=password.encode()).strip()


def make_psk(settings: Settings, key: str) -> None:
    """The pre-shared key as QEMU and nbdkit want it."""
    if not settings.psk.exists():
        write_private(settings.psk, f"{PSK_USER}:{key}\n")


def _request(folder: Path, stem: str, common_name: str) -> list[str]:
    """The words common to every certificate: a new key and its subject."""
    key = folder / f"{stem}-key.pem"
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    return ["openssl", "req", *new, "-keyout", str(key), "-subj", f"/O=directdisk lab/CN={common_name}"]


def _make_ca(folder: Path) -> None:
    certificate = folder / "ca-cert.pem"
    config = folder / "ca.cnf"
    config.write_text(f"[req]\ndistinguished_name=dn\n[dn]\n[v3]\n{CA_EXTENSIONS}")
    extra = ["-x509", "-days", DAYS, "-config", str(config), "-extensions", "v3"]
    run([*_request(folder, "ca", "lab CA"), *extra, "-out", str(certificate)])


def _make_leaf(ca: Path, stem: str, common_name: str, extensions: str) -> None:
    """A key and certificate in their own folder, laid out as QEMU's and nbdkit's TLS options want it."""
    folder = ca / stem
    folder.mkdir(exist_ok=True)
    request, config = folder / "request.pem", folder / "extensions.cnf"
    config.write_text(LEAF_EXTENSIONS + extensions)
    run([*_request(folder, stem, common_name), "-out", str(request)])
    signer = ["-CA", str(ca / "ca-cert.pem"), "-CAkey", str(ca / "ca-key.pem"), "-CAcreateserial"]
    sign = ["openssl", "x509", "-req", "-in", str(request), "-days", DAYS, *signer]
    run([*sign, "-extfile", str(config), "-out", str(folder / f"{stem}-cert.pem")])
    (folder / "ca-cert.pem").write_bytes((ca / "ca-cert.pem").read_bytes())
    request.unlink()
    config.unlink()


def make_tls(settings: Settings) -> None:
    """A private CA, the storage host's certificate and the hypervisors' client certificate."""
    ca = settings.tls
    if (ca / "client" / "client-cert.pem").exists():
        return
    ca.mkdir(parents=True, exist_ok=True)
    _make_ca(ca)
    address = settings.address(BY_NAME["storage1"])
    names = f"subjectAltName=DNS:storage1,DNS:localhost,IP:{address},IP:127.0.0.1\n"
    _make_leaf(ca, "server", "storage1", f"extendedKeyUsage=serverAuth\n{names}")
    _make_leaf(ca, "client", "hypervisor", "extendedKeyUsage=clientAuth\n")
