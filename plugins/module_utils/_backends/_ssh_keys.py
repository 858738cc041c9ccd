# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of ssh as people declare them: private keys, keys of servers, and fingerprints."""

from __future__ import annotations

import base64
import binascii
import re

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError

HASH_DIGITS = {"md5": 32, "sha1": 40, "sha256": 64}
"""Hexadecimal digits of each kind of fingerprint."""

HOST_KEY = re.compile(r"(?:\S+ )?((?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+) ([A-Za-z0-9+/]+=*)(?: .*)?\n?")
"""A line of known_hosts or of a .pub file: the kind of key, and the key."""

_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?P<kind>[A-Z0-9 ]*)PRIVATE KEY-----\n(?P<body>.+)\n-----END (?P=kind)PRIVATE KEY-----", re.DOTALL
)
_OPENSSH_MAGIC = b"openssh-key-v1\0"


def digits(fingerprint: str) -> str:
    return fingerprint.replace(":", "").lower()


def public_blob(line: str) -> bytes:
    """Return the bytes of a public key, and check that they contain its kind."""
    match = HOST_KEY.fullmatch(line)
    blob = _base64(match.group(2)) if match else b""
    kind = match.group(1).encode() if match else b""
    if not match or not blob.startswith(len(kind).to_bytes(4, "big") + kind):
        raise DeclarationError("host_key", "is not a public key such as 'ssh-ed25519 AAAA...'")
    return blob


def _base64(text: str) -> bytes:
    """Decode base64; return nothing if it is damaged."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return b""


def check_host_key_check(check: Values) -> None:
    if (check["mode"] == "hash") != ("hash" in check) or ("type" in check) != ("hash" in check):
        raise DeclarationError("host_key_check", "type and hash are required with mode hash, and only there")
    if "hash" in check and len(digits(check["hash"])) != HASH_DIGITS[check["type"]]:
        raise DeclarationError(
            "host_key_check: hash", f"a fingerprint of type {check['type']} has {HASH_DIGITS[check['type']]} digits"
        )


def check_key(text: str, *, has_passphrase: bool) -> None:
    """Refuse what ssh-add would refuse on the host, with a clearer message that does not repeat the key."""
    if HOST_KEY.fullmatch(text):
        raise DeclarationError("key", "is a public key; set the private key, from the file without .pub")
    if text.startswith("PuTTY-User-Key-File"):
        raise DeclarationError("key", "is in PuTTY's form; convert it with puttygen -O private-openssh")
    match = _PRIVATE_KEY.fullmatch(text.strip())
    if not match:
        damaged = "-----BEGIN" in text and "PRIVATE KEY-----" in text
        raise DeclarationError(
            "key",
            "has lost its line breaks or its end; write it as a block, after 'key: |'"
            if damaged
            else "is not a private key, from BEGIN ... PRIVATE KEY to END",
        )
    if _encrypted(match) and not has_passphrase:
        raise DeclarationError("key", "is encrypted; set passphrase")


def _encrypted(key: re.Match[str]) -> bool:
    if key["kind"] != "OPENSSH ":
        return key["kind"] == "ENCRYPTED " or "ENCRYPTED" in key["body"]
    # After the magic: the length of the cipher's name, and the name (OpenSSH, PROTOCOL.key).
    blob = _base64(key["body"])
    if not blob.startswith(_OPENSSH_MAGIC):
        raise DeclarationError("key", "is damaged: it is not an OpenSSH key inside")
    return not blob[len(_OPENSSH_MAGIC) :].startswith(b"\0\0\0\x04none")
