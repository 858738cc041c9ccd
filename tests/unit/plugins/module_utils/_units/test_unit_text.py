# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts in unit texts: each is read back as it was written."""

from __future__ import annotations

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths, unit_text


@pytest.mark.parametrize("identity", ["nbd:h:10809/a b", "path:/srv/\u2028\x85\u00e9", 'nbd:h:1/"\n\\'])
def test_a_unit_lists_the_storage_that_its_vm_opens(identity: str) -> None:
    line = unit_text.opened_line({identity: True})
    assert unit_text.opened_in(f"# a comment\n{line}\n[Unit]\n") == {identity: True}


def test_a_unit_of_an_earlier_release_lists_nothing() -> None:
    assert unit_text.opened_in("[Unit]\n") == {}


def test_a_unit_names_the_images_that_it_waits_for() -> None:
    line = unit_text.wants_line(["network-online.target", paths.image_unit_name("a1"), "qemu-vm-a.root.nbdkit.service"])
    assert unit_text.images_in(f"[Unit]\n{line}\nAfter=qemu-image-b2.service\n") == ["a1"]
    assert unit_text.images_in("[Unit]\n") == []


def test_other_names_of_storage_are_read_back_and_take_no_line_where_there_are_none() -> None:
    named = {"nfs:store:/a": {"alike": [], "names": {"store": "nfs:\0:/a"}}}
    text = f"# a comment\n{unit_text.spellings_lines(named)}[Unit]\n"
    assert len(text.split("\n")) == 4
    assert unit_text.spellings_in(text) == named
    assert unit_text.spellings_lines({}) == ""
    assert unit_text.spellings_in("[Unit]\n") == {}
