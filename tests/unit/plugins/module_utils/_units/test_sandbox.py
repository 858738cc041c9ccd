# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd lets a process touch."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.access import Reach
from ansible_collections.directdisk.qemu.plugins.module_utils._units.sandbox import Sandbox, build_sandbox, is_address
from ansible_collections.directdisk.qemu.tests.unit.support import NBD, Case, disk_of, golden_cases, plan, plans_of

RBD = {"pool": "vms", "image": "web1", "key": "AQ==", "monitors": ["192.0.2.1"]}


def sandbox(*reaches: tuple[Reach, bool], **options: Any) -> Sandbox:
    return build_sandbox(reaches, **{"directory": "web1", "replace_trust": True, **options})


def test_a_process_without_storage_reaches_nothing() -> None:
    made = sandbox()
    assert (made.families, made.addresses, made.open_because) == (("AF_UNIX",), (), "")
    assert (made.files, made.devices, made.groups, made.replaced, made.mounts) == ((), (), (), (), ())


def test_servers_known_by_address_are_the_only_ones_allowed() -> None:
    made = sandbox((Reach(servers=("192.0.2.5",)), True), (Reach(servers=("2001:db8::5", "192.0.2.5")), False))
    assert made.families == ("AF_UNIX", "AF_INET", "AF_INET6")
    assert made.addresses == ("192.0.2.5", "2001:db8::5")
    assert made.open_because == ""


def test_a_server_known_by_name_leaves_the_filter_off_and_says_so() -> None:
    made = sandbox((Reach(servers=("192.0.2.5", "store.example")), True))
    # A name is looked up over netlink and the network.
    assert made.families == ("AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK")
    assert made.addresses == ()
    assert made.open_because == "store.example is known by name only: give an address to confine it"


def test_servers_that_others_name_leave_the_filter_off_and_may_have_names() -> None:
    made = sandbox((Reach(open_because="who knows"), True), (Reach(servers=("store.example",)), False))
    assert made.families == ("AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK")
    assert (made.addresses, made.open_because) == ((), "who knows")
    assert sandbox((Reach(open_because="who knows"), True)).families == made.families


def test_unix_sockets_need_no_network() -> None:
    assert sandbox((Reach(sockets=("/run/nbd.sock",)), True)).families == ("AF_UNIX",)


def test_devices_are_opened_as_they_are_used() -> None:
    made = sandbox((Reach(devices=("/dev/sda",)), True), (Reach(devices=("/dev/sdb",)), False), kvm=True, tun=True)
    assert made.devices == (
        ("/dev/sda", "rw"),
        ("/dev/sdb", "r"),
        ("/dev/kvm", "rw"),
        ("/dev/net/tun", "rw"),
    )
    assert made.groups == ("kvm",)


def test_files_and_bundles_have_their_mounts_first() -> None:
    reach = Reach(files=("/srv/a.img",), trust="/etc/ca.pem")
    assert sandbox((reach, True)).mounts == ("/srv/a.img", "/etc/ca.pem")


def test_a_bundle_takes_the_place_of_the_systems_own_or_is_only_readable() -> None:
    reach = Reach(trust="/etc/ca.pem")
    replaced = sandbox((reach, False), trust_store="/etc/ssl/certs/all.pem")
    assert (replaced.replaced, replaced.readable) == ((("/etc/ca.pem", "/etc/ssl/certs/all.pem"),), ())
    beside = sandbox((reach, False), replace_trust=False)
    assert (beside.replaced, beside.readable) == ((), ("/etc/ca.pem",))


@pytest.mark.parametrize("host", ["192.0.2.5", "::1", "2001:db8::5", "192.0.2.0/24", "2001:db8::/64"])
def test_an_address_is_one(host: str) -> None:
    assert is_address(host)


@pytest.mark.parametrize("host", ["store", "192.0.2", "192.0.2.5/24", "", "fe80::1%eth0"])
def test_what_systemd_cannot_filter_by_is_no_address(host: str) -> None:
    assert not is_address(host)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (disk_of(NBD), ""),
        ({"networks": {"lan": {"bridge": "br0"}}}, ""),
        ({"vnc": {}}, ""),
        (disk_of({"rbd": {**RBD, "networks": ["192.0.2.0/24"]}}), ""),
        (
            disk_of({"rbd": RBD}),
            "Ceph's monitors name the addresses of its OSDs: set networks to confine it",
        ),
        ({"networks": {"lan": {"user": True}}}, "its user network carries the guest's own traffic"),
        ({"vnc": {"address": "127.0.0.1", "port": 5900}}, "its screen is served over TCP"),
    ],
)
def test_a_vm_says_why_its_filter_of_addresses_is_off(given: dict[str, Any], reason: str) -> None:
    assert plan(given).services[-1].sandbox.open_because == reason


@pytest.mark.parametrize("case", golden_cases(), ids=lambda case: case.id)
def test_no_helper_has_the_user_of_its_qemu_or_of_another_part(case: Case) -> None:
    """QEMU could read a helper's memory and secrets, and a helper those of another."""
    for one in plans_of(case):
        *helpers, qemu = one.services
        parts = {(service.vm, service.part, service.user) for service in helpers}
        assert qemu.user not in {user for _vm, _part, user in parts}
        assert len({user for _vm, _part, user in parts}) == len(parts)
        assert all(len(service.user) <= 31 for service in one.services)
