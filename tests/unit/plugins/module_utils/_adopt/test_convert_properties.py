# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A declaration that is written as a command line or a URI is the same once it is read again; and no line breaks it."""

from __future__ import annotations

import contextlib
import json
from typing import Any
from urllib.parse import quote

from hypothesis import assume, example, given
from hypothesis import strategies as st

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.command_line import Process
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.convert import convert
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.result import Converted
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import keyval
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.blockdev import nest
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.plan import make_plan, tap_name
from ansible_collections.directdisk.qemu.tests.unit.support import SSH_KEY, capabilities, disk_of, vm

NAME = st.text("abcXYZ019-_.", min_size=1, max_size=8).filter(lambda text: text[0].isalnum())
TEXT = st.text("ab0 ,:;=/%@\\é'\"$&#?[].+-_", min_size=1, max_size=12)
HOST = st.sampled_from(["h", "Store.example", "192.0.2.9", "2001:db8::5"])
PORT = st.integers(1, 65535)
PATH = TEXT.map(lambda text: "/" + text.replace("/", "_").strip() + "x").filter(lambda path: path != "/.x")
PLAIN_PATH = PATH.filter(lambda path: not set("'\"\\") & set(path))
SECRET = st.text("abcXYZ019+,:@%/=", min_size=3, max_size=12)
NUMBER = st.integers(1, 100)


FACTS = capabilities("debian13")


def some(required: dict[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


URL = st.builds("{}{}/{}".format, st.sampled_from(["h", "192.0.2.9", "[::1]"]), st.sampled_from(["", ":81"]), NAME)
CURL = {"username": NAME, "password": SECRET, "timeout": NUMBER, "readahead": st.just(65536)}
STORAGE: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "rbd": some(
        {"pool": NAME, "image": NAME, "key": st.just("AQDVmFJT0JnIJxAAjXG/22KnhIC91W4Gd9iJMg==")},
        namespace=NAME,
        user=NAME,
        monitors=st.just(["192.0.2.1", "[::1]:3300"]),
        auth_client_required=st.just(["cephx", "none"]),
    ),
    "nfs": some(
        {"host": HOST, "path": PATH},
        **dict.fromkeys(("user", "group", "tcp_syn_count"), NUMBER),
        readahead_size=st.just(4096),
        debug=st.integers(1, 2),
    ),
    "iscsi": some(
        {"portal": st.sampled_from(["h", "h:3261", "[::1]:3260"]), "target": NAME, "lun": st.integers(0, 99)},
        initiator_name=st.just("iqn.2026-01.example:x"),
        header_digest=st.just("crc32c"),
        timeout=NUMBER,
    ),
    "nbd": some({"host": HOST}, port=PORT, export=TEXT, open_timeout=NUMBER)
    | some({"socket": PLAIN_PATH}, export=TEXT),
    "ssh": some({"host": HOST, "path": PATH, "user": NAME, "key": st.just(SSH_KEY)}, port=PORT),
    "gluster": some({"volume": st.just("gv"), "path": NAME, "host": HOST}, port=PORT, debug=st.integers(0, 9)),
    "file": some({"filename": PLAIN_PATH.map("/srv{}".format)}, aio=st.just("threads"), locking=st.just("off")),
    "host_device": some({"filename": st.just("/dev/disk/by-id/a,b c")}),
    **{
        scheme: some({"url": URL.map(f"{scheme}://{{}}".format)}, **CURL).filter(
            lambda values: "username" in values or "password" not in values
        )
        for scheme in ("http", "https", "ftp", "ftps")
    },
}
SETTINGS = some(
    {},
    format=st.sampled_from(["raw", "qcow2"]),
    luks=st.fixed_dictionaries({"passphrase": SECRET}),
    cache=st.sampled_from(["none", "unsafe", "writethrough", "directsync"]),
    discard=st.just("unmap"),
    detect_zeroes=st.sampled_from(["on", "unmap"]),
    iops=some({"total": NUMBER, "total_max": st.just(200)}, total_max_length=st.just(9), size=st.just(4096)),
    on_error=st.sampled_from(["report", "ignore"]),
    boot_index=st.integers(0, 9),
    serial=NAME,
    wwn=st.just("5000c50015ea71ad"),
    physical_block_size=st.just(4096),
    rotation_rate=st.just(1),
    model=st.sampled_from(["virtio-blk", "virtio-scsi", "nvme", "ide", "usb"]),
)
NETWORKS = st.dictionaries(
    st.sampled_from(["lan", "wan"]),
    st.fixed_dictionaries({"bridge": st.just("br0")}, optional={"model": st.just("e1000")})
    | st.fixed_dictionaries({"user": st.just(True), "forward": st.just(["tcp:127.0.0.1:2222-:22"])}),
)
MACHINE = some(
    {"accel": st.just("tcg")},
    memory=st.sampled_from(["128MiB", "4GiB", 67108865]),
    cpus=st.integers(1, 64),
    cpu_model=st.sampled_from(["Haswell,+vmx", "max"]),
    machine=st.sampled_from(["q35", "pc"]),
    console=st.booleans(),
    vnc=st.just({"address": "127.0.0.1", "port": 5901}) | st.just({}),
    networks=NETWORKS,
)


@st.composite
def disks(draw: st.DrawFn) -> dict[str, Any]:
    """One disk of any backend that QEMU has a driver for, by that driver."""
    name = draw(st.sampled_from(sorted(STORAGE)))
    disk: dict[str, Any] = {name: draw(STORAGE[name]), **draw(SETTINGS)}
    if not BACKENDS[name].source.writable:
        disk["writes"] = draw(st.sampled_from(["deny", "overlay", "discard"]))
    else:
        disk["writes"] = draw(st.sampled_from(["keep", "deny", "overlay", "discard"]))
    return {**disk, "route": "driver"}


def read(given: dict[str, Any]) -> Vm:
    """The machine, unless the declaration contradicts itself."""
    try:
        return vm(given)
    except DirectDiskError:
        assume(False)
        raise


def same_disk(declared: Disk, converted: Disk) -> None:
    """Where the bytes are and what is made of them; a secret's own text is not there to be compared."""
    assert converted.backend is declared.backend
    one, two = (_comparable(disk) for disk in (declared, converted))
    assert two == one
    left_out = ("route", "boot_index", "uri", "luks")
    unsaid = {"serial": declared.name}
    one, two = ({**unsaid, **disk.settings} for disk in (declared, converted))
    assert {**two, **dict.fromkeys(left_out)} == {**one, **dict.fromkeys(left_out)}
    assert ("luks" in converted.settings) == ("luks" in declared.settings)


def _comparable(disk: Disk) -> Any:
    """rbd's conf is a file of the unit; a host key's check has its default."""
    values = {**disk.source}
    if disk.backend.name == "rbd":
        values.pop("conf", None)
        values["monitors"] = tuple(monitor.removesuffix(":6789") for monitor in values.get("monitors", ()))
    if disk.backend.name == "ssh":
        values.setdefault("host_key_check", {"mode": "known_hosts"})
    if disk.backend.name == "iscsi":
        values["portal"] = values["portal"].removesuffix(":3260")
        values.pop("initiator_name", None)
    return {key: "" if _is_secret(disk.backend.options, key) else value for key, value in values.items()}


def _is_secret(options: tuple[Option, ...], name: str) -> bool:
    return next(option for option in options if option.name == name).secret


def filled_in(converted: Converted) -> dict[str, Any]:
    """The declaration with texts that would do where its secrets are."""
    text = json.dumps(converted.declaration)
    for secret in converted.secrets:
        like = {"ssh: key": SSH_KEY, "rbd: key": "AA=="}.get(": ".join(secret["option"].split(": ")[-2:]), "secret")
        text = text.replace(f"{{{{ {secret['variable']} }}}}", json.dumps(like)[1:-1])
    filled: dict[str, Any] = json.loads(text)
    return filled


FIRST = {"file": {"filename": "/srv/a"}, "writes": "keep", "route": "driver"}
SECOND = {"ftp": {"url": "ftp://h/0"}, "model": "virtio-scsi", "writes": "deny", "route": "driver"}


@given(st.lists(disks(), max_size=2), MACHINE)
@example([FIRST, SECOND], {"accel": "tcg"})
def test_a_declaration_and_its_command_line_say_the_same(given_disks: list[dict[str, Any]], given: Any) -> None:
    declared = read({**given, "disks": {f"d{number}": disk for number, disk in enumerate(given_disks)}})
    try:
        plan = make_plan(declared, FACTS)
    except DirectDiskError:
        assume(False)
        raise
    words = [word for group in plan.services[-1].args for word in group]
    bridges = {tap_name("web1", network.name): network.bridge for network in declared.networks if network.bridge}
    converted = convert(words, process=Process(bridges=bridges))
    again = vm(filled_in(converted))
    assert converted.name == "web1"
    assert "extra_args" not in converted.declaration
    for one, two in zip(declared.disks, again.disks):
        same_disk(one, two)
    assert len(again.disks) == len(declared.disks)
    assert again.networks == declared.networks
    for option in ("memory", "cpus", "machine", "accel", "console", "vnc"):
        assert again.settings.get(option) == declared.settings.get(option)
    assert again.settings.get("cpu_model", "max") == declared.settings.get("cpu_model", "max")


def flat(value: Any, key: str = "") -> list[tuple[str, str]]:
    """A node as dotted keys."""
    if isinstance(value, (dict, list, tuple)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [pair for name, inner in items for pair in flat(inner, f"{key}.{name}" if key else str(name))]
    return [(key, {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value))]


@given(disks(), st.sampled_from(["blockdev", "json", "drive", "dotted"]))
def test_every_spelling_of_a_node_says_the_same(disk: dict[str, Any], spelling: str) -> None:
    bare = {key: value for key, value in disk.items() if key in BACKENDS}
    one = read({"accel": "tcg", **disk_of(bare, writes="deny", route="driver")})
    declared, tree = one.disks[0], nest(make_plan(one, FACTS).disks[0].graph.nodes)
    text = json.dumps(tree)
    pairs = ",".join(f"{key}={keyval(value)}" for key, value in flat(tree))
    line = {
        "blockdev": text,
        "json": f"json:{text}",
        "drive": f"file=json:{keyval(text)},if=none",
        "dotted": f"if=none,{pairs}",
    }[spelling]
    converted = convert(line, name="root")
    again = vm(disk_of({**filled_in(converted), "writes": "deny", "model": "virtio-blk"})).disks[0]
    assert (again.backend, _comparable(again)) == (declared.backend, _comparable(declared))


def uri_of(name: str, values: dict[str, Any]) -> str:
    """A URI as a person would write it, every odd character escaped."""
    host = f"[{values['host']}]" if ":" in values.get("host", "") else values.get("host", "")
    port = f":{values['port']}" if "port" in values else ""
    if name == "nbd" and "socket" in values:
        return f"nbd+unix:///{quote(values.get('export', ''), safe='')}?socket={quote(values['socket'], safe='')}"
    if name == "nbd":
        return f"nbd://{host}{port}/{quote(values.get('export', ''), safe='')}"
    if name == "nfs":
        return f"nfs://{host}{quote(values['path'])}"
    if name == "ssh":
        return f"ssh://{quote(values['user'], safe='')}@{host}{port}{quote(values['path'])}"
    if name == "gluster":
        return f"gluster://{host}{port}/{values['volume']}/{quote(values['path'])}"
    if name == "iscsi":
        return f"iscsi://{values['portal']}/{quote(values['target'], safe='')}/{values['lun']}"
    if name == "rbd":
        place = "/".join(values[part] for part in ("pool", "namespace", "image") if part in values)
        user = f":id={values['user']}" if "user" in values else ""
        return f"rbd:{place}{user}:key={values['key']}"
    return f"{name}:{values['filename']}"


SAID = {
    "rbd": ("pool", "namespace", "image", "user", "key"),
    "nfs": ("host", "path"),
    "ssh": ("host", "port", "user", "path", "key"),
    "iscsi": ("portal", "target", "lun"),
    "gluster": ("host", "port", "volume", "path"),
    "nbd": ("host", "port", "socket", "export"),
    "file": ("filename",),
    "host_device": ("filename",),
}


@given(st.sampled_from(sorted(SAID)).flatmap(lambda name: st.tuples(st.just(name), STORAGE[name])), st.booleans())
def test_a_uri_says_what_the_declaration_says(storage: tuple[str, dict[str, Any]], in_drive: bool) -> None:
    name, values = storage
    said = {key: value for key, value in values.items() if key in SAID[name]}
    declared = read(disk_of({name: said})).disks[0]
    uri = uri_of(name, said)
    converted = convert(f"file={keyval(uri)},if=none,format=raw" if in_drive else uri, name="root")
    again = vm(disk_of(filled_in(converted))).disks[0]
    assert (again.backend, _comparable(again)) == (declared.backend, _comparable(declared))


_WORDS = """file= driver= format= if=none , ,, : :// . .. json: { } [ ] " ' \\ = @ % %4 ? & # rbd: rbd:a/b nbd://
    nbd:unix:/s nbd:h:1 iscsi://u:p@h/t/1 nfs://h/x ssh://u@h/a http://h/a [::1] :key=AA== file. server. 0. 1. .driver
    backing= qcow2 raw luks nbd https on off cache= id=a -drive -blockdev -device -object -m -smp -name -netdev -nic
    qemu-system-x86_64 kvm virtio-blk-pci scsi-hd drive= secret id= data= user tap hostfwd= <disk <disk> </disk>
    type='network' <source protocol='rbd' name='a/b' /> <host >"""
PIECES = st.sampled_from([*_WORDS.split(), "\n", "\t", "\0", "\ud800", "\u2028", " "])
LINES = st.lists(PIECES | st.text(max_size=4), max_size=14).map("".join) | st.lists(PIECES, max_size=14).map(" ".join)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | PIECES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["driver", "file", "server", "backing", "cache", "host", "encrypt"]), inner)
    ),
    max_leaves=8,
)


@given(LINES)
@example("json:" + "[" * 100000)
@example("file=json:{},,")
@example('{"driver":"rbd","server":[null]}')
@example("<disk type='network'><source protocol='https'><host/></source></disk>")
@example("\ud800")
def test_no_line_raises_anything_but_the_collections_own_error(line: str) -> None:
    with contextlib.suppress(DirectDiskError):
        convert(line)


@given(JSON_VALUES | st.lists(LINES, max_size=5))
def test_no_value_raises_anything_but_the_collections_own_error(value: Any) -> None:
    with contextlib.suppress(DirectDiskError):
        convert(value)
    with contextlib.suppress(DirectDiskError):
        convert(json.dumps(value))


@given(
    st.lists(
        st.sampled_from(["-drive", "-blockdev", "-device", "-object", "-netdev", "-nic", "-m", "-smp"]).flatmap(
            lambda option: st.tuples(st.just(option), LINES | JSON_VALUES.map(json.dumps))
        ),
        max_size=6,
    )
)
def test_no_command_line_raises_anything_but_the_collections_own_error(pairs: list[tuple[str, str]]) -> None:
    with contextlib.suppress(DirectDiskError):
        convert(["kvm", *(word for pair in pairs for word in pair)])
