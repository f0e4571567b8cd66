"""What a hit costs with many sign-ins in memory. Each is two entries in the daemon, answer and session, and one
small file; the one that is asked for was the last to come, so that the daemon looks at all before it."""

from __future__ import annotations

import random
from pathlib import Path

import clock
import homes
import warm
from clock import Spread
from gits import Git
from homes import Installed

COUNTS = (1, 100, 5000)


def measure(at: Path, git: Git, installed: Installed, rounds: int) -> dict[int, Spread]:
    made = {}
    for count in COUNTS:
        hosts = (*(f"forge-{number}.example" for number in range(count - 1)), homes.HOST)
        made[count] = homes.ours(at / str(count), git, installed, hosts=hosts)
    given = at / "request"
    given.write_text(warm.ask(git, state=git.states))
    times: dict[int, list[float]] = {count: [] for count in COUNTS}
    for number in range(rounds + 3):
        for count in random.sample(COUNTS, len(COUNTS)):
            taken = warm.once(made[count], given, at / "answer")
            warm.check(at / "answer", stated=git.states)
            if number >= 3:
                times[count].append(taken)
    for home in made.values():
        homes.close(home)
    return {count: clock.spread(taken) for count, taken in times.items()}
