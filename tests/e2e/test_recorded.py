"""Each forge by its recorded answers, through real git: sign in, fetch, push, refresh, repair, sign out."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest

from tests.support import fixed_port
from tests.support.gentle_browser import GentleBrowser
from tests.support.person import Person, wait_until
from tests.support.recorded import CLIENT, SECRET, Recorded, read
from tests.support.signing_in import QUIT, asked_for
from tests.support.terminal import OnTerminal
from tests.support.wrapped import with_moved, with_record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.forge import Forge

# Where a record is of one host in the world, that host is moved to this machine, with all that it has elsewhere.
ELSEWHERE = {
    "github": ("github.com", ["github.com", "api.github.com"]),
    "bitbucket": ("bitbucket", ["api.bitbucket.org"]),
    "googlesource": ("googlesource", ["accounts.google.com", "oauth2.googleapis.com"]),
}
# Its name, the account that is learnt at a sign-in, what git is given as the name.
NAMES = {
    "github": ("alice", "alice"),
    "github-enterprise": ("alice", "alice"),
    "gitlab": (None, "oauth2"),
    "bitbucket": (None, "x-token-auth"),
    "bitbucket-dc": (None, "x-token-auth"),
    "googlesource": (None, "oauth2"),
}
REFRESHED = [name for name in NAMES if name != "github"]  # an OAuth App's tokens have no end
every = pytest.mark.parametrize("name", NAMES)
refreshed = pytest.mark.parametrize("name", REFRESHED)


class Site(NamedTuple):
    name: str
    forge: Recorded
    person: Person
    browser: GentleBrowser

    def git(self) -> str:
        """Words of a fetch that went well."""
        done = self.person.git("ls-remote", "-q", self.forge.repo_url)
        assert done.status == 0, done.err
        return done.err

    def set(self, key: str, value: str) -> None:
        assert self.person.git("config", "--global", f"credential.{self.forge.url}.{key}", value).status == 0

    @property
    def welcome(self) -> str:
        account = NAMES[self.name][0]
        who = f" as {account}" if account else ""
        return (
            f"forge: signing in to {self.forge.host} in your browser\n"
            f"forge: signed in{who} at {self.forge.host}, kept in memory while you work, and two hours more\n"
        )

    @property
    def tokens(self) -> int:
        return len(self.forge.given["access_token"])


@pytest.fixture
def site(name: str, home: Path, installed: Path, tmp_path: Path) -> Iterator[Site]:
    record = read(name)
    with contextlib.ExitStack() as stack:
        if name == "bitbucket-dc":
            stack.enter_context(fixed_port.turn())
        forge = stack.enter_context(Recorded(record, tmp_path))
        browser = stack.enter_context(GentleBrowser("alice", "unused"))
        if name in ELSEWHERE:
            key, elsewhere = ELSEWHERE[name]
            installed = with_moved(installed, tmp_path / "bin", key, forge.host, *elsewhere)
        person = Person(home, installed, forge, browser.opener)
        with person.leaks:
            assert person.git("credential-forge", "configure").status == 0
            site = Site(name, forge, person, browser)
            site.set("oauthClientId", CLIENT)
            if forge.behaviour.get("secret"):
                site.set("oauthClientSecret", SECRET)
            yield site
        assert person.leaks.found(forge.secrets()) == []


@every
def test_sign_in_and_push(site: Site) -> None:
    """One tab; the name that the forge wants beside a token; then fetches and pushes without a word."""
    assert site.git() == site.welcome
    clone = site.person.home / "clone"
    assert site.person.git("clone", "-q", site.forge.repo_url, str(clone)).err == ""
    site.person.commit(clone, "second")
    assert site.person.git("push", "-q", "origin", "HEAD:second", cwd=clone)[::2] == (0, "")
    assert site.forge.repositories.head("alice", "demo", "second")
    assert (site.tokens, len(site.browser.tabs())) == (1, 1)
    assert {form["username"] for form in site.forge.forms("git")} == {NAMES[site.name][1]}
    assert site.forge.what("refused") == []


@refreshed
def test_refresh(site: Site) -> None:
    """A token that has run out is refreshed, again and again, without a word and without a tab."""
    site.forge.lifetime = 3
    assert site.git() == site.welcome
    for number in (2, 3):
        wait_until(max(site.forge.access.values()))
        assert site.git() == ""
        assert site.tokens == number
    assert len(site.browser.tabs()) == 1
    assert site.forge.what("refused", "bad refresh token") == []


@refreshed
def test_repair(site: Site) -> None:
    """A token that the forge has killed: git before 2.46 fails once, the next command refreshes, and no tab opens."""
    assert site.git() == site.welcome
    site.forge.expire()
    site.person.git("ls-remote", "-q", site.forge.repo_url)
    assert site.git() == ""
    assert (site.tokens, len(site.browser.tabs())) == (2, 1)


@refreshed
def test_the_forge_ends_it(site: Site) -> None:
    """Its own word for a dead refresh token ends the sign-in, said once, and leads to a new one."""
    site.forge.lifetime = 2
    assert site.git() == site.welcome
    wait_until(max(site.forge.access.values()))
    site.forge.revoke_all()
    site.forge.lifetime = None
    said = {
        "github-enterprise": "The refresh token passed is incorrect or expired. (bad_refresh_token)",
        "bitbucket": "Invalid refresh_token (invalid_grant)",
        "bitbucket-dc": "invalid_grant",
        "googlesource": "Token has been expired or revoked. (invalid_grant)",
        "gitlab": (
            "The provided authorization grant is invalid, expired, revoked, does not match the redirection URI used in "
            "the authorization request, or was issued to another client. (invalid_grant)"
        ),
    }
    ended = f"forge: {site.forge.host} no longer accepts this sign-in ({said[site.name]})\n"
    assert site.git() == ended + site.welcome
    assert site.forge.what("bad refresh token") == ["bad refresh token"]


@pytest.mark.parametrize("name", ["github"])
def test_a_token_without_an_end(site: Site) -> None:
    """Revoked at GitHub: git is told to sign in anew, and `login` does."""
    assert site.git() == site.welcome
    site.forge.revoke_all()
    assert site.person.git("ls-remote", "-q", site.forge.repo_url).status == 128
    again = site.person.git("credential-forge", "login", site.forge.url)
    assert (again.status, again.err) == (0, site.welcome)
    assert site.git() == ""


@pytest.mark.parametrize("name", ["gitlab"])
def test_a_401_for_all(site: Site) -> None:
    """GitLab refuses a token at a repository that its account may not see. That costs one refresh, and no tab ever; the
    person is told; and elsewhere the sign-in goes on."""
    hidden = site.forge.repo_url.replace("alice/demo", "bob/secret")
    said = [site.person.git("ls-remote", "-q", hidden).err for _ in range(5)]
    told = (
        f"forge: {site.forge.host} refuses this repository to oauth2, whose token is a moment old\n"
        f"forge: to sign in anew all the same: git credential-forge login {site.forge.url}\n"
    )
    assert said[0].startswith(site.welcome)
    assert said[-1].startswith(told)
    assert (site.tokens, len(site.browser.tabs())) == (2, 1)
    assert site.person.git("ls-remote", "-q", site.forge.repo_url).status == 0
    assert (site.tokens, len(site.browser.tabs())) == (2, 1)


@every
def test_denied(site: Site) -> None:
    """The person says no: in our words, whatever the forge's are, and git does not ask for a password."""
    site.forge.denies = True
    done = site.person.git("ls-remote", "-q", site.forge.repo_url)
    assert done.status == 128
    assert done.err.splitlines()[1] == (
        f"forge: not signed in to {site.forge.host}: you denied the request in the browser"
    )
    assert site.tokens == 0


@every
def test_an_unknown_application(site: Site) -> None:
    """An id that the forge does not have, or its secret wrong: the remedy is one command."""
    site.forge.registered = {"another": ""}
    done = site.person.git("ls-remote", "-q", site.forge.repo_url)
    assert done.status == 128
    assert done.err.splitlines()[1:3] == [
        f"forge: not signed in to {site.forge.host}: it does not know the client id that is set for it",
        f"forge: `git credential-forge register {site.forge.url}` shows what to enter where, and keeps what you get",
    ]


@every
def test_without_an_id(site: Site) -> None:
    """What is missing and what mends it, in one message; nothing is opened."""
    assert site.person.git("config", "--global", "--unset", f"credential.{site.forge.url}.oauthClientId").status == 0
    never = f"git config --global credential.{site.forge.url}.forgeFlow never"
    challenge = site.forge.cases["challenge"]["headers"]["www-authenticate"]
    done = site.person.git("credential-forge", "get", given=asked_for(site.forge.url, challenge=challenge))
    assert (done.status, done.out) == (0, QUIT)
    assert done.err.splitlines() == [
        f"forge: {site.forge.host} needs a client id of its own",
        f"forge: `git credential-forge register {site.forge.url}` shows what to enter where, and keeps what you get",
        f"forge: to type a password or token there instead: {never}",
    ]
    assert site.browser.tabs() == []


@every
def test_sign_out(site: Site) -> None:
    """Forgotten here; and ended there, or said how long it is not."""
    assert site.git() == site.welcome
    out = site.person.git("credential-forge", "logout", site.forge.url).out.splitlines()
    account = NAMES[site.name][0] or NAMES[site.name][1]
    assert out[0] == f"forgot {account} at {site.forge.host}"
    if site.name in ("gitlab", "googlesource"):
        assert out[1:] == ["its tokens are revoked there"]
        assert (site.forge.access, site.forge.refresh) == ({}, {})
    else:
        assert out[1].startswith("the token that git was given stays valid until ")
        assert out[1].endswith(": this forge cannot revoke it by a call")
    assert site.person.git("credential-forge", "status").out == "not signed in anywhere\n"


@every
def test_a_name_in_the_address(site: Site) -> None:
    """`https://alice@host/…`, as forges offer it for copying: the forge gets the name that it wants."""
    address = site.forge.repo_url.replace("://", "://alice@")
    assert site.person.git("ls-remote", "-q", address).status == 0
    assert site.person.git("ls-remote", "-q", address)[::2] == (0, "")
    sent = {form["username"] for form in site.forge.forms("git")}
    assert sent == ({"alice"} if site.name == "googlesource" else {NAMES[site.name][1]})
    assert site.forge.what("refused") == []
    assert len(site.browser.tabs()) == 1
    [asked] = site.forge.forms("code")
    hint = {"github": "login", "github-enterprise": "login", "googlesource": "login_hint"}.get(site.name)
    assert {key: asked[key] for key in ("login", "login_hint") if key in asked} == ({hint: "alice"} if hint else {})


@pytest.mark.parametrize("name", ["gitlab", "github", "github-enterprise"])
@pytest.mark.parametrize("grant", [True, False], ids=["granted", "denied"])
def test_device(site: Site, *, grant: bool) -> None:
    """git over SSH: the code on the terminal, entered elsewhere, and the command goes on; or is told no."""
    environment = {key: value for key, value in site.person.environment.items() if key != "BROWSER"}
    fetch = ["git", "ls-remote", "-q", site.forge.repo_url]
    with OnTerminal(fetch, environment | {"SSH_CONNECTION": "a b c d"}, site.person.home) as program:
        found = program.wait_for(r"forge: open (\S+) in any browser and enter (\S+)\n")
        page = "/oauth/device" if site.name == "gitlab" else "/login/device"
        assert found[1] == site.forge.url + page
        site.forge.enter(found[2], grant=grant)
        assert program.wait() == (0 if grant else 128)
    if grant:
        account = NAMES[site.name][0]
        who = f"signed in as {account} at" if account else "signed in at"
        assert f"forge: {who} {site.forge.host}, kept in memory while you work, and two hours more\n" in program.seen
        assert site.git() == ""
    else:
        assert f"forge: not signed in to {site.forge.host}: you denied the request in the browser\n" in program.seen
    site.person.leaks.saw("the terminal", program.seen)


@pytest.mark.parametrize("name", ["github"])
def test_device_without_a_secret(site: Site) -> None:
    """An OAuth App whose secret nobody has here: a code, although a browser is there."""
    assert (
        site.person.git("config", "--global", "--unset", f"credential.{site.forge.url}.oauthClientSecret").status == 0
    )
    fetch = ["git", "ls-remote", "-q", site.forge.repo_url]
    with OnTerminal(fetch, site.person.environment, site.person.home) as program:
        site.forge.enter(program.wait_for(r"and enter (\S+)\n")[1])
        assert program.wait() == 0
    assert "client_secret" not in site.forge.forms("token")[0]


@pytest.mark.parametrize("name", ["gitlab"])
def test_accounts_with_one_fixed_name(site: Site) -> None:
    """Two accounts at a GitLab, whose tokens all go with `oauth2`: each address has its own token."""
    for account in ("alice", "bob"):
        login = site.forge.url.replace("://", f"://{account}@")
        assert site.person.git("credential-forge", "login", login).status == 0
    found = {}
    for account in ("alice", "bob"):
        url = site.forge.url.replace("://", f"://{account}@")
        filled = site.person.git("credential", "fill", given=f"url={url}\n\n").out
        found[account] = dict(line.split("=", 1) for line in filled.splitlines() if "=" in line)
    assert [one["username"] for one in found.values()] == ["oauth2", "oauth2"]
    assert [one["password"] for one in found.values()] == site.forge.given["access_token"]


@every
def test_paste(site: Site) -> None:
    """No browser where git runs: the address is opened elsewhere, and the one that it ends on pasted."""
    site.set("forgeFlow", "paste")
    fetch = ["git", "ls-remote", "-q", site.forge.repo_url]
    with OnTerminal(fetch, site.person.environment, site.person.home) as program:
        address = program.wait_for(r"forge: open (\S+) anywhere, then paste here the address you end on\n")[1]
        ends_on = httpx.get(address, trust_env=False).headers["location"]
        program.type(ends_on + "\n")
        assert program.wait() == 0
    assert site.git() == ""
    assert site.browser.tabs() == []


@every
def test_lfs(site: Site) -> None:
    """git-lfs asks through `git credential fill`, with the path of its own API: it gets the token that git has."""
    assert site.git() == site.welcome
    filled = site.person.git("credential", "fill", given=f"url={site.forge.repo_url}/info/lfs\n\n").out
    answer = dict(line.split("=", 1) for line in filled.splitlines())
    assert answer["password"] == site.forge.given["access_token"][0]
    assert answer["username"] == NAMES[site.name][1]
    assert len(site.browser.tabs()) == 1


def test_lfs_at_gitea(person: Person, forge: Forge, browser: GentleBrowser) -> None:
    """The same where git-lfs tells the LFS server's own challenge, which is nobody's that we know."""
    person.environment["BROWSER"] = str(browser.opener)
    assert person.git("ls-remote", "-q", forge.repo_url()).status == 0
    asked = f'url={forge.repo_url()}/info/lfs\ncapability[]=state\nwwwauth[]=Basic realm="gitea-lfs"\n\n'
    filled = person.git("credential", "fill", given=asked).out
    assert f"\npassword={forge.secrets()['access_token'][0]}\n" in filled
    assert len(browser.tabs()) == 1


# A server that describes itself: OpenID Connect Discovery, and `iss` in its responses.


def described(**changed: object) -> dict[str, Any]:
    def case(name: str, status: int, body: str) -> dict[str, Any]:
        return {"name": name, "response": {"status": status, "headers": {}, "body": body}}

    document = {
        "issuer": "<base>",
        "authorization_endpoint": "<base>/auth",
        "token_endpoint": "<base>/tok",
        "userinfo_endpoint": "<base>/me",
        "revocation_endpoint": "<base>/rev",
        "authorization_response_iss_parameter_supported": True,
        **changed,
    }
    token = '{"access_token":"<access_token>","token_type":"bearer","expires_in":600,"refresh_token":"<refresh_token>"}'
    paths = {"authorize": "auth", "token": "tok", "whoami": "me", "revoke": "rev"}
    return {
        "paths": {name: f"/{path}" for name, path in paths.items()}
        | {"discovery": "/.well-known/openid-configuration"},
        "behaviour": {"refresh": True, "iss": "<base>"},
        "cases": [
            {"name": "challenge", "response": {"status": 401, "headers": {"WWW-Authenticate": "Basic"}, "body": ""}},
            case("refused", 401, ""),
            case("discovery", 200, json.dumps(document)),
            case("token", 200, token),
            case("bad code", 400, '{"error":"invalid_grant"}'),
            case("bad refresh token", 400, '{"error":"invalid_grant"}'),
            case("unknown client", 400, '{"error":"invalid_client"}'),
            case("whoami", 200, '{"sub":"1","preferred_username":"<login>"}'),
            case("whoami refused", 401, ""),
            case("revoked", 200, ""),
        ],
    }


@pytest.fixture
def oidc(home: Path, installed: Path, tmp_path: Path) -> Iterator[tuple[Recorded, Person]]:
    with Recorded(described(), tmp_path) as forge, GentleBrowser("alice", "unused") as browser:
        person = Person(home, installed, forge, browser.opener)
        assert person.git("credential-forge", "configure").status == 0
        for key, value in (("oauthClientId", CLIENT), ("oauthScopes", "openid git")):
            assert person.git("config", "--global", f"credential.{forge.url}.{key}", value).status == 0
        yield forge, person


def test_a_server_that_describes_itself(oidc: tuple[Recorded, Person]) -> None:
    """A client id is all that is set: sign-in, account, refresh and sign-out by what the server says of itself."""
    forge, person = oidc
    forge.lifetime = 3
    done = person.git("ls-remote", "-q", forge.repo_url)
    assert done.err == (
        f"forge: signing in to {forge.host} in your browser\n"
        f"forge: signed in as alice at {forge.host}, kept in memory while you work, and two hours more\n"
    )
    for _ in range(2):
        wait_until(max(forge.access.values()))
        assert person.git("ls-remote", "-q", forge.repo_url)[::2] == (0, "")
    assert forge.what("refreshed") == ["refreshed"] * 2
    out = person.git("credential-forge", "logout", forge.url).out
    assert out == f"forgot alice at {forge.host}\nits tokens are revoked there\n"
    assert forge.refresh == {}


@pytest.mark.parametrize("issuer", ["", "https://evil.example", "<base>/x"], ids=["missing", "another", "a path more"])
def test_an_answer_of_another_server(oidc: tuple[Recorded, Person], issuer: str) -> None:
    """It announces `iss`, so a response without it, or with another, is somebody else's (RFC 9207)."""
    forge, person = oidc
    forge.issuer = issuer
    done = person.git("ls-remote", "-q", forge.repo_url)
    assert done.status == 128
    assert done.err.splitlines()[1] == f"forge: not signed in to {forge.host}: the answer came from another server"
    assert forge.what("token", "bad code") == []


# A forge that exists only here.

RECORD = """Kind(hosts=("HOST",),
    key="only-here", name="Onlyhere", authorize="a/b", token="a/c", revoke="a/d",
    client_id="shipped", shown_as="a helper", scopes="git", username="token", whoami="me", whoami_fields=("nick",),
    applications="apps")"""


def made_up() -> dict[str, Any]:
    def case(name: str, status: int, body: str, **headers: str) -> dict[str, Any]:
        return {"name": name, "response": {"status": status, "headers": headers, "body": body}}

    token = '{"access_token":"<access_token>","token_type":"bearer","expires_in":600,"refresh_token":"<refresh_token>"}'
    challenge = {"WWW-Authenticate": 'Basic realm="Only here"'}
    return {
        "paths": {"authorize": "/a/b", "token": "/a/c", "revoke": "/a/d", "whoami": "/me"},
        "behaviour": {"username": "token", "refresh": True, "refresh_kills_access": True},
        "cases": [
            case("challenge", 401, "", **challenge),
            case("refused", 401, "", **challenge),
            case("token", 200, token),
            case("bad code", 400, '{"error":"invalid_grant"}'),
            case("bad refresh token", 400, '{"error":"invalid_grant"}'),
            case("unknown client", 400, '{"error":"invalid_client"}'),
            case("whoami", 200, '{"nick":"<login>"}'),
            case("whoami refused", 401, ""),
            case("revoked", 200, ""),
        ],
    }


def test_a_forge_that_is_only_a_record(home: Path, installed: Path, tmp_path: Path) -> None:
    """Recognised, signed in to, refreshed and signed out of: with a record, and no line of code."""
    with Recorded(made_up(), tmp_path) as forge, GentleBrowser("alice", "unused") as browser:
        forge.registered = {"shipped": ""}
        forge.lifetime = 3
        person = Person(
            home, with_record(installed, tmp_path / "bin", RECORD.replace("HOST", forge.host)), forge, browser.opener
        )
        assert person.git("credential-forge", "configure").status == 0
        done = person.git("ls-remote", "-q", forge.repo_url)
        assert done.err == (
            f"forge: signing in to {forge.host} in your browser\n"
            'forge: the page will name the application "a helper", the one that Onlyhere ships for helpers like this\n'
            f"forge: signed in as alice at {forge.host}, kept in memory while you work, and two hours more\n"
        )
        assert forge.forms("code")[0]["scope"] == "git"
        wait_until(max(forge.access.values()))
        assert person.git("ls-remote", "-q", forge.repo_url)[::2] == (0, "")
        assert (forge.what("refreshed"), len(browser.tabs())) == (["refreshed"], 1)
        out = person.git("credential-forge", "logout", forge.url).out
        assert out == f"forgot alice at {forge.host}\nits tokens are revoked there\n"
        assert forge.access == {}
        assert forge.refresh == {}
