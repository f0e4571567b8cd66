"""Two machines on one Forgejo whose refresh tokens rotate: with the shared application one sign-in ends the other, with
an application of its own for each neither does."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.browser import Browser
from tests.support.forge import CLIENT_ID, PASSWORDS, Forge
from tests.support.gentle import go
from tests.support.gentle_browser import GentleBrowser
from tests.support.person import Done, Person
from tests.support.signing_in import Program
from tests.support.terminal import OnTerminal

SIGNING_IN = "forge: signing in to {} in your browser"
NAMED = (
    'forge: the page will name the application "git-credential-oauth", the one that Forgejo or Gitea ships for '
    "helpers like this"
)
WELCOME = "forge: signed in as alice at {}, kept in memory while you work, and two hours more"
ENDED = "forge: {} no longer accepts this sign-in (token was already used)"
OTHERS = "forge: other computers then no longer end its sign-in, and its tokens are good for git and your name alone"
SCOPES = "write:repository read:user"


@pytest.fixture
def rotating(forge: Forge) -> Forge:
    forge.count_grants(on=True)
    return forge


@pytest.fixture
def machines(home: Path, installed: Path, rotating: Forge, browser: GentleBrowser) -> Iterator[list[Person]]:
    """Two homes of one person, who has one browser."""
    two = [Person(home / name, installed, rotating, browser.opener) for name in ("desk", "sofa")]
    for person in two:
        assert person.git("credential-forge", "configure").status == 0
    with two[0].leaks, two[1].leaks:
        yield two
    for person in two:
        assert person.leaks.found(rotating.secrets()) == []


def fetch(person: Person, forge: Forge) -> Done:
    return person.git("ls-remote", "-q", forge.repo_url())


def renew(person: Person, forge: Forge) -> Done:
    """A fetch with a token that has ended: on any git, the one that is refused, and the next."""
    forge.expire_access_tokens()
    first = fetch(person, forge)
    return first if first.status == 0 else fetch(person, forge)


def register(person: Person, forge: Forge, name: str, *more: str) -> Done:
    return person.git("credential-forge", "register", forge.url, "--yes", "--name", name, *more)


def test_the_shared_application(machines: list[Person], rotating: Forge) -> None:
    """A sign-in on the second machine ends that of the first, which is told why and what helps; once a day."""
    desk, sofa = machines
    host, url = rotating.host, rotating.url
    assert fetch(desk, rotating).status == 0
    assert fetch(sofa, rotating).status == 0
    again = [SIGNING_IN.format(host), NAMED, WELCOME.format(host)]
    told = renew(desk, rotating)
    assert told.status == 0
    assert told.err.splitlines() == [
        ENDED.format(host),
        "forge: another computer signed in with the shared application, and this server allows one at a time",
        f"forge: `git credential-forge register {url}` gives this computer an application of its own",
        *again,
    ]
    assert fetch(sofa, rotating).status in (0, 128)
    assert renew(sofa, rotating).status == 0
    second = renew(desk, rotating)
    assert second.err.splitlines() == [ENDED.format(host), *again]
    [noted] = (desk.home / ".cache/git-credential-forge").glob("told-*")
    assert noted.read_bytes() == b""
    yesterday = time.time() - 86_401
    os.utime(noted, (yesterday, yesterday))
    assert renew(sofa, rotating).status == 0
    assert len(renew(desk, rotating).err.splitlines()) == 6


def test_an_application_for_each(machines: list[Person], rotating: Forge, browser: GentleBrowser) -> None:
    """After `register` on both, refreshes by turns open no tab; and a copied ~/.gitconfig changes nothing."""
    desk, sofa = machines
    host = rotating.host
    done = register(desk, rotating, "on desk")
    [made] = rotating.own_applications()
    assert made["name"] == "on desk"
    assert (done.status, done.err.splitlines()) == (
        0,
        [
            f'forge: {host} gets an application for this computer alone, called "on desk"',
            OTHERS,
            "forge: in one tab you sign in with the shared application, to create it, and then with the new one",
            SIGNING_IN.format(host),
            NAMED,
            'forge: created "on desk"; the page now asks for it',
            WELCOME.format(host),
        ],
    )
    kept = "~/.config/git-credential-forge/gitconfig"
    assert done.out == f"the client id {made['client_id']} for {rotating.url} is kept in {kept}\n"
    assert register(sofa, rotating, "on sofa").status == 0
    tabs = browser.wait_for_tabs(2)
    assert [tab.text for tab in tabs] == [
        f"Signed in to {host} as alice. You can close this tab and go back to your terminal."
    ] * 2
    shutil.copy(desk.home / ".gitconfig", sofa.home / ".gitconfig")
    for _ in range(4):
        for person in machines:
            assert renew(person, rotating)[::2] == (0, "")
    assert len(browser.tabs()) == 2
    refreshed = rotating.log("refresh")
    assert {event.ok for event in refreshed} == {True}
    ids = {each["client_id"] for each in rotating.own_applications()}
    assert {event.parameters["client_id"] for event in refreshed} == ids
    assert len(ids) == 2


def test_what_is_kept(machines: list[Person], rotating: Forge) -> None:
    """The id stands in the machine-local file, for its owner alone, and nowhere else; the shared token is not kept, and
    the new one has the narrow scope and may not delete applications."""
    desk, _ = machines
    before = (desk.home / ".gitconfig").read_bytes()
    assert register(desk, rotating, "on desk").status == 0
    [made] = rotating.own_applications()
    assert (desk.home / ".gitconfig").read_bytes() == before
    ours = desk.home / ".config/git-credential-forge/gitconfig"
    assert ours.stat().st_mode & 0o777 == 0o600
    listed = desk.git("config", "--file", str(ours), "--get-regexp", "oauth").out.splitlines()
    section = f"credential.{rotating.url}"
    assert listed == [f"{section}.oauthclientid {made['client_id']}", f"{section}.oauthscopes {SCOPES}"]
    [shared, own] = [event for event in rotating.log("exchange") if event.ok]
    assert (shared.parameters["client_id"], own.parameters["client_id"]) == (CLIENT_ID, made["client_id"])
    asked = [event.parameters.get("scope", "") for event in rotating.log("authorize")]
    assert sorted(set(asked)) == ["", SCOPES]
    status = desk.git("credential-forge", "status").out
    assert "your application" in status
    assert "shared application" not in status


def test_again(machines: list[Person], rotating: Forge) -> None:
    """An application that is there is taken up again: by the id that is kept, and else by its name."""
    desk, sofa = machines
    assert register(desk, rotating, "on desk").status == 0
    there = rotating.own_applications()
    again = register(desk, rotating, "by another name")
    kept = 'forge: the application "on desk" is this machine\'s already, and is used; for another, unregister it first'
    assert kept in again.err.splitlines()
    assert rotating.own_applications() == there
    used = 'forge: the application "on desk" is there already, and is used; --name makes another'
    assert used in register(sofa, rotating, "on desk").err.splitlines()
    assert rotating.own_applications() == there
    assert register(sofa, rotating, "another").status == 0
    assert rotating.own_applications() == there, "its id is kept by now"


def ends_on(elsewhere: httpx.Client, address: str) -> str:
    """What a person on another machine pastes."""
    return go(elsewhere, address, "alice", PASSWORDS["alice"]).address + "\n"


def test_by_paste(machines: list[Person], rotating: Forge, elsewhere: httpx.Client, installed: Path) -> None:
    """Without a browser here, both pages are opened anywhere, one after the other, and answered on the terminal."""
    desk, _ = machines
    del desk.environment["BROWSER"]
    command = [str(installed / "git-credential-forge"), "register", rotating.url, "--name", "on desk"]
    with OnTerminal(command, desk.environment, desk.home) as screen:
        screen.wait_for(r"create it\? \[Y/n\] ")
        screen.type("\n")
        first = screen.wait_for(r"forge: open (\S+) anywhere, then paste here")
        screen.type(ends_on(elsewhere, first[1]))
        second = screen.wait_for(r'created "on desk"; the page now asks for it\nforge: open (\S+) anywhere, then paste')
        assert second[1] != first[1]
        screen.type(ends_on(elsewhere, second[1]))
        assert screen.wait() == 0
    assert WELCOME.format(rotating.host) in screen.seen.splitlines()
    assert renew(desk, rotating)[::2] == (0, "")


@pytest.mark.slow
def test_in_a_real_browser(machines: list[Person], rotating: Forge, chromium: Browser) -> None:
    """One tab from the first page to the last."""
    desk, _ = machines
    desk.environment["BROWSER"] = str(chromium.opener)
    assert register(desk, rotating, "on desk").status == 0
    [tab] = chromium.wait_for_tabs(1)
    page = f"Signed in to {rotating.host} as alice. You can close this tab and go back to your terminal."
    assert tab.text.split() == page.split()
    assert tab.console == ()


def test_denied_at_the_second_page(machines: list[Person], rotating: Forge) -> None:
    """Nothing is kept; what is at the forge by then is said."""
    desk, _ = machines
    ours = desk.home / ".config/git-credential-forge/gitconfig"
    before = ours.read_bytes()
    answers = iter([True, False])
    with GentleBrowser("alice", PASSWORDS["alice"]) as browser:
        browser.consents = lambda: next(answers)  # type: ignore[method-assign]
        desk.environment["BROWSER"] = str(browser.opener)
        done = register(desk, rotating, "on desk")
    assert done.status == 1
    assert done.err.splitlines()[-3:] == [
        f"forge: the application is at {rotating.host} all the same: {rotating.url}/user/settings/applications",
        f"forge: `git credential-forge register {rotating.url} --name 'on desk'` takes it up again",
        f"forge: not signed in to {rotating.host}: you denied the request in the browser",
    ]
    assert ours.read_bytes() == before
    assert desk.git("credential-forge", "status").out == "not signed in anywhere\n"


def test_interrupted_at_the_second_page(machines: list[Person], rotating: Forge, installed: Path) -> None:
    """The same for Ctrl-C."""
    desk, _ = machines
    ours = desk.home / ".config/git-credential-forge/gitconfig"
    before = ours.read_bytes()
    command = [str(installed / "git-credential-forge"), "register", rotating.url, "--yes", "--name", "on desk"]
    with (
        GentleBrowser("alice", PASSWORDS["alice"], "hold") as browser,
        Program(command, {**desk.environment, "BROWSER": str(browser.opener)}) as program,
    ):
        pages = iter([False, True])

        def consents() -> bool:
            if next(pages):
                program.process.send_signal(signal.SIGINT)
            return True

        browser.consents = consents  # type: ignore[method-assign]
        browser.release()
        done = program.ended()
    assert (done.status, done.err.splitlines()[-2:]) == (
        130,
        [
            f"forge: the application is at {rotating.host} all the same: {rotating.url}/user/settings/applications",
            f"forge: `git credential-forge register {rotating.url} --name 'on desk'` takes it up again",
        ],
    )
    assert ours.read_bytes() == before
    assert [path.name for path in ours.parent.iterdir()] == ["gitconfig"]


def test_unregister(machines: list[Person], rotating: Forge, browser: GentleBrowser) -> None:
    """Deletes the application with a token of the shared client, forgets the id and the sign-in, keeps nothing else."""
    desk, _ = machines
    ours = desk.home / ".config/git-credential-forge/gitconfig"
    before = ours.read_bytes()
    assert register(desk, rotating, "on desk").status == 0
    done = desk.git("credential-forge", "unregister", rotating.url, "--yes")
    assert (done.status, done.out.splitlines()) == (
        0,
        [
            f"forgot the client id for {rotating.url}, which was in ~/.config/git-credential-forge/gitconfig",
            f"forgot alice at {rotating.host}, who was signed in by it",
            "the application is deleted, and its tokens have ended",
        ],
    )
    assert rotating.own_applications() == []
    assert ours.read_bytes() == before
    assert len(browser.tabs()) == 2
    assert desk.git("credential-forge", "status").out == "not signed in anywhere\n"
    again = desk.git("credential-forge", "unregister", rotating.url, "--yes")
    assert again == (1, "", f"forge: register has kept nothing for {rotating.url} on this machine\n")


@pytest.mark.parametrize("option", [(), ("--keep-application",)], ids=["nobody to ask", "kept"])
def test_unregister_here_alone(machines: list[Person], rotating: Forge, option: tuple[str, ...]) -> None:
    """Without a terminal to ask on, or by option, the application stays, and no tab is opened."""
    desk, _ = machines
    assert register(desk, rotating, "on desk").status == 0
    pages = rotating.log("authorize")
    done = desk.git("credential-forge", "unregister", rotating.url, *option)
    page = f"{rotating.url}/user/settings/applications"
    stays = f"forge: the application stays at {rotating.host}; to delete it there: {page}\n"
    assert (done.status, done.err) == (0, "" if option else stays)
    assert len(rotating.own_applications()) == 1
    assert rotating.log("authorize") == pages
    assert desk.git("credential-forge", "status").out == "not signed in anywhere\n"
