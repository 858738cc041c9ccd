# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the declaration of a disk into a typed object. Pure: nothing here asks a host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends._packed import take_unpacker
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend, routes_for, why_unfit
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS, from_uri
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration import cd_drive
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.limits import check_limits
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.schema import (
    DISK_OPTIONS,
    FLUSHING,
    ORIGIN_OPTIONS,
    PASSTHROUGH,
    SOURCE_FORMATS,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import Collected, DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import (
    did_you_mean,
    joined,
    nearest,
    read_options,
)

ORIGIN_KEYS = ("uri", "format", "raw_content", "luks", "route")
"""Options of a disk that is only a source of a copy, beside its backend."""
OF_SOURCES = ("follow", "max_size", "fetch_timeout")
"""Options of a disk's provision that apply to its source, too."""


@dataclass(frozen=True)
class Drive:
    """The device of a disk in the guest. A CD drive without a medium is nothing more."""

    name: str
    settings: Values

    @property
    def writes(self) -> str:
        return str(self.settings["writes"])

    @property
    def attachment(self) -> str:
        """Return how it is connected: its model, or the bus of a CD drive."""
        return _attachment(self.settings)


@dataclass(frozen=True)
class Disk(Drive):
    """A disk of a VM: the backend with its options, and how QEMU and the guest use it."""

    backend: Backend
    source: Values
    origin: Disk | None = None
    """The initial content of a new image: ``source`` of the declaration."""
    provision: Values = field(default_factory=dict)
    """The options for creating and managing the image, as declared: its lifecycle reads them."""
    packed: str = ""
    """Compression of a source that is unpacked whole before it is opened."""

    @property
    def kept(self) -> bool:
        """Return True if its image is created and kept as declared."""
        return "size" in self.settings or self.origin is not None or bool(self.provision)

    @property
    def backing(self) -> Values:
        """Return the declared backing file of a qcow2; empty if none is declared."""
        return dict(self.provision.get("backing") or {})

    @cached_property
    def identity(self) -> str:
        """Return the same text for all declarations of the same bytes."""
        return self.backend.source.identity(self.source)

    def at(self, source: Values) -> Disk:
        """Return the disk with another spelling of its storage."""
        return replace(self, source=source)

    @property
    def image(self) -> Disk:
        """Return the disk itself, or the image of its snapshot."""
        snapshots = self.backend.source.snapshot_options
        return replace(self, source={name: value for name, value in self.source.items() if name not in snapshots})

    @property
    def described(self) -> str:
        """Return backend and storage, for messages."""
        packed = f" ({self.packed})" if self.packed else ""
        return f"{self.backend.name} {self.backend.source.describe(self.source)}{packed}"


def _attachment(settings: Values) -> str:
    return str(settings["bus"] if settings["model"] == cd_drive.MODEL else settings["model"])


def longest_serial(model: str, attachment: str) -> int:
    """Return how many characters of a serial number SCSI shows the guest, or virtio-blk, ATA and NVMe.

    QEMU 9.1 and later do not start with more for usb-storage, which has no device_id.
    """
    return 36 if attachment == "virtio-scsi" or (model, attachment) == (cd_drive.MODEL, "usb") else 20


def serial_of(disk: Drive) -> str:
    """Return the serial number that the guest sees, by which it finds a disk wherever that is; the name by default."""
    return str(disk.settings.get("serial") or disk.name)


def read_drive(name: str, declared: Any, where: str) -> Drive:
    """Read a disk of a VM, or a CD drive without a medium."""
    if not cd_drive.is_empty_drive(declared) or _unknown_key(declared):
        return read_disk(name, declared, where)
    settings = read_options(DISK_OPTIONS, declared, where)
    cd_drive.complete(settings, where)
    _check_device(settings, where)
    return Drive(name, settings)


def read_image(name: str, declared: Any, where: str) -> Disk:
    """Read a disk that no VM opens, so ``writes`` is not required."""
    has_writes = isinstance(declared, Mapping) and any(declared.get(key) is not None for key in ("writes", "read_only"))
    return read_disk(name, declared, where, default_writes="" if has_writes else "deny")


def read_disk(
    name: str, declared: Any, where: str, *, default_writes: str = "", options: Sequence[Option] = DISK_OPTIONS
) -> Disk:
    """Read a disk; default_writes: the value of an undeclared ``writes`` if the storage cannot be written."""
    if not isinstance(declared, Mapping):
        raise DeclarationError(where, "is not a mapping with a backend's key and options")
    backend, source, settings = _read_parts(declared, options, where)
    cd_drive.complete(settings, where)
    source, packed = _read_packed(backend, source, where, is_source=options is ORIGIN_OPTIONS)
    origin = _read_origin(settings.pop("source", None), f"{where}: source")
    provision = _read_provision(settings.pop("provision", None), f"{where}: provision")
    if origin:
        origin = replace(origin, provision={name: provision[name] for name in OF_SOURCES if name in provision})
    read_only = (
        f"{backend.name} cannot be written" if not backend.source.writable else backend.source.why_read_only(source)
    )
    if read_only and default_writes:
        settings["writes"] = default_writes
    settings["writes"] = _read_writes(settings, read_only, where)
    _check_route(settings["route"], backend, source, where)
    if settings["copy_on_read"] and settings["writes"] not in ("overlay", "discard"):
        raise DeclarationError(f"{where}: copy_on_read", "needs an overlay; set writes: overlay or discard")
    if "renamed_from" in settings and settings["writes"] != "overlay":
        raise DeclarationError(f"{where}: renamed_from", "renames an overlay, so it requires writes: overlay")
    _check_image(settings, origin, backend, read_only, where)
    if origin and origin.image.identity == backend.source.identity(source):
        raise DeclarationError(f"{where}: source", f"is the disk itself ({origin.described})")
    if settings["detect_zeroes"] == "unmap" and settings["discard"] != "unmap":
        raise DeclarationError(f"{where}: detect_zeroes", "unmap requires discard: unmap")
    check_limits(settings, where)
    _check_model(settings, backend, where)
    try:
        backend.source.check_disk(source, settings)
    except DeclarationError as error:
        raise error.within(f"{where}: {backend.name}") from None
    if packed and backend.access.stage and settings["route"] == "auto":
        settings["route"] = "stage"
    return Disk(name, settings, backend, source, origin, provision, packed)


def _read_parts(
    declared: Mapping[str, Any], options: Sequence[Option], where: str
) -> tuple[Backend, dict[str, Any], dict[str, Any]]:
    """Return the backend with its options, and the options of the disk; raise the errors of both together."""
    own = {key: value for key, value in declared.items() if key not in BACKENDS}
    try:
        backend, source = _read_source(declared, where)
    except (DeclarationError, Collected) as error:
        if len(own) == len(declared) and "uri" not in declared:
            own.pop(_unknown_key(declared), None)  # the error of the backend names it
        raise joined([error, *_errors_beside(own, options, where)]) from None
    return backend, source, read_options(options, own, where)


def _errors_beside(own: Mapping[str, Any], options: Sequence[Option], where: str) -> list[Exception]:
    """Return the errors of a disk's options whose backend has one, too."""
    try:
        settings = read_options(options, own, where)
        _read_origin(settings.get("source"), f"{where}: source")
    except (DeclarationError, Collected) as error:
        return [error]
    return []


def _read_packed(
    backend: Backend, source: dict[str, Any], where: str, *, is_source: bool
) -> tuple[dict[str, Any], str]:
    """Return the options of the packed image and its compression, if it is unpacked whole."""
    try:
        plain, packed = take_unpacker(source)
    except DeclarationError as error:
        raise error.within(f"{where}: {backend.name}") from None
    if packed and not is_source:
        problem = f"{packed} is for a source alone, which is unpacked whole; use xz or gzip"
        raise DeclarationError(f"{where}: {backend.name}: compression", problem)
    return dict(plain), packed


def _read_origin(declared: Any, where: str) -> Disk | None:
    """Read a disk that is only a source of a copy."""
    if declared is None:
        return None
    settings = [str(key) for key in declared if key not in BACKENDS] if isinstance(declared, Mapping) else []
    unknown = [key for key in settings if key not in ORIGIN_KEYS]
    if unknown:
        raise DeclarationError(where, f"unknown option {unknown[0]!r}{did_you_mean(unknown[0], ORIGIN_KEYS)}")
    declared = {**declared, "read_only": True} if isinstance(declared, Mapping) else declared
    origin = read_disk("source", declared, where, options=ORIGIN_OPTIONS)
    if origin.settings["format"] in SOURCE_FORMATS and "luks" in origin.settings:
        raise DeclarationError(f"{where}: luks", f"is for raw and qcow2, not for {origin.settings['format']}")
    return origin


def _read_provision(declared: Any, where: str) -> Values:
    declared = {} if declared is None else declared
    if not isinstance(declared, Mapping):
        raise DeclarationError(where, "is not a mapping of options")
    return dict(declared)


def _check_image(settings: Values, origin: Disk | None, backend: Backend, read_only: str, where: str) -> None:
    """Refuse to create or grow an image whose size is set elsewhere."""
    formatted = settings["format"] != "raw" or "luks" in settings
    if "size" in settings and (read_only or not (backend.source.resizable or formatted)):
        raise DeclarationError(
            f"{where}: size", f"an image on {backend.name} cannot be created or grown here; leave size out"
        )
    if origin and read_only:
        raise DeclarationError(f"{where}: source", f"{read_only}; leave source out")


def _read_source(declared: Mapping[str, Any], where: str) -> tuple[Backend, dict[str, Any]]:
    """Return the only backend of a disk, from its key or a URI, and its options."""
    keys = [key for key in declared if key in BACKENDS]
    if len(keys) > 1:
        raise DeclarationError(where, f"exactly one backend is required, not {' and '.join(keys)}")
    if not keys and "uri" not in declared:
        raise DeclarationError(where, _no_backend(declared))
    try:
        backend, options = (
            _source_of_uri(declared, keys) if "uri" in declared else (BACKENDS[keys[0]], declared[keys[0]])
        )
    except DeclarationError as error:
        raise error.within(where) from None
    where = f"{where}: {backend.name}"
    source = read_options(backend.options, options, where)
    try:
        backend.source.check(source)
    except DeclarationError as error:
        raise error.within(where) from None
    return backend, source


def _unknown_key(declared: Mapping[str, Any]) -> str:
    """Return the first key that is not an option of a disk: probably a backend's, with a mistake."""
    known = {option.name for option in DISK_OPTIONS}
    return next((str(key) for key in declared if key not in known), "")


def _no_backend(declared: Mapping[str, Any]) -> str:
    unknown = _unknown_key(declared)
    hint = f"; {unknown!r} is neither a backend nor an option{nearest(unknown, BACKENDS)}" if unknown else ""
    return f"no backend (one of {', '.join(BACKENDS)}, or uri){hint}"


def _source_of_uri(declared: Mapping[str, Any], keys: Sequence[str]) -> tuple[Backend, Any]:
    """Return backend and options of a URI, with further options from the backend's key beside it."""
    backend, in_uri = from_uri(str(declared["uri"]))
    if not keys:
        missing = [option.name for option in backend.options if option.required and option.name not in in_uri]
        if missing:
            example = ", ".join(f"{name}: ..." for name in missing)
            raise DeclarationError(
                "uri", f"does not say {' and '.join(missing)}; write {backend.name}: {{{example}}} beside it"
            )
        return backend, in_uri
    beside = declared[keys[0]]
    if keys != [backend.name]:
        raise DeclarationError("uri", f"names {backend.name}, and {keys[0]} stands beside it")
    if not isinstance(beside, Mapping):
        return backend, beside  # for the table of options to refuse
    for option in backend.options:
        if option.name in in_uri and any(name in beside for name in (option.name, *option.aliases)):
            raise DeclarationError(backend.name, f"{option.name} is set twice, also by the uri")
    return backend, {**in_uri, **beside}


def _read_writes(settings: Values, read_only: str, where: str) -> str:
    writes = settings.get("writes")
    if settings.get("read_only"):
        if writes not in (None, "deny"):
            raise DeclarationError(f"{where}: read_only", f"contradicts writes: {writes}")
        writes = "deny"
    if read_only and writes in (None, "keep"):
        raise DeclarationError(f"{where}: writes", f"{read_only}: set overlay, discard or deny")
    return str(writes or "keep")


def _check_route(wanted: str, backend: Backend, source: Values, where: str) -> None:
    """Refuse a route that does not support the declared options, and options that no route supports together."""
    if wanted not in ("auto", *backend.access.routes):
        raise DeclarationError(
            f"{where}: route",
            f"{wanted!r} is not a route of {backend.name} (there are: {', '.join(backend.access.routes)})",
        )
    reason = "" if wanted == "auto" else why_unfit(backend, wanted, source)
    if not routes_for(backend, source):
        picky = [option.name for option in backend.options if option.routes and option.name in source]
        reason = f"none of {backend.name} supports {' and '.join(picky)} together"
    if reason:
        raise DeclarationError(f"{where}: route", reason)


def _check_model(settings: Values, backend: Backend, where: str) -> None:
    model = settings["model"]
    _check_device(settings, where)
    if model in PASSTHROUGH:
        _check_passthrough(settings, backend, where)
    if model == "ide" and settings["writes"] == "deny":
        raise DeclarationError(f"{where}: model", "an ide disk cannot be read-only; set model: virtio-blk")
    if model in ("nvme", *PASSTHROUGH) and settings["cache"] in FLUSHING:
        raise DeclarationError(f"{where}: cache", f"QEMU's {model} device cannot be told to flush at each write")
    if model in ("nvme", "scsi-generic") and settings["on_error"] != "stop":
        raise DeclarationError(
            f"{where}: on_error", f"QEMU's {model} device reports errors to the guest itself and knows no on_error"
        )


_ON_MODELS = {
    "wwn": ("virtio-scsi", "ide"),
    "rotation_rate": ("virtio-scsi", "ide"),
    "logical_block_size": ("virtio-blk", "virtio-scsi", "nvme", "usb"),
    "physical_block_size": ("virtio-blk", "virtio-scsi", "nvme", "ide", "usb"),
}
"""Options that QEMU's devices of other models do not have."""


def _check_device(settings: Values, where: str) -> None:
    """Check the device, and what the guest sees of the disk itself."""
    model = settings["model"]
    virtio = ("virtio-blk", "virtio-scsi")
    for option in ("iothread", "queues"):
        if settings.get(option) and model not in virtio:
            raise DeclarationError(f"{where}: {option}", f"is for {' and '.join(virtio)}, not for {model}")
    for option, models in _ON_MODELS.items():
        if option in settings and model not in models:
            raise DeclarationError(f"{where}: {option}", f"is for {', '.join(models)}, not for {model}")
    attachment = _attachment(settings)
    most = longest_serial(model, attachment)
    if len(settings.get("serial", "")) > most:
        raise DeclarationError(f"{where}: serial", f"{attachment} shows the guest at most {most} characters")
    for option in ("logical_block_size", "physical_block_size"):
        if settings.get(option, 512) & (settings.get(option, 512) - 1):
            raise DeclarationError(f"{where}: {option}", f"{settings[option]} is not a power of 2")
    logical, physical = settings.get("logical_block_size", 512), settings.get("physical_block_size")
    if physical is not None and physical < logical:
        raise DeclarationError(f"{where}: physical_block_size", f"{physical} is less than logical_block_size")


def _check_passthrough(settings: Values, backend: Backend, where: str) -> None:
    """Check a SCSI passthrough: QEMU's own block layer is bypassed."""
    model = settings["model"]
    if not backend.access.scsi_passthrough:
        able = " or ".join(name for name, other in BACKENDS.items() if other.access.scsi_passthrough)
        raise DeclarationError(f"{where}: model", f"{model} needs a SCSI device: {able}")
    for option in ("iops", "bps", "luks", "serial"):
        if option in settings:
            raise DeclarationError(
                f"{where}: {option}", f"has no effect on {model}: the guest speaks to the device itself"
            )
    if settings["format"] != "raw" or settings["writes"] != "keep":
        raise DeclarationError(
            f"{where}: model", f"{model} passes the whole device through: set format: raw and writes: keep"
        )
