# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converts memory, CPUs, machine type and screen of a command line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt import texts
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.arguments import Argument
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.processors import processors_of
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration import boards
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import in_words

DEFAULT_CPU = "qemu64"
DEFAULT_MEMORY = "128"
_CPU = re.compile(r"[A-Za-z0-9_.+,=-]+")
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)([bBkKmMgGtT]?)")
_POWERS = {"B": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_TYPES = (
    ("q35", re.compile("q35|pc-q35(-.+)?")),
    ("pc", re.compile(r"pc|pc-i440fx(-.+)?|pc-[0-9].*|rhel6\..*")),
)
_REMOVED_BOARD = re.compile(r"pc-(0|1\.[0-3]).*|rhel6\..*")
_PROXMOX = re.compile(r"\+pve[0-9]+$")
"""Suffix of a board that only Proxmox's QEMU knows."""
_OTHER_SYSTEMS = ("hax", "hvf", "mshv", "nvmm", "whpx")
"""Accelerators of systems other than Linux."""
_ON = ("on", "yes", "true", "y", "1")
_SWITCHED_OFF = {"no-acpi": "acpi", "no-hpet": "hpet"}
"""Options that QEMU 9.0 has removed, and the property of the board that replaces each."""
_PLAIN_MEMORY = {"qom-type", "id", "size", "x-use-canonical-path-for-ramblock-id"}


class Conversion:
    """The state of a conversion."""

    def __init__(self, arguments: Sequence[Argument]) -> None:
        self.arguments = list(arguments)
        self.vm: dict[str, Any] = {}
        self.extra: list[str] = []
        self.left: list[str] = []
        self.notes: list[str] = []
        self.taken: set[int] = set()
        """Positions of the declared arguments."""
        self.flash: dict[str, Any] = {}
        """Nodes of the board's flash memory, by its property."""
        self.gone: set[str] = set()
        """Names that no longer exist because the declaration uses other ones."""

    def of(self, *options: str) -> list[Argument]:
        """Return the arguments of an option that have not been read yet."""
        return [a for a in self.arguments if a.option in options and a.position not in self.taken]

    def has(self, option: str) -> bool:
        return any(argument.option == option for argument in self.arguments)

    def take(self, *arguments: Argument) -> None:
        self.taken.update(argument.position for argument in arguments)

    def take_all(self, *options: str) -> dict[str, Any]:
        """Merge the arguments of an option; the last value counts, as for QEMU."""
        values: dict[str, Any] = {}
        for argument in self.of(*options):
            values.update(argument.values)
            self.take(argument)
        return values

    def keep(self, option: str, value: str, why: str) -> None:
        """Pass a part of an argument on to QEMU unchanged."""
        self.extra += [f"-{option}", value]
        self.left.append(f"-{option} {value}: kept in extra_args; {why}")

    @property
    def board(self) -> str:
        """Return q35 or pc: how devices are attached to the board."""
        return boards.family(self.vm.get("machine", "pc"))

    def read_board(self, word: str, where: str) -> None:
        """Declare the type of the board."""
        known, suffix = _PROXMOX.sub("", word), _PROXMOX.search(word)
        family = next((name for name, pattern in _TYPES if pattern.fullmatch(known)), "")
        if not family:
            raise DeclarationError(where, f"{texts.shown(word)} cannot be declared; q35 and pc can")
        self.vm["machine"] = known if boards.is_versioned(known) else family
        if suffix:
            self.left.append(f"{suffix[0]} of -machine {word}: only Proxmox's own QEMU knows it")
        if _REMOVED_BOARD.fullmatch(known):
            self.left.append(f"-machine {known}: newer releases of QEMU do not have it; {family} is declared")
        elif self.vm["machine"] != known:
            self.keep("machine", known, "the guest sees the hardware of that release")


def read_settings(conversion: Conversion, *, binary: str) -> None:
    _read_type(conversion, binary)
    _read_memory(conversion)
    _read_processors(conversion)
    _read_console(conversion)


def _read_type(conversion: Conversion, binary: str) -> None:
    values = conversion.take_all("machine", "M")
    word = str(values.pop("type", "pc"))
    conversion.read_board(word, "-machine")
    of_board = str(values.pop("accel", "")).split(":")
    accels = [str(a.values.get("accel", "")) for a in conversion.of("accel")] or of_board
    _read_accel(conversion, list(filter(None, accels)), binary)
    for option, key in _SWITCHED_OFF.items():
        if conversion.has(option):
            conversion.take(*conversion.of(option))
            values[key] = "off"
    if _take_plain_memory(conversion, str(values.get("memory-backend", ""))):
        del values["memory-backend"]
    conversion.flash = {name: values.pop(name) for name in ("pflash0", "pflash1") if name in values}
    if conversion.board == "q35" and secure_flash(conversion):
        values.pop("smm", None)
    if values:
        pairs = (f"{key}={str(value).replace(',', ',,')}" for key, value in values.items())
        conversion.keep("machine", ",".join(pairs), "there is no option for it")


def secure_flash(conversion: Conversion) -> list[Argument]:
    """Return the arguments with which only the firmware may write to its flash memory, as Secure Boot needs it."""
    return [a for a in conversion.of("global") if _global(a) in (("cfi.pflash01", "secure", on) for on in _ON)]


def without_s3(conversion: Conversion) -> list[Argument]:
    """Return the arguments that switch S3 off, which firmware with Secure Boot does not have."""
    return [a for a in conversion.of("global") if _global(a) in (("ICH9-LPC", "disable_s3", on) for on in _ON)]


def _global(argument: Argument) -> tuple[str, str, str]:
    """Return driver, property and value of -global in either of its forms."""
    values = {key: str(value) for key, value in argument.values.items()}
    if "driver" in values:
        return values["driver"], values.get("property", ""), values.get("value", "")
    name, _equals, value = argument.value.partition("=")
    return (*name.rpartition(".")[::2], value)


def _take_plain_memory(conversion: Conversion, name: str) -> bool:
    """Take a memory object that is what QEMU makes by itself: its size would contradict a later change of memory."""
    plain = [a for a in conversion.of("object") if name in a.names and set(a.values) <= _PLAIN_MEMORY]
    plain = [a for a in plain if a.values["qom-type"] == "memory-backend-ram"]
    conversion.take(*plain)
    return bool(plain)


def _read_accel(conversion: Conversion, accels: list[str], binary: str) -> None:
    for argument in conversion.of("accel"):
        more = [key for key in argument.values if key != "accel"]
        if more:
            conversion.left.append(f"{argument.shown}: {', '.join(more)} cannot be declared")
        conversion.take(argument)
    switches = conversion.of("enable-kvm")
    conversion.take(*switches)
    kvm = bool(switches) or binary.rpartition("/")[2] in ("kvm", "qemu-kvm", "kvm-spice")
    wanted = accels or (["kvm"] if kvm else ["tcg"])
    if wanted[0] in _OTHER_SYSTEMS:
        conversion.left.append(f"accel {wanted[0]}: Linux does not have it; kvm is declared")
        wanted = ["kvm", *wanted[1:]]
    if wanted[0] not in ("kvm", "tcg"):
        raise DeclarationError("-accel", f"{texts.shown(wanted[0])} cannot be declared; kvm and tcg can")
    conversion.vm["accel"] = wanted[0]
    if wanted[1:]:
        conversion.left.append(f"accel {':'.join(wanted)}: {wanted[0]} alone is declared")


def _read_memory(conversion: Conversion) -> None:
    values = conversion.take_all("m")
    text = str(values.pop("size", DEFAULT_MEMORY))
    match = _SIZE.fullmatch(text)
    size = Fraction(match[1]) * 1024 ** _POWERS[match[2].upper() or "M"] if match else Fraction(0)
    if size.denominator != 1 or size == 0:
        raise DeclarationError("-m", f"{texts.shown(text)} is not a whole number of bytes")
    conversion.vm["memory"] = size_words(int(size))
    if values:
        conversion.keep("m", ",".join(f"{key}={value}" for key, value in values.items()), "there is no option for it")


def size_words(size: int) -> str | int:
    words = in_words(size)
    return size if words.endswith(" bytes") else words.replace(" ", "")


def _read_processors(conversion: Conversion) -> None:
    values = conversion.take_all("smp")
    declare_processors(conversion, {key: _number(value, f"-smp: {key}") for key, value in values.items()})
    models = conversion.of("cpu")
    conversion.take(*models)
    model = models[-1].value if models else DEFAULT_CPU
    if not _CPU.fullmatch(model):
        conversion.keep("cpu", model, "cpu_model takes no such text")
    elif model != ("host" if conversion.vm["accel"] == "kvm" else "max"):
        conversion.vm["cpu_model"] = model


def declare_processors(conversion: Conversion, numbers: Mapping[str, int]) -> None:
    """Declare number and topology of the CPUs."""
    declared, rest = processors_of(numbers)
    conversion.vm.update(declared)
    if rest:
        conversion.keep("smp", rest, "there is no option for it")


def _number(text: Any, where: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,5}", str(text)):
        raise DeclarationError(where, f"{texts.shown(text)} is not a number above 0")
    return int(str(text))


def _read_console(conversion: Conversion) -> None:
    """Declare the first serial port as the console, whatever its backend was."""
    ports = [*conversion.of("serial"), *(a for a in conversion.of("device") if a.values.get("driver") == "isa-serial")]
    if not ports:
        conversion.vm["console"] = conversion.has("nographic") or not conversion.has("nodefaults")
        return
    conversion.take(ports[0])
    conversion.vm["console"] = ports[0].value != "none"
    if ports[0].value not in ("none", "chardev:console"):
        conversion.left.append(f"{ports[0].shown}: the console is a socket with a log, both of the unit")


def read_name(arguments: Sequence[Argument]) -> str:
    """Return the name from -name; empty if there is none."""
    names = [str(a.values["guest"]) for a in arguments if a.option == "name" and "guest" in a.values]
    return names[-1] if names else ""
