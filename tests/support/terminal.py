"""A program on a terminal of its own, as somebody at a keyboard has it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import subprocess
import termios
import time
from pathlib import Path

PATIENCE = 30.0  # seconds


class OnTerminal:
    """Context manager. `seen` is all that the terminal has shown so far."""

    def __init__(self, command: list[str], environment: dict[str, str], cwd: Path) -> None:
        self._keyboard, screen = pty.openpty()

        def take_terminal() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            command, env=environment, cwd=cwd, stdin=screen, stdout=screen, stderr=screen, preexec_fn=take_terminal
        )
        self.screen = screen  # kept open, so that its settings can be looked at afterwards
        self.seen = ""

    def __enter__(self) -> OnTerminal:  # noqa: PYI034 # Self is newer than Python 3.10
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._keyboard)
        os.close(self.screen)

    def type(self, text: str) -> None:
        data = text.encode()
        while data:
            data = data[os.write(self._keyboard, data) :]

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first match in all that was shown; AssertionError with the screen when it does not come."""
        deadline = time.monotonic() + PATIENCE
        while not (match := re.search(pattern, self.seen)):
            assert time.monotonic() < deadline, f"waited for {pattern!r}, the screen shows:\n{self.seen}"
            self._read(0.2)
        return match

    def wait(self) -> int:
        """The exit status, once the program has ended and all is read."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"still runs, the screen shows:\n{self.seen}"
            self._read(0.05)
        while self._read(0):
            pass
        return self.process.returncode

    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self.screen)[3] & termios.ECHO)

    def _read(self, seconds: float) -> bool:
        if not select.select([self._keyboard], [], [], seconds)[0]:
            return False
        self.seen += os.read(self._keyboard, 65_536).decode("utf-8", "replace").replace("\r\n", "\n")
        return True
