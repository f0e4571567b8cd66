"""Where many gits are let loose at once: a forge, a home, a stand-in for the person; and what /proc tells of them."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import storm_forge
from forge import bundle_with
from homes import Home

WINDOW = 2.0  # seconds over which the waiters' processor time is taken
PATIENCE = 120  # seconds
_FAIR = (os.SCHED_OTHER, os.sched_param(0))  # whatever this program has: who goes first would go through to its end
_SET_CHILD_SUBREAPER = 36  # prctl(2): what a git leaves running ends as a child of ours, and is counted

# Has the page opened, leaves a mark, and waits for the person: until nobody holds `go` any more, which says what to do.
_OPENER = "#!/bin/sh\n'{python}' -IS '{person}' \"$1\" </dev/null >/dev/null 2>&1 &\n"
_PERSON = """\
import fcntl, http.client, os, sys
from urllib.parse import parse_qs, urlsplit
def visit(url):
    at = urlsplit(url)
    to = http.client.HTTPConnection(at.hostname, at.port)
    to.request("GET", (at.path or "/") + ("?" + at.query if at.query else ""))
    return to.getresponse()
where = sys.argv[1]
if "/login/oauth/authorize?" not in where:
    where = visit(where).headers["location"]
asked = parse_qs(urlsplit(where).query)
with open({tabs!r}, "a") as tabs:
    print(os.getpid(), file=tabs)
with open({go!r}) as go:
    fcntl.flock(go, fcntl.LOCK_SH)
    said = go.read()
visit(asked["redirect_uri"][0] + "?" + said + "&state=" + asked["state"][0]).read()
"""


class Storm(NamedTuple):
    """What one was like. Times in seconds."""

    state: str
    gits: int
    tabs: int
    requests: int  # for a token, without the probes
    answers: int  # gits that ended well
    last: float  # from the start, or from the person's word where one is asked for, to the end of the last git
    cpu: float  # processor time of all gits and helpers, and of the cache daemon
    forge: float  # … and of the forge
    waiter: float | None = None  # bytes, the most that one that waits for a person ever had
    idle: float | None = None  # processor time of one that waits, as a share of one processor


class Forge:
    """The program `storm_forge.py`, and what it has counted."""

    def __init__(self, at: Path) -> None:
        key, certificate = at / "key.pem", at / "certificate.pem"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
                *("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
                *("-keyout", str(key), "-out", str(certificate)),
            ],
            check=True,
            capture_output=True,
        )
        self.authorities = at / "authorities.pem"
        self.authorities.write_text(bundle_with(certificate))
        self._log = at / "token-requests"
        self._log.touch()
        program = [sys.executable, storm_forge.__file__, str(certificate), str(key), str(self._log)]
        port = at / "port"
        with port.open("w") as told:
            self._process = subprocess.Popen(program, stdout=told)
        _until(lambda: port.read_text().endswith("\n"), lambda: "the forge does not start")
        self.host = f"localhost:{port.read_text().strip()}"

    def requests(self) -> int:
        return sum(line != "probe" for line in self._log.read_text().splitlines())

    def cpu(self) -> float:
        return _cpu(self._process.pid)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class Field:
    """A home, a forge and a stand-in for the person, where storms are let loose."""

    def __init__(self, at: Path, home: Home, forge: Forge, daemon: Path) -> None:
        self.home, self.forge, self._at = home, forge, at
        self._socket = daemon
        self._tabs, self._go = at / "tabs", at / "go"
        self._tabs.touch()
        self._holds = self._go.open("w")
        fcntl.flock(self._holds, fcntl.LOCK_EX)
        self.opener = at / "xdg-open"
        person = at / "person.py"
        person.write_text(_PERSON.format(tabs=str(self._tabs), go=str(self._go)))
        self.opener.write_text(_OPENER.format(python=sys.executable, person=person))
        self.opener.chmod(0o755)
        home.environment.update(
            BROWSER=str(self.opener),
            PATH=f"{at}:{home.environment['PATH']}",
            GIT_SSL_CAINFO=str(forge.authorities),
            SSL_CERT_FILE=str(forge.authorities),
        )
        where = f"credential.https://{forge.host}"
        for key, value in (  # what the challenge says to a newer git
            ("oauthClientId", "a4792ccc-144e-407e-86c9-5e7d8d9c3269"),
            ("oauthAuthURL", "/login/oauth/authorize"),
            ("oauthTokenURL", "/login/oauth/access_token"),
        ):
            home.run(home.git.program, "config", "--global", f"{where}.{key}", value)

    def storm(self, state: str, count: int, ready: Callable[[], bool] | None, says: str = "") -> Storm:
        """`ready`: whether all wait for the person, who then `says` a code or an error; None: nobody is asked."""
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        tabs, requests = self._opened(), self.forge.requests()
        daemon, served = self._daemon_cpu(), self.forge.cpu()
        waiter = idle = None
        begun = time.perf_counter()
        running = {self._start(number): number for number in range(count)}
        if ready:
            _until(ready, lambda: f"only {self._opened() - tabs} tabs, {len(self.waiting())} hold the lock open")
            waiting = self.waiting()
            if len(waiting) > 1:
                waiter, idle = max(map(_peak, waiting[1:])), _idle(waiting[1:])
            begun = time.perf_counter()
            self._let_go(says)
        cpu, good = 0.0, 0
        end = threading.Timer(PATIENCE, _kill, [running])
        end.start()
        while running:
            process, status, usage = os.wait4(-1, 0)
            cpu += usage.ru_utime + usage.ru_stime if str(process) not in self._tabs.read_text().split() else 0
            number = running.pop(process, None)
            if number is None:
                continue  # what a git has left behind
            good += status == 0 and storm_forge.HEAD in (self._at / f"out-{number}").read_text()
        last = time.perf_counter() - begun
        end.cancel()
        fcntl.flock(self._holds, fcntl.LOCK_EX)
        cpu += max(self._daemon_cpu() - daemon, 0)
        tabs, requests = self._opened() - tabs, self.forge.requests() - requests
        return Storm(state, count, tabs, requests, good, last, cpu, self.forge.cpu() - served, waiter, idle)

    def opened_since(self, count: int) -> Callable[[], bool]:
        """Whether that many tabs have been opened from now on."""
        before = self._opened()
        return lambda: self._opened() - before >= count

    def waiting(self) -> list[int]:
        """The processes that hold the lock of our sign-in open; the one that asks the person first."""
        lock = self._socket.parent / f"lock-sign-in-https-{self.forge.host}"
        try:
            wanted = lock.stat()
        except OSError:
            return []
        found = [process for process in _processes() if _has_open(process, wanted)]
        return sorted(found, key=lambda process: not _holds(process, wanted))

    def said(self) -> list[str]:
        """What each git of the last storm said on its standard error."""
        return [path.read_text() for path in sorted(self._at.glob("err-*"))]

    def _start(self, number: int) -> int:
        """One `git ls-remote`, in a session without a terminal."""
        files = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(self._at / f"out-{number}"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            (os.POSIX_SPAWN_OPEN, 2, str(self._at / f"err-{number}"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        ]
        git = self.home.git.program
        command = [git, "ls-remote", f"https://{self.forge.host}/alice/repo.git"]
        return os.posix_spawn(git, command, self.home.environment, file_actions=files, setsid=True, scheduler=_FAIR)

    def _opened(self) -> int:
        return len(self._tabs.read_text().splitlines())

    def _let_go(self, says: str) -> None:
        """All openers that wait; `go` is held again once each of them has read what it says."""
        self._go.write_text(says)
        fcntl.flock(self._holds, fcntl.LOCK_UN)

    def _daemon_cpu(self) -> float:
        return sum(_cpu(process) for process in _processes() if _is_daemon(process, self._socket))


def _until(done: Callable[[], bool], why: Callable[[], str]) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(why())
        time.sleep(0.05)


def _idle(processes: list[int]) -> float:
    """The mean share of a processor over WINDOW, by the scheduler's own count."""
    before = sum(map(_run_time, processes))
    threading.Event().wait(WINDOW)
    return (sum(map(_run_time, processes)) - before) / len(processes) / WINDOW


def _run_time(process: int) -> float:
    return int(Path(f"/proc/{process}/schedstat").read_text().split()[0]) / 1e9


def _peak(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def _has_open(process: int, wanted: os.stat_result) -> list[str]:
    """The descriptors by which it has this file open."""
    try:
        names = os.listdir(f"/proc/{process}/fd")
        found = [(name, os.stat(f"/proc/{process}/fd/{name}")) for name in names]
    except OSError:
        return []  # it has ended, or is somebody else's
    return [name for name, file in found if (file.st_ino, file.st_dev) == (wanted.st_ino, wanted.st_dev)]


def _holds(process: int, wanted: os.stat_result) -> bool:
    """Whether it has this file locked."""
    try:
        return any("lock:" in Path(f"/proc/{process}/fdinfo/{name}").read_text() for name in _has_open(process, wanted))
    except OSError:
        return False


def _kill(running: dict[int, int]) -> None:
    """What does not end by itself; its answer is then missing."""
    for process in list(running):
        os.killpg(process, signal.SIGKILL)


def _is_daemon(process: int, socket: Path) -> bool:
    try:
        words = Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False
    return b"credential-cache--daemon" in words and os.fsencode(socket) in words


def _cpu(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
