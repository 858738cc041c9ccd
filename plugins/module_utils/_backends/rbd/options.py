# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of an rbd disk, and hints for messages of librbd. Pure."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Hint
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option

DEFAULT_PORT = 6789

DEFAULT_CONF = "/etc/ceph/ceph.conf"

DEFAULT_USER = "admin"

MOUNT_TIMEOUT = 20
"""Ceph's default is 300 seconds, in which a start without monitors hangs without a message."""


def name_option(name: str, summary: str, *, required: bool = False, qemu: str = "") -> Option:
    """Create an option for a part of an image's name."""
    return Option(
        name,
        summary,
        required=required,
        pattern=r"[^/@\n]+",
        pattern_help="is not a name: it is empty, or has / or @ in it",
        qemu=qemu,
    )


_LAYER = (
    Option(
        "format",
        "The form of the encryption; V(luks-any) finds out which.",
        required=True,
        choices=("luks", "luks2", "luks-any"),
        choices_since={"luks-any": (8, 0)},
    ),
    Option("passphrase", "Passphrase of a key slot.", required=True, secret=True),
)

_ENCRYPTION = (
    *_LAYER,
    Option(
        "parent",
        "Encryption of its parent image if that differs; images further up are opened likewise.",
        "dict",
        options=_LAYER,
        since=(8, 0),
    ),
)

OPTIONS = (
    name_option("pool", "Name of the pool.", required=True, qemu="pool"),
    name_option("image", "Name of the image.", required=True, qemu="image"),
    name_option("namespace", "Namespace in the pool.", qemu="namespace"),
    name_option("snapshot", "A snapshot of the image, read-only.", qemu="snapshot"),
    Option(
        "user",
        "User at the cluster, without C(client.); V(admin) without it.",
        pattern=r"[A-Za-z0-9_.@+-]+",
        pattern_help="is not the name of a user",
        qemu="user",
    ),
    Option(
        "key",
        "Key of O(user), as C(ceph auth get-key) shows it; this or O(keyring).",
        secret=True,
        like="AA==",
        pattern="[A-Za-z0-9+/]+={0,2}",
        pattern_help="is not a key of Ceph; those are base64",
    ),
    Option(
        "keyring",
        "Keyring on the host that has the key of O(user), instead of O(key). If O(conf) is read and neither is "
        "declared, that is C(/etc/ceph/ceph.client.USER.keyring).",
        "path",
    ),
    Option(
        "monitors",
        "The cluster's monitors: C(host), C(host:port), C([address]:port), or as Ceph prints them: "
        "C([v2:ADDRESS:3300/0,v1:ADDRESS:6789/0]). Without a port 3300 (the newer protocol) and 6789 are tried.",
        "list",
    ),
    Option(
        "conf",
        "Ceph's configuration file on the host; V(/etc/ceph/ceph.conf) if O(monitors) are not declared. "
        "Options that are declared here override it.",
        "path",
    ),
    Option(
        "auth_client_required",
        "Authentication methods of the client: V(cephx), V(none), or both in order of preference.",
        "list",
        pattern="cephx|none",
        pattern_help="is neither cephx nor none",
        qemu="auth-client-required",
    ),
    Option(
        "encryption",
        "Ceph's own encryption of the image.",
        "dict",
        options=_ENCRYPTION,
        since=(6, 1),
    ),
    Option(
        "networks",
        "Networks (CIDR) that the cluster's monitors and OSDs are in; without them the VM may connect to any address.",
        "list",
    ),
    Option(
        "mount_timeout",
        f"Seconds that a start waits for the monitors; {MOUNT_TIMEOUT} if neither this nor O(conf) sets it.",
        "int",
        minimum=1,
        maximum=3600,
    ),
    Option(
        "config",
        "Further options of Ceph's client by their names, such as C(rbd_cache_size).",
        "any",
        holds="values by name",
    ),
    Option(
        "fsid",
        "The cluster's fsid. QEMU does not need it; it tells images of the same name in two clusters apart.",
        pattern="[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
        pattern_help="is not an fsid, as ceph fsid shows it",
    ),
)

HINTS = (
    Hint(
        "server name not found|unable to parse addrs|no monitors specified|unable to get monitor info",
        "this host does not find the monitors",
        "check monitors or the mon_host of conf, and that the host resolves their names",
    ),
    Hint(
        "error connecting: Invalid argument",
        "Ceph cannot read the key or the monitors' addresses",
        "check key (what ceph auth get-key shows) and monitors",
    ),
    Hint(
        "error connecting: Permission denied",
        "the cluster does not know this user with this key",
        "compare user and key with ceph auth get",
    ),
    Hint(
        "error connecting: (Operation not permitted|Operation not supported|No such file or directory)",
        "there is no key for this user",
        "declare key, or a keyring that has one for user; check user",
    ),
    Hint(
        "error connecting: Input/output error",
        "the keyring cannot be read",
        "check that keyring is one: [client.USER] and a line with its key",
    ),
    Hint(
        "error connecting: (Connection|Operation) timed out|Connection refused|No route to host|Network is unreachable",
        "no monitor answers",
        "check monitors, that most of them run, and that this host may reach them",
    ),
    # NBD, over which images are copied, has no word for a timeout.
    Hint(
        r"error \w+ing\b[^:]*: (Connection|Operation) timed out|error while writing at byte .*Invalid argument",
        "the cluster does not answer in time",
        "see ceph health detail: OSDs may be down, or the pool may be full",
    ),
    Hint(
        "error reading conf file",
        "Ceph cannot read its configuration",
        "check the file that conf names, /etc/ceph/ceph.conf without it, and config",
    ),
    Hint(
        "error opening pool .*Operation not permitted|error reading header from .*Operation not permitted",
        "the user may not use this pool or namespace",
        "give it the caps mon 'profile rbd' osd 'profile rbd pool=POOL [namespace=NAMESPACE]'",
    ),
    Hint(
        "error opening pool",
        "the cluster has no such pool",
        "list them with ceph osd pool ls, and correct pool",
    ),
    Hint(
        "namespace '.*' does not exist",
        "the pool has no such namespace",
        "list them with rbd namespace ls, and correct namespace",
    ),
    Hint(
        "error reading header from .*No such file or directory",
        "there is no such image or snapshot",
        "create it, or correct image, namespace and snapshot",
    ),
    Hint(
        "encryption load fail: Operation not permitted",
        "the passphrase does not open the image",
        "correct encryption.passphrase",
    ),
    Hint(
        "encryption load fail",
        "the image is not encrypted, or in another form",
        "correct encryption.format, or leave encryption out",
    ),
    Hint("error rbd create: File exists", "there is an image of this name", "use it, or choose another name"),
    Hint("rbd snapshots are read-only", "a snapshot cannot be written", "set writes: overlay, discard or deny"),
)
