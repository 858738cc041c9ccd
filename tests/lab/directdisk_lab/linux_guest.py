# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small Linux guest that can discard: a bootable raw disk of a Debian kernel, busybox and guest/linux/init.

The boot part is a FAT file system without a partition table, then come marker and boot counter, then the area that
the guest fills and trims. All packages are only unpacked, never installed; the boot part is cached.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

from .settings import HERE, Settings
from .shell import LabError, run, step

SOURCES = HERE / "guest" / "linux"
KERNEL = "linux-image-cloud-amd64"  # empty: depends on the packages with today's kernel
PACKAGES = ("busybox-static", "dosfstools", "mtools", "syslinux")
MODULES = (
    *("virtio_pci", "virtio_blk", "virtio_scsi", "virtio_net", "virtio_mem", "sd_mod", "sr_mod", "ata_piix"),
    *("button", "evdev"),
)
MIB = 1 << 20
MARKER_OFFSET = 24 * MIB  # the end of the boot part; guest/linux/init knows this, too
MARKER_LIMIT = 4096
SMALLEST = 96 * MIB  # the end of the area
SIZE = 256 * MIB


def write(settings: Settings, path: Path, marker: str, size: int) -> None:
    """Write a sparse raw disk; the file appears whole or not at all."""
    words = f"GUEST-MARKER {marker}\n".encode()
    if not marker.isprintable() or len(words) > MARKER_LIMIT:
        raise LabError(f"not a marker: {marker!r}")
    if size < SMALLEST or size % 512:
        raise LabError(f"size {size}: at least {SMALLEST} bytes and whole sectors are needed")
    part = path.with_name(f".{path.name}.part")
    run(["cp", "--sparse=always", str(boot_part(settings)), str(part)])
    with part.open("r+b") as disk:
        disk.seek(MARKER_OFFSET)
        disk.write(words)
        disk.truncate(size)
    part.rename(path)


def boot_part(settings: Settings) -> Path:
    """The cached boot part of what apt offers, made where it is missing."""
    folder = settings.cache / "linux-guest"
    cached = folder / f"{_digest()}.raw"
    if cached.exists():
        return cached
    with step("Linux guest: built from packages"):
        run(["apt-get", "--quiet=2", "update"])
        cached = folder / f"{_digest()}.raw"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as work:
            made = _build(Path(work))
            for older in folder.glob("*.raw"):
                older.unlink()
            made.rename(cached)
    return cached


def _digest() -> str:
    """It changes with anything that goes into the boot part."""
    offered = run(["apt-cache", "show", "--no-all-versions", KERNEL, *PACKAGES], check=False)  # or apt knows none yet
    versions = re.findall(r"^(?:Package|Version): .*$", offered, re.MULTILINE)
    sources = [path.read_text() for path in (Path(__file__), SOURCES / "init", SOURCES / "syslinux.cfg")]
    return hashlib.sha256(json.dumps([versions, sources]).encode()).hexdigest()[:12]


def _build(work: Path) -> Path:
    root = _unpack(work)
    image, initrd = work / "boot.raw", work / "initrd.img"
    kernel = _only(root, "**/vmlinuz*").rename(work / "vmlinuz")
    initrd.write_bytes(gzip.compress(_initramfs(root)))
    with image.open("wb") as disk:
        disk.truncate(MARKER_OFFSET)
    path = ":".join(str(root / folder) for folder in ("usr/bin", "usr/sbin", "sbin"))
    unpacked = ["env", f"PATH={path}:{os.environ['PATH']}", "MTOOLS_SKIP_CHECK=1"]
    run([*unpacked, "mkfs.fat", "-F", "16", "-n", "GUEST", str(image)])
    run([*unpacked, "mcopy", "-i", str(image), str(kernel), str(initrd), str(SOURCES / "syslinux.cfg"), "::/"])
    run([*unpacked, "syslinux", "--install", str(image)])
    return image


def _unpack(work: Path) -> Path:
    """Fetch the packages and unpack them side by side."""
    needed = run(["apt-cache", "depends", "--recurse", "--important", KERNEL])
    kernel = re.findall(r"^linux-\S*\d\S*-cloud-amd64$", needed, re.MULTILINE)  # newer ones have modules of their own
    run(["env", f"--chdir={work}", "apt-get", "--quiet=2", "download", *kernel, *PACKAGES])
    root = work / "root"
    for package in work.glob("*.deb"):
        run(["dpkg-deb", "--extract", str(package), str(root)])
    return root


def _only(root: Path, pattern: str) -> Path:
    found = sorted(root.glob(pattern))
    if len(found) != 1:
        raise LabError(f"Linux guest: {len(found)} files instead of one are {pattern} in its packages")
    return found[0]


def _initramfs(root: Path) -> bytes:
    """A cpio archive, with the modules in the order in which they are to be loaded."""
    folders = [(name, 0o040755, b"") for name in ("bin", "dev", "modules", "proc", "sys")]
    programs = [
        ("init", 0o100755, (SOURCES / "init").read_bytes()),
        ("bin/busybox", 0o100755, _only(root, "**/bin/busybox").read_bytes()),
        ("bin/sh", 0o120777, b"busybox"),
    ]
    modules = [
        (f"modules/{number:02}-{name}.ko", 0o100644, content)
        for number, (name, content) in enumerate(_modules(root).items())
    ]
    entries = [*folders, *programs, *modules, ("TRAILER!!!", 0, b"")]
    return b"".join(_cpio_entry(number, *entry) for number, entry in enumerate(entries, start=1))


def _cpio_entry(number: int, name: str, mode: int, content: bytes) -> bytes:
    """One file of a `newc` archive: owned by root, without a time."""
    path = name.encode() + b"\0"
    fields = [number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path), 0]
    header = b"070701" + "".join(f"{field:08x}" for field in fields).encode()
    return _padded(header + path) + _padded(content)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 4)


def _modules(root: Path) -> dict[str, bytes]:
    """MODULES and what they depend on, by name, the dependencies first; without those built into the kernel."""
    builtin_list = _only(root, "**/modules.builtin")
    builtin = {_module_name(Path(line)) for line in builtin_list.read_text().split()}
    paths = {_module_name(path): path for path in builtin_list.parent.glob("kernel/**/*.ko*")}
    found: dict[str, bytes] = {}

    def add(names: Iterable[str]) -> None:
        for name in names:
            if name in found or name in builtin:
                continue
            if name not in paths:
                raise LabError(f"Linux guest: its kernel has no module {name}")
            content = _module_content(paths[name])
            depends = re.search(rb"\0depends=([^\0]*)\0", content)
            add(word for word in (depends[1] if depends else b"").decode().split(",") if word)
            found[name] = content

    add(MODULES)
    return found


def _module_name(path: Path) -> str:
    return path.name.split(".")[0].replace("-", "_")


def _module_content(path: Path) -> bytes:
    content = path.read_bytes()
    return lzma.decompress(content) if path.suffix == ".xz" else content
