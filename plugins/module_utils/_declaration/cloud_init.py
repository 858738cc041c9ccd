# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The seed of a VM for cloud-init. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import check_characters

_BARE_CONFIG = re.compile(r"\s*(---\s+)?[a-z_]+:(\s|$)")
"""Text that begins with an option of cloud-config; cloud-init knows the kind of a text by its first line."""


def seed_files(name: str, cloud_init: Values | None) -> dict[str, str]:
    """Return the files of a NoCloud seed. JSON is YAML, so mappings are written as JSON."""
    if not cloud_init:
        return {}
    user_data = cloud_init["user_data"]
    meta = {"instance-id": name, "local-hostname": name, **(cloud_init.get("meta_data") or {})}
    files = {
        "meta-data": _json(meta),
        "user-data": user_data if isinstance(user_data, str) else "#cloud-config\n" + _json(user_data),
    }
    if cloud_init.get("network_config"):
        files["network-config"] = _json(cloud_init["network_config"])
    return files


def check_seed(option: str, value: Any) -> None:
    """Raise DeclarationError if an option of a seed is of the wrong kind, or text that cloud-init ignores."""
    if option == "user_data" and isinstance(value, str):
        check_characters(value)
        if _BARE_CONFIG.match(value):
            raise DeclarationError("", "text without #cloud-config as its first line; add that, or declare a mapping")
    elif not isinstance(value, Mapping):
        raise DeclarationError("", f"is not {'text or a mapping' if option == 'user_data' else 'a mapping'}")


def _json(value: Any) -> str:
    """Write JSON; a date, which only YAML has, becomes text."""
    return json.dumps(value, indent=1, default=str) + "\n"
