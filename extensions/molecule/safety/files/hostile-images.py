# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""hostile-images.py FOLDER: images whose headers name files of whoever opens them, and files that are no images."""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
import sys
import tarfile

STOLEN = "/etc/passwd"


def qemu_img(*arguments: str) -> None:
    subprocess.run(["qemu-img", *arguments], check=True, stdout=subprocess.DEVNULL)


def name_data_file(path: str) -> None:
    """A qcow2 whose data is in STOLEN: made with a file beside it, whose name in the header is then replaced."""
    qemu_img("create", "-q", "-f", "qcow2", "-o", "data_file=external-raw,data_file_raw=on", path, "1M")
    os.unlink("external-raw")
    with open(path, "r+b") as stream:
        head = bytearray(stream.read(4096))
        place = head.index(b"external-raw")
        # The header extension: type, length, data (QEMU, docs/interop/qcow2.txt).
        head[place - 4 : place + 12] = struct.pack(">I", len(STOLEN)) + STOLEN.encode().ljust(12, b"\0")
        stream.seek(0)
        stream.write(head)


def main(folder: str) -> None:
    os.chdir(folder)
    qemu_img("create", "-q", "-u", "-f", "qcow2", "-b", STOLEN, "-F", "raw", "hostile-backing.qcow2", "1M")
    name_data_file("hostile-data.qcow2")
    with open("hostile.raw", "wb") as stream:
        stream.write(os.urandom(1 << 20))
    qemu_img("convert", "-f", "raw", "-O", "qcow2", "hostile.raw", "hostile.qcow2")
    with open("hostile.qcow2", "rb") as whole, open("hostile-cut.qcow2", "wb") as stream:
        stream.write(whole.read(900000))
    with gzip.open("hostile.raw.gz", "wb") as packed, open("hostile.raw", "rb") as stream:
        packed.write(stream.read())
    with open("hostile.html", "w", encoding="utf-8") as page:
        page.write("<!DOCTYPE html>\n<html><body>Not found</body></html>\n".ljust(1024))
    with open("hostile-empty.raw", "wb"):
        pass
    for name in ("hostile[1].raw", "{a,b}.raw"):
        with open(name, "wb") as stream:
            stream.write(name.encode().ljust(512, b"\0"))
    os.symlink("hostile.raw", "link.raw")
    with tarfile.open("hostile.tar", "w") as archive:
        archive.add("link.raw")
        archive.add("hostile.raw")
    os.unlink("link.raw")
    qemu_img("convert", "-f", "raw", "-O", "vmdk", "hostile.raw", "hostile.vmdk")
    for name in os.listdir("."):
        if "hostile" in name or name.startswith("{"):
            os.chmod(name, 0o644)


if __name__ == "__main__":
    main(sys.argv[1])
