# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host can do, as its probe reported it, and which route a disk takes there. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils import _nbdkit
from ansible_collections.directdisk.qemu.plugins.module_utils._backend import Backend, Option, Values, Version
from ansible_collections.directdisk.qemu.plugins.module_utils._backends import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration import Disk, Machine
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import CapabilityError, DeclarationError

EMULATOR_PACKAGES = {
    "debian": ("qemu-system-x86", "qemu-utils"),
    "redhat": ("qemu-kvm-core", "qemu-img"),
    "fedora": ("qemu-system-x86-core", "qemu-img"),
    "suse": ("qemu-x86", "qemu-tools"),
    "arch": ("qemu-system-x86", "qemu-img"),
}
FIRMWARE_PACKAGES = {
    "debian": ("ovmf",),
    "redhat": ("edk2-ovmf",),
    "fedora": ("edk2-ovmf",),
    "suse": ("qemu-ovmf-x86_64",),
    "arch": ("edk2-ovmf",),
}


@dataclass(frozen=True)
class Capabilities:
    """One host, as probed. A reason is empty where the thing works."""

    family: str = ""
    """OS family of the packages: debian, redhat, fedora, suse or arch."""
    emulator: str = ""
    qemu_img: str = ""
    version: tuple[int, ...] = ()
    drivers: Mapping[str, str] = field(default_factory=dict)
    """Reason why a block driver does not work."""
    nbdkit: Mapping[str, str] = field(default_factory=dict)
    """Reason why an nbdkit plugin or filter does not work."""
    programs: Mapping[str, str] = field(default_factory=dict)
    """Paths of other programs that backends need; empty where one is not there."""
    kvm: str = "not probed"
    uefi: Mapping[str, str] = field(default_factory=dict)
    """Paths of the firmware's ``code`` and ``vars`` images; empty where there is none."""
    systemd: int = 0
    encrypts: bool = False
    """Whether systemd-creds can encrypt credentials at rest."""
    trust_store: str = ""
    """The bundle of certificate authorities that the host's TLS libraries read."""

    @classmethod
    def from_probe(cls, probed: Mapping[str, Any]) -> Capabilities:
        """From the probe's JSON."""
        return cls(**{**probed, "version": tuple(probed["version"])})

    @property
    def release(self) -> Version:
        """Major and minor version of QEMU."""
        return (self.version[0], self.version[1]) if len(self.version) > 1 else (0, 0)


def packages_for(backend: Backend, route: str, family: str) -> tuple[str, ...]:
    """The packages with which a route to a backend works on an OS family."""
    return _nbdkit.PACKAGES.get(family, ()) if route == "nbdkit" else backend.packages.get(family, ())


def why_not(backend: Backend, route: str, capabilities: Capabilities) -> str:
    """Why a route to a backend does not work on this host; empty where it does."""
    if not capabilities.emulator:
        return "this host has no QEMU emulator" + _advice(EMULATOR_PACKAGES.get(capabilities.family, ()))
    if route == "driver":
        packages = packages_for(backend, route, capabilities.family)
        reason = capabilities.drivers.get(backend.driver, "was not probed")
        if reason:
            return f"this QEMU has no {backend.driver} driver ({reason})" + _advice(packages)
        missing = [program for program in backend.programs if not capabilities.programs.get(program)]
        return f"this host has no {missing[0]}" + _advice(packages) if missing else ""
    for part in backend.nbdkit_parts:
        reason = capabilities.nbdkit.get(part, "nbdkit is not installed")
        if reason:
            return f"nbdkit cannot serve {backend.name} ({reason})" + _advice(
                packages_for(backend, route, capabilities.family)
            )
    return ""


def _advice(packages: Iterable[str]) -> str:
    names = " ".join(packages)
    return f"; install {names} (role storage_client)" if names else ""


def flaw(backend: Backend, route: str, release: Version) -> str:
    """What is known to go wrong with a route on a release of QEMU."""
    return next((f.why for f in backend.flaws if f.route == route and f.first <= release <= f.last), "")


def route_order(backend: Backend, release: Version) -> list[str]:
    """The backend's routes in the order in which auto tries them: known-bad ones last."""
    return sorted(backend.routes, key=lambda route: bool(flaw(backend, route, release)))


def preferred_routes(backend: Backend, wanted: str, capabilities: Capabilities) -> list[str]:
    """The routes to make ready for a disk: the best one, or all while QEMU's release is still unknown."""
    if wanted != "auto":
        return [wanted]
    order = route_order(backend, capabilities.release)
    return order[:1] if capabilities.emulator else order


def choose_route(disk: Disk, capabilities: Capabilities) -> tuple[str, str]:
    """The route of a disk, and a warning about it; raises CapabilityError where none works."""
    backend, wanted = disk.backend, disk.settings["route"]
    routes = route_order(backend, capabilities.release) if wanted == "auto" else [wanted]
    reasons = []
    for route in routes:
        reason = why_not(backend, route, capabilities) or _too_new(disk, route, capabilities.release)
        if not reason:
            return route, _route_warning(disk, route, capabilities.release)
        reasons.append(reason if len(routes) == 1 else f"route {route}: {reason}")
    raise CapabilityError(disk.described, "; ".join(reasons))


def _route_warning(disk: Disk, route: str, release: Version) -> str:
    bad = flaw(disk.backend, route, release)
    if bad:
        return f"route {route}: {bad}"
    ignored = [name for name in disk.backend.driver_only if name in disk.source] if route != "driver" else []
    return f"route {route}: {', '.join(ignored)} has no effect" if ignored else ""


def _too_new(disk: Disk, route: str, release: Version) -> str:
    """Which declared option this QEMU is too old for; only its own driver minds."""
    return _first_too_new(disk.backend.options, disk.source, release) if route == "driver" else ""


def _first_too_new(options: Iterable[Option], values: Values, release: Version) -> str:
    for option in options:
        if option.name not in values:
            continue
        if option.since and release < option.since:
            since, found = ".".join(map(str, option.since)), ".".join(map(str, release))
            return f"{option.name} needs QEMU {since}, and this host has {found}"
        inner = _first_too_new(option.options, values[option.name], release) if option.options else ""
        if inner:
            return inner
    return ""


def requirements(machines: Iterable[Machine]) -> dict[str, Any]:
    """The routes to backends, and the firmware, that machines need of their host."""
    present = [machine for machine in machines if machine.state != "absent"]
    routes = sorted({(disk.backend.name, disk.settings["route"]) for machine in present for disk in machine.disks})
    return {
        "routes": [{"backend": backend, "route": route} for backend, route in routes],
        "uefi": any(machine.settings["firmware"] == "uefi" for machine in present),
    }


def missing(requires: Mapping[str, Any], capabilities: Capabilities) -> tuple[list[str], list[str]]:
    """What required routes and firmware lack on this host, in words, and the packages that would bring it."""
    words: list[str] = []
    packages: list[str] = []
    if not capabilities.emulator:
        emulator = EMULATOR_PACKAGES.get(capabilities.family, ())
        words.append(f"this host has no QEMU emulator{_advice(emulator)}")
        packages += emulator
    for required in requires.get("routes") or ():
        backend = BACKENDS.get(required["backend"])
        if backend is None:
            raise DeclarationError("requires", f"there is no backend {required['backend']!r}")
        for route in preferred_routes(backend, required["route"], capabilities):
            reason = why_not(backend, route, capabilities)
            if reason:
                words.append(f"{backend.name} by route {route}: {reason}")
                packages += packages_for(backend, route, capabilities.family)
    if requires.get("uefi") and not capabilities.uefi:
        words.append("firmware uefi: this host has none for x86_64")
        packages += FIRMWARE_PACKAGES.get(capabilities.family, ())
    return list(dict.fromkeys(words)), list(dict.fromkeys(packages))
