# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as one HTML page that needs no other file and no network. Pure, except that it reads the page's parts."""

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
_SCRIPTS = ("words", "fleet", "filter", "map", "details", "wrong", "actions", "start")
"""The files of the page's script, in their order; they share one scope."""
_BEGIN, _END = '<script type="application/json" id="fleet">\n', "\n</script>"
_WRITTEN = re.compile(r'\{"written": "([^"]*)"')


def page(report: Mapping[str, Any], written: str) -> str:
    """Return the page; its content security policy allows its own script and style, and nothing that is loaded."""
    style, script = _part("page.css"), "\n".join(_part(f"script/{name}.js") for name in _SCRIPTS)
    return Template(_part("page.html")).substitute(
        style=style,
        style_digest=_digest(style),
        script=script,
        script_digest=_digest(script),
        data=f"{_BEGIN}{_data({'written': written, **report})}{_END}",
    )


def data_of(text: str) -> str:
    """Return the JSON of the report in a page; empty if the text is not a report."""
    return text.partition(_BEGIN)[2].partition(_END)[0]


def written_in(text: str) -> str:
    """Return when a page was written; empty if the text is not a report."""
    match = _WRITTEN.match(data_of(text))
    return match.group(1) if match else ""


def _part(name: str) -> str:
    return (_PARTS / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _data(document: Mapping[str, Any]) -> str:
    """Return JSON with one line for each row, so that a diff shows rows."""
    return "{" + ",\n".join(f"{_json(key)}: {_rows(value)}" for key, value in document.items()) + "}"


def _rows(value: Any) -> str:
    return "[\n" + ",\n".join(map(_json, value)) + "\n]" if isinstance(value, list) else _json(value)


def _json(value: Any) -> str:
    """Return JSON without characters that could end the script element or begin a comment in it."""
    return json.dumps(value).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
