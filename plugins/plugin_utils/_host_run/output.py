# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines that an action prints itself, beside the results that Ansible prints."""

from __future__ import annotations

from ansible import constants
from ansible.utils.display import Display

display = Display()


def show(text: str) -> None:
    """Print text; not on standard output if that is data for a program."""
    display.display(text, stderr=str(constants.DEFAULT_STDOUT_CALLBACK).rpartition(".")[2] in ("json", "jsonl"))
