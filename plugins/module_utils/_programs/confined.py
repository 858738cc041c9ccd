# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""confined.py SETTINGS -- COMMAND...: become a command that may touch only what SETTINGS (JSON) names.

It has a file system of its own: the system's programs, a few files of /etc, the folders of its run and the files
that it is given; a user that nobody else has, no capability but the one to open those files, and no network unless it
has servers. What an image's header or a server's answer names is not there.

"user": number of the user and group; "folders": what it may write; "files": [[FILE, PLACE], ...], read-only;
"network": whether it may use the host's; "capabilities": numbers of those that it keeps;
"most": bytes of the largest file that it may write, or 0; "root": an empty folder to build its file system in;
"files_from": number of a socket at which more files come while it runs, or -1.
"""

from __future__ import annotations

import array
import ctypes
import json
import os
import resource
import shutil
import signal
import socket
import stat
import struct
import sys
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._programs.opened_path import open_path

# linux/sched.h, linux/mount.h, linux/prctl.h, linux/capability.h
CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWNET = 0x20000, 0x8000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 0x20, 0x1000, 0x4000, 0x40000
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 1, 8, 24, 38, 47
PR_CAP_AMBIENT_RAISE = 2
CAPABILITIES = 64
CAPABILITY_VERSION = 0x20080522
# The number is the same on all architectures.
SYS_MOVE_MOUNT = 429
AT_FDCWD, MOVE_MOUNT_F_EMPTY_PATH = -100, 4

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
TRUSTED = ("/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/var/lib/ca-certificates", "/etc/crypto-policies")
SETTINGS = (
    *("/etc/ld.so.cache", "/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/gai.conf", "/etc/nsswitch.conf"),
    *("/etc/services", "/etc/protocols", "/etc/localtime", "/etc/iscsi/initiatorname.iscsi"),
)
DEVICES = ("null", "zero", "full", "random", "urandom")

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> int:
    if result < 0:
        raise SystemExit(f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    check(libc.mount(source.encode(), target.encode(), kind.encode(), flags, options.encode()), f"mount {target}")


def make_place(path: str, *, folder: bool) -> None:
    """Create a mount point."""
    os.makedirs(path if folder else os.path.dirname(path), exist_ok=True)
    if not folder and not os.path.lexists(path):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def bind(source: str, place: str, *, writable: bool = False) -> None:
    make_place(place, folder=os.path.isdir(source))
    mount(source, place, "", MS_BIND | (0 if writable else MS_REC))
    if not writable:
        devices = 0 if stat.S_ISBLK(os.stat(source).st_mode) else MS_NODEV
        mount("", place, "", MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | devices)


def handle_of(path: str) -> int:
    """Return a handle of a file that the command is to see."""
    try:
        return open_path(path)
    except OSError as error:
        raise SystemExit(f"{path}: {error.strerror}") from None


def build(root: str, settings: dict[str, Any]) -> None:
    """Build the file system of the command in the directory ``root``."""
    mount("tmpfs", root, "tmpfs", MS_NOSUID, "size=16m,mode=755")
    for path in SYSTEM:
        if os.path.islink(path):
            os.symlink(os.readlink(path), root + path)
        elif os.path.isdir(path):
            bind(path, root + path)
    for path in TRUSTED:
        if os.path.isdir(path):
            bind(path, root + path)
    for path in SETTINGS:
        if os.path.exists(path):
            os.makedirs(os.path.dirname(root + path), exist_ok=True)
            shutil.copyfile(path, root + path)
    for name in DEVICES:
        make_place(f"{root}/dev/{name}", folder=False)
        mount(f"/dev/{name}", f"{root}/dev/{name}", "", MS_BIND)
    os.makedirs(f"{root}/proc")
    # Some libraries look at themselves there (libgfapi crashes without); nobody else is to be seen.
    mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV, "hidepid=invisible,subset=pid")
    os.makedirs(f"{root}/tmp")
    os.chmod(f"{root}/tmp", 0o1777)
    user = settings["user"]
    for name, line in (("passwd", f"opener:x:{user}:{user}::/:/usr/sbin/nologin"), ("group", f"opener:x:{user}:")):
        with open(f"{root}/etc/{name}", "w", encoding="ascii") as stream:
            stream.write(f"{line}\n")
    for folder in settings["folders"]:
        bind(folder, root + folder, writable=True)
    for file, place in settings["files"]:
        handle = handle_of(file)
        bind(f"/proc/self/fd/{handle}", root + place)
        os.close(handle)


def enter(root: str) -> None:
    os.chdir(root)
    check(libc.pivot_root(b".", b"."), "pivot_root")
    check(libc.umount2(b".", MNT_DETACH), "umount")
    os.chdir("/")


def take(channel: socket.socket) -> bool:
    """Receive one request: a place, and a handle to mount there, or none to unmount it. Return False at the end."""
    size = array.array("i").itemsize
    message, control, _flags, _address = channel.recvmsg(65536, socket.CMSG_SPACE(size))
    if not message:
        return False
    place = os.fsdecode(message)
    handles = [struct.unpack("i", data[:size])[0] for _level, _kind, data in control]
    try:
        if not handles:
            check(libc.umount2(place.encode(), MNT_DETACH), f"umount {place}")
            os.unlink(place)
        for handle in handles:
            os.umask(0o022)
            make_place(place, folder=stat.S_ISDIR(os.fstat(handle).st_mode))
            moved = libc.syscall(SYS_MOVE_MOUNT, handle, b"", AT_FDCWD, place.encode(), MOVE_MOUNT_F_EMPTY_PATH)
            check(int(moved), f"mount {place}")
        answer = b"ok"
    except (SystemExit, OSError) as error:
        answer = str(error).encode()
    for handle in handles:
        os.close(handle)
    channel.sendall(answer)
    return True


def serve(channel: socket.socket) -> None:
    """Serve the command's file system from outside its reach, until the other end is closed."""
    if os.fork():
        return
    try:
        devnull = os.open("/dev/null", os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(devnull, number)
        os.closerange(3, channel.fileno())
        os.closerange(channel.fileno() + 1, 1024)
        while take(channel):
            pass
    finally:
        os._exit(0)


def drop_privileges(user: int, capabilities: list[int]) -> None:
    """Become a user with only these capabilities (capabilities(7))."""
    check(libc.prctl(PR_SET_KEEPCAPS, int(bool(capabilities)), 0, 0, 0), "prctl")
    for number in range(CAPABILITIES):  # those that this kernel does not know it refuses
        if number not in capabilities:
            libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    kept = sum(1 << number for number in capabilities)
    header, data = struct.pack("Ii", CAPABILITY_VERSION, 0), struct.pack("6I", kept, kept, kept, 0, 0, 0)
    check(libc.capset(header, data), "capset")
    for number in capabilities:
        check(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0), "prctl")
    check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")


def main(arguments: list[str]) -> None:
    settings: dict[str, Any] = json.loads(arguments[0])
    command = arguments[2:]
    parent = os.getppid()
    check(libc.unshare(CLONE_NEWNS | CLONE_NEWIPC | (0 if settings["network"] else CLONE_NEWNET)), "unshare")
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    mask = os.umask(0o022)
    build(settings["root"], settings)
    os.umask(mask)
    enter(settings["root"])
    if settings["files_from"] >= 0:
        with socket.socket(fileno=settings["files_from"]) as channel:
            serve(channel)
    drop_privileges(settings["user"], settings["capabilities"])
    # Another user's process forgets whose end is its own.
    check(libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0), "prctl")
    if os.getppid() != parent:
        raise SystemExit("the process that has asked for it is gone")
    if settings["most"]:
        # Too large a file is an error then, and no signal.
        resource.setrlimit(resource.RLIMIT_FSIZE, (settings["most"], settings["most"]))
    else:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # Not execvp: it imports a module, which is not in this file system if Python itself is not in the system's folders.
    program = shutil.which(command[0]) or command[0]
    try:
        os.execv(program, command)
    except OSError as error:
        raise SystemExit(f"{command[0]}: {error.strerror}") from None


if __name__ == "__main__":
    main(sys.argv[1:])
