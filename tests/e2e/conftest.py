"""One real forge for the tests of a process; a person in an empty home. Afterwards no secret may be seen anywhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.browser import Browser
from tests.support.forge import PASSWORDS, Forge
from tests.support.gentle_browser import GentleBrowser
from tests.support.person import REPAIRS, Person

NEWER = os.environ.get("FORGE_NEWER_GIT", "")  # made by .ci/newer-git


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
def elsewhere(forge: Forge) -> Iterator[httpx.Client]:
    """A browser on another machine: it reaches the forge, and not what listens here."""

    def only_the_forge(request: httpx.Request) -> None:
        if request.url.port != forge.port:
            raise httpx.ConnectError("refused")

    with httpx.Client(verify=False, trust_env=False, event_hooks={"request": [only_the_forge]}) as client:
        yield client


@pytest.fixture
def person(home: Path, installed: Path, forge: Forge) -> Iterator[Person]:
    """Set up by `configure`, without a browser yet."""
    person = Person(home, installed, forge)
    with person.leaks:
        assert person.git("credential-forge", "configure").status == 0
        yield person
    assert person.leaks.found(forge.secrets()) == []


@pytest.fixture
def repairing(person: Person) -> Person:
    """The person, on a git of 2.46 or newer: one that asks again after a 401."""
    if NEWER:
        person.environment["GIT_EXEC_PATH"] = str(Path(NEWER, "core"))
        person.environment["PATH"] = f"{Path(NEWER, 'bin')}{os.pathsep}{person.environment['PATH']}"
    elif not REPAIRS:
        pytest.skip("not here: git is older than 2.46, and FORGE_NEWER_GIT names no newer one")
    return person


@pytest.fixture
def older(person: Person) -> Person:
    """The person, on a git that does not."""
    if REPAIRS:
        pytest.skip("not here: git is 2.46 or newer")
    return person


