# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the words of a shell command or script that starts QEMU. Nothing in it is run or expanded."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt import texts
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError

MOST_BYTES = 2 * 1024 * 1024
"""Maximum length of a command line in Linux with the usual stack."""

EMULATOR = re.compile(
    r"([^=]*/)?(\.?qemu-system-(?P<arch>[a-z0-9_]+)([.-][^/]*)?|(qemu-)?kvm(-spice)?)|[^=]*/s?bin/qemu", re.DOTALL
)
"""Path of QEMU's system emulator; that of Unraid is .../bin/qemu."""
_NAMED = re.compile(r"(^|[\s/'\"])(qemu-system-|qemu-kvm\s|(?<=bin/)qemu\s|kvm(-spice)?\s+([-\"'$]|\\\r?\n))")
_WORD = re.compile(
    r"""((?:[^\s'"\\$`;&|<>()]|\\.|'[^']*'|"(?:[^"\\$`]|\\.)*")+)(?:\s+|\Z)""",
    re.DOTALL,
)
"""A word of a shell command without expansions."""
_QUOTED = re.compile(r"""\\(.)|'([^']*)'|"((?:[^"\\]|\\.)*)\"""", re.DOTALL)
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=.*", re.DOTALL)
_END = re.compile(r"(\s+([012&]?>>?\s*(&[012]|[^\s;&|<>()$`'\"]+)|<\s*/dev/null))*\s*&?\s*\Z")
"""Redirections to files and the mark of a background command, at the end of a command."""
_SILENT = re.compile(r"set(\s+[-+]\S+(\s+pipefail)?)*|:|true|exit(\s+\d+)?|#.*|")
"""Lines of a script without an effect on the VM."""


_LINE = re.compile(
    r"""(?:[^\n'"\\;&]|\\.|'[^']*'|"(?:[^"\\]|\\.)*"|['"\\]|;(?!\s|\Z)|(?<!&)&(?!&))+""",
    re.DOTALL,
)
"""A command with its quotes. A semicolon within a word ends none: ps shows words without their quotes."""
_COMMENT = re.compile(r"""('[^']*'|"(?:[^"\\]|\\.)*"|\\.)|(?<!\S)\#[^\n]*""", re.DOTALL)
_SPECIAL = re.compile(r"[$`;&|<>()]")


@dataclass(frozen=True)
class _Wrapper:
    """A program that starts the program that its arguments name."""

    valued: frozenset[str] = frozenset()
    """Its options that take the next word as their value."""
    operands: int = 0
    """Words between its options and the program."""
    matters: bool = False
    """True if the VM runs differently without it."""


def _wrapper(valued: str = "", *, operands: int = 0, matters: bool = False) -> _Wrapper:
    return _Wrapper(frozenset(valued.split()), operands, matters)


_WRAPPERS = {
    "catatonit": _wrapper(),
    "cgexec": _wrapper("-g", matters=True),
    "chrt": _wrapper("-T -P -D", operands=1, matters=True),
    "command": _wrapper(),
    "cpulimit": _wrapper("-l --limit", matters=True),
    "doas": _wrapper("-u -C"),
    "dumb-init": _wrapper(),
    "env": _wrapper("-u --unset -C --chdir"),
    "exec": _wrapper("-a"),
    "flock": _wrapper("-w --timeout", operands=1),
    "gosu": _wrapper(operands=1),
    "ionice": _wrapper("-c --class -n --classdata", matters=True),
    "nice": _wrapper("-n --adjustment", matters=True),
    "nohup": _wrapper(),
    "numactl": _wrapper("-i --interleave -p --preferred -m --membind -N --cpunodebind -C --physcpubind", matters=True),
    "pkexec": _wrapper("--user"),
    "prlimit": _wrapper(matters=True),
    "runuser": _wrapper("-u --user -g --group -G --supp-group"),
    "setarch": _wrapper(operands=1, matters=True),
    "setpriv": _wrapper("--reuid --regid --groups --inh-caps --ambient-caps --bounding-set --securebits"),
    "setsid": _wrapper(),
    "stdbuf": _wrapper("-i -o -e --input --output --error"),
    "strace": _wrapper("-o -e -p -E -P -s"),
    "sudo": _wrapper("-u --user -g --group -C -D --chdir -h --host -p --prompt -R -r -t -T -U"),
    "systemd-cat": _wrapper("-t -p"),
    "systemd-run": _wrapper(
        "-p --property -u --unit -E --setenv -M -H --slice --description --uid --gid", matters=True
    ),
    "taskset": _wrapper(operands=1, matters=True),
    "time": _wrapper(),
    "timeout": _wrapper("-s --signal -k --kill-after", operands=1),
    "tini": _wrapper("-p -e"),
    "unshare": _wrapper("-S -G -R -w", matters=True),
}
_SHORT_NAME = "kvm"
"""The name of an emulator that is also that of a kernel module and of a group: alone it does not start QEMU."""
_PLAIN_ENVIRONMENT = re.compile("LC_.*|LANG|PATH|HOME|USER|LOGNAME|XDG_.*|TERM|DISPLAY|PWD|SHELL|TMPDIR")
"""Variables of the environment without an effect on the guest."""


@dataclass
class Command:
    """QEMU's command line within a longer command or a script."""

    words: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    directory: str = ""
    """The directory that the script changes to."""


def split_words(line: str) -> list[str]:
    """Split a command line as a shell does, without expansions."""
    if len(line) > MOST_BYTES:
        raise DeclarationError("command line", f"has {len(line)} characters, and Linux takes {MOST_BYTES} bytes")
    words = []
    line = _END.sub("", re.sub(r"\\\r?\n", " ", line).strip(), count=1)
    position = 0
    while position < len(line):
        match = _WORD.match(line, position)
        if not match:
            special = _SPECIAL.search(line, position)
            quoted = re.search(r"['\"\\]", line[position : special.start() if special else None])
            at = position if quoted or not special else special.start()
            raise DeclarationError(
                "command line", f"at character {at + 1}: {_not_a_word(line[at], quoted is not None)}"
            )
        if match[1].startswith("~"):
            raise DeclarationError("command line", f"{texts.shown(match[1])}: a shell would fill in ~; write the path")
        words.append(_QUOTED.sub(_unquoted, match[1]))
        position = match.end()
    return words


def _not_a_word(character: str, quoted: bool) -> str:
    if quoted or character in "'\"\\":
        return "a quote has no end, or a shell would fill in what is between the quotes"
    return f"a shell would do something at {texts.shown(character)}; quote it, or write the words as a list"


def _unquoted(match: re.Match[str]) -> str:
    if match[1] is not None:
        return match[1]
    return match[2] if match[2] is not None else re.sub(r'\\(["\\$`])', r"\1", match[3])


def is_emulator(word: str) -> bool:
    return EMULATOR.fullmatch(word) is not None


def find_command(words: Sequence[str]) -> Command | None:
    """Return QEMU's command line behind assignments and programs such as sudo; None if there is none."""
    left: list[str] = []
    rest = list(words)
    while rest and not is_emulator(rest[0]):
        name = posixpath.basename(rest[0])
        assignment = _ASSIGNMENT.fullmatch(rest[0])
        if assignment:
            if not _PLAIN_ENVIRONMENT.fullmatch(assignment[1]):
                left.append(f"{assignment[1]} of the environment: the unit does not set it")
            del rest[0]
        elif name in _WRAPPERS:
            length = _length(_WRAPPERS[name], rest)
            if _WRAPPERS[name].matters:
                left.append(f"{_shown(rest[:length])}: the unit does not run QEMU with it")
            del rest[:length]
        else:
            return None
    return Command(rest, left) if rest else None


def _shown(words: Sequence[str]) -> str:
    """Return a wrapper with its arguments, without the texts that it gives to QEMU's environment or credentials."""
    return re.sub(
        r"(\s-E\s*|--setenv[= ]|Environment=|Set\w*Credential\w*=)([^=:\s]*[=:])\S*", r"\1\2...", " ".join(words)
    )


def _length(wrapper: _Wrapper, words: Sequence[str]) -> int:
    """Return the number of words before the program that a wrapper starts."""
    position = 1
    while position < len(words) and words[position].startswith("-"):
        option = words[position]
        if option == "--":
            position += 1
            break
        last = f"-{option[-1]}" if re.fullmatch("-[A-Za-z]+", option) else option
        position += 2 if last in wrapper.valued else 1
    return position + wrapper.operands


def read_script(text: str) -> Command | None:
    """Return QEMU's command line in a command or a script; None if the text is something else."""
    if not _NAMED.search(text) and not is_emulator(text.strip()):
        return None
    if len(text) > MOST_BYTES:
        raise DeclarationError("command line", f"has {len(text)} characters, and Linux takes {MOST_BYTES} bytes")
    lines = _lines(text)
    known = [line for line in lines if _is_known_start(line)]
    starts = known or [line for line in lines if _starts(line)]
    if len(starts) > 1:
        raise DeclarationError("command line", f"the text starts QEMU {len(starts)} times; pass one command line")
    if not starts:
        refuse_unknown_start(text.split())
        return None
    result = Command()
    for line in lines:
        if line in starts:
            command = find_command(split_words(line))
            if command is None:
                raise unknown_start(line.split()[0])
            result.words = command.words
            result.left += command.left
        elif not result.words and re.fullmatch(r"cd\s+/[^\s'\"\\$`;&|<>()*?]*", line):
            result.directory = line.split()[1]
        elif not _SILENT.fullmatch(line):
            result.left.append(f"{_first_word(line)}: a command of the script, which no unit runs")
    return result


def _lines(text: str) -> list[str]:
    """Split a script into commands: a line end in quotes and an indented option after it belong to the command."""
    commands = _COMMENT.sub(lambda match: match[1] or "", text)
    joined = re.sub(r"\n\s*(?=-)", " ", re.sub(r"\\\r?\n", " ", commands).replace("\r\n", "\n"))
    lines = [match[0].strip() for match in _LINE.finditer(joined)]
    return [re.sub(r"^ExecStart\s*=\s*[-@:+!|]*", "", line) for line in lines if line]


def refuse_unknown_start(words: Sequence[str]) -> None:
    """Refuse a command that starts QEMU in a way that is not known here; options of a disk are no command."""
    is_command = bool(words) and not re.match("[-<{]|[A-Za-z0-9_.-]+[=:]", words[0])
    followed = zip(words[1:], [*words[2:], ""])
    if is_command and any(
        is_emulator(word.strip("'\"")) and (word != _SHORT_NAME or after.startswith("-")) for word, after in followed
    ):
        raise unknown_start(words[0])


def unknown_start(word: str) -> DeclarationError:
    """Return the error for a command that starts with an unknown program."""
    problem = f"begins with {texts.shown(word)}; pass the command line from QEMU's program on"
    return DeclarationError("command line", problem)


def _starts(line: str) -> bool:
    """Return True for a line that runs QEMU: its program is a word of its own, before any option of QEMU."""
    if line.startswith(("#", "<", "{")):
        return False
    words = line.split()
    position = next((number for number, word in enumerate(words) if is_emulator(word)), -1)
    if position < 0 or not all(_is_prefix(word) for word in words[:position]):
        return False
    return position == 0 or words[position] != _SHORT_NAME or " ".join(words[position + 1 :]).startswith("-")


def _is_known_start(line: str) -> bool:
    """Return True for a line that runs QEMU, behind nothing but assignments and programs that are known here.

    A script may name QEMU in other lines, such as C(modprobe kvm) or C(pgrep qemu-system-x86_64).
    """
    command = find_command(line.split()) if not line.startswith(("<", "{")) else None
    return command is not None


def _is_prefix(word: str) -> bool:
    return not re.match(r"-{1,2}(drive|device|blockdev|hda|name|m|machine|M)$", word)


def _first_word(line: str) -> str:
    """Return what names a command without its arguments, which may be secret."""
    return re.split(r"[=\s]", line, maxsplit=1)[0][:40]
