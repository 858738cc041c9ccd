# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files in memory that processes cannot make grow."""

from __future__ import annotations

import subprocess
import sys

from ansible_collections.directdisk.qemu.plugins.module_utils._programs.bounded_file import BoundedFile

FLOODS = """
import os, sys
written = 0
try:
    while written < 64 << 20:
        written += os.write(1, b"x" * 65536)
except OSError as error:
    sys.exit(f"{error.errno}")
"""


def test_a_process_that_writes_too_much_gets_an_error() -> None:
    with BoundedFile(5000) as file:
        done = subprocess.run(
            [sys.executable, "-c", FLOODS], stdout=file.handle, stderr=subprocess.PIPE, text=True, check=False
        )
        assert (done.stderr, done.returncode) == ("1\n", 1)  # EPERM
        assert file.overflowed
        assert file.text() == "x" * 5000


def test_what_fits_is_read_to_its_end() -> None:
    with BoundedFile(5) as file:
        subprocess.run(["/bin/echo", "-n", "abcde"], stdout=file.handle, check=True)
        assert not file.overflowed
        assert file.text() == "abcde"
