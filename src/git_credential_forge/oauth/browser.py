"""Find and start what opens a browser. It is started, not waited for, and not listened to."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time

from git_credential_forge import git, say, surroundings

POWERSHELL = "/mnt/c/Windows/System32/WindowsPowerShell/v1.0/powershell.exe"  # where Windows' own PATH is left out
# Of RFC 3986's characters those in which no shell, and no PowerShell, that an opener is or leads to sees more than they
# are: not `$`, `&`, `;`, quotes and parentheses.
_PLAIN = re.compile(r"https?://[A-Za-z0-9._~:/?=%@+,\[\]-]+")
SETTLED = 2.0  # seconds: an opener that has not failed by then has done its work, or never will


def commands() -> list[list[str]]:
    """The openers of this machine, best first, as argument lists with a place for the address. $BROWSER is a list
    divided by colons, whose entries may say where the address goes; no shell reads them."""
    found = []
    for entry in os.environ.get("BROWSER", "").split(":"):
        try:
            words = shlex.split(entry)
        except ValueError:
            continue
        if words:
            found.append(words if any("%s" in word for word in words) else [*words, "%s"])
    return [*found, *_of_the_machine()]


def _of_the_machine() -> list[list[str]]:
    if sys.platform == "darwin":
        return [["open", "%s"]]
    found = [[editor, "--openExternal", "%s"] for editor in ("code", "code-insiders") if surroundings.remote_editor()]
    found.append(["wslview", "%s"])
    if surroundings.wsl():  # never cmd.exe, which takes `&` for its own, nor explorer.exe, which reports no failure
        powershell = git.find("powershell.exe") or POWERSHELL
        found.append([powershell, "-NoProfile", "-NonInteractive", "-Command", "Start-Process '%s'"])
    return [*found, ["xdg-open", "%s"]]


class Opener:
    """Starts one opener after the other until one has not failed. `tend` is called now and then."""

    def __init__(self) -> None:
        self._left = [words for words in commands() if _resolve(words[0])]
        self._running: subprocess.Popen[bytes] | None = None
        self._since = 0.0
        self.exhausted = not self._left
        self.settled = False

    def next(self, url: str) -> None:
        """Start the next opener with this address. One that a shell could take for more than an address is opened by
        none: it may be a server's, and is shown to the person as well."""
        if not _PLAIN.fullmatch(url):
            say.trace("browser: not a plain address")
            self._left = []
        while self._left:
            words = self._left.pop(0)
            program = _resolve(words[0])
            if program and self._start([program, *(word.replace("%s", url) for word in words[1:])]):
                say.trace(f"browser: {words[0]}")
                return
        self.exhausted = True

    def _start(self, arguments: list[str]) -> bool:
        try:
            self._running = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=git.environment(),
                start_new_session=True,  # not killed with git, and no hold on its terminal
            )
        except OSError:
            return False
        self._since = time.monotonic()
        return True

    def failed(self) -> bool:
        """Whether the running opener has ended badly. Sets `settled` once it no longer can."""
        if self._running is None or self.settled:
            return False
        status = self._running.poll()
        if status is None:
            self.settled = time.monotonic() - self._since > SETTLED
            return False
        self.settled = status == 0
        return status != 0


def _resolve(program: str) -> str | None:
    if "/" in program:
        return program if program.startswith("/") and os.access(program, os.X_OK) else None
    return git.find(program)
