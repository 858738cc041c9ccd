# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image on an FTP server."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._backends import _curl
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.access import Flaw

FLAWS = (
    _curl.DRIVER_HANGS,
    # Distributions that have this QEMU have such an nbdkit.
    Flaw("nbdkit", (10, 0), "nbdkit crashes over it (seen with 1.42; 1.32 is fine)"),
)

BACKEND = _curl.backend("ftp", "An image on an FTP server, read-only", flaws=FLAWS)
