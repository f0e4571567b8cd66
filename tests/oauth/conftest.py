"""For sign-ins: a real forge, a stand-in that misbehaves, the program's path."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.forge import Forge
from tests.support.signing_in import StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def _forge() -> Iterator[Forge]:
    with Forge() as running:
        yield running


@pytest.fixture
def forge(_forge: Forge) -> Forge:
    """A real authorization server, as new."""
    _forge.reset()
    return _forge


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    with StandIn() as running:
        yield running


@pytest.fixture
def main(installed: Path) -> Path:
    """What the launcher hands a miss to."""
    return installed / "git-credential-forge--main"
