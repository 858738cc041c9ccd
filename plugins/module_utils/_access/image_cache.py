# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's cache of fetched images, with the same paths, program and unit names as the VMs' own image units."""

from __future__ import annotations

import contextlib
import glob
import os
import time
from collections.abc import Iterator

from ansible_collections.directdisk.qemu.plugins.module_utils._access.web_image import ServerAnswer
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workspace import Workspace
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import systemd
from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import END_WITH_PARENT, run_bounded, text_of
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import image_fetch
from ansible_collections.directdisk.qemu.plugins.module_utils._routes import stage
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.sandbox import build_sandbox

_LOG_LINES = 5


def fetch(disk: Disk, bench: Workspace, length: int | None = None) -> None:
    """Fetch an image with its own unit, or with a transient unit of the same name; length: in bytes, if it is known.

    A name has one unit: so a VM that starts meanwhile, or a run after a killed one, does not fetch it again. The caller
    removes the copy if this fails.
    """
    unit = paths.image_unit_name(stage.image_name(disk))
    with bench.progress.step("download", length, lambda: os.stat(f"{stage.copy_of(disk)}.part").st_size):
        problem = _await_end(unit, seconds=bench.open_timeout)
        if not os.path.exists(stage.copy_of(disk)):
            if os.path.exists(f"{paths.UNIT_DIRECTORY}/{unit}"):
                problem = _start(unit)
            else:
                problem = _run_for_now(disk, unit, bench)
    if not os.path.exists(stage.copy_of(disk)):
        raise HostError(problem or f"{unit} has not fetched it")
    # The unit of a VM may follow every redirect.
    place = image_fetch.remembered(stage.copy_of(disk), image_fetch.PLACE)
    if place and place not in stage.places_of(disk):
        raise HostError(image_fetch.sent_on(place))


def is_stale(disk: Disk, answer: ServerAnswer) -> bool:
    """Tell if the server has another image than the copy, which remembers the server's answer."""
    copy, etag = os.stat(stage.copy_of(disk)), image_fetch.remembered(stage.copy_of(disk), image_fetch.ETAG)
    return (
        answer.etag not in ("", etag or answer.etag)
        or answer.time not in (None, int(copy.st_mtime))
        or answer.length not in (None, copy.st_size)
    )


def _await_end(unit: str, *, seconds: float) -> str:
    """Wait for a unit that already fetches the image for a VM or another run."""
    waited, deadline = False, time.monotonic() + seconds
    while systemd.show([unit])[unit]["active"] in ("active", "activating", "deactivating"):
        if time.monotonic() > deadline:
            raise HostError(f"{unit} is fetching it, and has not ended after {seconds:.0f} s; wait for it, or stop it")
        waited = True
        time.sleep(0.2)
    return _last_line(unit) if waited else ""


def _start(unit: str) -> str:
    with contextlib.suppress(HostError):
        systemd.systemctl("start", [unit])
        return ""
    return _last_line(unit)


def _last_line(unit: str) -> str:
    lines = [line for line in systemd.last_log_lines([unit], _LOG_LINES) if "://" in line]
    return lines[-1] if lines else ""


def _run_for_now(disk: Disk, unit: str, bench: Workspace) -> str:
    """Run a transient unit."""
    resources = UnitResources(unit, "image", "")
    download = stage.download_of(disk)
    options = [word for words in stage.curl_options(download, resources) for word in words]
    properties = {
        "DynamicUser": "yes",
        "User": paths.IMAGES,
        "CacheDirectory": paths.IMAGES,
        "UMask": "0077",
        "CapabilityBoundingSet": "",
        "PrivateDevices": "yes",
        "ProtectSystem": "strict",
        "ProtectHome": "tmpfs",
        "PrivateTmp": "yes",
        "NoNewPrivileges": "yes",
        "RestrictNamespaces": "yes",
        "SystemCallFilter": "@system-service",
    }
    reach = stage.followed(disk, disk.backend.access.reach(disk.source))
    sandbox = build_sandbox([(reach, False)], directory=paths.IMAGES, replace_trust=False)
    addresses = ["IPAddressDeny=any", *(f"IPAddressAllow={address}" for address in sandbox.addresses)]
    loaded = [
        f"--property=LoadCredential={name}:{bench.file(name, credential.value or '')}"
        for name, credential in resources.credentials.items()
    ]
    command = [
        *("systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--service-type=oneshot", f"--unit={unit}"),
        *(f"--property={name}={value}" for name, value in properties.items()),
        *(f"--property={line}" for line in addresses if not sandbox.open_because),
        *loaded,
        *("--", *paths.PYTHON, "-"),
        *map(
            _literal,
            (
                *stage.fetch_options(disk),
                stage.copy_of(disk),
                download.url,
                *("--retry", "0", "--connect-timeout", f"{bench.open_timeout:.0f}"),
                *options,
                *stage.time_limit(disk),
            ),
        ),
    ]
    # It ends when the download does, whose time limits are those of curl.
    done = run_bounded([*END_WITH_PARENT, *command], seconds=None, input=text_of(image_fetch).encode())
    return " ".join(done.stderr.split()) if done.returncode else ""


def _literal(word: str) -> str:
    """Escape an argument of systemd-run, which expands variables as a unit does, but no specifiers."""
    return word.replace("$", "$$")


@contextlib.contextmanager
def replaced(disk: Disk) -> Iterator[None]:
    """Move the cached copy aside; restore it if the fetch fails."""
    copy = stage.copy_of(disk)
    old = f"{copy}.old"
    with contextlib.suppress(FileNotFoundError):
        os.rename(copy, old)
    try:
        yield
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(copy)
        with contextlib.suppress(FileNotFoundError):
            os.rename(old, copy)
        raise
    with contextlib.suppress(FileNotFoundError):
        os.unlink(old)


def forget(disk: Disk) -> None:
    """Remove the copy, and the parts of interrupted downloads."""
    for path in glob.glob(f"{stage.copy_of(disk)}*"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
