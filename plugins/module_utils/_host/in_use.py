# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the storage of machines that are to start who has it open, with the programs that their units ask with."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._host.credential_store import Secrets
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.owners import PROGRAMS
from ansible_collections.directdisk.qemu.plugins.module_utils._process.private_folders import private_folder
from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import END_WITH_PARENT, PYTHON, text_of
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths

PLACE = "/run"
"""In memory, so that no secret is written to a disk."""
SECONDS = 8
"""What all storages together have to answer: one that is slow does not hold up the look at the host."""

Question = Mapping[str, Any]


def ask_owners(questions: Mapping[str, Sequence[Question]], secrets: Secrets, place: str = PLACE) -> dict[str, Any]:
    """By identity of the storage: ``in_use``, who has it open, and ``not_asked``, why that is not known.

    questions: as owners.questions() makes them, of machines that do not run.
    """
    asked = [question for some in questions.values() for question in some]
    if not asked:
        return {"in_use": {}, "not_asked": {}}
    with private_folder(place) as folder:
        for path, program in PROGRAMS.items():
            _write(f"{folder}/{path.rpartition('/')[2]}", text_of(program))
        checks = [_placed(question, f"{folder}/{number}", secrets) for number, question in enumerate(asked)]
        answers = _run(folder, checks)
    pairs = [(question["identity"], answer) for question, answer in zip(asked, answers)]
    return {
        key: {identity: answer[key] for identity, answer in pairs if answer[key]} for key in ("in_use", "not_asked")
    }


def _run(folder: str, checks: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    program = f"{folder}/{paths.OWNER_PROGRAM.rpartition('/')[2]}"
    command = [*END_WITH_PARENT, *PYTHON, program, "report", str(SECONDS)]
    try:
        done = subprocess.run(
            command, input=json.dumps(checks), capture_output=True, text=True, timeout=2 * SECONDS, check=False
        )
        answers: list[dict[str, str]] = json.loads(done.stdout)
        return answers
    except (subprocess.TimeoutExpired, ValueError):
        return [{"in_use": "", "not_asked": "the program that asks has failed"}] * len(checks)


def _placed(question: Question, prefix: str, secrets: Secrets) -> dict[str, Any]:
    """A check whose files are where this process can read them; in the unit they are somewhere else."""
    places = {path: f"{prefix}.{path.rpartition('/')[2]}" for path in (*question["files"], *question["joins"])}
    for path, content in question["files"].items():
        _write(places[path], _renamed(_text(content, secrets), places))
    for path, parts in question["joins"].items():
        texts = [_read(places[part]) for part in parts]
        _write(places[path], "".join(text if text.endswith("\n") else f"{text}\n" for text in texts))
    return {
        name: places.get(value, value) if isinstance(value, str) else value for name, value in question["check"].items()
    }


def _text(content: Mapping[str, str], secrets: Secrets) -> str:
    if "secret" in content:
        return secrets[content["secret"]]
    return _read(content["source"]) if "source" in content else content["text"]


def _renamed(text: str, places: Mapping[str, str]) -> str:
    """The longest first: a path may begin another one."""
    for path in sorted(places, key=len, reverse=True):
        text = text.replace(path, places[path])
    return text


def _read(path: str) -> str:
    """Nothing where there is no such file: the storage is asked all the same, and says what it lacks."""
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except OSError:
        return ""


def _write(path: str, text: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)


def of_stopped(
    questions: Mapping[str, Sequence[Question]], states: Mapping[str, Mapping[str, Any]], stopped: Iterable[str]
) -> dict[str, Sequence[Question]]:
    """Only of machines that do not run, nor start just now: those have their storage open themselves."""
    return {
        name: some
        for name, some in questions.items()
        if states.get(paths.unit_name(name), {}).get("active", "") in stopped
    }
