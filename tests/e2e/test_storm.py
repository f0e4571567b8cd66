"""Many gits at once, all known to wait before anything is decided: counted at the authorization server."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from git_credential_forge import flight
from git_credential_forge.origin import Origin
from tests.support.browser import Browser
from tests.support.forge import PASSWORDS, Event
from tests.support.gentle_browser import GentleBrowser
from tests.support.person import Done, Person, wait_until
from tests.support.signing_in import NAMED, listens
from tests.support.storm import OwnInstall, Running, Storm, StormyForge, directory, held_locks, lock, openers

if TYPE_CHECKING:
    from collections.abc import Iterator

FEW, MANY = 4, 16
ENOUGH = 8.0  # seconds that the first one waits for the last, of the fifteen that it has for a refresh
numbers = pytest.mark.parametrize(
    "number", [MANY, pytest.param(64, marks=[pytest.mark.slow, pytest.mark.timeout(400)])]
)
WAITING = "another git is signing in to"


@pytest.fixture(scope="module")
def shared_forge() -> Iterator[StormyForge]:
    with StormyForge() as forge:
        forge.create_repo()
        yield forge


@pytest.fixture
def person(home: Path, installed: Path, forge: StormyForge) -> Iterator[Person]:
    """As elsewhere, but nobody looks through all processes meanwhile: a storm needs the time."""
    person = Person(home, installed, forge)
    assert person.git("credential-forge", "configure").status == 0
    yield person
    assert person.leaks.found(forge.secrets()) == []


@pytest.fixture
def holding(person: Person) -> Iterator[GentleBrowser]:
    """The person's browser, in which nobody presses the button yet."""
    with GentleBrowser("alice", PASSWORDS["alice"], "hold") as browser:
        person.environment["BROWSER"] = str(browser.opener)
        yield browser


def fetch(forge: StormyForge) -> tuple[str, ...]:
    return ("git", "ls-remote", forge.repo_url(), "HEAD")


def right(forge: StormyForge) -> tuple[int, str]:
    """What a fetch that was let in does and prints."""
    return 0, f"{forge.head()}\tHEAD\n"


def opens(forge: StormyForge) -> str:
    return f"forge: signing in to {forge.host} in your browser\n{NAMED}"


def waits(forge: StormyForge) -> str:
    return f"forge: {WAITING} {forge.host}, waiting for it (Ctrl-C to stop waiting)\n"


def welcomes(forge: StormyForge) -> str:
    return f"forge: signed in as alice at {forge.host}, kept in memory while you work, and two hours more\n"


def said(done: Done) -> str:
    """All that it said, but not that we still wait: a storm on a busy machine takes longer than that."""
    return re.sub(r"forge: still waiting for the browser, Ctrl-C to cancel \(\d+ min left\)\n", "", done.err)


def token_requests(forge: StormyForge) -> list[tuple[str, bool]]:
    """Those for a token; the question whether the forge knows the application is none."""
    asked: list[Event] = forge.log("exchange", "refresh", "token")
    return [(event.what, event.ok) for event in asked if event.parameters.get("code") != "probe"]


def all_wait(storm: Storm) -> None:
    """One has the sign-in, and each of the others has said that it waits for it."""
    storm.until(lambda: len(storm.saying(WAITING)) == len(storm.all) - 1)
    storm.until(lambda: len(storm.saying("in your browser")) == 1)


def leader(storm: Storm) -> Running:
    [one] = (one for one in storm.all if WAITING not in one.err)
    return one


# Nothing cached.


@numbers
def test_nothing_cached(person: Person, forge: StormyForge, number: int) -> None:
    """One tab, one exchange, and as many right commits; each of the others has said once that it waits."""
    with Browser("alice", PASSWORDS["alice"], "hold") as chromium, Storm(person) as storm:
        person.environment["BROWSER"] = str(chromium.opener)
        chromium.visit(f"{forge.url}/user/login")
        with forge.gate(number):
            storm.start(*fetch(forge), number=number)
            all_wait(storm)
        chromium.wait_for_tabs(1)
        assert (token_requests(forge), forge.log("consent")) == ([], [])
        consent = time.monotonic()
        chromium.release()
        done = storm.ended()
        print(f"{number} gits: {time.monotonic() - consent:.2f} s from the consent to the last answer")
        assert len(chromium.tabs()) == 1
    assert [each[:2] for each in done] == [right(forge)] * number
    assert sorted(map(said, done)) == sorted([opens(forge) + welcomes(forge), *[waits(forge)] * (number - 1)])
    assert token_requests(forge) == [("exchange", True)]
    assert [event.ok for event in forge.log("consent")] == [True]
    assert len(forge.log("login")) == 1, "and that was before"


@numbers
def test_denied(person: Person, forge: StormyForge, holding: GentleBrowser, number: int) -> None:
    """A "no" counts for all who waited, in the same words, and for who comes soon after; `login` asks again."""
    with Storm(person) as storm:
        with forge.gate(number):
            storm.start(*fetch(forge), number=number)
            all_wait(storm)
        holding.wait_for_tabs(1)
        holding.release(grant=False)
        done = storm.ended()
    refused = f"forge: not signed in to {forge.host}: you denied the request in the browser\n"
    [quits] = {said(each).partition(refused)[2] for each in done}
    assert re.fullmatch(r"fatal: credential helper '.*' told us to quit\n", quits)
    assert [each[:2] for each in done] == [(128, "")] * number
    firsts = [opens(forge), *[waits(forge)] * (number - 1)]
    assert sorted(map(said, done)) == sorted(first + refused + quits for first in firsts)
    assert token_requests(forge) == []

    soon = person.run(*fetch(forge))
    assert soon[:2] == (128, "")
    paused = f"forge: asking again is paused until [0-9:]+; `git credential-forge login {forge.url}` asks now\n"
    assert re.fullmatch(re.escape(refused) + paused + re.escape(quits), soon.err)
    assert len(holding.tabs()) == 1
    with GentleBrowser("alice", PASSWORDS["alice"]) as willing:
        login = person.git("credential-forge", "login", forge.url, BROWSER=str(willing.opener))
        assert login == (0, "", opens(forge) + welcomes(forge))
        assert len(willing.tabs()) == 1
    assert person.run(*fetch(forge)) == (*right(forge), "")


# A token that has ended, or that the forge refuses.


@pytest.fixture
def signed(person: Person, browser: GentleBrowser) -> GentleBrowser:
    """The browser of somebody for whom one click is enough, and more than one too many."""
    person.environment["BROWSER"] = str(browser.opener)
    return browser


@contextlib.contextmanager
def refresh_held_back(storm: Storm, forge: StormyForge, number: int) -> Iterator[None]:
    """No refresh begins until `number` gits wait for one; or as many as come within `ENOUGH` on a busy machine."""
    name = flight.refresh_name(Origin("https", "127.0.0.1", forge.port), "alice")
    path = directory(storm.person) / f"lock-{name}"
    first: list[float] = []

    def enough() -> bool:
        now = time.monotonic()
        waiting = len(openers(path))
        if waiting and not first:
            first.append(now)
        return waiting == number or (bool(first) and now > first[0] + ENOUGH)

    with path.open("a") as file:
        path.chmod(0o600)
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
        storm.until(enough)
        print(f"{len(openers(path))} of {number} gits wait for the refresh")
        assert forge.log("refresh") == []


@numbers
def test_expired(person: Person, forge: StormyForge, signed: GentleBrowser, number: int) -> None:
    """An expired token: no tab, one refresh, all answers, and not a word."""
    forge.set_lifetime(3)
    assert person.run(*fetch(forge)).status == 0
    ended = time.time() + 3
    forge.set_lifetime(3600)
    wait_until(ended)
    with Storm(person) as storm:
        with forge.gate(number), refresh_held_back(storm, forge, number):
            storm.start(*fetch(forge), number=number)
        done = storm.ended()
    assert done == [(*right(forge), "")] * number
    assert token_requests(forge) == [("exchange", True), ("refresh", True)]
    assert len(signed.tabs()) == 1


def test_expired_and_the_forge_is_down(person: Person, forge: StormyForge, signed: GentleBrowser) -> None:
    """One tries for all who wait: all say why, nothing is opened, and the sign-in is kept."""
    forge.set_lifetime(3)
    assert person.run(*fetch(forge)).status == 0
    ended = time.time() + 3
    wait_until(ended)
    forge.unavailable = 3
    with Storm(person) as storm:
        with forge.gate(8), refresh_held_back(storm, forge, 8):
            storm.start(*fetch(forge), number=8)
        done = storm.ended()
    why = f"forge: {forge.host} cannot refresh the sign-in now (it answered with no OAuth answer (HTTP 503))"
    assert {each[:2] for each in done} == {(128, "")}
    assert {each.err.splitlines()[0] for each in done} == {f"{why}; your sign-in is kept, try again later"}
    assert forge.unavailable == 0
    assert token_requests(forge) == [("exchange", True)]
    assert person.run(*fetch(forge)) == (*right(forge), "")
    assert token_requests(forge) == [("exchange", True), ("refresh", True)]
    assert len(signed.tabs()) == 1


@numbers
def test_refused(repairing: Person, forge: StormyForge, signed: GentleBrowser, number: int) -> None:
    """A token that the forge refuses to all of them at the same moment, on a git of 2.46 or newer: as expired."""
    assert repairing.run(*fetch(forge)).status == 0
    forge.expire_access_tokens()
    with Storm(repairing) as storm:
        with forge.gate(number), refresh_held_back(storm, forge, number):
            storm.start(*fetch(forge), number=number)
        done = storm.ended()
    assert done == [(*right(forge), "")] * number
    assert token_requests(forge) == [("exchange", True), ("refresh", True)]
    assert len(signed.tabs()) == 1


@numbers
def test_refused_before_2_46(older: Person, forge: StormyForge, signed: GentleBrowser, number: int) -> None:
    """There each command fails, and has the token marked as refused; the next ones have a new one, without a tab."""
    assert older.run(*fetch(forge)).status == 0
    forge.expire_access_tokens()
    with Storm(older) as storm, forge.gate(number):
        storm.start(*fetch(forge), number=number)
        failed = storm.ended()
    denied = f"remote: Failed to authenticate user\nfatal: Authentication failed for '{forge.repo_url()}/'\n"
    assert failed == [(128, "", denied)] * number
    assert token_requests(forge) == [("exchange", True)]
    with Storm(older) as storm:
        with forge.gate(number), refresh_held_back(storm, forge, number):
            storm.start(*fetch(forge), number=number)
        done = storm.ended()
    assert done == [(*right(forge), "")] * number
    assert token_requests(forge) == [("exchange", True), ("refresh", True)]
    assert len(signed.tabs()) == 1


# Who goes away while a person is asked.


def test_a_killed_leader_is_replaced(person: Person, forge: StormyForge, holding: GentleBrowser) -> None:
    """Death is no verdict: within a second another one asks, and the rest have its answer."""
    with Storm(person) as storm:
        storm.start(*fetch(forge), number=FEW)
        all_wait(storm)
        first = leader(storm)
        holding.wait_for_tabs(1)
        [helper] = first.helpers()
        os.kill(helper, signal.SIGKILL)
        killed = time.monotonic()
        storm.until(lambda: len(storm.saying("in your browser")) == 2)
        took = time.monotonic() - killed
        print(f"replaced within {took * 1000:.0f} ms")
        assert took < 1
        holding.wait_for_tabs(2)
        holding.release()
        done = dict(zip(storm.all, storm.ended(), strict=True))
    left = done.pop(first)
    assert (left.status, left.out) == (128, "")
    assert sorted(map(said, done.values())) == sorted(
        [waits(forge) + opens(forge) + welcomes(forge), *[waits(forge)] * (FEW - 2)]
    )
    assert [each[:2] for each in done.values()] == [right(forge)] * (FEW - 1)
    assert len(holding.tabs()) == 2
    assert token_requests(forge) == [("exchange", True)]


@pytest.mark.parametrize(
    "event", ["vault: session kept", "vault: answer kept", "vault: names written", "cli: answering git"]
)
def test_what_a_killed_leader_saved_is_reused(
    home: Path, installed: Path, forge: StormyForge, event: str
) -> None:
    """Killed between the vault and git: the others go on with what was saved, and nobody is asked again."""
    own = OwnInstall(home / "own", installed)
    with GentleBrowser("alice", PASSWORDS["alice"], "hold") as browser:
        person = Person(home, own.bin, forge, browser.opener)
        assert person.git("credential-forge", "configure").status == 0
        with Storm(person) as storm:
            storm.start(*fetch(forge), number=FEW)
            all_wait(storm)
            first = leader(storm)
            own.die_at(event)
            browser.release()
            done = dict(zip(storm.all, storm.ended(), strict=True))
        assert done.pop(first)[:2] == (128, "")
        assert [tuple(each) for each in done.values()] == [(*right(forge), waits(forge))] * (FEW - 1)
        assert len(browser.tabs()) == 1
    assert token_requests(forge) == [("exchange", True)]


def test_ctrl_c_on_a_waiter(person: Person, forge: StormyForge, holding: GentleBrowser) -> None:
    """Ends that one, at once and without another word, and nobody else."""
    with Storm(person) as storm:
        storm.start(*fetch(forge), number=FEW)
        all_wait(storm)
        impatient = next(one for one in storm.all if one is not leader(storm))
        impatient.interrupt()
        storm.until(lambda: not storm.speaks(impatient) and not impatient.below(), 1)
        assert impatient.done == (-signal.SIGINT, "", waits(forge))
        assert len(holding.wait_for_tabs(1)) == 1
        holding.release()
        done = [each for one, each in zip(storm.all, storm.ended(), strict=True) if one is not impatient]
    assert [each[:2] for each in done] == [right(forge)] * (FEW - 1)
    assert sorted(map(said, done)) == sorted([opens(forge) + welcomes(forge), *[waits(forge)] * (FEW - 2)])
    assert len(holding.tabs()) == 1


def test_ctrl_c_on_the_leader(person: Person, forge: StormyForge, holding: GentleBrowser) -> None:
    """Is a "no" of the person's: the others are told, and open nothing."""
    with Storm(person) as storm:
        storm.start(*fetch(forge), number=FEW)
        all_wait(storm)
        first = leader(storm)
        holding.wait_for_tabs(1)
        first.interrupt()
        done = dict(zip(storm.all, storm.ended(), strict=True))
    assert done.pop(first) == (-signal.SIGINT, "", opens(forge))
    cancelled = f"forge: not signed in to {forge.host}: it was cancelled\n"
    for each in done.values():
        assert each[:2] == (128, "")
        assert re.fullmatch(
            re.escape(waits(forge) + cancelled) + "fatal: credential helper '.*' told us to quit\n", each.err
        )
    assert len(holding.tabs()) == 1
    assert token_requests(forge) == []


COMMANDS = [["ls-remote", "URL"], ["credential", "fill"]]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_git_killed_alone(person: Person, forge: StormyForge, holding: GentleBrowser, command: list[str]) -> None:
    """Nobody is left to answer: within a second there is no helper, no listener and no lock any more."""
    with Storm(person) as storm:
        words = [forge.repo_url() if word == "URL" else word for word in command]
        [alone] = storm.start("git", *words, given=f"url={forge.url}\n\n")
        [tab] = holding.wait_for_tabs(1)
        port = urlsplit(tab.handed_over).port
        assert port
        assert listens(port)
        assert held_locks(person) == [lock(person, "sign-in").name]
        alone.kill_git()
        killed = time.monotonic()
        storm.until(lambda: not alone.below())
        took = time.monotonic() - killed
        print(f"gone within {took * 1000:.0f} ms")
        assert took < 1
        assert not listens(port)
        assert held_locks(person) == []
        assert storm.ended()[0] == (-signal.SIGKILL, "", opens(forge))
    assert token_requests(forge) == []


def test_git_killed_while_others_wait(person: Person, forge: StormyForge, holding: GentleBrowser) -> None:
    """One of those who wait asks anew, and they have their answers."""
    with Storm(person) as storm:
        storm.start(*fetch(forge), number=FEW)
        all_wait(storm)
        first = leader(storm)
        holding.wait_for_tabs(1)
        first.kill_git()
        killed = time.monotonic()
        storm.until(lambda: not first.below())
        assert time.monotonic() - killed < 1
        holding.wait_for_tabs(2)
        holding.release()
        done = dict(zip(storm.all, storm.ended(), strict=True))
    assert done.pop(first) == (-signal.SIGKILL, "", opens(forge))
    assert [each[:2] for each in done.values()] == [right(forge)] * (FEW - 1)
    assert len(holding.tabs()) == 2
    assert token_requests(forge) == [("exchange", True)]


# What waiting costs.


def test_waiters_take_it_at_once(person: Person, forge: StormyForge) -> None:
    """From the moment when the answer is there to the moment when each of three gives it to git: under 50 ms. What
    other programs take of the machine is not ours, so one try of five has to show it."""
    person.environment["GIT_TRACE_FORGE"] = "1"
    tries = []
    for _ in range(5):
        with GentleBrowser("alice", PASSWORDS["alice"], "hold") as browser, Storm(person) as storm:
            person.environment["BROWSER"] = str(browser.opener)
            storm.start("git", "credential-forge", "get", given=f"protocol=https\nhost={forge.host}\n\n", number=FEW)
            all_wait(storm)
            first = leader(storm)
            browser.release()
            assert all(each.status == 0 for each in storm.ended())
            there = _at(first, "vault: names written")
            had = [_at(one, "cli: answering git") - there for one in storm.all if one is not first]
        tries.append(max(had))
        print(f"waiters had it after {', '.join(f'{each} ms' for each in sorted(had))}")
        if tries[-1] <= 50:
            break
        assert person.git("credential-forge", "logout", forge.url).status == 0
    assert min(tries) <= 50, tries


def _at(one: Running, event: str) -> int:
    """Milliseconds of the day at which an event stands in a trace."""
    found = re.search(rf"^(\d+):(\d+):(\d+)\.(\d+) {event}", one.err, re.MULTILINE)
    assert found, one.err
    hours, minutes, seconds, milliseconds = map(int, found.groups())
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + milliseconds


def test_waiters_cost_next_to_nothing(repairing: Person, forge: StormyForge, holding: GentleBrowser) -> None:
    """Each of those who wait takes less than a hundredth of a processor, and 25 MB: on a git that passes the challenge
    on (2.41 and newer), so that they know the forge without a request of their own."""
    with Storm(repairing) as storm:
        storm.start(*fetch(forge), number=FEW)
        all_wait(storm)
        helpers = [helper for one in storm.all if one is not leader(storm) for helper in one.helpers()]
        assert len(helpers) == FEW - 1
        before, since = [_processor_time(pid) for pid in helpers], time.monotonic()
        wait_until(time.time() + 3)
        seconds = time.monotonic() - since
        shares = [(_processor_time(pid) - had) / seconds for pid, had in zip(helpers, before, strict=True)]
        memory = [_own_memory(pid) for pid in helpers]
        holding.release()
        assert all(each.status == 0 for each in storm.ended())
    print(f"of a processor: {statistics.median(shares):.2%}; resident: {max(memory) / 1e6:.1f} MB")
    assert max(shares) < 0.01
    assert max(memory) < 35e6  # with what counts the lines that run


def _processor_time(pid: int) -> float:
    """Seconds that the kernel has run it, to the nanosecond."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def _own_memory(pid: int) -> int:
    found = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1000


# What changes while somebody waits.


def test_an_answer_that_ends_as_it_is_taken(home: Path, installed: Path, forge: StormyForge) -> None:
    """Who has waited for an answer that is over, or gone, a moment later goes on with the sign-in: by the answer that
    it has seen, or by a refresh. It asks nobody anew, and has nothing to complain of."""
    own = OwnInstall(home / "own", installed)
    with GentleBrowser("alice", PASSWORDS["alice"], "hold") as browser:
        person = Person(home, own.bin, forge, browser.opener)
        assert person.git("credential-forge", "configure").status == 0
        with Storm(person) as storm:
            storm.start(*fetch(forge), number=2)
            all_wait(storm)
            waiting = storm.saying(WAITING)[0]
            own.jump_at("flight: ", 4000)
            browser.release()
            storm.ended()
        assert own.shift_now() == 4000
        assert waiting.done == (*right(forge), waits(forge))
        assert len(browser.tabs()) == 1
