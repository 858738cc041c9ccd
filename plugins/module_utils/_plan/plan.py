# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of one VM on one host: its units and credentials, from declaration and capabilities. Pure."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.access import Reach
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import routes_for
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import (
    Credential,
    Identity,
    Object,
    UnitResources,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.pci import pci_places
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm, opened_storage, other_names
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import (
    CapabilityError,
    Collected,
    DeclarationError,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import raise_collected
from ansible_collections.directdisk.qemu.plugins.module_utils._plan import screen, ssh_agent, tpm
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.blockdev import Graph, build_graph
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.command_line import build_argv, seed_node
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.devices import iothread_objects
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.emulator_check import unknown_to_emulator
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.firmware import firmware_of
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.overlays import discarded_path, overlay_of
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.owners import (
    DiskCheck,
    OwnerCommands,
    check_of,
    owner_commands,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.start_check import links_down, start_check
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import VVFAT, Capabilities
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.contract import Opened, Site
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.registry import ROUTES
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.selection import choose_route
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.sandbox import Sandbox, build_sandbox
from ansible_collections.directdisk.qemu.plugins.module_utils._units.service import (
    Command,
    Service,
    grant_access,
    keep_first,
    launcher_of,
    link_commands,
)

OLDEST_SYSTEMD = 247
"""The first version with LoadCredential=, and the oldest that was tested."""

CREDENTIALS_FOR_ALL = 250
"""The first version in which all commands of a unit can read its credentials, not only its main process."""

HEADER_LIMIT = 1023
"""Maximum length of a backing file's name in a qcow2 header, in bytes (QEMU, docs/interop/qcow2.txt)."""


@dataclass(frozen=True)
class PlannedDisk:
    """One disk on this host."""

    disk: Disk
    route: str
    graph: Graph
    opened: Opened
    resources: UnitResources


@dataclass(frozen=True)
class Plan:
    """The plan of one VM on one host."""

    vm: Vm
    services: tuple[Service, ...]
    disks: tuple[PlannedDisk, ...]
    warnings: tuple[str, ...] = ()


def make_plan(vm: Vm, capabilities: Capabilities, kept: Mapping[str, str] | None = None) -> Plan:
    """Plan a VM; raise every reason why this host cannot run it.

    kept: the places of devices in the unit that the host has, by their ids.
    """
    return _Planner(vm, capabilities, kept or {}).plan()


class _Planner:
    """Collects the requirements of the disks, networks and settings of one VM."""

    def __init__(self, vm: Vm, capabilities: Capabilities, kept: Mapping[str, str]) -> None:
        self.vm = vm
        self.kept = kept
        self.capabilities = capabilities
        self.unit = paths.unit_name(vm.name)
        self.helpers: list[Service] = []
        self.disks: list[PlannedDisk] = []
        self.warnings: list[str] = []
        self.objects: list[Object] = []
        self.credentials: dict[str, Credential] = {}
        self.asks: list[Command] = []
        self.before: list[Command] = []
        self.after: list[Command] = []
        self.reaches: list[tuple[Reach, bool]] = []
        self.staged: list[tuple[str, str]] = []
        self.identities: dict[str, Identity] = {}
        self.checks: list[DiskCheck] = []

    def plan(self) -> Plan:
        errors: list[Exception] = []
        for step in (self._check_host, *(lambda disk=disk: self._add_disk(disk) for disk in self.vm.disks)):
            try:
                step()
            except (DeclarationError, Collected) as error:
                errors.append(error)
        raise_collected(errors)
        if self.identities:
            self.helpers += ssh_agent.agent_services(self.vm.name, self.identities, self.vm.settings["start_timeout"])
        if self.vm.settings["tpm"]:
            self.helpers.append(tpm.tpm_service(self.vm, self.capabilities))
        service = self._vm_service()
        self._check_credentials([*self.helpers, service])
        return Plan(self.vm, (*self.helpers, service), tuple(self.disks), tuple(self.warnings))

    def _check_host(self) -> None:
        where = f"vm {self.vm.name}"
        if self.capabilities.systemd < OLDEST_SYSTEMD:
            installed = self.capabilities.systemd
            raise CapabilityError(where, f"its unit requires systemd {OLDEST_SYSTEMD}, and this host has {installed}")
        if self.vm.settings["accel"] == "kvm" and self.capabilities.kvm:
            raise CapabilityError(
                f"{where}: accel",
                f"kvm does not work on this host ({self.capabilities.kvm}); enable it, or set accel: tcg",
            )
        firmware_of(self.vm, self.capabilities)
        tpm.check(self.vm, self.capabilities)
        raise_collected([*unknown_to_emulator(self.vm, self.capabilities)])

    def _check_credentials(self, services: Sequence[Service]) -> None:
        """Refuse units with credentials and other commands on a systemd that fails such commands."""
        for service in services:
            if self.capabilities.systemd < CREDENTIALS_FOR_ALL and service.credentials and service.before:
                raise CapabilityError(
                    f"vm {self.vm.name}",
                    f"its unit {service.name} has secrets and runs {service.before[0].argv[0]} before it starts, which "
                    f"requires systemd 250, and this host has {self.capabilities.systemd}",
                )

    def _add_disk(self, disk: Disk) -> None:
        where = f"disk {disk.name} of {self.vm.name}"
        resources = self._resources(self.unit, disk.name)
        try:
            route, warning = choose_route(disk, self.capabilities)
            site = Site(self.vm.name, resources, self.vm.settings["start_timeout"], self.capabilities)
            opened = ROUTES[route].open(disk, site)
        except DeclarationError as error:
            raise error.within(where) from None
        if warning:
            self.warnings.append(f"{where}: {warning}")
        graph = build_graph(disk, opened.node, resources, self._overlay_path(disk))
        check = check_of(disk, self.vm, resources)
        self.checks += [check] if check else []
        self.helpers += opened.services
        self.asks += opened.asks
        self.staged += opened.bound
        self.reaches.append((opened.reach, disk.writes == "keep"))
        self.disks.append(PlannedDisk(disk, route, graph, opened, resources))
        self._use(resources)
        if graph.overlay:
            self._prepare_overlay(disk, graph, resources, where)

    def _resources(self, unit: str, prefix: str) -> UnitResources:
        return UnitResources(unit, prefix, paths.runtime_directory(self.vm.name))

    def _use(self, resources: UnitResources) -> None:
        """Add the resources of a disk's nodes to the unit."""
        self.objects += resources.objects
        self.credentials.update(resources.credentials)
        self.before += link_commands(resources)
        self.identities.update(resources.identities)

    def _overlay_path(self, disk: Disk) -> str:
        if disk.writes == "discard":
            return discarded_path(self.vm.name, disk.name)
        return overlay_of(disk).path(self.vm.name)

    def _prepare_overlay(self, disk: Disk, graph: Graph, resources: UnitResources, where: str) -> None:
        """Create a qcow2 of the base's size at every start; a persistent overlay only if it does not exist."""
        length = len(graph.backing.encode())
        if length > HEADER_LIMIT:
            raise CapabilityError(
                where,
                f"its options have {length} bytes, and an overlay can name a base of {HEADER_LIMIT} bytes; "
                "shorten its url or path, or name fewer servers",
            )
        persistent = disk.writes == "overlay"
        if persistent and "renamed_from" in disk.settings:
            former = overlay_of(disk, disk.settings["renamed_from"]).path(self.vm.name)
            self.before.append(Command(("/bin/mv", "--no-clobber", former, graph.overlay), optional=True))
        path = f"{graph.overlay}.new" if persistent else graph.overlay
        objects = [
            part for one in resources.objects if one.kind != "throttle-group" for part in ("--object", one.argument)
        ]
        driver = graph.base_nodes()[-1]["driver"]
        self.before.append(
            Command(
                (
                    self.capabilities.qemu_img,
                    "create",
                    "-q",
                    "-f",
                    "qcow2",
                    *objects,
                    "-F",
                    driver,
                    "-b",
                    graph.backing,
                    path,
                )
            )
        )
        if persistent:
            self.before += keep_first(path, graph.overlay)

    def _vm_service(self) -> Service:
        vm, settings = self.vm, self.vm.settings
        firmware = firmware_of(vm, self.capabilities)
        self.before += firmware.commands() if firmware else []
        seed = self._prepare_seed()
        taps = {one.name: self._prepare_tap(one.name, one.bridge) for one in vm.networks if one.bridge}
        vnc_secret = self._prepare_vnc()
        owners = self._owner_commands()
        graphs = {planned.disk.name: planned.graph for planned in self.disks}
        args = build_argv(
            vm,
            binary=self.capabilities.emulator,
            places=pci_places(settings, vm.drives, [network.name for network in vm.networks], self.kept),
            graphs=[(drive, graphs.get(drive.name)) for drive in vm.drives],
            objects=[*iothread_objects(vm.disks), *(one.argument for one in self.objects)],
            firmware=firmware,
            taps=taps,
            seed=seed,
            vnc_secret=vnc_secret,
        )
        granted, taken = grant_access(self.unit, paths.user_name(vm.name), self.reaches)
        sandbox = self._sandbox(bool(taps))
        # Without a filter of addresses QEMU follows every redirect.
        asks = self.asks if sandbox.addresses and self._before_reads_credentials() else ()
        return Service(
            name=self.unit,
            template="vm.service.j2",
            vm=vm.name,
            description=f"Virtual machine {vm.name}",
            args=args,
            launcher=launcher_of(self.capabilities.family),
            sandbox=sandbox,
            credentials=self.credentials,
            start_timeout=settings["start_timeout"],
            stop_timeout=settings["stop_timeout"],
            restart="always" if settings["on_poweroff"] == "restart" else "on-failure",
            environment={"SSH_AUTH_SOCK": ssh_agent.socket_path(vm.name)} if self.identities else {},
            before=(*granted, *asks, *self.before, *owners.before),
            once_open=owners.once_open,
            after=(*owners.after, *self.after, *taken),
            helpers=tuple(helper.name for helper in self.helpers),
            opened=opened_storage(vm),
            links_down=tuple(links_down(vm)),
            spellings=other_names(vm),
            start_check=start_check(
                vm, [(one.disk, one.graph) for one in self.disks], asks_owners=bool(owners.once_open)
            ),
        )

    def _owner_commands(self) -> OwnerCommands:
        """Return the commands before the start, if they can read credentials, and after QEMU has opened the disks."""
        return owner_commands(self.vm, self.checks, credentials=self._before_reads_credentials())

    def _before_reads_credentials(self) -> bool:
        """Return True if commands before QEMU can read the unit's credentials, or there are none."""
        return self.capabilities.systemd >= CREDENTIALS_FOR_ALL or not self.credentials

    def _sandbox(self, uses_taps: bool) -> Sandbox:
        settings = self.vm.settings
        guests_traffic = any(not network.bridge for network in self.vm.networks)
        try:
            return build_sandbox(
                self.reaches,
                directory=paths.directory_name(self.vm.name),
                replace_trust=True,
                trust_store=self.capabilities.trust_store,
                kvm=settings["accel"] == "kvm",
                tun=uses_taps,
                staged=self.staged,
                grows=bool(settings["hotplug_ports"]),
                open_because="its user network carries the guest's own traffic"
                if guests_traffic
                else "its screen is served over TCP"
                if "port" in (settings.get("vnc") or {})
                else "",
            )
        except DeclarationError as error:
            raise error.within(f"vm {self.vm.name}") from None

    def _prepare_seed(self) -> Node | None:
        """Return the node of cloud-init's seed."""
        if not self.vm.seed:
            return None
        resources = self._resources(self.unit, "machine")
        folder = resources.directory(
            "seed", {name: resources.credential(name, text) for name, text in self.vm.seed.items()}
        )
        self._use(resources)
        image = f"{folder}.img" if self.capabilities.drivers.get(VVFAT) else ""
        if image:
            self.before.append(Command((*paths.PYTHON, paths.SEED_PROGRAM, folder, image)))
        return seed_node(folder, image)

    def _prepare_vnc(self) -> str:
        if not screen.has_password(self.vm):
            return ""
        if self.capabilities.release < (6, 1):
            raise CapabilityError(f"vm {self.vm.name}: vnc: password", "needs QEMU 6.1, and this host has an older one")
        resources = self._resources(self.unit, "machine")
        secret = resources.secret(screen.PASSWORD, self.vm.settings["vnc"]["password"])
        self._use(resources)
        return secret

    def _prepare_tap(self, network: str, bridge: str) -> str:
        """Add a tap device that belongs to the VM's user, from before the start until after the stop."""
        tap = tap_name(self.vm.name, network)
        user = paths.user_name(self.vm.name)
        program = (*paths.PYTHON, paths.TAP_PROGRAM)
        self.before.append(Command((*program, "add", tap, user, bridge), privileged=True))
        self.after.append(Command((*program, "remove", tap, user), privileged=True, optional=True))
        return tap


def declared_credentials(vm: Vm) -> dict[tuple[str, str], str]:
    """Return every secret text of a VM, by owner and name of its credential, for all routes that its disks may take."""
    owner = paths.owner_name(vm.name)
    declared: dict[tuple[str, str], Credential] = {}
    vm_resources = UnitResources("", "machine", "")
    for name, text in vm.seed.items():
        vm_resources.credential(name, text)
    if screen.has_password(vm):
        vm_resources.secret(screen.PASSWORD, vm.settings["vnc"]["password"])
    all_resources, identities = [vm_resources], dict[str, Identity]()
    services: list[Service] = []
    for disk in vm.disks:
        resources = UnitResources("", disk.name, "")
        for route in routes_for(disk.backend, disk.source):
            # A route that cannot serve the disk is an error only if it is chosen.
            with contextlib.suppress(DeclarationError):
                opened = ROUTES[route].open(disk, Site(vm.name, resources))
                build_graph(disk, opened.node, resources, "")
                services += opened.services
        all_resources.append(resources)
        identities.update(resources.identities)
    if identities:
        services += ssh_agent.agent_services(vm.name, identities, 0)
    for credentials, of in (
        *((resources.credentials, owner) for resources in all_resources),
        *((service.credentials, service.owner) for service in services),
    ):
        declared.update({(of, name): credential for name, credential in credentials.items()})
    return {key: credential.value for key, credential in declared.items() if credential.value is not None}


def tap_name(vm: str, network: str) -> str:
    """Return the name of a tap device: readable if it fits into the kernel's 15 characters, otherwise a digest."""
    name = f"{vm}.{network}"
    return name if len(name) <= 15 else "vm" + hashlib.sha256(name.encode()).hexdigest()[:13]


def describe_plan(plan: Plan) -> list[dict[str, Any]]:
    """Return the disks of a plan as plain rows, for results and tables."""
    return [
        {
            "disk": planned.disk.name,
            "backend": planned.disk.backend.name,
            "storage": planned.disk.backend.source.describe(planned.disk.source),
            "route": planned.route,
            "format": planned.disk.settings["format"],
            "writes": planned.disk.writes,
            "node": planned.graph.top,
        }
        for planned in plan.disks
    ]
