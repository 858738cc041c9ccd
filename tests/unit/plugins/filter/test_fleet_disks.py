# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters fleet_disks and blockdev, and what plan.yml makes of the rows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.directdisk.qemu.plugins.filter import blockdev as blockdev_filter
from ansible_collections.directdisk.qemu.plugins.filter import fleet_disks as fleet_disks_filter
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.cd_drive import is_empty_drive
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory import queries, tables
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.declared import read_fleet
from ansible_collections.directdisk.qemu.tests.unit.support import NBD, Case, disk_of, golden_cases, probed

fleet_disks = fleet_disks_filter.FilterModule().filters()["fleet_disks"]
blockdev = blockdev_filter.FilterModule().filters()["blockdev"]

RBD: dict[str, Any] = {"pool": "vms", "image": "a", "key": "c2VjcmV0", "monitors": ["192.0.2.1", "192.0.2.2:3300"]}
GOLDEN = {"rbd": {**RBD, "pool": "images", "image": "debian", "snapshot": "s"}}
FLEET: dict[str, Any] = {
    "hv1": {
        "qemu_vms": {
            "a": {
                "disks": {
                    "root": {"rbd": RBD, "size": "200GiB", "source": GOLDEN},
                    "data": {"nfs": {"host": "NAS", "path": "/export/a"}},
                },
                "networks": {"lan": {"bridge": "br0"}},
            },
            "b": {**disk_of({"file": {"path": "/srv/b.qcow2"}}, format="qcow2", size="1536MiB"), "state": "stopped"},
        }
    },
    "hv2": {"qemu_vms": {"c": {"state": "absent", **disk_of(NBD)}, "d": {}}},
    "web": {},
}


def test_a_row_is_a_disk_in_plain_data() -> None:
    rows = fleet_disks(FLEET)
    assert rows[0] == {
        "host": "hv1",
        "vm": "a",
        "disk": "root",
        "state": "started",
        "backend": "rbd",
        "storage": "vms/a",
        "pool": "vms",
        "identity": "rbd::vms/a",
        "route": "auto",
        "format": "raw",
        "size": 200 << 30,
        "writes": "keep",
        "source": "rbd images/debian@s",
        "servers": ["192.0.2.1", "192.0.2.2"],
        "secrets_missing": [],
    }
    assert [(row["vm"], row["identity"]) for row in rows[1:]] == [
        ("a", "nfs:nas:/export/a"),
        ("b", "hv1:path:/srv/b.qcow2"),
        ("c", "nbd:192.0.2.5:10809/"),
    ]
    assert json.loads(json.dumps(rows)) == rows
    assert "c2VjcmV0" not in json.dumps(rows)


def test_rows_of_some_hosts() -> None:
    assert [row["vm"] for row in fleet_disks(FLEET, ["hv2", "web"])] == ["c"]


@pytest.mark.parametrize(
    ("hostvars", "message"),
    [
        ([], "fleet_disks: what it is given is not a mapping of host names to variables"),
        ({"h": {"qemu_vms": {"a": {"cpus": 0}, "b": 1}}}, "h: vm a: cpus: 0 is less than 1\nh: vm b: a number"),
    ],
)
def test_rows_of_what_cannot_be_read_are_refused(hostvars: Any, message: str) -> None:
    with pytest.raises(AnsibleFilterError) as raised:
        fleet_disks(hostvars)
    assert str(raised.value).startswith(message)


# --- what plan.yml prints --------------------------------------------------------------------------------------------


def test_the_table_and_the_summary_are_aligned() -> None:
    found = read_fleet(FLEET)
    rows = found.rows()
    assert f"{tables.disks(rows)}\n{tables.summary(found, rows)}".splitlines() == [
        "HOST  VM  STATE    DISK  BACKEND  STORAGE           FORMAT  SIZE     WRITES  ROUTE  SOURCE",
        "----  --  -------  ----  -------  ----------------  ------  -------  ------  -----  -------------------",
        "hv1   a   started  root  rbd      vms/a             raw     200 GiB  keep    auto   rbd images/debian@s",
        "hv1   a   started  data  nfs      nas:/export/a     raw     -        keep    auto   -",
        "hv1   b   stopped  root  file     /srv/b.qcow2      qcow2   1.5 GiB  keep    auto   -",
        "hv2   c   absent   root  nbd      192.0.2.5:10809/  raw     -        keep    auto   -",
        "",
        "BACKEND  VMS  DISKS  DECLARED SIZE",
        "-------  ---  -----  -------------",
        "file     1    1      1.5 GiB",
        "nfs      1    1      -",
        "rbd      1    1      200 GiB",
        "",
        "HOST  STARTED  VMS  DISKS  DECLARED SIZE",
        "----  -------  ---  -----  -------------",
        "hv1   1        2    3      201.5 GiB",
        "hv2   1        1    0      -",
        "",
        "BACKEND  POOL         VMS  DISKS  DECLARED SIZE",
        "-------  -----------  ---  -----  -------------",
        "file     /srv         1    1      1.5 GiB",
        "nfs      nas:/export  1    1      -",
        "rbd      vms          1    1      200 GiB",
    ]


@pytest.mark.parametrize(
    ("size", "words"), [(None, "-"), (1, "1 B"), (1023, "1023 B"), (3 << 29, "1.5 GiB"), (2**63 - 1, "8 EiB")]
)
def test_a_size_is_said_in_its_largest_unit(size: int | None, words: str) -> None:
    assert tables.human(size) == words


@pytest.mark.parametrize(
    ("query", "lines"),
    [
        ("[?backend == 'rbd' && size > `107374182400`].vm", ["a"]),
        ("[?backend=='nfs'].{vm: vm, on: servers[0]}", ["VM  ON", "--  ---", "a   NAS"]),
        ("[].[vm, size] | [:2]", ['["a", 214748364800]', '["a", null]']),
        ("length(@)", ["4"]),
        ("[?vm=='z']", []),
        ("[?starts_with(storage, '/srv')].disk | [0]", ["root"]),
    ],
)
def test_a_query_is_answered(query: str, lines: list[str]) -> None:
    assert tables.answer(queries.ask(query, read_fleet(FLEET).rows())).splitlines() == lines


def test_rows_that_a_query_found_are_a_table() -> None:
    text = tables.answer(queries.ask("[?size > `1`]", read_fleet(FLEET).rows()))
    assert [line.split()[:4] for line in text.splitlines()[2:]] == [
        ["hv1", "a", "started", "root"],
        ["hv1", "b", "stopped", "root"],
    ]


def test_a_query_that_cannot_be_read_is_shown() -> None:
    with pytest.raises(DeclarationError) as raised:
        queries.ask("[?vm == ", [])
    assert str(raised.value).startswith(
        "query (plan_query): [?vm == : Invalid jmespath expression: Incomplete expression"
    )
    assert str(raised.value).endswith("; a query with spaces must be quoted: -e 'plan_query=\"...\"'")


def test_a_query_needs_jmespath(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "jmespath", None)
    with pytest.raises(
        DeclarationError,
        match=r"^query \(plan_query\): needs the Python library jmespath on the controller; install it$",
    ):
        queries.ask("@", [])


# --- blockdev --------------------------------------------------------------------------------------------------------


def test_a_disk_becomes_its_nodes_without_its_secrets() -> None:
    nodes = blockdev({"rbd": RBD, "luks": {"passphrase": "pass-of-luks"}, "bps": {"total": 1}}, "root")
    assert [(node["driver"], node["node-name"]) for node in nodes] == [
        ("rbd", "root.storage"),
        ("luks", "root.format"),
        ("throttle", "root.throttle"),
    ]
    assert nodes[0]["key-secret"] == "root.key"
    assert not {"c2VjcmV0", "pass-of-luks"} & set(json.dumps(nodes).split('"'))


@pytest.mark.parametrize(("release", "driver"), [("5.2", "http"), ("10.0.3", "nbd"), ("11.1", "nbd")])
def test_the_route_is_that_of_the_release(release: str, driver: str) -> None:
    assert blockdev({"http": {"url": "http://h/x"}}, release=release)[0]["driver"] == driver


def test_what_a_certain_host_can_do_counts() -> None:
    lacking = probed("debian13", drivers={})
    with pytest.raises(
        AnsibleFilterError, match=r"nbd 192\.0\.2\.5:10809/: this QEMU has no nbd driver \(was not probed\)"
    ):
        blockdev(NBD, capabilities=lacking)
    assert blockdev(NBD, capabilities=probed("debian13"))[0]["driver"] == "nbd"


@pytest.mark.parametrize(
    ("disk", "options", "message"),
    [
        (NBD, {"release": "ten"}, "blockdev: release: 'ten' is not a version of QEMU such as '10.0'"),
        ([], {}, "disk disk: is not a mapping with a backend's key and options"),
        ({"nbd": {}}, {"name": "root"}, "disk root: nbd: exactly one of host and socket is required"),
    ],
)
def test_a_wrong_disk_is_refused(disk: Any, options: dict[str, str], message: str) -> None:
    with pytest.raises(AnsibleFilterError) as raised:
        blockdev(disk, **options)
    assert str(raised.value) == message


@pytest.mark.parametrize("case", golden_cases(), ids=lambda case: case.id)
def test_every_golden_disk_has_the_nodes_of_its_unit(case: Case) -> None:
    """But for paths, which name the VM, and it is not known here."""
    expected = json.loads((case.folder / "graph.json").read_text())
    for vm, given in case.vms.items():
        if vm in expected:
            disks = {name: disk for name, disk in given.get("disks", {}).items() if not is_empty_drive(disk)}
            nodes = [node for name in disks for node in blockdev(disks[name], name, capabilities=probed(case.host))]
            assert [(node["driver"], node["node-name"]) for node in nodes] == [
                (node["driver"], node["node-name"])
                for node in expected[vm]
                if not node["node-name"].startswith("machine.")
            ]
