# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pages of docs/docsite, from which antsibull-docs makes a site: the guides, in the order of their sections."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import PurePosixPath

from ansible_collections.directdisk.qemu.scripts.documents.restructured_text import LABEL, from_markdown

REPOSITORY = "https://github.com/directdisk/directdisk.qemu/"
_FIRST = (
    *(
        "first-steps",
        "declaration",
        "secrets",
        "golden-images",
        "day-2",
        "live-changes",
        "moving",
        "backups",
        "outages",
    ),
    *("fleet", "guests", "metrics", "ci", "adopt", "libvirt-proxmox", "operations"),
)
_LAST = ("design", "new-backend")
_SPDX = "SPDX-FileCopyrightText: directdisk.qemu contributors", "SPDX-License-Identifier: GPL-3.0-or-later"
_NOTE = "Made by scripts/generate-docs from {source}: change that instead."


def docsite(guides: Mapping[PurePosixPath, str]) -> dict[PurePosixPath, str]:
    """Return the files of docs/docsite; guides: the texts below docs/ in Markdown."""
    names = {path: _page(path) for path in guides}
    folder = PurePosixPath("docs/docsite")
    files = {}
    for path, text in guides.items():
        header = "\n".join(["..", *(f"   {line}".rstrip() for line in (*_SPDX, "", _NOTE.format(source=path)))])
        body = from_markdown(text, names[path], lambda target, path=path: _link(target, path, names))
        files[folder / "rst" / f"{names[path]}.rst"] = f"{header}\n\n{body}"
    files[folder / "extra-docs.yml"] = _sections(list(names.values()))
    return files


def _page(path: PurePosixPath) -> str:
    return f"backend-{path.stem}" if path.parent.name == "backends" else path.stem


def _link(target: str, path: PurePosixPath, names: Mapping[PurePosixPath, str]) -> str:
    if "://" in target:
        return target
    file, _hash, anchor = target.partition("#")
    other = PurePosixPath(os.path.normpath(path.parent / file)) if file else path
    if other not in names:
        # antsibull-docs copies pages only, so a picture is loaded from the repository.
        view = "raw" if other.suffix == ".png" else "blob"
        return f"{REPOSITORY}{view}/main/{other}{f'#{anchor}' if anchor else ''}"
    return f"{LABEL}{names[other]}{f'.{anchor}' if anchor else ''}"


def _sections(pages: list[str]) -> str:
    guides = [page for page in pages if not page.startswith("backend-")]
    middle = sorted(page for page in guides if page not in (*_FIRST, *_LAST))
    ordered = [page for page in (*_FIRST, *middle, *_LAST) if page in guides]
    backends = [page for page in pages if page.startswith("backend-")]
    lines = [*(f"# {line}" for line in (*_SPDX, _NOTE.format(source="the guides"))), "---", "sections:"]
    for title, toctree in (("Guides", ordered), ("Backends", backends)):
        lines += [f"  - title: {title}", "    toctree:", *(f"      - {page}" for page in toctree)]
    return "\n".join(lines) + "\n"
