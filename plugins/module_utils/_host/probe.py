# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# pylint: disable=ansible-bad-function
"""The probe of a host's capabilities, with the programs that will run its VMs.

QEMU is given valid arguments for a driver with an invalid node name. Only a driver that loads reports the name as the
error. No storage is opened, and no network is used.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from typing import Any, NamedTuple

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError, QmpError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import files as host_files
from ansible_collections.directdisk.qemu.plugins.module_utils._host.bindings import why_none
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.emulator_check import DEVICES
from ansible_collections.directdisk.qemu.plugins.module_utils._process import privileges
from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import SYSTEM_PATH, text_of
from ansible_collections.directdisk.qemu.plugins.module_utils._routes import nbdkit
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import (
    PINS,
    VVFAT,
    ProbedCapabilities,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.registry import ROUTES

EMULATORS = ("/usr/bin/qemu-system-x86_64", "/usr/libexec/qemu-kvm")
TRUST_STORES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem")
_ARCHITECTURES = ("x86_64", "i386", "i586", "i686")
"""Names of the architecture (uname(2)); a 32-bit Python on a 64-bit host may get another one than the host has."""
CACHE = "/var/cache/qemu-vms/capabilities.json"
_TGT_MODULES = ("/usr/lib/tgt/backing-store", "/usr/lib64/tgt/backing-store")
BAD_NODE_NAME = "bad name!"
_NOT_IN_HELP = {"-M": True, "-qtest": True, "-qtest-log": True}
"""Options that QEMU knows and its help does not list (qemu-options.hx); all take a value."""
_HELP_LINE = re.compile(r"^(-[\w-]+(?:(?:/| or )-[\w-]+)*)( \S)?", re.M)
"""An option of QEMU's help. One space stands before its value, several before an explanation."""

# A change of one of these invalidates the cache: programs, loadable modules, firmware, the package database.
_WATCHED = (
    *EMULATORS,
    "/usr/bin/qemu-img",
    *nbdkit.PLACES,
    "/usr/bin/systemd-creds",
    "/usr/bin/setfacl",
    "/usr/bin/curl",
    "/usr/bin/ssh-agent",
    "/usr/sbin/tgtd",
    "/usr/lib*/tgt/backing-store/*",
    "/usr/bin/systemctl",
    "/dev/kvm",
    "/usr/lib/*/qemu",
    "/usr/lib/qemu",
    "/usr/lib64/qemu*",
    "/usr/lib/*/nbdkit/*",
    "/usr/lib64/nbdkit/*",
    "/usr/lib/nbdkit/*",
    "/usr/share/qemu/firmware",
    "/etc/ld.so.cache",
    "/var/lib/dpkg/status",
    "/var/lib/rpm/rpmdb.sqlite",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/var/lib/pacman/local",
    *TRUST_STORES,
    "/etc/os-release",
)

_KVM_TEST = (
    "import fcntl,os; f=os.open('/dev/kvm',os.O_RDWR); fcntl.ioctl(f,0xAE00,0); os.close(fcntl.ioctl(f,0xAE01,0))"
)


def probe(*, fresh: bool = False) -> ProbedCapabilities:
    """Return the host's capabilities; from the cache if nothing has changed since, unless fresh is set.

    Raise HostError on a host of another architecture, before anybody installs a package on it.
    """
    _refuse_architecture()
    key = _cache_key()
    if not fresh:
        cached = _read_cache()
        if cached.get("key") == key:
            capabilities: ProbedCapabilities = cached["capabilities"]
            return capabilities
    capabilities = _probe()
    if not privileges.is_root():
        return capabilities  # what this user may do, which others must not take for theirs
    host_files.make_folder(os.path.dirname(CACHE))
    host_files.write_atomically(CACHE, json.dumps({"key": key, "capabilities": capabilities}), mode=0o644)
    return capabilities


def _refuse_architecture() -> None:
    machine = os.uname().machine
    if machine not in _ARCHITECTURES:
        raise HostError(
            f"this host is of architecture {machine}, and the collection runs VMs on x86_64 hosts only; nothing was "
            "changed or installed. Take the host out of the group, or out of the run with --limit"
        )


def _cache_key() -> str:
    facts: list[Any] = [*_questions(), [backend.source.sample for backend in BACKENDS.values()]]
    for pattern in _WATCHED:
        for path in sorted(glob.glob(pattern)):
            try:
                status = os.stat(path)
            except OSError:
                continue
            facts.append((path, status.st_ino, status.st_size, status.st_mtime_ns))
    return hashlib.sha256(json.dumps(facts, default=list).encode()).hexdigest()


def _questions() -> list[Any]:
    """Return what the probe depends on besides the samples: the cache is invalid if it has changed."""
    backends = [
        (b.name, b.access.nbdkit_plugins, b.access.tgt_module, b.packages.python_modules) for b in BACKENDS.values()
    ]
    return [text_of(sys.modules[__name__]), PINS, sorted(_programs()), sorted(backends), sorted(DEVICES)]


def _read_cache() -> dict[str, Any]:
    try:
        with open(CACHE, encoding="utf-8") as stream:
            cached = json.load(stream)
    except (OSError, ValueError):
        return {}
    return cached if isinstance(cached, dict) else {}


def _probe() -> ProbedCapabilities:
    emulator = next(filter(os.path.exists, EMULATORS), "")
    answers = _probe_emulator(emulator) if emulator else _Answers([], {}, [], [], [], [])
    return {
        "family": _family(),
        "emulator": emulator,
        "qemu_img": shutil.which("qemu-img") or "",
        "version": answers.version,
        "drivers": answers.drivers,
        "machines": answers.machines,
        "no_devices": answers.no_devices,
        "cpu_models": answers.cpu_models,
        "cpu_features": answers.cpu_features,
        "emulator_options": _emulator_options(emulator) if emulator else {},
        "nbdkit": _probe_nbdkit(),
        "tgt": {backend.name: _why_no_tgt(backend) for backend in BACKENDS.values() if backend.access.tgt},
        "bindings": {
            backend.name: why_none(backend.packages.python_modules)
            for backend in BACKENDS.values()
            if backend.packages.python_modules
        },
        "programs": {program: shutil.which(program, path=SYSTEM_PATH) or "" for program in _programs()},
        "kvm": _probe_kvm(),
        "uefi": _probe_firmware(secure_boot=False),
        "secure_boot": _probe_firmware(secure_boot=True),
        "systemd": _systemd_version(),
        "encrypts": bool(shutil.which("systemd-creds")),
        "trust_store": next(filter(os.path.exists, TRUST_STORES), ""),
    }


class _Answers(NamedTuple):
    """The answers of QEMU's monitor."""

    version: list[int]
    drivers: dict[str, str]
    """By driver of a backend, the reason why it does not work."""
    machines: list[str]
    no_devices: list[str]
    cpu_models: list[str]
    cpu_features: list[str]


def _probe_emulator(emulator: str) -> _Answers:
    """Ask a QEMU without a VM."""
    ours, theirs = socket.socketpair()
    command = [emulator, "-machine", "none", "-accel", "tcg", "-nodefaults", "-display", "none", "-qmp", "stdio"]
    theirs_fd = theirs.fileno()
    with (
        ours,
        subprocess.Popen(command, stdin=theirs_fd, stdout=theirs_fd, stderr=subprocess.PIPE, text=True) as process,
    ):
        theirs.close()
        try:
            monitor = Monitor(ours, seconds=30)
            release = monitor.execute("query-version")["qemu"]
            replies = {b.access.driver: _offer(monitor, b) for b in BACKENDS.values() if b.access.driver}
            replies[VVFAT] = _offer_node(monitor, {"driver": VVFAT, "dir": "/", "read-only": True})
            machines = _boards(monitor.try_execute("query-machines"))
            # Also those of modules that are not loaded yet.
            devices = _names(monitor.try_execute("qom-list-types", {"implements": "device", "abstract": False}))
            models = _names(monitor.try_execute("query-cpu-definitions"))
            # The model "max" has every feature. QEMU replaces "_" in what it reads.
            features = _names(monitor.try_execute("device-list-properties", {"typename": "max-x86_64-cpu"}))
            monitor.execute("quit")
        except QmpError as error:
            process.kill()
            output = process.communicate()[1].strip()
            raise HostError(f"{emulator} cannot be probed: {error}; {output[-500:]}") from None
        output = process.communicate(timeout=30)[1]
    drivers = {driver: reason and _with_stderr(driver, reason, output) for driver, reason in replies.items()}
    version = [release["major"], release["minor"], release["micro"]]
    lacking = sorted(DEVICES - set(devices)) if devices else []
    return _Answers(version, drivers, machines, lacking, models, sorted({name.replace("_", "-") for name in features}))


def _names(reply: dict[str, Any]) -> list[str]:
    """Return the names in an answer; empty if QEMU does not know the command or its argument."""
    return sorted(str(one["name"]) for one in reply.get("return") or ())


def _emulator_options(emulator: str) -> dict[str, bool]:
    """Return the options that QEMU's help lists, and if a value follows each; empty if there is no help."""
    done = subprocess.run([emulator, "-help"], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        return {}
    options = dict(_NOT_IN_HELP)
    for names, value in _HELP_LINE.findall(done.stdout):
        # A few are listed with two dashes, which QEMU accepts for all.
        options.update(dict.fromkeys((f"-{name.lstrip('-')}" for name in re.split(r"/| or ", names)), bool(value)))
    return options


def _boards(reply: dict[str, Any]) -> list[str]:
    """Return the names of boards, and their other names; empty if QEMU does not know the command."""
    aliases = {str(one["alias"]) for one in reply.get("return") or () if one.get("alias")}
    return sorted({*_names(reply), *aliases})


def _offer(monitor: Monitor, backend: Backend) -> str:
    node = backend.access.node(backend.source.sample, UnitResources("", "probe", ""))
    # Red Hat's QEMU has drivers with which it only reads.
    return _offer_node(monitor, node if backend.source.writable else {**node, "read-only": True})


def _offer_node(monitor: Monitor, node: Node) -> str:
    reply = monitor.try_execute("blockdev-add", {**node, "node-name": BAD_NODE_NAME})
    message = str(reply.get("error", {}).get("desc", "it accepted an invalid node name"))
    return "" if re.match("Invalid node[ -]name", message) else message


def _with_stderr(driver: str, reason: str, stderr: str) -> str:
    """Return a reason with its cause: QEMU replies "Unknown driver" whatever it is, and prints the cause on stderr."""
    lines = [line.strip() for line in stderr.splitlines() if f"block-{driver}" in line or f"'{driver}'" in line]
    return f"{reason}: {lines[-1]}" if lines else reason


def _probe_nbdkit() -> dict[str, str]:
    program = shutil.which(nbdkit.PROGRAM, path=SYSTEM_PATH)
    if not program:
        return {}
    served = [backend.access.nbdkit_plugins for backend in BACKENDS.values() if backend.access.nbdkit_plugins]
    reasons = {parts[0]: _try([program, "--dump-plugin", parts[0]]) for parts in served}
    filters = {name for parts in served for name in parts[1:]}
    reasons[PINS] = _why_not_pinned(program)
    return {
        **reasons,
        **{name: _try([program, f"--filter={name}", "--dump-plugin", "null"]) for name in filters},
    }


def _why_not_pinned(program: str) -> str:
    """Return why nbdkit follows every redirect of a web server (before 1.26); empty if it can be told not to."""
    done = subprocess.run([program, "curl", "--help"], capture_output=True, text=True, timeout=10, check=False)
    return "" if "followlocation=" in done.stdout else "this nbdkit follows every redirect"


def _programs() -> set[str]:
    """Return the programs that backends and routes need."""
    needed = [
        ("swtpm",),
        *(backend.packages.programs for backend in BACKENDS.values()),
        *(route.programs for route in ROUTES.values()),
    ]
    return {name for names in needed for name in names}


def _why_no_tgt(backend: Backend) -> str:
    """Return why tgtd cannot open a backend: some of its backing stores are modules in packages of their own."""
    module = backend.access.tgt_module
    if not module or any(os.path.exists(f"{folder}/{module}") for folder in _TGT_MODULES):
        return ""
    return f"its module {module} is missing"


def _probe_kvm() -> str:
    """Return why KVM cannot create a virtual machine. This has a time limit: a /dev/kvm that exists may hang."""
    if not os.path.exists("/dev/kvm"):
        return "there is no /dev/kvm"
    return _try([sys.executable, "-c", _KVM_TEST])


def _try(command: list[str]) -> str:
    """Return why a command fails; empty if it succeeds."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except subprocess.TimeoutExpired:
        return "it does not end within 10 s"
    except OSError as error:
        return str(error)
    if done.returncode == 0:
        return ""
    lines = (done.stderr or done.stdout).strip().splitlines()
    return lines[-1] if lines else f"exit status {done.returncode}"


def _probe_firmware(*, secure_boot: bool) -> dict[str, str]:
    """Return the first UEFI firmware for q35, from QEMU's docs/interop/firmware.json files.

    secure_boot: with Secure Boot and enrolled keys. Firmware that has Secure Boot without keys would check nothing.
    """
    for path in sorted(glob.glob("/usr/share/qemu/firmware/*.json")):
        try:
            with open(path, encoding="utf-8") as stream:
                firmware = _read_firmware(json.load(stream), secure_boot=secure_boot)
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if firmware:
            return firmware
    return {}


_SECURE_BOOT = {"requires-smm", "secure-boot", "enrolled-keys"}


def _read_firmware(descriptor: dict[str, Any], *, secure_boot: bool) -> dict[str, str] | None:
    of_secure_boot = _SECURE_BOOT & set(descriptor["features"])
    if "uefi" not in descriptor["interface-types"] or of_secure_boot != (_SECURE_BOOT if secure_boot else set()):
        return None
    machines = [m for target in descriptor["targets"] if target["architecture"] == "x86_64" for m in target["machines"]]
    mapping = descriptor["mapping"]
    if (
        not any("q35" in machine for machine in machines)
        or mapping["device"] != "flash"
        or mapping.get("mode", "split") != "split"
    ):
        return None
    files = {"code": mapping["executable"]["filename"], "vars": mapping["nvram-template"]["filename"]}
    raw = all(mapping[part]["format"] == "raw" for part in ("executable", "nvram-template"))
    return files if raw and all(map(os.path.exists, files.values())) else None


def _systemd_version() -> int:
    done = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, timeout=10, check=False)
    match = re.match(r"systemd (\d+)", done.stdout)
    return int(match.group(1)) if match else 0


def _family() -> str:
    """Return the OS family, which is the key of package lists."""
    try:
        with open("/etc/os-release", encoding="utf-8") as stream:
            facts = dict(line.rstrip("\n").replace('"', "").split("=", 1) for line in stream if "=" in line)
    except OSError:
        return ""
    names = f"{facts.get('ID', '')} {facts.get('ID_LIKE', '')}".split()
    if names[:1] == ["fedora"]:
        return "fedora"
    for name, family in (
        ("debian", "debian"),
        ("ubuntu", "debian"),
        ("rhel", "redhat"),
        ("centos", "redhat"),
        ("arch", "arch"),
    ):
        if name in names:
            return family
    return "suse" if any("suse" in name for name in names) else ""
