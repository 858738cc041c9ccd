# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on the host: one request of the action plugin, with a clock around its parts.

Standard input: {"request": ..., "secrets": {path: text}}.
Standard output: {"answer": ..., "times": [[name, calls, seconds]]}.
"""

from __future__ import annotations

import time

BEGIN = time.perf_counter()

import functools  # noqa: E402
import json  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
from typing import Any, Callable  # noqa: E402

STANDARD = time.perf_counter()

from ansible_collections.directdisk.qemu.plugins.module_utils._host import (  # noqa: E402
    apply,
    credential_store,
    files,
    observe,
    probe,
    systemd,
)

READY = time.perf_counter()

PARTS: dict[Any, tuple[str, ...]] = {
    probe: ("_cache_key", "_read_cache", "_probe"),
    observe: ("observe", "_observe_files", "_kind", "_mtime"),
    apply: ("decide", "_write", "_switch", "_failed"),
    credential_store.CredentialStore: ("observe", "write", "remove"),
    files: ("write_atomically", "remove_leftovers", "read_text"),
    systemd: ("show", "systemctl", "last_log_lines"),
}


class Clock:
    """Seconds by name; a part's seconds include those of the parts that it calls."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}
        self.seconds: dict[str, float] = {}

    def around(self, function: Callable[..., Any], name: Callable[..., str]) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            key = name(*args)
            self.calls.setdefault(key, 0)  # callers before those they call
            begin = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.calls[key] += 1
                self.seconds[key] = self.seconds.get(key, 0.0) + time.perf_counter() - begin

        return timed


def program(command: list[str], *_: object) -> str:
    """A command without its options and units."""
    return "$ " + " ".join(command[:2])


def main() -> None:
    given = json.load(sys.stdin)
    clock = Clock()
    for owner, names in PARTS.items():
        place = owner.__name__.rpartition(".")[2]
        for name in filter(functools.partial(hasattr, owner), names):
            setattr(owner, name, clock.around(getattr(owner, name), lambda *_, label=f"{place}.{name}": label))
    subprocess.run = clock.around(subprocess.run, program)
    request, secrets = given["request"], given["secrets"]
    answer: dict[str, Any]
    if "desired" in request:
        answer = apply.apply(request["desired"], secrets, encrypted=request["encrypted"])
    else:
        capabilities = probe.probe()
        seen = observe.observe(**request["observe"], secrets=secrets, encrypted=capabilities["encrypts"])
        answer = {"capabilities": capabilities, "observed": seen}
    end = time.perf_counter()
    times = [
        ("import: standard library", 1, STANDARD - BEGIN),
        ("import: the collection", 1, READY - STANDARD),
        *((name, clock.calls[name], clock.seconds[name]) for name in clock.calls),
        ("all but the start of Python", 1, end - BEGIN),
    ]
    json.dump({"answer": answer, "times": times}, sys.stdout)


if __name__ == "__main__":
    main()
