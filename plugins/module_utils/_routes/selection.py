# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The selection of a disk's route on a host, and the packages that a host lacks for its routes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypedDict

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend, routes_for, why_unfit
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import CapabilityError, DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option, Version
from ansible_collections.directdisk.qemu.plugins.module_utils._routes import stage
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.registry import ROUTES

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
TPM_PACKAGES = dict.fromkeys(("debian", "redhat", "fedora", "suse", "arch"), ("swtpm",))


def why_not(backend: Backend, route: str, capabilities: Capabilities, values: Values | None = None) -> str:
    """Return why a route to a backend does not work on this host, for these values; empty if it works."""
    if not capabilities.emulator:
        return "this host has no QEMU emulator" + advice(EMULATOR_PACKAGES.get(capabilities.family, ()))
    reason = ROUTES[route].why_not(backend, backend.source.sample if values is None else values, capabilities)
    packages = ROUTES[route].packages(backend, capabilities.family)
    if reason and not packages and capabilities.family in EMULATOR_PACKAGES:
        return f"{reason}; no package of this distribution is known to bring it"
    return reason and reason + advice(packages)


def advice(packages: Iterable[str]) -> str:
    names = " ".join(packages)
    return f"; install {names} (role storage_client)" if names else ""


def flaw(backend: Backend, route: str, release: Version) -> str:
    """Return the known flaw of a route on a release of QEMU."""
    return next((f.why for f in backend.access.flaws if f.route == route and f.since <= release), "")


def _ruled_out(backend: Backend, route: str, values: Values, release: Version) -> str:
    """Return why a route cannot serve the declared disk, whatever the host has installed; empty if it can."""
    access = backend.access
    if route == "driver" and access.driver_until and release >= access.driver_until:
        return f"QEMU has no {access.driver} driver any more since {'.'.join(map(str, access.driver_until))}"
    return why_unfit(backend, route, values)


def route_order(backend: Backend, values: Values, release: Version) -> list[str]:
    """Return the routes to the declared disk in the order in which auto tries them: those with a flaw last."""
    routes = [route for route in backend.access.routes if not _ruled_out(backend, route, values, release)]
    return sorted(routes, key=lambda route: bool(flaw(backend, route, release)))


def preferred_routes(backend: Backend, declared: str, capabilities: Capabilities) -> list[str]:
    """Return the routes to install for a disk: the best one, or all while QEMU's release is unknown."""
    if declared != "auto":
        return [declared]
    order = route_order(backend, backend.source.sample, capabilities.release)
    if not capabilities.emulator:
        return order
    # Another one where nothing that can be installed makes the best one work.
    possible = [
        r for r in order if not why_not(backend, r, capabilities) or ROUTES[r].packages(backend, capabilities.family)
    ]
    return (possible or order)[:1]


def choose_route(disk: Disk, capabilities: Capabilities) -> tuple[str, str]:
    """Return the route of a disk, and a warning about it; raise CapabilityError if no route works."""
    backend, declared = disk.backend, disk.settings["route"]
    routes = route_order(backend, disk.source, capabilities.release) if declared == "auto" else [declared]
    reasons = {}
    for route in routes:
        reason = why_not(backend, route, capabilities, disk.source) or _too_new(disk, route, capabilities.release)
        if not reason:
            return route, _route_warning(disk, route, capabilities.release)
        reasons[route] = reason
    if len(routes) == 1:
        raise CapabilityError(disk.described, reasons[routes[0]])
    reasons = reasons or {r: _ruled_out(backend, r, disk.source, capabilities.release) for r in backend.access.routes}
    raise CapabilityError(disk.described, "; ".join(f"route {route}: {reason}" for route, reason in reasons.items()))


def _route_warning(disk: Disk, route: str, release: Version) -> str:
    bad = flaw(disk.backend, route, release)
    if bad:
        return f"route {route}: {bad}"
    if not ROUTES[route].grows and disk.backend.source.resizable and _grows(disk):
        return f"route {route}: its file does not grow, so that the guest is paused once it is full; use a raw image"
    ignored = [name for name in disk.backend.access.driver_only if name in disk.source] if route != "driver" else []
    return f"route {route}: {', '.join(ignored)} has no effect" if ignored else ""


def _grows(disk: Disk) -> bool:
    return str(disk.settings["format"]) != "raw" and str(disk.settings["writes"]) == "keep"


def _too_new(disk: Disk, route: str, release: Version) -> str:
    """Return the declared option for which this QEMU is too old; only the route driver depends on its release."""
    return _first_too_new(disk.backend.options, disk.source, release) if route == "driver" else ""


def _first_too_new(options: Iterable[Option], values: Values, release: Version) -> str:
    for option in options:
        if option.name not in values:
            continue
        needed, what = _needed_by(option, values[option.name])
        if needed and release < needed:
            since, installed = ".".join(map(str, needed)), ".".join(map(str, release))
            return f"{what} needs QEMU {since}, and this host has {installed}"
        inner = _first_too_new(option.options, values[option.name], release) if option.options else ""
        if inner:
            return inner
    return ""


def _needed_by(option: Option, value: Any) -> tuple[Version | None, str]:
    """Return the first QEMU that has an option with this value, and the name of the option."""
    if option.choices_since and value in option.choices_since:
        return option.choices_since[value], f"{option.name} {value}"
    return option.since, option.name


def _required_route(disk: Disk) -> str:
    """Return the declared route; for auto, the only route that can serve the disk, if there is one."""
    declared, possible = str(disk.settings["route"]), routes_for(disk.backend, disk.source)
    return possible[0] if declared == "auto" and len(possible) == 1 < len(disk.backend.access.routes) else declared


class RequiredRoute(TypedDict):
    """A route to a backend, or auto for the best one."""

    backend: str
    route: str


class Requirements(TypedDict, total=False):
    """Requirements of VMs to their host."""

    routes: list[RequiredRoute]
    kept: list[str]
    """Backends whose images are managed."""
    uefi: bool
    secure_boot: bool
    tpm: bool


def requirements(vms: Iterable[Vm]) -> Requirements:
    """Return the routes to backends, the bindings for their images, and what else VMs require of their host."""
    present = [vm for vm in vms if vm.state != "absent"]
    disks = [disk for vm in present for disk in vm.disks]
    sources = [disk.origin for disk in disks if disk.origin]
    kept = [disk for disk in disks if disk.kept]
    routes = {(disk.backend.name, _required_route(disk)) for disk in (*disks, *sources)}
    # curl reads the server's description of an image that is copied or kept, whatever route reads the image.
    routes |= {(disk.backend.name, stage.ROUTE.name) for disk in (*sources, *kept) if disk.backend.access.stage}
    return {
        "routes": [{"backend": backend, "route": route} for backend, route in sorted(routes)],
        "kept": sorted({disk.backend.name for disk in kept}),
        "uefi": any(vm.settings["firmware"] == "uefi" and not vm.settings["secure_boot"] for vm in present),
        "secure_boot": any(vm.settings["secure_boot"] for vm in present),
        "tpm": any(vm.settings["tpm"] for vm in present),
    }


def _backend(name: str) -> Backend:
    if name not in BACKENDS:
        raise DeclarationError("requires", f"there is no backend {name!r} (there are: {', '.join(sorted(BACKENDS))})")
    return BACKENDS[name]


def _checked_route(backend: Backend, route: str) -> str:
    if route not in ("auto", *backend.access.routes):
        there_are = ", ".join(("auto", *backend.access.routes))
        raise DeclarationError("requires", f"{backend.name} has no route {route!r} (there are: {there_are})")
    return route


def missing(requires: Requirements, capabilities: Capabilities) -> tuple[list[str], list[str]]:
    """Return descriptions of what is required and missing on this host, and the packages that provide it."""
    lacks: list[str] = []
    packages: list[str] = []
    if not capabilities.emulator:
        emulator = EMULATOR_PACKAGES.get(capabilities.family, ())
        lacks.append(f"this host has no QEMU emulator{advice(emulator)}")
        packages += emulator
    for required in requires.get("routes") or ():
        backend = _backend(required["backend"])
        for route in preferred_routes(backend, _checked_route(backend, required["route"]), capabilities):
            reason = why_not(backend, route, capabilities)
            if reason:
                lacks.append(f"{backend.name} by route {route}: {reason}")
                packages += ROUTES[route].packages(backend, capabilities.family)
    for name in requires.get("kept") or ():
        backend, reason = _backend(name), capabilities.bindings.get(name, "")
        if reason:
            bringing = backend.packages.python.get(capabilities.family, ())
            lacks.append(f"images of {name}: {reason}{advice(bringing)}")
            packages += bringing
    if requires.get("uefi") and not capabilities.uefi:
        lacks.append("firmware uefi: this host has none for x86_64")
        packages += FIRMWARE_PACKAGES.get(capabilities.family, ())
    if requires.get("secure_boot") and not capabilities.secure_boot:
        lacks.append("secure_boot: this host has no UEFI firmware with Secure Boot and enrolled keys for x86_64")
        packages += FIRMWARE_PACKAGES.get(capabilities.family, ())
    if requires.get("tpm") and not capabilities.programs.get("swtpm"):
        lacks.append("tpm: this host has no swtpm")
        packages += TPM_PACKAGES.get(capabilities.family, ())
    return list(dict.fromkeys(lacks)), list(dict.fromkeys(packages))
