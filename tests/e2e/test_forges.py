"""The same forge met in other ways: by path, with a client id of one's own, over plain http, as somebody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.forge import PASSWORDS, Forge
from tests.support.gentle_browser import GentleBrowser
from tests.support.person import REPAIRS, Person
from tests.support.signing_in import answer_of

OWN = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def signed(person: Person, browser: GentleBrowser) -> Person:
    person.environment["BROWSER"] = str(browser.opener)
    return person


def test_no_challenge_is_passed(signed: Person, forge: Forge) -> None:
    """git before 2.41 says nothing of the challenge: an unknown host is recognised by asking it, once."""
    filled = signed.git("credential", "fill", given=f"url={forge.url}\n\n")
    assert filled.status == 0
    assert filled.out.startswith(f"protocol=https\nhost={forge.host}\nusername=alice\npassword=")
    assert len(forge.log("discovery")) == 1


@pytest.mark.parametrize("secret", ["", "a secret"], ids=["public", "confidential"])
def test_an_application_of_ones_own(signed: Person, forge: Forge, secret: str) -> None:
    """A configured client id counts, with its secret and scopes, and is what refreshes later."""
    forge.add_application(OWN, secret=secret)
    for key, value in (("oauthClientId", OWN), ("oauthClientSecret", secret), ("oauthScopes", "write:repository")):
        if value:
            assert signed.git("config", "--global", f"credential.{forge.url}.{key}", value).status == 0
    done = signed.git("ls-remote", "-q", forge.repo_url())
    assert done.err == (
        f"forge: signing in to {forge.host} in your browser\n"
        f"forge: signed in as alice at {forge.host}, kept in memory while you work, and two hours more\n"
    )
    forge.expire_access_tokens()
    assert signed.git("ls-remote", "-q", forge.repo_url()).status == (0 if REPAIRS else 128)
    assert signed.git("ls-remote", "-q", forge.repo_url())[::2] == (0, "")
    exchanged = [event for event in forge.log("exchange", "refresh") if event.ok]
    assert [event.parameters["client_id"] for event in exchanged] == [OWN, OWN]
    [authorized] = [event for event in forge.log("authorize") if event.user == ""]
    assert authorized.parameters["scope"] == "write:repository"


def test_another_client_id_voids_the_sign_in(signed: Person, forge: Forge, browser: GentleBrowser) -> None:
    """A session is of one client: with another one configured it is not refreshed, the browser opens."""
    assert signed.git("ls-remote", "-q", forge.repo_url()).status == 0
    forge.expire_access_tokens()
    forge.add_application(OWN)
    assert signed.git("config", "--global", f"credential.{forge.url}.oauthClientId", OWN).status == 0
    assert signed.git("ls-remote", "-q", forge.repo_url()).status == (0 if REPAIRS else 128)
    assert signed.git("ls-remote", "-q", forge.repo_url()).status == 0
    assert len(browser.tabs()) == 2
    assert forge.log("refresh") == []


def test_an_unknown_client(signed: Person, forge: Forge) -> None:
    """A forge without the shared application is found out beside the browser, and the remedy is named at once."""
    forge.remove_application()
    done = signed.git("ls-remote", "-q", forge.repo_url())
    assert done.status == 128
    remedy = f"`git credential-forge register {forge.url}` shows what to enter where, and keeps what you get"
    assert done.err.splitlines()[2:4] == [
        f"forge: not signed in to {forge.host}: it does not know the application that Forgejo or Gitea usually ships",
        f"forge: {remedy}",
    ]
    forge.add_application(OWN)
    assert signed.git("config", "--global", f"credential.{forge.url}.oauthClientId", OWN).status == 0
    assert signed.git("ls-remote", "-q", forge.repo_url()).status == 0, "no pause once it is mended"


def test_somebody_else_than_asked(signed: Person, forge: Forge) -> None:
    """Who comes back is not who the remote asks for: refused in words, nothing kept, no password asked for."""
    done = signed.git("ls-remote", "-q", forge.repo_url().replace("https://", "https://bob@"))
    assert done.status == 128
    assert done.err.splitlines()[2:4] == [
        "forge: you signed in as alice, but this remote asks for bob; nothing was changed",
        f"forge: sign out of {forge.host} in your browser, or use https://alice@{forge.host}/…",
    ]
    assert signed.git("credential-forge", "status").out == "not signed in anywhere\n"


@pytest.mark.parametrize("name", ["alice", "Alice", "oauth2", "git"])
def test_a_name_in_the_address(signed: Person, forge: Forge, browser: GentleBrowser, name: str) -> None:
    """The account by its name in either case, and the fixed names that forges take, share one sign-in."""
    address = forge.repo_url().replace("https://", f"https://{name}@")
    assert signed.git("ls-remote", "-q", address).status == 0
    assert signed.git("ls-remote", "-q", address)[::2] == (0, "")
    assert signed.git("ls-remote", "-q", forge.repo_url())[::2] == (0, "")
    assert len(browser.tabs()) == 1


@pytest.mark.parametrize("http_path", [True, False], ids=["useHttpPath", "host"])
def test_a_forge_on_a_sub_path(home: Path, installed: Path, browser: GentleBrowser, *, http_path: bool) -> None:
    """Described by its endpoints, for its own path with useHttpPath or for the whole host."""
    with Forge(prefix="/forge") as forge:
        forge.create_repo()
        person = Person(home, installed, forge, browser.opener)
        assert person.git("credential-forge", "configure").status == 0
        host = forge.url.removesuffix("/forge")
        section = forge.url if http_path else host
        assert person.git("config", "--global", f"credential.{host}.useHttpPath", str(http_path).lower()).status == 0
        for key, path in (("oauthAuthURL", "authorize"), ("oauthTokenURL", "access_token")):
            value = f"/forge/login/oauth/{path}"
            assert person.git("config", "--global", f"credential.{section}.{key}", value).status == 0
        done = person.git("ls-remote", "-q", forge.repo_url())
        name = f"{forge.host}/forge" if http_path else forge.host
        assert done.err.splitlines()[-1].startswith(f"forge: signed in as alice at {name}, ")
        assert done.status == 0
        assert person.git("ls-remote", "-q", forge.repo_url())[::2] == (0, "")
        assert len(browser.tabs()) == 1
        if http_path:
            elsewhere = f"protocol=https\nhost={forge.host}\npath=a/b.git\n\n"
            other = person.git("credential-forge", "get", given=elsewhere, CI="1")
            assert other == (0, "", ""), "the token of one forge is not for another on the same host"


def test_a_sub_path_that_nobody_described(home: Path, installed: Path, browser: GentleBrowser) -> None:
    """With useHttpPath alone it is found, also by a git that passes no challenge: signed in to for that path, used,
    refreshed and signed out of; another path of the host gets nothing of it."""
    with Forge(prefix="/code/forge") as forge:
        forge.create_repo()
        forge.create_repo("other")
        person = Person(home, installed, forge, browser.opener)
        assert person.git("credential-forge", "configure").status == 0
        host = forge.url.removesuffix("/code/forge")
        assert person.git("config", "--global", f"credential.{host}.useHttpPath", "true").status == 0
        done = person.git("ls-remote", "-q", forge.repo_url())
        assert done.err.splitlines()[-1] == (
            f"forge: signed in as alice at {forge.host}/code/forge, kept in memory while you work, and two hours more"
        )
        assert person.git("ls-remote", "-q", forge.repo_url("other"))[::2] == (0, "")
        forge.expire_access_tokens()
        person.git("ls-remote", "-q", forge.repo_url())
        assert person.git("ls-remote", "-q", forge.repo_url())[::2] == (0, "")
        assert (len(browser.tabs()), len(forge.log("refresh"))) == (1, 1)
        for path in ("code/other/a/b.git", "code/forge", "code/forgery/a/b.git", "code/forge/../x/a/b.git", "a/b.git"):
            asked = f"protocol=https\nhost={forge.host}\npath={path}\n\n"
            other = person.git("credential-forge", "get", given=asked, CI="1")
            assert (other.out == "") is (path != "code/forge"), path
        out = person.git("credential-forge", "logout", forge.url).out
        assert out.startswith(f"forgot alice at {forge.host}/code/forge\n")


def test_plain_http_on_this_machine(home: Path, installed: Path, browser: GentleBrowser) -> None:
    """A forge on loopback needs no certificate."""
    with Forge(tls=False) as forge:
        forge.create_repo()
        person = Person(home, installed, forge, browser.opener)
        assert person.git("credential-forge", "configure").status == 0
        assert person.git("ls-remote", "-q", forge.repo_url()).status == 0
        assert person.git("ls-remote", "-q", forge.repo_url())[::2] == (0, "")


def test_plain_http_elsewhere(signed: Person, browser: GentleBrowser) -> None:
    """Beyond this machine plain http is refused, with the key that allows it; a stranger gets not a word."""
    known = signed.git("credential-forge", "get", given="protocol=http\nhost=codeberg.org\n\n")
    assert known[:2] == (0, "quit=1\n\n")
    assert known.err.splitlines() == [
        "forge: not signed in to codeberg.org: over plain http anybody on the way could read the token",
        "forge: to allow it all the same: git config --global credential.http://codeberg.org.forgeAllowHttp true",
    ]
    assert signed.git("credential-forge", "get", given="protocol=http\nhost=example.org\n\n") == (0, "", "")
    assert browser.tabs() == []


def test_not_interactive(signed: Person, forge: Forge, browser: GentleBrowser) -> None:
    """Whatever says that nobody is there: silent, exit 0, no tab; what is held is given all the same."""
    ask = f"protocol=https\nhost={forge.host}\n\n"
    settings = ["GIT_TERMINAL_PROMPT=0", "GCM_INTERACTIVE=never", "VSCODE_GIT_FETCH_SILENT=true", "CI=true"]
    for setting in settings:
        assert signed.run("env", setting, "git", "credential-forge", "get", given=ask) == (0, "", "")
    assert signed.git("-c", "credential.interactive=false", "credential-forge", "get", given=ask) == (0, "", "")
    assert (browser.tabs(), forge.log()) == ([], [])
    assert signed.git("ls-remote", "-q", forge.repo_url()).status == 0
    for setting in settings:
        held = signed.run("env", setting, "git", "credential-forge", "get", given=ask).out
        assert answer_of(held)["username"] == "alice"


def test_never(signed: Person, forge: Forge, browser: GentleBrowser) -> None:
    """`forgeFlow = never`: what a person typed for that host is kept and given, and nothing is opened."""
    assert signed.git("config", "--global", f"credential.{forge.url}.forgeFlow", "never").status == 0
    token = str(forge.mint()["access_token"])
    approved = f"url={forge.url}\nusername=me\npassword={token}\n\n"
    assert signed.git("credential", "approve", given=approved) == (0, "", "")
    assert signed.git("ls-remote", "-q", forge.repo_url())[::2] == (0, "")
    assert browser.tabs() == []


def test_two_accounts(signed: Person, forge: Forge) -> None:
    """Two accounts at one forge: each remote gets its own, and without a name the first one is meant."""
    assert signed.git("ls-remote", "-q", forge.repo_url()).status == 0
    with GentleBrowser("bob", PASSWORDS["bob"]) as other:
        bobs = signed.git("credential-forge", "login", f"https://bob@{forge.host}", BROWSER=str(other.opener))
        assert bobs.status == 0
    for name, account in (("", "alice"), ("alice@", "alice"), ("bob@", "bob")):
        filled = signed.git("credential", "fill", given=f"url=https://{name}{forge.host}\n\n")
        assert f"\nusername={account}\n" in filled.out
    removed = signed.git("credential-forge", "logout", f"https://alice@{forge.host}")
    assert removed.out.startswith(f"forgot alice at {forge.host}\n")
    assert "\nusername=bob\n" in signed.git("credential", "fill", given=f"url={forge.url}\n\n").out
