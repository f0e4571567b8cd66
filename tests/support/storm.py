"""Many gits at once: started, listened to as they speak, signalled, counted. And a forge that can hold them back."""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import signal
import stat
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.forge import Forge
from tests.support.person import Done, Person

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Self

    from tests.support.httpserver import Answer, Request

PATIENCE = 90.0  # seconds for a storm: sixty-four gits on two busy cores
PROGRAM = "git-credential-forge--main"
TOKEN = "/login/oauth/access_token"


class StormyForge(Forge):
    """Holds gits back until so many have come, and is out of order now and then."""

    def __init__(self) -> None:
        self._gate: threading.Barrier | None = None
        self.unavailable = 0  # so many refreshes more are answered by 503, and reach nobody
        super().__init__()

    @contextlib.contextmanager
    def gate(self, number: int) -> Iterator[None]:
        """Whoever is answered 401 is answered together with `number - 1` others: nobody is early, nobody late."""
        self._gate = threading.Barrier(number, timeout=PATIENCE)
        try:
            yield
        finally:
            self._gate.abort()
            self._gate = None

    def reset(self) -> None:
        super().reset()
        self.unavailable = 0

    def alive(self, token: str) -> bool:
        return self._owner(token) != ""

    def _answer(self, request: Request) -> Answer:
        if self.unavailable and request.target.endswith(TOKEN) and b"grant_type=refresh_token" in request.body:
            self.unavailable -= 1
            return replace(self._challenge(), status=503, headers=[])
        answer = super()._answer(request)
        gate = self._gate
        if gate and answer.status == 401 and "/info/refs" in request.target:
            gate.wait()
        return answer


def _processes() -> Iterator[tuple[int, int, str]]:
    """Of each that has not ended: its id, its session, its command line."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone, or another user's
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if fields[0] != "Z":
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                yield int(entry.name), int(fields[3]), line.decode(errors="replace").strip()


class Running:
    """One program, in a session of its own and with nothing of a terminal; what it has said so far."""

    def __init__(self, command: list[str], environment: dict[str, str], cwd: Path, given: str) -> None:
        self.process = subprocess.Popen(
            command,
            env=environment,
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.said = {"out": b"", "err": b""}
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError), self.process.stdin as stdin:
            stdin.write(given.encode())

    @property
    def err(self) -> str:
        return self.said["err"].decode()

    @property
    def done(self) -> Done:
        """What it did; it has ended and closed both its outputs."""
        return Done(self.process.wait(), self.said["out"].decode(), self.err)

    def helpers(self) -> list[int]:
        """Our processes below it."""
        return [pid for pid, line in self.below().items() if PROGRAM in line]

    def below(self) -> dict[int, str]:
        """All processes of its session, with their command lines; what is detached from it is not among them."""
        return {pid: line for pid, session, line in _processes() if session == self.process.pid}

    def interrupt(self) -> None:
        """Ctrl-C, as a terminal sends it: to git and all that it has started."""
        os.killpg(self.process.pid, signal.SIGINT)

    def kill_git(self) -> None:
        """What is git's of it, and nothing of ours."""
        ours = self.helpers()
        for pid in self.below():
            if pid not in ours:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


class Storm:
    """Context manager. Whatever is started runs at once; `until` listens to all of it."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.all: list[Running] = []
        self._listening = selectors.DefaultSelector()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self.all:
            if one.process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(one.process.pid, signal.SIGKILL)
            one.process.wait()
        for key in list(self._listening.get_map().values()):
            self._close(key)
        self._listening.close()

    def start(self, *command: str, given: str = "", number: int = 1) -> list[Running]:
        started = []
        for _ in range(number):
            one = Running(list(command), self.person.environment, self.person.home, given)
            started.append(one)
            for name, pipe in (("out", one.process.stdout), ("err", one.process.stderr)):
                assert pipe
                self._listening.register(pipe, selectors.EVENT_READ, (one, name))
        self.all += started
        return started

    def until(self, reached: Callable[[], bool], within: float = PATIENCE) -> None:
        """Listen until it is so; AssertionError, with all that was said, when it takes too long."""
        deadline = time.monotonic() + within
        while not reached():
            assert time.monotonic() < deadline, f"not so within {within} s: {[one.said for one in self.all]}"
            self.listen(0.02)

    def listen(self, seconds: float) -> None:
        """Take what has been said, and wait at most so long for it."""
        if not self._listening.get_map():
            time.sleep(seconds)  # nobody speaks any more, and what is waited for is another's doing
        for key, _ in self._listening.select(seconds):
            one, name = key.data
            data = os.read(key.fd, 65_536)
            one.said[name] += data
            if not data:
                self._close(key)

    def speaks(self, one: Running) -> bool:
        """Whether it, or what it has started, may still say something."""
        return any(key.data[0] is one for key in self._listening.get_map().values())

    def ended(self, within: float = PATIENCE) -> list[Done]:
        """All of them, once the last has ended."""
        self.until(lambda: not self._listening.get_map(), within)
        done = [one.done for one in self.all]
        for each in done:
            self.person.leaks.saw("errors of a storm", each.err)
        return done

    def helpers(self) -> list[tuple[Running, int]]:
        """Our processes, each with what it works for."""
        sessions = {one.process.pid: one for one in self.all}
        return [(sessions[at], pid) for pid, at, line in _processes() if at in sessions and PROGRAM in line]

    def saying(self, words: str) -> list[Running]:
        """Those that have said this so far."""
        return [one for one in self.all if words in one.err]

    def _close(self, key: selectors.SelectorKey) -> None:
        self._listening.unregister(key.fileobj)
        key.fileobj.close()  # type: ignore[union-attr] # they are all pipes


# Locks, as the kernel has them.


def directory(person: Person) -> Path:
    return person.home / ".cache/git-credential-forge"


def lock(person: Person, kind: str) -> Path:
    """The lock file of a kind, "sign-in" or "refresh", in a home that has one forge and one account."""
    [path] = directory(person).glob(f"lock-{kind}-*")
    return path


def held_locks(person: Person) -> list[str]:
    """The names of those that somebody holds."""
    held = []
    for path in sorted(directory(person).glob("lock-*")):
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held.append(path.name)
    return held


def openers(path: Path) -> set[int]:
    """The processes that have a file open."""
    found, wanted = set(), os.stat(path)
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            if any(os.path.samestat(each.stat(), wanted) for each in (entry / "fd").iterdir() if each.exists()):
                found.add(int(entry.name))
    return found - {os.getpid()}


# The installed program with a clock that can be set, and a way to die at a named moment.

_STAND_IN = """\
#!{python}
import os, signal, sys, time
from git_credential_forge.start import main
from git_credential_forge import say

HERE, now, told = os.path.dirname(os.path.abspath(__file__)), time.time, say.trace

def shifted():
    with open(os.path.join(HERE, "shift")) as file:
        return now() + int(file.read())

def trace(event):
    told(event)
    try:
        with open(os.path.join(HERE, "at")) as file:
            wanted, then = file.read().split("\t")
        if event.startswith(wanted):
            os.rename(os.path.join(HERE, "at"), os.path.join(HERE, f"was-{{os.getpid()}}"))  # for one alone
            if then == "die":
                told("killed")
                os.kill(os.getpid(), signal.SIGKILL)
            with open(os.path.join(HERE, "shift"), "w") as file:
                file.write(then)
    except OSError:
        pass

time.time, say.trace = shifted, trace
main()
"""


class OwnInstall:
    """A copy of the launcher, in front of the installed Python with our clock: `bin` stands for `installed`."""

    def __init__(self, directory: Path, installed: Path) -> None:
        self.bin = directory / "bin"
        self.bin.mkdir(parents=True)
        launcher = self.bin / "git-credential-forge"
        launcher.write_bytes((installed / "git-credential-forge").read_bytes())
        program = self.bin / PROGRAM
        program.write_text(_STAND_IN.format(python=installed / "python"))
        for path in (launcher, program):
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        self.shift = 0
        self._put("shift", "0")

    def jump(self, person: Person, seconds: int) -> None:
        """Set the clock of our program. The launcher's is the file system's: for it, what ends is moved instead."""
        for path in directory(person).glob("account-*"):
            with contextlib.suppress(FileNotFoundError):
                ends = path.stat().st_mtime
                os.utime(path, (ends, max(0, ends - (seconds - self.shift))))
        self.set(seconds)

    def set(self, seconds: int) -> None:
        """The same, and nothing is moved: what was noted by the wrong clock stands as it was noted."""
        self.shift = seconds
        self._put("shift", str(seconds))

    def die_at(self, event: str) -> None:
        """The next of our processes that comes to this event of its trace is killed there."""
        self._put("at", f"{event}\tdie")

    def jump_at(self, event: str, seconds: int) -> None:
        """The clock jumps when the next of our processes comes to this event."""
        self._put("at", f"{event}\t{seconds}")

    def shift_now(self) -> int:
        return int((self.bin / "shift").read_text())

    def spare(self) -> None:
        """What was to happen at an event, and has not yet, will not."""
        (self.bin / "at").unlink(missing_ok=True)

    def _put(self, name: str, text: str) -> None:
        aside = self.bin / f"{name}.new"
        aside.write_text(text)
        aside.replace(self.bin / name)
