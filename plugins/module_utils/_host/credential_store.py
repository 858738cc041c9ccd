# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# pylint: disable=ansible-bad-function
"""Credentials at rest: encrypted by systemd-creds if the host has it, otherwise readable by root alone.

An encrypted credential cannot be compared with a declared text unless it is decrypted, and one process for each is
slow. So a keyed digest of each is stored beside them. Its key is an encrypted credential, decrypted once per run.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import files
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import ObservedCredential
from ansible_collections.directdisk.qemu.plugins.module_utils._programs.unit_record import credential_version
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths as unit_paths

_KEY_NAME = "qemu-vms.digest-key"
_KEY = f"{unit_paths.ENCRYPTED_CREDENTIALS}/{_KEY_NAME}"
_DIGESTS = f"{unit_paths.ENCRYPTED_CREDENTIALS}/qemu-vms.digests"

Secrets = Mapping[str, str]
"""The texts of credentials by their paths at rest."""


class CredentialStore:
    """The credentials of all VMs of this host."""

    def __init__(self, *, encrypted: bool) -> None:
        self._encrypted = encrypted
        self._folder = unit_paths.ENCRYPTED_CREDENTIALS if encrypted else unit_paths.CREDENTIALS

    def observe(self, desired: Secrets) -> dict[str, ObservedCredential]:
        """Return the credentials of VMs and images: its version, and if its text is the desired one."""
        observed: dict[str, ObservedCredential] = {}
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self._folder):
                if unit_paths.owner_of_credential(entry.path):
                    observed[entry.path] = {"version": credential_version(entry.path), "current": False}
        present = {path: text for path, text in desired.items() if path in observed}
        for path in self._current(present):
            observed[path]["current"] = True
        return observed

    def write(self, texts: Secrets) -> None:
        """Write credentials, each of them atomically."""
        if not texts:
            return
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        if not self._encrypted:
            for path, text in texts.items():
                files.write_atomically(path, text, mode=0o600)
            return
        key = self._key(make=True)
        others = {path: digest for path, digest in self._digests().items() if path not in texts}
        # A run that ends before the last digest is written must not leave that of a former text: it would count as
        # current once that text is declared again.
        self._write_digests(others)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(
                pool.map(
                    lambda item: _encrypt(item[0], unit_paths.credential_name(item[0]), item[1].encode()),
                    texts.items(),
                )
            )
        self._write_digests({**others, **{path: _digest(key, text) for path, text in texts.items()}})

    def remove(self, paths: list[str]) -> None:
        """Remove credentials and their digests."""
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        if self._encrypted and paths:
            self._write_digests({path: digest for path, digest in self._digests().items() if path not in paths})

    def _current(self, texts: Mapping[str, str]) -> list[str]:
        if not texts:
            return []
        if not self._encrypted:
            return [path for path, text in texts.items() if files.read_text(path) == text]
        key, digests = self._key(make=False), self._digests()
        return [
            path
            for path, text in texts.items()
            if key and hmac.compare_digest(digests.get(path, ""), _digest(key, text))
        ]

    def _key(self, *, make: bool) -> bytes:
        """Return the key of the digests; empty if none exists that this host can decrypt."""
        done = subprocess.run(
            ["systemd-creds", "decrypt", f"--name={_KEY_NAME}", _KEY, "-"], capture_output=True, check=False
        )
        if done.returncode == 0:
            return done.stdout
        if not make:
            return b""
        key = secrets.token_hex(32).encode()
        _encrypt(_KEY, _KEY_NAME, key)
        self._write_digests({})
        return key

    def _digests(self) -> dict[str, str]:
        try:
            return dict(json.loads(files.read_text(_DIGESTS) or "{}"))
        except ValueError:
            return {}

    def _write_digests(self, digests: Mapping[str, str]) -> None:
        files.write_atomically(_DIGESTS, json.dumps(digests, indent=1, sort_keys=True), mode=0o600)


def _digest(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _encrypt(path: str, name: str, data: bytes) -> None:
    done = subprocess.run(
        ["systemd-creds", "encrypt", f"--name={name}", "-", "-"], input=data, capture_output=True, check=False
    )
    if done.returncode:
        raise HostError(f"systemd-creds encrypt {name}: {done.stderr.decode().strip()}")
    files.write_atomically(path, done.stdout, mode=0o600)
