"""Entry point of git-credential-forge--main. While the rest is imported, Ctrl-C ends the process as it ends any other,
without a trace of Python on the terminal."""

import signal
import sys

if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> None:
    from git_credential_forge.cli import end, run

    end(run(sys.argv[1:]))
