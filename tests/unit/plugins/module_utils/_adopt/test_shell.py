# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The line that starts QEMU is found among the other lines of a script, and nothing of it is lost or invented."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.command_line import Process
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.convert import convert
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.shell import read_script
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError

WORDS = ["kvm", "-m", "512", "-hda", "/x"]
LINE = "kvm -m 512 -hda /x"


@pytest.mark.parametrize(
    "text",
    [
        f"modprobe kvm\n{LINE}",
        f"pgrep -f qemu-system-x86_64 && exit 1\n{LINE}",
        f"IMG=/srv/kvm\n{LINE}",
        f"{LINE} # the VM",
        "kvm -m 512 \\\n  # the image\n  -hda /x",
        f"# it's the VM\n{LINE}",
        f"cd /srv && {LINE}",
        f"cd /srv; {LINE} &",
        f"sudo -Eu qemu {LINE}",
        f"setpriv --reuid 64055 --regid=1 {LINE}",
        f"flock /run/x {LINE}",
        f"strace -f -o /tmp/x {LINE}",
        f"ExecStart=-/usr/bin/{LINE}",
    ],
)
def test_the_line_that_starts_qemu_is_read_alone(text: str) -> None:
    command = read_script(text)
    assert command is not None
    assert [command.words[0].rpartition("/")[2], *command.words[1:]] == WORDS


def test_the_directory_of_a_joined_command_is_known() -> None:
    command = read_script("cd /srv && kvm -hda x")
    assert command is not None
    assert command.directory == "/srv"


def test_a_semicolon_within_a_word_ends_no_command() -> None:
    """ps shows words without their quotes: what follows must not get lost."""
    with pytest.raises(DirectDiskError, match="a shell would do something at ';'"):
        read_script("kvm -drive file=rbd:p/i:mon_host=a;b,if=virtio -m 512")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("kvm -m 512 -hda ~/x.img", "a shell would fill in ~"),
        ("kvm -m $((1024*2))", r"at character 8: a shell would do something at '\$'"),
        ("kvm -m 512 -drive file=a|tee", r"at character 25: a shell would do something at '\|'"),
        ("kvm -hda 'x", "a quote has no end"),
        ('ARGS=(-m 512)\nkvm "${ARGS[@]}"', "a shell would fill in what is between the quotes"),
        ("/usr/bin/qemu-kvm-one -m 512", "'/usr/bin/qemu-kvm-one', which is not known here to start QEMU"),
        ("# kvm -m 512", "begins with '#'"),
        (["sh", "-c", LINE], "begins with 'sh'"),
        (f"if true; then {LINE}; fi", "begins with 'then'"),
    ],
)
def test_what_a_shell_would_do_is_refused_and_not_taken_for_an_image(given: Any, problem: str) -> None:
    with pytest.raises(DirectDiskError, match=problem):
        convert(given, process=Process(directory="/srv"))


def test_a_path_with_spaces_is_still_an_image() -> None:
    assert convert("/srv/my image - old.raw").declaration["file"] == {"filename": "/srv/my image - old.raw"}


@pytest.mark.parametrize("option", ["--setenv=TOKEN=", "-E TOKEN=", "-p SetCredential=a:", "-p Environment=A="])
def test_what_a_wrapper_gives_to_qemu_is_named_without_its_text(option: str) -> None:
    command = read_script(f"systemd-run -p CPUQuota=50% {option}MaRKer {LINE}")
    assert command is not None
    assert "CPUQuota=50%" in command.left[0]
    assert "MaRKer" not in command.left[0]
