# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What workers share is made once, and closed when all of them are done."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._process.resource_cache import ResourceCache


def test_it_is_made_once_however_many_ask_at_the_same_time() -> None:
    events: list[str] = []

    @contextlib.contextmanager
    def connection() -> Iterator[object]:
        events.append("made")
        time.sleep(0.05)
        yield object()
        events.append("closed")

    with ResourceCache() as shared:
        with ThreadPoolExecutor(4) as pool:
            found = set(pool.map(lambda _number: shared.get("cluster", connection), range(8)))
        assert len(found) == 1
        assert events == ["made"]
    assert events == ["made", "closed"]


def test_what_could_not_be_made_is_not_waited_for_again() -> None:
    tries: list[str] = []

    def connection() -> contextlib.AbstractContextManager[object]:
        tries.append("made")
        raise HostError("the cluster does not answer")

    with ResourceCache() as shared:
        for _number in range(3):
            with pytest.raises(HostError, match="does not answer"):
                shared.get("cluster", connection)
    assert tries == ["made"]


def test_one_that_takes_long_does_not_hold_up_the_others() -> None:
    begun, ended = threading.Event(), threading.Event()

    @contextlib.contextmanager
    def slow() -> Iterator[str]:
        begun.set()
        assert ended.wait(10)
        yield "slow"

    with ResourceCache() as shared, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(shared.get, "a", slow)
        assert begun.wait(10)
        assert shared.get("b", lambda: contextlib.nullcontext("quick")) == "quick"
        ended.set()
        assert waiting.result(10) == "slow"
