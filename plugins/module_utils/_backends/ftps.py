# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image on an FTP server, over TLS from the start (port 990)."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._backend import Flaw
from ansible_collections.directdisk.qemu.plugins.module_utils._backends import _curl

FLAWS = (
    Flaw(
        "driver",
        (6, 0),
        (9, 2),
        "QEMU's own curl driver gets no answer to its reads (seen on 7.2; 5.2 and 10.0 are fine)",
    ),
    Flaw("nbdkit", (6, 0), (9, 2), "nbdkit logs in anew for each read, which takes half a second (seen with 1.32)"),
)

BACKEND = _curl.backend("ftps", "An image on an FTP server over TLS, read-only", _curl.TLS_ONLY, flaws=FLAWS)
