# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes outside launch units."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._access import route_openers
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import read_image
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError


def test_tgtd_gets_no_disk_at_a_port_that_any_user_may_listen_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = tmp_path / "ip_unprivileged_port_start"
    ports.write_text("80\n")
    monkeypatch.setattr(route_openers.tgt_serve, "UNPRIVILEGED_PORTS", str(ports))
    monkeypatch.setattr(route_openers, "run_program", lambda *_arguments, **_options: pytest.fail("it was set up"))
    process = contextlib.nullcontext(SimpleNamespace(pid=1))
    monkeypatch.setattr(route_openers, "background_process", lambda *_arguments, **_options: process)
    bench: Any = SimpleNamespace(folder=str(tmp_path), open_timeout=1, confined=lambda *_arguments: [])
    disk = read_image("disk", {"sheepdog": {"host": "192.0.2.7", "vdi": "web1"}}, "disk")
    with (
        pytest.raises(HostError, match="tgtd cannot open it: any user of this host may listen at port 326"),
        route_openers._by_tgt(disk, UnitResources("", "disk", str(tmp_path)), bench),
    ):
        pytest.fail("it was opened")
