# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fixtures and helpers of the tests themselves."""

from __future__ import annotations

import pytest

from ansible_collections.directdisk.qemu.tests.unit import systemd_model


@pytest.mark.parametrize("text", ["'a", '"a', "a\\", "\\x"])
def test_the_model_of_systemd_refuses_what_systemd_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"quote|escape"):
        systemd_model.words(text)


@pytest.mark.parametrize("word", ["%", "%n", "%%%", "$", "$HOME", "$$$"])
def test_the_model_of_systemd_sees_what_systemd_would_replace(word: str) -> None:
    with pytest.raises(ValueError, match="systemd replaces"):
        systemd_model.expand(word, variables=True)


def test_the_model_of_systemd_joins_lines_and_skips_comments() -> None:
    text = "[Service]\n# no=x\nExecStart=/bin/a \\\n# no=y\n    'b c' \\\n    d\nUser=x\n"
    assert [name for name, _value in systemd_model.settings(text)] == ["ExecStart", "User"]
    assert systemd_model.exec_words(text) == {"ExecStart": [["/bin/a", "b c", "d"]]}
