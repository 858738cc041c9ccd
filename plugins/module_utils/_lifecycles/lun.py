# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""LUNs: what the target gives out is verified, and what they hold is written, without a login of the host."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils import _lun_content as content
from ansible_collections.directdisk.qemu.plugins.module_utils import _lun_look as look
from ansible_collections.directdisk.qemu.plugins.module_utils import _lun_server as server
from ansible_collections.directdisk.qemu.plugins.module_utils import _lun_write as write
from ansible_collections.directdisk.qemu.plugins.module_utils._backend import Option, Values
from ansible_collections.directdisk.qemu.plugins.module_utils._backends import iscsi
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError, HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._header import read_header
from ansible_collections.directdisk.qemu.plugins.module_utils._hints import storage_errors
from ansible_collections.directdisk.qemu.plugins.module_utils._libiscsi import Session
from ansible_collections.directdisk.qemu.plugins.module_utils._lifecycle import Lifecycle, Proposal, Seen, Step, Wanted
from ansible_collections.directdisk.qemu.plugins.module_utils._qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._workbench import OpenNode, Workbench

OPTIONS = (
    Option(
        "portals",
        "Further portals of the same target. The first that lets this host in is used, O(portal) before them; "
        "RV(image.portal) says which.",
        "list",
    ),
    Option(
        "expect",
        "What the LUN must be like; nothing is written to one that is different.",
        "dict",
        options=(
            Option("size", "Its size exactly.", "size"),
            Option("minimum_size", "Its size at least.", "size"),
            Option("serial", "Its serial number (page 0x80 of its vital product data)."),
        ),
    ),
    Option(
        "overwrite",
        "The fingerprint of the data that may be lost, as RV(image.fingerprint) and the error about the data name it. "
        "Other data is never overwritten, so that a fingerprint that stays in an inventory does no harm.",
        pattern="[0-9a-f]{16}",
        pattern_help="is no fingerprint: 16 hexadecimal digits, named by the error about the data",
    ),
    Option(
        "tgt",
        "Makes and removes the LUN itself, on the storage host whose tgtd gives it out (C(delegate_to)): the store, "
        "the target, the account of O(user), and what tgt needs to have them again after a restart.",
        "dict",
        options=server.OPTIONS,
    ),
)


def _serves(wanted: Wanted) -> bool:
    """Whether this host is the one that gives the LUN out."""
    return "tgt" in wanted.provision


def _check(wanted: Wanted) -> None:
    if _serves(wanted):
        server.check(wanted)
        return
    settings = wanted.disk.settings
    for portal in wanted.provision.get("portals", ()):
        try:
            iscsi.portal_of({"portal": portal})
        except DeclarationError as error:
            raise error.within("portals") from None
    if settings["format"] == "raw" and wanted.size:
        problem = "luks takes the whole LUN; leave size out, and say under expect what the LUN must have"
        raise DeclarationError("size", problem)
    if wanted.monitor and not wanted.node:
        raise DeclarationError("node", "is missing: monitor wants to be told which of its nodes the disk is")
    origin = wanted.disk.origin
    if origin and _identity(origin) == _identity(wanted.disk):
        raise DeclarationError("source", "is the LUN itself")


def _identity(disk: Disk) -> str:
    return disk.backend.identity(disk.source)


def _format(disk: Disk) -> tuple[str, bool]:
    """What the bytes of the LUN are declared to be, and whether they are encrypted."""
    return disk.settings["format"], "luks" in disk.settings


# --- looking ---------------------------------------------------------------------------------------------------------


def _observe(wanted: Wanted, bench: Workbench) -> Seen:
    if _serves(wanted):
        return server.observe(wanted, bench)
    disk = wanted.disk
    lun = disk.source["lun"]
    with look.session(disk, wanted.provision.get("portals", ()), bench) as (session, portal):
        luns = look.luns_of(session)
        seen: dict[str, Any] = {"exists": lun in luns, "portal": portal, "luns": luns}
        if lun not in luns:
            return seen
        seen.update(look.device_of(session, lun))
        if seen["type"] != "disk":
            return {**seen, "size": None, "format": None}
        assert_expected(disk, wanted.provision.get("expect", {}), seen)
        samples = _look_at_bytes(wanted, session, seen)
    return {**seen, **_look_inside(wanted, bench, seen, samples)}


def assert_expected(disk: Disk, expect: Values, seen: Seen) -> None:
    """Refuse a LUN that is not the one that was meant. Pure."""
    size = seen["capacity"]
    if expect.get("size", size) != size:
        raise DeclarationError(disk.described, f"has {size} bytes, and exactly {expect['size']} are expected")
    if expect.get("minimum_size", size) > size:
        raise DeclarationError(disk.described, f"has {size} bytes, and at least {expect['minimum_size']} are expected")
    if expect.get("serial", seen["serial"]) != seen["serial"]:
        problem = f"has the serial number {seen['serial']!r}, and {expect['serial']!r} is expected"
        raise DeclarationError(disk.described, problem)


def _look_at_bytes(wanted: Wanted, session: Session, seen: dict[str, Any]) -> dict[int, bytes]:
    """Adds to what was seen what is stored; returns the bytes that tell it."""
    lun = wanted.disk.source["lun"]
    head = look.read_places(session, lun, [(0, content.HEAD)], seen)
    found = read_header(head[0])
    told = _format(wanted.disk) == ("raw", False)
    # A raw LUN is what it is declared to be, whatever its first bytes look like.
    seen["format"] = "qcow2" if found.format == "qcow2" and not told else "raw"
    seen["encrypted"] = not told and (found.encrypted or found.format == "luks")
    fits = (seen["format"], seen["encrypted"]) == _format(wanted.disk)
    quick = content.content_of(head) if fits and wanted.state != "info" and "overwrite" not in wanted.provision else ""
    if quick in (content.UNFINISHED, content.DATA) and not _wants_luks_content(wanted):
        seen["content"] = quick
        return head
    samples = look.read_places(session, lun, content.sampled(seen["capacity"]), seen)
    seen["content"] = content.content_of(samples)
    fingerprint = content.fingerprint_of(samples)
    if seen["content"] == content.DATA and (wanted.state == "info" or not fits):
        seen["fingerprint"] = fingerprint
    if "overwrite" in wanted.provision:
        seen["_may_be_overwritten"] = fingerprint == wanted.provision["overwrite"]
    return samples


def _wants_luks_content(wanted: Wanted) -> bool:
    return _format(wanted.disk) == ("raw", True) and bool(wanted.disk.origin)


def _look_inside(wanted: Wanted, bench: Workbench, seen: Seen, samples: Mapping[int, bytes]) -> dict[str, Any]:
    """What a guest would see, where the LUN has the declared format; and what is to be copied, where anything is."""
    if (seen["format"], seen["encrypted"]) != _format(wanted.disk):
        inside: dict[str, Any] = {"size": seen["capacity"]}
    elif wanted.monitor:
        inside = _look_in_machine(wanted)
    elif _format(wanted.disk) == ("raw", False):
        inside = {"size": seen["capacity"]}
    else:
        inside = _open(wanted, bench, seen, samples)
    state = inside.get("content", seen["content"])
    unlike = (seen["format"], seen["encrypted"]) != _format(wanted.disk)
    fresh = unlike or state != content.DATA or seen.get("_may_be_overwritten")
    if wanted.disk.origin and fresh and wanted.state == "present" and not wanted.monitor:
        inside["_source_size"] = bench.size_of(wanted.disk.origin)
    return inside


def _open(wanted: Wanted, bench: Workbench, seen: Seen, samples: Mapping[int, bytes]) -> dict[str, Any]:
    disk = at_portal(wanted.disk, seen["portal"])
    with bench.image(disk) as node:
        described = node.describe()
        inside: dict[str, Any] = {"size": described["virtual-size"]}
        if wanted.disk.origin or wanted.state == "info":
            inside["content"] = _content_inside(disk, node, described, samples)
    return inside


def _content_inside(disk: Disk, node: OpenNode, described: Mapping[str, Any], samples: Mapping[int, bytes]) -> str:
    with node.accessed() as client:
        if client.read(0, content.HEAD).startswith(content.MARK):
            return content.UNFINISHED
    if disk.settings["format"] == "qcow2":
        with node.served(writable=False) as uri:
            blank = content.all_zero(json.loads(write.extents(uri)))
    else:
        # What was never written decrypts to noise; as it is stored, it is zeroes.
        blank = content.is_blank(samples, described["format-specific"]["data"]["payload-offset"])
    return content.BLANK if blank else content.DATA


def _look_in_machine(wanted: Wanted) -> dict[str, Any]:
    """What the machine sees that has it open; another process could read half of what the machine writes."""
    where = f"{wanted.disk.described}: the machine behind {wanted.monitor}"
    try:
        with Monitor.connect(wanted.monitor) as monitor:
            nodes = monitor.execute("query-named-block-nodes", {"flat": True})
    except HostError as error:
        raise HostError(f"{where}: {error}; correct monitor, or leave it out if none runs") from None
    images = [node["image"] for node in nodes if node["node-name"] == wanted.node]
    if not images:
        raise HostError(f"{where} has no node {wanted.node}")
    declared = "luks" if _format(wanted.disk) == ("raw", True) else wanted.disk.settings["format"]
    if images[0]["format"] != declared:
        problem = f"node {wanted.node} behind {wanted.monitor} is {images[0]['format']}, and {declared} is declared"
        raise DeclarationError(wanted.disk.described, problem)
    specific = images[0].get("format-specific", {}).get("data", {})
    return {"size": images[0]["virtual-size"], "_header": specific.get("payload-offset", 0)}


def at_portal(disk: Disk, portal: str) -> Disk:
    """The disk through the portal that was found to answer."""
    return replace(disk, source={**disk.source, "portal": portal})


# --- planning --------------------------------------------------------------------------------------------------------


def _plan(wanted: Wanted, seen: Seen) -> Proposal:
    if _serves(wanted):
        return server.plan(wanted, seen)
    described = wanted.disk.described
    if wanted.state == "absent":
        return _plan_absent(described, seen)
    if not seen["exists"]:
        others = ", ".join(map(str, seen["luns"])) or "none"
        raise DeclarationError(described, f"the target has no such LUN (it has: {others}); correct lun")
    if seen["type"] != "disk":
        raise DeclarationError(described, f"is a {seen['type']}, no disk (there are: {_others(wanted, seen)})")
    plan = _Plan(wanted, seen)
    plan.fill()
    plan.grow()
    if plan.steps and seen["read_only"]:
        raise DeclarationError(described, "the target gives it out read-only; correct that at the target")
    return Proposal(plan.after, tuple(plan.steps), tuple(plan.warnings))


def _plan_absent(described: str, seen: Seen) -> Proposal:
    if seen["exists"]:
        problem = "an initiator cannot remove a LUN; say tgt, and run this on the storage host (delegate_to)"
        raise DeclarationError(described, problem)
    return Proposal(seen)


def _others(wanted: Wanted, seen: Seen) -> str:
    return ", ".join(f"LUN {lun}" for lun in seen["luns"] if lun != wanted.disk.source["lun"]) or "no other LUN"


class _Plan:
    """Grows step by step; ``after`` is what a look would find."""

    def __init__(self, wanted: Wanted, seen: Seen) -> None:
        self.wanted = wanted
        self.disk = wanted.disk
        self.seen = seen
        self.after = {key: value for key, value in seen.items() if key != "fingerprint"}
        self.steps: list[Step] = []
        self.warnings: list[str] = []

    def fill(self) -> None:
        """A format where there is none, and then what a new disk begins as."""
        plain = _format(self.disk) == ("raw", False)
        unlike = (self.seen["format"], self.seen["encrypted"]) != _format(self.disk)
        overwrites = bool(self.seen.get("_may_be_overwritten"))
        fresh = overwrites or self.seen["content"] != content.DATA
        formats, imports = not plain and (unlike or overwrites), self.disk.origin and fresh
        if unlike and not fresh:
            problem = (
                f"has data that is no {_words(self.disk)}{_found(self.seen)}; "
                f"to lose it, say overwrite: {self.seen['fingerprint']}"
            )
            raise DeclarationError(self.disk.described, problem)
        if self.wanted.monitor and (formats or imports):
            problem = "is still to be written, and a running machine has it open; stop the machine"
            raise DeclarationError(self.disk.described, problem)
        if formats:
            self._write_format(wipe=overwrites)
        if imports:
            self._import(wipe=overwrites and plain)
        elif self.after["content"] == content.UNFINISHED:
            self.warnings.append(
                f"{self.disk.described}: an import into it was interrupted; declare its source to finish it"
            )

    def _write_format(self, *, wipe: bool) -> None:
        form, encrypted = _format(self.disk)
        capacity = self.seen["capacity"]
        size = self.wanted.size or self.seen.get("_source_size") if form == "qcow2" else capacity - content.LUKS_HEADER
        if not size:
            raise DeclarationError("size", "is missing: how much a guest is to see of the qcow2")
        if size <= 0:
            raise DeclarationError(self.disk.described, f"has {capacity} bytes, too few for {_words(self.disk)}")
        self._check_room(size)
        words = f"write {_words(self.disk)} of {size} bytes on {self.disk.described}"
        values = {"size": size, "wipe": self._ends() if wipe else [], "portal": self.seen["portal"]}
        self.steps.append(Step("format", f"overwrite the data and {words}" if wipe else words, values))
        self.after.update(format=form, encrypted=encrypted, size=size, content=content.DATA)

    def _import(self, *, wipe: bool) -> None:
        if self.disk.origin is None:
            raise AssertionError
        size = self.seen["_source_size"]
        if size > self.after["size"]:
            problem = f"has room for {self.after['size']} bytes, and {self.disk.origin.described} has {size}"
            raise DeclarationError(self.disk.described, problem)
        again = "finish the import of" if self.seen["content"] == content.UNFINISHED else "import"
        words = f"{again} {self.disk.origin.described} into {self.disk.described}"
        values = {"size": size, "wipe": self._ends() if wipe else [], "portal": self.seen["portal"]}
        self.steps.append(Step("import", f"overwrite the data and {words}" if wipe else words, values))
        self.after["content"] = content.DATA

    def _ends(self) -> list[tuple[int, int]]:
        return content.wiped(self.seen["capacity"])

    def grow(self) -> None:
        form, _encrypted = _format(self.disk)
        wanted = self.wanted.size
        if form == "raw" and self.wanted.monitor:
            wanted = self.seen["capacity"] - self.seen["_header"]
        if not wanted or wanted == self.after["size"]:
            return
        if wanted < self.after["size"]:
            words = f"{self.disk.described} has {self.after['size']} bytes; it is never shrunk to {wanted}"
            self.warnings.append(words)
            return
        if form == "qcow2":
            self._check_room(wanted)
        words = f"grow {self.disk.described} from {self.after['size']} to {wanted} bytes"
        self.steps.append(Step("grow", words, {"size": wanted, "portal": self.seen["portal"]}))
        self.after["size"] = wanted

    def _check_room(self, size: int) -> None:
        form, encrypted = _format(self.disk)
        needed = content.needed_for_qcow2(size, encrypted=encrypted) if form == "qcow2" else 0
        if needed > self.seen["capacity"]:
            problem = (
                f"has {self.seen['capacity']} bytes, and a qcow2 of {size} bytes takes up to {needed}; "
                "say a smaller size, or grow the LUN"
            )
            raise DeclarationError(self.disk.described, problem)


def _words(disk: Disk) -> str:
    form, encrypted = _format(disk)
    return f"{form} with luks" if form != "raw" and encrypted else "luks" if encrypted else form


def _found(seen: Seen) -> str:
    if seen["format"] == "qcow2":
        return f" but a qcow2 {'with' if seen['encrypted'] else 'without'} luks"
    return " but luks" if seen["encrypted"] else ""


# --- carrying out ----------------------------------------------------------------------------------------------------


def _write_format(wanted: Wanted, values: Values, bench: Workbench) -> None:
    disk = at_portal(wanted.disk, values["portal"])
    with storage_errors(disk):
        write.write_format(disk, values, bench)


def _import(wanted: Wanted, values: Values, bench: Workbench) -> None:
    disk = at_portal(wanted.disk, values["portal"])
    with storage_errors(disk):
        write.import_source(disk, values, bench)


def _grow(wanted: Wanted, values: Values, bench: Workbench) -> None:
    disk = at_portal(wanted.disk, values["portal"])
    with storage_errors(disk):
        if not wanted.monitor:
            with bench.image(disk, writable=True) as node:
                node.resize(values["size"])
            return
        with Monitor.connect(wanted.monitor, seconds=bench.open_timeout) as monitor:
            monitor.execute("block_resize", {"node-name": wanted.node, "size": values["size"]})


LIFECYCLE = Lifecycle(
    "lun",
    OPTIONS,
    _check,
    _observe,
    _plan,
    {"format": _write_format, "import": _import, "grow": _grow, **server.VERBS},
    packages=look.PACKAGES,
    survey=look.survey,
    survey_without=("target",),
    serves=_serves,
)
