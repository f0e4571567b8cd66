"""What a stand-in for the person's browser is given and gives back: an opener script, records of tabs."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

Mode = Literal["consent", "deny", "hold"]


@dataclass(frozen=True)
class Tab:
    """One tab as it is now.

    `state` is "loading", "held" (at the consent page) or "done"; `address` what the address bar shows, also
    where nobody answered, and then `failure` says why; `console` holds the page's errors.
    """

    handed_over: str
    state: str
    address: str
    title: str = ""
    text: str = ""
    failure: str = ""
    console: tuple[str, ...] = ()


def write_opener(directory: Path) -> tuple[Path, Path]:
    """An executable `xdg-open` alone in its directory, and the pipe into which it puts the address.

    The address stands in no other process's arguments: `printf` is the shell's own. It never blocks.
    """
    pipe = directory / "addresses"
    os.mkfifo(pipe, 0o600)
    opener = directory / "bin" / "xdg-open"
    opener.parent.mkdir()
    opener.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$1\" 1<>{shlex.quote(str(pipe))}\n")
    opener.chmod(0o755)
    return opener, pipe
