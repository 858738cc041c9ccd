# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs Ansible's programs as people do, in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import ansible.template

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


def run_ansible(folder: Path, program: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """One of Ansible's programs, by the last part of its name, in a folder; settings: of its environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    own = {"ANSIBLE_COLLECTIONS_PATH": str(folder), "ANSIBLE_HOME": str(folder), "COLUMNS": "1000"}
    own["ANSIBLE_CONFIG"] = str(folder / "ansible.cfg")
    return subprocess.run(
        [sys.executable, "-m", f"ansible.cli.{program}", *arguments],
        cwd=folder,
        env={**kept, **own, **settings},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def as_template(text: str) -> str:
    """Return a text that Ansible evaluates as a template: from 2.19 on it must be marked."""
    trust = getattr(ansible.template, "trust_as_template", str)
    return trust(text)  # type: ignore[no-any-return]


def run_playbook(folder: Path, playbook: str, *arguments: str) -> tuple[int, str]:
    """Exit status and output of a playbook over the inventory of a folder."""
    done = run_ansible(folder, "playbook", "-i", str(folder / "inventory" / "hosts.yml"), playbook, *arguments)
    return done.returncode, done.stdout + done.stderr
