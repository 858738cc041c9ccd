# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's command line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import guest, lab, linux_guest
from .hosts import BY_NAME, HOSTS, Host
from .settings import Settings
from .shell import LabError


def host_list(text: str) -> list[Host]:
    unknown = [name for name in text.split(",") if name not in BY_NAME]
    if unknown:
        known = ", ".join(BY_NAME)
        raise argparse.ArgumentTypeError(f"no host {', '.join(unknown)}: there are {known}")
    return [BY_NAME[name] for name in text.split(",")]


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="lab", description=lab.__doc__)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="build, start and provision; safe to repeat")
    default = [host for host in HOSTS if host.default]
    up.add_argument("--hosts", type=host_list, default=default, help="comma-separated names")
    build = commands.add_parser("build", help="build the images of hosts, which up does where they are missing")
    build.add_argument("--hosts", type=host_list, default=default, help="comma-separated names")
    commands.add_parser("down", help="remove everything but the image cache")
    commands.add_parser("purge", help="down, and remove the image cache")
    commands.add_parser("status", help="show hosts and loop devices")
    commands.add_parser("inventory", help="print the inventory's path")
    execute = commands.add_parser("exec", help="run a command on a host")
    execute.add_argument("host", choices=list(BY_NAME))
    execute.add_argument("argv", nargs=argparse.REMAINDER, metavar="COMMAND")
    disk = commands.add_parser("guest", help="write a tiny guest's disk (no lab needed)")
    disk.add_argument("path", type=Path)
    disk.add_argument("marker")
    disk.add_argument("--size", type=int, default=1 << 20, help="bytes")
    disk.add_argument("--format", default="raw", help="any that qemu-img knows")
    writer = commands.add_parser("writer-guest", help="write the disk of a guest that writes and verifies")
    writer.add_argument("path", type=Path)
    writer.add_argument("--size", type=int, default=1 << 20, help="bytes")
    linux = commands.add_parser("linux-guest", help="write the disk of a Linux guest that can trim (no lab needed)")
    linux.add_argument("path", type=Path)
    linux.add_argument("marker", nargs="?", default="linux")
    linux.add_argument("--size", type=int, default=linux_guest.SIZE, help="bytes")
    return top


def execute(settings: Settings, host: Host, argv: list[str]) -> int:
    words = argv[1:] if argv[:1] == ["--"] else argv
    tty = ["--tty"] if sys.stdin.isatty() and sys.stdout.isatty() else []
    podman = lab.running(settings)
    container = settings.container(host)
    return podman.interactive("exec", "--interactive", *tty, container, *(words or ["bash"]))


def main() -> int:
    args = parser().parse_args()
    settings = Settings.from_environment()
    if args.command == "exec":
        return execute(settings, BY_NAME[args.host], args.argv)
    if args.command == "guest":
        guest.write(args.path, args.marker, args.size, args.format)
    elif args.command == "writer-guest":
        guest.write_writer(args.path, args.size)
    elif args.command == "linux-guest":
        linux_guest.write(settings, args.path, args.marker, args.size)
    elif args.command == "inventory":
        print(settings.inventory)
    elif args.command == "status":
        lab.status(settings)
    else:
        with lab.locked(settings):
            if args.command in ("up", "build"):
                {"up": lab.up, "build": lab.build}[args.command](settings, args.hosts)
            else:
                {"down": lab.down, "purge": lab.purge}[args.command](settings)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        sys.exit(f"lab: {error}")
