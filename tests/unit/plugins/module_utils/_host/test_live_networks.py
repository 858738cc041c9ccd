# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks of a running QEMU, with a real one: what it gets, and that nothing is left of what fails."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError, QmpError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import live, live_networks
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import Changes
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_state import LiveNetwork
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.running_parts import Part
from ansible_collections.directdisk.qemu.tests.unit.real_vm import needs_emulator, running_vm

pytestmark = needs_emulator
USER = "user,id=lan,net=10.0.3.0/24,hostfwd=tcp:127.0.0.1:0-:22,hostfwd=tcp:127.0.0.1:0-:23"
NIC = "virtio-net-pci,bus=machine.port1,id=lan.nic,netdev=lan,mac=52:54:00:00:00:01"


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[Monitor]:
    """The monitor of a VM whose firmware finds nothing to boot."""
    port = "pcie-root-port,id=machine.port1,bus=pcie.0,addr=0x04.0,chassis=1"
    screen = ("-object", "secret,id=x,data=first", "-vnc", f"unix:{tmp_path}/vnc,password-secret=x")
    with running_vm(tmp_path / "qmp", "-m", "64", "-device", port, *screen) as connected:
        yield connected


def network(**more: Any) -> LiveNetwork:
    whole: dict[str, Any] = {"netdevs": [USER], "devices": [NIC], "tap": "", "bridge": "", "link_down": False}
    return LiveNetwork(**{**whole, **more})  # type: ignore[typeddict-item]


def info(monitor: Monitor, command: str = "info network") -> str:
    return str(monitor.execute("human-monitor-command", {"command-line": command}))


def nics(monitor: Monitor) -> set[str]:
    listed = monitor.execute("qom-list", {"path": "/machine/peripheral"})
    return {one["name"] for one in listed} - {"type", "machine.port1"}


def test_a_user_network_is_plugged_with_all_its_forwarded_ports(monitor: Monitor) -> None:
    live_networks.plug(monitor, "web1", "lan", network())
    assert nics(monitor) == {"lan.nic"}
    assert "type=user,net=10.0.3.0" in info(monitor)
    assert info(monitor, "info usernet").count("HOST_FORWARD") == 2
    live_networks.set_link(monitor, "lan", up=False)


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        ({"devices": [NIC.replace("port1", "port9")]}, "Bus 'machine.port9' not found"),
        ({"netdevs": ["user,id=lan,hostfwd=tcp:192.0.2.1:80-:80"]}, "Could not set up host forwarding rule"),
    ],
)
def test_a_network_that_cannot_be_plugged_leaves_nothing(monitor: Monitor, broken: Any, error: str) -> None:
    with pytest.raises(QmpError, match=error):
        live_networks.plug(monitor, "web1", "lan", network(**broken))
    assert (nics(monitor), info(monitor)) == (set(), "")


def test_what_a_run_that_was_killed_has_left_is_replaced(monitor: Monitor) -> None:
    live_networks.plug(monitor, "web1", "lan", network(devices=[]))
    live_networks.plug(monitor, "web1", "lan", network(link_down=True))
    assert nics(monitor) == {"lan.nic"}


def test_a_guest_that_does_not_give_a_network_back_keeps_it(monitor: Monitor) -> None:
    """QEMU would take the network from a device that still exists: netdev_del comes last."""
    live_networks.plug(monitor, "web1", "lan", network())
    before = info(monitor, "info usernet")
    with pytest.raises(HostError, match=r"^the guest has not given it back within 0.5 s"):
        live_networks.unplug(monitor, "web1", "lan", Part(netdevs=(USER,), devices=(NIC,)), seconds=0.5)
    assert info(monitor, "info usernet") == before


def test_what_is_left_of_a_network_is_removed(monitor: Monitor) -> None:
    live_networks.plug(monitor, "web1", "lan", network(devices=[]))
    for _twice in range(2):
        live_networks.unplug(monitor, "web1", "lan", Part(netdevs=(USER,), devices=(NIC,)))
        assert info(monitor) == ""


def test_a_tap_device_is_passed_as_a_descriptor_and_removed_if_that_fails(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(live_networks.taps, "add", lambda vm, tap, bridge: done.append(f"add {tap} {bridge}"))
    monkeypatch.setattr(live_networks.taps, "remove", lambda vm, tap: done.append(f"remove {tap}"))
    tap = network(netdevs=["tap,id=lan,ifname=web1.lan,script=no"], tap="web1.lan", bridge="br0")
    # A descriptor that is no tap device.
    with open("/dev/null", "rb") as file:
        monkeypatch.setattr(live_networks.taps, "opened", lambda tap: contextlib.nullcontext(file.fileno()))
        with pytest.raises(QmpError, match="netdev_add"):
            live_networks.plug(monitor, "web1", "lan", tap)
    assert done == ["add web1.lan br0", "remove web1.lan"]
    # QEMU has closed it again.
    assert "error" in monitor.try_execute("closefd", {"fdname": "lan.tap"})


def test_a_screen_gets_another_password(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    class Same:
        """Hands out the monitor that is open."""

        @staticmethod
        def connect(path: str, seconds: float) -> Any:
            return monitor

    monkeypatch.setattr(live, "Monitor", Same)
    monkeypatch.setattr(Monitor, "__exit__", lambda *_: None)
    desired: Any = {"vms": {"web1": {"screen_password": "/etc/credstore/x"}}}
    assert live.change_passwords(desired, Changes(passwords=["web1"]), {"/etc/credstore/x": "second"}) == {}
    monitor.execute("set_password", {"protocol": "vnc", "password": "third"})
