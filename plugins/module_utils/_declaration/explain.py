# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adds meaning and advice to messages of QEMU and its helpers, for units and modules."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Hint
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError, StorageError

_SILENT = Hint(
    "does not answer: timed out|not done after",
    "its server does not answer within open_timeout",
    "check that it runs and that this host may reach it",
)
_SLOW = Hint(
    _SILENT.pattern, "it was not done within open_timeout", "allow it more, or run it when the host has less to do"
)
"""The same for a disk without a server."""
_FULL = Hint("No space left|NOSPC|Disk quota exceeded|DQUOT", "its storage is full", "free space there")
_FORMAT = Hint(
    "Image is not in qcow2 format|is not in LUKS format|is not LUKS",
    "the image has another format",
    "declare the format that it has",
)
_PASSPHRASE = Hint("cannot unlock any keyslot", "the passphrase does not open the image", "correct luks.passphrase")
_COMMON = (_FULL, _FORMAT, _PASSPHRASE)


_SYSTEMD = re.compile(r"\S+\.(service|scope|target|mount|timer|slice): ")
"""Begins the messages of systemd about a unit."""
_OWN_NAME = re.compile(r"\S*\bqemu-vms?[-./]\S*")
"""A file, folder or unit of a VM, whose name has that of the VM in it."""
_ARGUMENT = re.compile(r"-(?:blockdev|object|device|netdev|chardev|drive) (?:\{.*\}|\S+): ")
"""The argument that QEMU repeats before its message."""


def find_hint(hints: Iterable[Hint], message: str, declared: Iterable[str] = ()) -> Hint | None:
    """Return the first hint whose pattern matches a message, apart from what the collection itself has written.

    A message of systemd, such as "start-post operation timed out", has words that storage uses, too, and another cause.
    declared: texts that a message may repeat, such as the names of a server and of an export.
    """
    of_systemd = bool(_SYSTEMD.match(message))
    words, texts = _OWN_NAME.sub("", _ARGUMENT.sub("", message)), tuple(declared)
    return next((hint for hint in hints if hint.of_systemd == of_systemd and _matches(hint, words, texts)), None)


def _matches(hint: Hint, words: str, texts: tuple[str, ...]) -> bool:
    for text in texts:
        if re.search(hint.pattern, text):
            words = words.replace(text, "")
    return bool(re.search(hint.pattern, words))


def declared_texts(value: Any) -> Iterator[str]:
    """Yield the texts in the options of a disk."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for inner in value:
            yield from declared_texts(inner)
    elif isinstance(value, str) and value:
        yield value


def explained(disk: Disk, error: HostError) -> StorageError:
    """Return the error of a disk's storage in one line; a StorageError stays as it is."""
    if isinstance(error, StorageError):
        return error
    message = " ".join(str(error).split())
    silent = _SILENT if disk.backend.access.reach(disk.source).servers else _SLOW
    hint = find_hint((*disk.backend.hints, silent, *_COMMON), message, declared_texts(disk.source))
    text = f"{hint.meaning}; {hint.advice} ({message})" if hint else message
    return StorageError(f"{disk.described}: {text}")


@contextlib.contextmanager
def storage_errors(disk: Disk) -> Iterator[None]:
    """Turn errors within the block into errors of this disk's storage."""
    try:
        yield
    except HostError as error:
        raise explained(disk, error) from None
