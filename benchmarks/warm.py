"""What git pays per network operation while a token is in memory: one `fill` and one `approve`."""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

import clock
import homes
from clock import Spread
from gits import Git
from homes import Home, Installed
from peers import Peer

CONFIGURED, ABSOLUTE, NAME, CACHE = "as configured", "by absolute path", "by name", "cache alone"


class Row(NamedTuple):
    set_up: str
    state: bool
    time: Spread


def set_ups(at: Path, git: Git, installed: Installed, peers: list[Peer]) -> dict[str, Home]:
    """A home for each way of setting a helper up."""
    made = {
        CONFIGURED: homes.ours(at / "configured", git, installed),
        ABSOLUTE: homes.ours(at / "absolute", git, installed, installed.launcher),
        NAME: homes.ours(at / "name", git, installed, "forge"),
        CACHE: homes.theirs(at / "cache", git, installed, None),
    }
    for peer in peers:
        made[peer.key] = homes.theirs(at / peer.key, git, installed, peer)
    return made


def ask(git: Git, *, state: bool) -> str:
    """A request as git's own commands send it after a 401; with the capabilities that they announce from 2.46."""
    capabilities = "capability[]=authtype\ncapability[]=state\n" if state else ""
    challenge = 'wwwauth[]=Basic realm="Gitea"\n' if git.challenges else ""
    return f"{capabilities}protocol=https\nhost={homes.HOST}\n{challenge}\n"


def measure(at: Path, git: Git, installed: Installed, peers: list[Peer], rounds: int) -> list[Row]:
    """All set-ups, interleaved: each round runs each of them once, in an order of its own."""
    made = set_ups(at, git, installed, peers)
    given = at / "request"
    cases = [(name, state) for name in made for state in ((False, True) if git.states else (False,))]
    times: dict[tuple[str, bool], list[float]] = {case: [] for case in cases}
    for number in range(rounds + 3):
        random.shuffle(cases)
        for name, state in cases:
            given.write_text(ask(git, state=state))
            taken = once(made[name], given, at / "answer")
            check(at / "answer", stated=state and name in (CONFIGURED, ABSOLUTE, NAME))
            if number >= 3:
                times[name, state].append(taken)
    for home in made.values():
        homes.close(home)
    return [Row(name, state, clock.spread(taken)) for (name, state), taken in times.items()]


def once(home: Home, given: Path, answer: Path) -> float:
    """Seconds for `fill`, and for `approve` of what it said."""
    filled = clock.run([home.git.program, "credential", "fill"], home.environment, given, answer)
    approved = clock.run(
        [home.git.program, "credential", "approve"], home.environment, answer, answer.with_name("nothing")
    )
    return filled + approved


def check(answer: Path, *, stated: bool) -> None:
    said = answer.read_text()
    if f"password={homes.TOKEN}\n" not in said or stated != ("state[]=forge:" in said):
        raise AssertionError(f"not the answer that is to be timed: {said[:200]}")
