"""Whose turn it is to go on with a sign-in, and what lets the others go."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from git_credential_forge import daemon, flight, fulfil, index
from git_credential_forge.errand import Errand
from git_credential_forge.errors import AbandonedError
from git_credential_forge.index import Row
from git_credential_forge.origin import Origin
from git_credential_forge.protocol import Request
from git_credential_forge.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ORIGIN = Origin("https", "example.com", 443)


@pytest.fixture
def vault(home: Path, monkeypatch: pytest.MonkeyPatch) -> Vault:
    """One that holds nothing, but names a sign-in of alice whose token has ended; and no git to ask for more."""
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    held = Vault(daemon.place(), 600)
    now = int(time.time())
    index.write(held.place, ORIGIN, [Row(now - 1, now + 600, "", "alice")], now)
    return held


def errand(vault: Vault | None, gone: Callable[[], bool] = lambda: False) -> Errand:
    return Errand(Request(protocol="https", host="example.com"), ORIGIN, "", vault, gone)


@contextmanager
def another(vault: Vault) -> Iterator[None]:
    """Somebody else goes on with alice's sign-in."""
    descriptor = daemon.open_lock(vault.place, f"lock-{flight.refresh_name(ORIGIN, 'alice')}")
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


def test_a_free_turn(vault: Vault) -> None:
    """Had at once; and where there is nothing to go on with, everybody goes their own way."""
    with fulfil.turn(errand(vault)) as turn:
        assert turn[:2] == (True, None)
    with another(vault):
        index.write(vault.place, ORIGIN, [], time.time())
        with fulfil.turn(errand(vault)) as turn, fulfil.turn(errand(None)) as without:
            assert turn[:2] == without[:2] == (True, None)


def test_nobody_left_to_answer(vault: Vault) -> None:
    """git is gone: so is who waits for it."""
    with another(vault), pytest.raises(AbandonedError), fulfil.turn(errand(vault, lambda: True)):
        pytest.fail("it was never had")


def test_the_sign_in_has_ended(vault: Vault) -> None:
    """Its refresh was refused, say: all who wait for it are let go at once, and not one after the other."""
    looks = []

    def gone() -> bool:
        looks.append(1)
        if len(looks) == 2:
            index.write(vault.place, ORIGIN, [], time.time())
        return len(looks) > 3

    with another(vault), fulfil.turn(errand(vault, gone)) as turn:
        assert turn[:2] == (False, None)
    assert len(looks) == 2
