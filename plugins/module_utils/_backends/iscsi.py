# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A LUN of an iSCSI target; the host itself never logs in."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends import uris
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.access import Access, OwnerCheck, Reach
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.adoption import (
    Adoption,
    LibvirtSource,
    read_members,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.command_line_context import CommandLineContext
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend, Hint, members
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.packages import Packages
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.source import Source
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node, Values
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option

DEFAULT_PORT = 3260
DEFAULT_INITIATOR = "iqn.2008-11.org.linux-kvm"
"""Initiator name of QEMU without a VM; QEMU appends a VM's UUID."""
DEFAULT_HEADER_DIGEST = "none-crc32c"

TRANSPORTS = {"tcp": 0, "iser": 1}
"""libiscsi's numbers (enum iscsi_transport_type)."""
DIGESTS = {"none": 0, "none-crc32c": 1, "crc32c-none": 2, "crc32c": 3}
"""libiscsi's numbers (enum iscsi_header_digest)."""

RDMA_DEVICES = ("/dev/infiniband/rdma_cm", "/dev/infiniband/uverbs0")
"""Devices for iSER, through the host's first adapter."""

OPTIONS = (
    Option("portal", "Where the target answers: C(host), C(host:port) or C([address]:port).", required=True),
    Option(
        "target",
        "Name of the target, usually C(iqn.YEAR-MONTH.DOMAIN:NAME).",
        required=True,
        pattern=r"[^\s/]+",
        pattern_help="is not the name of a target",
        qemu="target",
    ),
    Option(
        "lun",
        "Number of the LUN. On a target of Linux's tgtd the first disk is 1.",
        "int",
        default=0,
        minimum=0,
        maximum=16383,
        qemu="lun",
    ),
    Option("user", "User at the target (CHAP).", qemu="user"),
    Option("password", "Password of O(user).", secret=True, qemu="password"),
    Option(
        "initiator_name",
        "Initiator name of the VM. Default: C(iqn.2008-11.org.linux-kvm:) and the VM's UUID.",
        pattern=r"iqn\.[^\s/]+|eui\.[0-9A-Fa-f]{16}|naa\.([0-9A-Fa-f]{16}){1,2}",
        pattern_help="is not the name of an initiator: iqn.YEAR-MONTH.DOMAIN:NAME, eui.HEX or naa.HEX",
        qemu="initiator-name",
    ),
    Option("transport", "V(iser) is for RDMA.", choices=("tcp", "iser"), default="tcp", qemu="transport"),
    Option(
        "header_digest",
        "Checksums of headers. Two words offer both to the target, the first one preferred; "
        "V(none-crc32c) is QEMU's default.",
        choices=("none", "crc32c", "none-crc32c", "crc32c-none"),
        qemu="header-digest",
    ),
    Option(
        "timeout",
        "Seconds after which a request that is not answered fails; without it a request waits for the target.",
        "int",
        minimum=1,
        maximum=2**31 - 1,
        qemu="timeout",
    ),
)

_PORTAL = Option("portal", "", qemu="portal")

_URI = re.compile(
    r"(?P<scheme>iscsi|iser)://(?:(?P<account>[^@?]*)@)?(?P<portal>[^/?]*)/(?P<target>[^/?]+)/(?P<lun>\d{1,5})"
    r"(?:\?(?P<query>.*))?"
)

HINTS = (
    Hint(
        "Authentication failure",
        "the target refuses the user or password",
        "check user and password, and that the account is bound to the target",
    ),
    Hint(
        "Authorization failure",
        "the target does not admit this initiator",
        "add initiator_name to those that it admits",
    ),
    Hint(
        "Target not found|Target removed",
        "the portal has no such target, or hides it from this initiator",
        "list them with iscsi-ls iscsi://PORTAL, and correct target, or initiator_name",
    ),
    Hint(
        "LOGICAL_UNIT_NOT_SUPPORTED",
        "the target has no such LUN",
        "list them with iscsi-ls --show-luns iscsi://PORTAL, and correct lun",
    ),
    Hint(
        "LUN is write protected",
        "the target gives it out read-only",
        "set writes: deny, overlay or discard, or correct the target",
    ),
    Hint(
        "Can not resolv",
        "the portal's name is unknown to this host",
        "check the name and the host's resolver",
    ),
    Hint(
        "Failed creating Event Channel|Failed to resolve address",
        "this host reaches no RDMA adapter",
        "set transport: tcp, or load the adapter's driver",
    ),
    Hint(
        "Service unavailable|Out of resources|Too many connections",
        "the target takes no further session",
        "look at its log, and at its limit of sessions",
    ),
    Hint(
        "Can not reconnect right now|Connection refused|No route to host|Network is unreachable|[Tt]imed out",
        "the portal does not answer",
        "check that it runs and that this host may reach it",
    ),
)


def portal_of(values: Values) -> str:
    """Return the portal with its port, as QEMU takes it."""
    host, port = uris.place_of(values["portal"], DEFAULT_PORT)
    return f"{uris.in_brackets(host)}:{port}"


def _node(values: Values, resources: UnitResources) -> Node:
    return {"driver": "iscsi", "portal": portal_of(values), **members(OPTIONS, values, resources)}


def _check(values: Values) -> None:
    try:
        uris.place_of(values["portal"], DEFAULT_PORT)
    except DeclarationError as error:
        raise error.within("portal") from None
    if ("user" in values) != ("password" in values):
        raise DeclarationError("", "user and password are required together")


def _reach(values: Values) -> Reach:
    host, _port = uris.place_of(values["portal"], DEFAULT_PORT)
    return Reach(servers=(host,), devices=RDMA_DEVICES if values["transport"] == "iser" else ())


def _owner(values: Values, resources: UnitResources, uuid: str) -> OwnerCheck:
    """Ask for persistent reservations: a target does not tell who has logged in."""
    facts: dict[str, Any] = {
        "portal": portal_of(values),
        "target": values["target"],
        "lun": values["lun"],
        "initiator": values.get("initiator_name", f"{DEFAULT_INITIATOR}:{uuid}" if uuid else DEFAULT_INITIATOR),
        "transport": TRANSPORTS[values["transport"]],
        "header_digest": DIGESTS[values.get("header_digest", DEFAULT_HEADER_DIGEST)],
    }
    if "password" in values:
        facts.update(user=values["user"], password=resources.credential("password", values["password"]))
    return OwnerCheck("iscsi", facts, takes=True)


def _describe(values: Values) -> str:
    host, port = uris.place_of(values["portal"], DEFAULT_PORT)
    return f"{uris.in_brackets(host.lower())}:{port}/{values['target']}/{values['lun']}"


def _identity(values: Values) -> str:
    """Return the identity, without the portal: a target has one name worldwide, and may have several portals.

    RFC 3722 makes no difference between small and capital letters in them.
    """
    return f"iscsi:{values['target'].lower()}/{values['lun']}"


def _read_uri(uri: str) -> dict[str, Any]:
    """``iscsi://[user[%|:]password@]host[:port]/target/lun[?iser]``; only the target is decoded."""
    match = _URI.fullmatch(uri)
    if not match:
        raise DeclarationError("uri", "iscsi://[user:password@]host[:port]/target/lun is required")
    if match["query"] not in (None, "", "iser"):
        raise DeclarationError("uri", "knows no parameter but ?iser; declare the others under iscsi, by their names")
    account = match["account"] or ""
    if ":" in account and "%" in account and not re.search("%(?![0-9A-Fa-f]{2})", account):
        problem = "the % before its password is its end for QEMU, and an escape for others; declare user and password"
        raise DeclarationError("uri", f"has a user that can be read in two ways: {problem}")
    user, _mark, password = account.partition("%" if "%" in account else ":")
    # QEMU logs in without CHAP where one half is empty.
    chap = user and password
    return uris.drop_none(
        {
            "portal": match["portal"],
            "target": uris.decoded(match["target"], "its target"),
            "lun": int(match["lun"]),
            "user": user if chap else None,
            "password": password if chap else None,
            "transport": "iser" if "iser" in (match["scheme"], match["query"]) else None,
        }
    )


def _read_node(node: Node, context: CommandLineContext) -> dict[str, Any]:
    return read_members((*OPTIONS, _PORTAL), node, context, {})


def _read_libvirt(source: LibvirtSource) -> dict[str, Any]:
    target, slash, lun = source.name.partition("/")
    place = uris.libvirt_host(source.hosts, DEFAULT_PORT)
    if "host" not in place:
        raise DeclarationError("host", "a name or an address is required")
    port = f":{place['port']}" if "port" in place else ""
    return uris.drop_none(
        {
            "portal": f"{uris.in_brackets(place['host'])}{port}",
            "target": target,
            "lun": lun if slash else 0,
            "user": source.user or None,
            "password": source.secret,
            "initiator_name": source.part("initiator", "name"),
        }
    )


def _beside_uri(options: dict[str, Any], context: CommandLineContext) -> dict[str, Any]:
    """Read -iscsi: the one with the target's name as its id, or else the first; QEMU ignores it for other spellings."""
    every = context.beside.get("iscsi", [])
    of_target = [one for one in every if one.get("id") == options["target"]]
    chosen = dict((of_target or every or [{}])[0])
    chosen.pop("id", None)
    if "header-digest" in chosen:
        chosen["header-digest"] = chosen["header-digest"].lower()
    return read_members(OPTIONS, chosen, context, {})


def _settle(options: dict[str, Any], context: CommandLineContext) -> dict[str, Any]:
    """Return how to ask for reservations: QEMU logs in with the declared name, or one with the VM's UUID."""
    if context.vm is None or "initiator_name" in options:
        return options
    own = context.uuid or context.vm
    return {**options, "initiator_name": f"iqn.2008-11.org.linux-kvm{f':{own}' if own else ''}"}


BACKEND = Backend(
    name="iscsi",
    summary="A LUN of an iSCSI target, without a login of the host",
    options=OPTIONS,
    image_kind="lun",
    source=Source(
        sample={"portal": "127.0.0.1", "target": "iqn.2008-11.org.linux-kvm", "lun": 0, "transport": "tcp"},
        describe=_describe,
        identity=_identity,
        pool=lambda values: str(values["target"]),
        writable=True,
        local=lambda values: uris.is_loopback(uris.place_of(values["portal"], DEFAULT_PORT)[0]),
        check=_check,
    ),
    access=Access(
        driver="iscsi",
        node=_node,
        reach=_reach,
        unhandled={},
        owner=_owner,
        scsi_passthrough=True,
    ),
    packages=Packages(
        # Red Hat builds QEMU without it since its release 9.
        driver={
            "debian": ("qemu-block-extra",),
            "fedora": ("qemu-block-iscsi",),
            "suse": ("qemu-block-iscsi",),
            "arch": ("qemu-block-iscsi",),
        },
    ),
    adoption=Adoption(
        schemes=("iscsi", "iser"),
        read_uri=_read_uri,
        read_node=_read_node,
        read_libvirt=_read_libvirt,
        libvirt_elements=("initiator",),
        read_beside_uri=_beside_uri,
        fill_defaults=_settle,
    ),
    hints=HINTS,
)
