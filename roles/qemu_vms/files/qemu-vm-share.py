# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""qemu-vm-share.py SOCKET COMMAND...: start COMMAND, which goes to the background, and open its SOCKET to its group.

nbdkit sets a umask of its own that keeps the group of the unit, which is QEMU's, from its socket.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys


def main(path: str, *command: str) -> int:
    # One that was killed leaves its own behind.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    status = subprocess.run(command, check=False).returncode
    if status == 0:
        os.chmod(path, 0o660)
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
