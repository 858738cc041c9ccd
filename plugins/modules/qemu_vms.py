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
  - Makes the virtual machines of a host as they are declared, all of them in one call.
  - Each machine gets a systemd unit of its own, with a user of its own and a sandbox derived from its disks; QEMU opens
    the storage itself, without a mount, a login or root.
  - The declaration is checked and planned on the controller; nothing on the host changes while anything in it is wrong.
  - Disks with C(size), C(source) or C(provision) are made and grown before their machines start, as by
    M(directdisk.qemu.qemu_disks). A machine with a disk that fails is left alone; the others go on.
  - Machines that are on the host but not declared are left alone and returned as RV(undeclared).
  - A machine whose storage a QEMU process of somebody else on this host has open is not started, if one of both writes
    to it. What other hosts run is not known to one task; role P(directdisk.qemu.qemu_vms#role) compares them.
options:
  vms:
    description:
      - The machines by name. All options of a machine stand in role P(directdisk.qemu.qemu_vms#role).
    type: dict
    required: true
  when_lacking:
    description:
      - What to do where the best route of a disk, or firmware, is missing on the host.
      - V(fail) goes on with the next best route where there is one, and fails otherwise.
      - V(report) changes nothing, and returns RV(missing) and RV(missing_packages).
    type: str
    choices: [fail, report]
    default: fail
  only:
    description:
      - V(ssh_agents) writes and reloads nothing but the ssh-agents of the machines and their keys, and leaves the
        machines alone.
    type: str
    choices: [all, ssh_agents]
    default: all
  step:
    description:
      - V(all) is a whole run on one host. It knows nothing of other hosts; the role does.
      - The others are the parts of a run, as role P(directdisk.qemu.qemu_vms#role) puts them together for many hosts.
        Each reads what the one before has registered under the names that the role uses.
      - V(observe) looks at the host and plans. V(compare) decides, from what all hosts of the play answered, what must
        not start. V(stop) stops the VMs that start on another host. V(apply) does the rest.
    type: str
    choices: [all, observe, compare, stop, apply]
    default: all
  credentials:
    description:
      - Not for people. The action plugin moves every secret out of O(vms) into this option, so that Ansible hides them.
      - Texts in base64 by the paths at which they are kept; the encoding keeps Ansible from masking a short password
        wherever its letters stand by chance.
    type: dict
    default: {}
extends_documentation_fragment: [directdisk.qemu.attributes]
attributes:
  check_mode:
    description: Says what would change without changing it.
    support: full
  diff_mode:
    description: Shows the units that change, line by line, and the names of credentials. Never a secret.
    support: full
requirements:
  - QEMU 5.2 or later and systemd 250 or later on the host
"""

EXAMPLES = r"""
- name: Run all machines that the inventory declares for this host
  directdisk.qemu.qemu_vms:
    vms: "{{ qemu_vms }}"

- name: One machine with a disk on a network block device and one from a web server
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

- name: Stop a machine and remove its unit; its disks stay
  directdisk.qemu.qemu_vms:
    vms:
      web1:
        state: absent
"""

RETURN = r"""
vms:
  description: The machines by name, with their state and disks as planned.
  returned: when no machine failed
  type: dict
  sample:
    web1:
      state: started
      unit: qemu-vm-web1.service
      disks:
        - {disk: root, backend: nbd, storage: "192.0.2.5:10809/web1", route: driver, format: raw, writes: keep}
disks:
  description: The disks that are made and kept, with their results as RV(directdisk.qemu.qemu_disks#module:disks).
  returned: success or failure of a machine
  type: list
  elements: dict
  sample:
    - {name: root of web1, changed: true, state: present, size: 21474836480, format: raw, actions: [clone rbd vms/web1]}
actions:
  description: What was changed, or would be in check mode, one line each.
  returned: success
  type: list
  elements: str
  sample: [write /etc/systemd/system/qemu-vm-web1.service, start vm web1]
due:
  description: If something is left to do for the next steps.
  returned: with O(step=observe)
  type: bool
fleet:
  description: What this host tells the others. The VMs that it runs and their storage, and what it will start and stop.
  returned: with O(step=observe)
  type: dict
observed:
  description: What was observed, for step V(apply); compressed, and without a secret.
  returned: with O(step=observe), where something is due
  type: str
stops:
  description: By host, the VMs that stop before others start.
  returned: with O(step=compare)
  type: dict
waits:
  description: By host and VM that starts there, the hosts and the VMs that stop there first.
  returned: with O(step=compare)
  type: dict
stopped:
  description: The VMs that have stopped.
  returned: with O(step=stop)
  type: list
  elements: str
of:
  description: Of which look at the host this is the result.
  returned: with O(step=stop) and O(step=apply)
  type: str
restart_needed:
  description: Machines that run on as they were started, because O(vms) does not say C(restart=when_needed).
  returned: success
  type: list
  elements: str
undeclared:
  description: Machines that are on the host but not in O(vms).
  returned: success
  type: list
  elements: str
missing:
  description: What is missing on the host for the best routes of the declared disks, in words.
  returned: always
  type: list
  elements: str
missing_packages:
  description: The packages that would bring it.
  returned: always
  type: list
  elements: str
failures:
  description:
    - The machines that did not start, or were left alone because a disk of theirs failed; RV(ignore:msg) says why, with
      the last lines of their logs.
  returned: failure
  type: list
  elements: str
"""

import base64
from typing import Any, cast

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import apply, observe
from ansible_collections.directdisk.qemu.plugins.module_utils._host.probe import probe
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import (
    ApplyAnswer,
    ObserveAnswer,
    Request,
    StopAnswer,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._process import private_folders


def run(request: Request, secrets: dict[str, str]) -> ApplyAnswer | ObserveAnswer | StopAnswer:
    """Answer one request of the action plugin."""
    if "stop" in request:
        return apply.stop(request["stop"])
    if "desired" in request:
        return apply.apply(request["desired"], secrets, encrypted=request["encrypted"])
    capabilities = probe()
    observed = observe.observe(**request["observe"], secrets=secrets, encrypted=capabilities["encrypts"])
    return {"capabilities": capabilities, "observed": observed}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "vms": {"type": "dict", "required": True},
            "when_lacking": {"type": "str", "choices": ["fail", "report"], "default": "fail"},
            "only": {"type": "str", "choices": ["all", "ssh_agents"], "default": "all"},
            "step": {"type": "str", "choices": ["all", "observe", "compare", "stop", "apply"], "default": "all"},
            "credentials": {"type": "dict", "default": {}, "no_log": True},
        },
        supports_check_mode=True,
    )
    private_folders.lock_payload()
    try:
        secrets = {path: base64.b64decode(text).decode() for path, text in module.params["credentials"].items()}
        module.exit_json(**cast("dict[str, Any]", run(module.params["vms"], secrets)))
    except DirectDiskError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
