"""The only voice: what the program says by itself goes to standard error or the terminal, never to stdout.

Rules: the prefix `forge:`, lower case, no full stop; a line says what happened, why, and what to type.
"""

from __future__ import annotations

import os
import re
import sys
import time

# C0, DEL, C1, line and paragraph separators, and the marks that turn the direction of text (CVE-2024-50349,
# CVE-2024-52005: words of a server that moved the cursor or hid what stands there).
_HOSTILE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+"
)
LONGEST = 300  # characters of somebody else's text: enough for a sentence, too few to flood a screen


def clean(text: str) -> str:
    """Text from outside, safe for a terminal: control and direction marks gone, length bounded."""
    text = _HOSTILE.sub(" ", text).strip()
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def address(text: str) -> str:
    """An address from outside as `clean` makes it, without the name and the password that may stand in it."""
    return clean(re.sub("//[^/@]*@", "//", text))


def line(text: str) -> None:
    """One line on standard error. Never fails: a closed stderr is no reason to lose an answer."""
    _write(2, f"forge: {_HOSTILE.sub(' ', text)}\n")


def lines(message: str, hints: tuple[str, ...] = ()) -> None:
    for text in (message, *hints):
        line(text)


def on(fd: int, text: str) -> None:
    """One line on a terminal device, for what must not land in a log: the address for paste."""
    _write(fd, f"forge: {_HOSTILE.sub(' ', text)}\n")


def ask(fd: int, text: str) -> None:
    """A question on a terminal device; what is typed stands behind it."""
    _write(fd, f"forge: {_HOSTILE.sub(' ', text)} ")


def end(fd: int) -> None:
    """End the line of a question that got no answer."""
    _write(fd, "\n")


def result(text: str = "") -> None:
    """One line of a command that a person typed, on standard output."""
    sys.stdout.write(_HOSTILE.sub(" ", text) + "\n")


def trace(event: str) -> None:
    """An event by name, with GIT_TRACE_FORGE=1; never a value that came from a secret."""
    if os.environ.get("GIT_TRACE_FORGE", "") not in ("", "0"):
        now = time.time()
        stamp = time.strftime("%H:%M:%S", time.localtime(now)) + f".{int(now % 1 * 1000):03d}"
        _write(2, f"{stamp} {clean(event)}\n")


def until(at: float) -> str:
    """A point of time as people read it: the clock, with the day when it is not today's."""
    then = time.localtime(at)
    form = "%H:%M" if then[:3] == time.localtime()[:3] else "%Y-%m-%d %H:%M"
    return time.strftime(form, then)


def _write(fd: int, text: str) -> None:
    data = text.encode("utf-8", "replace")
    try:
        while data:
            data = data[os.write(fd, data) :]
    except OSError:
        pass
