# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks of running VMs: what is recorded, in which order, and what a guest keeps."""

from __future__ import annotations

import contextlib
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import live, live_networks, live_record, taps
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import Changes

UNIT = "qemu-vm-web1.service"
STATES: Any = {UNIT: {"active": "active", "invocation": "1"}}
NIC = "virtio-net-pci,id=lan.nic,netdev=lan"
LAN: Any = {"netdevs": ["user,id=lan"], "devices": [NIC], "tap": "", "bridge": "", "link_down": False}
DESIRED: Any = {"vms": {"web1": {"unit": UNIT, "networks": {"lan": LAN}}}}


def observed(netdev: str) -> Any:
    process = {"argv": ["qemu", "-netdev", netdev, "-device", NIC], "disks": {}, "networks": {}}
    process.update(devices=["lan.nic"], nodes=[])
    return {"units": STATES, "processes": {"web1": process}}


@pytest.fixture
def done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []

    class Connected:
        """A monitor that only has to be opened and closed."""

        @classmethod
        def connect(cls, path: str, seconds: float) -> Any:
            return contextlib.nullcontext(cls())

    monkeypatch.setattr(live, "Monitor", Connected)
    monkeypatch.setattr(live_record, "FOLDER", str(tmp_path / "live"))
    monkeypatch.setattr(
        live.taps, "remember_kept", lambda vm, tap, invocation: calls.append(f"{vm} keeps {tap} of start {invocation}")
    )
    return calls


def recorded() -> Any:
    return live_record.read(STATES).get(UNIT, {"networks": {}})["networks"]


def keeps(*_: Any) -> None:
    raise HostError("the guest has not given it back")


@pytest.mark.parametrize(
    ("netdev", "kept"),
    [("tap,id=lan,ifname=web1.lan,script=no", ["web1 keeps web1.lan of start 1"]), ("user,id=lan", [])],
)
def test_the_tap_device_that_a_guest_keeps_is_removed_later(
    done: list[str], monkeypatch: pytest.MonkeyPatch, netdev: str, kept: list[str]
) -> None:
    monkeypatch.setattr(live.live_networks, "unplug", keeps)
    failures = live.unplug(DESIRED, observed(netdev), Changes(unplug=[("web1", "lan")]))
    assert failures == {"web1": ["network lan of web1: the guest has not given it back"]}
    # The VM still has it, and the next run tries again.
    assert (done, recorded()) == (kept, {})


def test_a_network_that_was_unplugged_is_recorded_so(done: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live.live_networks, "unplug", lambda *_: done.append(f"unplug {recorded()}"))
    assert live.unplug(DESIRED, observed("user,id=lan"), Changes(unplug=[("web1", "lan")])) == {}
    assert (done, recorded()) == (["unplug {}"], {"lan": None})


def test_a_network_is_recorded_before_it_is_plugged(done: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live.live_networks, "plug", lambda *_: done.append(f"plug {[*recorded()]}"))
    assert live.change_networks(DESIRED, observed("user,id=x"), Changes(plug=[("web1", "lan")])) == {}
    assert done == ["plug ['lan']"]


def test_a_link_is_recorded_once_it_is_set(done: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU does not tell the state of a link: the record alone does."""
    monkeypatch.setattr(live.live_networks, "set_link", lambda *_, up: done.append(f"up={up} {recorded()}"))
    assert live.change_networks(DESIRED, observed("user,id=lan"), Changes(link=[("web1", "lan")])) == {}
    assert (done, recorded()) == (["up=True {}"], {"lan": LAN})


class Commands:
    """A monitor that notes what it is asked, and refuses to add a device."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def execute(self, command: str, arguments: Any = None, **_: Any) -> Any:
        up = f" up={arguments['up']}" if command == "set_link" else ""
        self.heard.append(f"{command}{up}")
        if command == "device_add" and arguments["driver"] == "broken":
            raise HostError("no")

    def try_execute(self, command: str, arguments: Any) -> Any:
        return self.execute(command, arguments) or {"return": {}}


def test_a_link_that_is_down_is_never_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before there is a device, so that the guest sends nothing; afterwards, so that it is told."""
    monitor: Any = Commands()
    live_networks.plug(monitor, "web1", "lan", {**LAN, "link_down": True})
    assert monitor.heard == ["netdev_del", "netdev_add", "set_link up=False", "device_add", "set_link up=False"]


def test_the_tap_device_of_a_network_goes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(live_networks.taps, "add", lambda vm, tap, bridge: calls.append("add"))
    monkeypatch.setattr(live_networks.taps, "opened", lambda tap: contextlib.nullcontext(0))
    monkeypatch.setattr(live_networks.live_disks, "unplug", lambda monitor, device, seconds: calls.append(device))

    def remove(vm: str, tap: str) -> None:
        calls.append(f"remove {tap}")
        raise HostError("it is gone")

    monkeypatch.setattr(live_networks.taps, "remove", remove)
    monitor: Any = Commands()
    broken: Any = {
        **LAN,
        "netdevs": ["tap,id=lan,ifname=web1.lan"],
        "tap": "web1.lan",
        "devices": ["broken,id=lan.nic"],
    }
    with pytest.raises(HostError, match=r"^no$"):
        live_networks.plug(monitor, "web1", "lan", broken)
    assert calls == ["add", "remove web1.lan"]
    assert monitor.heard[-1] == "netdev_del"
    part = live_networks.Part(netdevs=("tap,id=lan,ifname=web1.lan",), devices=(NIC,))
    with pytest.raises(HostError, match="it is gone"):
        live_networks.unplug(monitor, "web1", "lan", part)
    assert calls[2:] == ["lan.nic", "remove web1.lan"]


def test_a_comma_in_an_option_of_a_user_network_stays() -> None:
    monitor: Any = Commands()
    heard: list[Any] = []
    monitor.execute = lambda command, arguments=None: heard.append(arguments)
    live_networks.plug(monitor, "web1", "lan", {**LAN, "netdevs": ["user,id=lan,hostname=a,,b"], "devices": []})
    assert heard[-1] == {"type": "user", "id": "lan", "hostname": "a,b"}


def test_a_tap_device_is_opened_as_qemu_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the header of virtio, without packet information, without waiting, and for no other program."""
    asked: list[Any] = []
    monkeypatch.setattr(taps, "_TUN", "/dev/null")
    monkeypatch.setattr(taps.fcntl, "ioctl", lambda handle, request, value: asked.append((request, value)))
    with taps.opened("web1.lan") as handle:
        assert not os.get_inheritable(handle)
        assert not os.get_blocking(handle)
    assert asked == [(0x400454CA, struct.pack("16sH14x", b"web1.lan", 0x5002))]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(handle)
