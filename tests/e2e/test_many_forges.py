"""Many gits at several forges and from several places: a sign-in for each forge, side by side, and for each user."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.forge import PASSWORDS, Forge
from tests.support.gentle_browser import GentleBrowser
from tests.support.person import Person
from tests.support.signing_in import NAMED
from tests.support.storm import Storm, directory, openers
from tests.support.terminal import OnTerminal

REPOSITORIES = ("demo", "second", "third", "fourth")
GITS = 16
OWN = "11111111-2222-3333-4444-555555555555"


@pytest.fixture(scope="module")
def more_forges() -> Iterator[list[Forge]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Forge()) for _ in range(3)]


@pytest.fixture
def forges(forge: Forge, more_forges: list[Forge], person: Person) -> list[Forge]:
    """Four, each trusted by the person, with four repositories each."""
    every = [forge, *more_forges]
    for each in every:
        each.reset()
        for name in REPOSITORIES:
            if not each.repositories.path("alice", name).exists():
                each.create_repo(name)
    trusted = person.home / "ca.pem"
    trusted.write_text("".join(each.ca_file.read_text() for each in every))
    person.environment["GIT_SSL_CAINFO"] = str(trusted)
    return every


def at_it(person: Person) -> int:
    """How many processes sign in or wait for another's sign-in: they have its lock open."""
    locks = directory(person).glob("lock-sign-in-*")
    return len(set().union(*(openers(path) for path in locks)))


@contextlib.contextmanager
def consent_when_all_wait(browser: GentleBrowser, person: Person, tabs: int, gits: int) -> Iterator[None]:
    """Meanwhile, press the button once these tabs are held and these gits act or wait."""
    with ThreadPoolExecutor(1) as pool:

        def watch() -> None:
            try:
                browser.wait_for_tabs(tabs, timeout=50)
                deadline = time.monotonic() + 50
                while at_it(person) < gits:
                    assert time.monotonic() < deadline, f"only {at_it(person)} gits sign in or wait"
            finally:
                browser.release()

        watching = pool.submit(watch)
        yield
        watching.result()


def waiting(forge: Forge) -> str:
    return f"forge: another git is signing in to {forge.host}, waiting for it (Ctrl-C to stop waiting)"


def told(forges: list[Forge]) -> list[str]:
    """What all of them say together, in the order of the alphabet."""
    lines = []
    for forge in forges:
        lines += [
            f"forge: signing in to {forge.host} in your browser",
            NAMED.strip(),
            f"forge: signed in as alice at {forge.host}, kept in memory while you work, and two hours more",
        ]
        lines += [waiting(forge)] * (GITS // len(forges) - 1)
    return sorted(lines)


def exchanges(forge: Forge) -> list[bool]:
    return [event.ok for event in forge.log("exchange") if event.parameters.get("code") != "probe"]


def test_fetch_from_four_forges(repairing: Person, forges: list[Forge], home: Path) -> None:
    """Sixteen fetches of one repository: a tab for each forge, all of them open at once, and the others wait."""
    work = home / "work"
    assert repairing.git("init", "-q", str(work)).status == 0
    for number, forge in enumerate(forges):
        for name in REPOSITORIES:
            assert repairing.git("remote", "add", f"{number}-{name}", forge.repo_url(name), cwd=work).status == 0
    with GentleBrowser("alice", PASSWORDS["alice"], "hold") as browser:
        repairing.environment["BROWSER"] = str(browser.opener)
        with consent_when_all_wait(browser, repairing, len(forges), GITS):
            fetched = repairing.git("fetch", "-q", "--multiple", f"--jobs={GITS}", "--all", cwd=work)
        assert (fetched.status, fetched.out, sorted(fetched.err.splitlines())) == (0, "", told(forges))
        assert len(browser.tabs()) == len(forges)
    assert [exchanges(forge) for forge in forges] == [[True]] * len(forges)
    heads = repairing.git("for-each-ref", "--format=%(objectname)", "refs/remotes", cwd=work).out.split()
    assert heads == [forge.head(name) for forge in forges for name in sorted(REPOSITORIES)]


@pytest.mark.slow
def test_submodules_of_four_forges(repairing: Person, forges: list[Forge], home: Path) -> None:
    """Sixteen submodules at once: as for fetches."""
    work = home / "work"
    assert repairing.git("init", "-q", str(work)).status == 0
    for number, forge in enumerate(forges):
        for name in REPOSITORIES:
            path = f"{number}-{name}"
            for key, value in (("path", path), ("url", forge.repo_url(name))):
                setting = ("-f", ".gitmodules", f"submodule.{path}.{key}", value)
                assert repairing.git("config", *setting, cwd=work).status == 0
            entry = f"160000,{forge.head(name)},{path}"
            assert repairing.git("update-index", "--add", "--cacheinfo", entry, cwd=work).status == 0
    with GentleBrowser("alice", PASSWORDS["alice"], "hold") as browser:
        repairing.environment["BROWSER"] = str(browser.opener)
        with consent_when_all_wait(browser, repairing, len(forges), GITS):
            updated = repairing.git("submodule", "--quiet", "update", "--init", f"--jobs={GITS}", cwd=work)
        assert (updated.status, updated.out, sorted(updated.err.splitlines())) == (0, "", told(forges))
        assert len(browser.tabs()) == len(forges)
    assert [exchanges(forge) for forge in forges] == [[True]] * len(forges)
    assert all((work / f"{number}-{name}" / "README").is_file() for number in range(4) for name in REPOSITORIES)


def test_two_accounts_at_one_forge(person: Person, forge: Forge) -> None:
    """A forge keeps one pending authorization for each browser, so the second account's tab comes after the first's."""
    with (
        GentleBrowser("alice", PASSWORDS["alice"], "hold") as hers,
        GentleBrowser("bob", PASSWORDS["bob"]) as his,
        Storm(person) as storm,
    ):
        person.environment["BROWSER"] = str(hers.opener)
        storm.start("git", "credential", "fill", given=f"url=https://alice@{forge.host}\n\n")
        hers.wait_for_tabs(1)
        person.environment["BROWSER"] = str(his.opener)
        storm.start("git", "credential", "fill", given=f"url=https://bob@{forge.host}\n\n")
        storm.until(lambda: waiting(forge) in storm.all[1].err or his.tabs() != [])
        assert his.tabs() == []
        hers.release()
        first, second = storm.ended()
        assert (first.status, second.status) == (0, 0)
        assert "\nusername=alice\n" in first.out
        assert "\nusername=bob\n" in second.out
        assert (len(hers.tabs()), len(his.tabs())) == (1, 1)
    assert exchanges(forge) == [True, True]


def test_two_client_ids_at_one_forge(person: Person, forge: Forge) -> None:
    """Nor does another client id open a tab beside the first."""
    forge.add_application(OWN)
    with GentleBrowser("alice", PASSWORDS["alice"], "hold") as browser, Storm(person) as storm:
        person.environment["BROWSER"] = str(browser.opener)
        fetch = ("ls-remote", "-q", forge.repo_url(), "HEAD")
        storm.start("git", *fetch)
        browser.wait_for_tabs(1)
        storm.start("git", "-c", f"credential.{forge.url}.oauthClientId={OWN}", *fetch)
        storm.until(lambda: waiting(forge) in storm.all[1].err or len(browser.tabs()) > 1)
        assert len(browser.tabs()) == 1
        browser.release()
        assert [done[:2] for done in storm.ended()] == [(0, f"{forge.head()}\tHEAD\n")] * 2


def test_wherever_it_runs(person: Person, forge: Forge) -> None:
    """An editor, a terminal, an ssh session and cron with next to no environment: one sign-in for all that see the
    same directory. A git that nobody watches does not wait for it."""
    url = forge.repo_url()
    assert person.git("config", "--global", "http.sslCAInfo", str(forge.ca_file)).status == 0
    fetch = ("git", "ls-remote", "-q", url, "HEAD")
    with GentleBrowser("alice", PASSWORDS["alice"], "hold") as browser, Storm(person) as storm:
        person.environment["BROWSER"] = str(browser.opener)
        storm.start(*fetch)
        browser.wait_for_tabs(1)
        del person.environment["BROWSER"]
        storm.start("env", "-i", f"HOME={person.home}", "PATH=/usr/bin:/bin", *fetch)
        storm.start("env", "SSH_CONNECTION=192.0.2.1 1 192.0.2.2 22", *fetch)
        with OnTerminal(list(fetch), person.environment, person.home) as terminal:
            terminal.wait_for(re.escape(waiting(forge)))
            storm.until(lambda: len(storm.saying(waiting(forge))) == 2)
            unwatched = person.run(*fetch, GIT_TERMINAL_PROMPT="0")
            assert unwatched.status == 128
            assert "forge: " not in unwatched.err
            browser.release()
            assert terminal.wait() == 0
        leader, *others = storm.ended()
        assert (leader.status, leader.out) == (0, f"{forge.head()}\tHEAD\n")
        assert others == [(0, leader.out, f"{waiting(forge)}\n")] * 2
        assert terminal.seen == f"{waiting(forge)}\n{leader.out}"
        assert len(browser.tabs()) == 1
    assert exchanges(forge) == [True]


def test_another_users_memory(person: Person, forge: Forge, browser: GentleBrowser) -> None:
    """Two users never share a sign-in nor wait for each other: another's directory is not looked into."""
    if os.geteuid() != 0:
        pytest.skip("not here: root, to make another user's directory")
    person.environment["BROWSER"] = str(browser.opener)
    fetch = ("ls-remote", "-q", forge.repo_url(), "HEAD")
    assert person.git(*fetch).status == 0
    where = directory(person)
    before = sorted(path.name for path in where.iterdir())
    os.chown(where, 65534, 65534)
    try:
        done = person.git(*fetch)
    finally:
        os.chown(where, 0, 0)
    assert done[:2] == (0, f"{forge.head()}\tHEAD\n")
    assert done.err == (
        f"forge: nothing is kept in memory: {where} belongs to another user\n"
        f"forge: signing in to {forge.host} in your browser\n{NAMED}"
        f"forge: signed in as alice at {forge.host}, for this command only\n"
    )
    assert sorted(path.name for path in where.iterdir()) == before
    assert len(browser.tabs()) == 2
