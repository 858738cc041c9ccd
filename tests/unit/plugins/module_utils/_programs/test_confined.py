# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that confines whatever opens what others made: it really does, which takes root."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._access import confinement as access_confinement
from ansible_collections.directdisk.qemu.plugins.module_utils._access.confinement import Confinement, confinement
from ansible_collections.directdisk.qemu.plugins.module_utils._access.visible_files import VisibleFiles
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.access import Reach
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import QmpError
from ansible_collections.directdisk.qemu.tests.unit.real_parts import may_confine

pytestmark = pytest.mark.skipif(not may_confine(), reason="needs root, and a system that lets it make namespaces")
USER = 0x70000000
"""A user that nobody has."""


@dataclass
class Run:
    """A run with a folder of its own."""

    outer: Path
    folder: Path
    program: str

    def command(self, *command: str, allowed: Confinement = Confinement(), files_from: int = -1) -> list[str]:  # noqa: B008
        return [
            *access_confinement.begin(
                allowed, USER, str(self.outer), self.program, folders=(str(self.folder),), files_from=files_from
            ),
            *command,
        ]

    def python(self, text: str, allowed: Confinement = Confinement()) -> str:  # noqa: B008
        done = subprocess.run(
            self.command("/usr/bin/python3", "-IS", "-c", text, allowed=allowed),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout + done.stderr


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    if not os.path.exists("/usr/bin/python3"):
        pytest.skip("needs the system's own python3")
    tmp_path.chmod(0o755)
    folder = tmp_path / "w"
    folder.mkdir(mode=0o700)
    os.chown(folder, USER, USER)
    yield Run(tmp_path, folder, access_confinement.program(str(tmp_path)))
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.mark.parametrize(
    "path", ["/etc/shadow", "/root", "/home", "/var", "/run", "/proc/1/environ", "/dev/mem", "/sys"]
)
def test_what_a_header_could_name_is_not_there(run: Run, path: str) -> None:
    assert (
        run.python(f"import os; print(os.path.lexists({path!r}))", Confinement(network=True, opens=True)) == "False\n"
    )


def test_it_is_a_user_that_nobody_else_is_without_any_capability(run: Run) -> None:
    text = (
        "import os; print(os.getresuid(), os.getresgid(), os.getgroups());"
        "print(*(l.split()[1] for l in open('/proc/self/status') if l.startswith(('Cap', 'NoNewPrivs'))))"
    )
    assert run.python(text).split("\n")[:2] == [
        f"{(USER,) * 3} {(USER,) * 3} []",
        "0000000000000000 0000000000000000 0000000000000000 0000000000000000 0000000000000000 1",
    ]


def test_with_files_of_others_it_has_the_one_capability_that_opens_them(run: Run) -> None:
    text = "print(*(l.split()[1] for l in open('/proc/self/status') if l.startswith('Cap')))"
    assert run.python(text, Confinement(opens=True)) == " ".join(["0000000000000002"] * 5) + "\n"


def test_there_is_a_network_only_where_a_server_is(run: Run) -> None:
    text = "import socket; print([name for _number, name in socket.if_nameindex()])"
    assert run.python(text) == "['lo']\n"
    outside = f"{[name for _number, name in __import__('socket').if_nameindex()]}\n"
    assert run.python(text, confinement(Reach(servers=("server.example",)))) == outside


def test_it_writes_to_its_folder_and_nowhere_else(run: Run) -> None:
    text = f"open('{run.folder}/a', 'w').close()\ntry: open('/usr/a', 'w')\nexcept OSError as error: print(error.errno)"
    assert run.python(text) == "30\n"
    assert (run.folder / "a").stat().st_uid == USER


def test_a_file_that_is_put_in_its_place_is_read_only(run: Run, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.write_text("trusted", encoding="utf-8")
    allowed = confinement(Reach(servers=("192.0.2.1",), trust=str(bundle)), trust_store="/etc/own/store.pem")
    text = "print(open('/etc/own/store.pem').read())\nopen('/etc/own/store.pem', 'w')"
    answer = run.python(text, Confinement(files=allowed.files))
    assert answer.startswith("trusted\n")
    assert "Error" in answer
    assert bundle.read_text(encoding="utf-8") == "trusted"


def test_a_link_in_a_folder_of_others_is_not_put_in_a_place(run: Run, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of root", encoding="utf-8")
    tenant = tmp_path / "tenant"
    tenant.mkdir()
    (tenant / "image").symlink_to(tmp_path / "secret")
    allowed = Confinement(files=((str(tenant / "image"), "/image"),), opens=True)
    text = "print(open('/image').read())"
    assert run.python(text, allowed) == "of root\n"
    os.chown(tenant, 12345, 12345)
    assert (
        run.python(text, allowed)
        == f"{tenant}/image: it is a symbolic link, and its folder is not root's; declare the file itself\n"
    )


def test_too_large_a_file_is_an_error(run: Run) -> None:
    text = f"f = open('{run.folder}/a', 'wb', 0); f.write(bytes(4096)); f.write(bytes(4096))"
    assert "File too large" in run.python(text, Confinement(most=4096))


def test_files_come_and_go_while_it_runs(run: Run, tmp_path: Path) -> None:
    image = tmp_path / "image.raw"
    image.write_bytes(b"of another")
    image.chmod(0o600)
    files = VisibleFiles()
    text = (
        "import sys\nfor line in sys.stdin:\n"
        " try: print(open(line.strip()).read(), flush=True)\n except OSError as error: print(error.errno, flush=True)"
    )
    process = subprocess.Popen(
        run.command(
            "/usr/bin/python3", "-IS", "-c", text, allowed=Confinement(opens=True), files_from=files.theirs.fileno()
        ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=[files.theirs.fileno()],
        text=True,
    )
    files.theirs.close()
    assert process.stdin
    assert process.stdout

    def seen() -> str:
        assert process.stdin
        assert process.stdout
        process.stdin.write(f"{image}\n")
        process.stdin.flush()
        return process.stdout.readline()

    assert seen() == "2\n"
    with files.shown([str(image)]), files.shown([str(image)]):
        assert seen() == "of another\n"
    assert seen() == "2\n"
    with (
        pytest.raises(QmpError, match=f"Could not open '{tmp_path}/none': No such file"),
        files.shown([f"{tmp_path}/none"]),
    ):
        pass
    files.close()
    process.stdin.close()
    process.stdout.close()
    assert process.wait(20) == 0


def test_it_ends_with_the_process_that_has_started_it(run: Run) -> None:
    command = run.command("/usr/bin/sleep", "60")
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import subprocess; p = subprocess.Popen({command!r}); print(p.pid, flush=True); p.wait()",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout
    child = int(parent.stdout.readline())
    for _try in range(200):
        if "sleep" in Path(f"/proc/{child}/comm").read_text(encoding="utf-8"):
            break
        signal.sigtimedwait([], 0.05)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for _try in range(200):
        if not os.path.exists(f"/proc/{child}") or ") Z" in Path(f"/proc/{child}/stat").read_text(encoding="utf-8"):
            return
        signal.sigtimedwait([], 0.05)
    raise AssertionError("it outlives its parent")


def test_addresses_are_filtered_by_a_scope(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(access_confinement, "_BOOTED", str(tmp_path))
    command = access_confinement.begin(
        confinement(Reach(servers=("192.0.2.1",))), USER, "/run/x", "/run/x/p", folders=()
    )
    assert command[:6] == [
        *("/usr/bin/systemd-run", "--scope", "--quiet", "--collect"),
        *("--property=IPAddressDeny=any", "--property=IPAddressAllow=192.0.2.1"),
    ]
    named = access_confinement.begin(
        confinement(Reach(servers=("server.example",))), USER, "/run/x", "/run/x/p", folders=()
    )
    assert "--scope" not in named
