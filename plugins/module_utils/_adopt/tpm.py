# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converts an emulated TPM to ``tpm: true``."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.settings import Conversion
from ansible_collections.directdisk.qemu.plugins.module_utils._units.node_names import vm_node

MODELS = ("tpm-crb", "tpm-tis")
_OWN = vm_node("tpm")


def declare_tpm(conversion: Conversion, model: str, where: str) -> None:
    """Declare a TPM of QEMU; where: the place of its state, for people."""
    conversion.vm["tpm"] = True
    conversion.left.append(
        f"state of the TPM in {where}: tpm: true begins with an empty TPM, so a guest that keeps a key in it, such as "
        "that of an encrypted disk, needs its recovery key"
    )
    if model != MODELS[0]:
        conversion.left.append(f"TPM {model}: the VM has a {MODELS[0]}")


def read_tpm(conversion: Conversion) -> None:
    """Declare the TPM if it is emulated by a program on a socket; any other one stays as it is."""
    devices = [a for a in conversion.of("device") if str(a.values.get("driver")) in MODELS]
    backends = conversion.of("tpmdev")
    if len(devices) != 1 or len(backends) != 1:
        return
    device, backend = devices[0], backends[0]
    sockets = [a for a in conversion.of("chardev") if str(backend.values.get("chardev", "")) in a.names]
    emulated = str(backend.values.get("type", "")) == "emulator"
    if not emulated or not sockets or str(device.values.get("tpmdev")) not in backend.names:
        return
    conversion.take(device, backend, *sockets)
    if backend.names == {_OWN}:
        conversion.vm["tpm"] = True
    else:
        declare_tpm(
            conversion, str(device.values["driver"]), f"the swtpm at {sockets[0].values.get('path', 'its socket')}"
        )
