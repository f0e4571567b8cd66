"""Read from the terminal the address on which some browser ended.

Not in canonical mode, whose lines end at 4,096 bytes; without echo, because the address holds a code.
"""

from __future__ import annotations

import contextlib
import os
import signal
import termios

LONGEST = 16_384  # bytes of one pasted line
_END, _ERASE, _KILL, _EOF = b"\r\n", b"\x7f\x08", 0x15, 0x04


class Terminal:
    """The controlling terminal, for a while without echo and line editing. Use it as a context."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.reading = False
        self._line = bytearray()
        self._before: list[object] = []
        self._sigttin: object = None

    @classmethod
    def find(cls) -> Terminal | None:
        """The terminal, if there is one and we may read from it: somebody else's foreground is left alone."""
        try:
            descriptor = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            return None
        return cls(descriptor)

    def __enter__(self) -> Terminal:  # noqa: PYI034 # Self is newer than Python 3.10
        try:
            if os.tcgetpgrp(self.descriptor) != os.getpgrp():
                return self
            self._sigttin = signal.signal(signal.SIGTTIN, signal.SIG_IGN)
            self._before = termios.tcgetattr(self.descriptor)
            changed = termios.tcgetattr(self.descriptor)
            changed[0] &= ~termios.ICRNL
            changed[3] &= ~(termios.ICANON | termios.ECHO)
            changed[6][termios.VMIN], changed[6][termios.VTIME] = 1, 0
            termios.tcsetattr(self.descriptor, termios.TCSADRAIN, changed)
            self.reading = True
        except (OSError, termios.error):
            pass
        return self

    def __exit__(self, *_: object) -> None:
        if self.reading:
            self.reading = False
            with contextlib.suppress(OSError, termios.error):  # its window has been closed
                if os.tcgetpgrp(self.descriptor) == os.getpgrp():  # in the background it is the shell's again
                    # What was pasted and not read has a code in it, and is not for the shell.
                    termios.tcsetattr(self.descriptor, termios.TCSAFLUSH, self._before)  # type: ignore[arg-type]
        if self._sigttin is not None:
            signal.signal(signal.SIGTTIN, self._sigttin)  # type: ignore[arg-type]
        os.close(self.descriptor)

    def take(self) -> list[str]:
        """The lines that what can be read now makes whole. Called when the descriptor is readable."""
        try:
            data = os.read(self.descriptor, 4096)
        except OSError:
            data = b""
        if not data:
            self.reading = False  # hung up, or put into the background: the listener goes on
        lines = []
        for byte in data:
            if byte in _END:
                lines.append(self._line.decode("utf-8", "replace").strip())
                self._line.clear()
            elif byte in _ERASE:
                del self._line[-1:]
            elif byte == _KILL:
                self._line.clear()
            elif byte != _EOF and len(self._line) < LONGEST:
                self._line.append(byte)
        return list(filter(None, lines))
