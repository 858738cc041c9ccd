# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What several workers use at once, made by the first that asks for it."""

from __future__ import annotations

import contextlib
import threading
from collections import defaultdict
from typing import Any, Callable, TypeVar

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError

Made = TypeVar("Made")


class ResourceCache(contextlib.ExitStack):
    """Keeps what was made until it is closed; what could not be made is not tried again."""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[object, Any] = {}
        self._failed: dict[object, DirectDiskError] = {}
        self._locks: defaultdict[object, threading.Lock] = defaultdict(threading.Lock)
        self._lock = threading.Lock()

    def get(self, key: object, make: Callable[[], contextlib.AbstractContextManager[Made]]) -> Made:
        """What was made under this key; whoever wants the same waits, the others do not."""
        with self._lock:
            lock = self._locks[key]
        with lock:
            if key in self._failed:
                raise self._failed[key]
            if key not in self._made:
                try:
                    self._made[key] = self.enter_context(make())
                except DirectDiskError as error:
                    self._failed[key] = error
                    raise
            made: Made = self._made[key]
            return made
