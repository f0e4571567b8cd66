"""`Browser` without Chromium, for tests where the browser is not the point: same opener, tabs, modes."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.gentle import go, new_client
from tests.support.tabs import Mode, Tab, write_opener

if TYPE_CHECKING:
    from typing_extensions import Self


class GentleBrowser:
    """Context manager. One cookie jar, signed out at first; a thread for each tab."""

    def __init__(self, user: str, password: str, mode: Mode = "consent") -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="browser-")
        self.opener, pipe = write_opener(Path(self._directory.name))
        self._user = user
        self._password = password
        self._client = new_client()
        self._grants = mode != "deny"
        self._may_press = threading.Event()
        if mode != "hold":
            self._may_press.set()
        self._tabs: list[Tab] = []
        self._moved = threading.Condition()
        self._pipe = os.fdopen(os.open(pipe, os.O_RDWR), "r+b", buffering=0)
        self._walkers: list[threading.Thread] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._pipe.write(b"\n")  # an empty line ends the reader
        self._reader.join()
        self.release(grant=False)
        for walker in self._walkers:
            walker.join()
        self._pipe.close()
        self._client.close()
        self._directory.cleanup()

    def tabs(self) -> list[Tab]:
        """Those that the opener asked for, in that order, as they are now."""
        with self._moved:
            return list(self._tabs)

    def wait_for_tabs(self, number: int, timeout: float = 30) -> list[Tab]:
        """All tabs, once at least `number` have come to rest."""
        with self._moved:
            if not self._moved.wait_for(lambda: self._at_rest() >= number, timeout):
                raise TimeoutError(f"waited {timeout} s for {number} tabs, there are {self._tabs}")
            return list(self._tabs)

    def release(self, *, grant: bool = True) -> None:
        """In mode "hold": now presses the button in every tab that waits, and in all to come."""
        if not self._may_press.is_set():
            self._grants = grant
            self._may_press.set()

    def visit(self, url: str) -> str:
        """Opens it as if the person had typed it; the address on which that ended, answered or not."""
        return go(self._client, url, self._user, self._password, lambda: self._grants).address

    def consents(self) -> bool:
        """Whether the person grants what the page asks for; a test may put another answer in its place."""
        return self._grants

    def _at_rest(self) -> int:
        return sum(tab.state != "loading" for tab in self._tabs)

    def _read(self) -> None:
        while url := self._pipe.readline().decode().strip():
            with self._moved:
                self._tabs.append(Tab(url, "loading", url))
                number = len(self._tabs) - 1
            walker = threading.Thread(target=self._walk, args=[number, url], daemon=True)
            self._walkers.append(walker)
            walker.start()

    def _walk(self, number: int, url: str) -> None:
        def consent() -> bool:
            if not self._may_press.is_set():
                self._set(number, Tab(url, "held", url))
                self._may_press.wait()
                self._set(number, Tab(url, "loading", url))
            return self.consents()

        ending = go(self._client, url, self._user, self._password, consent)
        self._set(number, Tab(url, "done", ending.address, ending.title, ending.text, ending.failure))

    def _set(self, number: int, tab: Tab) -> None:
        with self._moved:
            self._tabs[number] = tab
            self._moved.notify_all()
