# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A test double of a sheep: no Debian has had sheepdog since 2021."""

from __future__ import annotations

from ..host_files import Files
from ..yaml_text import Value
from .server import LIB, SYSTEM, Server, Site

PORT = 7000


def _files(site: Site) -> Files:
    files = Files()
    files.add_own(f"{SYSTEM}/lab-sheepdog.service", "lab-sheepdog.service")
    files.add_own(f"{LIB}/sheep-double.py", "sheep-double.py")
    return files


def _facts(site: Site) -> dict[str, Value]:
    return {"lab_sheepdog_port": PORT}


SERVER = Server("sheepdog", ("lab-sheepdog.service",), _files, facts=_facts)
