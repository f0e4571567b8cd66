"""A program on a pseudo-terminal of its own, its standard streams being pipes, as git starts a helper."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
import threading
import time
from typing import TYPE_CHECKING

from tests.support.signing_in import Ended

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from typing_extensions import Self

# A session of its own with that terminal; the program in its foreground, or in a group behind it.
_LEADER = """
import fcntl, os, signal, sys, termios
terminal, place, *program = sys.argv[1:]
os.setsid()
fcntl.ioctl(int(terminal), termios.TIOCSCTTY, 0)
os.close(int(terminal))
if place == "background":
    child = os.fork()
    if child:
        sys.stdin.close()
        os.close(1)
        os.close(2)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    os.setpgid(0, 0)
os.execv(program[0], program)
"""


class OnTerminal:
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
        self.started = time.monotonic()
        place = "background" if background else "foreground"
        self.process = subprocess.Popen(
            [sys.executable, "-c", _LEADER, str(self.device), place, *map(str, arguments)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[self.device],
        )
        assert self.process.stdin is not None
        self.process.stdin.write(asked.encode())
        self.process.stdin.close()
        self.process.stdin = None  # for `communicate`
        self.shown = ""
        self._told = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        os.close(self.device)
        self._reader.join()
        os.close(self._master)

    def wait_for(self, pattern: str, timeout: float = 20) -> re.Match[str]:
        """Until the terminal shows it, from the start on."""
        with self._told:
            found = self._told.wait_for(lambda: re.search(pattern, self.shown), timeout)
            assert found, f"not shown within {timeout} s: {pattern!r} in {self.shown!r}"
            return found

    def wait_for_times(self, text: str, times: int, timeout: float = 20) -> None:
        with self._told:
            done = self._told.wait_for(lambda: self.shown.count(text) >= times, timeout)
            assert done, f"not {times} times shown: {text!r} in {self.shown!r}"

    def type(self, keys: bytes) -> None:
        while keys:
            keys = keys[os.write(self._master, keys) :]

    def ended(self, timeout: float = 30) -> Ended:
        """Streams at their end; what the terminal shows is whole then."""
        out, err = self.process.communicate(timeout=timeout)
        return Ended(self.process.returncode, out.decode(), err.decode(), time.monotonic() - self.started)

    @property
    def settings(self) -> list[object]:
        return termios.tcgetattr(self.device)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65_536)
            except OSError:  # nobody has the other side any more
                return
            with self._told:
                self.shown += data.decode(errors="replace")
                self._told.notify_all()
