# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observed state of a LUN on its storage host, and its changes there. Pure.

The changes take their values from the declaration.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import (
    INTERNAL,
    Change,
    ObservedImage,
)


@dataclass(frozen=True)
class ObservedExport(ObservedImage):
    """State of a LUN on its storage host; ``size`` is that of its store."""

    format: str | None = field(default=None, metadata=INTERNAL)
    target_exists: bool = False
    other_luns: tuple[int, ...] = ()
    accounts: tuple[str, ...] = ()
    initiators: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    account: str = "none"
    """State of the declared account: none, missing, fits, differs or unknown."""
    account_shared_with: tuple[str, ...] = ()
    declared_in: str = ""
    kept: bool = False
    """The configuration file that this collection writes has the LUN."""
    kept_so: bool = False
    """That file is as declared."""
    store: str | None = None
    serial: str | None = None
    thin: bool | None = None
    read_only: bool | None = None


class MakeStore(Change):
    """Make the file that holds the LUN's data."""


class GrowStore(Change):
    """Grow that file."""


class RemoveStore(Change):
    """Remove that file."""


class CreateTarget(Change):
    """Create the target."""


class RemoveTarget(Change):
    """Remove the target with its LUNs."""


class CreateAccount(Change):
    """Create the account."""


class ChangePassword(Change):
    """Change the password of the account."""


class RemoveAccount(Change):
    """Remove the account."""


class BindAccount(Change):
    """Let the account log in to the target."""


class UnbindAccounts(Change):
    """Let all other accounts no longer log in."""


class SetInitiators(Change):
    """Let the declared initiators log in, and no others."""


class CreateLun(Change):
    """Export the store as the LUN."""


class UpdateLun(Change):
    """Change the parameters of the LUN."""


class RemoveLun(Change):
    """Remove the LUN from the target."""


class KeepConfiguration(Change):
    """Write the configuration for the next start of tgt."""


class ForgetConfiguration(Change):
    """Remove the LUN from that configuration."""
