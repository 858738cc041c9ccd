# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What guests, servers and processes say cannot steer the terminal of who reads it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError, printable, printable_data

HOSTILE = "\x1b]0;owned\x07\x1b[2J\r\n\x9b31m\u202egpj.exe\udcff"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("as it is: é 漢 a\tb", "as it is: é 漢 a\tb"),
        (HOSTILE, "\\x1b]0;owned\\x07\\x1b[2J\\x0d\\x0a\\x9b31m\\u202egpj.exe\\udcff"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_what_would_act_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_what_is_shown_has_nothing_that_acts(text: str) -> None:
    shown = printable(text)
    assert shown.replace("\t", "").replace("\u00a0", "").isprintable() or not text.isprintable()
    assert not any(char in shown for char in "\x1b\x07\r\n\x9b\u202e\u2028")
    assert printable(shown) == shown
    shown.encode()


def test_every_error_is_shown_so() -> None:
    assert str(HostError("first\nsecond \x1b[31m")) == "first\nsecond \\x1b[31m"


def test_data_keeps_its_form() -> None:
    assert printable_data({"a\x1b": ["b\x07", 1, None, True, {"c": ("d\r",)}]}) == {
        "a\\x1b": ["b\\x07", 1, None, True, {"c": ["d\\x0d"]}]
    }
