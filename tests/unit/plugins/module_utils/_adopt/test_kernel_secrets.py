# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets on kernel command lines are seen in whatever form programs of the guest read them."""

from __future__ import annotations

import time

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.argument_secrets import all_secrets_in, covered
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.command_line import Process
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.kernel_secrets import kernel_secrets
from ansible_collections.directdisk.qemu.plugins.module_utils._host.unmanaged import Start, as_declared

MARKER = "MaRKer0987654321"

# % stands for the secret, ~ for a percent sign.
LINES = [
    # mount.cifs, mount.ceph, and an initramfs with an image on Ceph
    "root=//h/s cifsopts=user=f,pass=%",
    "cifsopts=password=%",
    "rootflags=secret=%,name=admin",
    "rootflags=name=admin,password2=%",
    "rbdroot=192.0.2.1:6789:admin:%:rbd:image",
    # systemd
    "systemd.setenv=PASSWORD=%",
    'systemd.setenv="DB_PASS=%"',
    'systemd.set_credential="a:two %"',
    '"systemd.set-credential-binary=a:%"',
    'systemd.run="/usr/bin/curl -u user:% https://h"',
    # installers: Debian, Anaconda, linuxrc, and their commands
    "passwd/root-password-again=%",
    "partman-crypto/passphrase-again=%",
    "netcfg/wireless_wpa=%",
    "inst.sshpw=%",
    "rootpw --iscrypted %",
    "sshpw --username=root --plaintext %",
    "WlanKey=%",
    "WPAPSK=%",
    "regcode=%",
    "inst.ks=http://h/k?user=a&pass=%",
    # cloud-init, Talos, ironic, dm-crypt and others
    "cc: {password: %, chpasswd: {expire: False}} end_cc",
    'quiet cc:{chpasswd: {list: "root:%"}}end_cc ro',
    "cc:~20password:~20%",
    "talos.config.inline=%",
    "siderolink.api=https://h:8090/?grpc_tunnel=true&jointoken=%",
    'rootpwd="%"',
    'dm-mod.create="c,,,ro,0 100 crypt aes-xts-plain64 % 0 /dev/sda 0"',
    "tailscale_authkey=%",
    "auth=%",
    "http_auth=user:%",
    "http_proxy=user:%@h:3128",
    'header="Authorization: Bearer %"',
    # in quotes, and behind a space
    'rd.iscsi.password="two %"',
    '"rd.iscsi.password=two %"',
    "rd.iscsi.password %",
    "rd.iscsi.password = %",
    "--token %",
    # options of programs, which init or a script gets
    "init=/bin/join -p %",
    "init=/bin/join -p%",
    "cmd='mysql -uroot -p% -h db'",
    "run='curl -u a:% https://h'",
    "run='curl -H X-Auth: % https://h'",
    'ocs_run="join --phrase %"',
    # what a shell gives to programs on standard input
    "cmd='echo root:%|chpasswd'",
    "cmd='echo -n \"root:%\" | /usr/sbin/chpasswd -e' quiet",
    "cmd='printf \"a:b\\nroot:%\\n\" | chpasswd'",
    "cmd='chpasswd <<< root:%'",
    "cmd='echo % | passwd --stdin root'",
    "cmd='echo % | cryptsetup open /dev/vdb data'",
    # paths of URLs
    "inst.ks=https://h/token/%/ks.cfg",
    "inst.ks=https://h/dl-token=%/ks.cfg",
    "root=live:https://h/eyJhbGciOiJIUzI1NiJ9.%.c2ln/img",
    # parameters of URLs
    "inst.ks=https://h/k?code=%",
    "inst.ks=https://h/k?host=a&sig=%",
    "inst.repo=https://h/x?Policy=%&Key-Pair-Id=a",
    "ds=nocloud;s=https://h/c?otp=%",
    "talos.config=https://h/c?uuid=1&h=%",
    "ipxe=https://h/boot.php?mac=aa#%",
]
HARMLESS = [
    "console=ttyS0,115200 root=/dev/vda1 quiet ro",
    "auth=chap http_auth=none",
    "rd.auto rd.lvm.lv=vg/root rd.md=0 rootfstype=ext4 rootflags=subvol=@root",
    "keymap=de vconsole.keymap=us authorized_keys=http://h/k",
    "systemd.unit=rescue.target systemd.setenv=LANG=C.UTF-8 systemd.setenv=PWD=/root",
    "passthrough=on bypass=1 compass=3 pass=1 key=1 hotkey=1 token_ring=1",
    "password=ask root=/dev/sda",
    "password root=/dev/sda",
    "init=/bin/passwd root",
    "usbcore.autosuspend=-1 security=selinux cc:x proxy=h:3128",
    'dm-mod.create="lroot,,,rw, 0 4096 linear 98:16 0"',
    "init=/bin/sh -- single",
    "cmd='echo done | tee /dev/console' init=/bin/passwd <root",
    "inst.ks=https://h/token/a/ks.cfg inst.repo=https://h/tokens/0123456789abcdef0/x",
    "root=live:https://h/3b1f0c9d8e7a6b5c4d3e2f1a0b9c8d7e6f5a4b3c/eyJ.img",
    "init=/bin/sh -v root=/dev/sda console=ttyS0",
    "inst.ks=https://h/k?mac=52:54:00:aa:bb:01&arch=x86_64&file=debian-12-generic-amd64.cfg",
    "root=ceph:admin@fsid.cephfs=/ secretmem.enable=1 password-secret=s0",
]


def planted(line: str) -> str:
    return line.replace("%", MARKER).replace("~", "%")


@pytest.mark.parametrize("line", LINES)
def test_a_secret_of_a_kernel_line_is_hidden(line: str) -> None:
    assert MARKER not in covered(planted(line), set(kernel_secrets(planted(line))))


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("before", ["", "type=11,value=io.systemd.stub.kernel-cmdline-extra="])
def test_it_is_handed_on_in_no_form(line: str, before: str) -> None:
    value = before + (planted(line).replace(",", ",,") if before else planted(line))
    words = ["kvm", "-nodefaults", "-kernel", "/k", "-smbios" if before else "-append", value]
    assert MARKER not in repr(as_declared(Start(words, Process("x"), "x.service", 7), set()))


@pytest.mark.parametrize("line", HARMLESS)
def test_other_parameters_stay(line: str) -> None:
    assert list(kernel_secrets(line)) == []
    assert covered(line, all_secrets_in(f"kvm -append '{line}'")) == line


@pytest.mark.parametrize(
    "piece",
    [
        *("a=", "password=", "=", "password ", "crypt ", "cc:", ":a", '"', "proxy=a:"),
        *("echo ", "chpasswd <<", "chpasswd ", "http://h/token/"),
    ],
)
def test_a_line_made_to_take_long_does_not(piece: str) -> None:
    def seconds(length: int) -> float:
        started = time.process_time()
        list(kernel_secrets("rbd=dm-mod.create=" + piece * (length // len(piece))))
        return time.process_time() - started

    # A time that grows with the square would be 64 times as long.
    assert seconds(2**16) < 30 * max(seconds(2**13), 0.01)
