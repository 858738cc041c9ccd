# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as one HTML page that needs nothing else, neither a file nor a network. Pure, but for reading its parts."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

_PARTS = Path(__file__).resolve().parents[3] / "playbooks" / "files" / "report"
_SCRIPTS = ("words", "fleet", "filter", "map", "details", "actions", "start")
"""The files of the page's script, in this order; they share one scope."""
_BEGIN, _END = '<script type="application/json" id="fleet">\n', "\n</script>"
_WRITTEN = re.compile(r'\{"written": "([^"]*)"')


def page(report: Mapping[str, Any], written: str) -> str:
    """The page; its policy lets the browser run its own script and style and load nothing."""
    style, script = _part("page.css"), "\n".join(_part(f"script/{name}.js") for name in _SCRIPTS)
    return Template(_part("page.html")).substitute(
        style=style,
        style_digest=_digest(style),
        script=script,
        script_digest=_digest(script),
        data=f"{_BEGIN}{_data({'written': written, **report})}{_END}",
    )


def data_of(text: str) -> str:
    """The report within a page, as it stands there; empty where the text is no such page."""
    return text.partition(_BEGIN)[2].partition(_END)[0]


def written_in(text: str) -> str:
    """When a page was written; empty where the text is no such page."""
    match = _WRITTEN.match(data_of(text))
    return match.group(1) if match else ""


def _part(name: str) -> str:
    return (_PARTS / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _data(document: Mapping[str, Any]) -> str:
    """A line for each row, so that a diff shows rows."""
    return "{" + ",\n".join(f"{_json(key)}: {_rows(value)}" for key, value in document.items()) + "}"


def _rows(value: Any) -> str:
    return "[\n" + ",\n".join(map(_json, value)) + "\n]" if isinstance(value, list) else _json(value)


def _json(value: Any) -> str:
    """Without a character that could end the script element or begin a comment in it."""
    return json.dumps(value).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
