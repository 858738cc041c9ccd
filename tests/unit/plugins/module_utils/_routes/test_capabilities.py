# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which route a disk takes on which host, and what is missing for it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.registry import ROUTES
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.selection import (
    choose_route,
    flaw,
    missing,
    route_order,
)
from ansible_collections.directdisk.qemu.tests.unit.support import capabilities, disk_of, vm

HTTP = {"http": {"url": "http://192.0.2.7/x"}}
FLAW = (
    "route driver: QEMU's own curl driver now and then hangs with several requests in flight "
    "(seen on 7.2, 10.0 and 11.1; 5.2 is fine)"
)
NO_DRIVER = {"drivers": {"http": "Unknown driver 'http'"}}


@pytest.mark.parametrize(
    ("host", "wanted", "changes", "route", "warning"),
    [
        ("qemu5", "auto", {}, "driver", ""),
        ("debian12", "auto", {}, "nbdkit", ""),
        ("debian13", "auto", {}, "nbdkit", ""),
        ("sid", "auto", {}, "nbdkit", ""),
        ("debian12", "driver", {}, "driver", FLAW),
        ("debian13", "nbdkit", {}, "nbdkit", ""),
        ("debian12", "auto", {"nbdkit": {}}, "stage", ""),
        ("debian12", "auto", {"nbdkit": {}, "programs": {}}, "driver", FLAW),
        ("qemu5", "auto", NO_DRIVER, "nbdkit", ""),
        ("debian12", "auto", {"nbdkit": {"curl": ""}}, "stage", ""),
        ("debian12", "auto", {"programs": {}}, "driver", FLAW),
        ("debian13", "auto", {"version": [5, 9, 0]}, "driver", ""),
        ("debian13", "auto", {"version": [6, 0, 0]}, "nbdkit", ""),
    ],
)
def test_auto_takes_the_first_route_that_works_and_a_known_bad_one_last(
    host: str, wanted: str, changes: dict[str, Any], route: str, warning: str
) -> None:
    disk = vm(disk_of(HTTP, writes="deny", route=wanted)).disks[0]
    assert choose_route(disk, capabilities(host, **changes)) == (route, warning)


def test_a_route_that_was_asked_for_is_not_replaced() -> None:
    disk = vm(disk_of(HTTP, writes="deny", route="driver")).disks[0]
    with pytest.raises(DeclarationError, match="this QEMU has no http driver"):
        choose_route(disk, capabilities("debian13", **NO_DRIVER))


@pytest.mark.parametrize("backend", BACKENDS.values(), ids=lambda backend: backend.name)
def test_every_backend_has_a_route_without_a_flaw_on_each_recorded_qemu(backend: Any) -> None:
    for release in ((5, 2), (7, 2), (10, 0), (11, 1)):
        assert not flaw(backend, route_order(backend, backend.source.sample, release)[0], release)


REQUIRES = {"routes": [{"backend": "http", "route": "auto"}, {"backend": "nbd", "route": "auto"}], "uefi": True}


def test_nothing_is_missing_where_all_works() -> None:
    assert missing(REQUIRES, capabilities()) == ([], [])
    assert missing({}, capabilities()) == ([], [])


def test_qemu_itself_is_missing_even_where_no_disk_needs_a_driver() -> None:
    assert missing({}, Capabilities(family="debian")) == (
        ["this host has no QEMU emulator; install qemu-system-x86 qemu-utils (role storage_client)"],
        ["qemu-system-x86", "qemu-utils"],
    )


def test_what_is_missing_comes_with_its_packages() -> None:
    words, packages = missing(REQUIRES, capabilities("qemu5", uefi={}, drivers={"http": "Unknown driver", "nbd": ""}))
    assert words == [
        "http by route driver: this QEMU has no http driver (Unknown driver); "
        "install qemu-block-extra ca-certificates (role storage_client)",
        "firmware uefi: this host has none for x86_64",
    ]
    assert packages == ["qemu-block-extra", "ca-certificates", "ovmf"]


def test_a_host_without_qemu_needs_the_packages_of_every_route() -> None:
    words, packages = missing(REQUIRES, capabilities("debian13", emulator="", version=[], nbdkit={}))
    assert packages == ["qemu-system-x86", "qemu-utils", "qemu-block-extra", "ca-certificates", "nbdkit", "curl"]
    assert all("this host has no QEMU emulator" in word for word in words)


def test_nbdkit_needs_curl_which_asks_a_web_server_for_redirects() -> None:
    requires = {"routes": [{"backend": name, "route": "nbdkit"} for name in ("http", "ftp")]}
    words, packages = missing(requires, capabilities("debian13", programs={}))
    assert words == [
        "http by route nbdkit: this host has no curl, which asks the server for redirects; "
        "install nbdkit curl ca-certificates (role storage_client)"
    ]
    assert "curl" in packages


def test_a_host_of_an_unknown_family_is_told_no_packages() -> None:
    words, packages = missing(REQUIRES, capabilities("debian13", family="", uefi={}))
    assert (words, packages) == (["firmware uefi: this host has none for x86_64"], [])


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(DeclarationError, match=r"^requires: there is no backend 'rdb' \(there are: "):
        missing({"routes": [{"backend": "rdb", "route": "auto"}]}, capabilities())


@pytest.mark.parametrize(("version", "release"), [([], (0, 0)), ([7], (0, 0)), ([10, 0, 13], (10, 0))])
def test_a_release_is_major_and_minor(version: list[int], release: tuple[int, int]) -> None:
    assert capabilities(version=version).release == release


@pytest.mark.parametrize("host", ["rhel9", "rhel10"])
@pytest.mark.parametrize("backend", ["iscsi", "nfs"])
def test_red_hat_has_no_package_for_some_drivers(host: str, backend: str) -> None:
    assert missing({"routes": [{"backend": backend, "route": "auto"}]}, capabilities(host)) == (
        [
            f"{backend} by route driver: this QEMU has no {backend} driver (Unknown driver '{backend}'); "
            "no package of this distribution is known to bring it"
        ],
        [],
    )


@pytest.mark.parametrize("host", ["rhel9", "rhel10"])
def test_red_hat_reads_web_servers_by_nbdkit(host: str) -> None:
    (disk,) = vm(disk_of(HTTP, writes="deny")).disks
    assert choose_route(disk, capabilities(host)) == ("nbdkit", "")
    assert missing({"routes": [{"backend": "http", "route": "auto"}]}, capabilities(host)) == ([], [])
    packages = missing({"routes": [{"backend": "http", "route": "nbdkit"}]}, capabilities(host, nbdkit={}))[1]
    assert "nbdkit-curl-plugin" in packages
    assert "nbdkit-gzip-filter" in packages


@pytest.mark.parametrize(("backend", "route"), [("rbd", "driver"), ("sheepdog", "tgt"), ("gluster", "tgt")])
def test_arch_has_no_packages_for_some_storage(backend: str, route: str) -> None:
    assert ROUTES[route].packages(BACKENDS[backend], "arch") == ()
