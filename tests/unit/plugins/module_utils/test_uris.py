# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""URIs mean what QEMU's -drive makes of them, key by key."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._wiring import Wiring
from ansible_collections.directdisk.qemu.tests.unit.support import disk_of, errors_of, machine


def source_of(uri: str) -> dict[str, Any]:
    disk = machine(disk_of({"uri": uri}, writes="deny")).disks[0]
    assert disk.backend.node(disk.source, Wiring("", "root", ""))
    return {key: value for key, value in disk.source.items() if key != "reconnect_delay"}


@pytest.mark.parametrize(
    ("uri", "source"),
    [
        ("nbd://h", {"host": "h"}),
        ("nbd://h/", {"host": "h"}),
        ("nbd://h/web1", {"host": "h", "export": "web1"}),
        ("nbd://h//web1", {"host": "h", "export": "/web1"}),
        ("nbd://h:10810/a/b", {"host": "h", "port": 10810, "export": "a/b"}),
        ("nbd://h:0/a", {"host": "h", "export": "a"}),
        ("nbd+tcp://h/a%20b+c%2Fd", {"host": "h", "export": "a b+c/d"}),
        ("nbd://[2001:db8::5]:99/x", {"host": "2001:db8::5", "port": 99, "export": "x"}),
        ("nbd://[2001:db8::5]/x", {"host": "2001:db8::5", "export": "x"}),
        ("nbd://Store.Example/X", {"host": "Store.Example", "export": "X"}),
        ("nbd+unix:///web1?socket=/run/nbd.sock", {"socket": "/run/nbd.sock", "export": "web1"}),
        ("nbd+unix:///?socket=/run/a%20b", {"socket": "/run/a b"}),
        ("nbd+unix://?socket=/run/s", {"socket": "/run/s"}),
        ("nbd:h:10809", {"host": "h", "port": 10809}),
        ("nbd:h:10809:exportname=a:b%20c", {"host": "h", "port": 10809, "export": "a:b%20c"}),
        ("nbd:h:1:exportname=a:exportname=b", {"host": "h", "port": 1, "export": "a:exportname=b"}),
        ("nbd:[::1]:10809", {"host": "::1", "port": 10809}),
        ("nbd:unix:/run/nbd.sock", {"socket": "/run/nbd.sock"}),
        ("nbd:unix:/run/a:b:exportname=/x", {"socket": "/run/a:b", "export": "/x"}),
        ("http://h/a.raw", {"url": "http://h/a.raw"}),
        ("http://h:8080/a%20b?x=%31&y#z", {"url": "http://h:8080/a%20b?x=%31&y#z"}),
        ("http://joe:p%40ss@h/a", {"url": "http://h/a", "username": "joe", "password": "p@ss"}),
        ("http://jo%20e@h/a", {"url": "http://h/a", "username": "jo e"}),
        ("https://joe:a:b@[::1]:8443/a", {"url": "https://[::1]:8443/a", "username": "joe", "password": "a:b"}),
        ("file:/srv/a.img", {"filename": "/srv/a.img"}),
        ("file:///srv/a%20b.img", {"filename": "/srv/a%20b.img"}),
        ("file:/srv/a b:c.img", {"filename": "/srv/a b:c.img"}),
        ("host_device:/dev/disk/by-id/a%20b", {"filename": "/dev/disk/by-id/a%20b"}),
    ],
)
def test_a_uri_says_the_same_as_these_options(uri: str, source: dict[str, Any]) -> None:
    assert source_of(uri) == source


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("NBD://h/x", "uri: its scheme 'NBD' is none of file, host_device, http, https, nbd, nbd+tcp, nbd+unix"),
        ("nbd://", "nbd: host: '' is not a name or address"),
        ("nbd:///x", "nbd: host: '' is not a name or address"),
        ("nbd://h:port/x", "uri: is not a URI with a valid host and port"),
        ("nbd://h:65536/x", "uri: is not a URI with a valid host and port"),
        ("nbd://::1/x", "uri: is not a URI with a valid host and port"),
        ("nbd://[::1/x", "uri: is not a URI with a valid host and port"),
        ("nbd://h/x?socket=/s", "uri: unknown parameter 'socket'"),
        ("nbd+unix:///x", "uri: nbd+unix wants no host and ?socket=PATH"),
        ("nbd+unix:///x?socket=", "nbd: socket: '' is not an absolute path"),
        ("nbd+unix:///x?socket=/a&socket=/b", "uri: parameter 'socket' is given twice"),
        ("nbd+unix:///x?Socket=/a", "uri: unknown parameter 'Socket' (there are: socket)"),
        ("nbd+unix://h/x?socket=/a", "uri: nbd+unix wants no host and ?socket=PATH"),
        ("nbd:h:", "uri: nbd:HOST:PORT is wanted"),
        ("nbd:h:0", "nbd: port: 0 is less than 1"),
        ("nbd::10809", "nbd: host: '' is not a name or address"),
        ("nbd:unix:", "nbd: socket: '' is not an absolute path"),
        ("nbd:unix:relative", "nbd: socket: 'relative' is not an absolute path"),
        ("http:/h/x", "http: url: is not http://host/path"),
        ("https://h", "https: url: is not https://host/path"),
        ("https://h/", "https: url: is not https://host/path"),
        ("file:relative", "file: filename: 'relative' is not an absolute path"),
        ("file://h/x", "file: filename: 'h/x' is not an absolute path"),
        ("host_device:/srv/x", "host_device: filename: /srv/x is not under /dev; declare an image file with file"),
    ],
)
def test_a_uri_that_cannot_be_read_is_refused(uri: str, problem: str) -> None:
    assert errors_of({"web1": disk_of({"uri": uri}, writes="deny")}) == [f"hv1: disk root of web1: {problem}"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("nbd://H/x", "nbd:h:10809:exportname=x"),
        ("nbd+unix:///x?socket=/run//s", "nbd:unix:/run/s:exportname=x"),
        ("http://joe:a@H:80/x", "http://h/x"),
        ("https://h/x", "https://ann@H:443/x"),
        ("file:/srv/x", "file:///srv//x/"),
        ("file:/dev/sdb", "host_device:/dev/sdb"),
    ],
)
def test_two_spellings_are_one_storage(first: str, second: str) -> None:
    one, two = (machine(disk_of({"uri": uri}, writes="deny")).disks[0] for uri in (first, second))
    assert one.backend.identity(one.source) == two.backend.identity(two.source)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("nbd://h/x", "nbd://h/X"),
        ("nbd://h/x", "nbd://h:10810/x"),
        ("nbd://h/run/s", "nbd+unix:///?socket=/h:10809/run/s"),
        ("http://h/x", "https://h/x"),
        ("http://h/x?a", "http://h/x?b"),
        ("http://h/x", "http://h/X"),
    ],
)
def test_different_storage_is_told_apart(first: str, second: str) -> None:
    one, two = (machine(disk_of({"uri": uri}, writes="deny")).disks[0] for uri in (first, second))
    assert one.backend.identity(one.source) != two.backend.identity(two.source)


@pytest.mark.parametrize("uri", ["http://joe:p4ss@h/x", "https://joe:p4ss@h/x"])
def test_a_storage_is_described_without_the_password(uri: str) -> None:
    assert "p4ss" not in machine(disk_of({"uri": uri}, writes="deny")).disks[0].described
