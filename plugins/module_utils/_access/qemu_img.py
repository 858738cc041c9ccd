# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# pylint: disable=ansible-bad-function
"""qemu-img's check of what a storage daemon serves."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._access.confinement import Confinement
from ansible_collections.directdisk.qemu.plugins.module_utils._access.storage_daemon import exported_node
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workspace import Workspace
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import MOST, Ended, run_bounded
from ansible_collections.directdisk.qemu.plugins.module_utils._programs.bounded_file import BoundedFile

_PERCENT = re.compile(rb"\(\s*([0-9]{1,3}\.[0-9]{2})/100%\)")
_CHUNK = 4096
_CHECK_SECONDS = 3600
"""Time limit for a check: it reads the tables of an image, and tables may name others without an end."""
_CHECKED = (0, 2, 3)
"""Exit status after a check: no errors, corrupt, leaks (qemu-img(1), "check")."""


def run_qemu_img(bench: Workspace, *arguments: str, seconds: float | None = None, most: int = MOST) -> Ended:
    """Run qemu-img on exports and files in the folder of a workspace, as the user of its processes.

    A storage daemon that a server has taken over may answer anything, and put links into that folder. Without
    ``seconds`` it may take any time, as the contents of a disk do; most: bytes that it may write.
    """
    command = [*bench.confined(Confinement()), "qemu-img", *arguments]
    try:
        return run_bounded(command, seconds=seconds, most=most)
    except HostError as error:
        raise type(error)(f"qemu-img {arguments[0]} {error}") from None


def output_of_qemu_img(bench: Workspace, *arguments: str, most: int = MOST) -> str:
    """Return the output of qemu-img; raise HostError with its error output if it fails."""
    done = run_qemu_img(bench, *arguments, most=most)
    if done.returncode:
        raise HostError(done.stderr.strip() or f"qemu-img: exit status {done.returncode}")
    return done.stdout


def copy_by_qemu_img(bench: Workspace, size: int, *arguments: str) -> None:
    """Run qemu-img convert, and report its progress; size: bytes that are copied."""
    command = [*bench.confined(Confinement()), "qemu-img", "convert", "-p", *arguments]
    with (
        bench.progress.step("copy", size) as step,
        BoundedFile() as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors.handle) as process,
    ):
        if process.stdout is None:
            raise AssertionError
        while told := os.read(process.stdout.fileno(), _CHUNK):
            for percent in _PERCENT.findall(told):
                step.done = int(size * float(percent) / 100)
        if process.wait():
            raise HostError(errors.text().strip() or f"qemu-img: exit status {process.returncode}")


def check_qcow2(uri: str, passphrase: str, bench: Workspace) -> dict[str, Any]:
    """Run qemu-img check on a qcow2, and return its report; passphrase: of an encrypted one."""
    node: dict[str, Any] = {"driver": "qcow2", "backing": None, "file": exported_node(uri)}
    objects: list[str] = []
    if passphrase:
        node["encrypt"] = {"format": "luks", "key-secret": "key"}
        objects = ["--object", f"secret,id=key,file={bench.file('check.key', passphrase)}"]
    done = run_qemu_img(bench, "check", "--output=json", *objects, f"json:{json.dumps(node)}", seconds=_CHECK_SECONDS)
    if done.returncode not in _CHECKED:
        raise HostError(f"qemu-img check: {done.stderr.strip() or done.returncode}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report
