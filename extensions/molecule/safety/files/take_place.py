# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""take_place.py UNIT_FILE SECONDS: as a neighbour on the host, listen where the tgtd of a VM has listened.

The address stands in the unit, which everybody may read. Prints what came of it.
"""

from __future__ import annotations

import re
import socket
import sys
import time


def main(unit: str, seconds: float) -> str:
    with open(unit) as stream:
        address, port = re.findall(r"portal=([0-9.]+):([0-9]+)", stream.read())[0]
    end, error = time.monotonic() + seconds, "nothing was tried"
    while time.monotonic() < end:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((address, int(port)))
                return f"listens at {address}:{port}"
            except OSError as refused:
                error = refused.strerror or str(refused)
        time.sleep(0.002)
    return error


if __name__ == "__main__":
    print(main(sys.argv[1], float(sys.argv[2])))
