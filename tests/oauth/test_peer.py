"""Who may speak to the listener: this user's programs; another user's is turned away where the kernel tells."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from git_credential_forge.oauth import peer

NOBODY = 65534
CONNECT = "import socket, sys; s = socket.create_connection((sys.argv[1], int(sys.argv[2]))); print(len(s.recv(1)))"

HIDE = """
import socket, sys
port = int(sys.argv[1])
with socket.socket() as one:
    one.bind(("127.0.0.2", 0))
    own = one.getsockname()[1]
    one.connect(("127.0.0.1", port))
sys.stdin.readline()
two = socket.socket()
two.bind(("127.0.0.3", own))
two.connect(("127.0.0.1", port))
print(len(two.recv(1)))
"""


def _may_speak(*command: str, listens: str = "127.0.0.1", to: str = "127.0.0.1") -> bool:
    """Whether a program that connects to us may speak."""
    family = socket.AF_INET6 if ":" in listens else socket.AF_INET
    with socket.create_server((listens, 0), family=family) as listening:
        port = str(listening.getsockname()[1])
        with subprocess.Popen([*command, "-I", "-c", CONNECT, to, port], stdout=subprocess.PIPE, cwd="/") as child:
            connection, _ = listening.accept()
            with connection:
                may = peer.may_speak(connection)
            assert child.communicate(timeout=20)[0] == b"0\n"
    return may


def test_this_user() -> None:
    """A program of ours may."""
    assert _may_speak(sys.executable)


@pytest.mark.skipif(os.geteuid() != 0, reason="not here: only root can start a program as somebody else")
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="not here: the kernel does not tell")
@pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="not here: no Python that another user can start")
def test_another_user() -> None:
    """A program of somebody else may not, though it knows the address: the opener's arguments are for all to read."""
    assert not _may_speak("setpriv", f"--reuid={NOBODY}", "--clear-groups", "/usr/bin/python3")


@pytest.mark.skipif(os.geteuid() != 0, reason="not here: only root can start a program as somebody else")
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="not here: the kernel does not tell")
@pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="not here: no Python that another user can start")
def test_another_user_behind_a_closed_connection() -> None:
    """A connection that its program has closed is nobody's, and stands as root's in the table. One of the same ports,
    from another address of this machine, is not taken for it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        somebody = ["setpriv", f"--reuid={NOBODY}", "--clear-groups", "/usr/bin/python3", "-I", "-c", HIDE]
        port = str(listening.getsockname()[1])
        with subprocess.Popen([*somebody, port], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/") as child:
            assert child.stdin
            connection, _ = listening.accept()
            with connection:
                assert connection.recv(1) == b"", "they close first: the end that waits is theirs"
                assert not peer.may_speak(connection)
            child.stdin.write(b"\n")
            child.stdin.flush()
            connection, (address, _) = listening.accept()
            with connection:
                assert (address, peer.may_speak(connection)) == ("127.0.0.3", False)
            assert child.communicate(timeout=20)[0] == b"0\n"


@pytest.mark.parametrize(("listens", "to"), [("::1", "::1"), ("127.0.0.1", "::ffff:127.0.0.1")])
@pytest.mark.parametrize("owner", [None, NOBODY])
@pytest.mark.skipif(os.geteuid() != 0, reason="not here: only root can start a program as somebody else")
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="not here: the kernel does not tell")
@pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="not here: no Python that another user can start")
def test_by_ipv6(listens: str, to: str, owner: int | None) -> None:
    """Looked up as the second table has them, also who comes to an address of IPv4 by one of IPv6."""
    somebody = ["setpriv", f"--reuid={owner}", "--clear-groups", "/usr/bin/python3"] if owner else [sys.executable]
    assert _may_speak(*somebody, listens=listens, to=to) == (owner is None)
