"""From `get`, with nothing held, to the browser's program being started; and the same with httpx imported first."""

from __future__ import annotations

import os
import random
import select
import shutil
import signal
import time
from pathlib import Path

import clock
import homes
from clock import Spread
from gits import Git
from homes import Home, Installed

PLAIN, IMPORTING = "miss to browser", "with httpx imported first"
PATIENCE = 20  # seconds
# A forge by its challenge. Nobody listens there: all that is before the browser needs no network.
REQUEST = """\
capability[]=authtype
capability[]=state
protocol=http
host=127.0.0.1:9
wwwauth[]=Basic realm="Gitea"

"""


class Bell:
    """A fake browser: its first act is to ring."""

    def __init__(self, at: Path) -> None:
        self._fifo = at / "bell"
        os.mkfifo(self._fifo)
        self._end = os.open(self._fifo, os.O_RDWR | os.O_NONBLOCK)
        self.opener = at / "browser"
        self.opener.write_text(f"#!/bin/sh\necho >'{self._fifo}'\n")
        self.opener.chmod(0o755)

    def wait(self) -> None:
        if not select.select([self._end], [], [], PATIENCE)[0]:
            raise TimeoutError("no browser was started")
        os.read(self._end, 4096)

    def home(self, at: Path, git: Git, installed: Installed) -> Home:
        return homes.home(at, git, installed, BROWSER=str(self.opener))


def measure(at: Path, git: Git, installed: Installed, rounds: int) -> dict[str, Spread]:
    bell = Bell(at)
    home = bell.home(at / "home", git, installed)
    programs = {PLAIN: Path(installed.launcher), IMPORTING: importing(at / "importing", installed)}
    times: dict[str, list[float]] = {name: [] for name in programs}
    for number in range(rounds + 2):
        for name in random.sample(list(programs), len(programs)):
            begun = time.perf_counter()
            process = start([str(programs[name]), "get"], home, at)
            bell.wait()
            taken = time.perf_counter() - begun
            end(process)
            if number >= 2:
                times[name].append(taken)
    return {name: clock.spread(taken) for name, taken in times.items()}


def importing(at: Path, installed: Installed) -> Path:
    """A copy of the launcher beside a --main that has one more line, at its top."""
    at.mkdir()
    first, rest = Path(installed.main).read_text().split("\n", 1)
    main = at / "git-credential-forge--main"
    main.write_text(f"{first}\nimport httpx\n{rest}")
    main.chmod(0o755)
    return Path(shutil.copy(installed.launcher, at))


def start(command: list[str], home: Home, at: Path, said: Path = Path(os.devnull), request: str = REQUEST) -> int:
    """Start a `get`, the first of a session of its own, which has no terminal."""
    given = at / "request"
    given.write_text(request)
    files = [
        (os.POSIX_SPAWN_OPEN, 0, str(given), os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, str(said), os.O_WRONLY | os.O_CREAT, 0o600),
    ]
    return os.posix_spawn(command[0], command, home.environment, file_actions=files, setsid=True)


def end(process: int) -> None:
    """Killed, so that it leaves no refusal behind, which would keep the next one from asking."""
    os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
