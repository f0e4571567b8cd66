"""Questions on the terminal, for the commands that people type. git itself never asks by them."""

from __future__ import annotations

import contextlib
import os
import select
import termios
from collections.abc import Iterator

from git_credential_forge import say
from git_credential_forge.errors import ForgeError

LONGEST = 4096  # bytes of a line: what a terminal takes
_LOOK = 0.2  # seconds


def terminal() -> bool:
    """Whether there is one to ask on."""
    with opened() as descriptor:
        return descriptor is not None


def line(question: str, *, echo: bool = True) -> str:
    """What a person types behind a question, without the spaces around it; not shown, unless `echo`. Raises ForgeError
    where nobody can be asked, or the terminal is gone."""
    with opened() as descriptor:
        if descriptor is None:
            raise ForgeError(f"no terminal is there to ask on: {question}")
        with contextlib.nullcontext() if echo else _without_echo(descriptor):
            say.ask(descriptor, question)  # not before: who has read it may type
            typed = _read(descriptor)
        return typed.decode("utf-8", "replace").strip()


def agreed(question: str, *, otherwise: bool) -> bool:
    """Yes or no; `otherwise` is what a lone Enter means."""
    answer = line(f"{question} {'[Y/n]' if otherwise else '[y/N]'}").lower()
    return answer in ("y", "yes") or (otherwise and answer == "")


def _read(descriptor: int) -> bytes:
    """One line. The terminal itself puts lines together, so that a person can mend them."""
    typed = bytearray()
    while not typed.endswith(b"\n") and len(typed) < LONGEST:
        while not select.select([descriptor], [], [], _LOOK)[0]:
            pass  # a signal that comes in the moment before a call does not interrupt that call
        try:
            more = os.read(descriptor, LONGEST)
        except OSError:
            more = b""
        if not more:  # Ctrl-D, or its window has been closed
            say.end(descriptor)
            raise ForgeError("no answer came, so nothing was changed")
        typed += more
    return bytes(typed)


@contextlib.contextmanager
def opened() -> Iterator[int | None]:
    """A descriptor of the terminal; None where there is none."""
    try:
        descriptor = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _without_echo(descriptor: int) -> Iterator[None]:
    before = termios.tcgetattr(descriptor)
    silent = termios.tcgetattr(descriptor)
    silent[3] = (silent[3] & ~termios.ECHO) | termios.ECHONL
    termios.tcsetattr(descriptor, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        with contextlib.suppress(termios.error):  # its window has been closed
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
