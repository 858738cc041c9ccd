# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image on a web server, over TLS."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._backends import _curl

BACKEND = _curl.backend(
    "https",
    "An image on a web server over TLS, read-only",
    (*_curl.HTTP_ONLY, *_curl.TLS_ONLY),
    unhandled=_curl.HTTP_UNHANDLED,
)
