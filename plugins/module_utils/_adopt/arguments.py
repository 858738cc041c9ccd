# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Splits a QEMU command line into arguments: option, value, names that it defines and mentions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt import texts
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.argument_secrets import has_secret
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.kernel_secrets import kernel_secrets
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.qemu_options import (
    REMOVED,
    WITH_VALUE,
    WITHOUT_NAMES,
    WITHOUT_REFERENCES,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.shell import EMULATOR
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError

SWITCHES = frozenset(
    [
        "S",
        "alt-grab",
        "async-teardown",
        "audio-help",
        "ctrl-grab",
        "curses",
        "daemonize",
        "enable-fips",
        "enable-hax",
        "enable-kvm",
        "enable-sync-profile",
        "full-screen",
        "h",
        "help",
        "jitdump",
        "mem-prealloc",
        "no-acpi",
        "no-fd-bootchk",
        "no-frame",
        "no-hpet",
        "no-quit",
        "no-reboot",
        "no-shutdown",
        "no-user-config",
        "nodefaults",
        "nodefconfig",
        "nographic",
        "old-param",
        "only-migratable",
        "perfmap",
        "portrait",
        "preconfig",
        "s",
        "sdl",
        "semihosting",
        "singlestep",
        "snapshot",
        "usb",
        "version",
        "virtfs_synth",
        "win2k-hack",
        "xen-attach",
        "xen-domid-restrict",
    ]
)
"""The options that take no argument."""

IMPLIED = {
    "accel": "accel",
    "blockdev": "driver",
    "boot": "order",
    "chardev": "backend",
    "cpu": "model",
    "device": "driver",
    "fsdev": "fsdriver",
    "fw_cfg": "name",
    "M": "type",
    "m": "size",
    "machine": "type",
    "mon": "chardev",
    "name": "guest",
    "net": "type",
    "netdev": "type",
    "nic": "type",
    "object": "qom-type",
    "smp": "cpus",
    "tpmdev": "type",
    "virtfs": "fsdriver",
    "vnc": "vnc",
}
"""The implied key of the first value of each option. Values of other options are not parsed."""

_PLAIN = (
    "acpitable",
    "drive",
    "iscsi",
    "boot",
    "rtc",
    "global",
    "set",
    "smbios",
    "fw_cfg",
    "spice",
    "numa",
    "tpmdev",
    "fsdev",
)
_MANY = ("hostfwd", "guestfwd", "dnssearch", "host-nodes")
"""Keys that may occur several times."""
_PASSED_ON = (
    "acpitable",
    "boot",
    "chardev",
    "cpu",
    "fsdev",
    "fw_cfg",
    "global",
    "numa",
    "rtc",
    "set",
    "smbios",
    "spice",
    "tpmdev",
    "virtfs",
)
"""Options that are only passed on, so that a key that occurs several times is QEMU's matter."""


_SETTING = re.compile(r"([^.=]+)\.([^.=]+)\.([^=]+)=(.*)", re.DOTALL)
"""GROUP.ID.KEY=VALUE, as -set takes it."""


@dataclass(frozen=True)
class Argument:
    """An option with its value."""

    option: str
    value: str = ""
    position: int = 0
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The value's keys, if it has any."""

    @property
    def words(self) -> list[str]:
        return [f"-{self.option}", *([] if self.option in SWITCHES else [self.value])] if self.option else [self.value]

    @property
    def names(self) -> set[str]:
        """Return the names by which others mention it; every iSCSI disk needs -iscsi."""
        return (
            {"iscsi:"}
            if self.option == "iscsi"
            else {str(self.values[key]) for key in ("id", "node-name") if key in self.values}
        )

    def mentions(self, name: str) -> bool:
        """Return True if QEMU would look up this name for it."""
        if name.endswith(":"):
            return name in self.value
        if self.option in WITHOUT_NAMES or (self.option == "fw_cfg" and "gen_id" not in self.values):
            return False
        if self.option == "set":
            return self.value.partition("=")[0].split(".")[1:2] == [name]
        if self.values:
            return any(
                text == name or text.startswith(f"{name}.") or text == f"chardev:{name}"
                for key, text in _leaves(self.values)
                if key.rpartition(".")[2] not in WITHOUT_REFERENCES and (self.option, key) != ("drive", "file")
            )
        return bool(re.search(rf"(?<![A-Za-z0-9_-]){re.escape(name)}(?![A-Za-z0-9_-])", self.value))

    @property
    def has_secret(self) -> bool:
        return has_secret(self.values, self.value) or (self.option == "append" and any(kernel_secrets(self.value)))

    @property
    def shown(self) -> str:
        """Return it for people, without secrets."""
        if self.has_secret:
            kind = next((self.values[key] for key in ("type", "driver", "qom-type") if key in self.values), "")
            name = ",".join(sorted(self.names))
            return " ".join(filter(None, [f"-{self.option}", str(kind), f"id={name}" if name else ""]))
        return " ".join(word if len(word) <= 200 else f"{word[:200]}..." for word in self.words)


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield the texts of an argument's value with their keys; JSON has them within others."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, str(name))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _leaves(inner, key)
    else:
        yield key, str(value)


def read_arguments(words: Sequence[str]) -> list[Argument]:
    """Read the arguments after the program's name."""
    result = EMULATOR.fullmatch(words[0]) if words else None
    if not result:
        raise DeclarationError(
            "command line", f"{texts.shown(words[0] if words else '')} is not QEMU's system emulator"
        )
    if result["arch"] not in (None, "x86_64", "i386"):
        raise DeclarationError("command line", f"{texts.shown(words[0])}: only VMs of x86_64 can be declared")
    arguments = list(_arguments(words[1:]))
    _check_names(arguments)
    return _with_settings(arguments)


def _with_settings(arguments: Sequence[Argument]) -> list[Argument]:
    """Apply -set, which adds an option to an argument before it."""
    result: list[Argument] = []
    for argument in arguments:
        group, name, key, value = _setting_of(argument)
        places = [
            place
            for place, one in enumerate(result)
            if one.option == group and name in one.names and key not in one.values and not one.value.startswith("{")
        ]
        if places:
            found = result[places[0]]
            text = f"{found.value},{key}={value.replace(',', ',,')}"
            result[places[0]] = replace(found, value=text, values=_said(found.option, text))
        else:
            result.append(argument)
    return result


def _setting_of(argument: Argument) -> tuple[str, str, str, str]:
    """Return group, id, key and value of -set; empty for other arguments."""
    match = _SETTING.fullmatch(argument.value) if argument.option == "set" else None
    return (match[1], match[2], match[3], match[4]) if match else ("", "", "", "")


def _check_names(arguments: Sequence[Argument]) -> None:
    """Refuse two of a kind with the same name, as QEMU does."""
    seen: set[tuple[str, str]] = set()
    for argument in arguments:
        kind = "drive" if argument.option == "blockdev" else argument.option
        for name in argument.names if kind in ("drive", "device", "netdev", "object", "chardev") else ():
            if (kind, name) in seen:
                raise DeclarationError(f"-{argument.option}", f"{texts.shown(name)} is the name of two")
            seen.add((kind, name))


def _arguments(words: Sequence[str]) -> Iterator[Argument]:
    rest = iter(words)
    for position, word in enumerate(rest):
        texts.check_length(word, "command line")
        if not word.startswith("-") or word == "-":
            yield Argument("", word, position)
            continue
        option = word[2:] if word.startswith("--") else word[1:]
        if option in SWITCHES:
            yield Argument(option, position=position)
            continue
        if option in REMOVED:
            name, text = REMOVED[option]
            yield Argument(name, text, position, _said(name, text))
            continue
        if option not in WITH_VALUE:
            raise DeclarationError(texts.shown(f"-{option}")[1:-1], "is not an option of QEMU that is known here")
        value = next(rest, None)
        if value is None:
            raise DeclarationError(f"-{option}", "is the last word, and requires a value")
        texts.check_length(value, f"-{option}")
        yield Argument(option, value, position, _said(option, value))


def _said(option: str, value: str) -> dict[str, Any]:
    """Return the keys of an argument's value; empty if it has none."""
    where = f"-{option}"
    if value.startswith("{") and option in ("blockdev", "device", "netdev", "object"):
        return texts.read_json(value, where)
    if option not in IMPLIED and option not in _PLAIN:
        return {}
    try:
        pairs = texts.read_pairs(value, where, implied=IMPLIED.get(option, ""))
    except DeclarationError:
        if option in ("drive", "device", "netdev", "object", "blockdev"):
            raise
        return {}
    single = [pair for pair in pairs if pair[0] not in _MANY]
    values: dict[str, Any] = dict(single) if option in _PASSED_ON else dict(texts.unique(single, where))
    for key in _MANY:
        many = [text for name, text in pairs if name == key]
        if many:
            values[key] = many
    return values


def changed(argument: Argument, values: Mapping[str, Any]) -> Argument:
    """Return an argument with other keys and values, in its own notation."""
    if argument.value.startswith("{"):
        value = json.dumps(values, separators=(",", ":"))
    else:
        implied = IMPLIED.get(argument.option, "")
        pairs = [(key, item) for key, held in values.items() for item in (held if isinstance(held, list) else [held])]
        first = pairs[0][0] == implied and "=" not in argument.value.partition(",")[0]
        texts = [f"{key}={str(item).replace(',', ',,')}" for key, item in pairs]
        value = ",".join([texts[0].partition("=")[2], *texts[1:]] if first else texts)
    return replace(argument, value=value, values=dict(values))
