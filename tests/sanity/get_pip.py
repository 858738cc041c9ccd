# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands where ansible-test looks for a downloaded get-pip: brings pip into a bare environment offline.

Called as `get_pip.py PACKAGE==VERSION... [options]`: pip comes from the standard library's ensurepip and then
installs the packages asked for.
"""

from __future__ import annotations

import os
import subprocess
import sys

NOT_FOR_PIP = {"--no-setuptools", "--no-wheel"}


def main(arguments: list[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "GET_PIP"}
    packages = [argument for argument in arguments if argument not in NOT_FOR_PIP]
    for command in (["ensurepip", "--upgrade", "--default-pip"], ["pip", "install", *packages]):
        call = [sys.executable, "-m", *command]
        subprocess.run(call, env=environment, stdout=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
