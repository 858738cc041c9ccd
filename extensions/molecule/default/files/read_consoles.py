# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until every guest has said that it is ready, and print how often each has booted (JSON).

Standard input is a JSON object: by machine the marker that its guest reads from the disk.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

SECONDS = 90


def boots(vm: str, marker: str) -> int | None:
    """The boot counter of a guest that is ready; an I/O error ends the wait for all."""
    try:
        text = Path(f"/var/log/qemu-vm-{vm}/console.log").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    if "ERROR" in text:
        sys.exit(f"{vm}: the guest met an error: {text}")
    counters = re.findall(rf"GUEST-READY boots=([0-9a-f]+) disk={re.escape(marker)}\r?$", text, flags=re.MULTILINE)
    return int(counters[-1], 16) if counters else None


def main() -> None:
    markers = json.load(sys.stdin)
    deadline = time.monotonic() + SECONDS
    while True:
        read = {vm: boots(vm, marker) for vm, marker in markers.items()}
        missing = [f"{vm} ({markers[vm]})" for vm, count in read.items() if count is None]
        if not missing:
            print(json.dumps(read))
            return
        if time.monotonic() > deadline:
            sys.exit(f"not ready from a disk with the marker: {', '.join(missing)}")
        time.sleep(0.5)


main()
