# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks by ssh whose QEMU has no driver for them: nbdkit serves them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk, read_image
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import CapabilityError
from ansible_collections.directdisk.qemu.plugins.module_utils._routes import nbdkit
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.selection import choose_route, missing
from ansible_collections.directdisk.qemu.plugins.module_utils._units.service import Service
from ansible_collections.directdisk.qemu.tests.unit.real_parts import (
    SshServer,
    make_image,
    nbd_server,
    needs_nbdkit,
    needs_sshd,
    ssh_server,
)
from ansible_collections.directdisk.qemu.tests.unit.support import capabilities, disk_of, plan

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEbONO4nkJjaPmWxKomn0W+gdMtKj3b8ZN2bjOIK25gB"
OTHER_KEY = "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----"
SSH = {"host": "192.0.2.8", "user": "vms", "path": "/srv/a.img", "key": OTHER_KEY}
NO_DRIVER = {"drivers": {**capabilities("debian12").drivers, "ssh": "Unknown driver 'ssh'"}}


class Files(UnitResources):
    """Resources of a unit, in a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__("unit", "disk", str(folder))
        self._folder = folder

    def credential(self, name: str, value: str | None = None, *, source: str = "") -> str:
        path = self._folder / name
        path.write_text(value or "")
        return str(path)

    def file(self, name: str, text: str) -> str:
        return self.credential(name, text)


def served(ssh: dict[str, Any], **disk: Any) -> Service:
    one = plan(disk_of({"ssh": {**SSH, **ssh}}, **disk), **NO_DRIVER)
    (service,) = (service for service in one.services if service.template == "nbdkit.service.j2")
    return service


def words(ssh: dict[str, Any], **disk: Any) -> list[str]:
    return [word for group in served(ssh, **disk).args for word in group]


def test_auto_takes_nbdkit_where_qemu_has_no_driver() -> None:
    service = served({"host_key": HOST_KEY})
    assert service.template == "nbdkit.service.j2"
    assert service.sandbox.addresses == ("192.0.2.8",)


def test_the_key_is_a_credential_and_not_an_argument() -> None:
    service = served({"host_key": HOST_KEY})
    unit = "qemu-vm-web1.root.nbdkit.service"
    assert f"identity=/run/credentials/{unit}/root.key" in [word for group in service.args for word in group]
    assert service.credentials["root.key"].value == f"{OTHER_KEY}\n"
    assert "BEGIN" not in str(service)


@pytest.mark.parametrize(
    ("ssh", "parameter", "text"),
    [
        (
            {"host_key": HOST_KEY},
            "known-hosts=/run/credentials/qemu-vm-web1.root.nbdkit.service/root.known_hosts",
            True,
        ),
        ({}, "known-hosts=/etc/ssh/ssh_known_hosts", False),
        ({"known_hosts": "/etc/qemu/known"}, "known-hosts=/etc/ssh/ssh_known_hosts", False),
        ({"host_key_check": {"mode": "none"}}, "verify-remote-host=false", False),
    ],
)
def test_the_key_of_the_server_is_checked(ssh: dict[str, Any], parameter: str, text: bool) -> None:
    assert parameter in words(ssh)
    assert ("root.known_hosts" in served(ssh).credentials) is text


def test_the_known_key_stands_beside_the_port_of_its_server() -> None:
    public = served({"host_key": f"{HOST_KEY} comment", "port": 2222}).credentials["root.known_hosts"].public
    assert public == f"[192.0.2.8]:2222 {HOST_KEY}"


def test_only_a_disk_that_its_guest_may_change_is_served_writable() -> None:
    assert "--readonly" not in words({}, writes="keep")
    for writes in ("deny", "overlay", "discard"):
        assert "--readonly" in words({}, writes=writes)


@pytest.mark.parametrize(
    ("ssh", "reason"),
    [
        ({"passphrase": "x"}, "Unknown driver 'ssh'"),
        ({"host_key_check": {"mode": "hash", "type": "md5", "hash": "c8" * 16}}, "Unknown driver 'ssh'"),
    ],
)
def test_what_nbdkit_cannot_check_or_open_has_no_route(ssh: dict[str, Any], reason: str) -> None:
    with pytest.raises(CapabilityError, match=reason):
        choose_route(disk_of_ssh(ssh), capabilities("debian12", **NO_DRIVER))


def test_a_named_route_says_why_it_does_not_fit() -> None:
    with pytest.raises(Exception, match="host_key_check with a hash is for route driver; declare the key itself"):
        disk_of_ssh({"host_key_check": {"mode": "hash", "type": "md5", "hash": "c8" * 16}}, route="nbdkit")


def disk_of_ssh(ssh: dict[str, Any], **more: Any) -> Disk:
    return read_image("disk", {"ssh": {**SSH, **ssh}, **more}, "disk")


def test_nothing_is_missing_where_no_package_has_the_best_route_and_another_one_works() -> None:
    requires = {"routes": [{"backend": "ssh", "route": "auto"}]}
    assert missing(requires, capabilities("rhel9")) == ([], [])
    without = capabilities("rhel9", nbdkit={})
    lacks, packages = missing(requires, without)
    assert lacks[0].startswith(
        "ssh by route nbdkit: nbdkit cannot serve ssh (nbdkit is not installed); install nbdkit-server"
    )
    assert "nbdkit-ssh-plugin" in packages
    assert "nbdkit-curl-plugin" not in packages


@pytest.fixture(scope="module", name="server")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with ssh_server(tmp_path_factory.mktemp("sshd")) as server:
        yield server


def arguments(server: SshServer, image: Path, folder: Path, **changes: Any) -> list[str]:
    """Return the arguments of nbdkit after its socket."""
    ssh = {"host": "127.0.0.1", "port": server.port, "user": "root", "path": str(image), "key": server.key}
    disk = read_image("disk", {"ssh": {**ssh, "host_key": server.host_key, **changes}}, "disk")
    whole = nbdkit.command(disk, nbdkit.plugin_of(disk, Files(folder)), "", pins=True, writable=True)
    return [*whole[1:], "retries=0"]


def qemu_io(socket: str, command: str) -> subprocess.CompletedProcess[str]:
    place = f"nbd+unix:///?socket={socket}"
    return subprocess.run(
        ["qemu-io", "-f", "raw", "-c", command, place], capture_output=True, text=True, timeout=60, check=False
    )


@needs_sshd
@needs_nbdkit
def test_a_guest_reads_and_writes_an_image_on_a_real_server(server: SshServer, tmp_path: Path) -> None:
    image = make_image(tmp_path / "a.raw", "raw")
    with nbd_server(tmp_path, *arguments(server, image, tmp_path)) as socket:
        written = qemu_io(socket, "write -P 0x5a 4096 512")
        read = qemu_io(socket, "read -P 0x5a 4096 512")
    assert (written.returncode, read.returncode) == (0, 0), f"{written} {read}"
    assert image.read_bytes()[4096:4608] == b"\x5a" * 512


@needs_sshd
@needs_nbdkit
def test_a_server_with_another_key_is_refused(server: SshServer, tmp_path: Path) -> None:
    image = make_image(tmp_path / "a.raw", "raw")
    with nbd_server(tmp_path, *arguments(server, image, tmp_path, host_key=HOST_KEY)) as socket:
        assert qemu_io(socket, "read 0 512").returncode != 0
