# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""No hint names a server for a disk that has none."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import read_image
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.explain import explained
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError

LATE = "QEMU does not answer: timed out"


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        (
            {"nbd": {"host": "192.0.2.5"}},
            "nbd 192.0.2.5:10809/: its server does not answer within open_timeout; check that it runs and that this "
            f"host may reach it ({LATE})",
        ),
        (
            {"file": {"path": "/srv/a.raw"}},
            "file /srv/a.raw: it was not done within open_timeout; allow it more, or run it when the host has less "
            f"to do ({LATE})",
        ),
    ],
    ids=["server", "file"],
)
def test_what_takes_too_long_is_explained(declared: dict[str, Any], words: str) -> None:
    assert str(explained(read_image("disk", declared, "root"), HostError(LATE))) == words


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"nbd": {"host": "read-only.example"}}, "Could not reach 'read-only.example:10809': EINVAL"),
        ({"nbd": {"host": "h", "export": "permissions"}}, "export 'permissions' has an odd size"),
        ({"nbd": {"host": "h"}}, "/run/qemu-vm-readonly/root.sock: EINVAL"),
        ({"nbd": {"host": "h"}}, '-blockdev {"driver":"nbd","read-only":false}: EINVAL'),
        ({"file": {"filename": "/srv/No space left/a.raw"}}, "/srv/No space left/a.raw: EINVAL"),
    ],
)
def test_what_was_declared_is_no_cause(declared: dict[str, Any], message: str) -> None:
    disk = read_image("disk", declared, "root")
    assert str(explained(disk, HostError(message))) == f"{disk.described}: {message}"


def test_a_cause_beside_declared_words_is_named() -> None:
    disk = read_image("disk", {"nbd": {"host": "h", "export": "permissions"}}, "root")
    assert "read-only" in str(explained(disk, HostError("export 'permissions': Read-only file system")))
