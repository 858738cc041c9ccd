# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the modules for one disk: arguments, run and result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.parameters import remove_values
from ansible.module_utils.common.validation import check_type_dict

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import read_image
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError
from ansible_collections.directdisk.qemu.plugins.module_utils._host.bindings import need_bindings
from ansible_collections.directdisk.qemu.plugins.module_utils._host.probe import probe
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.argument_spec import (
    MODULE_OPTIONS,
    WAIT,
    argument_spec,
    declaration_of,
    disk_module_options,
    storage_options,
    without_omitted,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import DesiredImage, ImageKind
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.desired import desired_image
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lifecycle import Lifecycle
from ansible_collections.directdisk.qemu.plugins.module_utils._images.reconcile import reconcile
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import read_options
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.disk_requests import Diff
from ansible_collections.directdisk.qemu.plugins.module_utils._process import jobs, private_folders, privileges
from ansible_collections.directdisk.qemu.plugins.module_utils._process.locks import lock_of
from ansible_collections.directdisk.qemu.plugins.module_utils._process.progress import ProgressBoard
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities

WHERE = "disk"
"""Prefix of messages."""


class DiskModule(AnsibleModule):
    """A module for one disk. Ansible hides the secrets within its storage, which it does not know as options."""

    def _load_params(self) -> None:
        super()._load_params()
        for text in _secrets(storage_options(), self.params):
            # The log of the host has the parameters as Python writes them: a key of several lines is on one there.
            self.no_log_values.update((text, repr(text)[1:-1]))


def _secrets(options: Iterable[Option], declared: Any) -> Iterator[str]:
    """Yield the secrets in a declaration; a mapping may be text, such as JSON, as Ansible reads one."""
    try:
        declared = check_type_dict(declared)
    except TypeError:
        return
    known = {name: option for option in options for name in (option.name, *option.aliases)}
    for key, value in declared.items():
        option = known.get(key)
        if option and option.secret and not isinstance(value, bool) and value not in (None, ""):
            yield str(value)
        elif option and option.options:
            yield from _secrets(option.options, value)


def run_disk_module(lifecycle: Lifecycle) -> None:
    """Run the module for one disk of a kind."""
    kind = lifecycle.kind
    options = disk_module_options(kind)
    module = DiskModule(argument_spec=argument_spec(options), supports_check_mode=True)
    private_folders.lock_payload()
    try:
        privileges.require_root()
        values = without_omitted(options, module.params)
        run_options = read_options(
            MODULE_OPTIONS, {option.name: values.get(option.name) for option in MODULE_OPTIONS}, WHERE
        )
        desired = _read_desired(kind, values, run_options)
        capabilities = Capabilities.from_probe(probe())
        need_bindings(
            (backend for backend in BACKENDS.values() if backend.image_kind == kind.name), capabilities.family
        )
    except DirectDiskError as error:
        module.fail_json(msg=str(error))

    def work(board: ProgressBoard) -> dict[str, Any]:
        try:
            with (
                Workbench(capabilities, open_timeout=run_options["open_timeout"]) as bench,
                board.disk(desired.disk.described, lock_of(desired.disk)) as bench.progress,
            ):
                result = reconcile(lifecycle, desired, bench, check_mode=module.check_mode)
        except DirectDiskError as error:
            return {"failed": True, "msg": str(error)}
        shown = {name: value for name, value in result.items() if name not in ("before", "after")}
        diff = shown_changes("", result["actions"], result["before"], result["after"])
        return {**shown, "image": result["after"], "diff": diff}

    def answer(board: ProgressBoard) -> dict[str, Any]:
        # Ansible hides secrets only in the answer that a module itself gives.
        hidden: dict[str, Any] = remove_values(work(board), module.no_log_values)
        return hidden

    seconds = None if module.check_mode else values.get(WAIT.name)
    done = work(ProgressBoard()) if seconds is None else jobs.run(answer, seconds=seconds)
    for warning in done.pop("warnings", ()):
        module.warn(warning)
    if done.pop("failed", False):
        module.fail_json(**done)
    module.exit_json(**done)


def shown_changes(name: str, actions: Sequence[str], before: Mapping[str, Any], after: Mapping[str, Any]) -> Diff:
    """Return the diff of one disk: its state, and the actions, because the state may not show them."""
    header = f"disk {name}" if name else WHERE
    lines = "".join(f"{header}: {action}\n" for action in actions)
    shown: Diff = {"before_header": header, "after_header": header, "before": before, "after": after}
    return {**shown, "prepared": lines} if lines else shown


def _read_desired(kind: ImageKind, values: Values, run_options: Values) -> DesiredImage:
    disk = read_image("disk", declaration_of(kind, values), WHERE)
    return desired_image(
        kind,
        disk,
        WHERE,
        state=run_options["state"],
        monitor=run_options.get("monitor", ""),
        node=run_options.get("node", ""),
    )
