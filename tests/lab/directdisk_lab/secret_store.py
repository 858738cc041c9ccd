# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random secrets of one lab, made once and kept in its state folder."""

from __future__ import annotations

import json

from .keys import write_private
from .servers import SERVERS
from .settings import Settings


def _stored(settings: Settings) -> dict[str, str]:
    """The facts in secrets.yml: one `name: "value"` a line."""
    if not settings.secrets.exists():
        return {}
    pairs = (line.split(": ", 1) for line in settings.secrets.read_text().splitlines()[1:])
    return {name: json.loads(value) for name, value in pairs}


def load(settings: Settings) -> dict[str, str]:
    """Secrets of the servers; new ones are made and stored."""
    stored = _stored(settings)
    facts = {name: value for server in SERVERS for name, value in server.secrets(settings).items()}
    facts.update((name, value) for name, value in stored.items() if name in facts)
    if facts != stored:
        lines = [f"{name}: {json.dumps(value)}\n" for name, value in facts.items()]
        write_private(settings.secrets, "".join(["---\n", *lines]))
    return facts
