# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image of a Ceph cluster (RADOS block device), without a mapping on the host."""

from __future__ import annotations

from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.access import Access, OwnerCheck, Reach
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.adoption import Adoption
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend, members
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.packages import Packages
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.path_checks import (
    check_loadable,
    check_networks,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.rbd.ceph import (
    client_settings,
    conf_source,
    config_of,
    configuration,
    keyring_of,
    monitors_of,
    user_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.rbd.options import HINTS, OPTIONS
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.rbd.spellings import (
    read_libvirt,
    read_node,
    read_uri,
    settle,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.source import Source
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node, Values
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError


def _node(values: Values, resources: UnitResources) -> Node:
    node: Node = {"driver": "rbd", **members(OPTIONS, values, resources), "conf": configuration(values, resources)}
    if "monitors" in values:
        node["server"] = [{"host": host, "port": str(port)} for host, port in monitors_of(values)]
    if "key" in values:
        node["key-secret"] = resources.secret("key", values["key"], format="base64")
    if "encryption" in values:
        node["encrypt"] = _encrypt(values["encryption"], resources, "encryption")
    return node


def _encrypt(layer: Values, resources: UnitResources, name: str) -> Node:
    encrypt: Node = {"format": layer["format"], "key-secret": resources.secret(name, layer["passphrase"])}
    if "parent" in layer:
        encrypt["parent"] = _encrypt(layer["parent"], resources, f"{name}-parent")
    return encrypt


def _owner(values: Values, resources: UnitResources, uuid: str) -> OwnerCheck:
    """Ask for the watchers of an image: every client that has it open for writing is one."""
    del uuid
    facts: dict[str, Any] = {
        "user": user_of(values),
        "conf": configuration(values, resources),
        "settings": client_settings(values),
        **{name: values[name] for name in ("pool", "namespace", "image") if name in values},
    }
    if "key" in values:
        facts["key"] = resources.credential("key", values["key"])
    return OwnerCheck("rbd", facts, shows_qemu=True, takes=True)


def _check(values: Values) -> None:
    for option in ("monitors", "auth_client_required"):
        if option in values and not values[option]:
            raise DeclarationError(option, "is empty")
    try:
        monitors_of(values)
    except DeclarationError as error:
        raise error.within("monitors") from None
    if "key" in values and "keyring" in values:
        raise DeclarationError("keyring", "is given together with key")
    if (
        not {"key", "keyring"} & set(values)
        and not conf_source(values)
        and values.get("auth_client_required") != ("none",)
    ):
        raise DeclarationError(
            "", "key or keyring is missing; for a cluster without authentication set auth_client_required: [none]"
        )
    check_networks(values.get("networks", ()))
    for option in ("conf", "keyring"):
        check_loadable(option, values.get(option, ""))
    config_of(values)


def _reach(values: Values) -> Reach:
    networks = values.get("networks", ())
    return Reach(
        servers=(*(host for host, _port in monitors_of(values)), *networks),
        loaded=tuple(filter(None, (conf_source(values), keyring_of(values)))),
        open_because="" if networks else "Ceph's monitors name the addresses of its OSDs: set networks to confine it",
    )


def _describe(values: Values) -> str:
    place = "/".join(values[part] for part in ("pool", "namespace", "image") if part in values)
    return f"{place}@{values['snapshot']}" if "snapshot" in values else place


def _identity(values: Values) -> str:
    """Return the identity without monitors, which may differ between VMs: rather refuse too much than let two write."""
    return f"rbd:{values.get('fsid', '').lower()}:{_describe(values)}"


BACKEND = Backend(
    name="rbd",
    summary="An image of a Ceph cluster (RADOS block device), without a mapping on the host",
    options=OPTIONS,
    image_kind="rbd",
    source=Source(
        sample={"pool": "rbd", "image": "image"},
        describe=_describe,
        identity=_identity,
        pool=lambda values: str(values["pool"]),
        writable=True,
        why_read_only=lambda values: "a snapshot cannot be written" if "snapshot" in values else "",
        resizable=True,
        other_identities=lambda values: (_identity({**values, "fsid": ""}),) if "fsid" in values else (),
        if_different="set fsid of both if they are in two clusters",
        snapshot_options=("snapshot",),
        check=_check,
    ),
    access=Access(
        driver="rbd",
        node=_node,
        reach=_reach,
        unhandled={},
        owner=_owner,
    ),
    packages=Packages(
        # Arch has no Ceph.
        driver={
            "debian": ("qemu-block-extra",),
            "redhat": ("qemu-kvm-block-rbd",),
            "fedora": ("qemu-block-rbd",),
            "suse": ("qemu-block-rbd",),
        },
        python_modules=("rados", "rbd"),
        python={
            "debian": ("python3-rados", "python3-rbd"),
            "redhat": ("python3-rados", "python3-rbd"),
            "fedora": ("python3-rados", "python3-rbd"),
            "suse": ("python3-rados", "python3-rbd"),
        },
    ),
    adoption=Adoption(
        schemes=("rbd",),
        read_uri=read_uri,
        read_node=read_node,
        read_libvirt=read_libvirt,
        libvirt_elements=("snapshot", "config"),
        libvirt_engine="librbd",
        fill_defaults=settle,
    ),
    hints=HINTS,
)
