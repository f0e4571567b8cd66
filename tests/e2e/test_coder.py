"""Coder as OAuth provider, as it was in 2025 and as it is in 2026: from the first sign-in to the logout."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import httpx
import pytest

from git_credential_forge import machine
from tests.support import fixed_port
from tests.support.browser import Browser
from tests.support.coder import Coder
from tests.support.coder_clients import Client
from tests.support.coder_people import Entry
from tests.support.forge import PASSWORDS
from tests.support.gentle_browser import GentleBrowser
from tests.support.httpserver import Answer
from tests.support.keychain import Keychain
from tests.support.person import Done, Person, wait_until
from tests.support.signing_in import answer_of
from tests.support.terminal import OnTerminal

TOKENS, REGISTER, REVOKE, APPS = "/oauth2/tokens", "/oauth2/register", "/oauth2/revoke", "/api/v2/oauth2-provider/apps"
MANY = 16
NO_TLS = SimpleNamespace(ca_file=Path(os.devnull))
GENERATIONS = pytest.mark.parametrize("coder", [2025, 2026], indirect=True)


@pytest.fixture
def coder(request: pytest.FixtureRequest) -> Iterator[Coder]:
    with Coder(getattr(request, "param", 2026)) as coder:
        yield coder


@pytest.fixture
def alone(home: Path, installed: Path) -> Person:
    """Set up by `configure`, without a browser."""
    person = Person(home, installed, NO_TLS)
    assert person.git("credential-forge", "configure").status == 0
    return person


@pytest.fixture
def anybody(alone: Person, coder: Coder) -> Iterator[Person]:
    """… of whom no secret is seen anywhere."""
    with alone.leaks:
        yield alone
    assert alone.leaks.found(coder.secrets()) == []


@pytest.fixture
def person(anybody: Person, browser: GentleBrowser) -> Person:
    anybody.environment["BROWSER"] = str(browser.opener)
    return anybody


def ask(coder: Coder) -> str:
    return f"url={coder.url}\n\n"


def fill(person: Person, coder: Coder) -> tuple[str, str]:
    """The token that git is given, and what was said."""
    done = person.git("credential", "fill", given=ask(coder))
    assert done.status == 0, done.err
    return answer_of(f"{done.out}\n")["password"], done.err


def refuse(person: Person, coder: Coder, token: str) -> None:
    """As git does with what a server has refused."""
    given = f"{ask(coder)[:-1]}username=alice\npassword={token}\n\n"
    assert person.git("credential", "reject", given=given) == (0, "", "")


def forget(person: Person, coder: Coder) -> None:
    """The session leaves memory, as after a reboot."""
    assert person.git("credential", "reject", given=ask(coder)) == (0, "", "")


def login(person: Person, coder: Coder) -> Done:
    return person.git("credential-forge", "login", coder.url)


def signing_in(coder: Coder) -> str:
    return (
        f"forge: signing in to {coder.host} in your browser\n"
        f"forge: signed in as alice at {coder.host}, kept in memory while you work, and two hours more\n"
    )


def alive(coder: Coder, token: str) -> bool:
    answer = httpx.get(f"{coder.url}/api/v2/users/me", headers={"Coder-Session-Token": token}, trust_env=False)
    return answer.status_code == 200


def forms(coder: Coder) -> list[dict[str, str]]:
    """What came to the token endpoint, without the questions whether a client is known there."""
    asked = [entry for entry in coder.requests(TOKENS) if entry.method == "POST"]
    assert [entry for entry in asked if "authorization" in entry.headers or entry.query] == []
    return [entry.form for entry in asked if entry.form.get("code") != "probe"]


def kept(person: Person) -> str:
    return (person.home / ".config/git-credential-forge/gitconfig").read_text()


def redirects(coder: Coder) -> list[str]:
    return [uri for client in coder.clients.values() for uri in client.redirect_uris]


def port(coder: Coder) -> int:
    return urlsplit(redirects(coder)[0]).port or 0


def taken(port: int) -> socket.socket:
    """Somebody else listens there."""
    return socket.create_server(("127.0.0.1", port))


def managed(coder: Coder) -> list[Entry]:
    return [entry for entry in coder.log if entry.path.startswith("/oauth2/clients/")]


@GENERATIONS
def test_the_whole_way(anybody: Person, coder: Coder, chromium: Browser) -> None:
    """Register, sign in in a real browser, refresh twice, revoke: S256, the resource at each step, a secret in the body
    where there is one, the old token dead at once, and no token left in the end."""
    anybody.environment["BROWSER"] = str(chromium.opener)
    first, said = fill(anybody, coder)
    assert said == signing_in(coder)
    [tab] = chromium.wait_for_tabs(1)
    assert " ".join(tab.text.split()) == (
        f"Signed in to {coder.host} as alice. You can close this tab and go back to your terminal."
    )
    [(client_id, client)] = coder.clients.items()
    [registered] = coder.requests(REGISTER)
    assert registered.form["redirect_uris"] == client.redirect_uris
    assert (registered.form["token_endpoint_auth_method"], client.public) == ("none", coder.generation == 2026)
    asked = coder.requests("/oauth2/authorize")[0].query
    assert (asked["resource"], asked["code_challenge_method"]) == (coder.url, "S256")
    assert asked["redirect_uri"] == client.redirect_uris[0]
    tokens = [first]
    for _ in range(2):
        refuse(anybody, coder, tokens[-1])
        tokens.append(fill(anybody, coder)[0])
    assert [alive(coder, token) for token in tokens] == [False, False, True]
    exchange, *refreshes = forms(coder)
    assert exchange["grant_type"] == "authorization_code"
    assert [form["grant_type"] for form in refreshes] == ["refresh_token"] * 2
    for form in (exchange, *refreshes):
        assert (form["resource"], form["client_id"]) == (coder.url, client_id)
        assert form.get("client_secret") == client.secret
    assert len(chromium.tabs()) == 1

    done = anybody.git("credential-forge", "logout", coder.url)
    deleted = "the client that this machine had registered there is deleted\n"
    assert done == (0, f"forgot alice at {coder.host}\nits tokens are revoked there\n{deleted}", "")
    assert (alive(coder, tokens[-1]), coder.clients) == (False, {})
    assert client_id not in kept(anybody)
    revoked = [entry.form["token_type_hint"] for entry in coder.requests(REVOKE)]
    assert revoked == ([] if coder.generation == 2025 else ["refresh_token", "access_token"])
    assert anybody.git("credential-forge", "status").out == "not signed in anywhere\n"


@GENERATIONS
def test_a_second_machine(anybody: Person, coder: Coder, installed: Path, browser: GentleBrowser) -> None:
    """Each home has a registration of its own, so a sign-in on the second one ends nothing on the first."""
    machines = [Person(anybody.home / name, installed, NO_TLS, browser.opener) for name in ("desk", "sofa")]
    for each in machines:
        assert each.git("credential-forge", "configure").status == 0
        assert login(each, coder) == (0, "", signing_in(coder))
    tokens = [fill(each, coder)[0] for each in machines]
    for each, token in zip(machines, tokens, strict=True):
        assert alive(coder, token)
        refuse(each, coder, token)
        assert fill(each, coder)[1] == ""
    assert (len(coder.clients), len(browser.tabs())) == (2, 2)


@GENERATIONS
def test_the_registration_is_used_again(person: Person, coder: Coder, browser: GentleBrowser) -> None:
    """A sign-in that is over: the next one is by the same client and at the same port."""
    token, _ = fill(person, coder)
    before = redirects(coder)
    coder.end_tokens()
    refuse(person, coder, token)
    _, said = fill(person, coder)
    over = f"{coder.host} no longer accepts this sign-in (The refresh token is invalid or expired (invalid_grant))"
    assert said == f"forge: {over}\n{signing_in(coder)}"
    assert login(person, coder) == (0, "", signing_in(coder))
    assert redirects(coder) == before
    assert (len(coder.requests(REGISTER)), len(browser.tabs())) == (1, 3)


@GENERATIONS
def test_a_busy_port(person: Person, coder: Coder) -> None:
    """Somebody else listens at the port that is registered: the registration gets another, and its old token stays the
    good one, whatever the answer says."""
    assert login(person, coder).status == 0
    [client_id], ports = coder.clients, []
    for _ in range(2):
        ports.append(port(coder))
        with taken(ports[-1]):
            assert login(person, coder) == (0, "", signing_in(coder))
    assert [(entry.method, entry.status) for entry in managed(coder)] == [("PUT", 200)] * 2
    assert [*coder.clients] == [client_id]
    assert port(coder) not in ports


@GENERATIONS
def test_a_registration_that_cannot_be_changed(person: Person, coder: Coder) -> None:
    """… gets no other address: another one is made."""
    assert login(person, coder).status == 0
    [(client_id, client)] = coder.clients.items()
    client.registration_token = "not the one that we were given"
    with taken(port(coder)):
        assert login(person, coder) == (0, "", signing_in(coder))
    assert len(coder.clients) == 2
    assert forms(coder)[-1]["client_id"] != client_id


@GENERATIONS
def test_a_client_that_is_gone(person: Person, coder: Coder) -> None:
    """Taken away at the server: said, and registered anew once, without an error page in between."""
    token, _ = fill(person, coder)
    coder.clients.clear()
    refuse(person, coder, token)
    _, said = fill(person, coder)
    gone = f"forge: {coder.host} no longer knows the client that this machine has registered there\n"
    assert said == gone + signing_in(coder)
    assert len(coder.clients) == 1


def test_kept_beyond_the_session(person: Person, coder: Coder) -> None:
    """A client without a secret stays this machine's, in the file that is its alone, when memory has gone; one that
    is not known there any more is replaced in it."""
    assert login(person, coder).status == 0
    [(client_id, client)] = coder.clients.items()
    values = f'\toauthClientId = "{client_id}"\n\toauthRedirectURL = "{client.redirect_uris[0]}"\n'
    assert f'[credential "{coder.url}"]\n{values}' in kept(person)
    forget(person, coder)
    assert login(person, coder) == (0, "", signing_in(coder))
    assert [*coder.clients] == [client_id]
    forget(person, coder)
    coder.clients.clear()
    assert login(person, coder) == (0, "", signing_in(coder))
    [another] = coder.clients
    assert f'oauthClientId = "{another}"' in kept(person)
    assert client_id not in kept(person)


def test_nothing_to_delete_it_with(person: Person, coder: Coder) -> None:
    """With memory went what it takes to end the registration: then it is said where an owner can."""
    before = kept(person)
    assert login(person, coder).status == 0
    restart(person)
    done = person.git("credential-forge", "unregister", coder.url)
    page = f"{coder.url}/deployment/oauth2-provider/apps"
    assert done == (
        0,
        f"forgot the client id for {coder.url}, which was in ~/.config/git-credential-forge/gitconfig\n",
        f"forge: the application stays at {coder.host}; to delete it there: {page}\n",
    )
    assert (len(coder.clients), kept(person)) == (1, before)


@GENERATIONS
def test_a_second_account(person: Person, coder: Coder) -> None:
    """Signed in by the same client or not, the logout of the first does not end the other's sign-in."""
    assert login(person, coder).status == 0
    bobs, alices = (coder.url.replace("//", f"//{name}@") for name in ("bob", "alice"))
    with GentleBrowser("bob", PASSWORDS["bob"]) as other:
        assert person.git("credential-forge", "login", bobs, BROWSER=str(other.opener)).status == 0
    out = person.git("credential-forge", "logout", alices).out
    assert out.startswith(f"forgot alice at {coder.host}\nits tokens are revoked there\n")
    token, said = fill(person, coder)
    assert (alive(coder, token), said, len(coder.clients)) == (True, "", 1)


@GENERATIONS
def test_a_sign_in_that_nobody_ends(anybody: Person, coder: Coder) -> None:
    """Where it leads to nothing, no registration is left there and nothing is kept here."""
    before = kept(anybody)
    anybody.environment["BROWSER"] = "true"
    limit = f"credential.{coder.url}.forgeSignInTimeout"
    assert anybody.git("config", "--global", limit, "1").status == 0
    done = login(anybody, coder)
    assert done.err.splitlines()[-1] == f"forge: not signed in to {coder.host}: nobody answered within 1 s"
    assert (done.status, coder.clients, kept(anybody)) == (1, {}, before)


@GENERATIONS
def test_denied(anybody: Person, coder: Coder) -> None:
    """The person says no in the browser, which the Coder of 2025 tells without the state."""
    before = kept(anybody)
    with GentleBrowser("alice", PASSWORDS["alice"], "deny") as browser:
        anybody.environment["BROWSER"] = str(browser.opener)
        done = login(anybody, coder)
    refused = f"forge: not signed in to {coder.host}: you denied the request in the browser"
    assert (done.status, done.err.splitlines()[-1]) == (1, refused)
    assert (coder.clients, kept(anybody)) == ({}, before)


@GENERATIONS
def test_many_at_once(person: Person, coder: Coder) -> None:
    """Of many gits whose token is refused, one refreshes and all get the new one."""
    token, _ = fill(person, coder)
    refuse(person, coder, token)
    with ThreadPoolExecutor(MANY) as pool:
        found = {*pool.map(lambda _: fill(person, coder), range(MANY))}
    [(renewed, said)] = found
    assert (said, renewed != token, alive(coder, renewed)) == ("", True, True)
    assert [form["grant_type"] for form in forms(coder)] == ["authorization_code", "refresh_token"]


@GENERATIONS
def test_too_many_requests(person: Person, coder: Coder) -> None:
    """429 with a minute to wait: one request, the reason, and the sign-in is kept; it goes on when there is room."""
    token, _ = fill(person, coder)
    refuse(person, coder, token)
    coder.limit, before = 0, len(coder.requests(TOKENS))
    done = person.git("credential", "fill", given=ask(coder), GIT_TERMINAL_PROMPT="1")
    assert done.err.splitlines()[0] == (
        f"forge: {coder.host} cannot refresh the sign-in now (it said: Too many requests; try again later "
        "(temporarily_unavailable)); your sign-in is kept, try again later"
    )
    assert len(coder.requests(TOKENS)) == before + 1
    coder.limit = None
    assert fill(person, coder)[1] == ""


@pytest.mark.parametrize("coder", [2025], indirect=True)
@pytest.mark.parametrize(("quiet", "tried"), [(0, 2), (60, 1)])
def test_renewed_at_half_of_its_life(
    person: Person, coder: Coder, browser: GentleBrowser, quiet: int, tried: int
) -> None:
    """Where the refresh token ends with the access token, that would be too late: it is renewed from the half on; and
    while that cannot be, the token that still lives is given, and tried again when the quiet period is over."""
    person.git("config", "--global", "credential.forgeQuietPeriod", str(quiet))
    for life in (6, 20, 60):  # a slow machine needs a longer one
        coder.lifetime(life)
        token, _ = fill(person, coder)
        signed_in = time.time()
        coder.limit, before = 0, len(coder.requests(TOKENS))
        wait_until(signed_in + life / 2)
        again = [fill(person, coder), fill(person, coder)]
        alive_until = signed_in + life - 2
        if time.time() < alive_until:
            break
        coder.limit = None
        forget(person, coder)
    assert again == [(token, ""), (token, "")]
    assert len(coder.requests(TOKENS)) - before == tried
    coder.limit, tabs = None, len(browser.tabs())
    if not quiet:
        renewed, said = fill(person, coder)
        assert (renewed != token, said, len(browser.tabs())) == (True, "", tabs)


@GENERATIONS
@pytest.mark.parametrize("nobody", [True, False])
def test_ended(person: Person, coder: Coder, nobody: bool) -> None:
    """The client outlives its sign-in, whether somebody was there when that ended, and said no to another one: the next
    one is by it again."""
    token, _ = fill(person, coder)
    clients = [*coder.clients]
    refuse(person, coder, token)
    coder.end_of(*clients)
    with GentleBrowser("alice", PASSWORDS["alice"], "deny") as denying:
        interactive = f"credential.interactive={'false' if nobody else 'true'}"
        done = person.git(*("-c", interactive, "credential", "fill"), given=ask(coder), BROWSER=str(denying.opener))
    assert (done.status, done.out, "you denied" in done.err) == (128, "", not nobody)
    assert [*coder.clients] == clients
    assert login(person, coder) == (0, "", signing_in(coder))
    assert [*coder.clients] == clients


@GENERATIONS
def test_two_accounts(person: Person, coder: Coder) -> None:
    """They share the client of this machine; the end of one sign-in, or of both, does what it says."""
    alice, bob = (coder.url.replace("//", f"//{name}@") for name in ("alice", "bob"))
    assert login(person, coder).status == 0
    with GentleBrowser("bob", PASSWORDS["bob"]) as other:
        assert person.git("credential-forge", "login", coder.url, BROWSER=str(other.opener)).status == 0
    tokens = [answer_of(person.git("credential", "fill", given=f"url={url}\n\n").out + "\n") for url in (alice, bob)]
    [client_id] = coder.clients
    coder.end_of(client_id, "bob")
    given = f"url={bob}\npassword={tokens[1]['password']}\n\n"
    assert person.git("credential", "reject", given=given).status == 0
    dead = person.git("-c", "credential.interactive=false", "credential", "fill", given=f"url={bob}\n\n")
    assert (dead.status, dead.out) == (128, "")
    assert (alive(coder, tokens[0]["password"]), [*coder.clients]) == (True, [client_id])
    out = person.git("credential-forge", "logout", alice).out
    assert out.endswith("\nthe client that this machine had registered there is deleted\n")
    assert coder.clients == {}


@GENERATIONS
def test_signed_out_of_twice(person: Person, coder: Coder) -> None:
    """What a server does not do is not said to be done: with a token that is dead, it revokes nothing in 2025."""
    assert login(person, coder).status == 0
    coder.instead[f"DELETE {TOKENS}"] = coder.instead[f"POST {REVOKE}"] = coder.signed_out("a-b")
    done = person.git("credential-forge", "logout", coder.url)
    lines = done.out.splitlines()
    assert lines[0] == f"forgot alice at {coder.host}"
    assert re.fullmatch(
        r"the token that git was given stays valid until .*: the forge did not revoke it \(HTTP 401\)", lines[1]
    )


@GENERATIONS
def test_unregister(person: Person, coder: Coder) -> None:
    """Takes the registration back there, and forgets it and its sign-in here."""
    before = kept(person)
    assert login(person, coder).status == 0
    done = person.git("credential-forge", "unregister", coder.url)
    lines = [f"forgot alice at {coder.host}, who was signed in by it"]
    lines.append("the application is deleted, and its tokens have ended")
    file = f"forgot the client id for {coder.url}, which was in ~/.config/git-credential-forge/gitconfig"
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == ([] if coder.generation == 2025 else [file]) + lines
    assert (coder.clients, kept(person)) == ({}, before)
    again = person.git("credential-forge", "unregister", coder.url)
    assert again == (1, "", f"forge: register has kept nothing for {coder.url} on this machine\n")


# What an administrator has not turned on.


@pytest.mark.parametrize("generation", [2025, 2026])
def test_registration_is_off(alone: Person, generation: int) -> None:
    """One message that names what is to be created, what is to be set, and who can do all of it at once."""
    with Coder(generation, registration=False) as coder:
        page, callback = f"{coder.url}/deployment/oauth2-provider/apps", "http://127.0.0.1:34106/"
        said = (
            f"forge: not signed in to {coder.host}: programs may not register themselves there, "
            "and no client id is set\n"
            f"forge: an owner of it creates an application at {page}, "
            f"with the callback URL {callback} and a secret\n"
            f"forge: then set credential.{coder.url}.oauthClientId and …oauthClientSecret; "
            "and …oauthRedirectURL, if its callback URL is another one\n"
            f"forge: `git credential-forge register {coder.url} --as-owner` does all of that for an owner\n"
        )
        asked = alone.git("credential-forge", "get", given=f"protocol=http\nhost={coder.host}\n\n")
        assert asked == (0, "quit=1\n\n", said)
        assert login(alone, coder) == (1, "", said)


@pytest.mark.parametrize("generation", [2025, 2026])
def test_by_hand(alone: Person, generation: int, browser: GentleBrowser) -> None:
    """… and with what it says to set, a sign-in works."""
    with fixed_port.turn(), Coder(generation, registration=False) as coder:
        secret = coder.note("client_secret", "coder_aaaaaaaaaa_" + "b" * 40)
        coder.clients["an-id"] = Client("by hand", ["http://127.0.0.1:34106/"], secret, False, "")
        for key, value in (("oauthClientId", "an-id"), ("oauthClientSecret", secret)):
            assert alone.git("config", "--global", f"credential.{coder.url}.{key}", value).status == 0
        alone.environment["BROWSER"] = str(browser.opener)
        token, said = fill(alone, coder)
        assert said == signing_in(coder)
        refuse(alone, coder, token)
        assert fill(alone, coder)[1] == ""
        out = alone.git("credential-forge", "logout", coder.url).out
        assert out == f"forgot alice at {coder.host}\nits tokens are revoked there\n"
        assert [*coder.clients] == ["an-id"]


@pytest.mark.parametrize("generation", [2025, 2026])
def test_the_provider_is_off(alone: Person, generation: int) -> None:
    """Who types a command is told; git alone is left to itself."""
    with Coder(generation, provider=False) as coder:
        said = (
            f"forge: not signed in to {coder.host}: this Coder lets no program sign in, its OAuth2 provider is off\n"
            "forge: an administrator turns it on, with CODER_OAUTH2_PROVIDER_ENABLE=true; before 2026, with "
            "CODER_EXPERIMENTS=oauth2\n"
        )
        assert login(alone, coder) == (1, "", said)
        assert alone.git("credential-forge", "register", coder.url) == (1, "", said)
        assert alone.git("credential-forge", "get", given=f"protocol=http\nhost={coder.host}\n\n") == (0, "", "")


# By an owner.


SOCKET = ".cache/git-credential-forge/socket"
WHERE_ITS_SECRET_IS = (
    "forge: its secret is in memory alone, until git's cache ends, as at a reboot; this command then gets another\n"
)


def as_owner(person: Person, coder: Coder) -> Done:
    command = ("credential-forge", "register", coder.url, "--as-owner", "--name", "git-credential-forge on my laptop")
    return person.git(*command, CODER_URL=coder.url, CODER_SESSION_TOKEN=coder.session_token)


@pytest.mark.parametrize("generation", [2025, 2026])
def test_as_owner(alone: Person, generation: int, browser: GentleBrowser) -> None:
    """Application and secret are created, with a port that is kept; the next sign-ins are by them, with a refresh."""
    with Coder(generation, registration=False) as coder:
        alone.environment["BROWSER"] = str(browser.opener)
        done = as_owner(alone, coder)
        [(client_id, client)] = coder.clients.items()
        [redirect] = client.redirect_uris
        assert client.name == "git-credential-forge-on-my-lapto"
        assert (done.status, done.out, done.err) == (
            0,
            (
                f"the client id {client_id} for {coder.url} is kept in ~/.config/git-credential-forge/gitconfig\n"
                f"the next git command signs in; or now: git credential-forge login {coder.url}\n"
            ),
            (
                f'forge: created the application "{client.name}" at {coder.host}, '
                f"with a secret and the callback URL {redirect}\n{WHERE_ITS_SECRET_IS}"
            ),
        )
        assert (alone.home / ".config/git-credential-forge/gitconfig").stat().st_mode & 0o777 == 0o600
        for _ in range(2):
            assert login(alone, coder) == (0, "", signing_in(coder))
        token, _ = fill(alone, coder)
        refuse(alone, coder, token)
        assert fill(alone, coder)[1] == ""
        assert {form["client_id"] for form in forms(coder)} == {client_id}
        assert {form["redirect_uri"] for form in forms(coder) if "redirect_uri" in form} == {redirect}
        assert alone.leaks.found(coder.secrets()) == []


def restart(person: Person) -> None:
    """What was in memory is gone, as after a reboot."""
    assert person.git("credential-cache", "--socket", str(person.home / SOCKET), "exit") == (0, "", "")


def test_the_secret_is_gone(alone: Person, browser: GentleBrowser) -> None:
    """Memory had it alone: the reason and the way out are said, and the same application gets another."""
    with Coder(2025, registration=False) as coder:
        alone.environment["BROWSER"] = str(browser.opener)
        assert as_owner(alone, coder).status == 0
        [(client_id, client)] = coder.clients.items()
        restart(alone)
        said = (
            f"forge: not signed in to {coder.host}: it does not know the client {client_id}, or wants its secret, "
            "which is in memory no more\n"
            f"forge: an owner gets it another one: git credential-forge register {coder.url} --as-owner\n"
            f"forge: or, where somebody has its secret: set credential.{coder.url}.oauthClientSecret\n"
        )
        assert login(alone, coder) == (1, "", said)
        again = as_owner(alone, coder)
        assert (again.status, again.out) == (
            0,
            (
                f"the client id {client_id} for {coder.url} is kept in ~/.config/git-credential-forge/gitconfig\n"
                f"the next git command signs in; or now: git credential-forge login {coder.url}\n"
            ),
        )
        assert again.err == (
            f'forge: gave the application "{client.name}" at {coder.host}, which is this machine\'s already, '
            f"a new secret\n{WHERE_ITS_SECRET_IS}"
        )
        assert login(alone, coder) == (0, "", signing_in(coder))
        assert [*coder.clients] == [client_id]


def test_another_secret(alone: Person, browser: GentleBrowser) -> None:
    """One that an owner has ended: the sign-in in memory goes on by the new one as well."""
    with Coder(2025, registration=False) as coder:
        alone.environment["BROWSER"] = str(browser.opener)
        assert as_owner(alone, coder).status == 0
        token, _ = fill(alone, coder)
        [client] = coder.clients.values()
        client.secret = coder.note("client_secret", "coder_cccccccccc_" + "d" * 40)
        assert "register" in login(alone, coder).err
        assert as_owner(alone, coder).status == 0
        refuse(alone, coder, token)
        assert fill(alone, coder)[1] == ""
        assert login(alone, coder) == (0, "", signing_in(coder))


@pytest.mark.parametrize("end", ["logout", "refused"])
def test_the_secret_in_a_keychain(alone: Person, browser: GentleBrowser, tmp_path: Path, end: str) -> None:
    """After a reboot it is in the sign-in that a keychain gave back, and outlives that."""
    with Coder(2025, registration=False) as coder:
        alone.environment["BROWSER"] = str(browser.opener)
        helper = str(Keychain(tmp_path / "box").helper)
        assert alone.git("config", "--global", "credential.forgeStore", helper).status == 0
        assert as_owner(alone, coder).status == 0
        assert login(alone, coder).status == 0
        restart(alone)
        token, said = fill(alone, coder)
        assert said == ""
        if end == "logout":
            assert alone.git("credential-forge", "logout", coder.url).status == 0
        else:
            refuse(alone, coder, token)
            coder.end_of(*coder.clients)
            over = alone.git("-c", "credential.interactive=false", "credential", "fill", given=ask(coder))
            assert over.status == 128
        done = login(alone, coder)
        assert (done.status, done.err.splitlines()[-1].startswith("forge: signed in as alice at ")) == (0, True)


@pytest.fixture
def keychain(alone: Person, tmp_path: Path) -> Keychain:
    """That sign-ins are kept in."""
    box = Keychain(tmp_path / "box")
    assert alone.git("config", "--global", "credential.forgeStore", str(box.helper)).status == 0
    return box


def sign_in_as(name: str, person: Person, url: str) -> Done:
    with GentleBrowser(name, PASSWORDS[name]) as other:
        return person.git("credential-forge", "login", url, BROWSER=str(other.opener))


@pytest.mark.usefixtures("keychain")
def test_the_newest_secret_in_a_keychain(alone: Person, browser: GentleBrowser) -> None:
    """Of two sign-ins by one client the later one has it, whichever is asked for first after a reboot."""
    with Coder(2025, registration=False) as coder:
        alone.environment["BROWSER"] = str(browser.opener)
        assert as_owner(alone, coder).status == 0
        assert login(alone, coder).status == 0
        [client] = coder.clients.values()
        client.secret = coder.note("client_secret", "coder_cccccccccc_" + "d" * 40)
        assert as_owner(alone, coder).status == 0
        bob = coder.url.replace("//", "//bob@")
        assert sign_in_as("bob", alone, bob).status == 0
        restart(alone)
        token, said = fill(alone, coder)
        assert said == ""
        assert sign_in_as("bob", alone, bob).status == 0
        refuse(alone, coder, token)
        assert fill(alone, coder)[1] == ""


@pytest.mark.usefixtures("keychain")
@GENERATIONS
def test_what_deletes_it_in_a_keychain(person: Person, coder: Coder) -> None:
    """It is there for somebody else's sign-in after a reboot as well; with the last one, the client goes."""
    assert login(person, coder).status == 0
    restart(person)
    assert sign_in_as("bob", person, coder.url.replace("//", "//bob@")).status == 0
    token, _ = fill(person, coder)
    refuse(person, coder, token)
    assert fill(person, coder)[1] == ""
    assert len(coder.clients) == 1
    out = person.git("credential-forge", "logout", coder.url).out
    assert out.endswith("\nthe client that this machine had registered there is deleted\n")
    assert coder.clients == {}


@GENERATIONS
def test_two_clients(person: Person, coder: Coder) -> None:
    """One that was taken away there, and the one that came after it: `logout` of a sign-in by the first leaves the
    other."""
    assert login(person, coder).status == 0
    coder.clients.clear()
    bob = coder.url.replace("//", "//bob@")
    assert sign_in_as("bob", person, bob).status == 0
    [second] = coder.clients
    assert person.git("credential-forge", "logout", coder.url.replace("//", "//alice@")).status == 0
    assert sign_in_as("bob", person, bob).status == 0
    assert [*coder.clients] == [second]
    assert person.git("credential-forge", "logout", bob).status == 0
    assert coder.clients == {}


@GENERATIONS
def test_a_secret_that_was_left_behind(person: Person, coder: Coder) -> None:
    """… in the git config, of an application whose id is not there any more."""
    key = f"credential.{coder.url}.oauthClientSecret"
    assert person.git("config", "--global", key, "left-over").status == 0
    token, _ = fill(person, coder)
    refuse(person, coder, token)
    assert fill(person, coder)[1] == ""
    assert len(coder.clients) == 1


@pytest.mark.parametrize("typed", [True, False])
@GENERATIONS
def test_registered_while_signed_in(person: Person, coder: Coder, typed: bool) -> None:
    """The client before is taken back, and the sign-in by it is over, here too."""
    assert login(person, coder).status == 0
    if typed:
        coder.clients["an-id"] = Client("by hand", ["http://127.0.0.1:34106/"], "s3cret", False, "")
    options = ["--client-id", "an-id"] if typed else []
    done = person.git("credential-forge", "register", coder.url, *options)
    assert done.status == 0, done.err
    assert done.out.startswith(f"forgot alice at {coder.host}, who was signed in by the one before\n")
    assert person.git("credential-forge", "status").out == "not signed in anywhere\n"
    assert len(coder.clients) == 1
    assert (held_client(person, coder) == "") == typed


def test_the_port_of_one_without_a_secret_is_busy(person: Person, coder: Coder) -> None:
    """… and what would move it is gone with memory: another is registered, and that is said."""
    assert login(person, coder).status == 0
    [client_id], [redirect] = coder.clients, redirects(coder)
    restart(person)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the last sign-in's may linger
        other.bind(("127.0.0.1", urlsplit(redirect).port))
        other.listen()
        said = f"forge: the client {client_id} cannot be used any more (its port is taken): registering another\n"
        assert login(person, coder) == (0, "", said + signing_in(coder))
    assert len(coder.clients) == 2


def held_client(person: Person, coder: Coder) -> str:
    """What the cache has of the client of this machine."""
    host = f"127.0.0.1.{urlsplit(coder.url).port}.http.git-credential-forge.invalid"
    asked = ("credential-cache", "--socket", str(person.home / SOCKET), "get")
    return person.git(*asked, given=f"protocol=https\nhost={host}\nusername=\t\n\n").out


def test_replaced_by_one_of_the_persons(alone: Person) -> None:
    """… that they have registered by hand: nothing is left of the other."""
    with Coder(2025, registration=False) as coder:
        assert as_owner(alone, coder).status == 0
        assert "password=" in held_client(alone, coder)
        coder.clients["an-id"] = Client("by hand", ["http://127.0.0.1:34106/"], "s3cret", False, "")
        done = alone.git("credential-forge", "register", coder.url, given="an-id\ns3cret\n")
        assert done.status == 0, done.err
        assert held_client(alone, coder) == ""


def test_it_cannot_be_told(alone: Person, browser: GentleBrowser) -> None:
    """Whether the application is there: then no other is made, and what is here stays."""
    with Coder(2025, registration=False) as coder:
        alone.environment["BROWSER"] = str(browser.opener)
        assert as_owner(alone, coder).status == 0
        [client_id], before = coder.clients, kept(alone)
        coder.instead[f"GET {APPS}/{client_id}"] = Answer(502, [("Content-Type", "text/html")], b"<html>bad gateway")
        why = "it answered with a web page (HTTP 502)"
        said = f"forge: {coder.host} did not look at the application of this machine: {why}\n"
        assert as_owner(alone, coder) == (1, "", said)
        assert ([*coder.clients], kept(alone)) == ([client_id], before)
        assert login(alone, coder) == (0, "", signing_in(coder))


def test_nothing_can_be_kept(alone: Person) -> None:
    """… in memory: the id is, so that the next try takes the same application."""
    with Coder(2025, registration=False) as coder:
        directory = alone.home / SOCKET
        (directory.parent / "lock-daemon").mkdir(parents=True)
        directory.parent.chmod(0o700)
        for said in ("created the application", "gave the application"):
            done = as_owner(alone, coder)
            first, last = done.err.splitlines()
            assert (done.status, done.out, first.startswith(f"forge: {said} ")) == (1, "", True)
            assert last.startswith("forge: nothing is kept in memory: "), last
        assert len(coder.clients) == 1


@GENERATIONS
def test_registered_beforehand(person: Person, coder: Coder) -> None:
    """By `register`: no secret is in a file, the sign-in is by that client, and `unregister` takes it back; and so does
    another `register`."""
    before = kept(person)
    assert person.git("credential-forge", "register", coder.url).status == 0
    done = person.git("credential-forge", "register", coder.url)
    said = f'forge: {coder.host} has registered this program as "{machine.title()}"\n'
    assert (done.status, done.err) == (0, said + (WHERE_ITS_SECRET_IS if coder.generation == 2025 else ""))
    [client_id] = coder.clients
    assert login(person, coder) == (0, "", signing_in(coder))
    assert [*coder.clients] == [client_id]
    assert person.leaks.found(coder.secrets()) == []
    out = person.git("credential-forge", "unregister", coder.url).out
    assert out.endswith("\nthe application is deleted, and its tokens have ended\n")
    assert (coder.clients, kept(person), held_client(person, coder)) == ({}, before, "")


@GENERATIONS
def test_a_refusal_may_be_pasted(anybody: Person, coder: Coder) -> None:
    """As the address on which a browser ended that was somewhere else."""
    command = ["git", "credential-forge", "login", "--paste", coder.url]
    with OnTerminal(command, anybody.environment, anybody.home) as terminal:
        found = terminal.wait_for(r"redirect_uri=(\S+?)&")
        terminal.wait_for("then paste here")
        state = "" if coder.generation == 2025 else "&state=" + terminal.wait_for(r"[?&]state=([\w-]+)")[1]
        terminal.type(f"{unquote(found[1])}?error=access_denied{state}\n")
        assert terminal.wait() == 1
        assert terminal.seen.endswith(f"not signed in to {coder.host}: you denied the request in the browser\n")


def test_an_application_that_is_gone(alone: Person, browser: GentleBrowser) -> None:
    """… is made anew, with the port that was kept."""
    with Coder(2026, registration=False) as coder:
        alone.environment["BROWSER"] = str(browser.opener)
        assert as_owner(alone, coder).status == 0
        [(old, client)] = coder.clients.items()
        del coder.clients[old]
        assert as_owner(alone, coder).err.startswith('forge: created the application "')
        [(new, anew)] = coder.clients.items()
        assert (new != old, anew.redirect_uris) == (True, client.redirect_uris)
        assert login(alone, coder) == (0, "", signing_in(coder))


def test_its_port_is_busy(alone: Person, browser: GentleBrowser) -> None:
    """Of an owner's application nothing is changed by the way: the port is named."""
    with Coder(2025, registration=False) as coder, socket.socket() as other:
        alone.environment["BROWSER"] = str(browser.opener)
        assert as_owner(alone, coder).status == 0
        [client] = coder.clients.values()
        port = urlsplit(client.redirect_uris[0]).port
        other.bind(("127.0.0.1", port))
        other.listen()
        done = login(alone, coder)
        assert (done.status, done.out, browser.tabs()) == (1, "", [])
        why = f"port {port} of 127.0.0.1 cannot be listened on, and oauthRedirectURL names it: Address already in use"
        assert done.err == f"forge: {why}\n"


def test_unregistered_by_hand(alone: Person, browser: GentleBrowser) -> None:
    """`unregister` leaves nothing of it here, and says what stays there."""
    with Coder(2026, registration=False) as coder:
        alone.environment["BROWSER"] = str(browser.opener)
        before = kept(alone)
        assert as_owner(alone, coder).status == 0
        assert login(alone, coder).status == 0
        done = alone.git("credential-forge", "unregister", coder.url)
        page = f"{coder.url}/deployment/oauth2-provider/apps"
        assert done == (
            0,
            (
                f"forgot the client id for {coder.url}, which was in ~/.config/git-credential-forge/gitconfig\n"
                f"forgot alice at {coder.host}, who was signed in by it\n"
                "its tokens are revoked there\n"
            ),
            f"forge: the application stays at {coder.host}; to delete it there: {page}\n",
        )
        assert kept(alone) == before
        assert held_client(alone, coder) == ""


@pytest.mark.parametrize(
    ("end", "why"),
    [
        ("token", "a Coder, and {} is none"),
        ("oauth2/tokens", "the Coder itself, and {} leaves the sign-in to another server"),
    ],
)
def test_at_another_server(alone: Person, coder: Coder, end: str, why: str) -> None:
    """Where the sign-in is set to be elsewhere, no owner's token goes anywhere."""
    for key, path in (("oauthAuthURL", "authorize"), ("oauthTokenURL", end)):
        where = f"https://elsewhere.example/{path}"
        assert alone.git("config", "--global", f"credential.{coder.url}.{key}", where).status == 0
    assert as_owner(alone, coder) == (1, "", f"forge: --as-owner is for {why.format(coder.host)}\n")
    assert coder.requests(APPS) == []


def test_not_an_owner(alone: Person, coder: Coder) -> None:
    """What Coder says, whole; nothing is kept."""
    before, coder.owner = kept(alone), False
    done = as_owner(alone, coder)
    assert (done.status, done.out, kept(alone), coder.clients) == (1, "", before, {})
    assert done.err.startswith(f"forge: {coder.host} did not create an application: ")
    assert done.err.endswith("\nforge: it takes the session token of an owner of the deployment\n")


def test_a_secret_that_cannot_be_made(alone: Person, coder: Coder, monkeypatch: pytest.MonkeyPatch) -> None:
    """… leaves no application behind."""
    real = coder._routed

    def refusing(entry: Entry) -> Answer:
        return coder.signed_out("a-b") if entry.path.endswith("/secrets") else real(entry)

    monkeypatch.setattr(coder, "_routed", refusing)
    done = as_owner(alone, coder)
    refused = f"forge: {coder.host} refuses the session token in CODER_SESSION_TOKEN: "
    assert (done.status, done.err.startswith(refused), coder.clients) == (1, True, {})


def test_a_token_of_another_deployment(alone: Person, coder: Coder) -> None:
    """CODER_SESSION_TOKEN goes to CODER_URL alone: for another Coder a token is asked for, and not shown."""
    others = {"CODER_URL": "http://127.0.0.1:1", "CODER_SESSION_TOKEN": "aaaaaaaaaa-" + "b" * 22}
    environment = alone.environment | others
    command = ["git", "credential-forge", "register", coder.url, "--as-owner"]
    with OnTerminal(command, environment, alone.home) as terminal:
        terminal.wait_for("session token, which is not shown: ")
        assert not terminal.echoes()
        terminal.type(f"{coder.session_token}\n")
        assert terminal.wait() == 0
    where = f"forge: an owner's session token is at {coder.url}/cli-auth; it is used for this, and not kept\n"
    assert where in terminal.seen
    assert coder.session_token not in terminal.seen
    assert alone.leaks.found(coder.secrets()) == []
    assert {entry.headers.get("coder-session-token") for entry in coder.requests(APPS)} == {coder.session_token}
    without = alone.git("credential-forge", "register", coder.url, "--as-owner")
    assert (without.status, without.out) == (1, "")
    assert without.err == (
        "forge: nothing was registered: no terminal is there to ask for an owner's session token\n"
        f"forge: set CODER_SESSION_TOKEN to one, and CODER_URL to {coder.url}\n"
    )
