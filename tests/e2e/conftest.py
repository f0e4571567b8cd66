"""One real forge for the tests of a process; a person in an empty home. Afterwards no secret may be seen anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browser import Browser
from tests.support.forge import PASSWORDS, Forge
from tests.support.gentle_browser import GentleBrowser
from tests.support.person import Person


@pytest.fixture(scope="session")
def shared_forge() -> Iterator[Forge]:
    with Forge() as forge:
        forge.create_repo()
        yield forge


@pytest.fixture
def forge(shared_forge: Forge) -> Forge:
    shared_forge.reset()
    return shared_forge


@pytest.fixture
def browser() -> Iterator[GentleBrowser]:
    """alice's, for tests in which the browser is not the point."""
    with GentleBrowser("alice", PASSWORDS["alice"]) as browser:
        yield browser


@pytest.fixture
def chromium() -> Iterator[Browser]:
    with Browser("alice", PASSWORDS["alice"]) as browser:
        yield browser


@pytest.fixture
def person(home: Path, installed: Path, forge: Forge) -> Iterator[Person]:
    """Set up by `configure`, without a browser yet."""
    person = Person(home, installed, forge)
    with person.leaks:
        assert person.git("credential-forge", "configure").status == 0
        yield person
    assert person.leaks.found(forge.secrets()) == []
