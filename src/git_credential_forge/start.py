"""Entry point of git-credential-forge--main. While the rest is imported, Ctrl-C ends the process as it ends any other,
without a trace of Python on the terminal."""

import os
import signal
import sys

if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> None:
    import contextlib

    from git_credential_forge.cli import run

    status = run(sys.argv[1:])
    for stream in filter(None, (sys.stdout, sys.stderr)):
        with contextlib.suppress(OSError, ValueError):  # nobody reads; it is closed
            stream.flush()
    # A thread may still speak to a server. Python takes itself apart beside it, and sometimes crashes over that.
    os._exit(status)
