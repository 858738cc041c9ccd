# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Quoting, held against a model of systemd's own parser, and against systemd-analyze where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._units.service import Command
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import render
from ansible_collections.directdisk.qemu.tests.unit import systemd_model
from ansible_collections.directdisk.qemu.tests.unit.support import SSH, disk_of, golden_cases, plan, plans_of, vm

# What a declaration lets through (control characters other than tab and line feed are refused).
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\t\n%$'\"\\; #"))
ODD_PATH = "/srv/a b/100%/$HOME/its:x,y;z.img"


@given(st.lists(TEXT, max_size=4))
@example(["", "-", "%n", "$HOME", "${X}", "'", '"', "'\"", "\\", "\\n", "a\nb", "\t", ";", "#", "é", "\u2028"])
def test_words_are_read_back_by_systemd_as_they_were(words: list[str]) -> None:
    line = " ".join(render.word(word) for word in ["/bin/x", *words])
    assert "\n" not in line
    assert systemd_model.exec_words(f"ExecStart={line}\n") == {"ExecStart": [["/bin/x", *words]]}


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("plain-1.0_a@b=c:d,e/f+g", "plain-1.0_a@b=c:d,e/f+g"),
        ("", "''"),
        ("a b", "'a b'"),
        ("50%", "'50%%'"),
        ("$HOME", "'$$HOME'"),
        ("it's", '"it\'s"'),
        ('it\'s "5"', '"it\'s \\"5\\""'),
        ("a\\b", "'a\\\\b'"),
        ("a\nb\t", "'a\\nb\\t'"),
    ],
)
def test_a_word_is_quoted_only_where_it_must_be(text: str, quoted: str) -> None:
    assert render.word(text) == quoted


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (Command(("/bin/x", "a b")), "/bin/x 'a b'"),
        (Command(("/bin/x",), privileged=True), "+/bin/x"),
        (Command(("/bin/x",), optional=True), "-/bin/x"),
        (Command(("/bin/x",), privileged=True, optional=True), "-+/bin/x"),
    ],
)
def test_a_command_has_systemds_prefixes(command: Command, line: str) -> None:
    assert render.command(command) == line


def test_a_command_line_has_one_option_a_line() -> None:
    assert render.argument_lines([("/bin/x",), ("-m", "1 G"), ("-S",)]) == "/bin/x \\\n    -m '1 G' \\\n    -S"


@pytest.mark.parametrize("path", ["/srv/a.img", ODD_PATH, "/a:b", "/a\\b", "/%i", "/$$"])
def test_a_path_is_bound_under_its_own_name(path: str) -> None:
    bound = render.bind(path)
    (word,) = systemd_model.words(bound, escapes=False)
    assert systemd_model.expand(word, variables=False) == path
    # Outside quotes a colon parts source and destination; the backslash keeps it.
    assert bound.count(":") == bound.count("\\:")


def rendered(*, writes: str, ca_bundle: str = "", device: str = "", directory: str = "") -> str:
    """The unit of a VM with one disk that has an odd path in it."""
    if ca_bundle:
        storage = {"https": {"url": "https://192.0.2.7/x", "ca_bundle": ca_bundle}, "route": "driver"}
    elif device:
        storage = {"host_device": {"filename": device}}
    elif directory:
        storage = {"nbd": {"host": "192.0.2.5", "tls": {"directory": directory}}}
    else:
        storage = {"file": {"filename": ODD_PATH}}
    return render.render_service(plan(disk_of(storage, writes=writes)).services[-1], encrypted=True)


def test_a_unit_waits_for_the_mounts_of_a_path_with_odd_characters() -> None:
    (value,) = systemd_model.values(rendered(writes="deny"), "RequiresMountsFor")
    (path,) = systemd_model.words(value, escapes=False)
    assert systemd_model.expand(path, variables=False) == ODD_PATH


def test_a_unit_may_use_a_device_with_odd_characters() -> None:
    device = "/dev/disk/by-label/a%b\\x20c"
    value = systemd_model.values(rendered(writes="deny", device=device), "DeviceAllow")[0]
    path, access = systemd_model.words(value, escapes=False)
    assert (systemd_model.expand(path, variables=False), access) == (device, "r")


def test_a_unit_loads_credentials_from_a_folder_with_odd_characters() -> None:
    for value in systemd_model.values(rendered(writes="deny", directory="/etc/a$%'c:é"), "LoadCredential"):
        # Everything after the colon is the path: systemd takes no quotes away here.
        _name, _colon, path = value.partition(":")
        assert systemd_model.expand(path, variables=False).startswith("/etc/a$%'c:é/")


# Seen with 252 and 257: what is not refused here is lost, or joins the next line to it.
@pytest.mark.parametrize("odd", [" ", "\t", "\\"])
@pytest.mark.parametrize("path", ["/etc/a{}", "/etc/a{}b"])
@pytest.mark.parametrize("option", ["conf", "keyring", "directory"])
def test_a_path_that_no_unit_can_load_is_refused(option: str, path: str, odd: str) -> None:
    text = path.format(odd)
    disk: dict[str, Any] = {"rbd": {"pool": "p", "image": "i", option: text}}
    if option == "directory":
        disk = {"nbd": {"host": "h", "tls": {"directory": text}}}
    with pytest.raises(DeclarationError, match="which systemd cannot load; rename it"):
        vm(disk_of(disk))


@pytest.mark.parametrize("odd", ["\t", "\\", "'", '"'])
def test_a_path_that_no_unit_can_mount_is_refused(odd: str) -> None:
    for disk in (
        {"file": {"filename": f"/srv/a{odd}b"}},
        {"https": {"url": "https://h/x", "ca_bundle": f"/etc/a{odd}b"}, "writes": "deny"},
        {"ssh": {**SSH, "known_hosts": f"/etc/a{odd}b"}},
    ):
        with pytest.raises(DeclarationError, match="which systemd cannot mount; rename it"):
            vm(disk_of(disk))


@pytest.mark.parametrize("odd", [" ", "\t"])
def test_a_device_that_no_unit_can_be_allowed_is_refused(odd: str) -> None:
    with pytest.raises(DeclarationError, match="which systemd cannot allow; name a link"):
        vm(disk_of({"host_device": {"filename": f"/dev/a{odd}b"}}))


# systemd reads a unit up to such a character and no further: the sandbox behind it would be lost.
@pytest.mark.parametrize("character", ["\udcff", "\ud800", "\ufdd0", "\ufffe", "\uffff", "\U0001fffe", "\U0010ffff"])
def test_what_is_no_character_is_refused(character: str) -> None:
    for declaration in (
        disk_of({"nbd": {"host": "h", "export": f"a{character}b"}}),
        disk_of({"https": {"url": f"https://h/{character}"}}, writes="deny"),
        disk_of({"nbd": {"host": "h"}}) | {"extra_args": [f"-{character}"]},
        {"cloud_init": {"user_data": character}},
    ):
        with pytest.raises(DeclarationError, match=f"has U\\+{ord(character):04X} in it, which is not a character"):
            vm(declaration)


def test_a_description_does_not_join_the_next_line_to_it() -> None:
    disk = {"https": {"url": "https://192.0.2.7/a%20b\\"}, "route": "stage"}
    text = render.render_service(plan(disk_of(disk, writes="deny")).services[0], encrypted=True)
    (description,) = systemd_model.values(text, "Description")
    assert systemd_model.expand(description, variables=False) == "Image https://192.0.2.7/a%20b\\"
    assert systemd_model.values(text, "Wants") == ["network-online.target"]


@given(TEXT.filter(lambda text: "\n" not in text))
def test_a_setting_is_read_back_by_systemd_as_it_was(text: str) -> None:
    (word,) = systemd_model.words(render.setting(f"/{text}"), escapes=False)
    assert systemd_model.expand(word, variables=False) == f"/{text}"


@given(TEXT)
def test_the_text_of_a_credential_is_read_back_by_systemd_as_it_was(text: str) -> None:
    line = render.data(text)
    assert "\n" not in line
    assert systemd_model.unescaped(line) == text


def test_a_bundle_with_odd_characters_takes_the_place_of_the_systems_own() -> None:
    (value,) = systemd_model.values(rendered(writes="deny", ca_bundle="/etc/a b%.pem"), "BindReadOnlyPaths")
    assert value == "'/etc/a b%%.pem':/etc/ssl/certs/ca-certificates.crt"


@pytest.mark.parametrize("encrypted", [True, False])
def test_credentials_are_loaded_from_where_they_are_kept(encrypted: bool) -> None:
    disk = {"https": {"url": "https://192.0.2.7/x", "username": "joe", "password": "x"}, "route": "driver"}
    text = render.render_service(plan(disk_of(disk, writes="deny")).services[-1], encrypted=encrypted)
    name, folder = ("LoadCredentialEncrypted", ".encrypted") if encrypted else ("LoadCredential", "")
    assert f"{name}=root.password:/etc/credstore{folder}/qemu-vm-web1.root.password\n" in text


def test_systemd_accepts_every_golden_unit(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    for case in golden_cases():
        folder = tmp_path / case.id
        folder.mkdir()
        (folder / "qemu-vms.target").write_text(render.render_common("qemu-vms.target"), encoding="utf-8")
        for one in plans_of(case):
            for service in one.services:
                text = render.render_service(service, encrypted=True)
                (folder / service.name).write_text(text, encoding="utf-8")
    units = sorted(str(path) for path in tmp_path.glob("*/*.service"))
    environment = {**os.environ, "SYSTEMD_UNIT_PATH": ":".join(map(str, tmp_path.iterdir())) + ":"}
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *units]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    complaints = [
        line
        for line in done.stderr.splitlines()
        if "qemu-vm" in line and "is not executable" not in line and "Unknown key name" not in line
    ]
    assert complaints == []
