# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declarations of many hosts: read each by itself, then side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory import conflicts
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.declared import DeclaredFleet, read_fleet
from ansible_collections.directdisk.qemu.tests.unit.ansible_run import as_template
from ansible_collections.directdisk.qemu.tests.unit.support import NBD, SSH, disk_of

UNKNOWN = as_template("{{ vault_x }}")
RBD: dict[str, Any] = {"pool": "vms", "image": "a", "monitors": ["192.0.2.1"], "auth_client_required": ["none"]}
ISCSI: dict[str, Any] = {"portal": "192.0.2.9", "target": "iqn.2026-01.example:a", "lun": 1}
FSID = "01234567-0123-0123-0123-0123456789ab"
MAC = "52:54:00:12:34:56"


def fleet(**hosts: Mapping[str, Any]) -> DeclaredFleet:
    return read_fleet({host: {"qemu_vms": vms} for host, vms in hosts.items()})


def errors_in(**hosts: Mapping[str, Any]) -> list[str]:
    found = fleet(**hosts)
    return [str(error) for error in (*found.errors, *found.secrets, *conflicts.errors(found))]


def warnings_in(known: Sequence[str] = (), **hosts: Mapping[str, Any]) -> list[str]:
    found = fleet(**hosts)
    assert [*found.errors, *found.secrets] == []
    return [str(warning) for warning in conflicts.warnings(found, known)]


def network(**options: Any) -> dict[str, Any]:
    return {"networks": {"lan": options}}


# --- each host by itself ---------------------------------------------------------------------------------------------


def test_every_error_of_every_host_is_found_at_once() -> None:
    assert errors_in(hv1={"a": {"cpus": 0, "memory": "x"}, "b": {}}, hv2={"a": disk_of({"rdb": {}})}, hv3=[]) == [
        "hv1: vm a: cpus: 0 is less than 1",
        "hv1: vm a: memory: 'x' is not a size; write for example 20GiB",
        "hv2: disk root of a: no backend (one of rbd, nfs, iscsi, nbd, http, https, ftp, ftps, tftp, ssh, host_device, "
        "file, gluster, sheepdog, or uri); 'rdb' is neither a backend nor an option (did you mean 'rbd'?)",
        "hv3: qemu_vms is not a mapping of VM names to VMs",
    ]


def test_what_is_empty_is_an_error_beside_an_unknown_secret_too() -> None:
    unknown = {"vnc": {"address": "127.0.0.1", "port": 5900, "password": UNKNOWN}}
    assert len(errors_in(hv1={"a": None})) == 1
    errors = errors_in(hv1={"a": {**unknown, "disks": {"root": None}}})
    assert "hv1: disk root of a: is not a mapping with a backend's key and options" in errors


@pytest.mark.parametrize(
    ("provision", "error"),
    [
        ({"flaten": True}, "provision: unknown option 'flaten' (did you mean 'flatten'?)"),
        ({"thick": True}, "thick: is for a blank raw image; leave it out, or source, format, luks and encryption"),
    ],
)
def test_how_an_image_is_kept_is_checked_as_well(provision: dict[str, Any], error: str) -> None:
    kept = disk_of({"rbd": RBD, "luks": {"passphrase": "x"}, "provision": provision})
    found = fleet(hv1={"a": kept, "gone": {**kept, "state": "absent"}})
    assert [str(error) for error in found.errors] == [f"hv1: disk root of a: {error}"]
    assert [row["vm"] for row in found.rows()] == ["a", "gone"]


def test_a_host_without_vms_has_no_part() -> None:
    found = read_fleet({"hv1": {"other": 1}, "hv2": {"qemu_vms": {}}})
    assert (found.hosts, found.errors) == (["hv2"], [])


def test_only_the_hosts_that_are_named_are_read() -> None:
    assert read_fleet({"hv1": {"qemu_vms": []}, "hv2": {"qemu_vms": {}}}, ["hv2"]).errors == []


@pytest.mark.parametrize(
    ("disk", "where", "name"),
    [
        ({"rbd": {"pool": "p", "image": "i", "key": UNKNOWN, "monitors": ["h"]}}, "rbd: key", "rbd.key"),
        ({"iscsi": {**ISCSI, "user": "u", "password": UNKNOWN}}, "iscsi: password", "iscsi.password"),
        ({"uri": "ssh://u@h/a", "ssh": {"key": UNKNOWN}}, "ssh: key", "ssh.key"),
        ({"ssh": {**SSH, "passphrase": UNKNOWN}}, "ssh: passphrase", "ssh.passphrase"),
        ({"https": {"url": "https://h/x", "cookie": UNKNOWN}, "writes": "deny"}, "https: cookie", "https.cookie"),
        (
            {"nbd": {"host": "h", "tls": {"psk_username": "u", "psk_key": UNKNOWN}}},
            "nbd: tls: psk_key",
            "nbd.tls.psk_key",
        ),
        ({**NBD, "luks": {"passphrase": UNKNOWN}}, "luks: passphrase", "luks.passphrase"),
        ({**NBD, "source": {"ssh": {**SSH, "key": UNKNOWN}}}, "source: ssh: key", "source.ssh.key"),
        ({"rbd": {**RBD, "config": {"rbd_cache_size": UNKNOWN}}}, "rbd: config: rbd_cache_size", "rbd.config"),
        ({"rbd": RBD, "provision": {"metadata": {"a": UNKNOWN}}}, "provision: metadata: a", "provision.metadata"),
    ],
)
def test_a_missing_secret_is_named_and_its_disk_is_checked_all_the_same(
    disk: dict[str, Any], where: str, name: str
) -> None:
    found = fleet(hv1={"a": {"disks": {"root": disk, "same": disk}}})
    assert found.errors == []
    assert [str(error) for error in found.secrets] == [
        f"hv1: disk {part} of a: {where}: 'vault_x' is undefined" for part in ("root", "same")
    ]
    assert [row["secrets_missing"] for row in found.rows()] == [[name]] * 2
    if disk.get("writes") != "deny":
        assert "hv1: disk same of a: is the same storage as hv1: disk root of a" in str(conflicts.errors(found)[0])


@pytest.mark.parametrize(
    ("vm", "where"),
    [
        ({"vnc": {"password": UNKNOWN}}, "vm a: vnc: password"),
        ({"cloud_init": {"user_data": {"users": [{"passwd": UNKNOWN}]}}}, "vm a: cloud_init: user_data: users: passwd"),
        ({"cloud_init": {"user_data": UNKNOWN}}, "vm a: cloud_init: user_data"),
        ({"cloud_init": {"user_data": {}, "network_config": UNKNOWN}}, "vm a: cloud_init: network_config"),
    ],
)
def test_a_missing_secret_of_a_vm_is_named(vm: dict[str, Any], where: str) -> None:
    found = fleet(hv1={"a": {**vm, **disk_of(NBD)}})
    assert [str(error) for error in found.secrets] == [f"hv1: {where}: 'vault_x' is undefined"]
    assert [row["disk"] for row in found.rows()] == ["root"]


@pytest.mark.parametrize(
    ("vms", "where", "left"),
    [
        (UNKNOWN, "qemu_vms", []),
        ({"a": UNKNOWN, "b": disk_of(NBD)}, "vm a", ["b"]),
        ({"a": {"memory": UNKNOWN, **disk_of(NBD)}}, "vm a: memory", ["a"]),
        ({"a": {"disks": UNKNOWN}}, "vm a: disks", []),
        ({"a": {"disks": {"root": UNKNOWN, "b": NBD}}}, "disk root of a", ["a"]),
        ({"a": {"disks": {"root": {"nbd": {"host": UNKNOWN}}, "b": NBD}}}, "disk root of a: nbd: host", ["a"]),
        ({"a": {"disks": {"root": {"nbd": UNKNOWN}, "b": NBD}}}, "disk root of a: nbd", ["a"]),
        ({"a": {"disks": {"root": {**NBD, "provision": {"force": UNKNOWN}}}}}, "disk root of a: provision: force", []),
        ({"a": {"disks": {"root": {**NBD, "provision": UNKNOWN}}}}, "disk root of a: provision", []),
        ({"a": {"disks": {"root": {**NBD, "source": UNKNOWN}}}}, "disk root of a: source", []),
        ({"a": {**disk_of(NBD), **network(bridge=UNKNOWN)}}, "network lan of a: bridge", ["a"]),
        ({"a": {**disk_of(NBD), "extra_args": ["x", UNKNOWN]}}, "vm a: extra_args", ["a"]),
    ],
)
def test_what_else_cannot_be_made_is_left_out_with_an_error(vms: Any, where: str, left: list[str]) -> None:
    found = fleet(hv1=vms)
    assert [str(error) for error in found.errors] == [f"hv1: {where}: 'vault_x' is undefined"]
    assert found.secrets == []
    assert [row["vm"] for row in found.rows()] == left


# --- side by side ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "described"),
    [
        (
            {"nbd": {"host": "NAS.example.", "export": "a"}},
            {"uri": "nbd://nas.example:10809/a"},
            "nbd nas.example:10809/a",
        ),
        ({"iscsi": ISCSI}, {"iscsi": {**ISCSI, "portal": "[2001:db8::9]:3261"}}, "iscsi [2001:db8::9]:3261/"),
        ({"iscsi": ISCSI}, {"uri": "iscsi://192.0.2.10/iqn.2026-01.example:A/1"}, "iscsi 192.0.2.10:3260/"),
        (
            {"iscsi": ISCSI, "provision": {"portals": ["192.0.2.10", "192.0.2.11"]}},
            {"iscsi": {**ISCSI, "portal": "192.0.2.11:3260"}, "provision": {"portals": ["192.0.2.9"]}},
            "iscsi 192.0.2.11:3260/",
        ),
        ({"nfs": {"host": "NAS", "path": "/x/a"}}, {"uri": "nfs://nas//x/./a?uid=0"}, "nfs nas:/x/a"),
        (
            {"ssh": SSH},
            {"ssh": {**SSH, "user": "root", "port": 22, "path": "/srv//a.img"}},
            "ssh root@192.0.2.8:22:/srv//",
        ),
        (
            {"uri": "gluster://G2/v/a"},
            {"gluster": {"servers": [{"host": "g1"}, {"host": "g2"}], "volume": "v", "path": "/a"}},
            "gluster g1,g2/v/a",
        ),
        ({"sheepdog": {"host": "localhost", "vdi": "a"}}, {"uri": "sheepdog:a"}, "sheepdog localhost:7000/a"),
        (
            {"host_device": {"filename": "/dev/disk/by-id/wwn-0x5000"}},
            {"uri": "host_device:/dev/disk/by-id/wwn-0x5000"},
            "host_device /dev/disk/by-id/wwn-0x5000",
        ),
    ],
)
def test_storage_that_two_hosts_write_to_is_found_under_any_spelling(
    first: dict[str, Any], second: dict[str, Any], described: str
) -> None:
    found = errors_in(hv1={"a": disk_of(first)}, hv2={"b": disk_of(second)})
    assert len(found) == 1
    problem = "is the same storage as hv1: disk root of a, and one of them writes to it"
    assert found[0].startswith(f"hv2: disk root of b: {problem} ({described}")


def test_one_web_image_is_fetched_in_one_way_by_a_host() -> None:
    image = {"uri": "http://192.0.2.5/x", "writes": "discard"}
    first, second = ({**image, "provision": {"follow": [f"http://192.0.2.{end}"]}} for end in (6, 7))
    assert errors_in(hv1={"a": {"disks": {"d": first}}, "b": {"disks": {"d": second}}}) == [
        "hv1: disk d of b: is the same image as hv1: disk d of a (http http://192.0.2.5/x), with another provision; "
        "declare the same for both"
    ]
    assert errors_in(hv1={"a": {"disks": {"d": first}}}, hv2={"b": {"disks": {"d": second}}}) == []
    assert errors_in(hv1={"a": {"disks": {"d": first}}, "b": {"disks": {"d": dict(first)}}}) == []


def test_images_of_ceph_with_and_without_fsid_may_be_the_same() -> None:
    with_fsid = {**RBD, "fsid": FSID}
    assert errors_in(hv1={"a": disk_of({"rbd": with_fsid})}, hv2={"b": disk_of({"rbd": RBD})}) == [
        "hv1: disk root of a: is the same storage as hv2: disk root of b, and one of them writes to it (rbd vms/a); "
        "set fsid of both if they are in two clusters"
    ]
    other = {**RBD, "fsid": FSID.replace("0", "f")}
    assert errors_in(hv1={"a": disk_of({"rbd": with_fsid})}, hv2={"b": disk_of({"rbd": other})}) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"file": {"path": "/srv/a"}}, {"file": {"path": "/srv/a"}}),
        ({"nbd": {"socket": "/run/a"}}, {"nbd": {"socket": "/run/a"}}),
        ({"nbd": {"host": "127.0.0.1"}}, {"nbd": {"host": "127.0.0.1"}}),
        ({**NBD, "writes": "deny"}, {**NBD, "writes": "overlay"}),
        ({"rbd": RBD}, {"rbd": {**RBD, "snapshot": "s"}, "writes": "deny"}),
    ],
)
def test_what_is_not_shared_or_not_written_is_left_alone(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert errors_in(hv1={"a": disk_of(first)}, hv2={"b": disk_of(second)}) == []


def test_one_writer_among_readers_is_found_wherever_it_stands() -> None:
    read = disk_of(NBD, writes="deny")
    found = errors_in(hv1={"a": read}, hv2={"b": disk_of(NBD)}, hv3={"c": read})
    assert found == [
        "hv2: disk root of b: is the same storage as hv1: disk root of a, and one of them writes to it "
        "(nbd 192.0.2.5:10809/)",
        "hv3: disk root of c: is the same storage as hv2: disk root of b, and one of them writes to it "
        "(nbd 192.0.2.5:10809/)",
    ]


def test_a_vm_that_is_absent_opens_nothing() -> None:
    moved = {**disk_of(NBD), **network(bridge="br0", mac=MAC)}
    assert errors_in(hv1={"a": {**moved, "state": "absent"}}, hv2={"a": moved}) == []
    assert warnings_in(hv1={"a": {**moved, "state": "absent"}}, hv2={"a": moved}) == []


def test_a_vm_that_stands_by_on_another_host_is_no_second_writer() -> None:
    stands_by = {**disk_of(NBD), "state": "stopped"}
    assert errors_in(hv1={"a": stands_by}, hv2={"a": disk_of(NBD)}, hv3={"a": stands_by}) == []
    assert len(errors_in(hv1={"a": stands_by}, hv2={"b": disk_of(NBD)})) == 1
    assert len(errors_in(hv1={"a": stands_by, "b": stands_by})) == 1
    assert errors_in(hv1={"a": stands_by}, hv2={"a": disk_of(NBD)}, hv3={"a": disk_of(NBD)}) == [
        "hv3: disk root of a: is the same storage as hv2: disk root of a, and one of them writes to it "
        "(nbd 192.0.2.5:10809/)"
    ]


def test_a_name_on_two_hosts_is_worth_a_warning() -> None:
    assert warnings_in(hv1={"a": {}}, hv2={"a": {}}) == [
        "hv2: vm a: is also declared on hv1, and both have the same UUID; "
        "to move a VM, set state: absent on the host that it leaves"
    ]


def test_an_address_is_one_vms_on_bridges_of_a_name() -> None:
    lan = network(bridge="br0", mac=MAC)
    assert errors_in(hv1={"a": lan}, hv2={"b": network(bridge="br0", mac=MAC.upper())}) == [
        f"hv2: network lan of b: has the mac {MAC} of hv1: network lan of a on a bridge of the same name, br0; "
        "give one of them another mac"
    ]
    assert errors_in(hv1={"a": lan}, hv2={"b": network(user=True, mac=MAC)}) == []
    assert warnings_in(hv1={"a": lan}, hv2={"b": network(bridge="br1", mac=MAC)}) == [
        f"hv2: network lan of b: has on br1 the mac {MAC} that hv1: network lan of a has on br0"
    ]


def test_a_derived_address_stays_when_the_vm_moves_and_is_one_vms() -> None:
    lan = network(bridge="br0")
    here, there = (fleet(**{host: {"a": lan}}).vms[0].vm.networks[0].mac for host in ("hv1", "hv2"))
    assert here == there
    assert here != fleet(hv1={"b": lan}).vms[0].vm.networks[0].mac
    stands_by = {**lan, "state": "stopped"}
    for other in (stands_by, {**stands_by, **network(bridge="br1")}, {"state": "absent"}):
        assert errors_in(hv1={"a": other}, hv2={"a": lan}) == []
        assert len(warnings_in(hv1={"a": other}, hv2={"a": lan})) == (other != {"state": "absent"})
    assert errors_in(hv0={"a": stands_by}, hv1={"a": lan}, hv2={"a": lan}) == [
        f"hv2: network lan of a: has the mac {here} of hv1: network lan of a on a bridge of the same name, br0; "
        "give one of them another mac"
    ]


def test_a_tap_device_has_a_name_of_its_own() -> None:
    both = {"networks": {"lan": {"bridge": "br0"}, "wan": {"bridge": "a.lan"}}}
    assert errors_in(hv1={"a": both}) == [
        "hv1: network lan of a: its tap device would have the name a.lan of a bridge; rename the network"
    ]


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", ""])
def test_a_port_of_a_host_is_one_vms(address: str) -> None:
    first = {"vnc": {"address": "127.0.0.1", "port": 5901}, **network(user=True, forward=["tcp::2222-:22"])}
    second = network(user=True, forward=[f"tcp:{address}:5901-:80", "udp::2222-:22", "tcp:127.0.0.1:2222-:22"])
    assert errors_in(hv1={"a": first, "b": second}, hv2={"c": first}) == [
        "hv1: network lan of b: forward: port 5901 (tcp) is also that of hv1: vm a: vnc",
        "hv1: network lan of b: forward: port 2222 (tcp) is also that of hv1: network lan of a: forward",
    ]


def test_ports_of_different_addresses_do_not_meet() -> None:
    vms = {name: {"vnc": {"address": f"127.0.0.{name}", "port": 5901}} for name in "12"}
    assert errors_in(hv1=vms) == []


def test_the_addresses_of_two_tgtd_do_not_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conflicts, "loopback_address", lambda vm, disk: "127.1.2.3")
    disks = {name: {"sheepdog": {"host": "h", "vdi": name}} for name in "ab"}
    assert errors_in(hv1={"a": {"disks": disks}}, hv2={"b": disk_of({"sheepdog": {"host": "h", "vdi": "c"}})}) == [
        "hv1: disk b of a: its tgtd would have the same address as that of hv1: disk a of a; rename the disk"
    ]


GOLDEN: dict[str, Any] = {**RBD, "pool": "images", "image": "debian-13"}


@pytest.mark.parametrize(
    ("source", "known", "problem"),
    [
        ({"rbd": {**GOLDEN, "snapshot": "s"}}, [], "rbd images/debian-13@s"),
        ({"rbd": {**GOLDEN, "snapshot": "s"}}, ["rbd images/*"], ""),
        ({"file": {"path": "/srv/golden.img"}}, ["rbd images/*"], "file /srv/golden.img"),
        ({"https": {"url": "https://h/x"}}, [], ""),
        ({"nbd": {"host": "192.0.2.5"}}, [], ""),
    ],
)
def test_a_source_is_somebodys_or_said_to_be_there(source: dict[str, Any], known: list[str], problem: str) -> None:
    vms = {"a": disk_of({"rbd": RBD}, source=source, size="1GiB"), "b": disk_of(NBD)}
    expected = f"hv1: disk root of a: source: {problem} is not declared; "
    expected += "if it exists nevertheless, add it to plan_known_images"
    assert warnings_in(known, hv1=vms) == ([expected] if problem else [])


def test_a_snapshot_of_a_declared_image_is_somebodys() -> None:
    golden, clone = disk_of({"rbd": GOLDEN}), disk_of({"rbd": RBD}, source={"rbd": {**GOLDEN, "snapshot": "s"}})
    assert warnings_in(hv1={"golden": golden}, hv2={"a": clone}) == []


def test_a_file_of_another_host_is_no_source() -> None:
    source = {"file": {"path": "/srv/golden.img"}}
    vms = {"hv1": {"golden": disk_of(source)}, "hv2": {"a": disk_of({"rbd": RBD}, source=source)}}
    assert warnings_in(**vms) == [
        "hv2: disk root of a: source: file /srv/golden.img is not declared; "
        "if it exists nevertheless, add it to plan_known_images"
    ]


@pytest.mark.parametrize(
    ("declared", "source", "known"),
    [
        ({}, {"fsid": FSID}, True),
        ({"fsid": FSID}, {}, True),
        ({"fsid": FSID}, {"fsid": FSID.upper()}, True),
        ({"fsid": FSID}, {"fsid": FSID.replace("0", "f")}, False),
    ],
)
def test_a_source_in_ceph_is_somebodys_in_the_same_cluster(
    declared: dict[str, str], source: dict[str, str], known: bool
) -> None:
    golden = disk_of({"rbd": {**GOLDEN, **declared}})
    clone = disk_of({"rbd": RBD}, source={"rbd": {**GOLDEN, "snapshot": "s", **source}})
    assert (warnings_in(hv1={"golden": golden}, hv2={"a": clone}) == []) == known


@pytest.mark.parametrize(
    ("disk", "where"),
    [
        ({"iscsi": {**ISCSI, "user": "u", "password": ""}}, "iscsi: password"),
        ({**NBD, "luks": {"passphrase": ""}}, "luks: passphrase"),
        (
            {"rbd": RBD, "source": {"https": {"url": "https://h/x", "username": "u", "password": ""}}},
            "source: https: password",
        ),
    ],
)
def test_an_empty_secret_is_worth_a_warning(disk: dict[str, Any], where: str) -> None:
    assert warnings_in(hv1={"a": disk_of(disk)}) == [f"hv1: disk root of a: {where}: is empty"]
