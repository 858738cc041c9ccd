# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""URIs mean what QEMU's -drive makes of them, key by key."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.tests.unit.support import SSH_KEY, disk_of, errors_of, vm

SCHEMES = ", ".join(sorted(scheme for backend in BACKENDS.values() for scheme in backend.adoption.schemes))
KEY = "AQDVmFJT0JnIJxAAjXG/22KnhIC91W4Gd9iJMg=="
UNSAID = {("nbd", "reconnect_delay"), ("ssh", "key")}
"""Options that are there although the URI does not say them."""
MD5 = ":".join(["0a"] * 16)
WANTED = {
    "rbd": "uri: rbd:POOL/[NAMESPACE/]IMAGE[@SNAPSHOT][:KEY=VALUE...] is required",
    "iscsi": "uri: iscsi://[user:password@]host[:port]/target/lun is required",
}


def disk_at(uri: str, **beside: Any) -> Disk:
    """The disk that a URI says, with what a URI of its kind cannot say."""
    beside = {"ssh": {"key": SSH_KEY}, **beside} if uri.startswith("ssh:") else beside
    return vm(disk_of({"uri": uri}, writes="deny", **beside)).disks[0]


def source_of(uri: str) -> dict[str, Any]:
    disk = disk_at(uri)
    assert not disk.backend.access.driver or disk.backend.access.node(disk.source, UnitResources("", "root", ""))
    return {name: value for name, value in disk.source.items() if (disk.backend.name, name) not in UNSAID}


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
        (f"rbd:rbd/qemu:id=admin:key={KEY}", {"pool": "rbd", "image": "qemu", "user": "admin", "key": KEY}),
        ("rbd:vms/web1", {"pool": "vms", "image": "web1"}),
        ("rbd:vms/web1@s1", {"pool": "vms", "image": "web1", "snapshot": "s1"}),
        ("rbd:vms/team/web1", {"pool": "vms", "namespace": "team", "image": "web1"}),
        ("rbd:vms//web1", {"pool": "vms", "image": "web1"}),
        (r"rbd:v\:ms/we\\b\=1:id=a", {"pool": "v:ms", "image": r"we\b=1", "user": "a"}),
        ("rbd:v%20m/a+b", {"pool": "v%20m", "image": "a+b"}),
        ("rbd:vms/web1:conf=/etc/ceph/x.conf", {"pool": "vms", "image": "web1", "conf": "/etc/ceph/x.conf"}),
        (
            r"rbd:vms/web1:id=a:keyring=/etc/k:auth_supported=cephx\;none:mon_host=h1\;h2\:3300\;[\:\:1]\:6789",
            {
                "pool": "vms",
                "image": "web1",
                "user": "a",
                "keyring": "/etc/k",
                "auth_client_required": ("cephx", "none"),
                "monitors": ("h1", "h2:3300", "[::1]:6789"),
            },
        ),
        (
            r"rbd:vms/web1:mon_host=h1,h2 h3:auth_client_required=none:client_mount_timeout=5",
            {
                "pool": "vms",
                "image": "web1",
                "monitors": ("h1", "h2", "h3"),
                "auth_client_required": ("none",),
                "mount_timeout": 5,
            },
        ),
        (
            r"rbd:vms/web1:rbd_cache=false:rbd_cache_size=1024:crush_location=rack\=r1",
            {"pool": "vms", "image": "web1", "config": {"rbd_cache_size": "1024", "crush_location": "rack=r1"}},
        ),
        ("nfs://192.168.3.155/test/test1.qcow2", {"host": "192.168.3.155", "path": "/test/test1.qcow2"}),
        ("nfs://joe@h:2049/a%20b//c", {"host": "h", "path": "/a b//c"}),
        ("nfs://[2001:db8::5]/x", {"host": "2001:db8::5", "path": "/x"}),
        (
            "nfs://h/x?uid=0&gid=010&tcp-syncnt=2&readahead=0x1000&pagecache=4&debug=1",
            {
                "host": "h",
                "path": "/x",
                "user": 0,
                "group": 8,
                "tcp_syn_count": 2,
                "readahead_size": 4096,
                "page_cache_size": 4,
                "debug": 1,
            },
        ),
        ("nfs://h/x?tcp-syncnt=0&readahead=0&pagecache=0x0&debug=0", {"host": "h", "path": "/x"}),
        (
            "iscsi://192.168.3.31/iqn.qemu.test/1",
            {"portal": "192.168.3.31", "target": "iqn.qemu.test", "lun": 1, "transport": "tcp"},
        ),
        (
            "iscsi://[2001:db8::5]:3261/iqn.2026-01.x%3Ay/007",
            {"portal": "[2001:db8::5]:3261", "target": "iqn.2026-01.x:y", "lun": 7, "transport": "tcp"},
        ),
        (
            "iscsi://joe%p:%40@h:3260/iqn.x/0",
            {"portal": "h:3260", "target": "iqn.x", "lun": 0, "transport": "tcp", "user": "joe", "password": "p:%40"},
        ),
        (
            "iscsi://jo/e:p@h/iqn.x/0?",
            {"portal": "h", "target": "iqn.x", "lun": 0, "transport": "tcp", "user": "jo/e", "password": "p"},
        ),
        ("iscsi://joe@h/iqn.x/1", {"portal": "h", "target": "iqn.x", "lun": 1, "transport": "tcp"}),
        ("iscsi://joe:@h/iqn.x/1", {"portal": "h", "target": "iqn.x", "lun": 1, "transport": "tcp"}),
        ("iscsi://h/iqn.x/1?iser", {"portal": "h", "target": "iqn.x", "lun": 1, "transport": "iser"}),
        ("iser://h/iqn.x/1", {"portal": "h", "target": "iqn.x", "lun": 1, "transport": "iser"}),
        ("file:/srv/a.img", {"filename": "/srv/a.img"}),
        ("file:///srv/a%20b.img", {"filename": "/srv/a%20b.img"}),
        ("file:/srv/a b:c.img", {"filename": "/srv/a b:c.img"}),
        ("host_device:/dev/disk/by-id/a%20b", {"filename": "/dev/disk/by-id/a%20b"}),
        ("ftp://joe:p%40ss@h/a%20b", {"url": "ftp://h/a%20b", "username": "joe", "password": "p@ss"}),
        ("ftps://h:990/a", {"url": "ftps://h:990/a"}),
        ("tftp://h:6969/a", {"url": "tftp://h:6969/a"}),
        ("ssh://joe@h/a", {"host": "h", "user": "joe", "path": "/a"}),
        ("ssh://joe@[::1]:2222//a%20b+c", {"host": "::1", "port": 2222, "user": "joe", "path": "//a b+c"}),
        ("ssh://jo%40e@h:0/a", {"host": "h", "user": "jo@e", "path": "/a"}),
        (
            "ssh://joe@h/a?host_key_check=yes",
            {"host": "h", "user": "joe", "path": "/a", "host_key_check": {"mode": "known_hosts"}},
        ),
        (
            "ssh://joe@h/a?host_key_check=no",
            {"host": "h", "user": "joe", "path": "/a", "host_key_check": {"mode": "none"}},
        ),
        (
            f"ssh://joe@h/a?host_key_check=md5:{MD5}",
            {"host": "h", "user": "joe", "path": "/a", "host_key_check": {"mode": "hash", "type": "md5", "hash": MD5}},
        ),
        ("gluster://h/v/a", {"host": "h", "volume": "v", "path": "a"}),
        ("gluster+tcp://[::1]:24008//v//a/b%20c", {"host": "::1", "port": 24008, "volume": "v", "path": "a/b c"}),
        ("gluster:///v/a", {"host": "localhost", "volume": "v", "path": "a"}),
        ("gluster+unix:///v/a?socket=/run/g", {"servers": ({"socket": "/run/g"},), "volume": "v", "path": "a"}),
        ("sheepdog://h/a", {"host": "h", "vdi": "a"}),
        ("sheepdog:///a", {"host": "localhost", "vdi": "a"}),
        ("sheepdog+tcp://[::1]:7001/a%2Fb", {"host": "::1", "port": 7001, "vdi": "a/b"}),
        ("sheepdog://h/a#3", {"host": "h", "vdi": "a", "snap_id": 3}),
        ("sheepdog://h/a#before-it", {"host": "h", "vdi": "a", "tag": "before-it"}),
        ("sheepdog+unix:///a?socket=/run/s#x", {"socket": "/run/s", "vdi": "a", "tag": "x"}),
        ("sheepdog:a", {"host": "localhost", "port": 7000, "vdi": "a"}),
        ("sheepdog:a:3", {"host": "localhost", "port": 7000, "vdi": "a", "snap_id": 3}),
        ("sheepdog:h:7001:a", {"host": "h", "port": 7001, "vdi": "a"}),
        ("sheepdog:h:7001:a:x", {"host": "h", "port": 7001, "vdi": "a", "tag": "x"}),
    ],
)
def test_a_uri_says_the_same_as_these_options(uri: str, source: dict[str, Any]) -> None:
    assert source_of(uri) == source


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("NBD://h/x", f"uri: its scheme 'NBD' is not one of {SCHEMES}"),
        ("nbd://", "nbd: host: '' is not a name or address"),
        ("nbd:///x", "nbd: host: '' is not a name or address"),
        ("nbd://h:port/x", "uri: is not a URI with a valid host and port"),
        ("nbd://h:65536/x", "uri: is not a URI with a valid host and port"),
        ("nbd://::1/x", "uri: is not a URI with a valid host and port"),
        ("nbd://[::1/x", "uri: is not a URI with a valid host and port"),
        ("nbd://h/x?socket=/s", "uri: unknown parameter 'socket'"),
        ("nbd+unix:///x", "uri: nbd+unix must have no host, and ?socket=PATH"),
        ("nbd+unix:///x?socket=", "nbd: socket: '' is not an absolute path"),
        ("nbd+unix:///x?socket=/a&socket=/b", "uri: parameter 'socket' is set twice"),
        ("nbd+unix:///x?Socket=/a", "uri: unknown parameter 'Socket' (there are: socket)"),
        ("nbd+unix://h/x?socket=/a", "uri: nbd+unix must have no host, and ?socket=PATH"),
        ("nbd:h:", "uri: nbd:HOST:PORT is required"),
        (
            "nfs://h:12049/x",
            "uri: its port 12049 is ignored by QEMU, which asks the server's portmapper; leave the port out",
        ),
        (
            "iscsi://joe%40corp:p@h/iqn.x/0",
            "uri: has a user that can be read in two ways: the % before its password is its end for QEMU, and an "
            "escape for others; declare user and password",
        ),
        ("nbd:h:0", "nbd: port: 0 is less than 1"),
        ("nbd::10809", "nbd: host: '' is not a name or address"),
        ("nbd:unix:", "nbd: socket: '' is not an absolute path"),
        ("nbd:unix:relative", "nbd: socket: 'relative' is not an absolute path"),
        ("http:/h/x", "http: url: is not http://host/path"),
        ("https://h", "https: url: is not https://host/path"),
        ("https://h/", "https: url: is not https://host/path"),
        ("rbd:vms", WANTED["rbd"]),
        ("rbd:a/b/c/d", WANTED["rbd"]),
        ("rbd:vms/web1@s@t", WANTED["rbd"]),
        (f"rbd:vms/web1:key={KEY}:id=a@b", WANTED["rbd"]),
        ("rbd:/web1", "rbd: pool: '' is not a name: it is empty, or has / or @ in it"),
        (r"rbd:a\/b/web1", "rbd: pool: 'a/b' is not a name: it is empty, or has / or @ in it"),
        ("rbd:vms/web1@", "rbd: snapshot: '' is not a name: it is empty, or has / or @ in it"),
        ("rbd:vms/web1:id", r"uri: an option has no value; a ':' within a value is written '\:'"),
        ("rbd:vms/web1:mon_host=h:6789", r"uri: an option has no value; a ':' within a value is written '\:'"),
        ("rbd:vms/web1:key=AQ==:mon_host=", "rbd: monitors: is empty"),
        ("rbd:vms/web1:conf=ceph.conf", "rbd: conf: 'ceph.conf' is not an absolute path"),
        (
            "rbd:vms/web1:keyfile=/etc/k",
            "rbd: config: keyfile: does not belong here; declare the key as key",
        ),
        ("rbd:vms/web1:RBD=1", "rbd: config: 'RBD' is not the name of an option of Ceph"),
        ("nfs:h/x", "uri: nfs://host/path is required"),
        ("nfs:///x", "nfs: host: '' is not a name or address"),
        ("nfs://h", "nfs: path: '' is not the absolute path of a file"),
        ("nfs://h/", "nfs: path: '/' is not the absolute path of a file"),
        ("nfs://h/x?uid=-1", "uri: uid: '-1' is not a number"),
        ("nfs://h/x?uid=08", "uri: uid: '08' is not a number"),
        (
            "nfs://h/x?uid",
            "uri: unknown parameter 'uid' (there are: uid, gid, tcp-syncnt, readahead, pagecache, debug)",
        ),
        (
            "nfs://h/x?version=4",
            "uri: unknown parameter 'version' (there are: uid, gid, tcp-syncnt, readahead, pagecache, debug)",
        ),
        ("nfs://h/x?debug=9", "nfs: debug: 9 is more than 2"),
        ("iscsi:h/iqn.x/1", WANTED["iscsi"]),
        ("iscsi://h/iqn.x", WANTED["iscsi"]),
        ("iscsi://h/iqn.x/one", WANTED["iscsi"]),
        ("iscsi://h/iqn.x/1/2", WANTED["iscsi"]),
        ("iscsi:///iqn.x/1", "iscsi: portal: '' is not a host, host:port or [address]:port"),
        ("iscsi://a@b@h/iqn.x/1", "iscsi: portal: 'b@h' is not a host, host:port or [address]:port"),
        (
            "iscsi://h/iqn.x/1?header_digest=crc32c",
            "uri: knows no parameter but ?iser; declare the others under iscsi, by their names",
        ),
        ("file:relative", "file: filename: 'relative' is not an absolute path"),
        ("file://h/x", "file: filename: 'h/x' is not an absolute path"),
        ("host_device:/srv/x", "host_device: filename: /srv/x is not under /dev; declare an image file with file"),
        ("ssh://h/a", "uri: does not say user and key; write ssh: {user: ..., key: ...} beside it"),
        ("ssh://joe:pass@h/a", "uri: contains a password, which QEMU does not use; set key"),
        ("ssh://joe@h/a?x=y", "uri: unknown parameter 'x' (there are: host_key_check)"),
        (
            "ssh://joe@h/a?host_key_check=md4:00",
            "uri: host_key_check=md4:00 is not yes, no, md5:HASH, sha1:HASH or sha256:HASH",
        ),
        ("gluster://h/v", "gluster: path: '' is not a path in a volume"),
        ("gluster://h/v%40w/a", "gluster: volume: 'v@w' is not the name of a volume"),
        ("gluster://h/v/a?socket=/s", "uri: unknown parameter 'socket'"),
        ("gluster+unix://h/v/a?socket=/s", "uri: gluster+unix must have no host, and ?socket=PATH"),
        ("gluster+unix:///v/a", "uri: gluster+unix must have no host, and ?socket=PATH"),
        ("gluster+rdma://h/v/a", f"uri: its scheme 'gluster+rdma' is not one of {SCHEMES}"),
        ("sheepdog://h/", "sheepdog: vdi: '' is not the name of a VDI"),
        ("sheepdog://h/a?socket=/s", "uri: unknown parameter 'socket'"),
        ("sheepdog+unix:///a", "uri: sheepdog+unix must have no host, and ?socket=PATH"),
        ("sheepdog:h:a:b", "uri: sheepdog:[HOST:PORT:]VDI[:SNAPSHOT] is required"),
        ("sheepdog:h:1:a:b:c", "uri: sheepdog:[HOST:PORT:]VDI[:SNAPSHOT] is required"),
        ("sheepdog://h/a#0", "sheepdog: snap_id: 0 is less than 1"),
        ("ftp://h", "ftp: url: is not ftp://host/path"),
        ("tftp://joe@h/a", "tftp: url: has a user in it, and TFTP knows none"),
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
        ("rbd:vms/x:id=a:mon_host=h1;h2:auth_supported=none", "rbd:vms//x:id=b"),
        ("nfs://H/a//b", "nfs://h/a/./b?uid=1"),
        ("iscsi://h1/iqn.x/1", "iscsi://joe:p@h2:3261/iqn%2ex/01"),
        ("file:/srv/x", "file:///srv//x/"),
        ("file:/dev/sdb", "host_device:/dev/sdb"),
        ("ftp://joe:a@H/x", "ftp://joe@h:21/x"),
        ("ssh://joe@H/a", "ssh://ann@h:22//a?host_key_check=no"),
        ("gluster://H/v/a", "gluster+tcp://h:24007//v//a"),
        ("sheepdog://H/a", "sheepdog:h:7000:a"),
        ("nbd://[2001:DB8::1]/x", "nbd://[2001:db8:0:0::1]:10809/x"),
        ("nfs://nas.example./a", "nfs://NAS.example/a"),
        ("iscsi://h/iqn.2026-01.example:A/0", "iscsi://h/iqn.2026-01.example:a/0"),
        ("ssh://joe@h/a/./b", "ssh://joe@h/a//b"),
        ("gluster://h/v/a/b", "gluster://h/v/a//./b"),
        ("sheepdog://[::1]/a", "sheepdog://[0::1]:7000/a"),
        ("https://H./x", "https://h/x"),
    ],
)
def test_two_spellings_are_one_storage(first: str, second: str) -> None:
    one, two = disk_at(first), disk_at(second)
    assert one.backend.source.identity(one.source) == two.backend.source.identity(two.source)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("nbd://h/x", "nbd://h/X"),
        ("nbd://h/x", "nbd://h:10810/x"),
        ("nbd://h/run/s", "nbd+unix:///?socket=/h:10809/run/s"),
        ("rbd:vms/x", "rbd:vms/y"),
        ("rbd:vms/x", "rbd:vms/ns/x"),
        ("rbd:vms/x", "rbd:vms/x@s"),
        ("nfs://h/x", "nfs://i/x"),
        ("nfs://h/x", "nfs://h/X"),
        ("iscsi://h/iqn.x/1", "iscsi://h/iqn.x/2"),
        ("http://h/x", "https://h/x"),
        ("http://h/x?a", "http://h/x?b"),
        ("http://h/x", "http://h/X"),
        ("ftp://joe@h/x", "ftp://ann@h/x"),
        ("ssh://joe@h/a", "ssh://joe@h:2222/a"),
        ("gluster://h/v/a", "gluster://i/v/a"),
        ("sheepdog://h/a", "sheepdog://h/a#3"),
    ],
)
def test_different_storage_is_told_apart(first: str, second: str) -> None:
    one, two = disk_at(first), disk_at(second)
    assert one.backend.source.identity(one.source) != two.backend.source.identity(two.source)


@pytest.mark.parametrize(
    "uri",
    [
        "http://joe:p4ss@h/x",
        "https://joe:p4ss@h/x",
        "ftp://joe:p4ss@h/x",
        "iscsi://joe:p4ss@h/iqn.x/1",
        "iscsi://joe%p4ss@h/iqn.x/1",
        "rbd:vms/x:key=p4ss",
    ],
)
def test_a_storage_is_described_without_the_password(uri: str) -> None:
    assert "p4ss" not in disk_at(uri).described


@pytest.mark.parametrize("options", [{"sha256": "0" * 64}, {"compression": "xz"}, {"tar_member": "x"}])
def test_another_part_of_what_a_url_gives_and_another_digest_are_another_image(options: dict[str, str]) -> None:
    one, two = disk_at("http://h/x"), disk_at("http://h/x", http=options)
    assert one.backend.source.identity(one.source) != two.backend.source.identity(two.source)


def test_the_servers_of_a_cluster_are_one_storage_in_any_order() -> None:
    lists: list[list[dict[str, Any]]] = [[{"host": "b"}, {"host": "a"}], [{"host": "A"}, {"host": "c", "port": 24008}]]
    one, two = (
        vm(disk_of({"gluster": {"servers": servers, "volume": "v", "path": "/a"}})).disks[0] for servers in lists
    )
    assert one.backend.source.identity(one.source) == two.backend.source.identity(two.source)


FSID = "01234567-0123-0123-0123-0123456789ab"


@pytest.mark.parametrize(
    ("more", "less"),
    [
        ({"rbd": {"pool": "vms", "image": "x", "fsid": FSID}}, {"rbd": {"pool": "vms", "image": "x"}}),
        (
            {"gluster": {"servers": [{"host": "b"}, {"host": "a"}], "volume": "v", "path": "a"}},
            {"gluster": {"host": "B", "volume": "v", "path": "/a"}},
        ),
    ],
)
def test_what_says_less_may_be_the_same_storage(more: dict[str, Any], less: dict[str, Any]) -> None:
    one, two = vm(disk_of(more)).disks[0], vm(disk_of(less)).disks[0]
    assert one.backend.source.identity(one.source) != two.backend.source.identity(two.source)
    assert two.backend.source.identity(two.source) in one.backend.source.other_identities(one.source)


@pytest.mark.parametrize(
    ("uri", "local"),
    [
        ("file:/srv/x", True),
        ("host_device:/dev/sdb", True),
        ("host_device:/dev/disk/by-id/ata-DISK_1", True),
        ("host_device:/dev/disk/by-id/wwn-0x5000c500a1b2c3d4", False),
        ("host_device:/dev/disk/by-id/scsi-36001405f00", False),
        ("host_device:/dev/disk/by-id/nvme-eui.0025388b710116a7", False),
        ("nbd://127.0.0.1/x", True),
        ("nbd:unix:/run/s", True),
        ("nbd://192.0.2.5/x", False),
        ("nfs://localhost./a", True),
        ("iscsi://[::1]/iqn.x/1", True),
        ("iscsi://192.0.2.9/iqn.x/1", False),
        ("ssh://joe@127.1.2.3/a", True),
        ("sheepdog://localhost/a", False),
        ("gluster:///v/a", False),
        ("rbd:vms/x:mon_host=127.0.0.1:auth_supported=none", False),
    ],
)
def test_some_words_mean_other_bytes_on_each_host(uri: str, local: bool) -> None:
    one = disk_at(uri)
    assert one.backend.source.local(one.source) is local


@pytest.mark.parametrize(
    ("uri", "pool"),
    [
        ("rbd:vms/ns/x", "vms"),
        ("nfs://NAS/export/vms/a", "nas:/export/vms"),
        ("iscsi://h/iqn.x/1", "iqn.x"),
        ("nbd://H/x", "h:10809"),
        ("nbd:unix:/run/s", "/run/s"),
        ("https://joe:a@Images.example/a/x", "https://images.example"),
        ("tftp://h/x", "tftp://h"),
        ("ssh://joe@H./srv/a", "h:/srv"),
        ("gluster://h/v/a", "v"),
        ("sheepdog://h/a", "h:7000"),
        ("file:/srv/vms/x", "/srv/vms"),
        ("host_device:/dev/vg0/x", "/dev/vg0"),
    ],
)
def test_a_storage_keeps_its_images_in_something(uri: str, pool: str) -> None:
    one = disk_at(uri)
    assert one.backend.source.pool(one.source) == pool


def test_what_a_uri_does_not_say_stands_beside_it() -> None:
    assert disk_at("http://joe:p4ss@h/x", http={"timeout": 5}).source == {
        "url": "http://h/x",
        "username": "joe",
        "password": "p4ss",
        "timeout": 5,
    }
