"""Where the time goes: processes and system calls of each set-up, and Python's imports on the way to a browser."""

from __future__ import annotations

import collections
import re
import subprocess
from pathlib import Path

import homes
import miss
import warm
from debian import MissingError
from gits import Git
from homes import Home, Installed
from peers import Peer

_LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \|( *)(\S+)")
_CALL = re.compile(r"\d+\s+(\w+)\(")


def calls(at: Path, git: Git, installed: Installed, peers: list[Peer]) -> list[tuple[str, ...]]:
    """For each set-up: programs started, forks, system calls of `fill` and `approve`, and those made most often."""
    given = at / "request"
    given.write_text(warm.ask(git, state=git.states))
    rows: list[tuple[str, ...]] = []
    for name, home in warm.set_ups(at, git, installed, peers).items():
        warm.once(home, given, at / "answer")
        counted: collections.Counter[str] = collections.Counter()
        for operation, stdin in (("fill", given), ("approve", at / "answer")):
            counted += _strace(["credential", operation], home, stdin, at / "trace")
        forks = sum(counted[call] for call in ("fork", "vfork", "clone", "clone3"))
        most = ", ".join(f"{call} {count}" for call, count in counted.most_common(5))
        rows.append((name, str(counted["execve"]), str(forks), str(counted.total()), most))
        homes.close(home)
    return rows


def _strace(arguments: list[str], home: Home, stdin: Path, trace: Path) -> collections.Counter[str]:
    command = ["strace", "-f", "-qq", "-o", str(trace), home.git.program, *arguments]
    try:
        with stdin.open() as given:
            subprocess.run(command, stdin=given, env=home.environment, stdout=subprocess.DEVNULL, check=True)
    except FileNotFoundError:
        raise MissingError("strace is not here") from None
    lines = [line for line in trace.read_text(errors="replace").splitlines() if "= -1 ENOENT" not in line]
    found = collections.Counter(match[1] for line in lines if (match := _CALL.match(line)))
    found["execve"] = sum("execve(" in line or "<... execve" in line for line in lines if line.endswith("= 0"))
    return found


def imports(at: Path, git: Git, installed: Installed) -> list[tuple[float, float, str]]:
    """(ms alone, ms with what it imports, name) of each module that is imported before the browser is started; the
    least of five runs, those that cost most first."""
    bell = miss.Bell(at)
    home = bell.home(at / "imports", git, installed)
    said = at / "import-times"
    least: dict[str, tuple[float, float, str]] = {}
    for _ in range(5):
        said.unlink(missing_ok=True)
        process = miss.start([installed.python, "-X", "importtime", installed.main, "get"], home, at, said)
        bell.wait()
        miss.end(process)
        for line in said.read_text(errors="replace").splitlines():
            match = _LINE.match(line)
            if match:
                found = (int(match[1]) / 1e3, int(match[2]) / 1e3, match[4])
                least[match[4]] = min(found, least.get(match[4], found))
    return sorted(least.values(), reverse=True)
