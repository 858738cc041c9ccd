# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converts libvirt's ``<source>`` to a backend and its options: network disks, files, devices and volumes of a pool."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.graph import ConvertedDisk
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.storage import Storage
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.texts import shown
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.adoption import LibvirtSource, as_declared
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.command_line_context import (
    CommandLineContext,
    Secret,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS, of_path
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError

_SILENT = ("protocol", "name", "query", "index", "file", "dev")
_ELEMENTS = ("host", "auth", "encryption", "address", "privateData")
_NAMED = {"startupPolicy": "QEMU does not start without the storage", "reservations": "no helper runs for it"}
_OTHER_DATA = ("slices", "dataStore")
"""Elements of ``<source>`` by which the guest sees other bytes than those of the image."""
_LOCAL = {"file": "file", "block": "dev"}
"""Attribute of ``<source>`` with the path, by the type of the disk."""
_POOLS_OF_FILES = ("dir", "fs", "netfs", "logical", "disk", "scsi", "mpath", "zfs")


def attributes(element: ElementTree.Element, path: str) -> dict[str, str]:
    result = element.find(path)
    return dict(result.attrib) if result is not None else {}


def read_storage(
    disk: ElementTree.Element,
    pools: Mapping[str, ElementTree.Element],
    result: ConvertedDisk,
    context: CommandLineContext,
) -> Storage:
    """Return the backend of a disk and its options."""
    source = disk.find("source")
    if source is None:
        raise DeclarationError("libvirt", "has no <source>")
    kind = disk.get("type", "network" if "protocol" in source.attrib else "file")
    auth = next((one for one in (disk.find("auth"), source.find("auth")) if one is not None), None)
    _name(source, disk, result)
    if kind == "volume":
        _name_unknown(source, ("pool", "volume", "mode"), result)
        return _without_engine(disk, source, _of_pool(source, pools, auth, context))
    if kind in _LOCAL:
        _name_unknown(source, (_LOCAL[kind],), result)
        return _without_engine(disk, source, _local(source.get(_LOCAL[kind], "")))
    if kind != "network":
        raise DeclarationError("libvirt", f"type={shown(kind)} cannot be declared; network, file, block, volume can")
    protocol = source.get("protocol", "")
    backend = BACKENDS.get(protocol)
    if backend is None:
        raise DeclarationError("libvirt: source", f"protocol {shown(protocol)} cannot be declared")
    odd = [key for key in source.attrib if key not in (*_SILENT, *_NAMED, *backend.adoption.libvirt_attributes)]
    odd = [key for key in odd if (key, source.get(key)) not in (("tls", "no"), ("removable", "no"))]
    known = (*_ELEMENTS, *_NAMED, *backend.adoption.libvirt_elements)
    odd += [element.tag for element in source if element.tag not in known]
    if odd:
        raise DeclarationError("libvirt: source", f"{shown(odd[0])} cannot be declared")
    if source.get("tls") == "yes":
        result.notes.append("tls: directory: libvirt's own, unless its qemu.conf names another one")
    return _network(backend, _source(source, auth, _encryption(disk, source, backend)), context)


def _name_unknown(source: ElementTree.Element, known: tuple[str, ...], result: ConvertedDisk) -> None:
    """Name what a file, a device or a volume has beside its place."""
    own = (*known, *_NAMED, "index")
    result.left += [
        f"{key}={value} of <source>: not declared" for key, value in source.attrib.items() if key not in own
    ]
    silent = (*_NAMED, "auth", "encryption", "seclabel", "privateData")
    result.left += [f"<{element.tag}> of <source>: not declared" for element in source if element.tag not in silent]


def _name(source: ElementTree.Element, disk: ElementTree.Element, result: ConvertedDisk) -> None:
    for name, why in _NAMED.items():
        if source.get(name) or source.find(name) is not None:
            result.left.append(f"{name}{'=' + source.get(name, '') if source.get(name) else ''} of <source>: {why}")
    for name in _OTHER_DATA:
        if source.find(name) is not None:
            raise DeclarationError("libvirt: source", f"{shown(name)} cannot be declared")


def _local(path: str) -> Storage:
    if not path.startswith("/"):
        raise DeclarationError("libvirt: source", f"{shown(path)} is not an absolute path")
    return of_path(path), {"filename": path}


def _network(backend: Backend, source: LibvirtSource, context: CommandLineContext) -> Storage:
    try:
        declared = backend.adoption.read_libvirt(source)
        table = {option.name: option for option in backend.options}
        options = {name: as_declared(table[name], value) for name, value in declared.items()}
        return backend, backend.adoption.fill_defaults(options, context)
    except DeclarationError as error:
        raise error.within(f"libvirt: {backend.name}") from None


def _source(
    source: ElementTree.Element, auth: ElementTree.Element | None, encryption: Mapping[str, Any] | None
) -> LibvirtSource:
    return LibvirtSource(
        source.get("name", ""),
        source.get("query", ""),
        tuple(_host(host) for host in source.findall("host")),
        auth.get("username", "") if auth is not None else "",
        next(iter(secrets_of(auth)), None),
        {element.tag: _part(element) for element in source},
        dict(source.attrib),
        encryption,
    )


def _encryption(disk: ElementTree.Element, source: ElementTree.Element, backend: Backend) -> Mapping[str, Any] | None:
    """Return the encryption by the storage's own client; None if there is none."""
    element = source.find("encryption")
    element = disk.find("encryption") if element is None else element
    engine = element.get("engine", "qemu") if element is not None else "qemu"
    if element is None or engine == "qemu":
        return None
    if engine != backend.adoption.libvirt_engine:
        raise DeclarationError("libvirt: encryption", f"engine {shown(engine)} cannot be declared for {backend.name}")
    return {"format": element.get("format", ""), "passphrases": secrets_of(element)}


def _without_engine(disk: ElementTree.Element, source: ElementTree.Element, storage: Storage) -> Storage:
    """Refuse an encryption that is not QEMU's: without it the guest would read what is encrypted, and write over it."""
    if _encryption(disk, source, storage[0]) is not None:
        raise DeclarationError("libvirt: encryption", "write the volume as a network disk, with its encryption")
    return storage


def _host(host: ElementTree.Element) -> Mapping[str, str]:
    if host.get("transport", "tcp") not in ("tcp", "unix"):
        raise DeclarationError("host", f"transport {shown(host.get('transport'))} cannot be declared")
    return dict(host.attrib)


def _part(element: ElementTree.Element) -> dict[str, str]:
    """Return the attributes of an element and its children; cookies by their names."""
    result = dict(element.attrib)
    for inner in element:
        result.update({inner.get("name", ""): inner.text or ""} if inner.tag == "cookie" else inner.attrib)
    return result


def secrets_of(element: ElementTree.Element | None) -> list[Secret]:
    """Return the secrets that an element names."""
    names = [
        one.get("uuid") or one.get("usage") or "" for one in (element.findall("secret") if element is not None else ())
    ]
    return [Secret(f"libvirt's secret {name}: virsh secret-get-value (by its uuid)") for name in names]


def _of_pool(
    source: ElementTree.Element,
    pools: Mapping[str, ElementTree.Element],
    auth: ElementTree.Element | None,
    context: CommandLineContext,
) -> Storage:
    """Return the storage of a volume; its pool must be known."""
    name, volume = source.get("pool", ""), source.get("volume", "")
    pool = pools.get(name)
    if pool is None:
        advice = f"put the output of virsh pool-dumpxml {name} before it"
        raise DeclarationError("libvirt: source", f"the volume {shown(volume)} is in the pool {shown(name)}; {advice}")
    kind = pool.get("type", "")
    place = pool.find("source")
    folder = (pool.findtext("target/path") or "").strip()
    direct = kind == "iscsi-direct" or (kind == "iscsi" and source.get("mode") == "direct")
    if kind in _POOLS_OF_FILES or (kind == "iscsi" and not direct):
        return _local(posixpath.join(folder, volume))
    if place is None or (kind not in BACKENDS and not direct):
        raise DeclarationError("libvirt: pool", f"type {shown(kind)} cannot be declared")
    own = place.find("auth")
    names = {"rbd": f"{(place.findtext('name') or '').strip()}/{volume}"}
    top = attributes(place, "dir").get("path", "").strip("/")
    names["gluster"] = posixpath.join((place.findtext("name") or "").strip(), top, volume)
    if direct:
        lun = re.fullmatch(r"unit:\d+:\d+:(\d+)", volume)
        if not lun:
            raise DeclarationError("libvirt: pool", f"{shown(volume)} is not the name of a LUN: unit:0:0:N")
        target = attributes(place, "device").get("path", "")
        direct_source = _named(place, f"{target}/{lun[1]}", auth if auth is not None else own)
        return _network(BACKENDS[kind.removesuffix("-direct")], direct_source, context)
    if kind not in names:
        raise DeclarationError("libvirt: pool", f"type {shown(kind)} cannot be declared")
    return _network(BACKENDS[kind], _named(place, names[kind], auth if auth is not None else own), context)


def _named(place: ElementTree.Element, name: str, auth: ElementTree.Element | None) -> LibvirtSource:
    """Return the ``<source>`` of a pool as that of a disk."""
    element = ElementTree.Element("source", {"name": name})
    element.extend([one for one in place if one.tag in ("host", "initiator")])
    return _source(element, auth, None)
