# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options and settings of all unit tests."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "unit",
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("unit")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files, and remove stale ones")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be rewritten instead of compared."""
    return bool(request.config.getoption("--update-golden", default=False))


@pytest.fixture(autouse=True)
def keep_folders_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test search this machine for folders to remove: with a fault in that code, all of /var/lib would go."""
    # Imported here: the collection can be imported only once all conftest.py have been read.
    from ansible_collections.directdisk.qemu.plugins.module_utils._host import leftovers

    for places in ("_DISPOSABLE", "_KEPT"):
        monkeypatch.setattr(leftovers, places, ())
