# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image on an FTP server."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._backends import _curl

BACKEND = _curl.backend("ftp", "An image on an FTP server, read-only")
