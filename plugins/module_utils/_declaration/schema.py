# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Option tables of VMs, disks and networks. The options of a backend are in its own file."""

from __future__ import annotations

import re
from dataclasses import replace

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration import boards
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option

MOST_PER_SECOND = 10**15
"""The largest value that QEMU takes for a limit, and for the length of a burst times its limit."""
LONGEST_BURST = 2**32 - 1
"""QEMU keeps the seconds of a burst in 32 bits."""
LIMITS = (
    Option("total", "Reads and writes together, per second.", "size", maximum=MOST_PER_SECOND),
    Option("read", "Reads per second.", "size", maximum=MOST_PER_SECOND),
    Option("write", "Writes per second.", "size", maximum=MOST_PER_SECOND),
    Option("total_max", "As O(total), for a burst.", "size", maximum=MOST_PER_SECOND),
    Option("read_max", "As O(read), for a burst.", "size", maximum=MOST_PER_SECOND),
    Option("write_max", "As O(write), for a burst.", "size", maximum=MOST_PER_SECOND),
    *(
        Option(
            f"{kind}_max_length",
            f"Seconds that a burst of O({kind}_max) may last. Default: 1.",
            "int",
            minimum=1,
            maximum=LONGEST_BURST,
        )
        for kind in ("total", "read", "write")
    ),
)
IOPS_LIMITS = (
    *LIMITS,
    Option("size", "Bytes that count as one request: a larger request counts several times.", "size", minimum=1),
)

RESERVED_NAMES = ("machine", "ssh")
"""Names that nodes, ids, units and folders have instead of a disk's: of the VM itself, and of its ssh-agent."""
VM_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,27}$")
PART_NAME = re.compile(rf"^(?!({'|'.join(RESERVED_NAMES)})$)[A-Za-z][A-Za-z0-9_-]{{0,15}}$")
"""Names of disks and networks."""

MOST_BOOT_INDEX = 2**31 - 1
"""QEMU keeps it in 32 bits."""
PASSTHROUGH = ("scsi-block", "scsi-generic")
"""Device models that pass a SCSI device through."""

SOURCE_FORMATS = ("vmdk", "vdi", "vhdx", "vpc")
"""Formats of an image that is only copied from; C(vpc) is QEMU's name of VHD."""

FLUSHING = ("writethrough", "directsync")
"""Cache modes in which the device in the guest has no write cache."""

DISK_OPTIONS = (
    Option(
        "uri",
        "The storage as a URI, in the form that QEMU's own documentation uses, instead of a backend's key; "
        "or beside it, if the key has options that the URI cannot express.",
    ),
    Option("format", "Format of the image; a raw image is never probed.", choices=("raw", "qcow2"), default="raw"),
    Option(
        "raw_content",
        "Accept a raw image that begins like a qcow2, an archive or a web page; without this it is refused.",
        "bool",
    ),
    Option(
        "luks",
        "Encryption of the image.",
        "dict",
        options=(Option("passphrase", "Passphrase of a key slot.", secret=True, required=True),),
    ),
    Option(
        "writes",
        "Destination of the guest's writes: V(keep) the image itself; V(overlay) a qcow2 on the host that persists; "
        "V(discard) one that is new at every start; V(deny) makes the disk read-only. Default: V(keep), and "
        "V(deny) for a CD drive; required for other disks whose storage cannot be written.",
        choices=("keep", "overlay", "discard", "deny"),
    ),
    Option("read_only", "The same as O(writes=deny).", "bool"),
    Option(
        "renamed_from",
        "Former name of the disk, with O(writes=overlay): its overlay is renamed at the next start of the VM.",
        pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,15}$",
        pattern_help="is not the name of a disk",
    ),
    Option(
        "size",
        "Virtual size; an image is created when missing and grown when smaller. A larger one is not shrunk unasked.",
        "size",
    ),
    Option(
        "source",
        "Initial content of a new image: another disk, as a backend's key or C(uri), with C(format), C(luks) and "
        "C(route). Cloned from a snapshot within a Ceph cluster, copied from anywhere else. Its C(format) may also be "
        "C(vmdk) (one file), C(vdi), C(vhdx) or C(vpc) (VHD).",
        "any",
        holds="a disk",
    ),
    Option(
        "provision",
        "How the image is created and managed: the options of the module for its backend.",
        "any",
        holds="options",
    ),
    Option(
        "cache",
        "V(none) bypasses the host's page cache; V(writethrough) flushes at each write, V(directsync) does both; "
        "V(unsafe) never flushes.",
        choices=("none", "writeback", "writethrough", "directsync", "unsafe"),
        default="writeback",
    ),
    Option(
        "discard", "V(unmap) passes the guest's TRIM on to the storage.", choices=("ignore", "unmap"), default="ignore"
    ),
    Option("detect_zeroes", "Turn written zeroes into holes.", choices=("off", "on", "unmap"), default="off"),
    Option("iothread", "Use an I/O thread of its own for the disk (virtio-blk, virtio-scsi).", "bool", default=False),
    Option("queues", "Request queues of a virtio disk. Default: QEMU's choice.", "int", minimum=1, maximum=256),
    Option(
        "model",
        "Device model in the guest; V(scsi-block) and V(scsi-generic) pass a SCSI device through; V(cdrom) is a CD "
        "drive, whose storage is its medium: without a backend it is empty.",
        choices=("virtio-blk", "virtio-scsi", *PASSTHROUGH, "nvme", "ide", "usb", "cdrom"),
        default="virtio-blk",
    ),
    Option(
        "bus",
        "Bus of a CD drive, with O(model=cdrom): V(ide) (SATA on a C(q35)), V(virtio-scsi) or V(usb). Default: V(ide).",
        choices=("ide", "virtio-scsi", "usb"),
    ),
    Option(
        "boot_index",
        "Position in the boot order, 0 first; the first disk has 0 unless another disk sets boot_index.",
        "int",
        minimum=0,
        maximum=MOST_BOOT_INDEX,
    ),
    Option(
        "serial",
        "Serial number that the guest sees; 20 characters, or 36 on virtio-scsi and for a CD drive on usb. "
        "Default: the name of the disk.",
        pattern=r"^[A-Za-z0-9_.-]{1,36}$",
        pattern_help="is not 1 to 36 of the characters A-Z a-z 0-9 _ . -",
    ),
    Option(
        "wwn",
        "World wide name that the guest sees, 16 hexadecimal digits (virtio-scsi, ide).",
        pattern="(0x)?[0-9a-fA-F]{16}",
        pattern_help="is not 16 hexadecimal digits (in quotes)",
    ),
    Option(
        "logical_block_size",
        "Size in bytes of the sectors that the guest addresses. Default: 512.",
        "size",
        minimum=512,
        maximum=2 << 20,
    ),
    Option(
        "physical_block_size",
        "Size in bytes of the sectors that the guest should align its writes to. Default: O(logical_block_size).",
        "size",
        minimum=512,
        maximum=2 << 20,
    ),
    Option(
        "rotation_rate",
        "Rotation rate of the disk that the guest sees: V(1) for an SSD, otherwise rotations per minute "
        "(virtio-scsi, ide).",
        "int",
        minimum=1,
        maximum=65534,
    ),
    Option(
        "route",
        "How QEMU reaches the storage; V(auto) uses the first route that works on the host.",
        choices=("auto", "driver", "nbdkit", "stage", "tgt"),
        default="auto",
    ),
    Option("iops", "Limits of requests per second.", "dict", options=IOPS_LIMITS),
    Option("bps", "Limits of bytes per second.", "dict", options=LIMITS),
    Option(
        "on_error",
        "Effect of an I/O error: V(stop) pauses the guest, V(report) reports it to the guest, V(ignore) drops it.",
        choices=("stop", "report", "ignore"),
        default="stop",
    ),
    Option(
        "copy_on_read",
        "Copy the data that the guest reads into the overlay, so that it is fetched once.",
        "bool",
        default=False,
    ),
)

ORIGIN_OPTIONS = tuple(
    replace(option, choices=(*option.choices, *SOURCE_FORMATS)) if option.name == "format" else option
    for option in DISK_OPTIONS
)
"""Options of a disk that is only copied from."""

NETWORK_OPTIONS = (
    Option(
        "bridge",
        "Bridge of the host for the network interface, through a tap device of the unit.",
        pattern=r"^[A-Za-z0-9_.][A-Za-z0-9_.-]{0,14}$",
        pattern_help="is not the name of a network interface",
    ),
    Option("user", "QEMU's own user-mode network: outgoing connections only.", "bool"),
    Option(
        "forward",
        "Ports of the host that reach the guest in a user network, as QEMU's hostfwd: C(tcp:127.0.0.1:2222-:22).",
        "list",
        pattern=r"^(tcp|udp):[^,\s]*:\d+-[^,\s]*:\d+$",
        pattern_help="is not PROTOCOL:[HOST]:PORT-[GUEST]:PORT",
    ),
    Option(
        "mac",
        "Hardware address. Default: derived from the names of VM and network, so that it stays when the VM moves.",
        pattern=r"^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$",
        pattern_help="is not a hardware address",
    ),
    Option("model", "Device model in the guest.", choices=("virtio", "e1000"), default="virtio"),
    Option(
        "link",
        "State of the link: V(down) as if the cable were pulled.",
        choices=("up", "down"),
        default="up",
    ),
)

UUID_PATTERN = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
"""The only form that QEMU reads."""

VM_OPTIONS = (
    Option(
        "uuid",
        "UUID that the guest sees, and that iSCSI targets see as its initiator. Default: derived from the VM's name.",
        pattern=f"^{UUID_PATTERN}$",
        pattern_help="is not a UUID such as 0b1c2d3e-4f50-4617-8293-a4b5c6d7e8f9",
    ),
    Option("memory", "Memory of the guest.", "size", default=1024**3, minimum=1024**2),
    Option(
        "memory_max",
        "Maximum of O(memory), which then changes while the VM runs, by virtio-mem: the guest needs its driver (Linux "
        "5.8 or newer). Both are multiples of 128 MiB.",
        "size",
    ),
    Option("cpus", "Virtual CPUs.", "int", default=1, minimum=1, maximum=1024),
    Option(
        "cpus_max",
        "Maximum of O(cpus), which then changes while the VM runs.",
        "int",
        minimum=1,
        maximum=1024,
    ),
    Option(
        "cpu_sockets",
        "Sockets of the CPUs that the guest sees. Sockets, cores and threads together give O(cpus), or O(cpus_max); "
        "beside another one that is declared, the default of each is 1. Without them QEMU chooses.",
        "int",
        minimum=1,
        maximum=1024,
    ),
    Option("cpu_cores", "Cores of each socket.", "int", minimum=1, maximum=1024),
    Option("cpu_threads", "Threads of each core.", "int", minimum=1, maximum=1024),
    Option(
        "cpu_model",
        "QEMU's CPU model. Default: C(host) with kvm, C(max) with tcg.",
        pattern=r"^[A-Za-z0-9_.+,=-]+$",
    ),
    Option(
        "machine",
        "Board: V(q35), V(pc), or one of a release of QEMU, such as V(pc-q35-9.2).",
        pattern=boards.PATTERN,
        pattern_help="is not q35, pc, or the name of a board such as pc-q35-9.2 or pc-i440fx-9.2",
        default="q35",
    ),
    Option(
        "hotplug_ports",
        "Free PCI Express ports of a C(q35), for disks and networks that are added live; more need a restart.",
        "int",
        default=8,
        minimum=0,
        maximum=32,
    ),
    Option("accel", "Accelerator.", choices=("kvm", "tcg"), default="kvm"),
    Option("firmware", "Firmware.", choices=("bios", "uefi"), default="bios"),
    Option(
        "secure_boot",
        "Boot only what Microsoft's keys have signed, with O(firmware=uefi) and a C(q35).",
        "bool",
        default=False,
    ),
    Option(
        "tpm",
        "A TPM 2.0, emulated by swtpm. Its state is kept on the host, and removed by O(purge) only.",
        "bool",
        default=False,
    ),
    Option("disks", "The disks by name; the first one boots.", "any", holds="disks by name"),
    Option("networks", "The network interfaces by name; none without it.", "any", holds="networks by name"),
    Option(
        "cloud_init",
        "Seed for cloud-init (NoCloud).",
        "dict",
        options=(
            Option(
                "user_data",
                "Text, or a mapping that becomes C(#cloud-config).",
                "any",
                required=True,
                holds="text or values by name",
            ),
            Option(
                "meta_data",
                "Mapping; instance-id and local-hostname are added.",
                "any",
                holds="values by name",
            ),
            Option("network_config", "Mapping in netplan's form.", "any", holds="values by name"),
        ),
    ),
    Option("console", "A serial console on a socket, with a log.", "bool", default=True),
    Option(
        "guest_agent",
        "A channel to the guest's C(qemu-guest-agent): the host can do what it allows in the guest.",
        "bool",
        default=False,
    ),
    Option(
        "vnc",
        "VNC screen, on a unix socket or on address and port.",
        "dict",
        options=(
            Option("address", "Address to listen on.", pattern=r"^[A-Za-z0-9.:-]+$", pattern_help="is not an address"),
            Option("port", "TCP port, 5900 or higher.", "int", minimum=5900, maximum=65535),
            Option("password", "Password, of which VNC uses 8 characters.", secret=True, since=(6, 1)),
        ),
    ),
    Option(
        "state",
        "V(absent) removes units and credentials, never a disk.",
        choices=("started", "stopped", "absent"),
        default="started",
    ),
    Option(
        "purge",
        "With O(state=absent), also remove overlays, UEFI variables, a TPM's state and the console's log.",
        "bool",
        default=False,
    ),
    Option("autostart", "Start with the host; a VM with O(state=stopped) stays stopped.", "bool", default=True),
    Option(
        "on_poweroff",
        "V(restart) restarts a VM whose guest powered itself off.",
        choices=("stop", "restart"),
        default="stop",
    ),
    Option(
        "on_pause",
        "Effect of a run on a VM that somebody has paused over its monitor: V(report) names it, V(resume) lets its "
        "guest run on.",
        choices=("report", "resume"),
        default="report",
    ),
    Option(
        "restart",
        "V(when_needed) restarts a running VM if something changed that QEMU cannot change while the VM runs.",
        choices=("never", "when_needed"),
        default="never",
    ),
    Option(
        "ready_when",
        "Sign that the guest is up, for which C(qemu_vms_restart_serial) waits before the next restart.",
        "dict",
        options=(
            Option("console", "Text that the guest writes to its serial console, such as V(login:).", required=True),
            Option("timeout", "Time limit in seconds.", "int", default=300, minimum=1, maximum=3600),
        ),
    ),
    Option(
        "stop_timeout",
        "Time limit in seconds for the guest's shutdown; then it is powered off.",
        "int",
        default=90,
        minimum=0,
        maximum=3600,
    ),
    Option(
        "start_timeout",
        "Time limit in seconds for a start while storage does not answer.",
        "int",
        default=30,
        minimum=1,
        maximum=3600,
    ),
    Option("extra_args", "Further arguments of QEMU, each as one item.", "list"),
)
