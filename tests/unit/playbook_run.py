# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a playbook as people do, in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]


def write_inventory(folder: Path, files: Mapping[str, str]) -> None:
    """An inventory, and the collection where Ansible finds it by its name."""
    for name, text in files.items():
        path = folder / "inventory" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "ansible_collections" / "directdisk").mkdir(parents=True)
    (folder / "ansible_collections" / "directdisk" / "qemu").symlink_to(ROOT)
    (folder / "ansible.cfg").touch()


def run_playbook(folder: Path, playbook: str, *arguments: str) -> tuple[int, str]:
    """Exit status and output of a playbook over the inventory of a folder."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    settings |= {"ANSIBLE_COLLECTIONS_PATH": str(folder), "ANSIBLE_HOME": str(folder), "COLUMNS": "1000"}
    settings |= {"ANSIBLE_CONFIG": str(folder / "ansible.cfg")}
    command = [sys.executable, "-m", "ansible.cli.playbook", "-i", str(folder / "inventory" / "hosts.yml")]
    done = subprocess.run(
        [*command, playbook, *arguments],
        cwd=folder,
        env=settings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout
