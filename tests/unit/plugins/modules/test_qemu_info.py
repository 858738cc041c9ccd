# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""qemu_info: which route works, why not, and what would bring it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import running, unmanaged
from ansible_collections.directdisk.qemu.plugins.modules import qemu_info
from ansible_collections.directdisk.qemu.tests.unit.plugins.modules.module_run import run_module
from ansible_collections.directdisk.qemu.tests.unit.support import probed

REQUIRES: dict[str, Any] = {"routes": [{"backend": "https"}], "uefi": True}


def info(
    monkeypatch: pytest.MonkeyPatch, host: str = "debian13", changes: dict[str, Any] | None = None, **arguments: Any
) -> dict[str, Any]:
    monkeypatch.setattr(qemu_info, "probe", lambda *, fresh: probed(host, **(changes or {}), systemd=int(fresh)))
    monkeypatch.setattr(running, "vms", lambda *, disk_sizes: {"web1": {"active": "active", "sizes": disk_sizes}})
    return run_module(monkeypatch, qemu_info, **arguments)


def test_a_host_is_reported_with_every_route_of_every_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = info(monkeypatch)
    assert answer["capabilities"]["version"] == [10, 0, 13]
    assert answer["vms"] == {"web1": {"active": "active", "sizes": False}}
    assert info(monkeypatch, disk_sizes=True)["vms"]["web1"]["sizes"]
    assert {name: tuple(routes) for name, routes in answer["backends"].items()} == {
        name: backend.access.routes for name, backend in BACKENDS.items()
    }
    assert answer["backends"]["rbd"]["driver"] == {
        "works": True,
        "why": "",
        "flaw": "",
        "packages": ["qemu-block-extra"],
    }


def test_a_known_flaw_is_reported_beside_a_route_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = info(monkeypatch, "debian12")["backends"]["http"]["driver"]
    assert (driver["works"], driver["flaw"]) == (
        True,
        "QEMU's own curl driver now and then hangs with several requests in flight "
        "(seen on 7.2, 10.0 and 11.1; 5.2 is fine)",
    )


def test_the_probe_is_fresh_only_where_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert info(monkeypatch)["capabilities"]["systemd"] == 0
    assert info(monkeypatch, fresh=True)["capabilities"]["systemd"] == 1


def test_what_is_missing_is_reported_and_fails_only_where_strict(monkeypatch: pytest.MonkeyPatch) -> None:
    lacks = {"uefi": {}, "drivers": {"https": "Unknown driver 'https'"}}
    words = [
        "https by route driver: this QEMU has no https driver (Unknown driver 'https'); "
        "install qemu-block-extra ca-certificates (role storage_client)",
        "firmware uefi: this host has none for x86_64",
    ]
    loose = info(monkeypatch, "qemu5", changes=lacks, requires=REQUIRES)
    assert (loose["missing"], loose["missing_packages"]) == (words, ["qemu-block-extra", "ca-certificates", "ovmf"])
    assert "failed" not in loose
    strict = info(monkeypatch, "qemu5", changes=lacks, requires=REQUIRES, strict=True)
    assert (strict["failed"], strict["msg"]) == (True, "\n".join(words))


def test_without_capabilities_nothing_is_probed_unless_something_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unmanaged, "unmanaged_vms", lambda: [{"name": "old"}])
    bare = info(monkeypatch, capabilities=False, vms=False, unmanaged=True)
    assert (bare["capabilities"], bare["backends"], bare["vms"]) == ({}, {}, {})
    assert bare["unmanaged"] == [{"name": "old"}]
    asked = info(monkeypatch, "qemu5", changes={"uefi": {}}, capabilities=False, requires={"uefi": True})
    assert asked["missing"] == ["firmware uefi: this host has none for x86_64"]
    assert asked["unmanaged"] == []


def test_an_error_of_the_probe_is_told_in_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_options: Any) -> None:
        raise HostError("/usr/bin/qemu-system-x86_64 cannot be probed")

    monkeypatch.setattr(qemu_info, "probe", fail)
    answer = run_module(monkeypatch, qemu_info)
    assert answer == {"failed": True, "msg": "/usr/bin/qemu-system-x86_64 cannot be probed"}
