# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin guests, as Ansible itself calls it, and what it makes of VMs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory import guests
from ansible_collections.directdisk.qemu.tests.unit.ansible_run import run_ansible, write_inventory

ROOT = Path(__file__).parents[4]

HV1 = """\
    qemu_vms:
      web1:
        memory: 32GiB
        cpus: 2
        disks:
          root: {rbd: {pool: vms, image: i, monitors: [192.0.2.1], key: "{{ vault_none }}"}}
          data: {nfs: {host: nas, path: "/x/{{ inventory_hostname }}"}}
        networks: {lan: {bridge: br0, mac: "52:54:00:12:34:56"}, out: {user: true}}
        cloud_init:
          user_data: {password: pass-of-seed}
          network_config: {version: 2, ethernets: {e: {addresses: [192.0.2.77/24, "2001:db8::1/64"], dhcp6: false}}}
      web2: {state: stopped}
      gone: {state: absent}
    """
HV2 = "qemu_vms: {web2: {disks: {root: {file: {path: /srv/a}}}}, hv1: {}, bad: {cpus: 0}}"
SETTINGS = "plugin: directdisk.qemu.guests\nhypervisors: [hypervisors]\n"
WARNINGS = [
    "directdisk.qemu.guests: hv2: vm bad: cpus: 0 is less than 1",
    "directdisk.qemu.guests: vm web2 of hv2 has the name of that of hv1; set hostname: vm.hypervisor",
    "directdisk.qemu.guests: vm hv1 of hv2 has the name of the host of this name; set hostname: vm.hypervisor",
]


GRAPH = """\
@all:
  |--@ungrouped:
  |--@hypervisors:
  |  |--hv1
  |  |--hv2
  |--@others:
  |  |--web2
  |  |--hv3
  |--@guests:
  |  |--web1
  |  |--web2
  |--@hypervisor_hv1:
  |  |--web1
  |  |--web2
  |--@backend_rbd:
  |  |--web1
  |--@backend_nfs:
  |  |--web1
  |--@pool_rbd_vms:
  |  |--web1
  |--@pool_nfs_nas__x:
  |  |--web1
  |--@state_started:
  |  |--web1
  |--@state_stopped:
  |  |--web2
"""


HOSTS = "all: {children: {hypervisors: {hosts: {hv1: , hv2: }}, others: {hosts: {web2: , hv3: }}}}"


class Inventory:
    """A folder with an inventory, and the collection where Ansible finds it by its name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_inventory(
            folder,
            {
                "hosts.yml": HOSTS,
                "host_vars/hv1.yml": HV1,
                "host_vars/hv2.yml": HV2,
                "host_vars/hv3.yml": "qemu_vms: {elsewhere: {}}",
                "zz_guests.yml": SETTINGS,
            },
        )

    def write(self, name: str, text: str) -> None:
        (self.folder / "inventory" / name).write_text(text)

    def read(self, **settings: str) -> tuple[dict[str, Any], str]:
        """What ansible-inventory says of it, and what it complains of."""
        done = self.run("inventory", "--list", **settings)
        return (json.loads(done.stdout, object_hook=plain) if done.returncode == 0 else {}), done.stderr

    def run(self, *command: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """One of Ansible's programs on it."""
        return run_ansible(self.folder, *command, "-i", str(self.folder / "inventory"), **settings)


def plain(value: dict[str, Any]) -> Any:
    """Without the mark of a text that is no template."""
    return value["__ansible_unsafe"] if value.keys() == {"__ansible_unsafe"} else value


@pytest.fixture(name="inventory")
def make_inventory(tmp_path: Path) -> Inventory:
    return Inventory(tmp_path)


def groups_of(found: dict[str, Any], host: str) -> list[str]:
    return sorted(name for name, group in found.items() if host in group.get("hosts", ()))


def test_declared_vms_are_hosts_in_groups(inventory: Inventory) -> None:
    found, complaints = inventory.read()
    assert groups_of(found, "web1") == [
        "backend_nfs",
        "backend_rbd",
        "guests",
        "hypervisor_hv1",
        "pool_nfs_nas__x",
        "pool_rbd_vms",
        "state_started",
    ]
    assert groups_of(found, "web2") == ["guests", "hypervisor_hv1", "others", "state_stopped"]
    assert found["guests"]["hosts"] == ["web1", "web2"]
    # ansible-core before 2.19 breaks warnings into lines.
    assert [" ".join(warning.split()) for warning in complaints.split("[WARNING]: ")[1:]] == WARNINGS
    web1 = found["_meta"]["hostvars"]["web1"]
    assert [(disk["storage"], disk["secrets_missing"]) for disk in web1["guest_disks"]] == [
        ("vms/i", ["rbd.key"]),
        ("nas:/x/hv1", []),
    ]
    assert {name: value for name, value in web1.items() if name != "guest_disks"} == {
        "guest_vm": "web1",
        "guest_hypervisor": "hv1",
        "guest_state": "started",
        "guest_status": "",
        "guest_memory": 32 << 30,
        "guest_cpus": 2,
        "guest_networks": [
            {"name": "lan", "bridge": "br0", "mac": "52:54:00:12:34:56", "model": "virtio"},
            {"name": "out", "bridge": None, "mac": web1["guest_networks"][1]["mac"], "model": "virtio"},
        ],
        "guest_addresses": ["192.0.2.77", "2001:db8::1"],
        "guest_agent": False,
    }
    assert "pass-of-seed" not in json.dumps(found["_meta"]["hostvars"]["web1"])


def test_the_graph_shows_guests_below_hypervisors_backends_pools_and_states(inventory: Inventory) -> None:
    inventory.write("host_vars/hv2.yml", "{}")
    done = inventory.run("inventory", "--graph")
    assert done.stdout == GRAPH


def test_variables_and_groups_are_composed(inventory: Inventory) -> None:
    inventory.write(
        "zz_guests.yml",
        SETTINGS
        + """\
hostname: vm.hypervisor
group_by: [backend]
compose: {ansible_host: guest_addresses | first}
groups: {large: guest_memory > 16 * 1024 ** 3}
keyed_groups: [{key: guest_networks | map(attribute='bridge') | select, prefix: bridge}]
""",
    )
    found, _complaints = inventory.read()
    assert found["guests"]["hosts"] == ["web1.hv1", "web2.hv1", "web2.hv2", "hv1.hv2"]
    assert groups_of(found, "web1.hv1") == ["backend_nfs", "backend_rbd", "bridge_br0", "guests", "large"]
    assert found["_meta"]["hostvars"]["web1.hv1"]["ansible_host"] == "192.0.2.77"


def test_a_guest_with_an_agent_is_reached_through_its_hypervisor(inventory: Inventory, tmp_path: Path) -> None:
    """Secrets of the hypervisor stay templates; its own values are used in the guest."""
    own = 'ansible_host: 192.0.2.9\nansible_user: "{{ who }}"\nwho: admin\nansible_become_password: "{{ vault_x }}"\n'
    vms = "qemu_vms: {web1: {guest_agent: true}, web3: {}}\nvault_x: s3cret\n"
    inventory.write("host_vars/hv1.yml", own + vms)
    inventory.write("host_vars/web1.yml", "vault_x: another\nansible_host: 192.0.2.99\n")
    found, _complaints = inventory.read()
    assert "ansible_connection" not in found["_meta"]["hostvars"]["web3"]
    web1 = found["_meta"]["hostvars"]["web1"]
    assert (web1["ansible_connection"], web1["ansible_guest_agent_hypervisor"], web1["ansible_guest_agent_vm"]) == (
        "directdisk.qemu.guest_agent",
        "hv1",
        "web1",
    )
    assert "s3cret" not in json.dumps(web1)
    variables = "{{ ansible_guest_agent_hypervisor_variables }}"
    play = {"hosts": "web1", "gather_facts": False, "tasks": [{"ansible.builtin.debug": {"msg": variables}}]}
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    done = inventory.run("playbook", str(tmp_path / "play.yml"))
    assert json.loads(done.stdout[done.stdout.index("=> {") + 3 : done.stdout.rindex("PLAY RECAP")])["msg"] == {
        "ansible_become_password": "s3cret",
        "ansible_host": "192.0.2.9",
        "ansible_user": "admin",
    }
    inventory.write("zz_guests.yml", SETTINGS + "connect_by_agent: false\n")
    found, _complaints = inventory.read()
    assert "ansible_connection" not in found["_meta"]["hostvars"]["web1"]


def test_variables_of_group_all_reach_hypervisors_of_an_inventory_without_it(inventory: Inventory) -> None:
    """Ansible makes all groups children of group all only after it has read the whole inventory."""
    inventory.write("hosts.yml", "hypervisors: {hosts: {hv1: , hv2: }}")
    for name, server in {"all": "wide", "hypervisors": "near"}.items():
        folder = inventory.folder / "inventory" / "group_vars"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.yml").write_text(f"server: {server}\nfolder_{name}: /{name}\nansible_port: 2222\n")
    inventory.write(
        "host_vars/hv1.yml",
        'qemu_vms: {web1: {guest_agent: true, disks: {a: {nfs: {host: "{{ server }}", path: "{{ folder_all }}/a"}}}}}',
    )
    found, complaints = inventory.read()
    web1 = found["_meta"]["hostvars"]["web1"]
    assert "undefined" not in complaints
    assert web1["guest_disks"][0]["storage"] == "near:/all/a"
    assert "ansible_port" in web1["ansible_guest_agent_hypervisor_variables"]


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("strict: true", "hv2: vm bad: cpus: 0 is less than 1"),
        ("hypervisors: [nobody]\nstrict: true", "hypervisors: the inventory has neither a group nor a host nobody"),
    ],
)
def test_a_strict_inventory_has_no_mistake(inventory: Inventory, more: str, problem: str) -> None:
    inventory.write("zz_guests.yml", f"plugin: directdisk.qemu.guests\n{more}\n")
    _found, complaints = inventory.read(ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED="true")
    assert problem in complaints


def test_declarations_are_read_once_where_the_inventory_is_cached(inventory: Inventory, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    inventory.write("zz_guests.yml", f"{SETTINGS}cache: true\ncache_plugin: jsonfile\ncache_connection: {folder}\n")
    first, _complaints = inventory.read()
    inventory.write("host_vars/hv1.yml", "qemu_vms: {web9: {}}")
    second, complaints = inventory.read()
    assert (second["guests"], complaints.count("bad: cpus")) == (first["guests"], 0)
    kept = "".join(path.read_text() for path in folder.iterdir())
    assert "web1" in kept
    assert "pass-of-seed" not in kept


def test_the_fact_cache_tells_what_runs(inventory: Inventory, tmp_path: Path) -> None:
    running = {
        "web1": {"active": "active", "status": "running"},
        "web2": {"active": "inactive", "status": ""},
        "stray": {"active": "active", "status": "paused"},
        "old": {"active": "inactive", "status": ""},
    }
    play = {"hosts": "hv1", "connection": "local", "gather_facts": False}
    task = {"ansible.builtin.set_fact": {"qemu_running": running, "cacheable": True}}
    (tmp_path / "play.yml").write_text(json.dumps([{**play, "tasks": [task]}]))
    cache = {"ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile"}
    cache["ANSIBLE_CACHE_PLUGIN_CONNECTION"] = str(tmp_path / "facts")
    done = inventory.run("playbook", str(tmp_path / "play.yml"), **cache)
    assert done.returncode == 0, done.stdout
    found, _complaints = inventory.read(**cache)
    assert "status_running" in groups_of(found, "web1")
    assert groups_of(found, "stray") == ["guests", "hypervisor_hv1", "state_undeclared", "status_paused"]
    assert found["guests"]["hosts"] == ["web1", "web2", "stray"]


@pytest.mark.parametrize(
    ("seen", "status"),
    [
        (None, ""),
        ("running", ""),
        ({}, ""),
        ({"active": "inactive", "status": ""}, ""),
        ({"active": "failed", "status": ""}, "failed"),
        ({"active": "active", "status": "io-error"}, "io-error"),
    ],
)
def test_a_status_is_qemus_own_word(seen: Any, status: str) -> None:
    declared = [{"guest_hypervisor": "h", "guest_vm": "a"}]
    assert guests.with_status(declared, {"h": {"a": seen}})[0]["guest_status"] == status
