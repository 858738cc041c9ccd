# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running programs and reporting steps."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

START = time.monotonic()


class LabError(Exception):
    """Something a person has to look at."""


def run(argv: Sequence[str], *, stdin: bytes | None = None, check: bool = True) -> str:
    """Run a program and return its standard output; its standard error goes into the exception."""
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise LabError(f"{argv[0]}: not installed") from error
    if check and done.returncode != 0:
        words = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise LabError(f"{' '.join(argv[:12])}: exit {done.returncode}\n{words}")
    return done.stdout.decode(errors="replace")


def succeeds(argv: Sequence[str]) -> bool:
    return (
        subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        ).returncode
        == 0
    )


def say(text: str) -> None:
    print(f"[{time.monotonic() - START:6.1f}s] {text}", flush=True)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Report a step when it is done, with the time it took."""
    begin = time.monotonic()
    try:
        yield
    except BaseException:
        print(f"failed: {text}", file=sys.stderr, flush=True)
        raise
    say(f"{text} ({time.monotonic() - begin:.1f} s)")
