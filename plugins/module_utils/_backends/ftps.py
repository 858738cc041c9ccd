# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image on an FTP server, over TLS from the start (port 990)."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._backends import _curl
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.access import Flaw

FLAWS = (
    _curl.DRIVER_HANGS,
    Flaw("nbdkit", (6, 0), "nbdkit logs in again for each read, which takes half a second (seen with 1.32)"),
)

BACKEND = _curl.backend("ftps", "An image on an FTP server over TLS, read-only", _curl.TLS_ONLY, flaws=FLAWS)
