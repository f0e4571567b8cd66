"""Whole sign-ins: the program as git starts it, a real authorization server or one that misbehaves, a browser."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import re
import signal
import socket
import threading
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import pytest

from git_credential_forge import settings as configuration
from git_credential_forge.errors import TryElsewhereError
from git_credential_forge.forges import OTHER
from git_credential_forge.oauth import authorize, dynamic, http, wire
from git_credential_forge.oauth.loopback import Redirect
from git_credential_forge.oauth.wire import Attempt
from git_credential_forge.origin import of_request
from git_credential_forge.recognise import build
from tests.support.forge import CLIENT_ID, PASSWORDS, Event, Forge
from tests.support.gentle_browser import GentleBrowser
from tests.support.httpserver import Answer, HttpServer, Request
from tests.support.signing_in import (
    NAMED,
    QUIT,
    Ended,
    Program,
    StandIn,
    answer_of,
    as_json,
    asked_for,
    listens,
)
from tests.support.tabs import Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WORST = http.DEADLINE + 4  # seconds: a request's deadline, and some for a busy machine


class Desk(NamedTuple):
    """Where the program is started; `settings` go into its git configuration."""

    home: Path
    main: Path
    environment: dict[str, str]

    def set(self, *lines: str, section: str = "credential") -> None:
        with (self.home / ".gitconfig").open("a") as file:
            file.write("\n\t".join([f"[{section}]", *lines]) + "\n")

    def client(self, url: str, client_id: str = "mine", *lines: str) -> None:
        """A client id of one's own for an address."""
        self.set(f"oauthClientId = {client_id}", *lines, section=f'credential "{url}"')

    def get(self, url: str, *lines: str, challenge: str | None = 'Basic realm="Gitea"') -> Program:
        return Program([self.main, "get"], self.environment, asked_for(url, *lines, challenge=challenge))

    def login(self, url: str) -> Program:
        return Program([self.main, "login", url], self.environment)


@pytest.fixture
def desk(home: Path, main: Path, environment: dict[str, str]) -> Desk:
    for name in ("temporary", "runtime"):
        (home / name).mkdir()
    environment["TMPDIR"] = str(home / "temporary")
    return Desk(home, main, environment)


@contextmanager
def browsing(desk: Desk, mode: Mode = "consent") -> Iterator[GentleBrowser]:
    with GentleBrowser("alice", PASSWORDS["alice"], mode) as browser:
        desk.environment["BROWSER"] = str(browser.opener)
        yield browser


@pytest.fixture
def browser(desk: Desk) -> Iterator[GentleBrowser]:
    """Alice's, who consents."""
    with browsing(desk) as found:
        yield found


@pytest.fixture
def trusted(desk: Desk, forge: Forge) -> Forge:
    desk.environment["GIT_SSL_CAINFO"] = str(forge.ca_file)
    return forge


def opening(host: str) -> str:
    return f"forge: signing in to {host} in your browser\n"


def welcome(host: str, name: str = "alice") -> str:
    return f"forge: signed in as {name} at {host}, kept in memory while you work, and two hours more\n"


def refused(ended: Ended, said: str) -> None:
    """What git is told, and all that a person is."""
    assert (ended.status, ended.out) == (0, QUIT)
    assert ended.err == said


def exchanges(forge: Forge) -> list[Event]:
    """Codes that came to the token endpoint, without the probe, which runs beside and may be the last."""
    return [event for event in forge.log("exchange") if event.parameters["code"] != "probe"]


def port_of(browser: GentleBrowser) -> int:
    """Where the listener of the last tab is."""
    return urlsplit(browser.tabs()[-1].handed_over).port or 0


def nothing_left(desk: Desk, port: int) -> None:
    """No listener, no lock, no temporary file; processes are counted by `home` itself."""
    assert not listens(port)
    assert list((desk.home / "temporary").iterdir()) == []
    for lock in desk.home.rglob("lock-*"):
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


# It works.


def test_consent(desk: Desk, trusted: Forge, browser: GentleBrowser) -> None:
    """One tab, one exchange: before it the name that the page will show, after it who is signed in, and the page says
    the same; git gets the token and its end, and no refresh token."""
    with desk.get(trusted.url) as program:
        ended = program.ended()
    now = time.time()
    answer = answer_of(ended.out)
    assert list(answer) == ["username", "password", "password_expiry_utc"]
    assert answer["username"] == "alice"
    assert [answer["password"]] == trusted.secrets()["access_token"]
    assert now + 3600 - 20 < int(answer["password_expiry_utc"]) <= now + 3600
    assert ended.err == opening(trusted.host) + NAMED + welcome(trusted.host)
    assert ended.status == 0
    [tab] = browser.wait_for_tabs(1)
    assert tab.text == f"Signed in to {trusted.host} as alice. You can close this tab and go back to your terminal."
    assert tab.title == trusted.host
    assert [event.ok for event in exchanges(trusted)] == [True]
    nothing_left(desk, port_of(browser))


@pytest.mark.usefixtures("browser")
def test_pkce(desk: Desk, trusted: Forge) -> None:
    """S256 always: verifier and challenge belong together, 43 characters, fresh for each sign-in (3.3, 13)."""
    for _ in range(2):
        with desk.login(trusted.url) as program:
            assert program.ended().status == 0
    asked = [event.parameters for event in trusted.log("authorize") if event.path.endswith("/authorize")]
    attempts = {parameters["state"]: parameters for parameters in asked}
    verifiers = [e.parameters["code_verifier"] for e in exchanges(trusted)]
    assert len(attempts) == len(set(verifiers)) == 2
    for parameters, verifier in zip(attempts.values(), verifiers, strict=True):
        assert re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", verifier)
        digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        assert parameters["code_challenge"] == digest
        assert parameters["code_challenge_method"] == "S256"
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}", parameters["state"])
        assert verifier not in parameters["state"]
    assert len({parameters["code_challenge"] for parameters in attempts.values()}) == 2


def test_what_the_authorize_page_is_asked(desk: Desk, trusted: Forge, browser: GentleBrowser) -> None:
    """A code, for the shipped client, without scope, back to this machine: no other grant, nothing more (3.3, 17
    and 19); and the exchange says the same redirect address."""
    with desk.get(trusted.url) as program:
        program.ended()
    parameters = trusted.log("authorize")[0].parameters
    port = port_of(browser)
    assert set(parameters) == {
        "response_type",
        "client_id",
        "redirect_uri",
        "state",
        "code_challenge",
        "code_challenge_method",
    }
    assert parameters["response_type"] == "code"
    assert parameters["client_id"] == CLIENT_ID
    assert parameters["redirect_uri"] == f"http://127.0.0.1:{port}"
    [sent] = [event.parameters for event in exchanges(trusted)]
    assert set(sent) == {"grant_type", "code", "redirect_uri", "code_verifier", "client_id"}
    assert (sent["grant_type"], sent["redirect_uri"]) == ("authorization_code", parameters["redirect_uri"])
    assert not trusted.log("token")


def test_the_url_has_only_characters_of_a_url() -> None:
    """A space is %20, and what a person configured is percent-encoded (3.3, 18)."""
    origin = of_request("https", "forge.example")
    assert origin
    odd = configuration.Settings(
        client_id="a b&c=d#é",
        scopes="read:user write:repository",
        authorize_url="https://forge.example/authorize?tenant=1",
        token_url="/token",
    )
    url = wire.authorize_url(build(OTHER, origin, "", odd, certain=True), Attempt.fresh(), "http://127.0.0.1:1/cb")
    assert re.fullmatch(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+", url)
    assert "client_id=a%20b%26c%3Dd%23%C3%A9&" in url
    assert "redirect_uri=http%3A%2F%2F127.0.0.1%3A1%2Fcb&" in url
    assert url.endswith("&scope=read%3Auser%20write%3Arepository")
    assert url.startswith("https://forge.example/authorize?tenant=1&response_type=code&")


@pytest.mark.usefixtures("browser")
def test_nothing_secret_is_said_even_when_traced(desk: Desk, trusted: Forge) -> None:
    """With the trace on, a client secret, code, state, verifier and tokens are on no stream but the answer's (3.3,
    21)."""
    trusted.add_application("mine", secret="the-client-secret-of-mine")
    desk.client(trusted.url, "mine", "oauthClientSecret = the-client-secret-of-mine")
    desk.environment["GIT_TRACE_FORGE"] = "1"
    with desk.get(trusted.url) as program:
        ended = program.ended()
    assert answer_of(ended.out)["username"] == "alice"
    assert "http: POST to" in ended.err
    known = [secret for group in trusted.secrets().values() for secret in group]
    assert len(known) >= 5
    for secret in [*known, "the-client-secret-of-mine"]:
        assert secret not in ended.err
        if secret != answer_of(ended.out)["password"]:
            assert secret not in ended.out


def test_a_person_who_takes_their_time(desk: Desk, trusted: Forge) -> None:
    """The listener waits while somebody reads the consent page; strangers who call meanwhile change nothing, and at
    another address of this machine nobody answers (3.3, 1)."""
    with browsing(desk, "hold") as browser, desk.get(trusted.url) as program:
        browser.wait_for_tabs(1)
        port = port_of(browser)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), timeout=10)
        for path in ("/favicon.ico", "/?code=x&state=y", "/?error=access_denied"):
            assert browser.visit(f"http://127.0.0.1:{port}{path}").startswith(f"http://127.0.0.1:{port}/")
        browser.release()
        ended = program.ended()
    assert answer_of(ended.out)["username"] == "alice"
    assert ended.err == opening(trusted.host) + NAMED + welcome(trusted.host)


def test_a_reminder_while_nobody_comes(desk: Desk, trusted: Forge) -> None:
    """After 15 s one line says that we still wait, how to cancel, and how long it will be."""
    with browsing(desk, "hold"), desk.get(trusted.url) as program:
        program.wait_until_said("forge: still waiting for the browser, Ctrl-C to cancel (5 min left)\n")
        assert authorize.REMIND <= time.monotonic() - program.started < authorize.REMIND + 5
        program.process.send_signal(signal.SIGINT)
        assert program.ended(10).err.count("still waiting") == 1


# The person says no, or is somebody else, or does not come.


def test_denied(desk: Desk, trusted: Forge) -> None:
    """The reason in words, on the terminal and on the page; git asks no password; no code is exchanged (3.3, 9)."""
    with browsing(desk, "deny") as browser:
        with desk.get(trusted.url) as program:
            ended = program.ended()
        [tab] = browser.wait_for_tabs(1)
    why = f"forge: not signed in to {trusted.host}: you denied the request in the browser\n"
    refused(ended, opening(trusted.host) + NAMED + why)
    assert tab.text == (
        f"Not signed in to {trusted.host} You denied the request in the browser "
        "Close this tab; git will say how to ask again."
    )
    assert exchanges(trusted) == []
    nothing_left(desk, port_of(browser))


def test_somebody_else_than_asked(desk: Desk, trusted: Forge, browser: GentleBrowser) -> None:
    """git asked for bob, alice signed in: said in words, nothing is kept, and the page does not say success (3.3,
    25)."""
    with desk.get(trusted.url, "username=bob") as program:
        ended = program.ended()
    words = "you signed in as alice, but this remote asks for bob; nothing was changed"
    assert (ended.status, ended.out) == (0, QUIT)
    assert ended.err.startswith(f"{opening(trusted.host)}{NAMED}forge: {words}\n")
    assert ended.err.count("\n") == 4
    [tab] = browser.wait_for_tabs(1)
    assert tab.text.startswith(f"Not signed in to {trusted.host} Y{words[1:]}")
    desk.environment.pop("BROWSER")
    desk.environment["CI"] = "1"
    for name in ("alice", "bob"):
        with desk.get(trusted.url, f"username={name}") as program:
            ended = program.ended()
        assert (ended.status, ended.out, ended.err) == (0, "", "")


@pytest.mark.parametrize("asked", ["alice", "ALICE", "oauth2", "x-token-auth", "git"])
@pytest.mark.usefixtures("browser")
def test_a_name_that_fits(desk: Desk, trusted: Forge, asked: str) -> None:
    """The name asked for, in any case of letters, or one that stands for nobody: the forge's login is the answer's."""
    with desk.get(trusted.url, f"username={asked}") as program:
        ended = program.ended()
    assert answer_of(ended.out)["username"] == "alice"
    assert ended.err == opening(trusted.host) + NAMED + welcome(trusted.host)


def test_deadline(desk: Desk, trusted: Forge) -> None:
    """credential.forgeSignInTimeout ends the wait with the reason, and nothing is left (3.3, 26)."""
    desk.set("forgeSignInTimeout = 1")
    with browsing(desk, "hold") as browser:
        with desk.get(trusted.url) as program:
            ended = program.ended(10)
        browser.wait_for_tabs(1)
        nothing_left(desk, port_of(browser))
    why = f"forge: not signed in to {trusted.host}: nobody answered within 1 s\n"
    refused(ended, opening(trusted.host) + NAMED + why)
    assert 1 <= ended.seconds < 4


# Interrupted.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_while_the_browser_is_open(desk: Desk, trusted: Forge, number: signal.Signals) -> None:
    """Ctrl-C, SIGTERM, SIGHUP: exit 130, no answer, nothing left (3.3, 26)."""
    with browsing(desk, "hold") as browser:
        with desk.get(trusted.url) as program:
            browser.wait_for_tabs(1)
            program.process.send_signal(number)
            ended = program.ended(10)
        nothing_left(desk, port_of(browser))
    assert (ended.status, ended.out) == (130, "")
    assert ended.err == opening(trusted.host) + NAMED


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_during_the_exchange(
    desk: Desk, stand_in: StandIn, browser: GentleBrowser, number: signal.Signals
) -> None:
    """A token endpoint that takes its time does not hold Ctrl-C up, and the page does not say success (3.3, 11)."""
    with asleep(stand_in) as asked:
        with desk.get(stand_in.url) as program:
            assert asked.wait(20)
            sent = time.monotonic()
            program.process.send_signal(number)
            ended = program.ended(10)
            assert time.monotonic() - sent < 3
        [tab] = browser.wait_for_tabs(1)
    assert (ended.status, ended.out) == (130, "")
    assert ended.err == opening(stand_in.host) + NAMED
    assert "Signed in" not in tab.text
    nothing_left(desk, port_of(browser))


def test_git_is_gone(desk: Desk, trusted: Forge) -> None:
    """git's death is seen on our stdout, whose reader is gone: within a second nothing is left, and nothing said."""
    with browsing(desk, "hold") as browser:
        with desk.get(trusted.url) as program:
            browser.wait_for_tabs(1)
            assert program.process.stdout
            program.process.stdout.close()
            closed = time.monotonic()
            program.process.wait(10)
            assert time.monotonic() - closed < 2  # a second, and one for a busy machine
            assert program.process.stderr
            assert program.process.stderr.read().decode() == opening(trusted.host) + NAMED
            assert program.process.returncode == 0
        nothing_left(desk, port_of(browser))
    assert exchanges(trusted) == []


# The forge does not know us.


REGISTER = "forge: `git credential-forge register {}` shows what to enter where, and keeps what you get\n"


@pytest.mark.usefixtures("browser")
def test_unknown_client(desk: Desk, trusted: Forge) -> None:
    """A forge without the shipped client shows a page and never calls back: the probe ends the wait at once."""
    trusted.remove_application()
    with desk.get(trusted.url) as program:
        ended = program.ended(15)
    refused(
        ended,
        f"{opening(trusted.host)}{NAMED}forge: not signed in to {trusted.host}: it does not know the application that "
        "Forgejo or Gitea usually ships\n"
        f"{REGISTER.format(trusted.url)}",
    )


@pytest.mark.usefixtures("browser")
def test_unknown_client_of_one_s_own(desk: Desk, trusted: Forge) -> None:
    """A client id that somebody configured and the forge does not know is called that."""
    desk.client(trusted.url, "gone")
    with desk.get(trusted.url) as program:
        ended = program.ended(15)
    refused(
        ended,
        f"{opening(trusted.host)}forge: not signed in to {trusted.host}: it does not know the client id that is set "
        f"for it\n{REGISTER.format(trusted.url)}",
    )


@pytest.mark.parametrize("status", [403, 404])
def test_oauth_is_off(desk: Desk, stand_in: StandIn, status: int) -> None:
    """403 or 404 at the token endpoint: no sign-in for applications there; what to type instead is said."""
    stand_in.probe = lambda _: Answer(status, [("Content-Type", "text/html")], b"<html>Not here</html>")
    with browsing(desk, "hold"):  # which is at a page without a form, and never calls back
        stand_in.authorize = lambda _: {"state": "none"}
        with desk.get(stand_in.url) as program:
            ended = program.ended(15)
    refused(
        ended,
        f"{opening(stand_in.host)}{NAMED}forge: not signed in to {stand_in.host}: it has no sign-in for applications "
        f"(HTTP {status} at login/oauth/access_token)\n"
        "forge: to type a password or token there instead: "
        f"git config --global credential.{stand_in.url}.forgeFlow never\n",
    )


def test_a_grant_with_another_scope(desk: Desk, stand_in: StandIn, browser: GentleBrowser) -> None:
    """Gitea's refusal after an earlier grant with other rights: its words, and the page where that is taken back."""
    words = "a grant exists with different scope"
    stand_in.authorize = lambda given: {
        "error": "server_error",
        "error_description": words,
        "state": given["state"],
    }
    with desk.get(stand_in.url) as program:
        ended = program.ended()
    refused(
        ended,
        f"{opening(stand_in.host)}{NAMED}forge: not signed in to {stand_in.host}: it said: {words} (server_error)\n"
        "forge: you granted this application other rights before: take that back at "
        f"{stand_in.url}/user/settings/applications, and try again\n",
    )
    [tab] = browser.wait_for_tabs(1)
    assert tab.text.startswith(f"Not signed in to {stand_in.host} It said: {words} (server_error)")


def test_hostile_words(desk: Desk, stand_in: StandIn, browser: GentleBrowser) -> None:
    """A server's description is one short line without control characters, on the terminal and on the page (3.3, 9)."""
    stand_in.authorize = lambda given: {
        "error": "server_error",
        "error_description": "\x1b]0;evil\x07\r\nforge: signed in\u202e <b>bold</b> " + "x" * 2000,
        "error_uri": "https://evil.example/",
        "state": given["state"],
    }
    with desk.get(stand_in.url) as program:
        ended = program.ended()
    assert (ended.status, ended.out) == (0, QUIT)
    said = ended.err.removeprefix(opening(stand_in.host) + NAMED)
    lead = f"forge: not signed in to {stand_in.host}: it said: "
    assert re.fullmatch(re.escape(lead) + r"\]0;evil +forge: signed in +<b>bold</b> x+…\n", said)
    assert len(said) < len(lead) + 310
    [tab] = browser.wait_for_tabs(1)
    assert "<b>bold</b> xxx" in tab.text
    assert "evil.example" not in tab.text


def test_words_that_name_the_forge(desk: Desk, stand_in: StandIn, browser: GentleBrowser) -> None:
    """The page tells all that the terminal tells, also where a description has the forge's name and a colon in it."""
    words = f"closed: see {stand_in.host}: all is well"
    stand_in.authorize = lambda given: {"error": "server_error", "error_description": words, "state": given["state"]}
    with desk.get(stand_in.url) as program:
        ended = program.ended()
    said = f"it said: {words} (server_error)"
    assert ended.err.endswith(f"forge: not signed in to {stand_in.host}: {said}\n")
    [tab] = browser.wait_for_tabs(1)
    assert f"I{said[1:]}" in tab.text


# iss, where the server's metadata told the issuer.


@pytest.mark.usefixtures("browser")
def test_another_server_s_answer(desk: Desk, stand_in: StandIn) -> None:
    """`iss` of another server: no code goes anywhere (3.3, 14)."""
    stand_in.metadata = stand_in.describe
    stand_in.authorize = lambda given: {"code": "theirs", "state": given["state"], "iss": "https://evil.example"}
    with desk.get(stand_in.url, challenge=None) as program:
        ended = program.ended()
    assert (ended.status, ended.out) == (0, QUIT)
    assert ended.err.endswith("the answer came from another server\n")
    assert stand_in.exchanges() == []


@pytest.mark.usefixtures("browser")
def test_the_right_server_s_answer(desk: Desk, stand_in: StandIn) -> None:
    """`iss` that the metadata told is let in (3.3, 14)."""
    stand_in.metadata = partial(stand_in.describe, authorization_response_iss_parameter_supported=True)
    stand_in.authorize = lambda given: {"code": "c", "state": given["state"], "iss": stand_in.url}
    with desk.get(stand_in.url, challenge=None) as program:
        ended = program.ended()
    assert answer_of(ended.out)["password"] == stand_in.access_token


@pytest.mark.usefixtures("browser")
def test_iss_that_was_announced_and_is_missing(desk: Desk, stand_in: StandIn) -> None:
    """A server that announces `iss` and answers without it is not the one that answered (3.3, 14; RFC 9207, 2.4)."""
    stand_in.metadata = partial(stand_in.describe, authorization_response_iss_parameter_supported=True)
    with desk.get(stand_in.url, challenge=None) as program:
        ended = program.ended()
    assert (ended.status, ended.out) == (0, QUIT)
    assert stand_in.exchanges() == []


def test_a_server_without_s256(desk: Desk, stand_in: StandIn, browser: GentleBrowser) -> None:
    """Metadata that lists methods without S256 ends it before a tab is opened: never `plain` (3.3, 13)."""
    stand_in.metadata = partial(stand_in.describe, code_challenge_methods_supported=["plain"])
    desk.client(stand_in.url)
    with desk.get(stand_in.url, challenge=None) as program:
        ended = program.ended()
    assert (ended.status, ended.out) == (0, QUIT)
    assert ended.err.startswith(f"forge: not signed in to {stand_in.host}: ")
    assert browser.tabs() == []
    assert stand_in.authorizations() == []


@pytest.mark.usefixtures("browser")
def test_a_token_for_less_than_was_asked(desk: Desk, stand_in: StandIn) -> None:
    """A token whose scope lacks what was asked for is refused in words that name it, and not kept (3.3, 17)."""
    desk.client(stand_in.url, "mine", 'oauthScopes = "read:user write:repository"')
    stand_in.token = lambda _: as_json(200, stand_in.token_response(scope="read:user"))
    with desk.get(stand_in.url) as program:
        ended = program.ended()
    assert (ended.status, ended.out) == (0, QUIT)
    assert "write:repository" in ended.err.removeprefix(opening(stand_in.host))


@pytest.mark.parametrize("scope", ["read:user write:repository", "write:repository,read:user,more", None])
@pytest.mark.usefixtures("browser")
def test_a_token_for_what_was_asked(desk: Desk, stand_in: StandIn, scope: str | None) -> None:
    """All that was asked for, in any order, or more, or no word about it: taken (RFC 6749, 5.1)."""
    desk.client(stand_in.url, "mine", 'oauthScopes = "read:user write:repository"')
    stand_in.token = lambda _: as_json(200, stand_in.token_response(scope=scope))
    with desk.get(stand_in.url) as program:
        ended = program.ended()
    assert answer_of(ended.out)["password"] == stand_in.access_token
    assert stand_in.authorizations()[0]["scope"] == "read:user write:repository"


# whoami fails: the token is good all the same.

WHOAMI: dict[str, Callable[[Request], Answer]] = {
    "401": lambda _: as_json(401, {"message": "no"}),
    "500": lambda _: Answer(500, [("Content-Type", "text/html")], b"oops"),
    "no JSON": lambda _: Answer(200, [("Content-Type", "application/json")], b"{"),
    "a list": lambda _: as_json(200, ["alice"]),
    "no login": lambda _: as_json(200, {"id": 1}),
    "a login with a line end": lambda _: as_json(200, {"login": "alice\npassword=x"}),
    "a login with a colon": lambda _: as_json(200, {"login": "a:b"}),
    "an empty login": lambda _: as_json(200, {"login": ""}),
    "a login that is none": lambda _: as_json(200, {"login": 7}),
    "a redirect": lambda _: Answer(302, [("Location", "/elsewhere")], b""),
    "2 MB": lambda _: Answer(200, [("Content-Type", "application/json")], b'{"login": "' + b"a" * 2_000_000 + b'"}'),
}


@pytest.mark.parametrize("name", WHOAMI)
def test_whoami_fails(desk: Desk, stand_in: StandIn, browser: GentleBrowser, name: str) -> None:
    """Where the forge cannot say who it is, the name that git asked for stands, and the token is used."""
    stand_in.whoami = WHOAMI[name]
    with desk.get(stand_in.url, "username=bob") as program:
        ended = program.ended()
    answer = answer_of(ended.out)
    assert (answer["username"], answer["password"]) == ("bob", stand_in.access_token)
    assert ended.err == opening(stand_in.host) + NAMED + welcome(stand_in.host, "bob")
    [tab] = browser.wait_for_tabs(1)
    assert tab.text == f"Signed in to {stand_in.host} You can close this tab and go back to your terminal."
    assert all(request.target != "/elsewhere" for request in stand_in.asked)


@pytest.mark.usefixtures("browser")
def test_whoami_asks_with_the_token_and_nothing_else(desk: Desk, stand_in: StandIn) -> None:
    """The token goes in the header, and to this forge alone."""
    with desk.get(stand_in.url) as program:
        program.ended()
    [asked] = [request for request in stand_in.asked if request.target == "/api/v1/user"]
    assert asked.header("Authorization") == f"Bearer {stand_in.access_token}"
    assert asked.body == b""


# The token endpoint fails: acceptance, point 5.


@contextmanager
def asleep(stand_in: StandIn) -> Iterator[threading.Event]:
    """The token endpoint answers 30 s late, or when the test is over; the event says that it was asked."""
    asked, over = threading.Event(), threading.Event()

    def answer(_: Request) -> Answer:
        asked.set()
        over.wait(30)
        return as_json(200, stand_in.token_response())

    stand_in.token = answer
    try:
        yield asked
    finally:
        over.set()


def _page(status: int) -> Callable[[Request], Answer]:
    return lambda _: Answer(status, [("Content-Type", "text/html; charset=utf-8")], b"<!doctype html><p>secret-words")


def _said(status: int, content_type: str, body: bytes) -> Callable[[Request], Answer]:
    return lambda _: Answer(status, [("Content-Type", content_type)], body)


USELESS = "not signed in to HOST: its token endpoint is of no use: "
JSON = "application/json"
FAILURES: dict[str, tuple[Callable[[Request], Answer], str]] = {
    "a web page": (_page(200), USELESS + "it answered with a web page (HTTP 200)"),
    "500 with a web page": (_page(500), USELESS + "it answered with a web page (HTTP 500)"),
    "500": (_said(500, "text/plain", b"oops"), USELESS + "it answered with no OAuth answer (HTTP 500)"),
    "500 with JSON": (
        _said(500, JSON, b'{"message": "secret-words"}'),
        USELESS + "it answered with HTTP 500 and no OAuth error",
    ),
    "nothing": (_said(200, JSON, b""), USELESS + "it answered with no OAuth answer (HTTP 200)"),
    "half": (
        _said(200, JSON, b'{"access_token": "secret-words'),
        USELESS + "it answered with no OAuth answer (HTTP 200)",
    ),
    "deep": (_said(200, JSON, b"[" * 100_000), USELESS + "it answered with no OAuth answer (HTTP 200)"),
    "10 MB": (
        _said(200, JSON, b'{"access_token": "' + b"a" * 10_000_000 + b'"}'),
        "not signed in to HOST: HOST cannot be reached (its answer is larger than 1048576 bytes)",
    ),
    "another kind of token": (
        lambda _: as_json(200, {"access_token": "secret-words", "token_type": "mac"}),
        USELESS + "its token_type is not bearer",
    ),
    "no kind of token": (
        lambda _: as_json(200, {"access_token": "secret-words"}),
        USELESS + "its token_type is not bearer",
    ),
    "an empty token": (
        lambda _: as_json(200, {"access_token": "", "token_type": "bearer"}),
        USELESS + "its access_token is missing or malformed",
    ),
    "no token": (
        lambda _: as_json(200, {"token_type": "bearer"}),
        USELESS + "its access_token is missing or malformed",
    ),
    "a token with a line end": (
        lambda _: as_json(200, {"access_token": "secret-words\npassword=x", "token_type": "bearer"}),
        USELESS + "its access_token is missing or malformed",
    ),
    "a token of 65 kB": (
        lambda _: as_json(200, {"access_token": "a" * 65_537, "token_type": "bearer"}),
        USELESS + "its access_token is missing or malformed",
    ),
    "a dead code": (
        lambda _: as_json(400, {"error": "invalid_grant", "error_description": "code\x1b[2J expired"}),
        "not signed in to HOST: it said: code [2J expired (invalid_grant)",
    ),
    "an error with 200": (
        lambda _: as_json(200, {"error": "bad_verification_code", "access_token": "secret-words"}),
        "not signed in to HOST: it said: bad_verification_code",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_the_token_endpoint_fails(desk: Desk, stand_in: StandIn, browser: GentleBrowser, name: str) -> None:
    """One clear line, on the terminal and on the page; nothing of what the endpoint sent, and no traceback (3.3, 20;
    acceptance, 5)."""
    stand_in.token, line = FAILURES[name]
    line = line.replace("HOST", stand_in.host)
    with desk.get(stand_in.url) as program:
        ended = program.ended(WORST)
    refused(ended, f"{opening(stand_in.host)}{NAMED}forge: {line}\n")
    [tab] = browser.wait_for_tabs(1)
    why = line.removeprefix(f"not signed in to {stand_in.host}: ")
    assert tab.text == (
        f"Not signed in to {stand_in.host} {why[:1].upper()}{why[1:]} Close this tab; git will say how to ask again."
    )
    assert "secret-words" not in ended.err + tab.text
    assert not [request for request in stand_in.asked if request.target == "/api/v1/user"]
    nothing_left(desk, port_of(browser))


@pytest.mark.usefixtures("browser")
def test_the_token_endpoint_redirects(desk: Desk, stand_in: StandIn) -> None:
    """A redirect is not followed: neither code nor verifier goes to another place (3.3, 20; CVE-2026-41506)."""
    came: list[Request] = []

    def take(request: Request) -> Answer:
        came.append(request)
        return as_json(200, stand_in.token_response())

    thief = HttpServer(take)
    try:
        for status in (301, 302, 303, 307, 308):
            where = [("Location", f"http://127.0.0.1:{thief.port}/token")]
            stand_in.token = lambda _, status=status, where=where: Answer(status, where, b"")  # type: ignore[misc]
            with desk.get(stand_in.url) as program:
                ended = program.ended()
            reason = f"its token endpoint is of no use: it redirects to 127.0.0.1:{thief.port}"
            refused(ended, f"{opening(stand_in.host)}{NAMED}forge: not signed in to {stand_in.host}: {reason}\n")
    finally:
        thief.stop()
    assert came == []


@pytest.mark.parametrize("kind", ["Bearer", "BEARER", "bearer"])
@pytest.mark.usefixtures("browser")
def test_bearer_in_any_case(desk: Desk, stand_in: StandIn, kind: str) -> None:
    """`token_type` is compared without regard to case (3.3, 20)."""
    stand_in.token = lambda _: as_json(200, stand_in.token_response(token_type=kind))
    with desk.get(stand_in.url) as program:
        assert answer_of(program.ended().out)["password"] == stand_in.access_token


@pytest.mark.usefixtures("browser")
def test_the_token_endpoint_is_down(desk: Desk, stand_in: StandIn) -> None:
    """Nobody listens there: one line that says so."""
    with socket.socket() as silent:  # bound, so that nobody else takes the port, and not listening
        silent.bind(("127.0.0.1", 0))
        down = f"127.0.0.1:{silent.getsockname()[1]}"
        desk.client(
            stand_in.url,
            "mine",
            f"oauthAuthURL = {stand_in.url}/login/oauth/authorize",
            f"oauthTokenURL = http://{down}/login/oauth/access_token",
        )
        with desk.get(stand_in.url) as program:
            ended = program.ended(WORST)
    assert (ended.status, ended.out) == (0, QUIT)
    assert ended.err == (
        f"{opening(stand_in.host)}forge: not signed in to {stand_in.host}: {down} cannot be reached "
        "(Connection refused)\n"
    )


@pytest.mark.usefixtures("browser")
def test_the_token_endpoint_hangs_up(desk: Desk, stand_in: StandIn) -> None:
    """A connection that ends without an answer: one line that says so."""

    def hang_up(_: Request) -> Answer:
        raise ConnectionAbortedError

    stand_in.token = hang_up
    with desk.get(stand_in.url) as program:
        ended = program.ended(WORST)
    line = f"{stand_in.host} cannot be reached (it does not speak HTTP, or hung up)"
    refused(ended, f"{opening(stand_in.host)}{NAMED}forge: not signed in to {stand_in.host}: {line}\n")


def test_the_token_endpoint_is_slow(desk: Desk, stand_in: StandIn, browser: GentleBrowser) -> None:
    """30 s are not waited for: after 10 s one line says so (acceptance, 5)."""
    with asleep(stand_in), desk.get(stand_in.url) as program:
        ended = program.ended(WORST + 5)
    assert (ended.status, ended.out) == (0, QUIT)
    # Two clocks of the same length run here, and either may be first.
    why = r"(timed out after 10 s|no whole answer within 10 s)"
    line = re.escape(f"forge: not signed in to {stand_in.host}: {stand_in.host} cannot be reached ")
    assert re.fullmatch(re.escape(opening(stand_in.host) + NAMED) + line + rf"\({why}\)\n", ended.err)
    assert http.DEADLINE <= ended.seconds < WORST
    [tab] = browser.wait_for_tabs(1)
    assert tab.text.startswith(f"Not signed in to {stand_in.host} {stand_in.host} cannot be reached (")


@pytest.mark.usefixtures("browser")
def test_the_token_endpoint_trickles(desk: Desk, stand_in: StandIn) -> None:
    """A byte now and then does not move the deadline on."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as slow:

        def trickle() -> None:
            connection, _ = slow.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{")
                while not over.wait(0.5):
                    connection.sendall(b" ")

        trickling = threading.Thread(target=trickle)
        trickling.start()
        place = f"127.0.0.1:{slow.getsockname()[1]}"
        desk.client(
            stand_in.url, "mine", "oauthAuthURL = /login/oauth/authorize", f"oauthTokenURL = http://{place}/token"
        )
        with desk.get(stand_in.url) as program:
            ended = program.ended(WORST + 5)
        over.set()
        trickling.join()
    line = f"not signed in to {stand_in.host}: {place} cannot be reached (no whole answer within 10 s)"
    refused(ended, f"{opening(stand_in.host)}forge: {line}\n")
    assert ended.seconds < WORST


@pytest.mark.usefixtures("browser")
def test_a_certificate_that_is_not_trusted(desk: Desk, forge: Forge) -> None:
    """TLS is verified: no code goes to a server that cannot say who it is (3.3, 20)."""
    with desk.get(forge.url) as program:
        ended = program.ended(WORST)
    assert (ended.status, ended.out) == (0, QUIT)
    line = f"forge: not signed in to {forge.host}: {forge.host} cannot be reached (its certificate is not trusted: "
    assert ended.err.startswith(opening(forge.host) + NAMED + line)
    assert ended.err.count("\n") == 3
    assert forge.log("exchange") == []


LOSING = {**{name: answer for name, (answer, _) in FAILURES.items()}, "redirect": None, "hang up": None}


@pytest.mark.parametrize("name", LOSING)
def test_nothing_is_lost(desk: Desk, stand_in: StandIn, browser: GentleBrowser, name: str) -> None:
    """A new sign-in that fails takes nothing away of the one that is held: git goes on with it, without a tab
    (acceptance, 5)."""
    with desk.get(stand_in.url) as program:
        before = program.ended()
    assert answer_of(before.out)["password"] == stand_in.access_token

    def elsewhere(_: Request) -> Answer:
        if name == "redirect":
            return Answer(307, [("Location", "/other")], b"")
        raise ConnectionAbortedError

    stand_in.token = LOSING[name] or elsewhere
    with desk.login(stand_in.url) as program:
        failed = program.ended(WORST)
    assert (failed.status, failed.out) == (1, "")
    assert failed.err.count("\n") == 3
    with desk.get(stand_in.url) as program:
        after = program.ended()
    held, now = answer_of(before.out), answer_of(after.out)
    now.pop("capability[]", None)  # of git's cache, from 2.46 on
    held |= {} if "password_expiry_utc" in now else {"password_expiry_utc": ""}  # git's cache forgets it before 2.40
    assert (after.status, after.err) == (0, "")
    assert now == {name: value for name, value in held.items() if value}
    assert len(browser.tabs()) == 2


# The redirect address.


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://127.0.0.1", Redirect("127.0.0.1", 0, "")),
        ("http://127.0.0.1/", Redirect("127.0.0.1", 0, "/")),
        ("http://127.0.0.1:8080/callback", Redirect("127.0.0.1", 8080, "/callback")),
        ("http://localhost/cb", Redirect("localhost", 0, "/cb")),
        ("http://[::1]:1234", Redirect("[::1]", 1234, "")),
    ],
)
def test_redirect_addresses_of_this_machine(address: str, expected: Redirect) -> None:
    """Where to listen is read off the redirect address; without a port any free one will do (RFC 8252, 7.3)."""
    assert dynamic.redirect(address) == expected


@pytest.mark.parametrize(
    "address",
    [
        "https://127.0.0.1/cb",
        "http://forge.example/cb",
        "http://127.0.0.1.evil.example/",
        "http://127.0.0.1/?a=b",
        "http://127.0.0.1/#a",
        "http://0.0.0.0/",
        "urn:ietf:wg:oauth:2.0:oob",
        "",
    ],
)
def test_redirect_addresses_that_lead_away(address: str) -> None:
    """Nothing but this machine's loopback, by http, without a query, is listened on or registered (3.3, 1)."""
    with pytest.raises(TryElsewhereError, match="oauthRedirectURL is not one of this machine's addresses"):
        dynamic.redirect(address)


def test_a_registered_port_that_is_taken(desk: Desk, stand_in: StandIn, browser: GentleBrowser) -> None:
    """Somebody listens on the registered port: said at once, and no tab is opened (3.3, 2)."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        desk.client(stand_in.url, "mine", f"oauthRedirectURL = http://127.0.0.1:{port}/cb")
        with desk.get(stand_in.url) as program:
            ended = program.ended(10)
    why = "cannot be listened on, and oauthRedirectURL names it: Address already in use"
    refused(ended, f"forge: port {port} of 127.0.0.1 {why}\n")
    assert browser.tabs() == []
    assert stand_in.asked == []
