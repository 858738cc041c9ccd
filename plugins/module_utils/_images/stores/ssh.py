# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images as files on a server that is reached by SSH (SFTP)."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._access import ssh_agent
from ansible_collections.directdisk.qemu.plugins.module_utils._access.confinement import confinement
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workspace import Workspace
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node
from ansible_collections.directdisk.qemu.plugins.module_utils._clients import sftp
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._images.stores.contract import Store, by_driver
from ansible_collections.directdisk.qemu.plugins.module_utils._programs.vms_resume import open_regular
from ansible_collections.directdisk.qemu.plugins.module_utils._units.sandbox import KNOWN_HOSTS

_NOBODYS = "/dev/null"


@contextlib.contextmanager
def _files(disk: Disk, bench: Workspace) -> Iterator[sftp.Sftp]:
    resources = UnitResources("", disk.name, "")
    node = disk.backend.access.node(disk.source, resources)
    agent = bench.own(
        tuple(resources.identities.values()),
        lambda: ssh_agent.agent(resources.identities, bench),
    )
    trust = _host_keys(disk, node, bench)
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": f"{bench.open_timeout:.0f}",
        "GlobalKnownHostsFile": _NOBODYS,
        "IdentityAgent": agent,
        "IdentityFile": "none",
        "LogLevel": "ERROR",
        "PreferredAuthentications": "publickey",
        **trust,
    }
    command = [
        *bench.confined(confinement(disk.backend.access.reach(disk.source))),
        *("/usr/bin/ssh", "-F", _NOBODYS, *(f"-o{name}={value}" for name, value in options.items())),
        *("-p", node["server"]["port"], "-l", node["user"], "-s", "--", node["server"]["host"], "sftp"),
    ]
    with sftp.session(command, {"PATH": "/usr/bin:/bin"}, seconds=bench.open_timeout) as files:
        _refuse_other_key(node["host-key-check"], trust["UserKnownHostsFile"])
        yield files


def _host_keys(disk: Disk, node: Node, bench: Workspace) -> dict[str, str]:
    """Return options for QEMU's check of the server's key; ssh has no fingerprints, so these are compared later."""
    mode = node["host-key-check"]["mode"]
    if mode == "known_hosts":
        return {"StrictHostKeyChecking": "yes", "UserKnownHostsFile": KNOWN_HOSTS}
    # ssh-keyscan is not used: servers block clients that do not log in (sshd_config(5), PerSourcePenalties).
    shown = bench.file("shown_host_keys", "")
    return {"StrictHostKeyChecking": "accept-new", "UserKnownHostsFile": shown, "UpdateHostKeys": "no"}


def _refuse_other_key(check: Mapping[str, str], path: str) -> None:
    """Compare the fingerprint before anything is done on the server; ssh has written its key to the run's folder."""
    if check["mode"] != "hash":
        return
    try:
        with open(open_regular(path, os.O_RDONLY), encoding="utf-8") as shown:
            keys = [base64.b64decode(line.split()[2]) for line in shown if not line.startswith("#")]
    except (OSError, ValueError, IndexError) as error:
        raise HostError(f"ssh has left no key of the server: {error}") from None
    if check["hash"] not in [hashlib.new(check["type"], key).hexdigest() for key in keys]:
        raise HostError("the server's key does not match host_key_check")


def _create(node: Node, size: int, preallocation: str) -> Mapping[str, Any]:
    del preallocation
    return {"driver": "ssh", "location": {key: value for key, value in node.items() if key != "driver"}, "size": size}


def _free(disk: Disk, bench: Workspace) -> int | None:
    try:
        with _files(disk, bench) as files:
            return files.free(str(disk.source["path"]))
    except HostError:
        return None


STORE = Store("ssh", _files, by_driver(_create), free=_free)
