"""A program as git starts a helper at a keyboard: standard streams are pipes, the terminal is the controlling one."""

from __future__ import annotations

import os
import pty
import re
import select
import sys
import termios
import threading
import time
from typing import TYPE_CHECKING

from tests.support.signing_in import Ended, Program

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# A session of its own with that terminal; the program in its foreground, or in a group behind it.
_LEADER = """
import fcntl, os, sys, termios
terminal, place, *program = sys.argv[1:]
fcntl.ioctl(int(terminal), termios.TIOCSCTTY, 0)
os.close(int(terminal))
if place == "background":
    child = os.fork()
    if child:
        for descriptor in 0, 1, 2:
            os.close(descriptor)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    os.setpgid(0, 0)
os.execv(program[0], program)
"""


class HelperOnTerminal(Program):
    """Context manager. `shown` is all that the terminal was told to show, echo and all."""

    def __init__(
        self,
        arguments: Sequence[str | Path],
        environment: dict[str, str],
        asked: str = "",
        *,
        background: bool = False,
    ) -> None:
        self._master, self.device = pty.openpty()
        self.before = termios.tcgetattr(self.device)
        place = "background" if background else "foreground"
        leader = [sys.executable, "-c", _LEADER, str(self.device), place]
        super().__init__([*leader, *arguments], environment, asked, pass_fds=[self.device])
        self.shown = ""
        self._stop, self._stopper = os.pipe()
        self._told = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self.hang_up()
        os.close(self.device)

    def hang_up(self) -> None:
        """The terminal's window is closed."""
        if self._master >= 0:
            os.close(self._stopper)
            self._reader.join()
            os.close(self._stop)
            os.close(self._master)
            self._master = -1

    def wait_for(self, pattern: str, timeout: float = 20) -> re.Match[str]:
        """Until the terminal shows it, from the start on."""
        deadline = time.monotonic() + timeout
        with self._told:
            while not (found := re.search(pattern, self.shown)):
                over = self.process.poll() is not None
                more = self._told.wait(0.5)
                assert more or not over, f"ended without showing {pattern!r}: {self.shown!r}"
                assert time.monotonic() < deadline, f"not shown within {timeout} s: {pattern!r} in {self.shown!r}"
            return found

    def type(self, keys: bytes) -> None:
        while keys:
            keys = keys[os.write(self._master, keys) :]

    def ended(self, timeout: float = 30) -> Ended:
        """As ever; and `shown` is whole then."""
        ended = super().ended(timeout)
        os.write(self.device, b"\x05")
        self.wait_for("\x05")
        self.shown = self.shown.replace("\x05", "")
        return ended

    @property
    def settings(self) -> list[object]:
        return termios.tcgetattr(self.device)

    def _read(self) -> None:
        while True:
            if self._stop in select.select([self._master, self._stop], [], [])[0]:
                return
            data = os.read(self._master, 65_536)
            with self._told:
                self.shown += data.decode(errors="replace")
                self._told.notify_all()
