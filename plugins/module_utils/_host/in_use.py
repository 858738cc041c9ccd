# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions to the storage of VMs that will start about its owners, with the programs that their units run, too."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from ansible_collections.directdisk.qemu.plugins.module_utils._host.credential_store import Secrets
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import STOPPED
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import (
    FileSource,
    ObservedUnit,
    OwnerQuestion,
    StorageOwners,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.owners import PROGRAMS
from ansible_collections.directdisk.qemu.plugins.module_utils._process.private_files import write_private
from ansible_collections.directdisk.qemu.plugins.module_utils._process.private_folders import private_folder
from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import END_WITH_PARENT, PYTHON, text_of
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths

PLACE = "/run"
"""In memory, so that no secret is written to a disk."""
SECONDS = 8
"""Time limit for all storage together: slow storage must not delay the observation of the host."""


OpenedByUnit = Mapping[str, Mapping[str, bool]]
"""Identities of storage by launch unit."""


class _Answer(TypedDict):
    in_use: str
    not_asked: str


def ask_owners(questions: Mapping[str, Sequence[OwnerQuestion]], secrets: Secrets, place: str = PLACE) -> StorageOwners:
    """Return the owners of the storage of VMs that do not run; questions: by VM."""
    asked = [question for some in questions.values() for question in some]
    if not asked:
        return {"in_use": {}, "not_asked": {}}
    with private_folder(place) as folder:
        for path, program in PROGRAMS.items():
            write_private(f"{folder}/{path.rpartition('/')[2]}", text_of(program))
        checks = [_placed(question, f"{folder}/{number}", secrets) for number, question in enumerate(asked)]
        answers = _run(folder, checks)
    pairs = [(question["identity"], answer) for question, answer in zip(asked, answers)]
    return {
        "in_use": {identity: answer["in_use"] for identity, answer in pairs if answer["in_use"]},
        "not_asked": {identity: answer["not_asked"] for identity, answer in pairs if answer["not_asked"]},
    }


def _run(folder: str, checks: Sequence[Mapping[str, Any]]) -> list[_Answer]:
    program = f"{folder}/{paths.OWNER_PROGRAM.rpartition('/')[2]}"
    command = [*END_WITH_PARENT, *PYTHON, program, "report", str(SECONDS)]
    try:
        done = subprocess.run(
            command, input=json.dumps(checks), capture_output=True, text=True, timeout=2 * SECONDS, check=False
        )
        answers: list[_Answer] = json.loads(done.stdout)
        return answers
    except (subprocess.TimeoutExpired, ValueError):
        return [{"in_use": "", "not_asked": "the program that asks has failed"}] * len(checks)


def _placed(question: OwnerQuestion, prefix: str, secrets: Secrets) -> dict[str, Any]:
    """Write the files of a check where this process can read them, and return the check with their paths."""
    places = {path: f"{prefix}.{path.rpartition('/')[2]}" for path in (*question["files"], *question["joins"])}
    for path, content in question["files"].items():
        write_private(places[path], _renamed(_text(content, secrets), places))
    for path, parts in question["joins"].items():
        texts = [_read(places[part]) for part in parts]
        write_private(places[path], "".join(text if text.endswith("\n") else f"{text}\n" for text in texts))
    return {
        name: places.get(value, value) if isinstance(value, str) else value for name, value in question["check"].items()
    }


def _text(content: FileSource, secrets: Secrets) -> str:
    if "secret" in content:
        return secrets[content["secret"]]
    return _read(content["source"]) if "source" in content else content["text"]


def _renamed(text: str, places: Mapping[str, str]) -> str:
    # The longest first: a path may be the beginning of another one.
    for path in sorted(places, key=len, reverse=True):
        text = text.replace(path, places[path])
    return text


def _read(path: str) -> str:
    """Return the text of a file, empty if it does not exist: the program that asks then reports what is missing."""
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except OSError:
        return ""


def of_closed(
    questions: Mapping[str, Sequence[OwnerQuestion]], states: Mapping[str, ObservedUnit], opened: OpenedByUnit
) -> dict[str, Sequence[OwnerQuestion]]:
    """Return the questions about storage that its VM does not have open itself; opened: by the VMs that have units."""
    return {
        name: [question for question in some if question["identity"] not in _open_of(name, states, opened)]
        for name, some in questions.items()
    }


def _open_of(vm: str, states: Mapping[str, ObservedUnit], opened: OpenedByUnit) -> Mapping[str, bool]:
    unit = paths.unit_name(vm)
    return {} if unit not in states or states[unit]["active"] in STOPPED else opened.get(unit, {})
