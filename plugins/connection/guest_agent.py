# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Connection: a guest through its hypervisor, by its guest agent."""

from __future__ import annotations

DOCUMENTATION = r"""
name: guest_agent
short_description: Run modules in a guest through its hypervisor, without a network to the guest
version_added: 0.1.0
author: directdisk.qemu contributors (@directdisk)
description:
  - Connects to the hypervisor as the inventory says, and runs commands and copies files in a guest with QEMU's guest
    agent. The VM is declared with C(guest_agent=true), and the guest has the package C(qemu-guest-agent) and Python.
  - The inventory plugin P(directdisk.qemu.guests#inventory) sets all variables that this needs.
  - Commands run as the user of the agent, which is root. They have no terminal, so C(become) in the guest works only
    where it asks for no password.
  - Nothing is stored on the hypervisor. One call to it runs a command; one call copies 32 MiB of a file.
options:
  hypervisor:
    description: Name of the hypervisor in the inventory.
    type: str
    required: true
    vars:
      - name: ansible_guest_agent_hypervisor
  hypervisor_variables:
    description:
      - Variables by which Ansible reaches the hypervisor, such as C(ansible_host), C(ansible_user),
        C(ansible_connection), C(ansible_become_password) and C(ansible_python_interpreter).
      - Only root may speak to an agent, so C(ansible_become) is true if it is not set.
    type: dict
    default: {}
    vars:
      - name: ansible_guest_agent_hypervisor_variables
  vm:
    description: Name of the VM on the hypervisor.
    type: str
    vars:
      - name: inventory_hostname
      - name: ansible_guest_agent_vm
  agent_timeout:
    description: Time limit in seconds for each answer of the agent. A command itself may take longer.
    type: int
    default: 30
    vars:
      - name: ansible_guest_agent_timeout
  pipelining:
    description: Send modules to the guest's Python instead of copying them first, which is several times as fast.
    type: bool
    default: true
    vars:
      - name: ansible_pipelining
      - name: ansible_guest_agent_pipelining
notes:
  - A guest agent keeps 16 MiB of what a command writes. If a command writes more, its task fails.
  - A file that is copied into the guest has mode 0600 until a module changes that, and another name until it is whole.
  - Guests with Windows are not supported.
"""

EXAMPLES = r"""
# inventory/host_vars/web1.yml, without the inventory plugin directdisk.qemu.guests
ansible_connection: directdisk.qemu.guest_agent
ansible_guest_agent_hypervisor: hv1
ansible_guest_agent_hypervisor_variables:
  ansible_host: hv1.example.net
  ansible_user: admin
  ansible_become_password: "{{ vault_hv1_password }}"

# A play that waits for a new guest, which has no network yet, and configures it.
# - hosts: web1
#   gather_facts: false
#   tasks:
#     - ansible.builtin.wait_for_connection:
#     - ansible.builtin.copy:
#         src: interfaces
#         dest: /etc/network/interfaces.d/lan
#         mode: "0644"
"""

import json
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from ansible.errors import AnsibleConnectionFailure, AnsibleError, AnsibleFileNotFound
from ansible.plugins.connection import ConnectionBase
from ansible.utils.display import Display

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import printable, printable_lines
from ansible_collections.directdisk.qemu.plugins.module_utils._host.guest_agent_call import Answer, Request
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.plugin_utils._guest_agent import hypervisor, program

PIECE = 32 << 20
"""Bytes of a file in one call to the hypervisor."""
_PATH = re.compile("/.+")
_LONGEST_MESSAGE = 2000
display = Display()


class Connection(ConnectionBase):
    """A guest, through its hypervisor."""

    transport = "directdisk.qemu.guest_agent"
    has_pipelining = True
    has_tty = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._hypervisor: Any = None
        self._python = ""
        self._connected: bool = False

    def _connect(self) -> Connection:
        if self._connected:
            return self
        name, variables = self.get_option("hypervisor"), self.get_option("hypervisor_variables")
        self._hypervisor = hypervisor.connect(name, variables, self._play_context)
        python = str(variables.get("ansible_python_interpreter", ""))
        self._python = python if python.startswith("/") else paths.PYTHON[0]
        self._connected = True
        return self

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        answer, (output, errors) = self._call({"action": "execute", "command": cmd}, in_data or b"")
        return answer["code"], output, errors

    def put_file(self, in_path: str, out_path: str) -> None:
        super().put_file(in_path, out_path)
        part = f".{Path(out_path).name[:200]}.{secrets.token_hex(8)}.part"
        request = {"action": "put", "path": self._absolute(out_path), "part": part}
        try:
            for offset, piece, last in _pieces(in_path):
                self._call({**request, "offset": offset, "last": last}, piece)
        except FileNotFoundError:
            raise AnsibleFileNotFound(f"file or module does not exist: {in_path}") from None

    def fetch_file(self, in_path: str, out_path: str) -> None:
        super().fetch_file(in_path, out_path)
        request = {"action": "fetch", "path": self._absolute(in_path), "size": PIECE}
        part, end, offset = Path(f"{out_path}.{secrets.token_hex(8)}.part"), False, 0
        try:
            with part.open("xb") as file:
                while not end:
                    answer, (content,) = self._call({**request, "offset": offset}, b"")
                    file.write(content)
                    offset += len(content)
                    end = answer["end"]
            part.replace(out_path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def close(self) -> None:
        if self._hypervisor is not None:
            self._hypervisor.close()
        self._hypervisor = None
        self._connected = False

    def reset(self) -> None:
        self._connect()
        if hasattr(self._hypervisor, "reset"):
            self._hypervisor.reset()
        self.close()

    def _absolute(self, path: str) -> str:
        if not _PATH.fullmatch(path):
            raise AnsibleError(f"{path}: is not an absolute path in the guest")
        return path

    def _call(self, more: dict[str, Any], data: bytes) -> tuple[Answer, list[bytes]]:
        """Send one request to the agent; return its answer and what follows it."""
        self._connect()
        vm, name = str(self.get_option("vm")), self.get_option("hypervisor")
        if paths.vm_of_unit(paths.unit_name(vm)) != vm:
            raise AnsibleError(f"{vm!r} is not the name of a VM: set ansible_guest_agent_vm")
        marker = f"guest-agent-{secrets.token_hex(16)}:"
        seconds = self.get_option("agent_timeout")
        fields = {
            **{"vm": vm, "socket": paths.agent_socket(vm), "seconds": seconds, "marker": marker},
            **{"path": "", "part": "", "offset": 0, "size": 0, "last": True, "command": ""},
            **more,
        }
        request = cast(Request, fields)
        display.vvv(f"GUEST AGENT {request['action']} {request['path']}{request['command']}", host=f"{name}/{vm}")
        sent = program.text() + json.dumps(request).encode() + b"\n" + data
        code, output, errors = hypervisor.run(self._hypervisor, program.command(self._python), sent)
        _before, found, rest = output.partition(marker.encode())
        if not found:
            message = (errors or output).decode(errors="replace").strip()[-_LONGEST_MESSAGE:]
            raise AnsibleConnectionFailure(
                f"hypervisor {name}: vm {vm}: exit status {code}: {printable_lines(message)}"
            )
        return _checked(name, rest)


def _pieces(path: str) -> Iterator[tuple[int, bytes, bool]]:
    """Yield the pieces of a file: their places, and if they are the last."""
    with open(path, "rb") as file:
        size, offset = os.fstat(file.fileno()).st_size, 0
        while True:
            piece = file.read(PIECE)
            last = offset + len(piece) >= size or not piece
            yield offset, piece, last
            if last:
                return
            offset += len(piece)


def _checked(name: str, text: bytes) -> tuple[Answer, list[bytes]]:
    line, _end, rest = text.partition(b"\n")
    answer: Answer = json.loads(line)
    if "problem" in answer:
        kind = AnsibleConnectionFailure if answer["unreachable"] else AnsibleError
        raise kind(printable(f"hypervisor {name}: {answer['problem']}"))
    if len(rest) != sum(answer["sizes"]):
        raise AnsibleConnectionFailure(f"hypervisor {name}: the answer of the guest agent broke off")
    parts = []
    for size in answer["sizes"]:
        parts.append(rest[:size])
        rest = rest[size:]
    return answer, parts
