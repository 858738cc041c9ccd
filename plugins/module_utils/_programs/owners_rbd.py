# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# pylint: disable=ansible-bad-function
# A program of its own, which no module runs in its own process.
"""qemu-vm-owner-rbd.py SECONDS: who has images of a Ceph cluster open. A program of storage_owner.py's, see there.

It needs what QEMU's rbd driver needs: librbd and librados, and the same configuration, user and key. It opens images
read-only, which registers no watcher, so that it does not find itself.

A client is taken from by blocklisting its address, so that no write of it arrives any more, and by breaking its lock.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

UNABLE = 69  # EX_UNAVAILABLE in sysexits.h

Check = Mapping[str, Any]


ADVICE = (
    "stop the VM or the program there that has it (rbd status shows it); if that host is dead, Ceph forgets it 30 s "
    "after it was last heard of, and ceph osd blocklist add {}, or qemu_vms_takeover, keeps it out"
)
LACKS_CAPABILITY = (
    "blocklisting {}: {}; Ceph user {} may not do this: give it the monitor capability 'profile rbd' (ceph auth caps), "
    "or run ceph osd blocklist add {} as a user that may"
)
TAKEN = 20.0
"""Seconds until the OSDs have ended the watch of a blocklisted client, at the most."""
ADVICE_LOCK = "ask who has locked it, or remove the lock (rbd lock remove)"


class Failed(Exception):
    """An error for the user, in one line."""


class Watcher(ctypes.Structure):
    """rbd_image_watcher_t (rbd/librbd.h)."""

    _fields_ = (("addr", ctypes.c_char_p), ("id", ctypes.c_int64), ("cookie", ctypes.c_uint64))


def expect(result: int, doing: str) -> None:
    if result < 0:
        raise Failed(f"{doing}: {os.strerror(-result)}")


def connect(rados: Any, check: Check, seconds: float) -> ctypes.c_void_p:
    """Connect to the cluster with QEMU's parameters."""
    cluster = ctypes.c_void_p()
    expect(rados.rados_create(ctypes.byref(cluster), check["user"].encode()), "error connecting")
    expect(rados.rados_conf_read_file(cluster, check["conf"].encode()), "error reading conf file")
    settings = dict(check["settings"])
    if "key" in check:
        with open(check["key"], encoding="utf-8") as stream:
            settings["key"] = stream.read()
    for name in ("client_mount_timeout", "rados_mon_op_timeout", "rados_osd_op_timeout"):
        settings[name] = str(max(int(seconds), 1))
    for name, value in settings.items():
        expect(rados.rados_conf_set(cluster, name.encode(), value.encode()), f"error setting {name}")
    expect(rados.rados_connect(cluster), "error connecting")
    return cluster


def own_address(rados: Any, cluster: ctypes.c_void_p) -> str:
    """Return the address of this host in the cluster."""
    text = ctypes.c_char_p()
    rados.rados_getaddrs(cluster, ctypes.byref(text))
    return address_of((text.value or b"").decode())


def address_of(text: str) -> str:
    """Return the address in [v2:]ADDRESS:PORT/NUMBER, or in a list of these."""
    match = re.search(r"(\[[0-9A-Fa-f:]+\]|[0-9.]+):\d+/\d+", text)
    return match.group(1) if match else ""


def owners(library: Any, pool: ctypes.c_void_p, image: str, address: str) -> Iterator[dict[str, Any]]:
    """Yield the other watchers: a client that has an image open for writing watches it."""
    handle = ctypes.c_void_p()
    opened = library.rbd_open_read_only(pool, image.encode(), ctypes.byref(handle), None)
    expect(opened, f"error reading header from {image}")
    try:
        locked = lockers(library, handle)
        for client, place in watchers(library, handle):
            holds = ", which holds its lock" if client in locked else ""
            name = f"open by {client} at {address_of(place) or place}{holds}"
            here = bool(address) and address_of(place) == address
            yield {"name": name, "advice": ADVICE.format(place), "here": here, **taken_by(client, place)}
        for client, (cookie, place) in locked.items():
            # librbd takes its own lock from a client that is gone; a lock that somebody else took stays.
            if not cookie.startswith("auto "):
                name = f"locked by hand by {client} at {address_of(place) or place}"
                yield {"name": name, "advice": ADVICE_LOCK, "here": False, **taken_by(client, place)}
    finally:
        library.rbd_close(handle)


def taken_by(client: str, place: str) -> dict[str, Any]:
    """Return what identifies a client that the image can be taken from."""
    action = f"blocklist {client} ({place}), and break its lock if it has one"
    return {"take": {"client": client, "place": place}, "address": address_of(place).strip("[]"), "action": action}


def watchers(library: Any, handle: ctypes.c_void_p) -> list[tuple[str, str]]:
    """Return clients and their addresses, in the order of their numbers."""
    most = ctypes.c_size_t(256)
    found = (Watcher * most.value)()
    expect(library.rbd_watchers_list(handle, found, ctypes.byref(most)), "error listing watchers")
    known = sorted((one.id, one.addr.decode()) for one in found[: most.value])
    return [(f"client.{number}", address) for number, address in known]


def lockers(library: Any, handle: ctypes.c_void_p) -> dict[str, tuple[str, str]]:
    """Return clients that hold a lock, with its cookie and their addresses: a zero byte ends each text."""
    exclusive = ctypes.c_int()
    texts = [ctypes.create_string_buffer(16384) for _text in range(4)]
    lengths = [ctypes.c_size_t(len(text)) for text in texts]
    tag, clients, cookies, places = ((text, ctypes.byref(length)) for text, length in zip(texts, lengths))
    count = library.rbd_list_lockers(handle, ctypes.byref(exclusive), *tag, *clients, *cookies, *places)
    columns = [text.raw.decode(errors="replace").split("\0") for text in texts[1:]]
    return {client: (cookie, place) for client, cookie, place in list(zip(*columns))[: max(count, 0)]}


def take(libraries: Any, cluster: ctypes.c_void_p, pool: ctypes.c_void_p, check: Check) -> None:
    """Keep the named clients from the cluster, and break their locks; wait until the image is free of them."""
    rados, library = libraries
    # Releases before 16 have the function under its former name.
    blocklist = getattr(rados, "rados_blocklist_add", None) or rados.rados_blacklist_add
    for owner in check["take"]:
        result = blocklist(cluster, owner["place"].encode(), 0)  # 0: for as long as the cluster does by default
        if result in (-errno.EACCES, -errno.EPERM):
            place, reason = owner["place"], os.strerror(-result)
            raise Failed(LACKS_CAPABILITY.format(place, reason, check["user"], place))
        expect(result, f"blocklisting {owner['place']}")
    rados.rados_wait_for_latest_osdmap(cluster)
    handle = ctypes.c_void_p()
    expect(
        library.rbd_open_read_only(pool, check["image"].encode(), ctypes.byref(handle), None),
        f"error reading header from {check['image']}",
    )
    try:
        taken, end = {owner["client"] for owner in check["take"]}, time.monotonic() + TAKEN
        for client, (cookie, _place) in lockers(library, handle).items():
            if client in taken:
                result = library.rbd_break_lock(handle, client.encode(), cookie.encode())
                # librbd of another client may have broken it since.
                expect(0 if result == -errno.ENOENT else result, f"breaking the lock of {client}")
        while taken & {client for client, _place in watchers(library, handle)} and time.monotonic() < end:
            time.sleep(0.2)
    finally:
        library.rbd_close(handle)


def answers(rados: Any, library: Any, checks: Sequence[Check], seconds: float) -> Iterator[dict[str, Any]]:
    """Answer each check; all are of one cluster and user."""
    cluster = connect(rados, checks[0], seconds)
    address = own_address(rados, cluster)
    for check in checks:
        pool = ctypes.c_void_p()
        try:
            expect(rados.rados_ioctx_create(cluster, check["pool"].encode(), ctypes.byref(pool)), "error opening pool")
            rados.rados_ioctx_set_namespace(pool, check.get("namespace", "").encode())
            if check.get("take"):
                take((rados, library), cluster, pool, check)
            yield {"owners": list(owners(library, pool, check["image"], address))}
        except Failed as error:
            yield {"error": str(error)}
        finally:
            rados.rados_ioctx_destroy(pool)


if __name__ == "__main__":
    try:
        libraries = ctypes.CDLL("librados.so.2"), ctypes.CDLL("librbd.so.1")
        for function in (libraries[0].rados_getaddrs, libraries[1].rbd_watchers_list):
            del function
    except (OSError, AttributeError) as missing:
        print(missing, file=sys.stderr)
        sys.exit(UNABLE)
    try:
        for answer in answers(*libraries, json.load(sys.stdin), float(sys.argv[1])):
            print(json.dumps(answer), flush=True)
    except (Failed, OSError) as problem:
        print(problem, file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)  # without the farewell of librados, which takes seconds where a monitor is gone
