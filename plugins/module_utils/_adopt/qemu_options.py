# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of QEMU's system emulator for x86, of all releases: those that take a value, and the removed ones."""

from __future__ import annotations

from collections.abc import Mapping

_NAMES = """
    D L M T accel acpitable action add-fd append audio audiodev balloon bios blockdev boot bootp bt cdrom
    channel chardev chroot clock compat cpu d debugcon device dfilter display drive dtb dump-vmstate echr fda
    fdb fsdev fw_cfg g gdb global hda hdachs hdb hdc hdd icount id incoming initrd iscsi k kernel
    kvm-shadow-memory loadvm m machine mem-path mon monitor msg mtdblock name net netdev nic numa object
    option-rom overcommit parallel pcidevice pflash pidfile plugin prom-env qmp qmp-pretty qtest qtest-log
    readconfig realtime redir rotate rtc run-with runas sandbox sd seed semihosting-config serial set shim smb
    smbios smp soundhw spice startdate tb-size teardown tftp tpmdev trace trace-events usbdevice uuid vga virtfs
    virtioconsole vnc watchdog watchdog-action writeconfig xen-domid
"""
WITH_VALUE = frozenset(_NAMES.split())
"""The options that take a value, Proxmox's C(id) among them."""

REMOVED: Mapping[str, tuple[str, str]] = {
    "cirrusvga": ("vga", "cirrus"),
    "localtime": ("rtc", "base=localtime"),
    "no-kvm": ("accel", "tcg"),
    "no-kvm-irqchip": ("machine", "kernel_irqchip=off"),
    "no-kvm-pit": ("machine", "kernel_irqchip=split"),
    "no-kvm-pit-reinjection": ("global", "kvm-pit.lost_tick_policy=discard"),
    "rtc-td-hack": ("rtc", "driftfix=slew"),
    "std-vga": ("vga", "std"),
    "tdf": ("global", "kvm-pit.lost_tick_policy=delay"),
    "vmwarevga": ("vga", "vmware"),
}
"""Removed options without a value, with the option and the value that replace each."""

_PLAIN = """
    D L accel acpitable append bios boot cdrom cpu d dtb fda fdb full-screen global hda hdb hdc hdd icount initrd k
    kernel m mtdblock name option-rom pidfile rtc sandbox sd smbios smp usbdevice uuid vga watchdog
"""
WITHOUT_NAMES = frozenset(_PLAIN.split())
"""The options in whose values QEMU looks up no names of other arguments."""

_TEXTS = """
    driver type qom-type backend id node-name path filename url serial host hostname address addr mac model product
    vendor romfile mount_tag name ifname br script downscript guest size ver wwn device_id mode
"""
WITHOUT_REFERENCES = frozenset(_TEXTS.split())
"""The keys whose values are no names of other arguments."""
