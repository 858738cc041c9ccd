# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The networks of a running VM that change, from its command line and its plan."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_networks import live_networks
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.running_parts import (
    NO_PORT,
    parts_of,
    words_of,
)
from ansible_collections.directdisk.qemu.tests.unit.plugins.module_utils._plan.test_live import (
    LAN,
    argv_of,
    decided,
    disks,
    networks,
    plan_after,
)


@pytest.mark.parametrize(
    ("before", "after", "process", "actions"),
    [
        (networks(), networks(lan=LAN), {}, ["plug network lan of web1"]),
        (networks(), networks(out={"user": True}), {}, ["plug network out of web1"]),
        (networks(lan=LAN), networks(), {}, ["unplug network lan of web1"]),
        (networks(lan=LAN), networks(lan=LAN), {}, []),
        (networks(lan=LAN), networks(lan={**LAN, "link": "down"}), {}, ["change link of network lan of web1"]),
        (networks(lan=LAN), networks(lan=LAN), {"links_down": ["lan"]}, ["change link of network lan of web1"]),
        (networks(lan=LAN), networks(lan={**LAN, "link": "down"}), {"links_down": ["lan"]}, []),
        (networks(lan=LAN), networks(lan={"bridge": "br1"}), {}, ["change bridge of network lan of web1"]),
        (networks(lan=LAN), networks(lan=LAN), {"bridges": {"lan": ""}}, ["change bridge of network lan of web1"]),
        (networks(lan=LAN), networks(lan=LAN), {"devices": ["root"]}, ["plug network lan of web1"]),
        (networks(lan=LAN), networks(), {"devices": ["root"]}, ["unplug network lan of web1"]),
    ],
    ids=[
        "plugged",
        "a user network",
        "unplugged",
        "the same",
        "link down",
        "link up",
        "down already",
        "another bridge",
        "taken off its bridge by hand",
        "unplugged by hand",
        "what is left of one",
    ],
)
def test_networks_change_without_a_restart(
    before: dict[str, Any], after: dict[str, Any], process: dict[str, Any], actions: list[str]
) -> None:
    found = decided(before, after, process=process)
    assert [line for line in found.actions() if "network" in line] == actions
    assert found.restart_required == {}


def test_what_was_set_since_the_start_counts() -> None:
    after = networks(lan={**LAN, "link": "down"})
    planned = plan_after(argv_of(**networks(lan=LAN)), after)
    lan = live_networks(planned.vm.networks, parts_of(words_of(planned.services[-1].args)))
    assert decided(networks(lan=LAN), after, process={"networks": lan}).link == []
    unplugged = decided(networks(lan=LAN), networks(), process={"networks": {"lan": None}, "devices": ["root"]})
    assert unplugged.unplug == []


def test_another_device_or_no_free_port_needs_a_restart() -> None:
    found = decided(networks(lan=LAN), networks(lan={**LAN, "model": "e1000"}))
    assert found.restart_required == {"web1": ["network lan has changed"]}
    many = {f"n{number}": LAN for number in range(3)}
    found = decided(networks(), networks(**many))
    assert found.restart_required == {"web1": [f"network n2 is new: {NO_PORT}"]}
    assert found.plug == [("web1", "n0"), ("web1", "n1")]


def test_a_user_network_waits_for_families_of_addresses() -> None:
    found = decided(disks(), networks(out={"user": True}, lan=LAN), after="RestrictAddressFamilies=b")
    waits = "network out is new and waits for that"
    assert found.restart_required == {"web1": ["settings of its unit have changed", waits]}
    assert found.plug == [("web1", "lan")]
