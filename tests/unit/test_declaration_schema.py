# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The JSON schema takes what the reader takes, and refuses the mistakes that a schema can see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.read_vm import read_vms
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.kinds import read_desired
from ansible_collections.directdisk.qemu.tests.unit.support import NBD, UNIT_TESTS

jsonschema = pytest.importorskip("jsonschema")

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "qemu_vms.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)

VISIBLE = """
the declaration is a list; a VM is text; a VM is empty; an option of a VM has a typing error;
an option of a VM is unknown; a choice has a typing error; a choice is unknown; a number is a word;
a number is too small; a number is too large;
a truth value is a word; a pattern does not fit; a list is text; a screen has a port that is too low;
a screen is a truth value; a seed has no user_data; a seed's meta_data is text; a seed's user_data is a list;
disks are a list; a disk is text; a disk is empty; an option of a disk has a typing error; two backends; no backend;
a backend with a typing error; a backend without options; LUKS without a passphrase; writes to what cannot be written;
writes unsaid for what cannot be written; scsi-generic without a device; a source of two kinds;
a source with an option missing; a source for storage that cannot be written; a size for storage that cannot be written;
provision that is a list; nbd: a typing error; nbd: a typing error deep inside; nbd: a port out of range; http: no url;
http: an authority without TLS; file: nothing; file: a relative path; file: a path with dots;
https: a secret query by QEMU's own driver; http: a digest with another route; http: a compressed image with the driver;
no key; no host, path or user; an unknown kind of hash; a relative known_hosts; a user with a space;
an unknown backend beside a bad size; two unknown options of a backend beside a bad cache;
"""
"""Names of cases of tests/unit/refused, of which the schema sees the mistake."""


def cases() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in sorted((UNIT_TESTS / "refused").glob("*.yml")):
        found |= yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def disk(**options: Any) -> dict[str, Any]:
    return {"web1": {"disks": {"root": options}}}


CASES = cases()
NAMES = [name.strip() for name in VISIBLE.replace("\n", " ").split(";") if name.strip()]
MISTAKES = [
    disk(**NBD, size="20GB"),
    disk(**NBD, size="-1"),
    disk(**NBD, provision={"sha265": "00"}),
    disk(file={"path": "/a"}, provision={"trash": True}),
    disk(uri="nbd://h/x", provision={"trsh": True}),
    disk(rbd={"pool": "p", "image": "i", "user": "u"}, provision={"snapshots": [{"nam": "x"}]}),
    disk(iscsi={"portal": "h", "lun": 1}),
    disk(file={"path": "/a"}, source={"https": {"url": "https://h/x"}, "cache": "none"}),
    disk(file={"path": "/a"}, iops={"totl": 1}),
    {"web1": {"networks": {"lan": {}}}},
    {"web1": {"networks": {"lan": {"bridge": "br0", "user": True}}}},
    {"web1": {"networks": {"lan": {"bridge": "br0", "modle": "virtio"}}}},
    {"web1": {"networks": {"0lan": {"bridge": "br0"}}}},
    {"web 1": {}},
]


def accepts(vms: Any) -> bool:
    return bool(VALIDATOR.is_valid({"qemu_vms": vms}))


def test_the_schema_is_one() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", sorted(UNIT_TESTS.glob("golden/*/declaration.yml")), ids=lambda path: path.parent.name)
def test_a_golden_declaration_is_accepted(path: Path) -> None:
    declared = yaml.safe_load(path.read_text(encoding="utf-8"))["vms"]
    assert [error.message for error in VALIDATOR.iter_errors({"qemu_vms": declared})] == []


@pytest.mark.parametrize(
    "path",
    [*ROOT.glob("examples/*/*_vars/**/*.yml"), *ROOT.glob("scripts/demo.d/inventory/**/*.yml")],
    ids=lambda path: path.name,
)
def test_the_file_of_an_example_inventory_is_accepted(path: Path) -> None:
    variables = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert [error.message for error in VALIDATOR.iter_errors(variables)] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_mistake_that_a_schema_can_see_is_refused(name: str) -> None:
    assert not accepts(CASES[name]["vms"])


@pytest.mark.parametrize("vms", MISTAKES, ids=str)
def test_a_mistake_of_an_inventory_is_refused_by_both(vms: Any) -> None:
    assert not accepts(vms)
    with pytest.raises(DirectDiskError):
        read_all(vms)


def read_all(vms: Any) -> None:
    """Read a declaration with the options of its images, which have a reader of their own."""
    for vm in read_vms(vms, "hv1"):
        for one in vm.disks:
            read_desired(one, f"disk {one.name} of {vm.name}")


def test_the_schema_sees_more_than_fifty_mistakes() -> None:
    assert len(NAMES) + len(MISTAKES) > 50


@pytest.mark.parametrize(
    "vms",
    [
        "{{ fleet[inventory_hostname] }}",
        {"web1": "{{ small | combine({'memory': '4GiB'}) }}"},
        {"web1": {"memory": "{{ size }}GiB", "cpus": "{{ n }}", "autostart": "{{ x }}", "accel": "{{ accel }}"}},
        disk(nbd="{{ storage }}", queues="{{ n }}", writes="{% if x %}keep{% endif %}"),
        disk(nbd={"host": "{{ h }}", "port": "{{ p }}", "tls": "{{ tls }}"}, provision="{{ kept }}"),
        disk(file={"path": "{{ base }}/web1.img"}, source="{{ golden }}"),
        {"web1": {"disks": "{{ disks }}", "networks": "{{ networks }}", "extra_args": "{{ more }}"}},
        disk(rbd={"pool": "p", "image": "i", "user": "u", "key": "$ANSIBLE_VAULT;1.1;AES256\n3132\n"}),
    ],
    ids=str,
)
def test_a_template_may_stand_for_a_value(vms: Any) -> None:
    assert accepts(vms)


@pytest.mark.parametrize(
    "vms",
    [
        {"web1": {"cpus": "4", "memory": 1073741824, "console": "yes"}},
        disk(file={"path": "/a"}, detect_zeroes=False),
        disk(uri="ssh://u@h/a", ssh={"key": "{{ key }}"}),
        disk(https={"url": "https://h/x", "sha256": "AB" * 32}, read_only=True),
    ],
    ids=str,
)
def test_the_spellings_that_the_reader_takes_are_accepted(vms: Any) -> None:
    assert accepts(vms)


def test_every_option_has_its_words() -> None:
    definitions = {name: definition for name, definition in SCHEMA["definitions"].items() if name != "template"}
    for name, definition in definitions.items():
        assert all(option["description"] for option in definition["anyOf"][0]["properties"].values()), name
    assert {name[len("backend-") :] for name in definitions if name.startswith("backend-")} == set(BACKENDS)
