# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""JMESPath queries over the rows of a fleet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.declared import Row

try:
    import jmespath
    from jmespath.exceptions import EmptyExpressionError, JMESPathError, ParseError
except ImportError:  # only queries need it
    jmespath = None

_OPTION = "query (plan_query)"


def ask(expression: str, rows: Sequence[Row]) -> Any:
    """Evaluate an expression on rows."""
    if jmespath is None:
        raise DeclarationError(_OPTION, "needs the Python library jmespath on the controller; install it")
    try:
        return jmespath.search(expression, list(rows))
    except (JMESPathError, TypeError) as error:
        problem = f"{expression}: {' '.join(str(error).split())}{_first_that_fails(expression, rows)}"
        if isinstance(error, (ParseError, EmptyExpressionError)):
            problem += "; a query with spaces must be quoted: -e 'plan_query=\"...\"'"
        raise DeclarationError(_OPTION, problem) from None


def _first_that_fails(expression: str, rows: Sequence[Row]) -> str:
    """Name the first row on which alone the expression fails; empty if it fails on none, or without any."""
    if _fails(expression, []):
        return ""
    failing = next((row for row in rows if _fails(expression, [row])), None)
    return f", in the row of disk {failing['disk']} of {failing['vm']} on {failing['host']}" if failing else ""


def _fails(expression: str, rows: Sequence[Row]) -> bool:
    try:
        jmespath.search(expression, list(rows))
    except (JMESPathError, TypeError):
        return True
    return False
