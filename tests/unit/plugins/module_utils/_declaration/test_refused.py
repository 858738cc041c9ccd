# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot be applied is refused with a message that says where, what and what to do: word for word."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.read_vm import read_vms
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import CapabilityError, DirectDiskError
from ansible_collections.directdisk.qemu.tests.unit.support import (
    HOST_NAME,
    NBD,
    SSH,
    UNIT_TESTS,
    disk_of,
    errors_of,
    plan,
)

REFUSED = [
    pytest.param(case["vms"], case["error"], id=f"{path.stem}: {name}")
    for path in sorted((UNIT_TESTS / "refused").glob("*.yml"))
    for name, case in yaml.safe_load(path.read_text(encoding="utf-8")).items()
]
HTTPS: dict[str, Any] = {"url": "https://192.0.2.7/a.raw"}
RBD: dict[str, Any] = {"pool": "vms", "image": "web1", "key": "AQ==", "monitors": ["192.0.2.1"]}
BUNDLES = {
    name: {
        "https": {"url": f"https://192.0.2.7/{name}", "ca_bundle": f"/etc/{name}.pem"},
        "writes": "deny",
        "route": "driver",
    }
    for name in ("a", "b")
}


@pytest.mark.parametrize(("vms", "error"), REFUSED)
def test_a_declaration_is_refused_in_these_words(vms: Any, error: str) -> None:
    with pytest.raises(DirectDiskError) as raised:
        read_vms(vms, HOST_NAME)
    assert str(raised.value) == error


@pytest.mark.parametrize(
    ("given", "host", "changes", "error"),
    [
        pytest.param(
            disk_of(NBD),
            "debian13",
            {"emulator": "", "version": []},
            "disk root of web1: nbd 192.0.2.5:10809/: this host has no QEMU emulator; "
            "install qemu-system-x86 qemu-utils (role storage_client)",
            id="no emulator",
        ),
        pytest.param(
            disk_of({"http": {"url": "http://h/x"}}, writes="deny", route="driver"),
            "debian13",
            {"drivers": {"http": "Unknown driver 'http'"}},
            "disk root of web1: http http://h/x: this QEMU has no http driver (Unknown driver 'http'); "
            "install qemu-block-extra ca-certificates (role storage_client)",
            id="a driver this host lacks",
        ),
        pytest.param(
            disk_of({"http": {"url": "http://h/x"}}, writes="deny"),
            "debian13",
            {"drivers": {}, "nbdkit": {}, "programs": {}},
            "disk root of web1: http http://h/x: route nbdkit: nbdkit cannot serve http (nbdkit is not installed); "
            "install nbdkit curl ca-certificates (role storage_client); "
            "route stage: this host has no curl; install curl ca-certificates "
            "(role storage_client); route driver: this QEMU has no http driver (was not probed); "
            "install qemu-block-extra ca-certificates (role storage_client)",
            id="no route at all",
        ),
        pytest.param(
            disk_of({"file": {"filename": "/srv/a"}}),
            "debian13",
            {"programs": {"setfacl": ""}},
            "disk root of web1: file /srv/a: this host has no setfacl; install acl (role storage_client)",
            id="a program this host lacks",
        ),
        pytest.param(
            disk_of({"https": {**HTTPS, "force_range": True}}, writes="deny", route="driver"),
            "debian13",
            {},
            "disk root of web1: https https://192.0.2.7/a.raw: force_range needs QEMU 11.0, and this host has 10.0",
            id="an option of a later QEMU",
        ),
        pytest.param(
            disk_of({"nbd": {"host": "h", "tls": {"ca_cert": "x", "hostname": "n"}}}),
            "qemu5",
            {},
            "disk root of web1: nbd h:10809/: hostname needs QEMU 7.0, and this host has 5.2",
            id="a nested option of a later QEMU",
        ),
        pytest.param(
            disk_of(
                {"ssh": {**SSH, "host_key_check": {"mode": "hash", "type": "sha256", "hash": "00" * 32}}},
            ),
            "qemu5",
            {},
            "disk root of web1: ssh vms@192.0.2.8:22:/srv/a.img: type sha256 needs QEMU 7.0, and this host has 5.2",
            id="a choice of a later QEMU",
        ),
        pytest.param(
            disk_of({"gluster": {"host": "h", "port": 24008, "volume": "v", "path": "a"}}),
            "sid",
            {},
            "disk root of web1: gluster h/v/a: route driver: QEMU has no gluster driver any more since 11.1; "
            "route tgt: tgtd finds gluster by a name or an IPv4 address, at port 24007",
            id="a driver that is gone, and tgtd cannot do it either",
        ),
        pytest.param(
            disk_of({"rbd": {**RBD, "encryption": {"format": "luks", "passphrase": "x"}}}),
            "qemu5",
            {},
            "disk root of web1: rbd vms/web1: encryption needs QEMU 6.1, and this host has 5.2",
            id="encryption by Ceph on old QEMU",
        ),
        pytest.param(
            disk_of({"rbd": {**RBD, "encryption": {"format": "luks-any", "passphrase": "x"}}}),
            "debian12",
            {},
            "disk root of web1: rbd vms/web1: format luks-any needs QEMU 8.0, and this host has 7.2",
            id="any encryption by Ceph on old QEMU",
        ),
        pytest.param(
            disk_of(
                {
                    "rbd": {
                        **RBD,
                        "encryption": {
                            "format": "luks",
                            "passphrase": "x",
                            "parent": {"format": "luks", "passphrase": "y"},
                        },
                    }
                }
            ),
            "debian12",
            {},
            "disk root of web1: rbd vms/web1: parent needs QEMU 8.0, and this host has 7.2",
            id="encryption of a parent on old QEMU",
        ),
        pytest.param(
            {"vnc": {"password": "x"}},
            "qemu5",
            {},
            "vm web1: vnc: password: needs QEMU 6.1, and this host has an older one",
            id="a screen's password on old QEMU",
        ),
        pytest.param(
            {},
            "debian13",
            {"systemd": 246},
            "vm web1: its unit requires systemd 247, and this host has 246",
            id="an old systemd",
        ),
        pytest.param(
            {"cloud_init": {"user_data": "x"}},
            "debian13",
            {"systemd": 247},
            "vm web1: its unit qemu-vm-web1.service has secrets and runs /bin/mkdir before it starts, which "
            "requires systemd 250, and this host has 247",
            id="secrets before the start on an old systemd",
        ),
        pytest.param(
            {},
            "debian13",
            {"kvm": "there is no /dev/kvm"},
            "vm web1: accel: kvm does not work on this host (there is no /dev/kvm); enable it, or set accel: tcg",
            id="no kvm",
        ),
        pytest.param(
            {"firmware": "uefi"},
            "debian13",
            {"uefi": {}},
            "vm web1: firmware: this host has no UEFI firmware for x86_64; install ovmf (role storage_client)",
            id="no uefi",
        ),
        pytest.param(
            {"firmware": "uefi", "secure_boot": True},
            "debian13",
            {"secure_boot": {}},
            "vm web1: secure_boot: this host has no UEFI firmware with Secure Boot and enrolled keys for x86_64; "
            "install ovmf (role storage_client)",
            id="no secure boot",
        ),
        pytest.param(
            {"tpm": True},
            "debian13",
            {"programs": {}},
            "vm web1: tpm: this host has no swtpm; install swtpm (role storage_client)",
            id="no swtpm",
        ),
        pytest.param(
            {"disks": BUNDLES},
            "debian13",
            {},
            "vm web1: ca_bundle: the QEMU of a VM can use one bundle only (/etc/a.pem, /etc/b.pem); "
            "set route: nbdkit for the other disks",
            id="two authorities by the driver",
        ),
        pytest.param(
            disk_of({"http": {"url": f"http://h/{'x' * 1000}"}}, writes="overlay", route="driver"),
            "debian13",
            {},
            "disk root of web1: its options have 1064 bytes, and an overlay can name a base of 1023 bytes; "
            "shorten its url or path, or name fewer servers",
            id="too long for an overlay",
        ),
        pytest.param(
            disk_of({"rbd": {**RBD, "monitors": [f"192.0.2.{n}" for n in range(100, 130)]}}, writes="overlay"),
            "debian13",
            {},
            "disk root of web1: its options have 1190 bytes, and an overlay can name a base of 1023 bytes; "
            "shorten its url or path, or name fewer servers",
            id="too many servers for an overlay",
        ),
    ],
)
def test_what_a_host_lacks_is_said_in_these_words(given: Any, host: str, changes: Any, error: str) -> None:
    with pytest.raises(DirectDiskError) as raised:
        plan(given, host, **changes)
    assert str(raised.value) == error


def test_an_option_that_only_the_driver_knows_is_warned_of_on_another_route() -> None:
    disk = disk_of({"https": {**HTTPS, "force_range": True}}, writes="deny")
    assert plan(disk, "qemu5").warnings == ("disk root of web1: route nbdkit: force_range has no effect",)


def test_what_a_host_lacks_is_told_apart_from_what_is_wrong() -> None:
    with pytest.raises(CapabilityError):
        plan({}, kvm="it hangs")


def test_two_authorities_go_together_where_nbdkit_serves_one() -> None:
    given = {"disks": {"a": BUNDLES["a"], "b": {**BUNDLES["b"], "route": "nbdkit"}}}
    assert [planned.route for planned in plan(given).disks] == ["driver", "nbdkit"]


def test_all_errors_of_a_declaration_come_at_once() -> None:
    assert errors_of(
        {
            "a": {"memory": "lots", "cpus": 0, "disks": {"x": {**NBD, "cahce": "none", "queues": 0}, "y": {}}},
            "../b": {},
            "c": {"networks": {"lan": {}}, "disks": {"root": {"nbd": {"port": 0}}}},
            "d": {"disks": {"one": {"file": {"path": "/x"}}, "two": {"file": {"path": "/x"}}}},
        }
    ) == [
        "hv1: vm a: memory: 'lots' is not a size; write for example 20GiB",
        "hv1: vm a: cpus: 0 is less than 1",
        "hv1: disk x of a: unknown option 'cahce' (did you mean 'cache'?)",
        "hv1: disk x of a: queues: 0 is less than 1",
        "hv1: disk y of a: no backend (one of rbd, nfs, iscsi, nbd, http, https, ftp, ftps, tftp, ssh, host_device, "
        "file, gluster, sheepdog, or uri)",
        "hv1: vm ../b: its name is not 1 to 28 of the characters A-Z a-z 0-9 _ -, beginning with a letter or digit",
        "hv1: disk root of c: nbd: port: 0 is less than 1",
        "hv1: network lan of c: exactly one of bridge and user: true is required",
        "hv1: disk two of d: is the same storage as disk one of d, and one of them writes to it (file /x)",
    ]


def test_all_that_a_host_lacks_comes_at_once() -> None:
    with pytest.raises(DirectDiskError) as raised:
        plan({"firmware": "uefi", "disks": {"root": NBD, "data": {"file": {"path": "/x"}}}}, uefi={}, drivers={})
    assert str(raised.value).split("\n") == [
        "vm web1: firmware: this host has no UEFI firmware for x86_64; install ovmf (role storage_client)",
        "disk root of web1: nbd 192.0.2.5:10809/: this QEMU has no nbd driver (was not probed); "
        "no package of this distribution is known to bring it",
        "disk data of web1: file /x: this QEMU has no file driver (was not probed); install acl (role storage_client)",
    ]


@pytest.mark.parametrize(
    "given",
    [
        {"web1": {"disks": {"a": {**NBD, "writes": "deny"}, "b": {**NBD, "writes": "overlay"}}}},
        {"web1": {"disks": {"a": NBD}}, "web2": {"state": "absent", "disks": {"a": NBD}}},
        {"web1": {"disks": {"a": {"uri": "nbd://h/x"}, "b": {"uri": "nbd://h:10808/x"}, "c": {"uri": "nbd://h/X"}}}},
    ],
)
def test_storage_that_is_not_written_twice_may_be_opened_twice(given: Any) -> None:
    assert errors_of(given) == []
