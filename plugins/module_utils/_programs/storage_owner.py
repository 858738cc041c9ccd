# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# pylint: disable=ansible-bad-function
# A program of its own, which no module runs in its own process.
"""qemu-vm-owner.py: asks storage who has it open, so that no VM runs beside another writer.

look SECONDS CHECK...: before QEMU starts: fail if anybody has a disk's storage open (ExecStartPre=).
release SECONDS SOCKET CHECK...: QEMU has opened its disks and waits (-S): let the guest run only if nobody else has
    them open (ExecStartPost=+). Without a SOCKET ("") the VM stays stopped, as its declaration asks.
name SECONDS CHECK...: after a start that failed: name the processes that have a disk's file open (ExecStopPost=+).
report SECONDS: CHECKs as a list on standard input; a list of who has each open on standard output.
take SECONDS: as report, but first take each storage from the owners in "take" of its CHECK. Nothing is taken if others
    have it open, too.

CHECK: a JSON object. "disk" says in words which disk it is; "kind" names the program beside this one that asks the
storage, qemu-vm-owner-KIND.py; the rest is for that program. Secrets are named by their files.

Such a program gets a list of checks on standard input, and prints for each of them a line: a JSON object with "owners"
or with "error". An owner has "name" (who it is), "advice" (what to do about it) and "here" (whether it is at an address
of this host). If it can be taken from, it also has "take" (input of the program for that), "action" (a description of
it) and "address". All who ask see the owners in the same order. If a check has "take", the program takes the storage
from these owners before it answers. The last line of the program's standard error says why it failed; it exits with
UNABLE where this host has no means to tell. It is a process of its own, because a library may hang or crash.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._programs.bounded_file import BoundedFile
from ansible_collections.directdisk.qemu.plugins.module_utils._programs.unix_socket import connect_in_turn

UNABLE = 69  # EX_UNAVAILABLE in sysexits.h
MOST = 1 << 20
"""Bytes of an answer that are read."""
AT_ONCE = 8
"""Number of storages that are asked at the same time."""
PATIENCE = 4.0, 10.0
"""Minimum and maximum time limit in seconds for an answer, whatever start_timeout is."""
PAUSE = 0.2
"""Seconds between two checks while waiting for an owner to close."""
PASSING = 3.0
"""Seconds within which a short-lived client, such as qemu-img info, closes an image."""
FORGOTTEN = 35.0
"""Seconds until Ceph removes the watch of a killed client (osd_client_watch_timeout is 30)."""
RIVALS = (4.0, 8.0)
"""Range of the random delay in seconds after which the first of two VMs that start simultaneously gives up, too."""
OF_ONE = {"rbd": ("pool", "namespace", "image"), "path": ("path",)}
"""Facts, by kind, that may differ between checks of one connection."""
MONITOR = 10.0
"""Time limit in seconds for QEMU's monitor, which serves one client after another."""
OWN = 1
"""Number of owners that are QEMU itself, at storage that lists it, once it opened a disk."""
CLONE_NEWNS = 0x20000  # linux/sched.h

Check = Mapping[str, Any]
Answer = Mapping[str, Any]


class Failed(Exception):
    """An error for the user, in one line."""


class Question:
    """A storage that is being asked by its program, for the checks of one connection."""

    def __init__(self, numbers: Sequence[int], checks: Sequence[Check], seconds: float) -> None:
        self.numbers = numbers
        program = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), f"qemu-vm-owner-{checks[0]['kind']}.py")
        self._said = BoundedFile()
        with tempfile.TemporaryFile() as asked:
            asked.write(json.dumps(checks).encode())
            asked.seek(0)
            self.process = subprocess.Popen(
                [sys.executable or "/usr/bin/python3", "-IS", program, str(seconds)],
                stdin=asked,
                stdout=subprocess.PIPE,
                stderr=self._said.handle,
            )
        if self.process.stdout is None:
            raise AssertionError
        self.stream = self.process.stdout
        self.heard = b""

    def hear(self) -> bool:
        """Read the output so far; return True if there may be more that is read."""
        data = os.read(self.stream.fileno(), 65536)
        self.heard += data
        if len(self.heard) > MOST:
            self.process.kill()
            return False
        return bool(data)

    def end(self) -> list[Answer]:
        """Return the complete lines of the answer."""
        by_itself = self.process.poll() is not None
        self.process.kill()
        status = self.process.wait()
        self.stream.close()
        words = self._said.last_line() if status > 0 else ""
        self._said.close()
        found = sound_answers(self.heard)
        if by_itself and status:
            crashed = f"it answers with more than {MOST} bytes" if len(self.heard) > MOST else f"it crashed ({status})"
            error = {"error": words or crashed, "unable": status == UNABLE}
            found += [error] * (len(self.numbers) - len(found))
        return found


def sound_answers(heard: bytes) -> list[Answer]:
    """Read the complete lines of an answer, up to the first that is none: storage may have taken its program over."""
    found: list[Answer] = []
    for line in heard.split(b"\n")[:-1]:
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            return found
        if not isinstance(answer, dict):
            return found
        found.append(answer)
    return found


def groups(checks: Sequence[Check]) -> list[list[int]]:
    """Group the numbers of the checks that one connection answers."""
    found: dict[str, list[int]] = {}
    for number, check in enumerate(checks):
        own = ("disk", "take", *OF_ONE.get(check["kind"], ()))
        same = {name: content(value) for name, value in check.items() if name not in own}
        found.setdefault(json.dumps(same, sort_keys=True), []).append(number)
    return list(found.values())


def content(value: Any) -> Any:
    """Read a file, to compare contents: each disk has a file of its own, often with the same content."""
    # A number would be the number of an open file.
    if not isinstance(value, str) or not value.startswith("/"):
        return value
    try:
        with open(value, encoding="utf-8") as stream:
            return stream.read()
    except (OSError, ValueError):
        return value


def ask(checks: Sequence[Check], seconds: float) -> list[Answer]:
    """Ask all storages in parallel; a missing answer is an error."""
    answers: list[Answer] = [{"error": f"no answer within {seconds:g} s"} for _check in checks]
    waiting, deadline = groups(checks), time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:

        def finish(question: Question) -> None:
            selector.unregister(question.stream)
            for number, answer in zip(question.numbers, question.end()):
                answers[number] = answer

        while waiting or selector.get_map():
            while waiting and len(selector.get_map()) < AT_ONCE:
                numbers = waiting.pop(0)
                question = Question(numbers, [checks[number] for number in numbers], seconds)
                selector.register(question.stream, selectors.EVENT_READ, question)
            ready = selector.select(max(deadline - time.monotonic(), 0))
            if not ready:
                break
            for key, _events in ready:
                if not key.data.hear():
                    key.data.process.wait()
                    finish(key.data)
        for key in list(selector.get_map().values()):
            finish(key.data)
    return answers


def owners(answer: Answer, most: int = 0) -> str:
    """Return who has it open, with advice; empty if there are no more than ``most`` owners."""
    found = answer.get("owners", ())
    if len(found) <= most:
        return ""
    # The entry of this VM's own QEMU is not told from others of this host.
    found = [owner for owner in found if not (most and owner["here"])] or found
    names = " and ".join(dict.fromkeys(owner["name"] for owner in found))
    return f"is {names}; {found[0]['advice']}"


def answer_time(seconds: float) -> float:
    least, most = PATIENCE
    return max(min(seconds, most), least)


def look(seconds: float, checks: Sequence[Check]) -> str:
    """Check before the start. An error of the storage is ignored here: QEMU reports it, too."""
    begun = time.monotonic()
    while True:
        answers = ask(checks, answer_time(seconds))
        taken = [f"{check['disk']} {owners(one)}" for check, one in zip(checks, answers) if owners(one)]
        # A QEMU of this host that was killed is forgotten after a while.
        here = all(owner["here"] for answer in answers for owner in answer.get("owners", ()))
        if not taken or time.monotonic() - begun + PAUSE > min(FORGOTTEN if here else PASSING, seconds):
            return "\n".join(taken)
        time.sleep(PAUSE)


def release(seconds: float, monitor: str, checks: Sequence[Check]) -> str:
    """Check with QEMU's disks open. Two VMs that start at once see each other: the second gives up, the first waits."""
    become_like(os.environ["MAINPID"])
    patience = min(random.uniform(*RIVALS), seconds)
    begun = time.monotonic()
    while True:
        taken, firsts = [], []
        for check, answer in zip(checks, ask(checks, answer_time(seconds))):
            if "error" in answer and not answer.get("unable"):
                return f"{check['disk']} does not report who has it open: {answer['error']}; the guest was not started"
            if owners(answer, OWN):
                taken.append(f"{check['disk']} {owners(answer, OWN)}")
                firsts.append(answer["owners"][0]["here"])
        if not taken:
            return go_on(monitor) if monitor else ""
        # QEMU opens the disks in one order on all hosts, so the first one decides.
        if not firsts[0] or time.monotonic() - begun + PAUSE > patience:
            return "\n".join(taken)
        time.sleep(PAUSE)


def become_like(pid: str) -> None:
    """Become the user of a process, in its mount namespace, which has its credentials."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as stream:
        found = dict(line.rstrip("\n").partition(":\t")[::2] for line in stream)
    users, groups, more = ([int(number) for number in found[name].split()] for name in ("Uid", "Gid", "Groups"))
    if 0 in users + groups:
        raise Failed(f"process {pid} runs as root")
    libc = ctypes.CDLL(None, use_errno=True)
    space = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
    if libc.setns(space, CLONE_NEWNS):
        raise Failed(f"setns: {os.strerror(ctypes.get_errno())}")
    os.close(space)
    os.setgroups(more)
    os.setresgid(*groups[:3])
    os.setresuid(*users[:3])


def go_on(monitor: str) -> str:
    """Have QEMU run the guest; return the error, or nothing."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connect_in_turn(connection, monitor, MONITOR)
            with connection.makefile() as lines:
                return error_of(connection, lines)
        except (BlockingIOError, socket.timeout):
            why = "another client holds it; the guest was not started"
            return f"QEMU's monitor has not answered within {MONITOR:g} s: {why}"


def error_of(connection: socket.socket, lines: Iterable[str]) -> str:
    """Have QEMU run the guest over a connection; return the error, or nothing."""
    for command in ("qmp_capabilities", "cont"):
        connection.sendall(json.dumps({"execute": command}).encode() + b"\n")
        answers = (message for message in map(json.loads, lines) if "return" in message or "error" in message)
        answer = next(answers, {"error": {"desc": "QEMU ended while it started"}})
        if "error" in answer:
            return str(answer["error"]["desc"])
    return ""


def report(seconds: float, checks: Sequence[Check]) -> list[dict[str, Any]]:
    """Return who has each storage open ("in_use"), or why that is not known ("not_asked")."""
    return [
        {
            "in_use": owners(answer),
            "not_asked": answer.get("error", ""),
            "owners": [{"take": None, "address": "", "action": "", **owner} for owner in answer.get("owners", ())],
        }
        for answer in ask(checks, seconds)
    ]


def take(seconds: float, checks: Sequence[Check]) -> list[dict[str, Any]]:
    """Take storage from its owners, and report who has it open then. All owners must be those in the checks."""
    named = [{**check, "take": []} for check in checks]
    due = []
    for check, answer in zip(checks, ask(named, seconds)):
        taken = [owner["take"] for owner in answer.get("owners", ()) if owner.get("take") in check["take"]]
        others = [owner for owner in answer.get("owners", ()) if owner.get("take") not in check["take"]]
        due.append({**check, "take": [] if others else taken})
    return report(seconds, due)


def main(verb: str, seconds: float, rest: list[str]) -> str:
    """Run the command of a unit or a module; return the reason to stop a start, or nothing."""
    if verb in ("report", "take"):
        print(json.dumps((take if verb == "take" else report)(seconds, json.load(sys.stdin))))
        return ""
    monitor = rest.pop(0) if verb == "release" else ""
    checks = [json.loads(text) for text in rest]
    if verb == "release":
        return release(seconds, monitor, checks)
    if verb == "look":
        return look(seconds, checks)
    # systemd says how the VM ended (systemd.exec(5), "SERVICE_RESULT").
    if os.environ.get("SERVICE_RESULT") != "success":
        for check, answer in zip(checks, report(seconds, checks)):
            if answer["in_use"]:
                print(f"{check['disk']} {answer['in_use']}", flush=True)
    return ""


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1], float(sys.argv[2]), sys.argv[3:]) or None)
    except (Failed, OSError) as problem:
        sys.exit(str(problem))
