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
    from jmespath.exceptions import JMESPathError
except ImportError:  # only queries need it
    jmespath = None


def ask(expression: str, rows: Sequence[Row]) -> Any:
    """Evaluate an expression on rows."""
    if jmespath is None:
        raise DeclarationError("query", "needs the Python library jmespath on the controller; install it")
    try:
        return jmespath.search(expression, list(rows))
    except JMESPathError as error:
        problem = " ".join(str(error).split())
        raise DeclarationError(
            "query",
            f"{expression}: {problem}; a query with spaces must be quoted: -e 'query=\"...\"'",
        ) from None
