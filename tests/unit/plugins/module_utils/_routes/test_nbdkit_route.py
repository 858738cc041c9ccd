# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redirects that nbdkit follows in the unit of a VM."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import PINS
from ansible_collections.directdisk.qemu.plugins.module_utils._units.service import Service
from ansible_collections.directdisk.qemu.tests.unit.support import disk_of, plan, probed

PIN = "followlocation=false"
BY_ADDRESS, BY_NAME = "http://192.0.2.7/a", "http://images.example/a"


def nbdkit_service(
    url: str, source: dict[str, Any] | None = None, changes: dict[str, Any] | None = None, **disk: Any
) -> Service:
    one = plan(
        disk_of({"http": {"url": url, **(source or {})}}, route="nbdkit", writes="deny", **disk), **(changes or {})
    )
    (service,) = (service for service in one.services if service.template == "nbdkit.service.j2")
    return service


def words(url: str, *arguments: Any, **disk: Any) -> list[str]:
    return [word for group in nbdkit_service(url, *arguments, **disk).args for word in group]


@pytest.mark.parametrize(
    ("url", "source", "disk", "pinned"),
    [
        # The filter of addresses limits where it can get.
        (BY_ADDRESS, {}, {}, False),
        (BY_ADDRESS, {"cookie": "a=b"}, {}, True),
        (BY_NAME, {}, {}, True),
        (BY_NAME, {"cookie": "a=b"}, {}, True),
        (BY_NAME, {}, {"provision": {"follow": ["http://mirror.example"]}}, False),
    ],
)
def test_nbdkit_follows_redirects_where_something_limits_them(
    url: str, source: dict[str, Any], disk: dict[str, Any], pinned: bool
) -> None:
    assert (PIN in words(url, source, **disk)) == pinned


def test_an_nbdkit_without_that_option_is_not_given_it() -> None:
    nbdkit = {**probed("debian13")["nbdkit"], PINS: "this nbdkit follows every redirect"}
    assert PIN not in words(BY_NAME, None, {"nbdkit": nbdkit})
    assert asked(BY_NAME, None, {"nbdkit": nbdkit}) == []


def asked(url: str, *arguments: Any, **disk: Any) -> list[str]:
    """The options with which a redirect is looked for before nbdkit starts."""
    commands = [command.argv for command in nbdkit_service(url, *arguments, **disk).before]
    return [word for argv in commands for word in argv if word.startswith(("--ask", "--any-port", "--from"))]


@pytest.mark.parametrize(
    ("url", "source", "disk", "options"),
    [
        (BY_ADDRESS, {}, {}, ["--any-port", "--from=http://192.0.2.7"]),
        (BY_ADDRESS, {"cookie": "a=b"}, {}, ["--from=http://192.0.2.7"]),
        (BY_NAME, {}, {}, ["--from=http://images.example"]),
        (
            BY_NAME,
            {},
            {"provision": {"follow": ["http://mirror.example"]}},
            ["--any-port", "--from=http://images.example", "--from=http://mirror.example"],
        ),
    ],
)
def test_a_redirect_that_nbdkit_cannot_follow_is_looked_for(
    url: str, source: dict[str, Any], disk: dict[str, Any], options: list[str]
) -> None:
    assert asked(url, source, **disk) == [f"--ask=disk root of web1: http {url}", *options]


def test_nbdkit_takes_a_cookie_to_no_other_server() -> None:
    with pytest.raises(DirectDiskError, match="follow: nbdkit would send the cookie to other servers, too"):
        words(BY_ADDRESS, {"cookie": "a=b"}, provision={"follow": ["http://192.0.2.8"]})
