"""Kills whoever is at work, at every named point, counts what the next command costs, and prints the table.

    python3 -m tests.reliability.kills                             all of it, and the page goes to docs/reliability.md
    python3 -m tests.reliability.kills --out FILE                  the page goes there
    python3 -m tests.reliability.kills --only repair --only git    the cells that have these words, and no page

`points` has the points and what each may cost, `play` plays one, `stage` has the means. The helper is
$FORGE_INSTALLED/git-credential-forge, git the one in $FORGE_NEWER_GIT (made by .ci/newer-git), else the one on the
PATH; a git older than 2.46 does not know the third way to a new token. Needs what the tests need, and Linux.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from tests.reliability import points, stage
from tests.reliability.play import Outcome, play
from tests.reliability.points import Cell, Point
from tests.support.surroundings import ROOT

PAGE = ROOT / "docs" / "reliability.md"
NEWER = os.environ.get("FORGE_NEWER_GIT", "")
MARKS = {points.NO_ANSWER: "a", points.UNKEPT: "b", points.NO_MEMORY: "c"}

Outcomes = dict[Cell, Outcome]


def main() -> int:
    options = _options()
    installed = Path(os.environ.get("FORGE_INSTALLED", ""))
    if not (installed / "git-credential-forge").is_file():
        sys.stderr.write("kills: set FORGE_INSTALLED to the directory of an installed git-credential-forge\n")
        return 2
    cells = [cell for cell in points.cells() if all(word in str(cell) for word in options.only)]
    outcomes = _play_all(cells, installed, options.workers)
    wrong = [f"{cell}: {text}" for cell, outcome in outcomes.items() for text in outcome.wrong]
    page = _page(outcomes, installed)
    print(page)
    print("\n".join(wrong))
    if not options.only and not wrong:
        options.out.write_text(page)
    return 1 if wrong else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Kill at every named point, and count the next command.")
    parser.add_argument("--out", type=Path, default=PAGE, metavar="FILE")
    parser.add_argument("--only", action="append", default=[], metavar="WORDS", help="cells that have them")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="cells at once, each with its forge")
    return parser.parse_args()


# -- playing ----------------------------------------------------------------------------------------------


def _play_all(cells: list[Cell], installed: Path, workers: int) -> Outcomes:
    with tempfile.TemporaryDirectory(prefix="programs-") as made, ThreadPoolExecutor(workers) as pool:
        programs = stage.install(Path(made), installed)
        forges: SimpleQueue[stage.HeldForge] = SimpleQueue()
        all_forges = [stage.HeldForge() for _ in range(workers)]
        try:
            for forge in all_forges:
                forge.create_repo()
                forges.put(forge)
            played = pool.map(lambda cell: _play(cell, programs, forges), cells)
            return dict(zip(cells, played, strict=True))
        finally:
            for forge in all_forges:
                forge.close()


def _play(cell: Cell, programs: Path, forges: SimpleQueue[stage.HeldForge]) -> Outcome:
    forge = forges.get()
    try:
        forge.reset()
        with tempfile.TemporaryDirectory(prefix="home-", ignore_cleanup_errors=True) as made:
            home = Path(os.path.realpath(made))
            with stage.Stage(home, programs, forge, NEWER) as on:
                outcome = play(on, cell)
    except stage.StageError as error:
        outcome = Outcome(points.MEMORY, [str(error)])
    finally:
        forges.put(forge)
    sys.stderr.write(f"{'WRONG' if outcome.wrong else outcome.measured}   {cell}\n")
    return outcome


# -- telling ----------------------------------------------------------------------------------------------


def _page(outcomes: Outcomes, installed: Path) -> str:
    today = dt.datetime.now(tz=dt.timezone.utc).date()
    reasons = "\n".join(f"- {mark}: {why}." for why, mark in MARKS.items())
    return f"""# What a crash costs

Whoever is at work is killed, with `kill -9`, at every named step of a sign-in (nothing is held), of a refresh (the
token has ended) and of a repair (the forge refuses the token, git 2.46 or newer). Then the next command runs, an
ordinary `git ls-remote`, and the authorization server's own log says what it cost: tabs / code exchanges / refreshes.
The server is django-oauth-toolkit, behind it git's own HTTP server; the browser signs in without being asked twice.

The steps are the events of `GIT_TRACE_FORGE=1`. The helper is stopped at the event by a copy of its entry point, and
killed from outside: nothing in the program knows of it. "The server has committed" is no event: the server has given
new tokens out, and its answer is held back until the helper is dead.

After each kill no lock is held, no process and so no listener is left, and the names file can be read. The next command
gets the right commit, with status 0, and says on standard error nothing, or, word for word, why it signs in. The
command after it costs nothing and says nothing. {len(outcomes)} kills, each in a home of its own.

## The helper is killed

The one that acts (leader), or one of two that wait for it (waiter): then the leader and the other one end well, and all
three together cost what one does. With rotation a refresh kills the refresh token that it was made with. A cell is
empty where who has that part does not come to that point.

{_table(_helper_rows(outcomes))}

## Somebody else is killed

git with what speaks HTTP for it, while the helper goes on; git and helper together; the cache daemon; its socket taken
away; and, of three gits, the one that acts and then, at the same point, the one that takes over, so that the third ends
well.

{_table(_other_rows(outcomes))}

Where the daemon was killed at `vault: session kept`, the next one has the token, and not the session: when the token
ends, that is case c.

## Where the browser is needed

In all other cells the next command needs none.

{reasons}

Written by `python3 -m tests.reliability.kills` on {today}, with {_versions(installed)}.
"""


def _helper_rows(outcomes: Outcomes) -> list[list[str]]:
    heads = ["", "killed at", "leader, rotation", "leader, none", "waiter, rotation", "waiter, none"]
    rows = [heads]
    for way, leader in points.LEADER.items():
        names = [point.name for point in leader]
        names += [point.name for point in points.WAITER if point.name not in names]
        for name in names:
            measured = [
                _one(outcomes, way, name, role, rotates=rotates)
                for role in ("leader", "waiter")
                for rotates in (True, False)
            ]
            rows.append([way, name, *measured])
    return rows


def _other_rows(outcomes: Outcomes) -> list[list[str]]:
    rows = [["", "killed", "at", "rotation", "none"]]
    for way, others in points.OTHERS.items():
        for point in others:
            cells = [Cell(way, "other", rotates, point) for rotates in (True, False)]
            rows.append([way, point.victim, point.name, *(_text(outcomes, cell) for cell in cells)])
    return rows


def _one(outcomes: Outcomes, way: str, name: str, role: str, *, rotates: bool) -> str:
    known: Iterable[Point] = points.LEADER[way] if role == "leader" else points.WAITER
    return next((_text(outcomes, Cell(way, role, rotates, each)) for each in known if each.name == name), "")


def _text(outcomes: Outcomes, cell: Cell) -> str:
    outcome = outcomes.get(cell)
    if outcome is None:
        return "not run"
    if outcome.wrong:
        return "WRONG"
    return f"{outcome.measured}{' ' + MARKS[cell.point.why] if outcome.measured.tabs else ''}"


def _table(rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [rows[0], ["-" * max(width, 1) for width in widths], *rows[1:]]
    return "\n".join(
        "| " + " | ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def _versions(installed: Path) -> str:
    git = str(Path(NEWER, "bin", "git")) if NEWER else "git"
    asked = [str(installed / "git-credential-forge"), "--version"], [git, "version"], [stage.python_of(installed), "-V"]
    said = [subprocess.run(each, capture_output=True, text=True, check=True).stdout.strip() for each in asked]
    try:
        system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        system = platform.system()
    return ", ".join([*said, system])


if __name__ == "__main__":
    sys.exit(main())
