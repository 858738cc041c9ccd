# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The backends: one file or folder each holds everything the collection knows of one kind of storage.

The imports are explicit: Ansible ships to a host only what a module imports by name.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends import (
    file,
    ftp,
    ftps,
    gluster,
    host_device,
    http,
    https,
    iscsi,
    nbd,
    nfs,
    sheepdog,
    ssh,
    tftp,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.rbd import backend as rbd
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError

_MODULES = (
    rbd,
    nfs,
    iscsi,
    nbd,
    http,
    https,
    ftp,
    ftps,
    tftp,
    ssh,
    host_device,
    file,
    gluster,
    sheepdog,
)

BACKENDS: dict[str, Backend] = {module.BACKEND.name: module.BACKEND for module in _MODULES}

_BY_SCHEME = {scheme: backend for backend in BACKENDS.values() for scheme in backend.adoption.schemes}


def of_path(path: str, of_files: Backend = file.BACKEND) -> Backend:
    """Return the backend of a path of a host: that of devices, or of files."""
    return host_device.BACKEND if host_device.is_device(path) else of_files


def from_uri(uri: str) -> tuple[Backend, dict[str, Any]]:
    """Return backend and options of a URI. The options are not checked yet."""
    scheme = uri.partition(":")[0] if ":" in uri else ""
    backend = _BY_SCHEME.get(scheme)
    if backend is None:
        raise DeclarationError("uri", f"its scheme {scheme!r} is not one of {', '.join(sorted(_BY_SCHEME))}")
    return backend, backend.adoption.read_uri(uri)
