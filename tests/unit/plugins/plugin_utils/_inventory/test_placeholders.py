# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A placeholder is read as the secret would be, so that everything around a secret that is missing is still checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.schema import DISK_OPTIONS, VM_OPTIONS
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import read_options
from ansible_collections.directdisk.qemu.tests.unit.support import SSH, disk_of, errors_of


def secrets(options: Sequence[Option], within: str) -> Iterator[tuple[str, Option]]:
    for option in options:
        if option.secret:
            yield f"{within}{option.name}", option
        yield from secrets(option.options, f"{within}{option.name}.")


TABLES = {"vm": VM_OPTIONS, "disk": DISK_OPTIONS, **{name: backend.options for name, backend in BACKENDS.items()}}
FOUND = {name: option for table, options in TABLES.items() for name, option in secrets(options, f"{table}.")}


@pytest.mark.parametrize("name", FOUND)
def test_a_stand_in_has_the_form_of_the_secret(name: str) -> None:
    option = FOUND[name]
    assert read_options([option], {option.name: option.like}, "") == {option.name: option.like}


def test_a_stand_in_for_a_key_is_a_key_to_the_reader() -> None:
    assert errors_of({"web1": disk_of({"ssh": {**SSH, "key": FOUND["ssh.key"].like}})}) == []
