"""Time one program, with as little around it as there can be; and how busy the machine is with others."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path
from typing import NamedTuple


class Spread(NamedTuple):
    """Of some times, in milliseconds."""

    p50: float
    p95: float

    def __truediv__(self, other: Spread) -> float:
        return self.p50 / other.p50


def spread(seconds: list[float]) -> Spread:
    return Spread(statistics.median(seconds) * 1e3, statistics.quantiles(seconds, n=20)[-1] * 1e3)


def run(command: list[str], environment: dict[str, str], given: Path, out: Path) -> float:
    """Seconds from starting a program to its end. It reads and writes files, so that nothing has to be copied here."""
    files = [
        (os.POSIX_SPAWN_OPEN, 0, str(given), os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(out), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
    ]
    begun = time.perf_counter()
    process = os.posix_spawn(command[0], command, environment, file_actions=files)
    status = os.waitpid(process, 0)[1]
    taken = time.perf_counter() - begun
    if status != 0:
        raise ChildProcessError(f"{command[0]} ended with {status}")
    return taken


class Busy:
    """How much of the machine others had since this was made. Children of ours that have ended count as ours."""

    def __init__(self) -> None:
        self._begun = _all_and_own()

    def share(self) -> float:
        """0 to 1."""
        (total, used, own), (total0, used0, own0) = _all_and_own(), self._begun
        return max(0.0, (used - used0) - (own - own0)) / max(total - total0, 1e-9)


def _all_and_own() -> tuple[float, float, float]:
    """Processor seconds since boot: all there were, all that were used, all that we used."""
    fields = Path("/proc/stat").read_text().split("\n")[0].split()[1:9]
    values = [int(field) / os.sysconf("SC_CLK_TCK") for field in fields]
    idle = values[3] + values[4]
    return sum(values), sum(values) - idle, sum(os.times()[:4])


def take_precedence() -> bool:
    """Have this process and its children go before all others, so that a busy machine disturbs no side. For root."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        return False
    return True


def wait_until_quiet(limit: float) -> None:
    """Wait until others leave most of the machine alone for three seconds, or the limit (seconds) is over."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        busy = Busy()
        time.sleep(3)
        if busy.share() < 0.1:
            return
