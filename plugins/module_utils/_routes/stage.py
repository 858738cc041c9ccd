# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The route stage: the whole image is fetched into the host's cache, checked, and opened as a file.

The unit that fetches belongs to the image, not to a VM: VMs that open the same image share it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from ansible_collections.directdisk.qemu.plugins.module_utils._backends import uris
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.access import Download, Reach
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import read_options
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import image_fetch
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.contract import Opened, Packages, Route, Site
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.sandbox import build_sandbox
from ansible_collections.directdisk.qemu.plugins.module_utils._units.service import Command, Service

FOLLOW = Option(
    "follow",
    "Servers to which the server of a url may redirect, each as scheme://host[:port]. A redirect to any other server "
    "is an error, which names that server. Passwords and cookies are sent to the url's own server only. With route "
    "V(nbdkit) or V(driver) and a url that has an address, a redirect to another port of it needs no declaration. "
    "Route V(driver) follows every redirect of a VM whose addresses are not filtered.",
    "list",
    pattern=r"[a-z]+://[^/\s]+",
    pattern_help="is not scheme://host[:port]",
)
MAX_SIZE = Option(
    "max_size",
    "Maximum size in bytes of a download from a url, and of an image after it is unpacked; never more than nine tenths "
    "of the free space.",
    "size",
    default=image_fetch.MAX_SIZE,
    minimum=1,
)
FETCH_TIMEOUT = Option(
    "fetch_timeout",
    "Maximum seconds for a download from a url. A download that is slower than 4 KiB per second for half a minute is "
    "aborted earlier.",
    "int",
    default=14400,
    minimum=1,
    maximum=2**31 - 1,
)
OPTIONS = (FOLLOW, MAX_SIZE, FETCH_TIMEOUT)
"""The options of a download besides its url."""

PROGRAM = "/usr/bin/curl"
PACKAGES: Packages = dict.fromkeys(("debian", "redhat", "fedora", "suse", "arch"), ("curl", "ca-certificates"))


def _packages(backend: Backend, family: str) -> tuple[str, ...]:
    return PACKAGES.get(family, ())


def _why_not(backend: Backend, values: Values, capabilities: Capabilities) -> str:
    return "" if capabilities.programs.get("curl") else "this host has no curl"


def download_of(disk: Disk) -> Download:
    if not disk.backend.access.stage:
        raise DeclarationError("route", f"an image cannot be fetched from {disk.backend.name}")
    return disk.backend.access.stage(disk.source)


def copy_of(disk: Disk) -> str:
    """Return the path of the host's copy of an image."""
    return paths.image_file(image_name(disk))


def image_name(disk: Disk) -> str:
    """Return a name that is equal for disks that share one download: the same url, user and sha256."""
    parts = (
        disk.identity,
        str(disk.source.get("username", "")),
        str(disk.source.get("sha256", "")),
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _open(disk: Disk, site: Site) -> Opened:
    image = image_name(disk)
    # Its name tells two images apart on the command line of a running QEMU.
    seen = f"{paths.runtime_directory(site.vm)}/{disk.name}.{image}"
    return Opened(
        {"driver": "file", "filename": seen}, Reach(), (_service(disk, image),), ((paths.image_file(image), seen),)
    )


def _service(disk: Disk, image: str) -> Service:
    unit = paths.image_unit_name(image)
    download, reach = download_of(disk), disk.backend.access.reach(disk.source)
    reach = followed(disk, reach)
    resources = UnitResources(unit, "image", "")
    options = [*curl_options(download, resources), time_limit(disk)]
    return Service(
        name=unit,
        template="image.service.j2",
        vm="",
        description=f"Image {disk.backend.source.describe(disk.source)}",
        args=[
            (*paths.PYTHON, paths.IMAGE_PROGRAM),
            *((word,) for word in fetch_options(disk)),
            (paths.image_file(image),),
            (download.url,),
            *options,
        ],
        sandbox=build_sandbox([(reach, False)], directory=paths.IMAGES, replace_trust=False),
        credentials=resources.credentials,
        start_timeout=2 * int(_download_options(disk)[FETCH_TIMEOUT.name]),
        image=image,
    )


def _download_options(disk: Disk) -> Values:
    declared = {option.name: disk.provision.get(option.name) for option in OPTIONS}
    return read_options(OPTIONS, declared, "provision")


def most_of(disk: Disk) -> int:
    """Return the maximum size of the download in bytes."""
    return int(_download_options(disk)[MAX_SIZE.name])


def places_of(disk: Disk) -> list[str]:
    """Return the servers that the image may come from: that of its url, and those to which it may redirect."""
    follow = _download_options(disk).get(FOLLOW.name, ())
    return list(map(image_fetch.place_of, (download_of(disk).url, *follow)))


def followed(disk: Disk, reach: Reach) -> Reach:
    """Return what a process must reach that follows the declared redirects."""
    hosts = [uris.host_of(uris.split(place)) for place in places_of(disk)]
    return replace(reach, servers=tuple(dict.fromkeys((*reach.servers, *hosts))))


def reached(disk: Disk) -> Reach:
    """Return what a process must reach that opens a disk: its storage, and the servers of allowed redirects."""
    reach = disk.backend.access.reach(disk.source)
    return followed(disk, reach) if disk.backend.access.stage else reach


def ask_command(disk: Disk, vm: str, resources: UnitResources | None, *, any_port: bool) -> Command:
    """Return the command that fails if the server of a disk redirects to a place that is not allowed, and names it.

    resources: get the passwords for the server; None to ask it without.
    """
    download = download_of(disk)
    if resources:
        options = curl_options(download, resources)
    else:
        # QEMU asks again, and has a time limit of its own.
        options = [*curl_options(replace(download, secrets={}), UnitResources("", "", "")), ("--max-time", "3")]
    return Command(
        (
            *(*paths.PYTHON, paths.IMAGE_PROGRAM, f"--ask=disk {disk.name} of {vm}: {disk.described}"),
            *(("--any-port",) if any_port else ()),
            *(f"--from={place}" for place in places_of(disk)),
            download.url,
            *(word for words in options for word in words),
        )
    )


def fetch_options(disk: Disk) -> list[str]:
    """Return the options of the program that fetches."""
    sha256 = disk.source.get("sha256")
    resumes = sha256 and download_of(disk).resumes
    digest = [f"--sha256={sha256}"] if sha256 else []
    hidden = ["--url-in-config"] if download_of(disk).url_is_secret else []
    places = (f"--from={place}" for place in places_of(disk))
    return [*(["--resume"] if resumes else []), *hidden, *digest, f"--max-size={most_of(disk)}", *places]


def time_limit(disk: Disk) -> tuple[str, str]:
    """Return curl's option for the time limit."""
    return ("--max-time", str(_download_options(disk)[FETCH_TIMEOUT.name]))


def curl_options(download: Download, resources: UnitResources) -> list[tuple[str, ...]]:
    """Return curl's options for a download, each with its value."""
    options: list[tuple[str, ...]] = [
        (f"--{name}", value) if value else (f"--{name}",) for name, value in download.options.items()
    ]
    server = {name: value for name, value in download.secrets.items() if not name.startswith("proxy")}
    proxy = {name: value for name, value in download.secrets.items() if name not in server}
    if server:
        options.append((image_fetch.CREDENTIALS, resources.credential("curl", _curl_config(server))))
    if proxy:
        # -K, not --config: the program that fetches passes it on to other servers, too.
        options.append(("-K", resources.credential("curl-proxy", _curl_config(proxy))))
    return options


def url_arguments(download: Download) -> list[str]:
    """Return the url as curl's argument; none if the url is in a config file."""
    return [] if download.url_is_secret else ["--", download.url]


def _curl_config(secrets: Mapping[str, str]) -> str:
    """Return secret options in the format of curl's config file (curl(1), "--config")."""
    escapes = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"})
    return "".join(f'{name} = "{value.translate(escapes)}"\n' for name, value in secrets.items())


ROUTE = Route("stage", _packages, _why_not, _open, programs=("curl",))
