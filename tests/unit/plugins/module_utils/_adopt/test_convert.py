# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people run today is declared as QEMU reads it, or refused with the piece that cannot be."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.arguments import IMPLIED, SWITCHES
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.command_line import Process
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.convert import convert
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.qemu_options import REMOVED, WITH_VALUE
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError
from ansible_collections.directdisk.qemu.tests.unit.support import UNIT_TESTS

CASES: list[dict[str, Any]] = yaml.safe_load((UNIT_TESTS / "legacy_cases.yml").read_text(encoding="utf-8"))
GOOD = [case for case in CASES if "disk" in case]
BAD = [case for case in CASES if "problem" in case]
EMULATOR = "/usr/bin/qemu-system-x86_64"


def line_of(case: dict[str, Any]) -> str:
    return f"{case['option']} '{case['line']}'" if "option" in case else str(case["line"])


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case["line"][:60])
def test_a_disk_is_declared(case: dict[str, Any]) -> None:
    converted = convert(line_of(case), name="root")
    assert converted.declaration == case["disk"]
    assert converted.left == case.get("left", [])
    for secret in case.get("secrets", []):
        assert secret not in repr(converted)
    assert all(f"{{{{ {secret['variable']} }}}}" in repr(converted.declaration) for secret in converted.secrets)


@pytest.mark.parametrize("case", BAD, ids=lambda case: case["line"][:60])
def test_what_cannot_be_declared_is_refused_in_these_words(case: dict[str, Any]) -> None:
    with pytest.raises(DirectDiskError) as raised:
        convert(line_of(case))
    assert case["problem"] in str(raised.value)
    assert "\n" not in str(raised.value)
    for secret in case.get("secrets", []):
        assert secret not in str(raised.value)


@pytest.mark.parametrize("given", [None, 5, [], [1], {}, {"driver": "raw"}, {"driver": {"a": 1}}])
def test_what_is_no_line_is_refused(given: Any) -> None:
    with pytest.raises(DirectDiskError):
        convert(given)


@pytest.mark.parametrize(
    "line",
    [
        "rbd:" + "a" * 2**20,
        "file=rbd:a/b" + ":x=y" * 2**18,
        "file=" + "," * 2**20,
        "driver=nbd," + "a." * 2**19 + "b=c",
        "json:" + '{"a":' * 2**18,
        '{"a":' + "[" * 2**17,
        "a.b" * 2**10 + "=c",
        "file=/a," + "x=y," * 2**18,
        "<disk>" + "<a>" * 2**18,
        "qemu-system-x86_64 " + "-m 1 " * 2**19,
        "qemu-system-x86_64 -drive file=" + "a" * 2**20,
        "qemu-system-x86_64 '" + "a" * 2**20,
    ],
    ids=lambda line: line[:20],
)
def test_a_line_of_a_megabyte_is_refused_in_a_short_line(line: str) -> None:
    with pytest.raises(DirectDiskError) as raised:
        convert(line)
    assert len(str(raised.value)) < 400


def vm_of(*words: str, name: str = "web1", **process: Any) -> Any:
    return convert([EMULATOR, "-name", name, *words], process=Process(**process))


def test_a_vm_says_what_qemu_takes_for_granted() -> None:
    found = convert(["kvm"])
    assert found.name == "vm"
    assert found.declaration == {
        "machine": "pc",
        "accel": "kvm",
        "memory": "128MiB",
        "cpus": 1,
        "cpu_model": "qemu64",
        "console": True,
    }
    assert found.left == [
        "the VGA adapter and the window that QEMU adds unasked: a VM has a VGA adapter only with a screen: "
        "declare vnc if the guest needs one",
        "the network card that QEMU adds unasked (user network): declare networks if the guest uses it",
    ]


def test_a_whole_vm_is_declared() -> None:
    found = vm_of(
        *("-machine", "q35,accel=kvm,usb=off", "-cpu", "host", "-m", "4G", "-smp", "4,cores=2,threads=2"),
        *("-drive", "file=/srv/a.qcow2,if=none,id=drive-virtio-disk0,format=qcow2", "-nodefaults"),
        *("-object", "iothread,id=io1", "-device", "virtio-blk-pci,drive=drive-virtio-disk0,iothread=io1,bootindex=1"),
        *("-device", "virtio-scsi-pci,id=scsi0,num_queues=3"),
        *("-drive", "if=none,id=b,file=nbd://h/x,format=raw", "-device", "scsi-hd,drive=b,bus=scsi0.0,scsi-id=2"),
        *("-netdev", "tap,id=net0,ifname=tap7,script=no", "-device", "virtio-net-pci,netdev=net0"),
        *("-netdev", "user,id=net1,hostfwd=tcp::2222-:22", "-device", "e1000,netdev=net1,mac=52:54:00:00:00:09"),
        *("-device", "virtio-rng-pci", "-vnc", "127.0.0.1:3", "-serial", "stdio", "-daemonize"),
        bridges={"tap7": "br0"},
    )
    assert found.declaration == {
        "machine": "q35",
        "accel": "kvm",
        "memory": "4GiB",
        "cpus": 4,
        "vnc": {"address": "127.0.0.1", "port": 5903},
        "console": True,
        "disks": {
            "virtio-disk0": {
                "file": {"filename": "/srv/a.qcow2"},
                "format": "qcow2",
                "boot_index": 1,
                "iothread": True,
            },
            "b": {"nbd": {"host": "h", "export": "x"}, "model": "virtio-scsi", "queues": 3},
        },
        "networks": {
            "net0": {"bridge": "br0", "mac": "52:54:00:12:34:56"},
            "net1": {"user": True, "forward": ["tcp::2222-:22"], "mac": "52:54:00:00:00:09", "model": "e1000"},
        },
        "cpu_cores": 2,
        "cpu_threads": 2,
        "extra_args": ["-machine", "usb=off", "-device", "virtio-rng-pci"],
    }
    assert "-device virtio-rng-pci: kept in extra_args" in found.left


def test_what_cannot_be_declared_stays_with_all_that_it_needs() -> None:
    drive = ["-drive", "file=/srv/a.vmdk,if=none,id=d,format=vmdk"]
    card = ["-netdev", "user,id=n,restrict=on", "-device", "rtl8139,netdev=n"]
    found = vm_of("-nodefaults", *drive, "-device", "virtio-blk-pci,drive=d", *card)
    assert found.declaration["extra_args"] == [*drive, "-device", "virtio-blk-pci,drive=d", *card]
    assert found.left[0] == "-drive d: driver 'vmdk' is not a kind of storage that can be declared"


def test_a_secret_is_never_handed_on_nor_what_needs_it() -> None:
    secret = ["-object", "secret,id=s,data=p4ss"]
    drive = ["-drive", "file=/a,if=none,id=d,format=qcow,encrypt.format=aes,encrypt.key-secret=s"]
    found = vm_of("-nodefaults", *secret, *drive, "-device", "virtio-blk-pci,drive=d", "-spice", "password=p4ss")
    assert "extra_args" not in found.declaration
    assert "p4ss" not in repr(found)
    assert "-object secret id=s: not kept, because it has a secret in it" in found.left
    assert "-device virtio-blk-pci,drive=d: not kept, because it mentions d, and it is not kept" in found.left


def test_an_initiator_keeps_the_name_under_which_it_logged_in() -> None:
    drive = ["-drive", "file=iscsi://h/iqn.x/1,if=virtio,format=raw"]
    names = {
        (): "iqn.2008-11.org.linux-kvm:web1",
        ("-uuid", "11111111-2222-3333-4444-555555555555"): (
            "iqn.2008-11.org.linux-kvm:11111111-2222-3333-4444-555555555555"
        ),
        ("-iscsi", "initiator-name=iqn.y"): "iqn.y",
    }
    for words, name in names.items():
        disks = vm_of(*drive, *words).declaration["disks"]
        assert disks["disk"]["iscsi"]["initiator_name"] == name


def test_what_iscsi_says_beside_a_disk_holds_for_uris_and_by_target() -> None:
    found = vm_of(
        *(
            "-iscsi",
            "initiator-name=iqn.all,header-digest=CRC32C",
            "-iscsi",
            "id=iqn.y,initiator-name=iqn.own,timeout=9",
        ),
        *("-drive", "file=iscsi://h/iqn.x/1,if=none,id=x,format=raw", "-device", "virtio-blk-pci,drive=x"),
        *("-drive", "file=iscsi://h/iqn.y/1,if=none,id=y,format=raw", "-device", "virtio-blk-pci,drive=y"),
        *("-blockdev", "driver=iscsi,node-name=z,transport=tcp,portal=h,target=iqn.z,lun=1"),
        *("-device", "virtio-blk-pci,drive=z"),
    )
    said = {name: disk["iscsi"] for name, disk in found.declaration["disks"].items()}
    assert (said["x"]["initiator_name"], said["x"]["header_digest"]) == ("iqn.all", "crc32c")
    assert (said["y"]["initiator_name"], said["y"]["timeout"]) == ("iqn.own", 9)
    assert said["z"]["initiator_name"] == "iqn.2008-11.org.linux-kvm:web1"
    assert "extra_args" not in found.declaration


@pytest.mark.parametrize("secret, kept", [("", True), (",password=p4ss", False)])
def test_what_iscsi_says_stays_with_a_disk_that_cannot_be_declared(secret: str, kept: bool) -> None:
    words = ["-iscsi", f"user=joe{secret}", "-drive", "file=iscsi://h/iqn.x/1,if=virtio,format=vmdk"]
    found = vm_of("-nodefaults", *words)
    assert found.declaration.get("extra_args") == (words if kept else None)
    assert "p4ss" not in repr(found)


def test_what_nothing_uses_and_what_two_devices_use_is_named() -> None:
    found = vm_of(
        *(
            "-nodefaults",
            "-drive",
            "file=/srv/a,if=none,id=a,format=raw",
            "-drive",
            "file=/srv/b,if=none,id=b,format=raw",
        ),
        *("-device", "virtio-blk-pci,drive=a", "-device", "virtio-blk-pci,drive=a,id=second"),
    )
    assert list(found.declaration["disks"]) == ["a"]
    assert found.left == [
        "-drive a: -device virtio-blk-pci: its drive is that of another device",
        "-drive file=/srv/b,if=none,id=b,format=raw: not kept, because nothing uses it",
        "-device virtio-blk-pci,drive=a,id=second: not kept, because it mentions a, "
        "and it is declared under a name of its own now",
    ]


def test_the_process_says_what_the_line_does_not() -> None:
    drives = ["-drive", "file=ssh://h/a,if=virtio,format=raw", "-drive", "file=b.img,if=virtio,format=raw"]
    disks = vm_of(*drives, directory="/srv/vms", user="joe").declaration["disks"]
    assert disks["disk"]["ssh"]["user"] == "joe"
    assert disks["disk2"]["file"] == {"filename": "/srv/vms/b.img"}


def test_two_secrets_of_a_disk_have_two_names() -> None:
    found = vm_of(
        *("-object", "secret,id=a,data=AA==,format=base64", "-object", "secret,id=b,file=/etc/b"),
        *(
            "-blockdev",
            "driver=luks,node-name=n,key-secret=b,file.driver=rbd,file.pool=p,file.image=i,"
            "file.key-secret=a,file.encrypt.format=luks2,file.encrypt.key-secret=b",
        ),
        *("-device", "virtio-blk-pci,drive=n,id=root"),
    )
    assert [(one["variable"], one["found"]) for one in found.secrets] == [
        ("vault_web1_root_key", "data= of -object secret,id=a"),
        ("vault_web1_root_passphrase", "the file /etc/b, by -object secret,id=b"),
        ("vault_web1_root_luks_passphrase", "the file /etc/b, by -object secret,id=b"),
    ]


def test_uefi_is_named_with_the_variables_to_copy() -> None:
    flash = ["-drive", "if=pflash,unit=0,file=/usr/share/OVMF/CODE.fd,readonly=on"]
    found = vm_of("-nodefaults", *flash, "-drive", "if=pflash,unit=1,file=/srv/vars.fd")
    assert found.declaration["firmware"] == "uefi"
    assert any("/srv/vars.fd" in text and "uefi-vars.fd" in text for text in found.left)


SECURE = ["-machine", "q35,smm=on", "-global", "driver=cfi.pflash01,property=secure,value=on"]


@pytest.mark.parametrize("secure", [SECURE, ["-machine", "q35,smm=on", "-global", "cfi.pflash01.secure=on"]])
def test_secure_boot_is_declared(secure: list[str]) -> None:
    flash = ["-drive", "if=pflash,unit=0,file=/usr/share/OVMF/CODE.fd,readonly=on"]
    s3 = ["-global", "ICH9-LPC.disable_s3=1"]
    found = vm_of("-nodefaults", *secure, *s3, *flash, "-drive", "if=pflash,unit=1,file=/srv/vars.fd")
    assert (found.declaration["firmware"], found.declaration["secure_boot"]) == ("uefi", True)
    assert "extra_args" not in found.declaration
    assert any("/srv/vars.fd" in text and "uefi-vars-secure.fd" in text for text in found.left)


TPM = ["-chardev", "socket,id=t,path=/run/swtpm.sock", "-tpmdev", "emulator,id=x,chardev=t"]


def test_an_emulated_tpm_is_declared() -> None:
    found = vm_of("-nodefaults", *TPM, "-device", "tpm-tis,tpmdev=x")
    assert found.declaration["tpm"] is True
    assert "extra_args" not in found.declaration
    assert any("the swtpm at /run/swtpm.sock" in text for text in found.left)
    assert "TPM tpm-tis: the VM has a tpm-crb" in found.left


DOMAIN = """<domain type='kvm'><name>web1</name><memory>1048576</memory>
<os><type arch='x86_64' machine='{}'>hvm</type><loader secure='yes' type='pflash'>/c.fd</loader></os>
<features><acpi/><smm state='on'/></features>
<devices><tpm model='tpm-crb'><backend type='{}' version='2.0'/></tpm></devices></domain>"""


def test_secure_boot_and_a_tpm_of_libvirt_are_declared() -> None:
    found = convert(DOMAIN.format("q35", "emulator"), name="web1")
    assert (found.declaration["secure_boot"], found.declaration["tpm"]) == (True, True)
    assert any("uefi-vars-secure.fd" in text for text in found.left)
    assert not any("<features>" in text or "<tpm>" in text for text in found.left)
    other = convert(DOMAIN.format("pc", "passthrough"), name="web1")
    assert not {"secure_boot", "tpm"} & set(other.declaration)
    assert "<tpm> tpm-crb: not declared" in other.left


def test_a_tpm_of_the_host_is_no_emulated_one() -> None:
    passed = ["-tpmdev", "passthrough,id=x,path=/dev/tpm0", "-device", "tpm-crb,tpmdev=x"]
    assert "tpm" not in vm_of("-nodefaults", *passed).declaration


VMDK = ["-drive", "file=/srv/x.vmdk,format=vmdk,if=virtio"]
RAW = ["-drive", "file=/srv/x.raw,format=raw,if=virtio"]


@pytest.mark.parametrize(
    "kept",
    [VMDK, ["-cdrom", "/dev/sr0"], ["-fda", "/srv/x.img"], ["-drive", "file=/srv/x.img,if=floppy,format=raw"]],
)
def test_a_drive_that_is_kept_is_opened_with_the_snapshot_that_it_had(kept: list[str]) -> None:
    found = vm_of("-nodefaults", "-snapshot", *kept, *RAW)
    assert found.declaration["extra_args"] == ["-snapshot", *kept]
    assert found.declaration["disks"]["disk"]["writes"] == "discard"
    assert "-snapshot: kept in extra_args" in found.left


@pytest.mark.parametrize(
    ("setting", "declared"),
    [
        ("drive.a.snapshot=on", {"writes": "discard"}),
        ("drive.a.readonly=on", {"writes": "deny"}),
        ("device.d.logical_block_size=4096", {"logical_block_size": 4096}),
    ],
)
def test_what_set_adds_to_a_disk_is_declared(setting: str, declared: dict[str, Any]) -> None:
    drive = ["-drive", "file=/x,format=raw,if=none,id=a", "-device", "virtio-blk-pci,drive=a,id=d"]
    found = vm_of("-nodefaults", *drive, "-set", setting)
    assert found.declaration["disks"]["d"] == {"file": {"filename": "/x"}, **declared}
    assert found.left == []


def test_a_setting_of_nothing_that_is_known_stays_told() -> None:
    found = vm_of("-nodefaults", *RAW, "-set", "device.other.x=1")
    assert found.left == ["-set device.other.x=1: kept in extra_args"]


@pytest.mark.parametrize("kept", [[], ["-device", "virtio-rng-pci"]])
def test_a_snapshot_of_declared_disks_alone_is_said_by_them(kept: list[str]) -> None:
    found = vm_of("-nodefaults", "-snapshot", *RAW, *kept)
    assert found.declaration.get("extra_args", []) == kept
    assert found.declaration["disks"]["disk"]["writes"] == "discard"


@pytest.mark.parametrize("switch", ["-async-teardown", "-perfmap", "-enable-fips", "--async-teardown"])
def test_an_option_without_a_value_leaves_the_next_word_alone(switch: str) -> None:
    found = vm_of("-m", "512", switch, "-snapshot", *RAW)
    assert found.declaration["disks"]["disk"]["writes"] == "discard"
    assert "-snapshot" not in found.declaration.get("extra_args", [])


def test_an_option_that_is_not_known_is_refused() -> None:
    with pytest.raises(DirectDiskError) as raised:
        vm_of("-m", "512", "-frobnicate", "-snapshot", *RAW)
    assert str(raised.value) == "-frobnicate: is not an option of QEMU that is known here"


def test_no_option_both_takes_a_value_and_takes_none() -> None:
    assert not WITH_VALUE & SWITCHES
    assert not set(REMOVED) & (WITH_VALUE | SWITCHES)
    assert set(IMPLIED) <= WITH_VALUE
