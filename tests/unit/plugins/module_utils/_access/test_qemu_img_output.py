# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What qemu-img writes about images that make it write, or work, without an end; with a double of qemu-img."""

from __future__ import annotations

import sys
from typing import Any, cast

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._access import qemu_img
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workspace import Workspace
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun import observe
from ansible_collections.directdisk.qemu.plugins.module_utils._process.progress import DiskProgress


class Bench:
    """A workspace whose qemu-img is a program in Python."""

    def __init__(self, program: str) -> None:
        self.program = program
        self.progress = DiskProgress()

    def confined(self, *_arguments: Any) -> list[str]:
        return [sys.executable, "-c", f"import sys, time\n{self.program}"]


def bench(program: str) -> Workspace:
    return cast("Workspace", Bench(program))


URI = "nbd+unix:///disk?socket=/run/s"
FLOODS = "while True: sys.{}.write('x' * 65536)"


def test_a_report_without_an_end_is_an_error() -> None:
    with pytest.raises(HostError, match=r"^qemu-img check writes more than 1048576 bytes$"):
        qemu_img.check_qcow2(URI, "", bench(FLOODS.format("stdout")))


def test_errors_without_an_end_leave_the_report() -> None:
    floods = (
        "import os\ntry:\n  while True: os.write(2, b'ERROR\\n' * 9999)\nexcept OSError: os.write(1, b'{\"leaks\": 1}')"
    )
    assert qemu_img.check_qcow2(URI, "", bench(floods + "\nos._exit(3)")) != {}


def test_a_check_without_an_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu_img, "_CHECK_SECONDS", 0.2)
    with pytest.raises(HostError, match=r"^qemu-img check does not answer: timed out after 0 s$"):
        qemu_img.check_qcow2(URI, "", bench("time.sleep(30)"))


@pytest.mark.parametrize("told", ["(9999999999.0/100%)", "(1.2.3/100%)", "(./100%)"])
def test_odd_progress_of_a_copy_is_not_read(told: str) -> None:
    qemu_img.copy_by_qemu_img(bench(f"print({told!r})"), 1 << 20)


def test_errors_of_a_copy_without_an_end_are_cut_off() -> None:
    with pytest.raises(HostError, match=r"^x+$") as caught:
        qemu_img.copy_by_qemu_img(bench(FLOODS.format("stderr")), 1 << 20)
    assert len(str(caught.value)) == 1 << 16


def test_a_lun_with_too_many_extents_counts_as_written() -> None:
    one = '{"data": false},'
    assert observe._is_zero(URI, bench(f"print('[{one[:-1]}]')"))
    assert not observe._is_zero(URI, bench(f"print('[', {one!r} * 2000000)"))
