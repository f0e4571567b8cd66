"""A helper process of the tests, spoken to in lines of JSON over its stdin and stdout.

It gets its configuration as the first line and answers it when it is ready. It ends when its stdin closes,
so that none outlives the tests, however those end.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tests.support.surroundings import ROOT, clean_environment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class ChildError(RuntimeError):
    """The helper process refused a call, or is gone; the text holds what it wrote to stderr."""


class Child:
    """Runs `argv` in `directory`; `ready` is what it answered to its configuration."""

    def __init__(
        self, argv: Sequence[str], configuration: dict[str, Any], directory: Path, deadline: float = 60
    ) -> None:
        self._log = directory / "stderr"
        with self._log.open("ab") as stderr:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=ROOT,
                env=clean_environment(directory / "home"),
                start_new_session=True,
            )
        self._numbers = itertools.count()
        self._waiting: dict[int, Future[Any]] = {}
        self._lock = threading.Lock()
        self._gone = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.ready: Any = self.call("start", deadline=deadline, **configuration)
        except BaseException:
            self.close()
            raise

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def call(self, name: str, /, *, deadline: float = 60, **arguments: Any) -> Any:
        """What the process answers, within `deadline` seconds."""
        number, answer = next(self._numbers), Future[Any]()
        line = json.dumps({"number": number, "name": name, "arguments": arguments}) + "\n"
        assert self._process.stdin is not None
        with self._lock:
            if self._gone:
                raise ChildError(self._epitaph())
            self._waiting[number] = answer
            try:
                self._process.stdin.write(line.encode())
                self._process.stdin.flush()
            except OSError as error:
                raise ChildError(self._epitaph()) from error
        return answer.result(deadline)

    def close(self) -> None:
        """Ends the process and what it started."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock, suppress(OSError):
            self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            waiting = self._waiting.pop(answer["number"])
            if "error" in answer:
                waiting.set_exception(ChildError(answer["error"]))
            else:
                waiting.set_result(answer["result"])
        with self._lock:
            self._gone = True
        for waiting in self._waiting.values():
            waiting.set_exception(ChildError(self._epitaph()))

    def _epitaph(self) -> str:
        return f"{self._process.args!r} is gone; its last words:\n{self._log.read_text()[-3000:]}"
