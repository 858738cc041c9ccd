# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection to a hypervisor, by the connection plugin and the variables that the inventory has for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.playbook.play_context import PlayContext
from ansible.plugins.loader import become_loader, connection_loader

_DEFAULT = "ssh"


def connect(name: str, variables: Mapping[str, Any], context: PlayContext) -> Any:
    """Return the connection plugin of a hypervisor; context: of the task, for passwords that Ansible has asked for."""
    options = {"inventory_hostname": name, "ansible_host": name, **variables}
    plugin = str(options.get("ansible_connection") or C.DEFAULT_TRANSPORT)
    plugin = _DEFAULT if plugin == "smart" else plugin
    own = context.copy()
    own.connection, own.remote_addr = plugin, options["ansible_host"]
    own.remote_user, own.port = options.get("ansible_user"), options.get("ansible_port")
    connection = connection_loader.get(plugin, own, None, task_uuid="", ansible_playbook_pid="")
    if connection is None:
        raise AnsibleError(f"hypervisor {name}: there is no connection plugin {plugin}")
    connection.set_options(var_options=options)
    own.set_attributes_from_plugin(connection)
    connection.set_become_plugin(_become(name, options, context))
    return connection


def _become(name: str, options: Mapping[str, Any], context: PlayContext) -> Any:
    """Return the become plugin: only root may speak to agents. As in site.yml, ansible_become may say otherwise."""
    if not boolean(options.get("ansible_become", True)):
        return None
    method = str(options.get("ansible_become_method") or C.DEFAULT_BECOME_METHOD)
    become = become_loader.get(method)
    if become is None:
        raise AnsibleError(f"hypervisor {name}: there is no become plugin {method}")
    asked = {"become_pass": context.become_pass} if context.become_pass else {}
    become.set_options(task_keys=asked, var_options=options, direct={"become_user": "root"})
    return become


def run(connection: Any, command: str, data: bytes) -> tuple[int, bytes, bytes]:
    """Run a shell command on a hypervisor, as root if that is declared; data: its standard input."""
    become = connection.become
    if become:
        command = become.build_become_command(command, connection._shell)
    code, output, errors = connection.exec_command(command, in_data=data, sudoable=bool(become))
    return code, _read(output), _read(errors)


def _read(stream: Any) -> bytes:
    """Return what a command has written: some plugins have it as bytes, some as a file."""
    data = stream if isinstance(stream, bytes) else stream.read()
    return data if isinstance(data, bytes) else str(data).encode()
