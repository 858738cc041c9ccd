# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Search a host for the secrets on standard input (a JSON list); prints where one was found, never which.

Left out: /run/credentials, where systemd hands them to the units, and /etc/directdisk-lab, the lab's own files.
"""

from __future__ import annotations

import glob
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

FOLDERS = (
    "/etc",
    "/usr/local",
    "/var/log",
    "/var/lib/private",
    "/var/cache/private",
    "/run/systemd",
    *glob.glob("/run/qemu-vm-*"),
    "/root",
    "/tmp",
    "/var/tmp",
)
LEFT_OUT = ("/etc/directdisk-lab", "/var/log/journal")
LARGEST = 32 * 1024 * 1024


def places() -> Iterator[tuple[str, bytes]]:
    """Everything to search: its name and its content."""
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                yield f"{process}/{name}", (process / name).read_bytes()
            except OSError:
                continue
    yield "journal", subprocess.run(["journalctl", "--output=export", "--all"], capture_output=True, check=True).stdout
    for folder in FOLDERS:
        for path in Path(folder).rglob("*"):
            # A link into /run/credentials is not one of ours: what it leads to is left out.
            if (
                not str(path).startswith(LEFT_OUT)
                and not path.is_symlink()
                and path.is_file()
                and path.stat().st_size < LARGEST
            ):
                yield str(path), path.read_bytes()


def main() -> None:
    secrets = [text.encode() for text in json.load(sys.stdin)]
    found, searched = [], 0
    for name, content in places():
        searched += 1
        if any(secret in content for secret in secrets):
            found.append(name)
    print(json.dumps({"found": found, "searched": searched}))


main()
