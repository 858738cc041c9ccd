# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what a person wrote of a disk to a typed disk. Pure: nothing here asks a host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend, routes_for, why_unfit
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS, from_uri
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.schema import DISK_OPTIONS, PASSTHROUGH
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import did_you_mean, read_options

ORIGIN_OPTIONS = ("uri", "format", "raw_content", "luks", "route")
"""What is said of a disk that is only copied from, beside its backend."""
OF_SOURCES = ("follow", "max_size", "fetch_timeout")
"""What a disk's provision says of its source, too."""


@dataclass(frozen=True)
class Disk:
    """One disk of a machine: which backend has the bytes, and how QEMU and the guest use them."""

    name: str
    backend: Backend
    source: Values
    settings: Values
    origin: Disk | None = None
    """What a new image begins as: ``source`` of the declaration."""
    provision: Values = field(default_factory=dict)
    """How the image is made and kept, as given: its lifecycle reads it."""

    @property
    def writes(self) -> str:
        return str(self.settings["writes"])

    @property
    def kept(self) -> bool:
        """Whether its image is made where there is none, and kept as it is declared."""
        return "size" in self.settings or self.origin is not None or bool(self.provision)

    @property
    def backing(self) -> Values:
        """The declared image that a qcow2 stands on; empty where none is."""
        return dict(self.provision.get("backing") or {})

    @property
    def identity(self) -> str:
        """Equal for two declarations of the same bytes, whatever their spelling."""
        return self.backend.source.identity(self.source)

    def at(self, source: Values) -> Disk:
        """The disk with its storage named otherwise."""
        return replace(self, source=source)

    @property
    def image(self) -> Disk:
        """The disk itself, or that of which it is a snapshot."""
        snapshots = self.backend.source.snapshot_options
        return replace(self, source={name: value for name, value in self.source.items() if name not in snapshots})

    @property
    def described(self) -> str:
        """Backend and storage, for people."""
        return f"{self.backend.name} {self.backend.source.describe(self.source)}"


def read_image(name: str, given: Any, where: str) -> Disk:
    """A disk that no machine opens: nobody has to say where a guest's writes go."""
    said = isinstance(given, Mapping) and any(given.get(key) is not None for key in ("writes", "read_only"))
    return read_disk(name, given, where, unsaid_writes="" if said else "deny")


def read_disk(name: str, given: Any, where: str, *, unsaid_writes: str = "") -> Disk:
    """unsaid_writes: where the guest's writes go on storage that cannot be written; refused without it."""
    if not isinstance(given, Mapping):
        raise DeclarationError(where, "is not a mapping with a backend's key and options")
    backend, source = _read_source(given, where)
    settings = read_options(DISK_OPTIONS, {key: value for key, value in given.items() if key not in BACKENDS}, where)
    origin = _read_origin(settings.pop("source", None), f"{where}: source")
    provision = _read_provision(settings.pop("provision", None), f"{where}: provision")
    if origin:
        origin = replace(origin, provision={name: provision[name] for name in OF_SOURCES if name in provision})
    read_only = (
        f"{backend.name} cannot be written" if not backend.source.writable else backend.source.why_read_only(source)
    )
    if read_only and unsaid_writes:
        settings["writes"] = unsaid_writes
    settings["writes"] = _read_writes(settings, read_only, where)
    _check_route(settings["route"], backend, source, where)
    if settings["copy_on_read"] and settings["writes"] not in ("overlay", "discard"):
        raise DeclarationError(
            f"{where}: copy_on_read", "has nowhere to keep what was read; say writes: overlay or discard"
        )
    if "renamed_from" in settings and settings["writes"] != "overlay":
        raise DeclarationError(f"{where}: renamed_from", "takes an overlay along, so it is for writes: overlay")
    _check_image(settings, origin, backend, read_only, where)
    if origin and origin.image.identity == backend.source.identity(source):
        raise DeclarationError(f"{where}: source", f"is the disk itself ({origin.described})")
    _check_model(settings, backend, where)
    try:
        backend.source.check_disk(source, settings)
    except DeclarationError as error:
        raise error.within(f"{where}: {backend.name}") from None
    return Disk(name, backend, source, settings, origin, provision)


def _read_origin(given: Any, where: str) -> Disk | None:
    """Another disk, of which only what it takes to read it is said."""
    if given is None:
        return None
    settings = [str(key) for key in given if key not in BACKENDS] if isinstance(given, Mapping) else []
    unknown = [key for key in settings if key not in ORIGIN_OPTIONS]
    if unknown:
        raise DeclarationError(where, f"unknown option {unknown[0]!r}{did_you_mean(unknown[0], ORIGIN_OPTIONS)}")
    return read_image("source", {**given, "read_only": True} if isinstance(given, Mapping) else given, where)


def _read_provision(given: Any, where: str) -> Values:
    if not isinstance(given or {}, Mapping):
        raise DeclarationError(where, "is not a mapping of options")
    return dict(given or {})


def _check_image(settings: Values, origin: Disk | None, backend: Backend, read_only: str, where: str) -> None:
    """Refuse to make or grow what has its size from elsewhere."""
    formatted = settings["format"] != "raw" or "luks" in settings
    if "size" in settings and (read_only or not (backend.source.resizable or formatted)):
        raise DeclarationError(
            f"{where}: size", f"an image on {backend.name} cannot be created or grown here; leave size out"
        )
    if origin and read_only:
        raise DeclarationError(f"{where}: source", f"{read_only}; leave source out")


def _read_source(given: Mapping[str, Any], where: str) -> tuple[Backend, dict[str, Any]]:
    """The one backend of a disk, whether by its key or by a URI, and its options."""
    keys = [key for key in given if key in BACKENDS]
    if len(keys) > 1:
        raise DeclarationError(where, f"exactly one backend is wanted, and there are {' and '.join(keys)}")
    if not keys and "uri" not in given:
        raise DeclarationError(where, _no_backend(given))
    try:
        backend, options = _said_by_uri(given, keys) if "uri" in given else (BACKENDS[keys[0]], given[keys[0]])
    except DeclarationError as error:
        raise error.within(where) from None
    where = f"{where}: {backend.name}"
    source = read_options(backend.options, options, where)
    try:
        backend.source.check(source)
    except DeclarationError as error:
        raise error.within(where) from None
    return backend, source


def _no_backend(given: Mapping[str, Any]) -> str:
    unknown = [str(key) for key in given if key not in {option.name for option in DISK_OPTIONS}]
    hint = f"; {unknown[0]!r} is neither a backend nor an option{did_you_mean(unknown[0], BACKENDS)}" if unknown else ""
    return f"no backend (one of {', '.join(BACKENDS)}, or uri){hint}"


def _said_by_uri(given: Mapping[str, Any], keys: Sequence[str]) -> tuple[Backend, Any]:
    """The backend that a URI names, and the options that it says; under the backend's key stands what it cannot say."""
    backend, said = from_uri(str(given["uri"]))
    if not keys:
        unsaid = [option.name for option in backend.options if option.required and option.name not in said]
        if unsaid:
            example = ", ".join(f"{name}: ..." for name in unsaid)
            raise DeclarationError(
                "uri", f"does not say {' and '.join(unsaid)}; write {backend.name}: {{{example}}} beside it"
            )
        return backend, said
    beside = given[keys[0]]
    if keys != [backend.name]:
        raise DeclarationError("uri", f"names {backend.name}, and {keys[0]} stands beside it")
    if not isinstance(beside, Mapping):
        return backend, beside  # for the table of options to refuse
    for option in backend.options:
        if option.name in said and any(name in beside for name in (option.name, *option.aliases)):
            raise DeclarationError(backend.name, f"{option.name} is given twice, also by the uri")
    return backend, {**said, **beside}


def _read_writes(settings: Values, read_only: str, where: str) -> str:
    said = settings.get("writes")
    if settings.get("read_only"):
        if said not in (None, "deny"):
            raise DeclarationError(f"{where}: read_only", f"contradicts writes: {said}")
        said = "deny"
    if read_only and said in (None, "keep"):
        raise DeclarationError(f"{where}: writes", f"{read_only}: say overlay, discard or deny")
    return str(said or "keep")


def _check_route(wanted: str, backend: Backend, source: Values, where: str) -> None:
    """Refuse a route that does not honour what is declared, and options of which no route honours all."""
    if wanted not in ("auto", *backend.access.routes):
        raise DeclarationError(
            f"{where}: route",
            f"{wanted!r} is no route of {backend.name} (there are: {', '.join(backend.access.routes)})",
        )
    reason = "" if wanted == "auto" else why_unfit(backend, wanted, source)
    if not routes_for(backend, source):
        picky = [option.name for option in backend.options if option.routes and option.name in source]
        reason = f"none of {backend.name} honours {' and '.join(picky)} together"
    if reason:
        raise DeclarationError(f"{where}: route", reason)


def _check_model(settings: Values, backend: Backend, where: str) -> None:
    model = settings["model"]
    virtio = ("virtio-blk", "virtio-scsi")
    for option in ("iothread", "queues"):
        if settings.get(option) and model not in virtio:
            raise DeclarationError(f"{where}: {option}", f"is for {' and '.join(virtio)}, not for {model}")
    if model in PASSTHROUGH:
        _check_passthrough(settings, backend, where)
    if model == "ide" and settings["writes"] == "deny":
        raise DeclarationError(f"{where}: model", "an ide disk cannot be read-only; say model: virtio-blk")
    if model in ("nvme", *PASSTHROUGH) and settings["cache"] == "writethrough":
        raise DeclarationError(f"{where}: cache", f"QEMU's {model} device cannot be told to flush at each write")
    if model in ("nvme", "scsi-generic") and settings["on_error"] != "stop":
        raise DeclarationError(
            f"{where}: on_error", f"QEMU's {model} device reports errors to the guest itself and knows no on_error"
        )


def _check_passthrough(settings: Values, backend: Backend, where: str) -> None:
    """The guest speaks SCSI to the device itself, past all that QEMU would do on the way."""
    model = settings["model"]
    if not backend.access.scsi_passthrough:
        able = " or ".join(name for name, other in BACKENDS.items() if other.access.scsi_passthrough)
        raise DeclarationError(f"{where}: model", f"{model} wants a SCSI device: {able}")
    for option in ("iops", "bps", "luks", "serial"):
        if option in settings:
            raise DeclarationError(
                f"{where}: {option}", f"has no effect on {model}: the guest speaks to the device itself"
            )
    if settings["format"] != "raw" or settings["writes"] != "keep":
        raise DeclarationError(
            f"{where}: model", f"{model} hands the whole device over: format raw and writes keep only"
        )
