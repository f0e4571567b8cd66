"""Whose program is at the other end of a connection on this machine.

The start address stands in the opener's arguments, which every user may read; who comes with it is given the state. So
another user's program is not listened to, where the kernel tells.
"""

from __future__ import annotations

import os
import socket

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")  # proc(5); other systems have none, and there nobody is turned away


def may_speak(connection: socket.socket) -> bool:
    """Whether the peer is this user's program, or root's, or nobody can tell (a forwarder, another system)."""
    try:
        theirs, ours = connection.getpeername()[1], connection.getsockname()[1]
    except OSError:
        return False
    owners = {uid for table in _TABLES for uid in _owners(table, theirs, ours)}
    return not owners or bool(owners & {os.geteuid(), 0})


def _owners(table: str, local_port: int, remote_port: int) -> list[int]:
    try:
        with open(table, encoding="ascii") as file:
            rows = [line.split() for line in file][1:]
    except OSError:
        return []
    ends = (f"{local_port:04X}", f"{remote_port:04X}")
    return [int(row[7]) for row in rows if (row[1].rpartition(":")[2], row[2].rpartition(":")[2]) == ends]
