"""A real browser, headless Chromium, with a person in front of it who signs in and consents, or does not.

One `Browser` is one profile, signed out at first. The browser lives in a process of its own
(`browser_driver.py`); what it is told to open arrives through the script `opener`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.child import Child
from tests.support.tabs import Mode, Tab, write_opener

if TYPE_CHECKING:
    from typing_extensions import Self

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"


class Browser:
    """Context manager. `opener` goes into $BROWSER; its directory, onto the PATH, offers it as xdg-open."""

    def __init__(self, user: str, password: str, mode: Mode = "consent") -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True)
        directory = Path(self._directory.name)
        self.opener, pipe = write_opener(directory)
        try:
            self._driver = Child(
                [sys.executable, str(Path(__file__).with_name("browser_driver.py"))],
                {
                    "chromium": CHROMIUM,
                    "profile": str(directory / "profile"),
                    "pipe": str(pipe),
                    "user": user,
                    "password": password,
                    "mode": mode,
                },
                directory,
            )
        except BaseException:
            self._directory.cleanup()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._driver.close()
        self._directory.cleanup()

    def tabs(self) -> list[Tab]:
        """Those that the opener asked for, in that order, as they are now."""
        return [_tab(tab) for tab in self._driver.call("tabs")]

    def wait_for_tabs(self, number: int, timeout: float = 30) -> list[Tab]:
        """All tabs, once at least `number` have come to rest; `ChildError` when that takes too long."""
        waited = self._driver.call("wait", number=number, timeout=timeout, deadline=timeout + 30)
        return [_tab(tab) for tab in waited]

    def release(self, *, grant: bool = True) -> None:
        """In mode "hold": now presses the button in every tab that waits, and in all to come."""
        self._driver.call("release", grant=grant)

    def visit(self, url: str) -> str:
        """Opens it as if the person had typed it; the address on which that ended, answered or not."""
        return str(self._driver.call("visit", url=url)["address"])

    def strays(self) -> list[str]:
        """Requests to anything but this machine, which all failed."""
        return [str(url) for url in self._driver.call("strays")]

    def screenshot(self, path: Path, tab: int = -1) -> None:
        self._driver.call("screenshot", path=str(path), tab=tab)


def _tab(answer: dict[str, Any]) -> Tab:
    return Tab(**{**answer, "console": tuple(answer["console"])})
