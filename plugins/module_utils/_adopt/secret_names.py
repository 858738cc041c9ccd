# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of options and parameters whose values are secrets. Pure."""

from __future__ import annotations

import re
from typing import Any

_NAME = re.compile(
    r".*pass(?:word|wd|phrase)(?:[._-]?(?:crypted|hash(?:ed)?|again|[0-9]))?|"
    r"(?:.*[._-])?(?:hashed|crypted)[._-]password.*|"
    r"(?:.*[._-])?(?:(?:root|user|ssh|admin)?pw|(?:root|user|ssh|admin)pwd|(?:root|user|luks|crypt)?pass|psk)|"
    r"(?:.*[._-])?(?:wpa|wifi|wlan)psk|.*[._-]pwd|"
    r"(?:.*[._-])?(?:credentials?|(?:[rt]x)?cookies?|key|authorization|bearer|jwt|hmac)|.*token|"
    r".*(?:api|auth|access|private|secret)[._-]?key|cifscreds|(?:.*[._])?secret|(?:.*[._-])?client[._-]?secret",
    re.IGNORECASE,
)
"""Keys of secrets. C(password-secret) and its like name an object only."""
NO_SECRETS = ("", "0", "1", "on", "off", "yes", "no", "true", "false", "none", "ask", True, False, None)
"""Values that are no secrets under any name."""


def names_secret(key: Any) -> bool:
    """Return True for the name of an option or a parameter whose value is secret."""
    return bool(_NAME.fullmatch(str(key)))
