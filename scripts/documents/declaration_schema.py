# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The JSON schema of a file of host variables that declares ``qemu_vms``, made from the option tables.

It refuses what the tables refuse, and leaves checks between options to the code. A value may be a Jinja template.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration import cd_drive, schema
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import ORIGIN_KEYS
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.kinds import KINDS
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option
from ansible_collections.directdisk.qemu.scripts.documents.words import code_list, default_words, markdown, release

Schema = dict[str, Any]

URL = "https://raw.githubusercontent.com/directdisk/directdisk.qemu/main/docs/qemu_vms.schema.json"
_TEMPLATE = r"\{\{|\{%|^\$ANSIBLE_VAULT;"
"""A text that Ansible evaluates: a template, or a value that `ansible-vault encrypt_string` has encrypted."""
_TEXT = {"type": ["string", "number", "boolean"]}
"""YAML reads some text as a number or a truth value, which the reader takes as text again."""
_SCALARS: dict[str, list[Schema]] = {
    "hex": [{"type": "string", "pattern": "^[0-9a-fA-F]+$"}, {"type": "integer", "minimum": 0}],
    "path": [{"type": "string", "pattern": r"^/(?!(.*/)?\.\.(/|$))[^\n]*$"}],
    "bool": [
        {"type": "boolean"},
        {"type": "string", "pattern": "^([Tt]rue|TRUE|[Yy]es|YES|[Oo]n|ON|[Ff]alse|FALSE|[Nn]o|NO|[Oo]ff|OFF)$"},
    ],
    "size": [
        {
            "type": "string",
            "pattern": r"^\s*\d{1,19}(\.\d{1,19})?\s*([kKMGTP](iB?)?|B)?\s*$",
            "patternErrorMessage": "Not a size such as 512MiB or 20GiB.",  # of editors' language servers
        },
        {"type": "integer", "minimum": 1},
    ],
    "int": [{"type": "integer"}, {"type": "string", "pattern": r"^\s*[+-]?\d{1,18}\s*$"}],
}
_HOLDS: dict[str, Schema] = {
    "text or values by name": {"type": ["string", "object"]},
    "values by name": {"type": "object"},
}
"""Content of options that their own readers check, without what the disk and the VM add themselves."""
_CD_DRIVE: Schema = {"required": ["model"], "properties": {"model": {"const": cd_drive.MODEL}}}
"""A drive that only reads, and may be empty."""


def declaration_schema() -> Schema:
    """Return the whole schema."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": URL,
        # Not a title: editors' language servers show that of the root for every option below it.
        "description": "Variables of a hypervisor with qemu_vms (directdisk.qemu)",
        "type": "object",
        "properties": {
            "qemu_vms": {
                "description": "The VMs of this host, by name.",
                **_or_template(_named(schema.VM_NAME.pattern, {"$ref": "#/definitions/vm"})),
            }
        },
        "definitions": {
            "template": {"type": "string", "pattern": _TEMPLATE},
            "vm": _vm(),
            "disk": _disk(),
            "network": _network(),
            "source": _source(),
            **{f"provision-{kind.name}": _options(kind.options) for kind in KINDS.values()},
            **{f"backend-{backend.name}": _options(backend.options, required=()) for backend in BACKENDS.values()},
        },
    }


def _vm() -> Schema:
    parts = {
        "disks": _named(schema.PART_NAME.pattern, {"$ref": "#/definitions/disk"}),
        "networks": _named(schema.PART_NAME.pattern, {"$ref": "#/definitions/network"}),
    }
    return _options(schema.VM_OPTIONS, {name: _or_template(part) for name, part in parts.items()})


def _network() -> Schema:
    network = _options(schema.NETWORK_OPTIONS)
    user = {"required": ["user"], "properties": {"user": {"not": {"enum": [False]}}}}
    network["anyOf"][0]["oneOf"] = [{"required": ["bridge"]}, user]
    return network


def _disk() -> Schema:
    own = {
        "source": {"allOf": [{"$ref": "#/definitions/source"}]},
        "provision": _or_template({"type": "object"}),
    }
    disk = _with_backend(schema.DISK_OPTIONS, own)
    disk["anyOf"][0]["allOf"] += [_storage_rule(backend) for backend in BACKENDS.values()]
    disk["anyOf"][0]["allOf"].append(_provision_of_uri())
    nothing = {"anyOf": [{"required": [name]} for name in (*BACKENDS, "uri")]}
    disk["anyOf"][0]["oneOf"].append({**_CD_DRIVE, "not": nothing})
    return disk


def _source() -> Schema:
    options = [option for option in schema.ORIGIN_OPTIONS if option.name in ORIGIN_KEYS]
    return _with_backend(options, {})


def _with_backend(options: Sequence[Option], own: dict[str, Schema]) -> Schema:
    """Return a mapping with options and exactly one backend: its key, a URI, or the URI with its backend's key."""
    keys = [Option(backend.name, backend.summary) for backend in BACKENDS.values()]
    # Within allOf, because draft 7 ignores what stands beside a reference.
    inner = {name: {"allOf": [{"$ref": f"#/definitions/backend-{name}"}]} for name in BACKENDS}
    mapping = _options((*keys, *options), {**inner, **own})
    no_key = {"not": {"anyOf": [{"required": [name]} for name in BACKENDS]}}
    one = [{"required": [name]} for name in BACKENDS]
    mapping["anyOf"][0]["oneOf"] = [*one, {"required": ["uri"], **no_key}]
    mapping["anyOf"][0]["allOf"] = [_required_rule(backend) for backend in BACKENDS.values() if _required(backend)]
    return mapping


def _required(backend: Backend) -> list[Option]:
    return [option for option in backend.options if option.required]


def _required_rule(backend: Backend) -> Schema:
    """Require what a backend requires, unless a URI may say it."""
    needs = {"allOf": [_has(option) for option in _required(backend)]}
    return {
        "if": {"required": [backend.name], "not": {"required": ["uri"]}},
        # Not by anyOf: editors then say that a schema does not match, and not which property is missing.
        "then": {"properties": {backend.name: {"if": {"type": "object"}, "then": needs}}},
    }


def _storage_rule(backend: Backend) -> Schema:
    """Allow the routes and the provision of a backend, and require a place for writes where it has none."""
    routes = _one_of(("auto", *backend.access.routes))
    provision = {"anyOf": [{"$ref": f"#/definitions/provision-{backend.image_kind}"}]}
    rule: Schema = {"properties": {"route": routes, "provision": provision}}
    if not backend.source.writable:
        elsewhere = {"writes": {"not": {"enum": ["keep"]}}, "size": False, "source": False}
        rule["properties"].update(elsewhere)
        rule["anyOf"] = [{"required": ["writes"]}, {"required": ["read_only"]}, _CD_DRIVE]
    if not backend.access.scsi_passthrough:
        rule["properties"]["model"] = {"not": {"enum": list(schema.PASSTHROUGH)}}
    picky = [_route_rule(backend, option) for option in backend.options if option.routes]
    if picky:
        rule["allOf"] = picky
    return {"if": {"required": [backend.name]}, "then": rule}


def _route_rule(backend: Backend, option: Option) -> Schema:
    """Allow only the routes that support an option."""
    declared = {"properties": {backend.name: {"type": "object", **_has(option)}}}
    return {"if": declared, "then": {"properties": {"route": _one_of(("auto", *option.routes))}}}


def _provision_of_uri() -> Schema:
    """Allow the provision of any kind of image where a URI alone names the backend."""
    kinds = [{"$ref": f"#/definitions/provision-{name}"} for name in KINDS]
    no_key = {"not": {"anyOf": [{"required": [name]} for name in BACKENDS]}}
    return {"if": no_key, "then": {"properties": {"provision": {"anyOf": kinds}}}}


def _options(
    options: Iterable[Option], own: dict[str, Schema] | None = None, required: Sequence[Option] | None = None
) -> Schema:
    """Return a mapping of options, or a template of one; own: the schemas of options that have a reader of their own.

    required: the required options if they are not those of the table.
    """
    options = tuple(options)
    properties: Schema = {}
    for option in options:
        value = (own or {}).get(option.name) or _value(option)
        properties[option.name] = {"description": _description(option), **value}
        for alias in option.aliases:
            properties[alias] = {"description": f"Another name of `{option.name}`.", **value}
    mapping: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
    needs = [_has(option) for option in (options if required is None else required) if option.required]
    if needs:
        mapping["allOf"] = needs
    return _or_template(mapping)


def _has(option: Option) -> Schema:
    names = (option.name, *option.aliases)
    return {"required": [option.name]} if len(names) == 1 else {"anyOf": [{"required": [name]} for name in names]}


def _value(option: Option) -> Schema:
    if option.type == "dict":
        return _options(option.options)
    if option.type == "list":
        element = Option(option.name, option.summary, option.elements or "str", pattern=option.pattern)
        items = _options(option.options) if option.elements == "dict" else _scalar(element)
        return _or_template({"type": "array", "items": items})
    if option.type == "any":
        return _or_template(_HOLDS[option.holds])
    return _scalar(option)


def _scalar(option: Option) -> Schema:
    if option.choices:
        return _one_of(option.choices)
    if option.pattern:
        # The reader takes capital digits, and makes them small before it compares.
        pattern = option.pattern.replace("a-f", "a-fA-F") if option.type == "hex" else option.pattern
        return _or_template({**_TEXT, "pattern": f"^(?:{pattern})$"})
    if option.type == "str":
        return dict(_TEXT)
    forms = _SCALARS[option.type]
    return _or_template(*({**form, **_range(option)} if form["type"] == "integer" else form for form in forms))


def _range(option: Option) -> Schema:
    limits = {"minimum": option.minimum, "maximum": option.maximum}
    return {name: limit for name, limit in limits.items() if limit is not None}


def _one_of(choices: Sequence[str]) -> Schema:
    """Return the choices, with the truth values and numbers as which YAML reads some of them."""
    values: list[Any] = list(choices)
    values += [True] if {"on", "yes"} & {*choices} else []
    values += [False] if {"off", "no", "none"} & {*choices} else []
    values += [int(choice) for choice in choices if choice.isdigit()]
    return _or_template({"enum": values})


def _named(pattern: str, part: Schema) -> Schema:
    return {"type": "object", "propertyNames": {"pattern": pattern}, "additionalProperties": part}


def _or_template(*forms: Schema) -> Schema:
    return {"anyOf": [*forms, {"$ref": "#/definitions/template"}]}


def _description(option: Option) -> str:
    facts = [markdown(option.summary)]
    if option.default is not None:
        facts.append(f"Default: `{default_words(option)}`.")
    if option.routes:
        facts.append(f"For route {code_list(option.routes)} only.")
    if option.since:
        facts.append(f"QEMU {release(option.since)} or later.")
    if option.secret:
        facts.append("A secret: keep it in a vault.")
    return " ".join(facts)
