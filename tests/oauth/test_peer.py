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
CONNECT = "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); print(len(s.recv(1)))"


def _may_speak(*command: str) -> bool:
    """Whether a program that connects to us may speak."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = str(listening.getsockname()[1])
        with subprocess.Popen([*command, "-I", "-c", CONNECT, port], stdout=subprocess.PIPE, cwd="/") as child:
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
