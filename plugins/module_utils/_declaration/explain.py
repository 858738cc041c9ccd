# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the words of QEMU and of helpers to what they mean and what to do: the rule for units and for modules."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Hint
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError, StorageError

_SILENT = Hint(
    "does not answer: timed out|not done after",
    "its server does not answer within open_timeout",
    "check that it runs and that this host may reach it",
)
_FULL = Hint("No space left|NOSPC|Disk quota exceeded|DQUOT", "its storage is full", "make room there")
_FORMAT = Hint(
    "Image is not in qcow2 format|is not in LUKS format|is not LUKS",
    "the image has another format",
    "declare the format that it has",
)
_PASSPHRASE = Hint("cannot unlock any keyslot", "the passphrase does not open the image", "correct luks.passphrase")
_COMMON = (_SILENT, _FULL, _FORMAT, _PASSPHRASE)


def find_hint(hints: Iterable[Hint], words: str) -> Hint | None:
    """What words mean."""
    return next((hint for hint in hints if re.search(hint.pattern, words)), None)


def explained(disk: Disk, error: HostError) -> StorageError:
    """The one line in which a disk's storage fails; an error that is one already stays as it is."""
    if isinstance(error, StorageError):
        return error
    words = " ".join(str(error).split())
    hint = find_hint((*disk.backend.hints, *_COMMON), words)
    said = f"{hint.meaning}; {hint.advice} ({words})" if hint else words
    return StorageError(f"{disk.described}: {said}")


@contextlib.contextmanager
def storage_errors(disk: Disk) -> Iterator[None]:
    """Whatever fails meanwhile, failed over this disk."""
    try:
        yield
    except HostError as error:
        raise explained(disk, error) from None
