# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret of a command line, a URI or an XML element is handed on, wherever it stands and whatever becomes of it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt import argument_secrets
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.command_line import Process
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.convert import convert
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.result import Converted, without_secrets
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError, DirectDiskError
from ansible_collections.directdisk.qemu.plugins.module_utils._host.unmanaged import Start, as_declared

MARKER = "MaRKer0987654321"

# Names of images in which a secret stands; % stands for it.
NAMES = [
    "rbd:p/efi:id=u:key=%",
    "rbd:p/efi:key=%:id=u:conf=/x",
    "https://u:%@h/x",
    "http://u:%@h:81/x?a=b",
    "ftp://u:a@%@h/x",
    "ftp://u:a@%/@h/x",
    "iscsi://u%%@h/iqn.x/1",
    "ssh://u:%@h/x",
    "https://h/x?X-Amz-Algorithm=A&X-Amz-Signature=%",
    "https://h/x?sv=1&sig=%",
    "https://h/x?X-Goog-Signature=%&b",
    "https://h/x?access_token=%",
    "https://h/x?verify=1797000000-%",
    "https://h/x?AWSAccessKeyId=a&Signature=%",
    'json:{"driver":"https","url":"https://h/x","username":"u","password":"%"}',
    'json:{"driver":"raw","file":{"driver":"http","url":"http://h/x","cookie":"a=%","proxy-password":"b"}}',
    'json:{"driver":"raw","file":{"driver":"iscsi","portal":"h","target":"t","user":"u","password":"%"}}',
    'json:{"driver":"raw","file":{"driver":"https","url":"https://u:%@h/x"}}',
    'json:{"driver":"raw","file.driver":"https","file.url":"https://h/x","file.proxy-password":"%"}',
    'json:{"file":"json:{\\"driver\\":\\"https\\",\\"password\\":\\"%\\"}"}',
    'json:{"driver":"https","password":"%"',
]
BARE_TOKENS = ["https://h/x?%", "https://h/x?a=1&%"]
"""A query without a name counts as a secret from 16 characters on."""
PAIRS = [
    "file=https://h/x,file.password=%",
    "file.driver=https,file.url=https://h/x,file.cookie=%",
    "file.driver=http,file.url=http://h/x?sig=%",
    "file.driver=iscsi,file.portal=h,file.target=t,file.user=u,file.password=%,file.lun=0",
]
OTHERS = [
    ("-object", "secret,id=s,data=%"),
    ("-object", '{"qom-type":"secret","id":"s","data":"%"}'),
    ("-object", "secret,id=s,data=%,format=base64,file"),
    ("-iscsi", "user=u,password=%"),
    ("-spice", "port=1,password=%"),
    ("-vnc", ":1,password=%"),
    ("-set", "drive.x.file.password=%"),
    ("-global", "x.password=%"),
    ("-netdev", "l2tpv3,id=n,src=a,dst=b,txcookie=%"),
    ("-netdev", "user,id=n,guestfwd=tcp:10.0.2.100:80-cmd:ssh -o a=b,,c=% host"),
    ("-nic", "user,guestfwd=tcp:10.0.2.100:80-cmd:ssh %,guestfwd=tcp:10.0.2.101:80-tcp:192.0.2.1:80"),
    ("-netdev", '{"type":"user","id":"n","guestfwd":[{"str":"tcp:10.0.2.100:80-cmd:ssh a,%"}]}'),
    ("-smbios", "type=11,value=io.systemd.credential:passwd.hashed-password.root=%"),
    ("-smbios", "type=11,value=io.systemd.credential.binary:a=bc,,%"),
    ("-chardev", "socket,id=c,path=/x,password=%"),
    ("-machine", "q35,x-password=%"),
    ("-append", "root=/dev/sda rd.iscsi.password=% quiet"),
    ("-append", "vncpassword=% inst.ks=http://h/ks"),
    ("-append", "rootpw=% passwd/root-password-crypted=%"),
    ("-append", "apikey=% wifi_psk=%"),
    ("-append", "systemd.set_credential=a:%"),
    ("-append", "netroot=iscsi:user:%@192.0.2.1::::iqn.x"),
    ("-fw_cfg", "name=opt/com.coreos/config,string=%"),
    ("-fw_cfg", "opt/org.example/token,string=%"),
    ("-fw_cfg", "name=opt/io.systemd.credentials/a,string=%"),
    ("-smbios", "type=1,serial=ds=nocloud;s=http://h/?token=%"),
    ("-cdrom", "https://h/x?a=b;token=%"),
    ("-pflash", "https://h/x?token=a;%"),
    ("-cdrom", "https://u:a %@h/x"),
    ("-global", "driver=x,property=password,value=%"),
    ("-drive", "file=https://h/x?hdnea=%,media=cdrom"),
    ("-incoming", "exec:curl -u joe:% https://h/x"),
    ("-kernel", "https://u:%@h/x"),
    ("-blockdev", "driver=https,node-name=n,url=https://h/x,password=%"),
    ("-blockdev", '{"driver":"https","node-name":"n","url":"https://u:%@h/x"}'),
    ("-blockdev", '{"driver":"https","node-name":"n","url":"https://u:%@h/x"'),
    ("-unknown-option", "password=%"),
    ("-smbios", "type=11,value=rootpw=%,value=b"),
    ("-smbios", "type=11,value=#cloud-config,,password: %"),
    ("-device", "usb-mtp,rootdir=/x,desc=password:%"),
    ("-chardev", "socket,id=c,path=/x?key=%"),
    ("-netdev", "vde,id=n,sock=cmd://ssh u:%@h"),
    (
        "-blockdev",
        '{"driver":"rbd","node-name":"n","pool":"p","=keyvalue-pairs":"[\\"mon_host\\",\\"h\\",\\"key\\",\\"%\\"]"}',
    ),
    ("-drive", 'if=virtio,file=json:{"driver":"rbd",,"pool":"p",,"=keyvalue-pairs":"[\\"key\\",, \\"%\\"]"}'),
    ("-cdrom", "https://h/x;jsessionid=%"),
    ("-cdrom", "https://h/x#access_token=%"),
    ("-cdrom", "https://h/x?user=a&authkey=%"),
]
LIBVIRT = [
    "<disk type='network'><driver name='qemu' type='raw'/><source protocol='rbd' name='p/i:id=u:key=%:conf=/x'>"
    "<host name='h'/></source><target dev='vda'/></disk>",
    "<disk type='network'><driver name='qemu' type='raw'/><source protocol='https' name='x' query='sig=%'>"
    "<host name='h'/></source><target dev='vda'/></disk>",
    "<disk type='network'><source protocol='https' name='x'><host name='h'/><cookies><cookie name='a'>%</cookie>"
    "</cookies></source><target dev='vda'/></disk>",
    "<disk type='network'><source protocol='https' name='x' evil='?sig=%'><host name='h'/></source></disk>",
]


def planted(text: str, secret: str) -> str:
    """A % that is followed by another is libiscsi's own."""
    return text.replace("%%", "\0%").replace("%", secret).replace("\0", "%")


def command_lines() -> list[list[str]]:
    lines = [[option, value] for option, value in OTHERS]
    for name in NAMES:
        file = name.replace(",", ",,")
        lines += [[option, name] for option in ("-hda", "-cdrom", "-fda", "-pflash", "-mtdblock")]
        lines += [
            ["-drive", f"if={interface},{image}file={file}"]
            for interface in ("virtio", "none", "pflash", "ide,media=cdrom", "floppy", "scsi")
            for image in ("", "format=raw,", "format=vmdk,")
        ]
        lines.append(["-drive", f"if=none,id=d,file={file}", "-device", "virtio-blk-pci,drive=d,odd=1"])
        lines.append(["-drive", f"if=none,id=d,file={file},odd", "-device", "scsi-hd,drive=d"])
    for pairs in PAIRS:
        lines += [
            ["-drive", f"if={interface},{pairs}"] for interface in ("virtio", "none", "pflash", "ide,media=cdrom")
        ]
    node = (
        '{"driver":"raw","node-name":"b","file":{"driver":"https","url":"https://h/v","username":"u","password":"%"}}'
    )
    lines.append(["-machine", "pflash0=a,pflash1=b", "-blockdev", node])
    return lines


def outcome(words: list[str]) -> str:
    """All that is handed on of a VM that runs by hand: declaration, secrets, left, notes, or what is wrong."""
    return repr(as_declared(Start(["kvm", "-nodefaults", *words], Process("x"), "x.service", 7), set()))


@pytest.mark.parametrize("name", BARE_TOKENS)
def test_a_token_without_a_name_is_nowhere(name: str) -> None:
    assert MARKER not in outcome(["-hda", planted(name, MARKER)])


@pytest.mark.parametrize("words", command_lines(), ids=lambda words: " ".join(words)[:90])
def test_a_secret_is_nowhere_in_what_is_handed_on(words: list[str]) -> None:
    assert MARKER not in outcome([planted(word, MARKER) for word in words])


@pytest.mark.parametrize("name", [*NAMES, *BARE_TOKENS, *PAIRS, *LIBVIRT])
def test_a_secret_of_one_disk_is_in_neither_its_declaration_nor_an_error(name: str) -> None:
    try:
        said = repr(convert(planted(name, MARKER), name="root"))
    except DirectDiskError as error:
        said = str(error)
    assert MARKER not in said


@given(
    st.lists(st.sampled_from(command_lines()), min_size=1, max_size=4),
    st.text("abcXYZ019+/=_-", min_size=8, max_size=80).filter(lambda text: text.strip("=-_+/")),
)
def test_no_secret_of_a_line_with_several_is_handed_on(lines: list[list[str]], secret: str) -> None:
    secret = f"q7{secret}"
    said = outcome([planted(word, secret) for words in lines for word in words])
    assert secret not in said
    assert secret[:8] not in said


def test_what_an_https_image_needs_is_declared_with_its_query_as_a_secret() -> None:
    found = convert("https://h/x.img?X-Amz-Date=1&X-Amz-Signature=abc", name="root")
    assert found.declaration["https"] == {"url": "https://h/x.img", "query": "{{ vault_root_query }}"}
    plain = convert("https://h/x.img?name=b", name="root")
    assert plain.declaration["https"] == {"url": "https://h/x.img?name=b"}


def test_flash_memory_is_named_without_its_secret() -> None:
    found = convert(["kvm", "-pflash", "rbd:p/efi:id=u:key=AAp4ss=="])
    assert any("UEFI in rbd:p/efi:id=u:key=...: firmware" in text for text in found.left)


@pytest.mark.parametrize(
    "declaration",
    [
        {"extra_args": ["-spice", f"password={MARKER}"]},
        {"extra_args": ["-cdrom", f"https://u:{MARKER}@h/x"]},
        {"disks": {"root": {"file": {"filename": f"rbd:a/b:key={MARKER}"}}}},
        {"disks": {"root": {"gluster": {"servers": [{"host": f"x://u:{MARKER}@h"}]}}}},
    ],
)
def test_the_border_refuses_a_secret_that_came_so_far(declaration: dict[str, Any]) -> None:
    with pytest.raises(DeclarationError) as raised:
        without_secrets(Converted("x", declaration, [], [], []), "")
    assert MARKER not in str(raised.value)


def test_the_border_covers_whatever_says_a_secret() -> None:
    given = f"kvm -spice password={MARKER},,x"
    left = [f"a {MARKER},x", f"a {MARKER},,x", f"'{MARKER[:7]}...'"]
    found = without_secrets(Converted("x", {}, [{"found": MARKER + ",x"}], left, left), given)
    assert found.left == found.notes == ["a ...", "a ...", "'...'"]
    assert found.secrets == [{"found": "..."}]


@pytest.mark.parametrize(
    "spelling",
    ["a:b/c,d=e", "a:b/c,,d=e", r"a\:b\/c,d\=e", "a%3Ab%2Fc%2Cd%3De"],
)
def test_a_secret_is_covered_in_every_spelling(spelling: str) -> None:
    assert argument_secrets.covered(f"<{spelling}>", {"a:b/c,d=e"}) == "<...>"


@pytest.mark.parametrize("secret, text", [("a", "a b 'a' bar a.b"), ("on", "on line")])
def test_a_short_secret_leaves_other_words_alone(secret: str, text: str) -> None:
    assert argument_secrets.covered(text, {secret}) == {"a": "... b '...' bar ....b", "on": "... line"}[secret]


@pytest.mark.parametrize(
    "argument",
    [
        {"driver": "rbd", "key-secret": "k"},
        {"password-secret": "k"},
        {"password": "on"},
        {"password": True},
        {"qom-type": "secret", "file": "/x", "keyid": "k"},
        {"qom-type": "memory-backend-file", "data": "x"},
        {"file": "https://u@h/x?size=1"},
        {"file": "rbd:a/b:keyring=/x"},
    ],
)
def test_what_only_names_a_secret_is_none(argument: dict[str, Any]) -> None:
    assert list(argument_secrets.secrets_in(argument)) == []


@pytest.mark.parametrize("piece", ["://:", "://:::@", "rbd:", "secret ", "<cookie", "?", "?a", "a=", "a ", "key=x,"])
def test_a_line_made_to_take_long_does_not(piece: str) -> None:
    def seconds(length: int) -> float:
        """Of this process alone, whatever else the VM does."""
        started = time.process_time()
        argument_secrets.covered("x" * 300, argument_secrets.all_secrets_in(piece * (length // len(piece))))
        return time.process_time() - started

    # A time that grows with the square would be 64 times as long.
    assert seconds(2**17) < 30 * max(seconds(2**14), 0.01)


def test_of_too_many_secrets_nothing_is_shown() -> None:
    assert argument_secrets.covered("a text", {f"secret{number}" for number in range(101)}) == "..."
