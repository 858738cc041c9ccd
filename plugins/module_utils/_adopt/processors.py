# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declares number and topology of CPUs as QEMU completes them (QEMU, hw/core/machine-smp.c)."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

_DECLARED = ("sockets", "cores", "threads")
_OTHERS = ("dies", "clusters", "modules", "books", "drawers")


def processors_of(numbers: Mapping[str, int]) -> tuple[dict[str, int], str]:
    """Return the options for ``-smp``, and the rest of it: what cannot be declared stays an argument as a whole."""
    topology = _topology(numbers)
    product = prod(numbers.get(key, 1) for key in (*_DECLARED, *_OTHERS))
    cpus = numbers.get("cpus") or numbers.get("maxcpus") or product
    most = numbers.get("maxcpus") or cpus
    if topology is None or (topology and prod(topology.values()) != most):
        return {"cpus": cpus}, ",".join(f"{key}={number}" for key, number in numbers.items() if key != "cpus")
    declared = {f"cpu_{key}": number for key, number in topology.items() if number != 1}
    return {"cpus": cpus, **({"cpus_max": most} if most != cpus else {}), **declared}, ""


def _topology(numbers: Mapping[str, int]) -> dict[str, int] | None:
    """Return sockets, cores and threads, empty if QEMU chooses them; None if they cannot be declared."""
    if any(numbers.get(key, 1) != 1 for key in _OTHERS):
        return None
    known = {key: numbers[key] for key in _DECLARED if key in numbers}
    total = numbers.get("maxcpus") or numbers.get("cpus")
    if not known or total is None:
        return known
    if set(known) == {"threads"}:
        # Its choice between sockets and cores depends on the board's release.
        return {} if known["threads"] == 1 else None
    missing = next((key for key in _DECLARED[:2] if key not in known), "threads")
    known.setdefault(missing, total // prod(known.values()))
    return known
