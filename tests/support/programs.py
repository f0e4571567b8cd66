"""Which programs a command starts: each `execve` that succeeded, in order, as strace sees it."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from pathlib import Path

EXECVE = re.compile(r'^([0-9.]+) execve\("((?:[^"\\]|\\.)*)", \[(.*?)\], .* = 0$', re.MULTILINE)
WORD = re.compile(r'"((?:[^"\\]|\\.)*)"')


class Traced(NamedTuple):
    """What a command did. `log`: arguments and environment of all programs, also of those that were not found."""

    status: int
    out: bytes
    err: bytes
    programs: list[str]  # base name and arguments of each; an absolute path among them by its base name
    log: str

    @property
    def names(self) -> list[str]:
        return [program.partition(" ")[0] for program in self.programs]


def traced(command: list[str], given: bytes, environment: dict[str, str], directory: Path) -> Traced:
    """Run a command under strace. A log for each process: in a common one, lines of two are torn apart."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("not here: strace")
    logs = directory / "strace"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir()
    options = ["-ff", "-qq", "-v", "-ttt", "-s", "400000", "-e", "trace=execve", "-o", str(logs / "log")]
    done = subprocess.run(
        [strace, *options, *command], input=given, env=environment, capture_output=True, check=False, timeout=100
    )
    log = "\n".join(path.read_text(errors="replace") for path in logs.iterdir())
    found = sorted((float(match[1]), _short(match[2], match[3])) for match in EXECVE.finditer(log))
    return Traced(done.returncode, done.stdout, done.stderr, [program for _, program in found], log)


def _short(program: str, arguments: str) -> str:
    words = [program, *WORD.findall(arguments)[1:]]
    return " ".join(word.rpartition("/")[2] if word.startswith("/") else word for word in words)
