# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of a unit, rendered from a planned service. Runs on the controller, which has Jinja."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths, unit_text
from ansible_collections.directdisk.qemu.plugins.module_utils._units.compact_json import compact
from ansible_collections.directdisk.qemu.plugins.module_utils._units.service import Command, Service

TEMPLATES = Path(__file__).resolve().parents[3] / "roles" / "qemu_vms" / "templates"
_PLAIN = re.compile(r"^[A-Za-z0-9_@=:,./+-]+$")


def render_service(service: Service, *, encrypted: bool) -> str:
    """Return the unit file of a service; encrypted: if the host encrypts credentials at rest."""
    return _environment().get_template(service.template).render(service=service, encrypted=encrypted)


def render_common(unit: str) -> str:
    """Return the file of a unit that all VMs of a host share."""
    return _environment().get_template(f"{unit}.j2").render()


@lru_cache(maxsize=1)
def _environment() -> Environment:
    # A unit file is not HTML: the filters below escape it for systemd.
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        word=word,
        compact=compact,
        command=command,
        argument_lines=argument_lines,
        setting=setting,
        bind=bind,
        rest=rest,
        sentence=sentence,
        data=data,
        words=words,
    )
    environment.globals.update(paths=paths, unit_text=unit_text)
    return environment


def word(text: str) -> str:
    """Escape one word of a command line: systemd expands no specifier or variable in it (systemd.service(5))."""
    return _quoted(text, text.replace("\\", "\\\\").replace("$", "$$").replace("\n", "\\n").replace("\t", "\\t"))


def _quoted(text: str, escaped: str) -> str:
    """Quote a word if necessary; escaped: the text as it is between quotes, except for specifiers."""
    escaped = escaped.replace("%", "%%")
    if _PLAIN.match(text):
        return escaped
    if "'" not in escaped:
        return f"'{escaped}'"
    escaped = escaped.replace('"', '\\"')
    return f'"{escaped}"'


def setting(text: str) -> str:
    """Escape one word of a setting that is not a command line: systemd expands no variables there."""
    return _quoted(text, text.replace("\\", "\\\\"))


def bind(text: str) -> str:
    """Escape a path of BindPaths= and similar settings, where a colon separates source and destination."""
    return setting(text.replace(":", "\0")).replace("\0", "\\:")


def rest(text: str) -> str:
    """Escape the rest of a line in which systemd expands only specifiers."""
    return text.replace("%", "%%")


def data(text: str) -> str:
    """Escape the text of SetCredential=: systemd reads it as one line with C escapes and expands no specifiers."""
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def sentence(text: str) -> str:
    """Escape a description: a backslash at its end would join the next line to it."""
    return rest(text) + (" " if text.endswith("\\") else "")


def argument_lines(groups: list[tuple[str, ...]]) -> str:
    """Return a command line with one option per line."""
    return " \\\n    ".join(" ".join(word(part) for part in group) for group in groups)


def words(argv: tuple[str, ...]) -> str:
    """Return a command line on one line."""
    return " ".join(word(part) for part in argv)


def command(one: Command) -> str:
    """Return a command of ExecStartPre= or ExecStopPost= with systemd's prefixes."""
    prefix = ("-" if one.optional else "") + ("+" if one.privileged else "")
    return prefix + words(one.argv)
