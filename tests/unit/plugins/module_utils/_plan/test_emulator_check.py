# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU models and arguments that the emulator of a host does not know."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration import cd_drive
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.schema import DISK_OPTIONS
from ansible_collections.directdisk.qemu.plugins.module_utils._plan import devices
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.emulator_check import unknown_to_emulator
from ansible_collections.directdisk.qemu.tests.unit.support import capabilities, disk_of, vm

KNOWN: dict[str, Any] = {
    "cpu_models": ["EPYC", "Haswell", "host", "max"],
    "cpu_features": ["avx2", "hv-relaxed", "sse4.1"],
    "emulator_options": {"-S": False, "-append": True, "-device": True, "-no-hpet": False},
}
QEMU = "/usr/bin/qemu-system-x86_64"


def problems(declared: dict[str, Any], **known: Any) -> list[str]:
    return [str(error) for error in unknown_to_emulator(vm(declared), capabilities(**{**KNOWN, **known}))]


@pytest.mark.parametrize(
    "declared",
    [
        {"cpus": 1},
        {"cpu_model": "EPYC"},
        {"cpu_model": "Haswell,+avx2,-sse4.1,hv_relaxed,hv-relaxed=on"},
        {"extra_args": ["-device", "virtio-rng-pci", "--no-hpet", "-S", "-append", "-x", "disk.raw"]},
    ],
)
def test_what_the_emulator_knows_is_left_to_it(declared: dict[str, Any]) -> None:
    assert problems(declared) == []


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (
            {"cpu_model": "EPIC"},
            f"vm web1: cpu_model: {QEMU} has no CPU model 'EPIC' (did you mean 'EPYC'?); '{QEMU} -cpu help' lists them",
        ),
        (
            {"cpu_model": "host,+avx3"},
            f"vm web1: cpu_model: {QEMU} has no CPU feature '+avx3' (did you mean 'avx2'?)",
        ),
        (
            {"extra_args": ["-device", "a", "-divice", "b"]},
            f"vm web1: extra_args: {QEMU} has no option '-divice' (did you mean '-device'?)",
        ),
        (
            {"extra_args": ["-device virtio-rng-pci"]},
            f"vm web1: extra_args: {QEMU} has no option '-device virtio-rng-pci'; "
            "declare an option and its value as two items",
        ),
        (
            {"extra_args": ["-no-hpet", "-device"]},
            "vm web1: extra_args: -device is the last item, and requires a value",
        ),
        ({"extra_args": ["-no-hpet", "-xyzzy"]}, f"vm web1: extra_args: {QEMU} has no option '-xyzzy'"),
    ],
)
def test_what_the_emulator_does_not_know_is_refused(declared: dict[str, Any], expected: str) -> None:
    assert problems(declared) == [expected]
    # A probe that could not ask, or one of an earlier release, knows nothing.
    assert problems(declared, cpu_models=[], cpu_features=[], emulator_options={}) == []


@pytest.mark.parametrize(
    ("declared", "qemu", "expected"),
    [
        ({"cpus": 256, "machine": "pc"}, [11, 1, 0], f"256 are more than {QEMU} has for pc (255)"),
        ({"cpus": 255, "machine": "pc"}, [7, 2, 0], ""),
        ({"cpus": 256, "accel": "tcg"}, [7, 2, 0], f"256 are more than {QEMU} has for q35 with accel: tcg (255)"),
        ({"cpus": 256, "accel": "tcg"}, [9, 0, 0], ""),
        ({"cpus": 289}, [7, 2, 0], f"289 are more than {QEMU} has for q35 (288)"),
        ({"cpus": 1024}, [8, 1, 0], ""),
        ({"cpus": 289, "machine": "pc-q35-8.0"}, [10, 0, 0], f"289 are more than {QEMU} has for pc-q35-8.0 (288)"),
        ({"cpus": 289, "machine": "pc-q35-8.1"}, [10, 0, 0], ""),
        ({"cpus": 289, "machine": "pc-q35-rhel8.6.0"}, [10, 0, 0], ""),
    ],
)
def test_no_vm_has_more_cpus_than_its_board(declared: dict[str, Any], qemu: list[int], expected: str) -> None:
    assert problems(declared, version=qemu) == ([f"vm web1: cpus: {expected}"] if expected else [])


RED_HAT = "/usr/libexec/qemu-kvm"


@pytest.mark.parametrize("host", ["rhel9", "rhel10"])
@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (
            disk_of({"file": {"path": "/srv/a"}}, model="nvme", cache="none"),
            f"disk root of web1: model: {RED_HAT} has no device nvme; declare another model "
            "(virtio-blk, virtio-scsi, scsi-block, scsi-generic, ide, usb)",
        ),
        (
            {"machine": "pc-q35-9.2"},
            f"vm web1: machine: {RED_HAT} has no board 'pc-q35-9.2'",
        ),
    ],
)
def test_what_red_hat_leaves_out_is_refused(host: str, declared: dict[str, Any], expected: str) -> None:
    (error,) = unknown_to_emulator(vm(declared), capabilities(host))
    assert str(error).startswith(expected)


def test_an_emulator_without_a_network_device_or_board() -> None:
    declared = {"machine": "pc", "networks": {"lan": {"bridge": "br0", "model": "e1000"}}}
    assert problems(declared, machines=["none", "q35"], no_devices=["e1000"]) == [
        f"vm web1: machine: {QEMU} has no board 'pc'; '{QEMU} -machine help' lists them",
        f"network lan of web1: model: {QEMU} has no device e1000; leave model out",
    ]
    # An earlier probe knows no board without a release.
    assert problems({"machine": "pc"}, machines=["pc-q35-9.2"]) == []


def test_every_model_that_may_be_declared_is_probed() -> None:
    models = {option.name: option for option in DISK_OPTIONS}["model"].choices
    assert set(models or ()) == {*devices.DRIVERS, cd_drive.MODEL}
    buses = {option.name: option for option in DISK_OPTIONS}["bus"].choices
    assert set(buses or ()) == set(cd_drive.DRIVERS)


def test_the_cpus_that_may_be_plugged_count() -> None:
    declared = {"cpus": 2, "cpus_max": 256, "machine": "pc"}
    assert problems(declared, version=[11, 1, 0]) == [f"vm web1: cpus_max: 256 are more than {QEMU} has for pc (255)"]
