# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Boards of one release of QEMU: what is declared, and what the host's QEMU knows."""

from __future__ import annotations

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.boards import family, is_versioned
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError
from ansible_collections.directdisk.qemu.tests.unit.support import NBD, disk_of, plan, vm

BOARDS = ["pc-i440fx-7.1", "pc-q35-7.1", "pc-q35-7.2", "pc", "q35", "none"]


@pytest.mark.parametrize("versioned, board", [("pc-q35-7.2", "q35"), ("pc-i440fx-7.1", "pc")])
def test_devices_are_attached_to_a_versioned_board_as_to_the_newest(versioned: str, board: str) -> None:
    disks = {f"ide{number}": {"nbd": {"host": f"192.0.2.{number}"}, "model": "ide"} for number in range(3)}
    declared = {"disks": {**disks, "root": NBD, "scsi": {"nbd": {"host": "a"}, "model": "virtio-scsi"}}}
    args = [list(plan({**declared, "machine": name}).services[-1].args) for name in (versioned, board)]
    assert [[a for a in args[0] if a != ("-machine", versioned)], versioned] == [
        [a for a in args[1] if a != ("-machine", board)],
        versioned,
    ]
    assert ("-machine", versioned) in args[0]
    assert (family(versioned), is_versioned(versioned), is_versioned(board)) == (board, True, False)


def test_a_board_that_the_emulator_does_not_know_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(DirectDiskError, match=r"machine: .* no board 'pc-q35-7.3' .did you mean 'pc-q35-7.2'"):
        plan({**disk_of(NBD), "machine": "pc-q35-7.3"}, machines=BOARDS)
    plan({**disk_of(NBD), "machine": "pc-q35-7.1"}, machines=BOARDS)
    plan({**disk_of(NBD), "machine": "pc-q35-7.3"}, machines=[])


@pytest.mark.parametrize("name", ["microvm", "pc-q35-", "pc-q35-9.2,accel=tcg", "isapc", "pc-virt-1"])
def test_other_boards_are_refused(name: str) -> None:
    with pytest.raises(DirectDiskError, match=r"vm web1: machine: .* is not q35, pc, or the name of a board"):
        vm({"machine": name})
