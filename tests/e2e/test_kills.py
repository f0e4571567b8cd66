"""kill -9 at every named point, and what the next command costs: the matrix of docs/reliability.md."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reliability import points
from tests.reliability.play import play
from tests.reliability.points import Cell
from tests.reliability.stage import HeldForge, Stage, install
from tests.support.person import REPAIRS

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="not here: /proc")
NEWER = os.environ.get("FORGE_NEWER_GIT", "")  # made by .ci/newer-git
SLOW = pytest.mark.slow
# Of each way, the points between which everything is decided; the rest of them runs with the slow tests.
QUICK = (
    "sign-in, leader, rotation: helper at authorize: token arrived",
    "sign-in, leader, rotation: helper at vault: session kept",
    "refresh, leader, rotation: helper at the server has committed, its answer is not read",
    "refresh, leader, rotation: helper at vault: session kept",
    "refresh, waiter, rotation: helper at flight: done waiting, or holding after it",
    "sign-in, other, rotation: git at authorize: callback arrived",
)


@pytest.fixture(scope="session")
def held_forge() -> Iterator[HeldForge]:
    with HeldForge() as forge:
        forge.create_repo()
        yield forge


@pytest.fixture(scope="session")
def stoppable(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("stoppable"), installed)


@pytest.mark.parametrize(
    "cell",
    [pytest.param(each, id=str(each), marks=() if str(each) in QUICK else SLOW) for each in points.cells()],
)
def test_kill(cell: Cell, home: Path, stoppable: Path, held_forge: HeldForge) -> None:
    """The next command costs what the table allows, says why if that is a tab, and nothing is left behind."""
    if cell.way == points.REPAIR_WAY and not (NEWER or REPAIRS):
        pytest.skip("not here: git is older than 2.46, and FORGE_NEWER_GIT names no newer one")
    held_forge.reset()
    with Stage(home, stoppable, held_forge, NEWER) as stage, stage.person.leaks:
        outcome = play(stage, cell)
        leaked = stage.person.leaks.found(held_forge.secrets())
    assert outcome.wrong == []
    assert leaked == []


def test_a_browser_is_allowed_where_there_is_a_reason() -> None:
    """A cell that may cost a tab says why, and no other does; the quick ones are all there."""
    cells = points.cells()
    assert {str(cell) for cell in cells} >= set(QUICK)
    assert len({str(cell) for cell in cells}) == len(cells)
    assert all(bool(cell.point.cost.tabs) == bool(cell.point.why) for cell in cells)
