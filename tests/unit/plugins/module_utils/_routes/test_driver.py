# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A redirect that QEMU's filter of addresses would block is named, and one that is declared is let through."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._units.service import Service
from ansible_collections.directdisk.qemu.tests.unit.support import plan

WEB = {"url": "http://192.0.2.7/a.raw", "username": "u", "password": "geheim"}


def unit(vm: dict[str, Any] | None = None, host: dict[str, Any] | None = None, **disk: Any) -> Service:
    declared = {**({} if "ftp" in disk else {"http": WEB}), "route": "driver", "writes": "deny", **disk}
    return plan({"disks": {"root": declared}, **(vm or {})}, **(host or {})).services[-1]


def asks(service: Service) -> list[tuple[str, ...]]:
    return [command.argv for command in service.before if any(word.startswith("--ask=") for word in command.argv)]


def test_the_server_is_asked_before_qemu_whose_addresses_are_filtered() -> None:
    service = unit()
    (argv,) = asks(service)
    assert "--ask=disk root of web1: http http://192.0.2.7/a.raw" in argv
    assert "--from=http://192.0.2.7" in argv
    assert "--any-port" in argv
    assert argv[-2:] == ("--max-time", "3")
    assert service.sandbox.addresses == ("192.0.2.7",)


def test_an_overlay_is_made_after_the_question() -> None:
    """qemu-img opens the storage, too, and would fail in other words."""
    service = unit(writes="overlay")
    names = [command.argv[-1] if "--ask" in str(command.argv) else command.argv[0] for command in service.before]
    assert names.index("3") < next(number for number, name in enumerate(names) if name.endswith("qemu-img"))


def test_no_password_is_asked_with() -> None:
    service = unit()
    assert "--config" not in asks(service)[0]
    assert not any("curl" in name for name in service.credentials)


@pytest.mark.parametrize(
    ("vm", "host", "disk"),
    [
        ({"networks": {"n": {"user": True}}}, {}, {}),
        ({}, {}, {"http": {"url": "http://h.example/a.raw"}}),
        ({}, {}, {"http": None, "ftp": {"url": "ftp://192.0.2.7/a.raw"}}),
    ],
)
def test_qemu_that_may_go_anywhere_is_not_asked_for(
    vm: dict[str, Any], host: dict[str, Any], disk: dict[str, Any]
) -> None:
    assert not asks(unit(vm, host, **{key: value for key, value in disk.items() if value}))


def test_a_systemd_that_fails_such_commands_gets_none() -> None:
    assert not asks(unit(host={"systemd": 249}))
    assert asks(unit(host={"systemd": 249}, http={"url": WEB["url"]}))


def test_a_declared_redirect_is_let_through() -> None:
    service = unit(provision={"follow": ["http://192.0.2.8:8090"]})
    assert service.sandbox.addresses == ("192.0.2.7", "192.0.2.8")
    assert "--from=http://192.0.2.8:8090" in asks(service)[0]
