# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""No declared value becomes an option, a pattern or a file name to a program that gets it as an argument."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._access import web_image
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import read_image
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.schema import (
    DISK_OPTIONS,
    NETWORK_OPTIONS,
    VM_OPTIONS,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError
from ansible_collections.directdisk.qemu.plugins.module_utils._images.stores import ssh as ssh_store
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.plan import Plan
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import image_fetch
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.tests.unit.support import NBD, SSH, SSH_KEY, plan

MARK = "QQ"
NASTY = (
    "-QQ",
    "--QQ=x",
    "--to-command=QQ",
    "QQ[1].raw",
    "{QQ,b}",
    "+QQ",
    "@QQ",
    "QQ\n-x",
    "QQ,file=/x",
    "QQ 'x' \"y\"",
)
TAKES_VALUE = {
    *("-b", "-F", "-f", "-blockdev", "-chardev", "-cpu", "-device", "-mon", "-name", "-netdev", "-object", "-vnc"),
    *("--object", "--cacert", "--proto", "--config", "master", "-l", "-p"),
}
"""Options after which the next word is their value, whatever it begins with."""
OF_FILES = ("setfacl", "mv", "rm", "ln", "mkdir", "cp", "sed")
"""Programs that take a file whose name begins with - for an option."""


def texts(options: tuple[Option, ...], *path: str) -> Iterator[tuple[str, ...]]:
    """The options that are text of any kind, however deep, by their path."""
    for option in options:
        if option.options:
            yield from texts(option.options, *path, option.name)
        elif option.type in ("str", "path", "list", "any") and not option.choices:
            yield (*path, option.name)


def with_value(values: dict[str, Any], options: tuple[Option, ...], path: tuple[str, ...], text: str) -> dict[str, Any]:
    option = next(option for option in options if option.name == path[0])
    if len(path) > 1:
        inner = with_value(dict(values.get(path[0], {})), option.options, path[1:], text)
        return {**values, path[0]: [inner] if option.type == "list" else inner}
    folder = str(values.get(path[0], "/srv/a")).rpartition("/")[0]
    value = f"{folder}/{text}" if option.type == "path" else text
    return {**values, path[0]: [value] if option.type == "list" else value}


def given(backend: Backend) -> dict[str, Any]:
    """A declaration of it."""
    others = {"ssh": SSH, "host_device": {"filename": "/dev/disk/by-id/x"}}
    return dict(others.get(backend.name, backend.source.sample))


def sources(backend: Backend) -> Iterator[dict[str, Any]]:
    """Declarations of one backend, each with one nasty value."""
    for path in texts(backend.options):
        for text in NASTY:
            if path == ("url",):
                yield {**given(backend), "url": f"{backend.name}://h.example/{text}"}
            else:
                yield with_value(given(backend), backend.options, path, text)


def try_plan(declaration: dict[str, Any]) -> Plan | None:
    """None where the value is refused, which is as good as a fence."""
    try:
        return plan(declaration)
    except DirectDiskError:
        return None


def commands_of(one: Plan) -> Iterator[tuple[str, ...]]:
    for service in one.services:
        yield tuple(word for group in service.args for word in group)
        yield service.ready
        yield from (command.argv for command in (*service.before, *service.after))


def check(argv: tuple[str, ...]) -> None:
    fence = argv.index("--") if "--" in argv else len(argv)
    program = argv[0].rpartition("/")[2] if argv else ""
    for index, word in enumerate(argv):
        if program in OF_FILES and word.startswith("/") and index:
            assert index > fence, argv
        if MARK not in word or index > fence or argv[index - 1] in TAKES_VALUE or paths.TGT_PROGRAM in argv[:index]:
            continue  # our program knows no options
        assert re.match(r"--[a-z-]+=.*QQ", word, re.DOTALL) or not word.startswith("-"), argv
        if program == "nbdkit":
            name, _equals, value = word.partition("=")
            assert re.fullmatch("-?-?[a-z-]+", name), argv
            assert name != "tar-entry" or not value.startswith("-"), argv
            assert "password" not in name, argv
            assert name != "cookie", argv


@pytest.mark.parametrize("name", sorted(BACKENDS))
def test_no_value_of_a_backend_becomes_an_option(name: str) -> None:
    backend = BACKENDS[name]
    planned = 0
    for source in sources(backend):
        for route in backend.access.routes:
            writes = "keep" if backend.source.writable and not source.get("snapshot") else "discard"
            one = try_plan({"disks": {"root": {name: source, "route": route, "writes": writes}}})
            planned += one is not None
            for argv in commands_of(one) if one else ():
                check(argv)
    assert planned


@pytest.mark.parametrize("options", [DISK_OPTIONS, VM_OPTIONS, NETWORK_OPTIONS], ids=["disk", "vm", "network"])
def test_no_value_of_a_vm_becomes_an_option(options: tuple[Option, ...]) -> None:
    skipped = {"uri", "source", "provision", "disks", "networks", "extra_args"}
    for path in (path for path in texts(options) if path[0] not in skipped):
        for text in NASTY:
            values = with_value({}, options, path, text)
            vm = {
                **(values if options is VM_OPTIONS else {}),
                "disks": {"root": {**NBD, **(values if options is DISK_OPTIONS else {})}},
                "networks": {"lan": values if options is NETWORK_OPTIONS else {"bridge": "br0"}},
            }
            one = try_plan(vm)
            for argv in commands_of(one) if one else ():
                check(argv)


@pytest.mark.parametrize("text", ["-QQ", "--use-compress-program=sh -c 'id'", "--to-command=id"])
def test_a_member_that_tar_would_take_for_an_option_is_refused(text: str) -> None:
    """nbdkit's filter gives the name to tar with nothing before it."""
    with pytest.raises(DirectDiskError, match="does not begin with -"):
        plan({"disks": {"root": {"http": {"url": "http://h/a.tar", "tar_member": text}, "writes": "deny"}}})


class Ran(Exception):
    """What would have been run."""


def would_run(monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
    def run(command: list[str], *_arguments: Any, **_options: Any) -> None:
        raise Ran(*command)

    for name in ("run", "Popen"):
        monkeypatch.setattr(module.subprocess, name, run)


@pytest.mark.parametrize("scheme", ["http", "ftp"])
def test_curl_takes_a_url_as_it_is(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    url = f"{scheme}://h/QQ[1]{{a,b}}.raw"
    disk = read_image("disk", {scheme: {"url": url}}, "disk")
    would_run(monkeypatch, web_image)
    with pytest.raises(Ran) as asked:
        web_image.ask(disk, UnitResources("", "disk", ""), seconds=1, begin=())
    with pytest.raises(Ran) as fetched:
        image_fetch.fetch(("--", url), "/x.part", (), (), 1024)
    for argv in (asked.value.args, fetched.value.args):
        assert argv[-2:] == ("--", url)
        assert "--globoff" in argv


def test_ssh_takes_a_host_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    source = {**SSH, "host": "-oProxyCommand=QQ", "user": "-oQQ", "host_key_check": {"mode": "none"}, "key": SSH_KEY}
    disk = read_image("disk", {"ssh": source}, "disk")

    class Bench:
        open_timeout = 1

        def own(self, *_arguments: Any) -> str:
            return "/agent"

        def confined(self, *_arguments: Any, **_options: Any) -> list[str]:
            return []

        def file(self, name: str, text: str) -> str:
            return f"/{name}{text}"

    def session(command: list[str], *_arguments: Any, **_options: Any) -> None:
        raise Ran(*command)

    monkeypatch.setattr(ssh_store.sftp, "session", session)
    with pytest.raises(Ran) as ran, ssh_store.STORE.files(disk, Bench()):  # type: ignore[arg-type]
        pass
    argv = ran.value.args
    assert argv[argv.index("--") + 1 :] == ("-oProxyCommand=QQ", "sftp")
    check(argv)
