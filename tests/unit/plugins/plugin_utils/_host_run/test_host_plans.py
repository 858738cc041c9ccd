# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine that did not start: its log is traced to a disk, and the backend says what to do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils import _programs
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.explain import find_hint
from ansible_collections.directdisk.qemu.plugins.module_utils._units.paths import NEEDRESTART
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import render
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.host_plans import (
    desired_state,
    explain_failure,
    make_plans,
)
from ansible_collections.directdisk.qemu.tests.unit.support import NBD, SSH, capabilities, plan, vm

DISKS: dict[str, Any] = {
    "root": {"nbd": {"host": "192.0.2.5", "export": "web1"}},
    "data": {"file": {"filename": "/srv/data.img"}},
    "raw": {"host_device": {"filename": "/dev/sdb"}},
    "web": {
        "https": {"url": "https://192.0.2.7/a", "password": "pass-of-joe", "username": "joe"},
        "writes": "discard",
        "route": "driver",
    },
    "ceph": {"rbd": {"pool": "vms", "image": "web1", "key": "AQ==", "monitors": ["192.0.2.1"]}},
    "share": {"nfs": {"host": "192.0.2.7", "path": "/export/web1.raw"}},
    "lun": {"iscsi": {"portal": "192.0.2.9", "target": "iqn.x", "lun": 1}},
    "far": {"ssh": SSH},
    "brick": {"gluster": {"host": "192.0.2.11", "volume": "vms", "path": "a.img"}},
    "mirror": {"gluster": {"host": "192.0.2.11", "volume": "vms", "path": "b.img"}, "route": "tgt"},
    "sheep": {"sheepdog": {"host": "192.0.2.12", "vdi": "web1"}},
    "old": {"ftp": {"url": "ftp://192.0.2.7/c"}, "writes": "deny", "route": "driver"},
    "boot": {"tftp": {"url": "tftp://192.0.2.7/d"}, "writes": "deny"},
    "tar": {"file": {"path": "/srv/e.tar.xz", "tar_member": "e", "compression": "xz"}, "writes": "deny"},
    "kit": {"http": {"url": "http://192.0.2.7/b"}, "writes": "deny", "route": "nbdkit"},
}


DESCRIBED = {
    "far": "ssh vms@192.0.2.8:22:/srv/a.img",
    "brick": "gluster 192.0.2.11/vms/a.img",
    "mirror": "gluster 192.0.2.11/vms/b.img",
    "sheep": "sheepdog 192.0.2.12:7000/web1",
    "old": "ftp ftp://192.0.2.7/c",
    "boot": "tftp tftp://192.0.2.7/d",
    "tar": "file /srv/e.tar.xz (member e, xz)",
}


def explained(line: str) -> str:
    return explain_failure(plan({"disks": DISKS}), [line], "hv1")[0].partition("\n")[0]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            """-blockdev {"driver":"nbd","node-name":"root.storage"}: Requested export not available""",
            "disk root of web1: nbd 192.0.2.5:10809/web1: the server has no such export; "
            "list them with nbdinfo --list, and correct export",
        ),
        (
            "qemu: Could not open '/srv/data.img': Permission denied",
            "disk data of web1: file /srv/data.img: the VM's user cannot reach it; every folder above it must be "
            "searchable by others (mode o+x), and its file system must know ACLs",
        ),
        (
            "setfacl: /srv/data.img: Operation not supported",
            "disk data of web1: file /srv/data.img: its file system has no access lists; "
            "keep the image on one that has (ext4, xfs, btrfs, tmpfs)",
        ),
        (
            """{"node-name":"raw.storage"}: Could not open '/dev/sdb': No such file or directory""",
            "disk raw of web1: host_device /dev/sdb: there is no such device; "
            "check the path; prefer a stable name under /dev/disk/by-id",
        ),
        (
            """{"node-name":"web.storage"}: CURL: Error opening file: The requested URL returned error: 401""",
            "disk web of web1: https https://192.0.2.7/a: the server refuses the user or password; "
            "check username and password",
        ),
        (
            """{"node-name":"web.storage"}: CURL: SSL certificate problem: unable to get local issuer certificate""",
            "disk web of web1: https https://192.0.2.7/a: the server's certificate is not trusted; "
            "name its authority in ca_bundle",
        ),
        (
            "qemu-vm-web1.kit.nbdkit: nbdkit: curl[1]: error: Could not resolve host: h",
            "disk kit of web1: http http://192.0.2.7/b: the server's name is unknown to this host; "
            "check the name and the host's resolver",
        ),
        ("something else", "vm web1: did not start"),
    ],
)
def test_a_line_of_the_log_is_traced_to_its_disk(line: str, words: str) -> None:
    assert explained(line) == f"hv1: {words}"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "server name not found: mon1.example (Temporary failure in name resolution)",
            "this host does not find the monitors; "
            "check monitors or the mon_host of conf, and that the host resolves their names",
        ),
        (
            "NODE: error connecting: Invalid argument",
            "Ceph cannot read the key or the monitors' addresses; "
            "check key (what ceph auth get-key shows) and monitors",
        ),
        (
            "NODE: error connecting: Permission denied",
            "the cluster does not know this user with this key; compare user and key with ceph auth get",
        ),
        (
            "NODE: error connecting: No such file or directory",
            "there is no key for this user; declare key, or a keyring that has one for user; check user",
        ),
        (
            "NODE: error connecting: Operation not supported",
            "there is no key for this user; declare key, or a keyring that has one for user; check user",
        ),
        (
            "NODE: error connecting: Input/output error",
            "the keyring cannot be read; check that keyring is one: [client.USER] and a line with its key",
        ),
        (
            "NODE: error connecting: Connection timed out",
            "no monitor answers; check monitors, that most of them run, and that this host may reach them",
        ),
        (
            "NODE: error reading header from web1: Connection timed out",
            "the cluster does not answer in time; see ceph health detail: OSDs may be down, or the pool may be full",
        ),
        (
            "NODE: error reading conf file /run/qemu-vm-web1/ceph.ceph.conf: Invalid argument",
            "Ceph cannot read its configuration; "
            "check the file that conf names, /etc/ceph/ceph.conf without it, and config",
        ),
        (
            "NODE: error opening pool vms: No such file or directory",
            "the cluster has no such pool; list them with ceph osd pool ls, and correct pool",
        ),
        (
            "NODE: error reading header from web1: Operation not permitted",
            "the user may not use this pool or namespace; "
            "give it the caps mon 'profile rbd' osd 'profile rbd pool=POOL [namespace=NAMESPACE]'",
        ),
        (
            "NODE: namespace 'team' does not exist",
            "the pool has no such namespace; list them with rbd namespace ls, and correct namespace",
        ),
        (
            "NODE: error reading header from web1: No such file or directory",
            "there is no such image or snapshot; create it, or correct image, namespace and snapshot",
        ),
        (
            "NODE: encryption load fail: Operation not permitted",
            "the passphrase does not open the image; correct encryption.passphrase",
        ),
        (
            "NODE: encryption load fail: Invalid argument",
            "the image is not encrypted, or in another form; correct encryption.format, or leave encryption out",
        ),
        ("NODE: error rbd create: File exists", "there is an image of this name; use it, or choose another name"),
    ],
)
def test_what_ceph_says_is_explained(line: str, words: str) -> None:
    assert explained(line.replace("NODE", '"node-name":"ceph.storage"')) == (
        f"hv1: disk ceph of web1: rbd vms/web1: {words}"
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            'Failed to open file : open call failed with "NFS: Lookup of /web1.raw failed with NFS3ERR_NOENT(-2)"',
            "the export has no such file; create the image, or correct path",
        ),
        (
            "mount_cb: RPC error: Mount failed with error MNT3ERR_ACCES(13) Permission denied(13)",
            "the server does not give this folder to this host, or to a client without root's rights, "
            "or does not have it; "
            "create it, or export it to this host with the option insecure: QEMU speaks from ports above 1023",
        ),
        (
            "Failed to mount nfs share: mount_cb: (null)",
            "the server does not give this folder to this host, or to a client without root's rights, "
            "or does not have it; "
            "create it, or export it to this host with the option insecure: QEMU speaks from ports above 1023",
        ),
        (
            'open call failed with "NFS: ACCESS denied. Required access rw-. Allowed access r--"',
            "the server denies the VM's user access to the file; "
            "declare user and group that may read and write it, or set writes: deny, overlay or discard",
        ),
        (
            "mount_cb: RPC error. Program is not available on 192.0.2.7",
            "the server's portmapper offers no NFS version 3; "
            "start the NFS service, or turn its version 3 on, with mountd: QEMU speaks no later one",
        ),
        (
            "nfs_mount_async failed. Invalid address:nfs.example. Can not resolv into IPv4/v6 structure.",
            "the server's name is unknown to this host; check the name and the host's resolver",
        ),
        (
            "Failed to mount nfs share: nfs_service failed",
            "the server does not answer; check that it runs, its portmapper too, and that this host may reach it",
        ),
    ],
)
def test_what_libnfs_says_is_explained(line: str, words: str) -> None:
    assert explained(f'{{"node-name":"share.storage"}}: {line}') == (
        f"hv1: disk share of web1: nfs 192.0.2.7:/export/web1.raw: {words}"
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "Failed to log in to target. Status: Authentication failure(513)",
            "the target refuses the user or password; "
            "check user and password, and that the account is bound to the target",
        ),
        (
            "Failed to log in to target. Status: Authorization failure(514)",
            "the target does not admit this initiator; add initiator_name to those that it admits",
        ),
        (
            "Failed to log in to target. Status: Target not found(515)",
            "the portal has no such target, or hides it from this initiator; "
            "list them with iscsi-ls iscsi://PORTAL, and correct target, or initiator_name",
        ),
        (
            "SENSE KEY:ILLEGAL_REQUEST(5) ASCQ:LOGICAL_UNIT_NOT_SUPPORTED(0x2500)",
            "the target has no such LUN; list them with iscsi-ls --show-luns iscsi://PORTAL, and correct lun",
        ),
        (
            "LUN is write protected",
            "the target gives it out read-only; set writes: deny, overlay or discard, or correct the target",
        ),
        (
            "Failed to start full connect Invalid target:san.example:3260  Can not resolv into IPv4/v6.",
            "the portal's name is unknown to this host; check the name and the host's resolver",
        ),
        (
            "Failed to start full connect Couldn't connect transport: Failed creating Event Channel",
            "this host reaches no RDMA adapter; set transport: tcp, or load the adapter's driver",
        ),
        (
            "Failed to log in to target. Status: Out of resources(770)",
            "the target takes no further session; look at its log, and at its limit of sessions",
        ),
        (
            "iscsi_service failed with : iscsi_service_reconnect_if_loggedin. Can not reconnect right now.",
            "the portal does not answer; check that it runs and that this host may reach it",
        ),
        (
            "Couldn't connect transport: Connect failed with errno : Network is unreachable(101)",
            "the portal does not answer; check that it runs and that this host may reach it",
        ),
    ],
)
def test_what_libiscsi_says_is_explained(line: str, words: str) -> None:
    assert explained(f'{{"node-name":"lun.storage"}}: iSCSI: Failed to connect to LUN : {line}') == (
        f"hv1: disk lun of web1: iscsi 192.0.2.9:3260/iqn.x/1: {words}"
    )


@pytest.mark.parametrize(
    ("disk", "line", "words"),
    [
        (
            "far",
            "NODE: failed to authenticate using publickey authentication and the identities held by your ssh-agent",
            "the server refuses the user with this key; "
            "check user, and that the key's public half is in that user's authorized_keys",
        ),
        (
            "far",
            "ssh-add -q /run/credentials/qemu-vm-web1.ssh.keys.service/ssh.far.key: incorrect passphrase",
            "the passphrase does not open the key; correct passphrase",
        ),
        (
            "far",
            "ssh-add -q /run/credentials/u/ssh.far.key: Error loading key: error in libcrypto",
            "ssh-add cannot read the key; write all lines of the file that ssh-keygen wrote",
        ),
        (
            "far",
            "NODE: remote host ssh-ed25519 key fingerprint 'sha256:d8' does not match host_key_check 'sha256:00'",
            "the server shows another host key than the declared one; "
            "ask its administrator; if it has several keys, declare the ssh-ed25519 one, which it shows first",
        ),
        (
            "far",
            "NODE: host key (ssh-ed25519 key with fingerprint SHA256:2A) does not match the one in known_hosts; "
            "this may be a possible attack",
            "the server shows another host key than the known one; ask its administrator, then correct known_hosts",
        ),
        *(
            (
                "far",
                f"NODE: {message}",
                "the server's host key is not known; "
                "declare it as host_key, or add what ssh-keyscan -p PORT HOST shows to known_hosts",
            )
            for message in (
                "no host key was found in known_hosts",
                "host key for this server not found, another type exists",
            )
        ),
        (
            "far",
            "NODE: failed to open remote file '/srv/a.img': SFTP server: No such file (libssh error code: 1, "
            "sftp error code: 2)",
            "the server has no such file; create the image, or correct path",
        ),
        (
            "far",
            "NODE: failed to open remote file '/srv/a.img': SFTP server: Permission denied (libssh error code: 1, "
            "sftp error code: 3)",
            "the user may not open it; "
            "give the user read and write access on the server, or set writes: deny, overlay or discard",
        ),
        (
            "far",
            "NODE: ssh driver does not support shrinking files",
            "an image cannot be made smaller by SSH; declare its real size",
        ),
        (
            "far",
            "NODE: failed to initialize sftp handle: SFTP server: Failure",
            "the server offers no SFTP; enable its subsystem sftp",
        ),
        (
            "far",
            "NODE: failed to establish SSH session: Socket error: disconnected (libssh error code: 2)",
            "what answers there does not speak SSH as this host does; "
            "check port, and the algorithms that both sides allow",
        ),
        (
            "far",
            "NODE: Failed to connect to '192.0.2.8:22': Connection refused",
            "the server does not answer; check that it runs and that this host may reach it",
        ),
        (
            "far",
            "NODE: address resolution failed for storage.example:22: Name or service not known",
            "the server's name is unknown to this host; check the name and the host's resolver",
        ),
        (
            "brick",
            "NODE: Could not open image: No such file or directory",
            "the volume has no such file; create the image, or correct path",
        ),
        (
            "brick",
            "NODE: Could not open image: Permission denied",
            "the volume denies the VM's user access; "
            "set storage.owner-uid and server.allow-insecure of the volume, or the mode of the file",
        ),
        (
            "brick",
            "NODE: Gluster connection for volume vms, path a.img failed to connect",
            "the volume cannot be reached; check host and volume, that both run, and that this host has gluster's "
            "client (on Debian: glusterfs-common)",
        ),
        (
            "brick",
            "[glfs-mgmt.c:725:glfs_mgmt_getspec_cbk] 0-glfs-mgmt: failed to get the volume file [{key=vms}]",
            "the server has no such volume, or it is not started; "
            "list them with gluster volume info, and correct volume",
        ),
        (
            "brick",
            "[name.c:267:af_inet_client_get_remote_sockaddr] 0-gfapi: DNS resolution failed on host nosuch",
            "the server's name is unknown to this host; check the name and the host's resolver",
        ),
        (
            "brick",
            "[afr-common.c:6151:__afr_handle_child_down_event] 0-vms-replicate-0: All subvolumes are down.",
            "the bricks do not answer; check that they run, and that networks names all of them",
        ),
        (
            "mirror",
            "qemu-vm-web1.mirror.tgt: vms@192.0.2.11:b.img: tgtd ended while it opened it: that is how it takes a file",
            "the volume has no such file, or the VM's user may not write it; create the image, or correct path",
        ),
        (
            "mirror",
            "qemu-vm-web1.mirror.tgt: vms@192.0.2.11:b.img: tgtd cannot open it (invalid request): do they answer?",
            "the volume cannot be reached; check host and volume, and that both run",
        ),
        (
            "sheep",
            "qemu-vm-web1.sheep.tgt: connect_to_sdog_tcp(426) failed connect to 192.0.2.12:7000",
            "the sheep does not answer; check that it runs and that this host may reach it",
        ),
        (
            "sheep",
            "qemu-vm-web1.sheep.tgt: connect_to_sdog_tcp(396) unable to get address info nosuch, Connection refused",
            "the sheep's name is unknown to this host; check the name and the host's resolver",
        ),
        (
            "sheep",
            "qemu-vm-web1.sheep.tgt: find_vdi_name(1110) cannot get vdi info, No vdi found, web1 0",
            "there is no such VDI; create it, or correct vdi",
        ),
        (
            "sheep",
            "qemu-vm-web1.sheep.tgt: cannot get vdi info, Sheepdog is waiting for a format operation, web1 0",
            "the cluster is not ready; format it (dog cluster format), or start the nodes that are missing",
        ),
        (
            "sheep",
            "qemu-vm-web1.sheep.tgt: tcp:192.0.2.12:7000:web1: tgtd cannot open it (invalid request): does it run?",
            "the sheep does not answer, its cluster is not formatted, or there is no such VDI; "
            "check that it runs, and what dog vdi list shows",
        ),
        (
            "old",
            "NODE: CURL: Error opening file: Access denied: 530",
            "the server refuses the user or password; check username and password",
        ),
        *(
            ("old", f"NODE: CURL: Error opening file: {message}", "the server has no such image; check the url")
            for message in ("The file does not exist", "Server denied you to change to the given directory")
        ),
        (
            "old",
            "NODE: CURL: Error opening file: gnutls_handshake() failed: An unexpected TLS packet was received.",
            "the server does not speak TLS there; check the scheme and the port of the url",
        ),
        (
            "old",
            "ftp://192.0.2.7/c: its sha256 is 00, and 11 is declared; nothing was kept",
            "the server has another image than the declared one; correct sha256, or find out who changed the image",
        ),
        *(
            ("boot", f"tftp://192.0.2.7/d: {message}", "the server does not give it out; check url")
            for message in (
                "curl: (68) getpeername() failed with errno 107: Transport endpoint is not connected",
                "curl: (68) TFTP: File Not Found",
            )
        ),
        (
            "boot",
            "tftp://192.0.2.7/d: curl: (28) getpeername() failed with errno 107: Transport endpoint is not connected",
            "the server does not answer; check that it runs and that this host may reach it, also on the ports above "
            "1023 that it answers from",
        ),
        (
            "tar",
            "qemu-vm-web1.tar.nbdkit: tar subcommand failed, check that the file really exists in the tarball",
            "the archive has no such member, or it is not a tar archive; "
            "write tar_member as tar --list shows it, and set compression if the archive is compressed",
        ),
        *(
            ("tar", f"qemu-vm-web1.tar.nbdkit: {message}", words)
            for message, words in (
                ("xz: not an xz file", "it is not an xz file; correct compression"),
                (
                    "xz: invalid stream footer (error 7)",
                    "the xz file is damaged or not whole; check it with xz --test",
                ),
                ("gzip: inflate: incorrect header check", "it is not a gzip file; correct compression"),
                (
                    "gzip: inflate: unknown error: -5",
                    "the gzip file is damaged or not whole; check it with gzip --test",
                ),
                (
                    "Either recompress the xz file with smaller blocks (see nbdkit-xz-filter(1))",
                    "its blocks are too large to be unpacked one by one; compress it with xz --block-size=1MiB",
                ),
                (
                    "realpath: /srv/e.tar.xz: No such file or directory",
                    "there is no such file; create it, or correct filename",
                ),
            )
        ),
        (
            "tar",
            "NODE: Requested export not available",
            "nbdkit could not open it; read its messages",
        ),
    ],
)
def test_what_a_storage_or_its_helper_says_is_explained(disk: str, line: str, words: str) -> None:
    line = line.replace("NODE", f'{{"node-name":"{disk}.storage"}}')
    assert explained(line) == f"hv1: disk {disk} of web1: {DESCRIBED[disk]}: {words}"


OF_SYSTEMD = (
    "start-post operation timed out. Terminating.",
    "State 'stop-sigterm' timed out. Killing.",
    "Failed to set up credentials: Permission denied",
    "Failed to set up mount namespacing: /srv/data.img: No such file or directory",
    "Failed at step NAMESPACE spawning /usr/bin/qemu-system-x86_64: Read-only file system",
    "Failed to run 'start' task: No space left on device",
    "Failed with result 'timeout'.",
    "Control process exited, code=killed, status=9/KILL",
)


@pytest.mark.parametrize("unit", ["qemu-vm-web1.service", "qemu-vm-web1.kit.nbdkit.service", "qemu-image-0a.service"])
@pytest.mark.parametrize("message", OF_SYSTEMD)
def test_a_message_of_systemd_is_not_taken_for_one_of_a_storage(unit: str, message: str) -> None:
    assert explained(f"{unit}: {message}") == "hv1: vm web1: did not start"


def test_the_signal_that_ends_an_unpacker_is_reported_by_systemd() -> None:
    line = "qemu-vm-web1.tar.nbdkit.service: Main process exited, code=killed, status=25/XFSZ"
    assert "unpacked, it is larger than max_size allows" in explained(line)


PROGRAMS = (*(render.TEMPLATES.parent / "files").glob("*.py"), *Path(_programs.__file__).parent.glob("*.py"))
MEANT = (
    "Gluster connection for volume ... failed to connect: ...",
    "error opening pool",
    "error reading conf file",
    "error reading header from ...",
    "timed out after ... s",
    "...: its sha256 is ..., and ... is declared; nothing was kept",
)
"""Messages that hints explain: libgfapi.py, iscsi_session.py and owners_rbd.py report errors as QEMU's drivers do."""


def messages_of(program: Path) -> Iterator[str]:
    """Yield the texts of a program that may be messages."""
    tree = ast.parse(program.read_text(encoding="utf-8"))
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    inner = {id(value) for text in texts for value in text.values}
    documented = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for text in texts:
        yield "".join(str(value.value) if isinstance(value, ast.Constant) else "..." for value in text.values)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner | documented:
            yield node.value


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_a_message_of_the_collection_is_not_taken_for_one_of_a_storage(program: Path) -> None:
    hints = {hint for backend in BACKENDS.values() for hint in backend.hints}
    taken = {text: find_hint(hints, text) for text in messages_of(program) if " " in text}
    assert {text: hint for text, hint in taken.items() if hint and text not in MEANT} == {}


def test_each_cause_is_told_once_and_the_log_comes_last() -> None:
    lines = ['{"node-name":"root.storage"}: Connection refused'] * 2 + ["/srv/data.img: Permission denied"]
    lines.append("Could not open '/srv/data.img': Permission denied")
    told = explain_failure(plan({"disks": DISKS}), lines, "hv1")
    assert [line.partition(":")[2].partition(":")[0] for line in told] == [" disk root of web1", " disk data of web1"]
    assert told[-1].endswith("\n  its log:" + "".join(f"\n    {line}" for line in lines))


def test_a_message_without_a_cause_is_left_out_beside_the_cause() -> None:
    lines = ["realpath: /srv/e.tar.xz: No such file or directory"]
    lines.append('{"node-name":"tar.storage"}: Requested export not available')
    told = explain_failure(plan({"disks": DISKS}), lines, "hv1")
    assert [line.splitlines()[0].rpartition(": ")[2] for line in told] == [
        "there is no such file; create it, or correct filename"
    ]


def test_no_log_is_said_to_be_none() -> None:
    assert explain_failure(plan({}), [], "hv1") == ["hv1: vm web1: did not start\n  its log:\n    (no log)"]


def test_a_secret_stands_in_no_explanation() -> None:
    assert "pass-of-joe" not in explained('{"node-name":"web.storage"}: Connection refused')


def test_needrestart_leaves_vms_and_their_helpers_alone() -> None:
    files = desired_state([plan({"disks": DISKS})], encrypted=False)["files"]
    (pattern,) = re.findall(r"^\$nrconf\{override_rc\}->\{qr\((.*)\)\} = 0;$", files[NEEDRESTART]["text"], re.MULTILINE)
    units = {path.rpartition("/")[2] for path in files if path.endswith(".service")}
    assert {unit for unit in units if not re.match(pattern, unit)} == {"qemu-vms-resume.service"}


NBD_ARGUMENT = '-blockdev {"driver":"nbd","export":"web1","node-name":"root.storage","read-only":false}: '


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (
            "address resolution failed for 192.0.2.5:10809: Temporary failure in name resolution",
            "the server's name is unknown to this host; check the name and the host's resolver",
        ),
        (
            "Request not supported: the export is read-only",
            "the server gives it out read-only; set writes: deny, overlay or discard, or correct the server",
        ),
    ],
)
def test_a_hint_is_about_what_qemu_says(problem: str, words: str) -> None:
    assert explained(f"{NBD_ARGUMENT}{problem}") == f"hv1: disk root of web1: nbd 192.0.2.5:10809/web1: {words}"


def test_no_hint_matches_what_the_collection_itself_wrote() -> None:
    assert explained(f"{NBD_ARGUMENT}Failed to read data: Unexpected end-of-file") == "hv1: vm web1: did not start"


HEAD = "nbdkit: curl[1]: error: problem doing HEAD request to fetch size of URL [http://192.0.2.7/b]: "


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            f"{HEAD}HTTP response code said error: The requested URL returned error: 405",
            "the server refuses to tell the image's size (HEAD); check the url and the user's rights; if only HEAD is "
            "refused, as for a url that is signed for GET, set route: stage",
        ),
        (f"{HEAD}HTTP response code said error: The requested URL returned error: 404", "check the url"),
        (
            "nbdkit: curl[1]: error: could not get length of remote file [http://192.0.2.7/b], is the URL correct?",
            "if the server tells no sizes, set route: stage",
        ),
        ("nbdkit: curl[1]: error: [http://192.0.2.7/b] server does not support 'range' requests", "set route: stage"),
    ],
    ids=["no HEAD", "not found", "no length", "no ranges"],
)
def test_a_web_server_that_only_sends_whole_files_is_named(line: str, words: str) -> None:
    found = explained(line)
    assert found.startswith("hv1: disk kit of web1: http http://192.0.2.7/b: ")
    assert found.endswith(words)


def test_a_message_of_the_module_is_not_shown_as_a_log_of_a_vm_that_did_not_start() -> None:
    lines = ["vm web1: is not restarted: its guest has not shut down within stop_timeout (10 s) and runs on"]
    assert explain_failure(plan({}), lines, "hv1") == [f"hv1: {lines[0]}"]
    assert explain_failure(plan({}), [*lines, "qemu: dies"], "hv1")[0].startswith("hv1: vm web1: did not")


@pytest.mark.parametrize(
    ("state", "active", "spare"),
    [("started", "active", 3), ("started", "inactive", 2), ("stopped", "active", 2), ("stopped", "inactive", 2)],
)
def test_a_vm_that_does_not_run_on_has_the_spare_ports_of_its_next_start(state: str, active: str, spare: int) -> None:
    """The unit that a run leaves when it stops a VM is the one that the next run finds right."""
    unit = "qemu-vm-web1.service"
    places = {f"machine.port{17 + number}": f"bus=pcie.0,addr=0x06.{number}" for number in range(4)}
    places["root"] = "bus=machine.port17"
    observed: Any = {
        "paths": {},
        "files": {f"/etc/systemd/system/{unit}": {"places": places}},
        "units": {unit: {"active": active}},
    }
    declared = vm({"memory": "64MiB", "state": state, "hotplug_ports": 2, "disks": {"root": NBD}})
    (made,) = make_plans([declared], capabilities(), observed)
    ports = [group[-1] for group in made.services[-1].args if "pcie-root-port,id=machine.port" in group[-1]]
    # Those from 0x06 on are for disks.
    assert len([port for port in ports if re.search("addr=0x0[67]", port)]) == 1 + spare
