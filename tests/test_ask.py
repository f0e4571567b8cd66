"""Questions on the terminal."""

from __future__ import annotations

from pathlib import Path

from tests.support.terminal import OnTerminal

# Another thread gets the signal, so that no call of the first one is interrupted by it: as when Ctrl-C comes in the
# moment before that call.
ASKING = """
import signal, threading, time
from git_credential_forge import ask
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
try:
    ask.line("client id:")
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_ctrl_c_at_any_moment(installed: Path, environment: dict[str, str]) -> None:
    """It ends a question at once, without a key behind it."""
    with OnTerminal([str(installed / "python"), "-c", ASKING], environment, Path(environment["HOME"])) as screen:
        screen.wait_for("client id:")
        screen.type("\x03")
        screen.wait_for("interrupted\n")
        assert screen.wait() == 0
