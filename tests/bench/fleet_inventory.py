# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes an inventory as a large site keeps it: one host_vars file a hypervisor, secrets apart, backends mixed."""

from __future__ import annotations

import argparse
from pathlib import Path

LICENCE = "# SPDX-FileCopyrightText: directdisk.qemu contributors\n# SPDX-License-Identifier: GPL-3.0-or-later\n---\n"

DISKS = (
    """\
      root:
        rbd:
          pool: vms{pool}
          image: h{host}-v{vm}-root
          user: qemu
          key: "{{{{ vault_ceph_key }}}}"
          monitors: [192.0.2.1, 192.0.2.2, 192.0.2.3]
        size: 20GiB
        discard: unmap
      data:
        iscsi: {{portal: "192.0.2.9:3260", target: "iqn.2026-01.example:h{host}-v{vm}", lun: 1, user: web, password: "{{{{ vault_chap }}}}"}}
        iops: {{total: 2000}}
      tools:
        https: {{url: "https://images.example/tools.qcow2", username: web, password: "{{{{ vault_images_password }}}}"}}
        format: qcow2
        writes: discard
""",
    """\
      root:
        uri: "nfs://192.0.2.7/export{pool}/h{host}-v{vm}-root.qcow2"
        format: qcow2
        size: 40GiB
        cache: none
      data:
        nbd: {{host: "{{{{ storage_address }}}}", export: h{host}-v{vm}}}
        iothread: true
      logs:
        file: {{filename: /srv/vms/v{vm}-logs.qcow2}}
        format: qcow2
        size: 100GiB
""",
    """\
      root:
        rbd: {{pool: vms{pool}, image: h{host}-v{vm}-root, user: qemu, key: "{{{{ vault_ceph_key }}}}", monitors: [192.0.2.1]}}
        size: 200GiB
      data:
        gluster: {{host: 192.0.2.5, volume: gv{pool}, path: h{host}-v{vm}.img}}
        size: 1TiB
      scratch:
        file: {{filename: /srv/vms/v{vm}-scratch.qcow2}}
        format: qcow2
        size: 50GiB
        luks: {{passphrase: "{{{{ vault_luks }}}}"}}
""",
)


def machine(host: int, vm: int) -> str:
    """One machine of three disks."""
    head = f"  h{host}-v{vm}:\n    memory: 4GiB\n    cpus: 4\n    disks:\n"
    mac = f"52:55:{host >> 8:02x}:{host & 255:02x}:00:{vm:02x}"
    network = f'    networks:\n      lan: {{bridge: br0, mac: "{mac}"}}\n'
    return head + DISKS[vm % len(DISKS)].format(host=host, vm=vm, pool=host % 7) + network


def write(folder: Path, hosts: int, vms: int) -> None:
    """The inventory, in a folder that is there and empty."""
    names = [f"hv{number}" for number in range(hosts)]
    lines = "".join(f"        {name}:\n" for name in names)
    (folder / "hosts.yml").write_text(f"{LICENCE}all:\n  children:\n    hypervisors:\n      hosts:\n{lines}")
    (folder / "group_vars").mkdir()
    secrets = ("vault_ceph_key: QVFEVm1GSlQwSm5JSnhBQWpYRy8yMg==", "vault_chap: a", "vault_images_password: b")
    (folder / "group_vars" / "hypervisors.yml").write_text(
        LICENCE + "\n".join((*secrets, "vault_luks: c", "storage_address: 192.0.2.6")) + "\n"
    )
    (folder / "host_vars").mkdir()
    for number, name in enumerate(names):
        machines = "".join(machine(number, vm) for vm in range(vms))
        (folder / "host_vars" / f"{name}.yml").write_text(f"{LICENCE}qemu_vms:\n{machines}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--vms", type=int, default=20)
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    write(options.folder, options.hosts, options.vms)


if __name__ == "__main__":
    main()
