# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cache of resources that several workers share."""

from __future__ import annotations

import contextlib
import threading
from collections import defaultdict
from typing import Any, Callable, TypeVar

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError

Resource = TypeVar("Resource")


class ResourceCache(contextlib.ExitStack):
    """Creates each resource once and keeps it until the end of the block. A failure is kept, too, and raised again."""

    def __init__(self) -> None:
        super().__init__()
        self._resources: dict[object, Any] = {}
        self._failed: dict[object, DirectDiskError] = {}
        self._locks: defaultdict[object, threading.Lock] = defaultdict(threading.Lock)
        self._lock = threading.Lock()

    def get(self, key: object, create: Callable[[], contextlib.AbstractContextManager[Resource]]) -> Resource:
        """Return the resource with this key, and create it if it is missing. Only workers with the same key wait."""
        with self._lock:
            lock = self._locks[key]
        with lock:
            if key in self._failed:
                raise self._failed[key]
            if key not in self._resources:
                try:
                    self._resources[key] = self.enter_context(create())
                except DirectDiskError as error:
                    self._failed[key] = error
                    raise
            resource: Resource = self._resources[key]
            return resource
