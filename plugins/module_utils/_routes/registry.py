# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The routes; each has a file of its own."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._routes import driver, nbdkit, stage, tgt
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.contract import Route

ROUTES: dict[str, Route] = {module.ROUTE.name: module.ROUTE for module in (driver, nbdkit, stage, tgt)}
