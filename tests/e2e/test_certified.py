"""An independent server, npm's oidc-provider, through real git: found by OpenID Connect Discovery, registered at by
RFC 7591, signed in to with PKCE and `iss` (RFC 9207), refreshed with rotation, signed out of by RFC 7009."""

from __future__ import annotations

import functools
import shutil
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from tests import outside
from tests.conftest import once, run
from tests.support.certified import PACKAGE, Certified, without_iss
from tests.support.gentle import go
from tests.support.gentle_browser import GentleBrowser
from tests.support.person import Done, Person, wait_until
from tests.support.surroundings import clean_environment
from tests.support.terminal import OnTerminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

CLIENT = {
    "client_id": "ours",
    "application_type": "native",
    "redirect_uris": ["http://127.0.0.1"],
    "token_endpoint_auth_method": "none",
    "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
}


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the provider in its node_modules."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("not here: node")

    def install(directory: Path) -> None:
        trusted = outside.machine().certificates.get("SSL_CERT_FILE")
        told = {"NODE_EXTRA_CA_CERTS": trusted} if trusted else {}  # Node has a name of its own for it
        environment = clean_environment(directory / "home", **told)
        quiet = ("--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--no-update-notifier")
        run(["npm", "install", "--prefix", str(directory), *quiet, PACKAGE], environment)

    return once(tmp_path_factory, "oidc-provider", install)


@pytest.fixture
def certified(packages: Path, tmp_path: Path) -> Iterator[Certified]:
    with Certified(packages, tmp_path, [CLIENT]) as forge:
        yield forge


@pytest.fixture
def somebody(home: Path, installed: Path, certified: Certified) -> Iterator[Person]:
    with GentleBrowser("alice", "any") as browser:
        person = Person(home, installed, certified, browser.opener)
        with person.leaks:
            assert person.git("credential-forge", "configure").status == 0
            yield person
        assert person.leaks.found(certified.secrets()) == []


def fetch(person: Person, forge: Certified, name: str = "") -> Done:
    return person.git("ls-remote", "-q", forge.repo_url.replace("://", f"://{name}"), "HEAD")


def right(forge: Certified) -> str:
    return f"{forge.repositories.head('alice', 'demo')}\tHEAD\n"


def set_up(person: Person, forge: Certified, **settings: str) -> None:
    for key, value in settings.items():
        assert person.git("config", "--global", f"credential.{forge.url}.{key}", value).status == 0


def welcome(forge: Certified, who: str) -> str:
    return (
        f"forge: signing in to {forge.host} in your browser\n"
        f"forge: signed in{who} at {forge.host}, kept in memory while you work, and two hours more\n"
    )


@pytest.mark.parametrize(
    ("scopes", "account"), [("openid profile", "alice"), ("git", "")], ids=["OpenID", "OAuth alone"]
)
def test_the_whole_way(somebody: Person, certified: Certified, scopes: str, account: str) -> None:
    """`register URL` gets a client id by a call; then fetch, push, refresh, refresh and sign-out as anywhere."""
    person, forge = somebody, certified
    registered = person.git("credential-forge", "register", forge.url, "--name", "git on desk")
    assert registered.status == 0, registered.err
    assert registered.err == f'forge: {forge.host} has registered this program as "git on desk"\n'
    set_up(person, forge, oauthScopes=scopes)
    forge.set_lifetime(4)
    assert fetch(person, forge) == (0, right(forge), welcome(forge, f" as {account}" if account else ""))
    [asked] = forge.forms("/auth")
    client = asked["client_id"]
    assert f"the client id {client} for {forge.url} is kept in " in registered.out
    assert (asked["code_challenge_method"], asked["scope"]) == ("S256", scopes)
    back = next(heard.sent_to for heard in forge.heard if "code" in heard.sent_to)
    assert back["iss"] == forge.url
    for _ in range(2):
        wait_until(time.time() + 4)
        assert fetch(person, forge) == (0, right(forge), "")
    forge.set_lifetime(3600)
    wait_until(time.time() + 4)
    clone = person.home / "clone"
    assert person.git("clone", "-q", forge.repo_url, str(clone)) == (0, "", "")
    person.commit(clone, "second")
    assert person.git("push", "-q", "origin", "HEAD:second", cwd=clone) == (0, "", "")
    assert forge.repositories.head("alice", "demo", "second")
    grants = [form["grant_type"] for form in forge.forms("/token") if form.get("code") != "probe"]
    assert grants == ["authorization_code"] + ["refresh_token"] * 3
    assert len(set(forge.given["refresh_token"])) == 4, "each refresh gives a new one"
    assert set(forge.git_users) == {"alice"}
    token, refresh = forge.given["access_token"][-1], forge.given["refresh_token"][-1]
    assert (forge.owner(token), forge.refreshable(refresh)) == ("alice", True)
    out = person.git("credential-forge", "logout", forge.url).out
    assert out == f"forgot {account or 'oauth2'} at {forge.host}\nits tokens are revoked there\n"
    assert (forge.owner(token), forge.refreshable(refresh)) == ("", False)


def test_a_refresh_token_used_twice(somebody: Person, certified: Certified) -> None:
    """The server ends the whole sign-in then (RFC 9700, section 4.14.2): in its words, and one tab makes it anew."""
    person, forge = somebody, certified
    set_up(person, forge, oauthClientId="ours", oauthScopes="openid profile")
    forge.set_lifetime(4)
    assert fetch(person, forge).status == 0
    wait_until(time.time() + 4)
    forge.replay(forge.given["refresh_token"][0])
    ended = fetch(person, forge)
    assert ended[:2] == (0, right(forge))
    assert ended.err == (
        f"forge: {forge.host} no longer accepts this sign-in (grant request is invalid (invalid_grant))\n"
        + welcome(forge, " as alice")
    )


@pytest.mark.parametrize("instead", ["", "iss=https%3A%2F%2Fevil.example"], ids=["missing", "another"])
def test_iss(somebody: Person, certified: Certified, instead: str) -> None:
    """It announces `iss`, so an answer without it, or with another's, is not taken, and the code is sent nowhere."""
    set_up(somebody, certified, oauthClientId="ours", oauthScopes="git")
    certified.instead = functools.partial(without_iss, instead=instead)
    done = fetch(somebody, certified)
    assert done.status == 128
    assert done.err.splitlines()[:2] == [
        f"forge: signing in to {certified.host} in your browser",
        f"forge: not signed in to {certified.host}: the answer came from another server",
    ]
    assert [form for form in certified.forms("/token") if form.get("code") != "probe"] == []


def test_the_account_is_hinted(somebody: Person, certified: Certified) -> None:
    """`login_hint` (OpenID Connect Core, section 3.1.2.1), where the address names somebody."""
    set_up(somebody, certified, oauthClientId="ours", oauthScopes="openid profile")
    assert fetch(somebody, certified, "alice@") == (0, right(certified), welcome(certified, " as alice"))
    assert [form.get("login_hint") for form in certified.forms("/auth")] == ["alice"]


def test_paste(somebody: Person, certified: Certified) -> None:
    """No browser where git runs: the address is opened on another machine, and the one that it ends on pasted."""
    set_up(somebody, certified, oauthClientId="ours", oauthScopes="openid profile", forgeFlow="paste")

    def only_the_forge(request: httpx.Request) -> None:
        if f"{request.url.host}:{request.url.port}" != certified.host:
            raise httpx.ConnectError("refused")

    git = ["git", "ls-remote", "-q", certified.repo_url, "HEAD"]
    hooks = {"request": [only_the_forge]}
    with (
        httpx.Client(verify=False, trust_env=False, event_hooks=hooks) as elsewhere,
        OnTerminal(git, somebody.environment, somebody.home) as program,
    ):
        address = program.wait_for(r"forge: open (\S+) anywhere, then paste here the address you end on\n")[1]
        program.type(go(elsewhere, address, "alice", "any").address + "\n")
        assert program.wait() == 0
    assert program.seen.endswith(f"{welcome(certified, ' as alice').splitlines()[1]}\n{right(certified)}")
    assert fetch(somebody, certified) == (0, right(certified), "")
