"""Somebody with a home, git, our helper set up by `configure`, and perhaps a browser."""

from __future__ import annotations

import os
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Protocol

from tests.support.leaks import Leaks
from tests.support.surroundings import clean_environment

PATIENCE = 60  # seconds that a command may take before the test has failed


def _repairs() -> bool:
    said = subprocess.run(["git", "version"], capture_output=True, text=True, check=True).stdout
    return [int(part) for part in re.findall(r"\d+", said)[:2]] >= [2, 46]


REPAIRS = _repairs()  # whether the system's git asks again within a command when a token is refused


def wait_until(at: float) -> None:
    """Until this time has come, no longer: for tokens that end by the clock."""
    while (left := at - time.time()) > 0:
        time.sleep(left)


class Done(NamedTuple):
    status: int
    out: str
    err: str


class Place(Protocol):
    """What somebody signs in to: a forge whose certificates are signed by these."""

    ca_file: Path


class Person:
    """Runs commands in a home of its own, and remembers all that they said for `leaks`."""

    def __init__(self, home: Path, installed: Path, forge: Place, opener: Path | None = None) -> None:
        self.home = home
        self.leaks = Leaks(home)
        path = os.pathsep.join([str(installed), "/usr/local/bin", "/usr/bin", "/bin"])
        self.environment = clean_environment(home, PATH=path, GIT_SSL_CAINFO=str(forge.ca_file))
        names = {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org"}
        names |= {"GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org"}
        self.environment |= names
        if opener:
            self.environment["BROWSER"] = str(opener)

    def git(self, *arguments: str, given: str | None = None, cwd: Path | None = None, **more: str) -> Done:
        """Run git, not on a terminal; `more` goes into its environment."""
        return self.run("git", *arguments, given=given, cwd=cwd, **more)

    def run(self, *command: str, given: str | None = None, cwd: Path | None = None, **more: str) -> Done:
        done = subprocess.run(
            command,
            env=self.environment | more,
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            text=True,
            cwd=cwd or self.home,
            timeout=PATIENCE,
            start_new_session=True,  # no terminal, also where pytest has one
            check=False,
        )
        if not {"fill", "get"} & set(command):  # these are asked for the secret
            self.leaks.saw(f"output of {' '.join(command)}", done.stdout)
        self.leaks.saw(f"errors of {' '.join(command)}", done.stderr)
        return Done(done.returncode, done.stdout, done.stderr)

    def at_once(self, number: int, *arguments: str) -> list[Done]:
        with ThreadPoolExecutor(number) as pool:
            return list(pool.map(lambda _: self.git(*arguments), range(number)))

    def commit(self, repository: Path, text: str) -> None:
        (repository / "file").write_text(text)
        assert self.git("add", "file", cwd=repository).status == 0
        assert self.git("commit", "-qm", text, cwd=repository).status == 0
