"""Whose program is at the other end of a connection on this machine.

The start address stands in the opener's arguments, which every user may read; who comes with it is given the state. So
another user's program is not listened to, where the kernel tells.
"""

from __future__ import annotations

import os
import socket
import sys

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")  # proc(5); other systems have none, and there nobody is turned away
_MAPPED = bytes(10) + b"\xff\xff"  # before an IPv4 address in the second table


def may_speak(connection: socket.socket) -> bool:
    """Whether the peer is this user's program, or root's, or nobody can tell (a forwarder, another system)."""
    try:
        theirs, ours = connection.getpeername(), connection.getsockname()
    except OSError:
        return False
    ends = set(zip(_spellings(theirs), _spellings(ours), strict=True))
    owners = {owner for table in _TABLES for owner in _owners(table, ends)}
    return not owners or bool(owners & {os.geteuid(), 0})


def _owners(table: str, ends: set[tuple[str, str]]) -> list[int | None]:
    """Of a connection; None for an end that its program has closed: the table then says root's. So ports alone tell
    nothing: what somebody else has closed a moment ago, at another address of this machine, may have the same."""
    try:
        with open(table, encoding="ascii") as file:
            rows = [line.split() for line in file][1:]
    except OSError:
        return []
    return [int(row[7]) if row[9] != "0" else None for row in rows if (row[1], row[2]) in ends]


def _spellings(end: tuple[str, int]) -> list[str]:
    """An address and port as the tables have them: 32 bits each in the machine's own order."""
    host, port = end[:2]
    packed = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    return [f"{_words(address)}:{port:04X}" for address in (packed, _MAPPED + packed)]


def _words(packed: bytes) -> str:
    words = (packed[at : at + 4] for at in range(0, len(packed), 4))
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)
