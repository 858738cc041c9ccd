# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""qemu-vm-agent.py SOCKET OWN_SOCKET: run an ssh-agent at OWN_SOCKET, and let QEMU use it at SOCKET.

An ssh-agent answers its own user only. QEMU has another user, so that it cannot read the agent's memory. QEMU may ask
which keys there are, and have something signed; it can neither add nor remove a key.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading

LENGTH_BYTES = 4
LONGEST = 256 * 1024
"""Bytes of a message, as in OpenSSH's ssh-agent."""
LIST_KEYS, SIGN = 11, 13
"""Requests that are handed on (draft-miller-ssh-agent: SSH_AGENTC_REQUEST_IDENTITIES, SSH_AGENTC_SIGN_REQUEST)."""
FAILURE = b"\0\0\0\1\5"
"""The answer to all others, SSH_AGENT_FAILURE."""
MOST_CLIENTS = 256
"""QEMU keeps a connection for each disk."""


def receive(peer: socket.socket, size: int) -> bytes:
    """Exactly ``size`` bytes; EOFError where the peer has closed."""
    heard = b""
    while len(heard) < size:
        data = peer.recv(size - len(heard))
        if not data:
            raise EOFError
        heard += data
    return heard


def message(peer: socket.socket) -> bytes:
    """One message, its length in front."""
    head = receive(peer, LENGTH_BYTES)
    length = int.from_bytes(head, "big")
    if not 0 < length <= LONGEST:
        raise EOFError
    return head + receive(peer, length)


def hand_on(client: socket.socket, own: str, slots: threading.Semaphore) -> None:
    """The requests of one client, until either side closes."""
    with contextlib.suppress(OSError, EOFError), client, socket.socket(socket.AF_UNIX) as agent:
        agent.connect(own)
        while True:
            request = message(client)
            if request[LENGTH_BYTES] in (LIST_KEYS, SIGN):
                agent.sendall(request)
                client.sendall(message(agent))
            else:
                client.sendall(FAILURE)
    slots.release()


def end_with(process: subprocess.Popen[bytes]) -> None:
    """systemd starts both again."""
    os._exit(process.wait() or 1)


def serve(path: str, own: str) -> None:
    listener = socket.socket(socket.AF_UNIX)
    umask = os.umask(0o117)
    listener.bind(path)
    os.umask(umask)
    listener.listen()
    # The unit of the keys waits for this one, so QEMU's is there by then.
    process = subprocess.Popen(["/usr/bin/ssh-agent", "-D", "-a", own], stdout=subprocess.DEVNULL)
    threading.Thread(target=end_with, args=(process,), daemon=True).start()
    slots = threading.Semaphore(MOST_CLIENTS)
    while True:
        slots.acquire()
        client = listener.accept()[0]
        threading.Thread(target=hand_on, args=(client, own, slots), daemon=True).start()


if __name__ == "__main__":
    serve(*sys.argv[1:])
