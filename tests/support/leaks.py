"""Looks for secrets where none may be: output, files, arguments and environments of processes."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from urllib.parse import quote

INTERVAL = 0.01  # seconds between looks at /proc; `strace` sees what falls between two


class Leaks:
    """Context manager. Collects what a person and other processes could see; `found` says which secrets were in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._seen: dict[str, bytes] = {}
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Leaks:  # noqa: PYI034 # Self is newer than Python 3.10
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._watcher.join()

    def saw(self, where: str, what: str | bytes) -> None:
        data = what.encode("utf-8", "surrogateescape") if isinstance(what, str) else what
        self._seen[where] = self._seen.get(where, b"") + data + b"\n"

    def found(self, secrets: dict[str, list[str]]) -> list[str]:
        """Where each secret was seen, by its name, as it is or as it stands in a URL."""
        for path in self.home.rglob("*"):
            if path.is_file() and not path.is_symlink():
                self.saw(f"file {path.relative_to(self.home)}", path.read_bytes())
        return [
            f"{name} in {where}"
            for where, data in self._seen.items()
            for name, values in secrets.items()
            for value in values
            if value and any(form.encode() in data for form in (value, quote(value, safe="")))
        ]

    def _watch(self) -> None:
        while not self._stop.wait(INTERVAL):
            for entry in Path("/proc").glob("[0-9]*"):
                try:
                    environment = (entry / "environ").read_bytes()
                    if b"HOME=" + os.fsencode(self.home) + b"\0" in environment:
                        self.saw("an environment", environment)
                        self.saw("an argument", (entry / "cmdline").read_bytes())
                except OSError:
                    continue  # gone
