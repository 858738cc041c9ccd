#!/usr/bin/python
# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host's part of qemu_vms; the controller's part is the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: qemu_vms
short_description: Run virtual machines whose disks QEMU opens itself
version_added: 0.1.0
author: directdisk.qemu contributors (@directdisk)
description:
  - Creates, changes, starts and stops the virtual machines (VMs) of a host as they are declared, all of them in one
    call.
  - Each VM has a systemd unit of its own, with a user of its own and a sandbox derived from its disks; QEMU opens
    the storage itself, without a mount, a login or root.
  - The declaration is checked and planned on the controller; nothing on the host changes if there is an error in it.
  - Disks with C(size), C(source) or C(provision) are created and grown before their VMs start, as by
    M(directdisk.qemu.qemu_disks). If a disk fails, its VM is left as it is; the others are not affected.
  - Disks, networks, media and limits of a running VM change while it runs, as far as QEMU can change them. For all else
    the VM is restarted if it is declared with C(restart=when_needed); otherwise it keeps its old settings and is
    returned as RV(restart_required).
  - VMs that are on the host but not declared are left as they are and returned as RV(undeclared), unless O(prune) is
    set.
  - A VM is not started if a QEMU process that the collection does not manage has its storage open on this host, and one
    of both writes to it. One task does not know the VMs of other hosts; role P(directdisk.qemu.qemu_vms#role) compares
    them.
options:
  vms:
    description:
      - The VMs by name. Role P(directdisk.qemu.qemu_vms#role) lists all options of a VM, its disks and its networks,
        and C(docs/backends/) those of each backend.
      - Without it, variable C(qemu_vms) of the host declares them. A template in it that fails is then named with its
        VM and disk.
    type: dict
  when_lacking:
    description:
      - Action if the best route of a disk, or firmware, is missing on the host.
      - V(fail) uses the next best route if there is one, and fails otherwise.
      - V(report) changes nothing, and returns RV(missing) and RV(missing_packages).
    type: str
    choices: [fail, report]
    default: fail
  only:
    description:
      - V(ssh_agents) writes and reloads only the ssh-agents of the VMs and their keys, and does not change the VMs.
    type: str
    choices: [all, ssh_agents]
    default: all
  only_vms:
    description:
      - The names of the VMs on which this task acts, as a list or separated by commas. They may be patterns, such as
        V(db*).
      - All other VMs are left as they are, with their helpers, and are returned as RV(left_out). Their declarations
        still count where VMs are compared, such as two VMs with one writable disk.
      - A name or pattern that no VM has is an error.
    type: raw
  recreate:
    description:
      - The names of VMs that are made again from their sources, as a list or separated by commas. Patterns are refused.
      - Such a VM is stopped; its disks that have C(source) and C(writes=keep) are removed and created again, which
        loses all that the guest wrote to them; and it is started. Its other disks stay.
      - A disk that another client has open is not removed. C(force) of its C(provision) has no effect here.
    type: raw
  takeover:
    description:
      - The names of VMs that take their storage from clients which still have it open, as a list or separated by
        commas. Patterns are refused. For hosts that are dead or cannot be reached.
      - On RBD, the client is blocklisted and its lock is broken. On iSCSI, its persistent reservation is preempted and
        cleared. A VM that writes to other storage which more than one host can reach is refused.
      - Nothing is taken from a client at an address of a host that answers in this run, from a VM that such a host
        runs, or from a client that has opened the storage since the host was observed.
    type: raw
  prune:
    description:
      - Stop and remove VMs that have a unit on the host and no declaration, as C(state=absent) would. Their images and
        what they wrote to the host stay.
      - Refused on a host that declares no VM at all.
    type: bool
    default: false
  restart:
    description:
      - V(declared) restarts running VMs that need it if they are declared with C(restart=when_needed).
      - V(due) restarts all running VMs that need it.
    type: str
    choices: [declared, due]
    default: declared
  restart_serial:
    description:
      - Number of VMs of a host that are restarted at a time; V(0) restarts all together. The next ones are restarted
        when the guests are up, for which C(ready_when) of a VM names a sign. A VM that does not come up ends the
        restarts.
    type: int
    default: 0
  restart_force:
    description:
      - Switch off a guest that has not shut down within its C(stop_timeout). Without it, such a VM is not restarted,
        and the task fails.
    type: bool
    default: false
  step:
    description:
      - V(all) is a whole run on one host, without a comparison with other hosts.
      - The others are the parts of a run, which role P(directdisk.qemu.qemu_vms#role) combines for many hosts.
        Each reads the results of the previous ones, registered under the names that the role uses.
      - V(observe) observes the host and plans. V(compare) decides, from the answers of all hosts of the play, which VMs
        must not start. V(stop) stops the VMs that start on another host. V(apply) applies the remaining changes.
    type: str
    choices: [all, observe, compare, stop, apply]
    default: all
  credentials:
    description:
      - Internal. The action plugin moves every secret from O(vms) to this option, so that Ansible hides it.
      - Texts in base64 by their paths on the host; without the encoding, Ansible would mask a short password wherever
        the same letters occur.
    type: dict
    default: {}
  disks:
    description:
      - Internal. The action plugin passes the declarations of disks from O(vms) in this option, so that Ansible hides
        their secrets.
    type: str
extends_documentation_fragment: [directdisk.qemu.attributes]
attributes:
  check_mode:
    description: Reports what would change without changing it.
    support: full
  diff_mode:
    description: Shows the units that change, line by line, and the names of credentials. Never a secret.
    support: full
requirements:
  - QEMU 5.2 or later and systemd 247 or later on the host
  - root on the host, such as by C(become=true)
"""

EXAMPLES = r"""
- name: Run all VMs that the inventory declares for this host
  directdisk.qemu.qemu_vms:
    vms: "{{ qemu_vms }}"

- name: Run one VM with a disk on a network block device and one from a web server
  directdisk.qemu.qemu_vms:
    vms:
      web1:
        memory: 4GiB
        cpus: 4
        disks:
          root:
            nbd: {host: 192.0.2.5, export: web1}
          tools:
            https: {url: "https://images.example/tools.qcow2"}
            format: qcow2
            writes: discard
        networks:
          lan: {bridge: br0}

- name: Stop a VM and remove its unit; its disks stay
  directdisk.qemu.qemu_vms:
    vms:
      web1:
        state: absent
"""

RETURN = r"""
vms:
  description: The VMs by name, with their state and disks as planned.
  returned: if no VM failed
  type: dict
  sample:
    web1:
      state: started
      unit: qemu-vm-web1.service
      disks:
        - {disk: root, backend: nbd, storage: "192.0.2.5:10809/web1", route: driver, format: raw, writes: keep}
disks:
  description: The managed disks, with their results as RV(directdisk.qemu.qemu_disks#module:disks).
  returned: success or failure of a VM
  type: list
  elements: dict
  sample:
    - {name: root of web1, changed: true, state: present, size: 21474836480, format: raw, actions: [clone rbd vms/web1]}
actions:
  description: The changes, or in check mode the predicted changes, one line each.
  returned: success
  type: list
  elements: str
  sample: [write /etc/systemd/system/qemu-vm-web1.service, start vm web1]
changes:
  description:
    - What changes, or in check mode would change, by VM and in a few words each.
    - Of a VM in RV(failures), it is what was done or tried.
  returned: unless packages are missing on the host
  type: dict
  sample: {web1: [create disk root, start]}
due:
  description: If the next steps have something to change.
  returned: with O(step=observe)
  type: bool
fleet:
  description: Report for the other hosts. The VMs that this host runs, starts and stops, and their storage.
  returned: with O(step=observe)
  type: dict
observed:
  description: The observation, for step V(apply); compressed, and without a secret.
  returned: with O(step=observe), if something is due
  type: str
stops:
  description: The VMs that stop before others start, by host.
  returned: with O(step=compare)
  type: dict
waits:
  description: The VMs that must stop first, by their host, by the host and the VM that starts there.
  returned: with O(step=compare)
  type: dict
takes:
  description: The storage that is taken from other clients, by the host and the VM that starts there.
  returned: with O(step=compare)
  type: dict
stopped:
  description: The VMs that have stopped.
  returned: with O(step=stop)
  type: list
  elements: str
of:
  description: Identifies the observation to which this result belongs.
  returned: with O(step=stop) and O(step=apply)
  type: str
restart_required:
  description:
    - VMs that keep their old settings until a restart, with the reasons. Neither C(restart=when_needed) nor
      O(restart=due) is set for them.
  returned: success
  type: dict
  sample: {web1: [cpu_model has changed]}
left_out:
  description: Declared VMs that were left as they are, because O(only_vms) does not match them.
  returned: if there are any
  type: list
  elements: str
unmatched:
  description: Names and patterns that no VM of this host has, by option. It is an error if no host has such a VM.
  returned: if there are any
  type: dict
undeclared:
  description: VMs that are on the host but not in O(vms).
  returned: success
  type: list
  elements: str
missing:
  description: Descriptions of what is missing on the host for the best routes of the declared disks.
  returned: with O(step=all) and O(step=observe)
  type: list
  elements: str
missing_packages:
  description: The packages that provide it.
  returned: with O(step=all) and O(step=observe)
  type: list
  elements: str
failures:
  description:
    - The VMs that did not start, or were left as they were because one of their disks failed; RV(ignore:msg) has the
      reasons and the last lines of their logs.
  returned: failure
  type: list
  elements: str
"""

import base64
from collections.abc import Iterable
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import apply, former_storage, observe
from ansible_collections.directdisk.qemu.plugins.module_utils._host.probe import probe
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.disk_requests import DisksRequest, DiskToRead
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import (
    ObserveAnswer,
    ObservedHost,
    Request,
    StopAnswer,
    decode,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._process import jobs, private_folders, privileges
from ansible_collections.directdisk.qemu.plugins.module_utils._process.progress import ProgressBoard
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths as unit_paths


def run(request: Request, secrets: dict[str, str], disks: str | None) -> ObserveAnswer | StopAnswer | dict[str, Any]:
    """Answer one request of the action plugin; disks: an encoded DisksRequest."""
    if "stop" in request:
        return apply.stop(request["stop"])
    if "desired" in request:
        return _apply(request, secrets)
    capabilities = probe()
    observed = observe.observe(**request["observe"], secrets=secrets, encrypted=capabilities["encrypts"])
    answer: ObserveAnswer = {"capabilities": capabilities, "observed": observed}
    if disks:
        observe_disks(decode(disks), answer)
    return answer


def _apply(request: Request, secrets: dict[str, str]) -> dict[str, Any]:
    """Apply a desired state, and return an ApplyAnswer; or that of a job, if the work goes on without this process."""

    def work(board: ProgressBoard) -> dict[str, Any]:
        try:
            return {**apply.apply(request["desired"], secrets, encrypted=request["encrypted"], board=board)}
        except DirectDiskError as error:
            return {"failed": True, "msg": str(error)}

    seconds = request.get("wait")
    # This process waits for its turn, because it notices when its run has ended. A job inherits the lock.
    with apply.host_locked():
        return work(ProgressBoard()) if seconds is None else jobs.run(work, seconds=seconds)


def observe_disks(request: DisksRequest, answer: ObserveAnswer) -> None:
    """Add the observation of disks to that of their host."""
    to_read = _not_open(request["to_read"], answer["observed"])
    if not request["managed"] and not to_read:
        return
    # Imported here because most runs need none of it: an import takes longer than the observation of many VMs.
    from ansible_collections.directdisk.qemu.plugins.module_utils._images import vm_disks
    from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities

    capabilities = Capabilities.from_probe(answer["capabilities"])
    if request["managed"]:
        answer["disks"] = vm_disks.predict(request["managed"], answer["observed"], capabilities)
    if to_read:
        vm_disks.read_heads(to_read, answer["observed"], capabilities)


def _not_open(disks: Iterable[DiskToRead], observed: ObservedHost) -> list[DiskToRead]:
    """Return the disks that will be opened: those of VMs that will start, and those that running VMs do not have."""
    opened = former_storage.opened_at_start(observe.opened_by_unit(observed["files"]), observed["units"])
    return [
        disk
        for disk in disks
        if (disk["before_start"] or disk["unit"] in opened)
        and (disk["identity"] not in opened.get(disk["unit"], {}) or _is_gone(disk, observed))
    ]


def _is_gone(disk: DiskToRead, observed: ObservedHost) -> bool:
    """Return if a running VM has lost a disk."""
    process = observed["processes"].get(unit_paths.vm_of_unit(disk["unit"]))
    return bool(process and not process["error"] and disk["node"] not in process["nodes"])


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "vms": {"type": "dict"},
            "when_lacking": {"type": "str", "choices": ["fail", "report"], "default": "fail"},
            "only": {"type": "str", "choices": ["all", "ssh_agents"], "default": "all"},
            "only_vms": {"type": "raw"},
            "recreate": {"type": "raw"},
            "takeover": {"type": "raw"},
            "prune": {"type": "bool", "default": False},
            "restart": {"type": "str", "choices": ["declared", "due"], "default": "declared"},
            "restart_serial": {"type": "int", "default": 0},
            "restart_force": {"type": "bool", "default": False},
            "step": {"type": "str", "choices": ["all", "observe", "compare", "stop", "apply"], "default": "all"},
            "credentials": {"type": "dict", "default": {}, "no_log": True},
            "disks": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    private_folders.lock_payload()
    try:
        privileges.require_root()
        secrets = {path: base64.b64decode(text).decode() for path, text in module.params["credentials"].items()}
        answer: dict[str, Any] = {**run(module.params["vms"], secrets, module.params["disks"])}
    except DirectDiskError as error:
        module.fail_json(msg=str(error))
    if answer.pop("failed", False):
        module.fail_json(**answer)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
