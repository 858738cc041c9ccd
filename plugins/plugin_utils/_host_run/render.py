# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a planned service to the text of its unit. Runs on the controller, where Jinja is."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.compact_json import compact
from ansible_collections.directdisk.qemu.plugins.module_utils._units.service import Command, Service

TEMPLATES = Path(__file__).resolve().parents[3] / "roles" / "qemu_vms" / "templates"
_PLAIN = re.compile(r"^[A-Za-z0-9_@=:,./+-]+$")


def render_service(service: Service, *, encrypted: bool) -> str:
    """The unit file of a service; ``encrypted`` says whether the host encrypts credentials at rest."""
    return _environment().get_template(service.template).render(service=service, encrypted=encrypted)


def render_common(unit: str) -> str:
    """The file of a unit that all machines of a host share."""
    return _environment().get_template(f"{unit}.j2").render()


@lru_cache(maxsize=1)
def _environment() -> Environment:
    # A unit file is no HTML: escaping is systemd's, by the filters below.
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
    environment.globals.update(paths=paths)
    return environment


def word(text: str) -> str:
    """One word as systemd reads it, specifiers and variables left alone (systemd.service(5), "Command lines")."""
    return _quoted(text, text.replace("\\", "\\\\").replace("$", "$$").replace("\n", "\\n").replace("\t", "\\t"))


def _quoted(text: str, escaped: str) -> str:
    """A word in quotes where it needs them; escaped: the text as it stands between them, but for specifiers."""
    escaped = escaped.replace("%", "%%")
    if _PLAIN.match(text):
        return escaped
    if "'" not in escaped:
        return f"'{escaped}'"
    escaped = escaped.replace('"', '\\"')
    return f'"{escaped}"'


def setting(text: str) -> str:
    """One word of a setting that is no command line: systemd knows no variables there, and of escapes the backslash."""
    return _quoted(text, text.replace("\\", "\\\\"))


def bind(text: str) -> str:
    """A path of BindPaths= and its like, where a colon would part source and destination."""
    return setting(text.replace(":", "\0")).replace("\0", "\\:")


def rest(text: str) -> str:
    """The rest of a line that systemd takes as it stands, but for specifiers."""
    return text.replace("%", "%%")


def data(text: str) -> str:
    """The text of SetCredential=: systemd reads it as one line with C's escapes, and knows no specifiers there."""
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def sentence(text: str) -> str:
    """The rest of a line that is for people; a backslash at its end would join the next line to it."""
    return rest(text) + (" " if text.endswith("\\") else "")


def argument_lines(groups: list[tuple[str, ...]]) -> str:
    """A command line with one option a line."""
    return " \\\n    ".join(" ".join(word(part) for part in group) for group in groups)


def words(argv: tuple[str, ...]) -> str:
    """A command line on one line."""
    return " ".join(word(part) for part in argv)


def command(one: Command) -> str:
    """A command of ExecStartPre= or ExecStopPost= with systemd's prefixes."""
    prefix = ("-" if one.optional else "") + ("+" if one.privileged else "")
    return prefix + words(one.argv)
