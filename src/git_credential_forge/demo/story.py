"""What the demo tells. Each step is done by real git with the installed helper; what the forge has counted decides."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

from git_credential_forge import say
from git_credential_forge.demo.forge import CLIENT, GIT, LONG, Forge
from git_credential_forge.errors import ForgeError

MANY = 8
SHORT = 2  # seconds: the life of the token that has to end


class Story:
    """In `root`, which has an empty directory `work`, and the environment of a person whose helper is not set up."""

    def __init__(self, root: str, environment: dict[str, str]) -> None:
        self.environment, self.work, self.repository = environment, f"{root}/work", f"{root}/forge/alice/demo.git"
        self.starter = ThreadPoolExecutor(1)  # in a thread no interrupt comes between a start and what is known of it
        self.children: list[Future[subprocess.Popen[str]]] = []
        self.said: list[str] = []  # by git and the helper in this step
        self.forge = Forge(f"{root}/forge", environment)

    def close(self) -> None:
        """End the gits that still run, with the helpers that they have started; the forge; what is in memory."""
        for child in [started.result() for started in self.children]:
            if child.poll() is None:
                with contextlib.suppress(OSError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        self.forge.shutdown()
        self.forge.server_close()
        socket = os.path.join(self.environment["HOME"], ".cache/git-credential-forge/socket")
        self.wait(self.start("credential-cache", "--socket", socket, "exit"))

    def tell(self) -> None:
        """Raises ForgeError at the first step that is not as it should be."""
        say.result("   time   tabs  exchanges  refreshes   as the forge has counted them")
        with self.step("git credential-forge configure"):
            self.git("init", "-q", "--bare", "--initial-branch=main", self.repository)
            self.git("credential-forge", "configure")
        with self.step("git clone: signed in through the browser", tabs=1, exchanges=1):
            self.git("clone", "-q", f"{self.forge.url}/alice/demo.git", ".")
        for title in ("git commit, git push: from memory", "a second push: from memory"):
            with self.step(title):
                self.push()
        self.forge.access.clear()
        self.forge.lifetime = SHORT  # of the token that comes next
        with self.step("a push with a token that is refused", refreshes=1) as notes:
            notes.append(self.push(refused=True))
        self.forge.lifetime = LONG
        time.sleep(SHORT)
        with self.step(f"{SHORT} s later, a push after the token has ended: refreshed in silence", refreshes=1):
            self.push()
        with self.step(f"logout, then {MANY} fetches at once: one signs in for all", tabs=1, exchanges=1):
            self.fetch_at_once()
        with self.step("a wrong code") as notes:
            notes.append(self.refusal("client is not authorized", grant_type="authorization_code", code="wrong"))
        with self.step("a refresh token used again", refreshes=1) as notes:
            used = {"grant_type": "refresh_token", "refresh_token": self.forge.refresh[0]}
            notes.append(self.refusal("token was already used", **used))

    @contextlib.contextmanager
    def step(self, title: str, **expected: int) -> Iterator[list[str]]:
        """The forge has to count what is expected, no more and no less. Yields the line, to be added to."""
        begun, before, notes, wrong = time.monotonic(), self.forge.seen.copy(), [title], ""
        self.said.clear()
        try:
            yield notes
        except ForgeError as error:
            wrong = f"{error.message}; "
        counted = dict(self.forge.seen - before)
        if wrong or counted != expected:
            say.result(f" FAILED   {title}: {wrong}the forge has counted {counted}, and {expected} is right")
            for line in dict.fromkeys(self.said):
                say.result(f"          {line}")
            hint = "every event is shown by: GIT_TRACE_FORGE=1 git credential-forge demo"
            raise ForgeError(f"the demo has ended at: {title}", hint)
        figures = "  ".join(f"{counted.get(name, 0):>{len(name)}}" for name in ("tabs", "exchanges", "refreshes"))
        say.result(f"{time.monotonic() - begun:5.2f} s   {figures}   {': '.join(notes)}")
        for line in dict.fromkeys(line for line in self.said if line.startswith("forge: ")):
            say.result(f"{'':11}{line}")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """git, in a session of its own: without a terminal to ask on, and to be ended with all that it has started."""
        command, pipes = [GIT, "-C", self.work, *arguments], (subprocess.DEVNULL, subprocess.PIPE, subprocess.STDOUT)
        more: Any = {"env": self.environment, "text": True, "start_new_session": True}
        self.children.append(self.starter.submit(lambda: subprocess.Popen(command, -1, None, *pipes, **more)))
        return self.children[-1].result()

    def wait(self, child: subprocess.Popen[str]) -> bool:
        """Whether it has worked; what it said is kept."""
        self.said += child.communicate()[0].splitlines()
        return child.returncode == 0

    def git(self, *arguments: str) -> str:
        """The last line that git said. Raises ForgeError where it has failed."""
        if not self.wait(self.start(*arguments)):
            raise ForgeError(f"git {arguments[0]} has failed")
        return self.said[-1] if self.said else ""

    def push(self, *, refused: bool = False) -> str:
        """Commit and push, without a word of the helper's; and which way a refused token was replaced."""
        push, way = ("push", "-q", "origin", "HEAD:main"), "replaced within the command"
        self.git("commit", "-q", "--allow-empty", "-m", "a step")
        if not (refused and self.wait(self.start(*push))):
            way = "that command failed, the next one had a new token"
            self.git(*push)
        if any(line.startswith("forge: ") for line in self.said):
            raise ForgeError("the helper had to say something")
        if self.git("rev-parse", "HEAD") != self.git("--git-dir", self.repository, "rev-parse", "HEAD"):
            raise ForgeError("the commit has not arrived")
        return way

    def fetch_at_once(self) -> None:
        self.git("credential-forge", "logout", self.forge.url)
        fetch = ("fetch", "-q", "--no-write-fetch-head", "origin")
        started = [self.start(*fetch, f"main:refs/at-once/{number}") for number in range(MANY)]
        worked = [self.wait(child) for child in started]
        self.git("for-each-ref", "--format=%(objectname)", "refs/at-once")
        if not all(worked) or self.said[-MANY:] != [self.git("rev-parse", "HEAD")] * MANY:
            raise ForgeError(f"{worked.count(False)} fetches have failed")

    def refusal(self, expected: str, **form: str) -> str:
        """Send to the token endpoint what has to be refused in these words."""
        connection = http.client.HTTPConnection("127.0.0.1", self.forge.server_address[1], timeout=10)
        connection.request("POST", "/login/oauth/access_token", urlencode({"client_id": CLIENT, **form}))
        if json.load(connection.getresponse()).get("error_description") != expected:
            raise ForgeError("the forge has not refused it")
        return f"refused, {expected}"
