# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions to the storage of VMs that will start about its owners, with the programs that their units run, too.

Storage is also taken from its owners here, if a run was told to.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._host.credential_store import Secrets
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import ObservedUnit
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.owners import PROGRAMS
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.storage_owners import (
    FileSource,
    OwnerQuestion,
    StorageOwner,
    StorageOwners,
    Takeover,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.vm_states import STOPPED
from ansible_collections.directdisk.qemu.plugins.module_utils._process import privileges
from ansible_collections.directdisk.qemu.plugins.module_utils._process.private_files import write_private
from ansible_collections.directdisk.qemu.plugins.module_utils._process.private_folders import private_folder
from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import (
    END_WITH_PARENT,
    PYTHON,
    run_bounded,
    text_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths

PLACE = "/run"
"""In memory, so that no secret is written to a disk."""
SECONDS = 8
"""Time limit for all storage together: slow storage must not delay the observation of the host."""
_OF_ROOT = ("path",)
"""Kinds whose program looks into the processes of other users."""
TAKE_SECONDS = 40
"""Time limit for taking storage from its owners: Ceph's servers learn one after the other whom they serve no more."""
_MOST = 16 << 20
"""Bytes of all answers."""

OpenedByUnit = Mapping[str, Mapping[str, bool]]
"""Identities of storage by launch unit."""


class _Answer(TypedDict):
    in_use: str
    not_asked: str
    owners: list[StorageOwner]


def ask_owners(questions: Mapping[str, Sequence[OwnerQuestion]], secrets: Secrets, place: str = PLACE) -> StorageOwners:
    """Return the owners of the storage of VMs that do not run; questions: by VM."""
    asked = [question for some in questions.values() for question in some]
    if not asked:
        return {"in_use": {}, "not_asked": {}, "owners": {}}
    answers = _answers("report", SECONDS, asked, secrets, place)
    pairs = [(question["identity"], answer) for question, answer in zip(asked, answers)]
    return {
        "in_use": {identity: answer["in_use"] for identity, answer in pairs if answer["in_use"]},
        "not_asked": {identity: answer["not_asked"] for identity, answer in pairs if answer["not_asked"]},
        "owners": {identity: answer["owners"] for identity, answer in pairs if answer["owners"]},
    }


def take_over(takeovers: Sequence[Takeover], secrets: Secrets, place: str = PLACE) -> list[str]:
    """Take the storage of a VM from the owners that were observed; return messages about what still has an owner."""
    questions: list[OwnerQuestion] = [
        {**one["question"], "check": {**one["question"]["check"], "take": one["take"]}} for one in takeovers
    ]
    answers = _answers("take", TAKE_SECONDS, questions, secrets, place)
    return [
        f"{one['disk']} {_not_taken(answer)}"
        for one, answer in zip(takeovers, answers)
        if answer["in_use"] or answer["not_asked"]
    ]


def _not_taken(answer: _Answer) -> str:
    if answer["not_asked"]:
        return f"was not taken over: {answer['not_asked']}"
    return f"was not taken over: it {answer['in_use']}"


def _answers(verb: str, seconds: int, asked: Sequence[OwnerQuestion], secrets: Secrets, place: str) -> list[_Answer]:
    """Ask as root only if the program needs it: the others parse what storage answers."""
    of_root = [question["check"]["kind"] in _OF_ROOT for question in asked]
    answers: dict[int, _Answer] = {}
    for one in set(of_root):
        numbers = [number for number, other in enumerate(of_root) if other == one]
        with contextlib.nullcontext(os.geteuid()) if one else privileges.own_user() as user:
            some = _answers_as(user, verb, seconds, [asked[number] for number in numbers], secrets, place)
        answers.update(zip(numbers, some))
    return [answers[number] for number in range(len(asked))]


def _answers_as(
    user: int, verb: str, seconds: int, asked: Sequence[OwnerQuestion], secrets: Secrets, place: str
) -> list[_Answer]:
    with private_folder(place) as folder:
        # Its files are the user's alone; root makes all of them before that user has a process.
        os.chmod(folder, 0o711)
        for path, program in PROGRAMS.items():
            write_private(f"{folder}/{path.rpartition('/')[2]}", text_of(program), owner=(user, user))
        checks = [_placed(question, f"{folder}/{number}", secrets, user) for number, question in enumerate(asked)]
        return _run(user, folder, verb, seconds, checks)


def _run(user: int, folder: str, verb: str, seconds: int, checks: Sequence[Mapping[str, Any]]) -> list[_Answer]:
    program = f"{folder}/{paths.OWNER_PROGRAM.rpartition('/')[2]}"
    command = [*_as_user(user), *END_WITH_PARENT, *PYTHON, program, verb, str(seconds)]
    try:
        done = run_bounded(command, seconds=3 * seconds, most=_MOST, input=json.dumps(checks).encode())
        answers: list[_Answer] = json.loads(done.stdout)
        return answers
    except (HostError, ValueError):
        return [{"in_use": "", "not_asked": "the program that asks has failed", "owners": []}] * len(checks)


def _as_user(user: int) -> list[str]:
    """Return the beginning of a command of another user; a change of the user undoes what END_WITH_PARENT does."""
    if user == os.geteuid():
        return []
    return ["/usr/bin/setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]


def _placed(question: OwnerQuestion, prefix: str, secrets: Secrets, user: int) -> dict[str, Any]:
    """Write the files of a check where its process can read them, and return the check with their paths."""
    places = {path: f"{prefix}.{path.rpartition('/')[2]}" for path in (*question["files"], *question["joins"])}
    for path, content in question["files"].items():
        write_private(places[path], _renamed(_text(content, secrets), places), owner=(user, user))
    for path, parts in question["joins"].items():
        texts = [_read(places[part]) for part in parts]
        joined = "".join(text if text.endswith("\n") else f"{text}\n" for text in texts)
        write_private(places[path], joined, owner=(user, user))
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
