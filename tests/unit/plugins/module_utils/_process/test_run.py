# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other programs, and the texts of those that the collection ships."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import time

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils import _programs
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._process import run as process_run
from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import (
    TooMuchOutputError,
    run_bounded,
    run_program,
    text_of,
)

PROGRAMS = [module.name for module in pkgutil.iter_modules(_programs.__path__)]


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_text_of_a_program_needs_no_collection_around_it(name: str) -> None:
    text = text_of(importlib.import_module(f"{_programs.__name__}.{name}"))
    assert "import ansible" not in text
    assert "from ansible" not in text
    compile(text, name, "exec")


def test_what_programs_share_is_in_the_text_of_each() -> None:
    for name in ("iscsi_session", "owners_iscsi"):
        text = text_of(importlib.import_module(f"{_programs.__name__}.{name}"))
        space: dict[str, object] = {"__name__": name}
        exec(compile(text, name, "exec"), space)
        assert {"PLACES", "Sense", "find_library"} <= set(space)


FLOODS = "import sys\nwhile True:\n    sys.{stream}.write('x' * 65536)"


def test_a_program_that_writes_without_an_end_is_an_error() -> None:
    with pytest.raises(TooMuchOutputError, match=r"^writes more than 5000 bytes$"):
        run_bounded([sys.executable, "-c", FLOODS.format(stream="stdout")], seconds=30, most=5000)


def test_errors_without_an_end_are_cut_off() -> None:
    # Without Python's own streams: their status at the end depends on the release.
    floods = "try:\n  while True: os.write(2, b'x' * 65536)\nexcept OSError: os._exit(1)"
    done = run_bounded([sys.executable, "-c", f"import os\nos.write(1, b'answer\\n')\n{floods}"], seconds=30)
    assert (done.returncode, done.stdout, len(done.stderr)) == (1, "answer\n", 1 << 16)
    assert done.message == "x" * 300


def test_a_program_that_does_not_answer_is_an_error() -> None:
    begun = time.monotonic()
    with pytest.raises(HostError, match=r"^does not answer: timed out after 0 s$"):
        run_bounded(["/bin/sleep", "30"], seconds=0.1)
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        (FLOODS.format(stream="stdout"), "^writes more than"),
        (f"import time\n{FLOODS.format(stream='stderr')}", "^x+$"),
        ("import time; time.sleep(30)", "^does not answer"),
    ],
)
def test_a_program_for_a_library_is_bounded(monkeypatch: pytest.MonkeyPatch, program: str, problem: str) -> None:
    monkeypatch.setattr(process_run, "text_of", lambda _program: program)
    with pytest.raises(HostError, match=problem):
        run_program(sys, [], seconds=0.5 if "sleep" in program else 30, begin=[])
