# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image on a web server."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._backends import _curl

BACKEND = _curl.backend("http", "An image on a web server, read-only", _curl.HTTP_ONLY, unhandled=_curl.HTTP_UNHANDLED)
