# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image on a TFTP server. TFTP cannot seek, and no QEMU since 2.8 speaks it: the image is fetched whole."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.directdisk.qemu.plugins.module_utils._backends import _url, uris
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.access import Access, Download, no_driver
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.adoption import Adoption, no_node
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend, Hint
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.packages import Packages
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.source import Source
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError

BLOCK_SIZE = 1428
"""Fits into one packet of an Ethernet; the protocol's own 512 bytes take three times as long."""

HINTS = (
    # curl 7.88 says by its exit status alone what the server answered.
    Hint(
        r"curl: \((68|69|71)\)|TFTP: (File Not Found|Access Violation)", "the server does not give it out", "check url"
    ),
    Hint(
        r"curl: \(28\)|timed out",
        "the server does not answer",
        "check that it runs and that this host may reach it, also on the ports above 1023 that it answers from",
    ),
    *_url.HINTS,
)


def _check(values: Values) -> None:
    if "@" in uris.split(values["url"]).netloc:
        raise DeclarationError("url", "has a user in it, and TFTP knows none")
    _url.check("tftp", values)


BACKEND = Backend(
    name="tftp",
    summary="An image on a TFTP server, read-only and fetched whole",
    options=(replace(_url.URL, qemu=""), _url.SHA256),
    source=Source(
        sample={"url": "tftp://127.0.0.1/image"},
        describe=lambda values: str(values["url"]),
        identity=_url.identity,
        pool=_url.server,
        writable=False,
        check=_check,
    ),
    access=Access(
        driver="",
        node=no_driver,
        reach=_url.reach,
        routes=("stage",),
        stage=lambda values: Download(
            values["url"], {"proto": "=tftp", "tftp-blksize": str(BLOCK_SIZE)}, resumes=False
        ),
    ),
    packages=Packages(
        driver={},
    ),
    adoption=Adoption(
        schemes=("tftp",),
        read_uri=lambda uri: {"url": uri},
        read_node=no_node,
        read_libvirt=lambda source: {"url": _url.from_libvirt("tftp", source)},
    ),
    hints=HINTS,
)
