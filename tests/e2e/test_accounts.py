"""Two accounts at one forge while tokens end, an hour and more by a clock that is set: each repository is asked for
with its owner's token, and nobody is asked to sign in again."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

from git_credential_forge import vault
from git_credential_forge.origin import of_request
from tests.support.forge import CLIENT_ID, PASSWORDS, Forge
from tests.support.gentle_browser import GentleBrowser
from tests.support.person import Done, Person
from tests.support.signing_in import NAMED, answer_of, asked_for
from tests.support.storm import OwnInstall, directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIFE = 900  # seconds, of an access token; the last 60 are not used
STEP = 600  # seconds: one time in the life of a token, and one behind its end
HOUR = 3600
ACCOUNTS = ("alice", "bob")
REPOSITORIES = [(owner, name) for owner in ACCOUNTS for name in ("one", "two")]
AGAIN = ", kept in memory while you work, and two hours more"
# How git learns who is meant. `{}` in an address is the owner.
BY_NAME: tuple[str, dict[str, str]] = ("https://{}@", {})
BY_PATH = ("https://", {"{url}/bob.username": "bob", "{url}/alice.username": "alice"})
ONE_BY_PATH = ("https://", {"{url}.username": "alice", "{url}/bob.username": "bob"})
THE_OTHER_BY_NAME = ("https://{}@", {"{url}.username": "alice"})


class Desk(NamedTuple):
    """A person with a clock that can be set, and a browser for each account."""

    person: Person
    forge: Forge
    clock: OwnInstall
    browsers: dict[str, GentleBrowser]

    def set(self, key: str, value: str) -> None:
        assert self.person.git("config", "--global", f"credential.{key}", value).status == 0

    def git(self, owner: str, name: str, start: str) -> Done:
        """A fetch, by whose browser would open if one did."""
        url = self.forge.repo_url(name, owner).replace("https://", start.format(owner))
        return self.person.git("ls-remote", "-q", url, "HEAD", BROWSER=str(self.browsers[owner].opener))

    def login(self, account: str) -> None:
        url = f"https://{account}@{self.forge.host}"
        done = self.person.git("credential-forge", "login", url, BROWSER=str(self.browsers[account].opener))
        assert done.status == 0, done.err

    def get(self, username: str = "") -> Done:
        """What git is given without anybody there."""
        named = [f"username={username}"] if username else []
        return self.person.git("credential-forge", "get", given=asked_for(self.forge.url, *named), CI="1")

    @property
    def tabs(self) -> list[int]:
        return [len(self.browsers[account].tabs()) for account in ACCOUNTS]

    @property
    def refreshes(self) -> list[bool]:
        """Of each, whether it went well."""
        return [event.ok for event in self.forge.log("refresh")]

    def later(self, seconds: int) -> None:
        """So long after the beginning. git's cache daemon has another clock: it is told what it would have dropped."""
        self.clock.set(seconds)
        origin = of_request("https", self.forge.host)
        assert origin
        [names] = directory(self.person).glob("account-*")
        for line in names.read_text().splitlines()[1:]:
            answer_end, session_end, base, account = line.split("\t")
            if int(answer_end) <= time.time() + seconds:
                self._drop(vault._answer_entry(origin, account))
            if int(session_end) <= time.time() + seconds:
                self._drop(vault._session_entry(origin, account, base))

    def _drop(self, entry: bytes) -> None:
        socket = str(directory(self.person) / "socket")
        done = self.person.git("credential-cache", "--socket", socket, "erase", given=entry.decode())
        assert done == (0, "", "")


@pytest.fixture
def desk(home: Path, installed: Path, forge: Forge) -> Iterator[Desk]:
    for owner, name in REPOSITORIES:
        if not forge.repositories.path(owner, name).is_dir():
            forge.create_repo(name, owner)
    clock = OwnInstall(home / "own", installed)
    person = Person(home, clock.bin, forge)
    with contextlib.ExitStack() as stack:
        stack.enter_context(person.leaks)
        browsers = {user: stack.enter_context(GentleBrowser(user, PASSWORDS[user])) for user in ACCOUNTS}
        assert person.git("credential-forge", "configure").status == 0
        yield Desk(person, forge, clock, browsers)
    assert person.leaks.found(forge.secrets()) == []


WAYS = {
    "names in the remotes": BY_NAME,
    "a name for each path": BY_PATH,
    "one for the host, one for a path": ONE_BY_PATH,
    "one for the host": THE_OTHER_BY_NAME,
}
QUICK = [("names in the remotes", False), ("one for the host, one for a path", True)]


@pytest.mark.parametrize(
    ("how", "http_path"),
    [
        pytest.param(
            way,
            http_path,
            id=f"{name}, {'useHttpPath' if http_path else 'host'}",
            marks=[] if (name, http_path) in QUICK else [pytest.mark.slow],
        )
        for name, way in WAYS.items()
        for http_path in (True, False)
    ],
)
def test_an_hour(desk: Desk, how: tuple[str, dict[str, str]], *, http_path: bool) -> None:
    """One tab for each account, one refresh for each token that has ended, and never the wrong account."""
    forge, (start, settings) = desk.forge, how
    forge.set_lifetime(LIFE)
    desk.set(f"{forge.url}.useHttpPath", str(http_path).lower())
    for key, value in settings.items():
        desk.set(key.format(url=forge.url), value)
    for owner in ACCOUNTS:
        done = desk.git(owner, "one", start)
        assert done[:2] == (0, f"{forge.head('one', owner)}\tHEAD\n")
        assert done.err == (
            f"forge: signing in to {forge.host} in your browser\n{NAMED}"
            f"forge: signed in as {owner} at {forge.host}{AGAIN}\n"
        )
    for now in range(STEP, HOUR + 1, STEP):
        desk.later(now)
        if now % (2 * STEP) == 0:
            forge.expire_access_tokens()
        for owner, name in REPOSITORIES if now % (4 * STEP) else reversed(REPOSITORIES):
            assert desk.git(owner, name, start) == (0, f"{forge.head(name, owner)}\tHEAD\n", ""), (now, owner, name)
    assert {(request.target.split("/")[1], request.user) for request in forge.git_requests if request.user} == {
        (owner, owner) for owner in ACCOUNTS
    }
    assert [request for request in forge.git_requests if request.status not in (200, 401)] == []
    assert desk.tabs == [1, 1]
    assert desk.refreshes == [True] * 6


def test_the_default_answer_is_gone(desk: Desk) -> None:
    """Who names nobody means the account that signed in first. When its token has ended it is that one which is
    refreshed; when it cannot be, nothing is given, although the other's token is good."""
    forge = desk.forge
    forge.set_lifetime(LIFE)
    desk.login("alice")
    forge.set_lifetime(5 * HOUR)
    desk.login("bob")
    assert answer_of(desk.get().out)["username"] == "alice"
    desk.later(LIFE)
    assert answer_of(desk.get().out)["username"] == "alice"
    assert desk.refreshes == [True]


@pytest.mark.parametrize("told", ["by the forge", "by time"])
def test_the_default_sign_in_is_over(desk: Desk, told: str) -> None:
    """Then nothing is given to who names nobody, however often, although the other account is signed in; who is there
    signs in, and is the default again."""
    forge = desk.forge
    forge.set_lifetime(LIFE)
    desk.login("alice")
    if told == "by the forge":
        forge.revoke_all()
        desk.later(LIFE)
    forge.set_lifetime(5 * HOUR)
    desk.login("bob")
    if told == "by time":
        desk.later(LIFE + 2 * HOUR)
    assert answer_of(desk.get("bob").out)["username"] == "bob"
    assert [desk.get().out for _ in range(3)] == [""] * 3
    assert answer_of(desk.get("bob").out)["username"] == "bob"
    assert desk.git("alice", "one", "https://").status == 0
    assert answer_of(desk.get().out)["username"] == "alice"
    assert answer_of(desk.get("bob").out)["username"] == "bob"
    assert desk.tabs == [2, 1]


def test_the_account_is_hinted(desk: Desk) -> None:
    """Where a server takes a hint (here one that the configuration describes), it is told which account is meant: by
    the remote's name, by the path's configuration; and nobody, where nobody is named."""
    forge = desk.forge
    forge.challenge = 'Basic realm="Some"'
    for key, value in (("ClientId", CLIENT_ID), ("AuthURL", "/oauth/authorize"), ("TokenURL", "/oauth/token")):
        desk.set(f"{forge.url}.oauth{key}", value)
    desk.set(f"{forge.url}/bob.username", "bob")
    assert desk.git("alice", "one", "https://{}@").status == 0
    assert desk.git("bob", "one", "https://").status == 0
    done = desk.person.git("credential-forge", "login", forge.url, BROWSER=str(desk.browsers["alice"].opener))
    assert done.status == 0
    asked = [event.parameters for event in forge.log("authorize") if event.parameters.get("state")]
    hints = dict.fromkeys((each["state"], each.get("login_hint")) for each in asked)
    assert [hint for _, hint in hints] == ["alice", "bob", None]
    assert all("login" not in each for each in asked)
