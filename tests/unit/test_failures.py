# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine that did not start: its log is traced to a disk, and the backend says what to do."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.plugin_utils._fleet import explain_failure
from ansible_collections.directdisk.qemu.tests.unit.support import plan

DISKS: dict[str, Any] = {
    "root": {"nbd": {"host": "192.0.2.5", "export": "web1"}},
    "data": {"file": {"filename": "/srv/data.img"}},
    "raw": {"host_device": {"filename": "/dev/sdb"}},
    "web": {"https": {"url": "https://192.0.2.7/a", "password": "pass-of-joe", "username": "joe"}, "writes": "discard"},
    "kit": {"http": {"url": "http://192.0.2.7/b"}, "writes": "deny", "route": "nbdkit"},
}


def explained(line: str) -> str:
    return explain_failure(plan({"disks": DISKS}), [line], "hv1")[0].partition("\n")[0]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            """-blockdev {"driver":"nbd","node-name":"root.storage"}: Requested export not available""",
            "disk root of web1: nbd 192.0.2.5:10809/web1: the server has no such export; "
            "list them with nbdinfo --list, and correct export",
        ),
        (
            "qemu: Could not open '/srv/data.img': Permission denied",
            "disk data of web1: file /srv/data.img: the machine's user cannot reach it; every folder above it must be "
            "searchable by others (mode o+x), and its file system must know ACLs",
        ),
        (
            "setfacl: /srv/data.img: Operation not supported",
            "disk data of web1: file /srv/data.img: its file system has no access lists; "
            "keep the image on one that has (ext4, xfs, btrfs, tmpfs)",
        ),
        (
            """{"node-name":"raw.storage"}: Could not open '/dev/sdb': No such file or directory""",
            "disk raw of web1: host_device /dev/sdb: there is no such device; "
            "check the path; prefer a stable name under /dev/disk/by-id",
        ),
        (
            """{"node-name":"web.storage"}: CURL: Error opening file: The requested URL returned error: 401""",
            "disk web of web1: https https://192.0.2.7/a: the server refuses the user or password; "
            "check username and password",
        ),
        (
            """{"node-name":"web.storage"}: CURL: SSL certificate problem: unable to get local issuer certificate""",
            "disk web of web1: https https://192.0.2.7/a: the server's certificate is not trusted; "
            "name its authority in ca_bundle",
        ),
        (
            "qemu-vm-web1.kit.nbdkit.service: nbdkit: curl[1]: error: Could not resolve host: h",
            "disk kit of web1: http http://192.0.2.7/b: the server's name is unknown to this host; "
            "check the name and the host's resolver",
        ),
        ("something else", "vm web1: did not start"),
    ],
)
def test_a_line_of_the_log_is_traced_to_its_disk(line: str, words: str) -> None:
    assert explained(line) == f"hv1: {words}"


def test_each_cause_is_told_once_and_the_log_comes_last() -> None:
    lines = ['{"node-name":"root.storage"}: Connection refused'] * 2 + ["/srv/data.img: Permission denied"]
    lines.append("Could not open '/srv/data.img': Permission denied")
    told = explain_failure(plan({"disks": DISKS}), lines, "hv1")
    assert [line.partition(":")[2].partition(":")[0] for line in told] == [" disk root of web1", " disk data of web1"]
    assert told[-1].endswith("\n  its log:" + "".join(f"\n    {line}" for line in lines))


def test_no_log_is_said_to_be_none() -> None:
    assert explain_failure(plan({}), [], "hv1") == ["hv1: vm web1: did not start\n  its log:\n    (no log)"]


def test_a_secret_stands_in_no_explanation() -> None:
    assert "pass-of-joe" not in explained('{"node-name":"web.storage"}: Connection refused')
