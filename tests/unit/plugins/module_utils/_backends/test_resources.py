# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects, credentials and folders that a disk's nodes ask for."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import (
    Credential,
    UnitResources,
    keyval,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._units.service import link_commands


def resources() -> UnitResources:
    return UnitResources("qemu-vm-web1.service", "root", "/run/qemu-vm-web1")


def test_a_secret_is_an_object_that_reads_a_credential() -> None:
    made = resources()
    assert made.secret("password", "x") == "root.password"
    assert [wanted.argument for wanted in made.objects] == [
        "secret,id=root.password,file=/run/credentials/qemu-vm-web1.service/root.password"
    ]
    assert made.credentials == {"root.password": Credential("root.password", "x")}


def test_the_same_object_is_made_once() -> None:
    made = resources()
    assert made.secret("password", "x") == made.secret("password", "x")
    assert len(made.objects) == 1


def test_two_disks_cannot_meet() -> None:
    first, second = UnitResources("u", "a", "/r"), UnitResources("u", "b", "/r")
    assert first.secret("password", "x") != second.secret("password", "x")
    assert first.directory("x509", {}) != second.directory("x509", {})


def test_a_folder_has_the_names_that_a_library_wants() -> None:
    made = resources()
    path = made.credential("ca.pem", source="/etc/ca.pem")
    assert made.directory("x509", {"ca-cert.pem": path}) == "/run/qemu-vm-web1/root.x509"
    assert made.links == {"/run/qemu-vm-web1/root.x509": {"ca-cert.pem": path}}


def test_a_file_of_several_has_each_begin_on_a_line_of_its_own(tmp_path: Path) -> None:
    made = UnitResources("u", "root", str(tmp_path))
    for name, text in (("a b", "[x]\ny = 1"), ("c", "[z]\n")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    path = made.joined("all.conf", str(tmp_path / "a b"), str(tmp_path / "c"))
    assert path == f"{tmp_path}/root.all.conf"
    for command in link_commands(made) * 2:
        subprocess.run(command.argv, check=True)
    assert Path(path).read_text(encoding="utf-8") == "[x]\ny = 1\n[z]\n"


def test_a_comma_is_written_twice() -> None:
    made = resources()
    made.object("tls-creds-psk", "tls", dir="/a,b", user_name="x,,y")
    assert [wanted.argument for wanted in made.objects] == ["tls-creds-psk,id=root.tls,dir=/a,,b,user-name=x,,,,y"]
    assert keyval(5) == "5"


def test_a_secret_is_not_shown_where_a_credential_is_printed() -> None:
    assert "pass-of-web1" not in repr(Credential("root.password", "pass-of-web1"))
