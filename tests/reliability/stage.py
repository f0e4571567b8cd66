"""A home, a forge and gits in it, of which one is stopped at a named event and killed there.

Nothing in the product helps with that. The helper is installed once more, as a copy of the launcher beside a
`git-credential-forge--main` that puts its own `say.trace` in place of the product's: at the event that $STOP_AT names
it stops itself, with SIGSTOP, and tells a pipe. So whoever is to be killed is killed at that very point: the helper,
or, while it stands still, git or the daemon; and whoever is not goes on with SIGCONT.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.reliability.points import Cost
from tests.support.forge import Event, Forge
from tests.support.gentle_browser import GentleBrowser
from tests.support.httpserver import Answer, Request
from tests.support.person import PATIENCE, Done, Person

if TYPE_CHECKING:
    from typing_extensions import Self

LOOK = 0.01  # seconds between looks at what the kernel tells nobody
LEAVING = 10.0  # seconds for what ends by itself: a helper whose git is gone, a process that is being cleared away

MAIN = """\
#!{python}
import os, signal
from git_credential_forge import say, start

plain, left = say.trace, [event for event in os.environ.pop("STOP_AT", "").split(" > ") if event]

def trace(event):
    plain(event)
    if left and event.startswith(left[0]):
        left.pop(0)
        if not left:
            with open(os.environ["STOP_TELLS"], "w") as pipe:
                pipe.write(f"{{os.getpid()}}\\n")
            os.kill(os.getpid(), signal.SIGSTOP)

say.trace = trace
start.main()
"""


class StageError(AssertionError):
    """What was to be killed never came to the point."""


def install(directory: Path, installed: Path) -> Path:
    """The installed helper once more, as one that can be stopped."""
    shutil.copy(installed / "git-credential-forge", directory)
    main = directory / "git-credential-forge--main"
    main.write_text(MAIN.format(python=python_of(installed)))
    main.chmod(0o755)
    return directory


def python_of(installed: Path) -> str:
    """The interpreter that the installed helper runs in; pip writes it into the second line where its path is long."""
    first = (installed / "git-credential-forge--main").read_text().splitlines()[:2]
    found = re.search(r"/[^'\"\n]*python[0-9.]*", "\n".join(first[1:] if first[0] == "#!/bin/sh" else first))
    assert found, first
    return found[0]


class HeldForge(Forge):
    """A forge whose answers from the token endpoint can be held back: it has committed, and nobody knows."""

    def __init__(self) -> None:
        self._let_go = threading.Event()
        self._let_go.set()
        self._committed = threading.Semaphore(0)
        super().__init__()

    @contextlib.contextmanager
    def holding(self) -> Iterator[Callable[[], None]]:
        """Yields what waits for a token to be given out. Answers go on at the end."""

        def wait() -> None:
            if not self._committed.acquire(timeout=PATIENCE):
                raise StageError("nobody asked for a token")

        self._committed = threading.Semaphore(0)
        self._let_go.clear()
        try:
            yield wait
        finally:
            self._let_go.set()

    def _answer(self, request: Request) -> Answer:
        answer = super()._answer(request)
        if request.target.endswith("/access_token") and b"code=probe" not in request.body:
            self._committed.release()
            self._let_go.wait(PATIENCE)
        return answer


class Process(NamedTuple):
    pid: int
    session: int
    words: list[str]

    @property
    def name(self) -> str:
        return os.path.basename(self.words[0])

    @property
    def is_helper(self) -> bool:
        return any(word.endswith("git-credential-forge--main") for word in self.words)

    @property
    def is_daemon(self) -> bool:
        return "credential-cache--daemon" in " ".join(self.words)


class Command:
    """A git that runs, in a session of its own. With `stop_at` its helper stops at that event."""

    def __init__(self, stage: Stage, stop_at: str, *arguments: str) -> None:
        self._stage = stage
        self._said = [stage.aside / f"{name}-{len(stage.commands)}" for name in ("out", "err")]
        pipe = stage.aside / f"stopped-{len(stage.commands)}"
        os.mkfifo(pipe)
        self._pipe = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
        with self._said[0].open("w") as out, self._said[1].open("w") as err:
            self.process = subprocess.Popen(
                ["git", *arguments],
                env=stage.person.environment | {"STOP_AT": stop_at, "STOP_TELLS": str(pipe)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=stage.home,
                start_new_session=True,
            )
        stage.commands.append(self)

    def has_stopped(self) -> bool:
        return bool(select.select([self._pipe], [], [], 0)[0])

    def stopped(self) -> int:
        """The helper that stands still now."""
        deadline = time.monotonic() + PATIENCE
        while not select.select([self._pipe], [], [], LOOK)[0]:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise StageError(f"git came to its end without the event: {self.end()}")
        pid = int(os.read(self._pipe, 64))
        _until(lambda: _state(pid) == "T", "the helper to stop")
        return pid

    def helper(self, *, holding: str = "") -> int:
        """The helper that runs; with `holding`, one that has a lock file of such a name open."""
        found: list[int] = []

        def there() -> bool:
            found[:] = [each.pid for each in self.processes() if each.is_helper and _has_open(each.pid, holding)]
            return bool(found)

        _until(there, f"a helper with a lock {holding!r}")
        return found[0]

    def processes(self) -> list[Process]:
        return [each for each in self._stage.processes() if each.session == self.process.pid]

    def kill(self, victim: str) -> None:
        """The helper; or git, with what speaks HTTP for it; or all of this command."""
        if victim == "git and helper":
            os.killpg(self.process.pid, signal.SIGKILL)
            return
        for each in self.processes():
            if each.is_helper if victim == "helper" else each.name in ("git", "git-remote-https"):
                os.kill(each.pid, signal.SIGKILL)

    def go_on(self) -> None:
        for each in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(each.pid, signal.SIGCONT)

    def end(self) -> Done:
        status = self.process.wait(PATIENCE)
        _until(lambda: not self.processes(), "the end of a command")
        return Done(status, *(path.read_text() for path in self._said))

    def close(self) -> None:
        for each in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(each.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self._pipe)


class Stage:
    """Context manager. A person whose browser says yes, or looks at the page for ever."""

    def __init__(self, home: Path, programs: Path, forge: HeldForge, newer_git: str = "") -> None:
        self.home = home
        self.forge = forge
        self.commands: list[Command] = []
        self.person = Person(home, programs, forge)
        if newer_git:
            self.person.environment["GIT_EXEC_PATH"] = str(Path(newer_git, "core"))
            self.person.environment["PATH"] = f"{Path(newer_git, 'bin')}{os.pathsep}{self.person.environment['PATH']}"
        self._aside = tempfile.TemporaryDirectory(prefix="stage-")
        self.aside = Path(self._aside.name)
        self._browsers = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self.use(self.browser())
        assert self.person.git("credential-forge", "configure").status == 0
        return self

    def __exit__(self, *_: object) -> None:
        for command in self.commands:
            command.close()
        for each in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(each.pid, signal.SIGKILL)
        self._browsers.close()
        self._aside.cleanup()

    def browser(self, *, looks: bool = False) -> GentleBrowser:
        browser = GentleBrowser("alice", "alice's password", "hold" if looks else "consent")
        return self._browsers.enter_context(browser)

    def use(self, browser: GentleBrowser) -> None:
        self.person.environment["BROWSER"] = str(browser.opener)

    # -- what happens ---------------------------------------------------------------------------------------

    def sign_in(self) -> None:
        done = self.person.git("credential-forge", "login", self.forge.url)
        assert done.status == 0, done

    def fetch(self) -> tuple[Done, Cost]:
        """A command, and what it cost."""
        before = len(self.forge.log())
        done = self.person.git("ls-remote", "-q", self.forge.repo_url(), "HEAD")
        return done, cost(self.forge.log()[before:])

    def start(self, stop_at: str = "") -> Command:
        return Command(self, stop_at, "ls-remote", "-q", self.forge.repo_url(), "HEAD")

    def first_stopped(self, commands: list[Command]) -> Command:
        _until(lambda: any(each.has_stopped() for each in commands), "one of several to stop")
        return next(each for each in commands if each.has_stopped())

    def kill_daemon(self) -> None:
        for each in self.processes():
            if each.is_daemon:
                os.kill(each.pid, signal.SIGKILL)
        _until(lambda: not any(each.is_daemon for each in self.processes()), "the daemon's end")

    def remove_socket(self) -> None:
        (self.home / ".cache/git-credential-forge/socket").unlink()

    # -- what is left ---------------------------------------------------------------------------------------

    def processes(self) -> list[Process]:
        wanted, found = b"HOME=" + os.fsencode(self.home) + b"\0", []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, IndexError):  # gone
                if wanted in (entry / "environ").read_bytes():
                    words = (entry / "cmdline").read_bytes().decode().split("\0")
                    session = int(_stat(int(entry.name))[3])
                    found.append(Process(int(entry.name), session, words))
        return found

    def left_behind(self) -> list[str]:
        """What no kill may leave, once the kernel has cleared up: a lock that is held, a process (and so a listener),
        names that cannot be read."""
        deadline = time.monotonic() + LEAVING
        while (wrong := self._left_now()) and time.monotonic() < deadline:
            time.sleep(LOOK)
        return wrong

    def _left_now(self) -> list[str]:
        wrong = [f"process {' '.join(each.words)}" for each in self.processes() if not each.is_daemon]
        directory = self.home / ".cache/git-credential-forge"
        for path in sorted(directory.glob("lock-*")):
            with path.open() as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    wrong.append(f"{path.name} is held")
        for path in directory.glob("account-*"):
            first, *rows = path.read_text().splitlines()
            if not rows or not all(re.fullmatch(r"\d+\t\d+\t\talice", row) for row in rows) or first != "alice":
                wrong.append(f"{path.name}: {path.read_text()}")
        return wrong


def cost(events: list[Event]) -> Cost:
    """Tabs: sign-ins that were begun at the authorize page; each has a state of its own."""
    tabs = {event.parameters["state"] for event in events if event.what == "authorize" and "state" in event.parameters}
    exchanges = [event for event in events if event.what == "exchange" and event.parameters.get("code") != "probe"]
    return Cost(len(tabs), len(exchanges), sum(event.what == "refresh" for event in events))


def _until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > deadline:
            raise StageError(f"waited {PATIENCE} s for {what}")
        time.sleep(LOOK)


def _stat(pid: int) -> list[str]:
    """State, parent, group, session and so on (proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _state(pid: int) -> str:
    try:
        return _stat(pid)[0]
    except OSError:
        return ""


def _has_open(pid: int, name: str) -> bool:
    if not name:
        return True
    with contextlib.suppress(OSError):
        return any(f"/lock-{name}" in os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir())
    return False
