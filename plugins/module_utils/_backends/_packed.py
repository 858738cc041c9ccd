# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that are compressed, or a member of a tar archive: nbdkit unpacks them while they are read."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Hint
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option

OPTIONS = (
    Option(
        "compression",
        "How the image is compressed; C(xz --block-size=1MiB) makes it quick to read, V(gzip) is unpacked whole first. "
        "V(zstd) and V(bzip2) are for a O(source), which the host's program of that name unpacks, without nbdkit.",
        choices=("xz", "gzip", "zstd", "bzip2"),
        routes=("nbdkit",),
    ),
    Option(
        "tar_member",
        "The image's name within a tar archive, exactly as C(tar --list) shows it; the archive may be compressed.",
        # nbdkit hands it to tar without a -- before it.
        pattern="[^\n-][^\n]*",
        pattern_help="is not the name of a member: one line that does not begin with -, which tar takes for an option",
        routes=("nbdkit",),
    ),
)

UNPACKERS = {"zstd": ("zstd", "-dcq"), "bzip2": ("bzip2", "-dcq")}
"""Commands that unpack a whole image from standard input, by compression."""


def take_unpacker(values: Values) -> tuple[Values, str]:
    """Return the options without a compression that a program of the host unpacks, and this compression."""
    kind = str(values.get("compression", ""))
    if kind not in UNPACKERS:
        return values, ""
    if "tar_member" in values:
        raise DeclarationError("tar_member", f"is for xz, gzip and plain archives, not for {kind}")
    return {name: value for name, value in values.items() if name != "compression"}, kind


PARTS = ("tar", "xz", "gzip")
"""Filters of nbdkit that an option may ask for."""

HINTS = (
    Hint(
        "recompress the xz file with smaller blocks|largest block in xz file",
        "its blocks are too large to be unpacked one by one",
        "compress it with xz --block-size=1MiB",
    ),
    Hint("xz: (not an xz file|file too short)", "it is not an xz file", "correct compression"),
    Hint("xz: |could not parse block data", "the xz file is damaged or not whole", "check it with xz --test"),
    *(
        Hint(
            pattern,
            "unpacked, it is larger than max_size allows",
            "declare a larger provision: max_size if the image is that large",
            of_systemd=of_systemd,
        )
        for pattern, of_systemd in (("File too large", False), ("status=25/XFSZ", True))
    ),
    Hint("gzip: inflate: incorrect header", "it is not a gzip file", "correct compression"),
    Hint("gzip: inflate", "the gzip file is damaged or not whole", "check it with gzip --test"),
    Hint(
        "tar subcommand failed",
        "the archive has no such member, or it is not a tar archive",
        "write tar_member as tar --list shows it, and set compression if the archive is compressed",
    ),
    Hint("Requested export not available", "nbdkit could not open it", "read its messages", names_no_cause=True),
)


def filters(values: Values) -> tuple[str, ...]:
    """Return the filters that unpack the image, the last step first: nbdkit's first filter is nearest to the client."""
    tar = ("tar",) if "tar_member" in values else ()
    return (*tar, *((values["compression"],) if "compression" in values else ()))


def parameters(values: Values) -> tuple[str, ...]:
    return (f"tar-entry={values['tar_member']}",) if "tar_member" in values else ()


def is_unpacked_whole(values: Values) -> bool:
    return values.get("compression") == "gzip"


def what(values: Values) -> str:
    """Describe which bytes of the file are the image; empty if all are."""
    member = (f"member {values['tar_member']}",) if "tar_member" in values else ()
    words = (*member, *((values["compression"],) if "compression" in values else ()))
    return f" ({', '.join(words)})" if words else ""
