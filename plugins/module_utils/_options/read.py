# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads declared values by option tables: checks types, guesses nothing."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Callable, NoReturn

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import Collected, DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option

_SIZE = re.compile(r"^(\d{1,19}(?:\.\d{1,19})?)\s*(?:([kKMGTP])(i?B?|B)?|B)?$")
_MOST = 2**63 - 1
"""The largest size that QEMU can count."""
_POWERS = {"K": 1, "M": 2, "G": 3, "T": 4, "P": 5}
_LINE = re.compile(r"[^\n]*[\r\n]+")
"""One line of text with its line break: a text of several lines, such as a key in PEM, needs its last one."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_LAST = "".join(chr(plane + last) for plane in range(0, 0x110000, 0x10000) for last in (0xFFFE, 0xFFFF))
_NO_TEXT = re.compile(f"[\ud800-\udfff\ufdd0-\ufdef{_LAST}]")
"""Surrogates and noncharacters: systemd stops reading a unit at such a character."""


def parse_size(text: Any) -> int:
    """Return the bytes of ``20GiB``, ``20G`` (the same: powers of 1024, as QEMU reads them) or of a whole number.

    A decimal unit (``GB``) is refused because it is ambiguous.
    """
    if isinstance(text, bool) or not isinstance(text, (int, str)):
        raise DeclarationError("", f"{text!r} is not a size; write for example 20GiB")
    if isinstance(text, int):
        text = str(min(text, _MOST + 1))  # refused below, however many digits it has
    match = _SIZE.match(text.strip())
    if not match:
        raise DeclarationError("", f"{text!r} is not a size; write for example 20GiB")
    number, unit, rest = match.groups()
    if unit and rest == "B":
        raise DeclarationError(
            "", f"{text!r}: {unit}B is ambiguous; write {unit.upper() if unit != 'k' else 'K'}iB, powers of 1024"
        )
    size = (Fraction(number) if "." in number else int(number)) * 1024 ** _POWERS.get((unit or "").upper(), 0)
    if size.denominator != 1 or not 0 < size <= _MOST:
        raise DeclarationError("", f"{text!r} is not a whole, positive number of bytes, {_MOST} at most")
    return int(size)


def in_words(size: int, *others: int) -> str:
    """Format bytes as ``10 GiB``, in the largest unit that gives a whole number.

    others: the other sizes in the same message, which is easier to compare in one unit.
    """
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if any((size, *others)) and not any(one % 1024**power for one in (size, *others)):
            return f"{size // 1024**power} {unit}"
    return f"{size} bytes"


def _read_str(value: Any) -> str:
    if isinstance(value, (Mapping, list)) or value is None:
        raise DeclarationError("", f"{_kind(value)} given, not text")
    text = ("true" if value else "false") if isinstance(value, bool) else str(value)
    if text.isprintable():  # that is nearly every text, and faster than the patterns
        return text
    if _CONTROL.search(text):
        raise DeclarationError("", "contains a control character")
    check_characters(text)
    return text


def check_characters(text: str) -> None:
    """Refuse characters that UTF-8 or a unit file cannot hold."""
    found = _NO_TEXT.search(text)
    if found:
        raise DeclarationError("", f"has U+{ord(found[0]):04X} in it, which is not a character")


def _read_int(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.match(r"^[+-]?\d{1,18}$", value.strip()):
        return int(value)
    raise DeclarationError("", f"{value!r} is not a whole number")


def _read_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise DeclarationError("", f"{value!r} is not true or false")


def check_resolved(option: str, path: str) -> None:
    """Refuse a path that leads upwards."""
    if ".." in path.split("/"):
        raise DeclarationError(option, f"{path!r} contains '..'; write the resolved path")


def _read_path(value: Any) -> str:
    text = _read_str(value)
    if not text.startswith("/") or "\n" in text:
        raise DeclarationError("", f"{text!r} is not an absolute path")
    check_resolved("", text)
    return re.sub("/+", "/", text).rstrip("/") or "/"


def _read_hex(value: Any) -> str:
    text = _read_str(value)
    if not re.fullmatch("[0-9a-fA-F]+", text):
        raise DeclarationError("", f"{text!r} is not hexadecimal")
    return text.lower()


def _read_any(value: Any) -> Any:
    return value


_READERS: dict[str, Callable[[Any], Any]] = {
    "str": _read_str,
    "int": _read_int,
    "bool": _read_bool,
    "size": parse_size,
    "path": _read_path,
    "hex": _read_hex,
    "any": _read_any,
}


def read_options(options: Sequence[Option], declared: Any, where: str) -> dict[str, Any]:
    """Return the declared values with their types, plus the defaults. Raises all errors together."""
    if not isinstance(declared, Mapping):
        raise DeclarationError(where, f"{_kind(declared)} given, not options ({', '.join(o.name for o in options)})")
    known = _by_name(tuple(options))
    errors: list[Exception] = _unknown_options(declared, known, where)
    values: dict[str, Any] = {}
    for key, value in declared.items():
        option = known.get(str(key))
        if option is None:
            continue
        try:
            if option.name in values:
                raise DeclarationError(where, f"{option.name} is set twice, also as {key!r}")
            if value is not None:
                values[option.name] = _read_value(option, value, where)
        except (DeclarationError, Collected) as error:
            errors.append(error)
    for option in options:
        if option.name not in values:
            if option.required and all(declared.get(name) is None for name in (option.name, *option.aliases)):
                errors.append(DeclarationError(where, f"{option.name} is missing: {_plain(option.summary)}"))
            elif option.default is not None:
                values[option.name] = option.default
    raise_collected(errors)
    return values


@functools.lru_cache(maxsize=256)
def _by_name(options: tuple[Option, ...]) -> Mapping[str, Option]:
    """Return options by their names and aliases."""
    return {name: option for option in options for name in (option.name, *option.aliases)}


def _unknown_options(declared: Mapping[Any, Any], known: Mapping[str, Option], where: str) -> list[Exception]:
    """Return an error for each unknown option; all names of options once, if one has no near name."""
    errors: list[Exception] = []
    listed = False
    for key in map(str, declared):
        if key in known:
            continue
        hint = nearest(key, known) if listed else did_you_mean(key, known)
        listed = listed or not nearest(key, known)
        errors.append(DeclarationError(where, f"unknown option {key!r}{hint}"))
    return errors


def raise_collected(errors: Sequence[Exception]) -> None:
    """Raise the only error, or all of them as one Collected; do nothing if there is none."""
    if errors:
        raise joined(errors)


def joined(errors: Sequence[Exception]) -> Exception:
    """Return the only error, or all of them as one Collected."""
    flat: list[Any] = []
    for error in errors:
        flat.extend(error.errors if isinstance(error, Collected) else [error])
    return flat[0] if len(flat) == 1 else Collected(flat)


def _read_value(option: Option, value: Any, where: str) -> Any:
    if option.type == "dict":
        return read_options(option.options, value, f"{where}: {option.name}")
    if option.type == "list":
        if not isinstance(value, (list, tuple)):
            raise DeclarationError(f"{where}: {option.name}", f"{_kind(value)} given, not a list")
        if option.elements == "dict":
            return tuple(read_options(option.options, element, f"{where}: {option.name}") for element in value)
        item = Option(
            option.name,
            option.summary,
            option.elements or "str",
            pattern=option.pattern,
            pattern_help=option.pattern_help,
        )
        return tuple(_read_scalar(item, element, where) for element in value)
    return _read_scalar(option, value, where)


def _read_scalar(option: Option, value: Any, where: str) -> Any:
    def refuse(problem: str) -> NoReturn:
        raise DeclarationError(f"{where}: {option.name}", problem)

    # YAML 1.1 reads a bare on/off/no as a boolean, but a choice may have such a name.
    if option.choices and isinstance(value, bool):
        value = next(
            (word for word in (("on", "yes") if value else ("off", "no", "none")) if word in option.choices), value
        )
    if option.secret and isinstance(value, str):
        _check_secret(value, refuse)
    try:
        result = _READERS[option.type](value)
    except DeclarationError as error:
        # A secret must not reach a message, not even if it has the wrong type.
        refuse("is not text" if option.secret else error.problem)
    if option.choices and result not in option.choices:
        refuse(f"{result!r} is not one of {', '.join(option.choices)}{nearest(str(result), option.choices)}")
    if option.pattern and not re.fullmatch(option.pattern, result):
        refuse(f"{'its text' if option.secret else repr(result)} {option.pattern_help or 'does not fit'}")
    if option.minimum is not None and result < option.minimum:
        refuse(f"{result} is less than {option.minimum}")
    if option.maximum is not None and result > option.maximum:
        refuse(f"{result} is more than {option.maximum}")
    return result


def _check_secret(text: str, refuse: Callable[[str], NoReturn]) -> None:
    """Refuse what editors and vaults make of a secret; no server says so."""
    if _LINE.fullmatch(text):
        refuse("its text ends with a line break; encrypt it without one (echo -n), or add | trim")
    if "\r\n" in text:
        refuse("its lines end as on Windows (CRLF); encrypt it with those of Unix")


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint with the nearest known name; empty if none is near."""
    near = difflib.get_close_matches(word, sorted(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint with the nearest known name, or with all names."""
    names = sorted(known)
    return nearest(word, names) or (f" (there are: {', '.join(names)})" if names else "")


def _plain(summary: str) -> str:
    """Return a summary without Ansible's markup, for use within a sentence."""
    text = re.sub(r"\b[A-Z]+\(([^()]*)\)", lambda match: match.group(1).replace("=", ": ", 1), summary)
    return f"{text[:1].lower()}{text[1:]}"


def _kind(value: Any) -> str:
    """Name the type of a value, not the value: it may be a misplaced secret."""
    if value is None:
        return "nothing"
    kinds = ((Mapping, "a set of options"), ((list, tuple), "a list"), (str, "text"), (bool, "a truth value"))
    return next((words for kind, words in kinds if isinstance(value, kind)), "a number")
