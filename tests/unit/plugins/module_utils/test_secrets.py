# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A secret stands in no message, whatever is wrong with it or beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.schema import DISK_OPTIONS, VM_OPTIONS
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.plan import (
    declared_credentials,
    describe_plan,
    make_plan,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._routes import stage
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import render
from ansible_collections.directdisk.qemu.tests.unit.support import (
    HOST_NAME,
    SSH,
    capabilities,
    disk_of,
    errors_of,
    vm,
)

MARKER = "s3cr3t-marker"
WRONG: list[Any] = [
    MARKER,
    [MARKER],
    {MARKER: MARKER},
    {"x": MARKER},
    f"a\0{MARKER}",
    f"{MARKER}\n",
    f"zz{MARKER}",
]


def secret_paths(options: tuple[Option, ...], outer: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where in a table of options secrets are."""
    for option in options:
        if option.secret:
            yield (*outer, option.name)
        yield from secret_paths(option.options, (*outer, option.name))


def nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    for key in reversed(path):
        value = {key: value}
    return dict(value)


PLACES = [
    *(("disks", "root", name, *path) for name, backend in BACKENDS.items() for path in secret_paths(backend.options)),
    *(("disks", "root", *path) for path in secret_paths(DISK_OPTIONS)),
    *secret_paths(VM_OPTIONS),
]


def test_the_secrets_of_all_tables_are_found() -> None:
    assert ("disks", "root", "nbd", "tls", "psk_key") in PLACES
    assert ("disks", "root", "https", "cookie") in PLACES
    assert ("disks", "root", "luks", "passphrase") in PLACES
    assert ("vnc", "password") in PLACES


@pytest.mark.parametrize("value", WRONG, ids=repr)
@pytest.mark.parametrize("place", PLACES, ids=".".join)
def test_a_secret_option_is_never_repeated(place: tuple[str, ...], value: Any) -> None:
    # Nothing else that the disk needs is there, so that there is always something to say.
    errors = errors_of({"web1": {"cpus": 0, **nested(place, value)}})
    assert errors
    assert MARKER not in "\n".join(errors)


@pytest.mark.parametrize("wrong", [MARKER, [MARKER], 5], ids=repr)
@pytest.mark.parametrize(
    "place", [place[:-1] for place in PLACES if place[-2] in ("luks", "tls", "vnc", "encryption", "parent")]
)
def test_a_secret_in_place_of_its_options_is_not_repeated(place: tuple[str, ...], wrong: Any) -> None:
    errors = errors_of({"web1": nested(place, wrong)})
    assert errors
    assert MARKER not in "\n".join(errors)


@pytest.mark.parametrize(
    "url",
    [
        "{}://joe:{}@h/x",
        "{}://joe:{}@h",
        "{}://joe:{}@h:99999/x",
        "{}://joe:{}@[::1/x",
        "{}://joe:{}@h/a b",
        "{}://{}@h/x",
        "{}://joe:{}/x",
        "{}://joe:{}@",
        "{}://joe:a@{}@h:port/x",
        "{}:joe:{}@h/x",
    ],
)
@pytest.mark.parametrize("key", ["uri", "http", "https", "ftp", "ftps", "tftp", "nbd"])
def test_a_password_in_a_url_is_not_repeated(url: str, key: str) -> None:
    for scheme in ("http", "https", "nbd", "ftp", "ftps", "tftp", "ssh", "rbd", "iscsi", "nfs"):
        text = url.format(scheme, MARKER)
        disk = {"uri": text} if key == "uri" else {key: {"url": text}}
        errors = errors_of({"web1": {"cpus": 0, "disks": {"root": disk}}})
        assert errors, text
        assert MARKER not in "\n".join(errors), text


@pytest.mark.parametrize(
    "uri",
    [
        "rbd:vms/x:key={}",
        "rbd:x:key={}",
        "rbd:vms/x:key={}:id",
        "rbd:vms/x:{}",
        "rbd:vms/x@y:key={}:id=a@b",
        "rbd:vms/x:mon_host=[:key={}",
        "iscsi://joe%{}@h/iqn.x/y",
        "iscsi://joe:{}@h/iqn.x/99999",
        "iscsi://joe:{}@h/iqn.x/1?x",
    ],
)
def test_a_password_in_a_uri_of_its_own_form_is_not_repeated(uri: str) -> None:
    errors = errors_of({"web1": {"cpus": 0, "disks": {"root": {"uri": uri.format(MARKER)}}}})
    assert len(errors) > 1
    assert MARKER not in "\n".join(errors)


@pytest.mark.parametrize("option", ["key", "host_key"])
@pytest.mark.parametrize(
    "key", ["", "ssh-ed25519 AAAA ", "-----BEGIN OPENSSH PRIVATE KEY-----\n", "PuTTY-User-Key-File"]
)
def test_a_key_that_is_none_is_not_repeated(option: str, key: str) -> None:
    (error,) = errors_of({"web1": disk_of({"ssh": {**SSH, option: f"{key}{MARKER}"}})})
    assert error.startswith(f"{HOST_NAME}: disk root of web1: ssh: {option}: ")
    assert MARKER not in error


def test_a_secret_query_is_in_a_credential_alone() -> None:
    disk = {"https": {"url": "https://192.0.2.7/x?part=1", "query": f"X-Amz-Signature={MARKER}"}}
    one = vm(disk_of(disk, writes="deny"))
    made = make_plan(one, capabilities("debian13"))
    units = [render.render_service(service, encrypted=True) for service in made.services]
    said = repr([made.services, made.disks[0].graph, describe_plan(made), units, one.disks[0].described])
    assert MARKER not in said
    assert "https://192.0.2.7/x?part=1" in said
    assert "--url-in-config" in said
    texts = list(declared_credentials(one).values())
    assert texts == [f'url = "https://192.0.2.7/x?part=1&X-Amz-Signature={MARKER}"\n']


def test_an_image_is_the_same_with_a_signature_that_was_renewed() -> None:
    disks = [
        vm(disk_of({"https": {"url": "https://h/x", "query": query}}, writes="deny")).disks[0]
        for query in ("sig=a", "sig=b")
    ]
    assert disks[0].identity == disks[1].identity
    assert stage.image_name(disks[0]) == stage.image_name(disks[1])


def test_a_uri_with_a_signature_is_taken_apart() -> None:
    disk = vm(disk_of({"uri": f"https://h/x?sig={MARKER}"}, writes="deny")).disks[0]
    assert (disk.source["url"], disk.source["query"]) == ("https://h/x", f"sig={MARKER}")
    assert MARKER not in disk.described + disk.identity
