# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks the limits of a disk: operations and bytes a second. Pure."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.schema import MOST_PER_SECOND
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError


def check_limits(settings: Values, where: str) -> None:
    """Refuse limits that QEMU refuses when the VM starts."""
    for kind in ("iops", "bps"):
        try:
            if kind in settings:
                _check_kind(settings[kind])
        except DeclarationError as error:
            raise error.within(f"{where}: {kind}") from None


def _check_kind(limits: Values) -> None:
    for suffix in ("", "_max"):
        parts = [name for name in (f"read{suffix}", f"write{suffix}") if name in limits]
        if f"total{suffix}" in limits and parts:
            raise DeclarationError("", f"total{suffix} and {parts[0]} exclude each other; leave one of them out")
    for name in ("total", "read", "write"):
        limit, burst = limits.get(name), limits.get(f"{name}_max")
        if burst is not None and limit is None:
            raise DeclarationError(f"{name}_max", f"requires {name}, above which it allows a burst")
        if burst is not None and limit is not None and burst < limit:
            raise DeclarationError(f"{name}_max", f"{burst} is less than {name}, which is {limit}")
    for option in limits:
        burst_option = option.removesuffix("_length")
        if burst_option != option and burst_option not in limits:
            raise DeclarationError(option, f"is the length of a burst; set {burst_option}, too")
        if burst_option != option and limits[option] > 1 and limits[burst_option] > MOST_PER_SECOND // limits[option]:
            raise DeclarationError(option, f"with {burst_option}, it is more than QEMU can count; make it shorter")
    if "size" in limits and len(limits) == 1:
        raise DeclarationError("size", "says how requests are counted; set total, read or write, too")
