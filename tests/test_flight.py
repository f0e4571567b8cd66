"""One process acts, the others wait and reuse: with real processes and the kernel's locks."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from git_credential_forge import flight, say
from git_credential_forge.daemon import Place
from git_credential_forge.errors import AbandonedError, RefusedError
from git_credential_forge.forges import FORGEJO
from git_credential_forge.origin import Origin
from git_credential_forge.recognise import Forge, build
from git_credential_forge.settings import Settings
from tests.support.surroundings import ROOT, clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

ORIGIN = Origin("https", "forge.example", 443)
DENIED = RefusedError("not signed in to forge.example: you denied the request", "a hint")


def forge(origin: Origin = ORIGIN, **settings: Any) -> Forge:
    return build(FORGEJO, origin, "", Settings(**settings), certain=True)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(str(tmp_path), str(tmp_path / "socket"))


def never() -> bool:
    return False


HOLD = """
import sys
from git_credential_forge import flight
from git_credential_forge.daemon import Place
place = Place(sys.argv[1], "")
with flight.acting(place, "x", 60, lambda: False) as mine:
    print(mine, flush=True)
    sys.stdin.readline()
"""
TURNS = """
import os, sys
from git_credential_forge import flight
from git_credential_forge.daemon import Place
place = Place(sys.argv[1], "")
print("ready", flush=True)
sys.stdin.readline()
for _ in range(20):
    with flight.acting(place, "x", 60, lambda: False) as mine:
        path = place.path("counter")
        number = int(open(path).read() or 0) if os.path.exists(path) else 0
        open(path, "w").write(str(number + mine))
"""


def start(script: str, place: Place, home: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", script, place.directory],
        env=clean_environment(home, PYTHONPATH=str(ROOT / "src")),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def first_line(child: subprocess.Popen[bytes]) -> bytes:
    assert child.stdout
    return child.stdout.readline()


@pytest.fixture
def holder(place: Place, home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds the lock `x`, until it is told to go on or killed."""
    with start(HOLD, place, home) as child:
        assert first_line(child) == b"True\n"
        yield child
        child.kill()


def test_free(place: Place) -> None:
    """A free lock is had at once, without a word to anybody, again and again."""

    def nobody() -> bool:
        raise AssertionError("asked although the lock was free")

    def shout() -> None:
        raise AssertionError("told although the lock was free")

    for _ in range(2):
        with flight.acting(place, "x", 0, nobody, done=nobody, waiting=shout) as mine:
            assert mine


def test_without_a_place() -> None:
    """Nothing to hold, nothing to share: everybody acts for themselves."""
    with flight.acting(None, "x", 0, never) as one, flight.acting(None, "x", 0, never) as two:
        assert one
        assert two
    flight.remember_refusal(None, forge(), DENIED, quiet=True)
    flight.forget_refusal(None, ORIGIN)
    assert flight.refusal(None, forge(), 60, 0) is None


@pytest.mark.usefixtures("holder")
def test_patience(place: Place) -> None:
    """Held by another: told once that we wait, False when the patience has ended; another lock is free meanwhile."""
    told = []
    began = time.monotonic()
    with flight.acting(place, "x", 0.3, never, waiting=lambda: told.append("waiting")) as mine:
        assert not mine
    assert 0.3 <= time.monotonic() - began < 5
    assert told == ["waiting"]
    with flight.acting(place, "x", 0, never) as mine:
        assert not mine
    with flight.acting(place, "y", 0, never) as mine:
        assert mine


@pytest.mark.usefixtures("holder")
def test_nobody_left_to_answer(place: Place) -> None:
    """Who waits for nobody any more stops waiting."""
    looks: list[int] = []

    def gone() -> bool:
        looks.append(1)
        return len(looks) > 3

    with pytest.raises(AbandonedError), flight.acting(place, "x", 60, gone):
        pytest.fail("it was never had")
    assert len(looks) == 4


@pytest.mark.usefixtures("holder")
def test_no_longer_needed(place: Place) -> None:
    """What we wait for is there, put by whoever acts: all who wait go on at once, without the lock."""
    looks: list[int] = []

    def done() -> bool:
        looks.append(1)
        return len(looks) > 3

    with flight.acting(place, "x", 60, never, done=done) as mine:
        assert not mine
    assert len(looks) == 4


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_holder(holder: subprocess.Popen[bytes], number: signal.Signals, place: Place) -> None:
    """The kernel frees the lock of who dies, and a waiter has it; no file tells of a holder that is none."""
    with flight.acting(place, "x", 60, never, waiting=lambda: holder.send_signal(number)) as mine:
        assert mine
    assert holder.wait(20) == -number


def test_a_holder_that_has_done(holder: subprocess.Popen[bytes], place: Place) -> None:
    """A waiter has the lock as soon as it is given back."""

    def go_on() -> None:
        assert holder.stdin
        holder.stdin.write(b"\n")
        holder.stdin.flush()

    with flight.acting(place, "x", 60, never, waiting=go_on) as mine:
        assert mine
    assert holder.wait(20) == 0


def test_one_at_a_time(place: Place, home: Path) -> None:
    """Eight processes that read, add one and write lose no count."""
    with contextlib.ExitStack() as stack:
        children = [stack.enter_context(start(TURNS, place, home)) for _ in range(8)]
        assert {first_line(child) for child in children} == {b"ready\n"}
        for child in children:
            assert child.stdin
            child.stdin.write(b"\n")
            child.stdin.flush()
        for child in children:
            child.communicate(timeout=60)
            assert child.returncode == 0
    assert Path(place.path("counter")).read_text() == "160"


def test_a_child_does_not_inherit_it(place: Place, home: Path) -> None:
    """What we start meanwhile, an opener or the daemon, may live longer than we hold the lock."""
    with flight.acting(place, "x", 0, never):
        child = subprocess.Popen(
            ["sh", "-c", "echo; read x"],
            env=clean_environment(home),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            close_fds=False,
        )
        assert first_line(child) == b"\n"
    with child, flight.acting(place, "x", 0, never) as mine:
        assert mine


def test_names() -> None:
    """Sign-ins are one at a time for an origin, refreshes for an account; names stay names of files."""
    other = Origin("https", "forge.example", 8443)
    assert flight.refresh_name(ORIGIN, "a\udcffb").endswith("-a%FFb")
    assert len({flight.sign_in_name(o) for o in (ORIGIN, other, ORIGIN._replace(scheme="http"))}) == 3
    accounts = ["alice", "bob", "a/../b", "a\udcffb"]
    refreshes = {flight.refresh_name(o, account) for o in (ORIGIN, other) for account in accounts}
    assert len(refreshes) == 8
    assert flight.sign_in_name(ORIGIN) not in refreshes
    assert not any("/" in name for name in refreshes)
    assert len(flight.refresh_name(ORIGIN, "\N{SNOWMAN}" * 255)) < 200


NOW = 1_700_000_000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be set."""
    now = [NOW]
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("since", "now", "quiet", "shared", "paused"),
    [
        (NOW - 1, NOW + 1, 0, True, False),
        (NOW, NOW, 0, True, False),
        (NOW + 1, NOW + 1, 60, False, True),
        (NOW + 59, NOW + 59.9, 60, False, True),
        (NOW + 60, NOW + 60, 60, False, False),
        (NOW + 1, NOW + 1, 0, False, False),
        (NOW - 3600, NOW - 3600, 60, False, False),
        (NOW - 3600, NOW - 3600, 0, False, False),
    ],
    ids=["while waiting", "at once", "a second later", "at the end", "after it", "no quiet period", "clock set back",
         "clock set back, typed"],
)  # fmt: skip
def test_refusal(
    since: float, now: float, quiet: int, *, shared: bool, paused: bool, place: Place, clock: list[float]
) -> None:
    """Who waited shares it as it was; who comes within the quiet period is told until when; a refusal that is yet to
    come by a clock that was set back is none."""
    flight.remember_refusal(place, forge(), DENIED, quiet=True)
    clock[0] = now
    found = flight.refusal(place, forge(), quiet, since)
    assert (found is not None) is (shared or paused)
    if found:
        assert found.message == DENIED.message
        said = (
            f"asking again is paused until {say.until(NOW + quiet)}; "
            "`git credential-forge login https://forge.example` asks now"
        )
        assert found.hints == ((said, "a hint") if paused else ("a hint",))


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    ("later", "holds"),
    [
        (forge(), True),
        (forge(scopes="more"), True),
        (forge(client_id="mine"), False),
        (forge(token_url="other/token"), False),
        (forge(authorize_url="other/authorize"), False),
        (forge(Origin("https", "forge.example", 8443)), False),
        (forge(Origin("http", "forge.example", 80)), False),
    ],
)
def test_refusal_of_something_else(later: Forge, holds: bool, place: Place) -> None:
    """With another client, endpoint or origin the person has mended what was refused."""
    flight.remember_refusal(place, forge(), DENIED, quiet=True)
    assert (flight.refusal(place, later, 60, NOW) is not None) is holds


def test_a_sign_in_ends_the_refusal(place: Place) -> None:
    """Forgotten, also where there was none."""
    flight.remember_refusal(place, forge(), DENIED, quiet=True)
    flight.forget_refusal(place, ORIGIN)
    flight.forget_refusal(place, ORIGIN)
    assert flight.refusal(place, forge(), 60, 0) is None


REFUSAL = "refusal-https-forge.example"
TERMS = [forge().client_id, forge().authorize_url, forge().token_url]


SPOILT: list[dict[str, Any]] = [
    {"at": "x"},
    {"at": None},
    {"at": [1]},
    {"at": float("nan")},
    {"hints": None},
    {"hints": 3},
    {"of": None},
    {"of": {}},
]


@pytest.mark.parametrize(
    "left",
    [
        "", "{", "[]", "null", "3", "{}", '{"at": 1}',
        *(json.dumps({"at": NOW, "of": TERMS, "message": "m", "hints": ["h"]} | bad) for bad in SPOILT),
    ],
)  # fmt: skip
def test_a_damaged_refusal_is_none(left: str, place: Place) -> None:
    """Whatever an older version or a full disk has left there."""
    Path(place.path(REFUSAL)).write_text(left)
    assert flight.refusal(place, forge(), 60, 0) is None


def test_refusals_are_private(place: Place, tmp_path: Path) -> None:
    """Readable by us alone, never written through a link, and no reason to fail where they cannot be kept."""
    flight.remember_refusal(place, forge(), DENIED, quiet=True)
    path = Path(place.path(REFUSAL))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.unlink()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("precious")
    path.symlink_to(elsewhere)
    flight.remember_refusal(place, forge(), DENIED, quiet=True)
    assert elsewhere.read_text() == "precious"
    os.unlink(path)
    path.mkdir()
    flight.remember_refusal(place, forge(), DENIED, quiet=True)
