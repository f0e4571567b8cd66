"""Sixteen gets at once while things go wrong, two hundred times: see `tests.rounds`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import rounds
from tests.support.forge import PASSWORDS
from tests.support.gentle_browser import GentleBrowser
from tests.support.person import Person
from tests.support.storm import OwnInstall, StormyForge

if TYPE_CHECKING:
    from collections.abc import Iterator

QUICK, ALL = 8, 200


@pytest.fixture(scope="module")
def shared_forge() -> Iterator[StormyForge]:
    with StormyForge() as forge:
        forge.create_repo()
        yield forge


@pytest.mark.parametrize(
    "seed", [seed if seed < QUICK else pytest.param(seed, marks=pytest.mark.slow) for seed in range(ALL)]
)
def test_a_round(home: Path, installed: Path, forge: StormyForge, seed: int) -> None:
    """No lost sign-in, no second tab, no deadlock, nothing left, no token request without a reason."""
    own = OwnInstall(home / "own", installed)
    with GentleBrowser("alice", PASSWORDS["alice"]) as browser:
        person = Person(home, own.bin, forge, browser.opener)
        assert person.git("credential-forge", "configure").status == 0
        person.environment["GIT_TRACE_FORGE"] = "1"
        one = rounds.Round(seed, person, own, forge, browser)
        one.run()
        print(f"round {seed}: {dict(one.fired)} of {one.plan}")
        assert one.verdict() == []


def test_what_the_quick_ones_have() -> None:
    """Among the rounds of every run each state and each fault is there, and each kind of get."""
    plans = [rounds.plan(seed) for seed in range(QUICK)]
    assert {each.before for each in plans} == {"cold", "warm", "over", "dead"}
    faults = Counter(fault.what for each in plans for fault in each.faults)
    assert set(faults) == {"kill", "die", "expire", "unavailable", "halt", "jump"}
    assert {role for each in plans for role in each.roles} == {"get", "fill", "fetch", "refused"}
    assert {seconds > 0 for each in plans for seconds in each.jumps} == {True, False}
