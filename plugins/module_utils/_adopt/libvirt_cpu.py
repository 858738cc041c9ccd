# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converts number, topology and model of the CPUs of libvirt's ``<domain>``."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.libvirt_source import attributes
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.settings import (
    DEFAULT_CPU,
    Conversion,
    declare_processors,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.texts import shown
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError

_POLICIES = {"force": "on", "require": "on", "disable": "off", "forbid": "off"}
_UNKNOWN_TO_QEMU = ("cmt", "mbm_total", "mbm_local", "osxsave", "ospke", "pconfig")
"""Features of libvirt's own list that it does not pass on."""
_NAME = re.compile(r"[A-Za-z0-9_.+-]+")
_TOPOLOGY = ("sockets", "dies", "clusters", "cores", "threads")


def digits(text: str, where: str) -> str:
    """Return the text of a number above 0."""
    if not re.fullmatch("[1-9][0-9]{0,17}", text):
        raise DeclarationError(f"libvirt: {where}", f"{shown(text)} is not a number above 0")
    return text


def read_cpus(domain: ElementTree.Element, conversion: Conversion) -> None:
    """Declare number, topology and model of the CPUs."""
    most = int(digits((domain.findtext("vcpu") or "1").strip(), "vcpu"))
    own = attributes(domain, "vcpu")
    current = int(digits(own.get("current", str(most)), "vcpu: current"))
    topology = attributes(domain, "cpu/topology")
    numbers = {key: int(digits(topology[key], f"cpu: {key}")) for key in _TOPOLOGY if key in topology}
    declare_processors(conversion, {"cpus": current, "maxcpus": most, **numbers})
    conversion.left += [f"{key}={own[key]} of <vcpu>: not declared" for key in ("cpuset",) if key in own]
    _read_model(domain.find("cpu"), conversion)


def _read_model(cpu: ElementTree.Element | None, conversion: Conversion) -> None:
    mode = cpu.get("mode", "custom") if cpu is not None else ""
    model = (cpu.findtext("model") or "").strip() if cpu is not None else ""
    unasked = "host" if conversion.vm["accel"] == "kvm" else "max"
    base = model or DEFAULT_CPU
    if mode in ("host-passthrough", "host-model"):
        base = unasked
    elif mode == "maximum":
        base = "max"
    if mode == "host-model":
        word = "the host's own CPU" if unasked == "host" else "the CPU max"
        conversion.left.append(f"<cpu mode=host-model>: {word} is declared")
    features = _features(cpu, conversion) if cpu is not None else []
    words = ",".join([base, *features])
    if words != unasked:
        conversion.vm["cpu_model"] = words
    for element in cpu if cpu is not None else ():
        if element.tag not in ("model", "feature", "topology"):
            texts = " ".join(f"{key}={value}" for key, value in element.attrib.items())
            conversion.left.append(f"<{element.tag}> {texts} of <cpu>: not declared".replace("  ", " "))


def _features(cpu: ElementTree.Element, conversion: Conversion) -> list[str]:
    """Return the features that a CPU has beside its model, or not."""
    result = ["migratable=off"] if cpu.get("migratable") == "off" else []
    if cpu.get("match", "exact") == "minimum":
        conversion.left.append("match=minimum of <cpu>: the CPU has the features of its model, and none of the host's")
    for element in cpu.findall("feature"):
        name, policy = element.get("name", ""), element.get("policy", "require")
        if policy in _POLICIES and name not in _UNKNOWN_TO_QEMU and _NAME.fullmatch(name):
            result.append(f"{name.replace('_', '-')}={_POLICIES[policy]}")
        else:
            conversion.left.append(f"<feature> policy={policy} name={name} of <cpu>: not declared")
    return result
