"""The device flow (RFC 8628): a code on the terminal, entered anywhere; against a server that plays any forge, and a
real one."""

from __future__ import annotations

import json
import os
import signal
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import pytest

from git_credential_forge.oauth import wire
from git_credential_forge.oauth.wire import Broken, DeviceCode, Refusal
from git_credential_forge.secret import Secret
from tests.support.forge import PASSWORDS, Forge
from tests.support.gentle import Page, go, new_client
from tests.support.gentle_browser import GentleBrowser
from tests.support.helper_terminal import HelperOnTerminal
from tests.support.httpserver import Answer, HttpServer, Request
from tests.support.signing_in import QUIT, Program, answer_of, as_json, asked_for
from tests.support.surroundings import SET_UP
from tests.support.terminal import OnTerminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHALLENGE = 'Basic realm="GitHub" enterprise_hint="x"'
CLIENT = "0a1b2c"
PENDING = as_json(200, {"error": "authorization_pending"})  # as GitHub: errors in a 200
PAGE = Answer(404, [("Content-Type", "text/html")], b"<html>")
GONE = Answer(0, [], b"")  # the connection ends without an answer
DEVICE, TOKEN = "/login/device/code", "/login/oauth/access_token"


class Codes:
    """A GitHub Enterprise, as far as a device needs it: gives codes, and says to each poll what comes next in `polls`;
    the last of them again and again."""

    def __init__(self) -> None:
        self.access_token = "gho_access"
        self.device: dict[str, Any] = {"expires_in": 900, "interval": 1}
        self.refusal: Answer | None = None  # of the request for a code
        self.polls: list[Answer] = [PENDING, self.token()]
        self.who = "alice"
        self.seen: list[tuple[float, str, dict[str, str]]] = []  # when, where, what
        self._server = HttpServer(self._answer)
        self.host = f"127.0.0.1:{self._server.port}"
        self.url = f"http://{self.host}"

    def token(self, **more: object) -> Answer:
        return as_json(
            200, {"access_token": self.access_token, "token_type": "bearer", "scope": "repo,gist,workflow", **more}
        )

    def stop(self) -> None:
        self._server.stop()

    @property
    def forms(self) -> list[dict[str, str]]:
        return [form for _, path, form in self.seen if path == TOKEN]

    @property
    def gaps(self) -> list[float]:
        """Seconds between the first code and the polls, one after the other."""
        times = [at for at, path, _ in self.seen if path in (DEVICE, TOKEN)]
        return [after - before for before, after in pairwise(times)]

    def _answer(self, request: Request) -> Answer:
        path = request.target.partition("?")[0]
        self.seen.append((time.monotonic(), path, dict(parse_qsl(request.body.decode()))))
        if path == DEVICE:
            number = sum(where == DEVICE for _, where, _ in self.seen)
            code = {"device_code": f"device-{number}", "user_code": f"WDJB-000{number}"}
            return self.refusal or as_json(200, {**code, "verification_uri": f"{self.url}/login/device", **self.device})
        if path == TOKEN:
            answer = self.polls.pop(0) if len(self.polls) > 1 else self.polls[0]
            if answer is GONE:
                raise ConnectionAbortedError
            return answer
        if path.endswith("/info/refs"):
            return Answer(401, [("WWW-Authenticate", CHALLENGE)], b"")
        return as_json(200, {"login": self.who}) if path == "/api/v3/user" else Answer(404, [], b"")


class Desk:
    """A helper that knows a client of `codes`, without a secret."""

    def __init__(self, main: Path, environment: dict[str, str], codes: Codes) -> None:
        self.main = main
        self.environment = environment
        self.codes = codes
        self.set("oauthClientId", CLIENT)

    def set(self, key: str, value: str) -> None:
        with open(f"{self.environment['HOME']}/.gitconfig", "a", encoding="utf-8") as file:
            file.write(f'[credential "{self.codes.url}"]\n\t{key} = {value}\n')

    @property
    def asked(self) -> str:
        return asked_for(self.codes.url, challenge=CHALLENGE)

    def get(self, **more: str) -> Program:
        return Program([self.main, "get"], self.environment | more, self.asked)

    def get_on_terminal(self, **more: str) -> HelperOnTerminal:
        return HelperOnTerminal([self.main, "get"], self.environment | more, self.asked)

    def login(self, *arguments: str, **more: str) -> OnTerminal:
        command = [str(self.main), "login", *arguments, self.codes.url]
        return OnTerminal(command, self.environment | more, self.main.parent)

    @property
    def leads(self) -> str:
        """What is said on standard error before the code is shown."""
        return (
            f"forge: signing in to {self.codes.host}; the page will name the application with the client id {CLIENT}\n"
        )

    def shows(self, number: int = 1, lead: str = "") -> str:
        return f"forge: {lead}open {self.codes.url}/login/device in any browser and enter WDJB-000{number}\n"

    @property
    def welcome(self) -> str:
        return f"forge: signed in as alice at {self.codes.host}, kept in memory while you work, and two hours more\n"

    def no(self, *words: str) -> str:
        first, *rest = words
        return "".join(f"forge: {line}\n" for line in (f"not signed in to {self.codes.host}: {first}", *rest))


@pytest.fixture
def codes() -> Iterator[Codes]:
    running = Codes()
    yield running
    running.stop()


@pytest.fixture
def desk(main: Path, environment: dict[str, str], codes: Codes) -> Desk:
    return Desk(main, environment | SET_UP, codes)


def shown(program: HelperOnTerminal) -> str:
    return program.shown.replace("\r\n", "\n")


# What a person sees, and what the forge is sent.


def test_code_on_the_terminal(desk: Desk) -> None:
    """git's helper in an SSH session: the code is on the terminal, not where standard error is redirected to."""
    with desk.get_on_terminal(SSH_CONNECTION="a b c d") as program:
        ended = program.ended()
        assert shown(program) == desk.shows()
    answer = answer_of(ended.out)
    assert (answer["username"], answer["password"]) == ("alice", desk.codes.access_token)
    assert (ended.status, ended.err) == (0, desk.leads + desk.welcome)


def test_code_on_standard_error(desk: Desk) -> None:
    """Where standard error is a terminal, it is there, once. A person who types `login` comes without a challenge."""
    with desk.login() as program:
        assert program.wait() == 0
    assert program.seen == desk.leads + desk.shows() + desk.welcome


def test_what_is_sent(desk: Desk) -> None:
    """The scopes with the request for a code; then code and client, and never a redirect or a verifier."""
    with desk.get_on_terminal() as program:
        assert program.ended().status == 0
    [asked] = [form for _, path, form in desk.codes.seen if path == DEVICE]
    assert asked == {"client_id": CLIENT, "scope": "repo gist workflow"}
    polled = {"client_id": CLIENT, "grant_type": wire.DEVICE_GRANT, "device_code": "device-1"}
    assert desk.codes.forms == [polled] * 2


def test_the_page_with_the_code_in_it(desk: Desk) -> None:
    """`verification_uri_complete` is shown too, and words of the server's cannot move the cursor."""
    whole = f"{desk.codes.url}/login/device?user_code=WDJB-0001"
    desk.codes.device["verification_uri_complete"] = whole
    with desk.get_on_terminal() as program:
        assert program.ended().status == 0
        assert shown(program) == desk.shows() + f"forge: or open {whole}, which has the code in it\n"


def test_nobody_there(desk: Desk) -> None:
    """Neither standard error nor a terminal: one line says so, one what to type; no code is asked for."""
    desk.set("forgeFlow", "device")
    with desk.get() as program:
        ended = program.ended(10)
    told = desk.no("no terminal is there to show a code on", f"run: git credential-forge login {desk.codes.url}")
    assert (ended.status, ended.out, ended.err) == (0, QUIT, told)
    assert desk.codes.seen == []


# When it is polled.


def test_interval(desk: Desk) -> None:
    """The first poll comes no earlier than the interval after the code, nor any other."""
    desk.codes.device["interval"] = 2
    with desk.get_on_terminal() as program:
        assert program.ended().status == 0
    assert [2 <= gap < 4 for gap in desk.codes.gaps] == [True, True]


def test_slow_down(desk: Desk) -> None:
    """GitHub's, in a 200: five seconds more from then on (RFC 8628, section 3.5)."""
    desk.codes.polls = [as_json(200, {"error": "slow_down", "interval": 6}), desk.codes.token()]
    with desk.get_on_terminal() as program:
        assert program.ended().status == 0
    first, second = desk.codes.gaps
    assert 1 <= first < 3
    assert second >= 6


@pytest.mark.parametrize("what", [GONE, Answer(502, [("Content-Type", "text/html")], b"<html>"), Answer(429, [], b"")])
def test_network_that_comes_and_goes(desk: Desk, what: Answer) -> None:
    """A poll that gets no answer, or a proxy's page, ends nothing: the next one comes later."""
    desk.codes.polls = [what, desk.codes.token()]
    with desk.get_on_terminal() as program:
        ended = program.ended()
    assert (ended.status, ended.err) == (0, desk.leads + desk.welcome)
    assert desk.codes.gaps[1] >= 6


@pytest.mark.parametrize("error", ["expired_token", "token_expired", "authorization_pending"])
@pytest.mark.parametrize("status", [200, 400])
def test_a_code_that_runs_out_is_renewed(desk: Desk, error: str, status: int) -> None:
    """Said by GitHub in two ways and by GitLab in a 400, or known from `expires_in` alone: there is another code."""
    desk.codes.polls = [as_json(status, {"error": error}), desk.codes.token()]
    desk.codes.device["expires_in"] = 1 if error == "authorization_pending" else 300
    with desk.get_on_terminal() as program:
        ended = program.ended()
        assert shown(program) == desk.shows(1) + desk.shows(2, "that code has run out; ")
    assert (ended.status, ended.err) == (0, desk.leads + desk.welcome)
    assert [form["device_code"] for form in desk.codes.forms] == ["device-1", "device-2"]


@pytest.mark.slow
def test_codes_that_all_run_out_at_once(desk: Desk) -> None:
    """A server cannot fill the screen: there are so many codes, and no more."""
    desk.codes.polls = [as_json(400, {"error": "expired_token"})] * 12
    with desk.get_on_terminal() as program:
        ended = program.ended(60)
    said = desk.no("nobody entered one of 12 codes in time")
    assert (ended.status, ended.out, ended.err) == (0, QUIT, desk.leads + said)
    assert len(desk.codes.forms) == 12


def test_nobody_enters_it(desk: Desk) -> None:
    """A person who does not come is not waited for longer than the settings say."""
    desk.set("forgeSignInTimeout", "2")
    desk.codes.polls = [PENDING]
    with desk.get_on_terminal() as program:
        ended = program.ended(20)
    assert (ended.status, ended.out, ended.err) == (0, QUIT, desk.leads + desk.no("nobody entered the code in time"))
    assert ended.seconds < 10


# How it ends without a token.


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (as_json(200, {"error": "access_denied"}), ["you denied the request in the browser"]),
        (as_json(400, {"error": "invalid_grant", "error_description": "no\x1b[2J such"}),
         ["it said: no [2J such (invalid_grant)"]),
        (as_json(200, {"error": "incorrect_device_code"}), ["it said: incorrect_device_code"]),
    ],
)  # fmt: skip
def test_refused(desk: Desk, answer: Answer, said: list[str]) -> None:
    """The forge's last word, in a 200 or not, cleaned; git neither asks for a password nor polls again."""
    desk.codes.polls = [PENDING, answer]
    with desk.get_on_terminal() as program:
        ended = program.ended()
    assert (ended.status, ended.out, ended.err) == (0, QUIT, desk.leads + desk.no(*said))
    assert len(desk.codes.forms) == 2


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            as_json(200, {"error": "device_flow_disabled", "error_description": "x"}),
            [
                "the device flow is off for this application",
                'tick "Enable Device Flow" in the settings of the application, on the page where it was registered',
            ],
        ),
        (as_json(404, {"error": "Not Found"}), ["it said: Not Found"]),
        (PAGE, ["its device flow is of no use: it answered with a web page"]),
        (Answer(503, [], b""), ["its device flow is of no use: it answered with HTTP 503"]),
        (as_json(200, {}), ["its device flow is of no use: its device code is missing or malformed"]),
    ],
)  # fmt: skip
def test_no_code(desk: Desk, answer: Answer, said: list[str]) -> None:
    """For an application without a secret there is no other way at GitHub: the reason stands alone."""
    desk.codes.refusal = answer
    with desk.get_on_terminal() as program:
        ended = program.ended()
        assert shown(program) == ""
    assert (ended.status, ended.out, ended.err) == (0, QUIT, desk.no(*said))


def test_unknown_client(desk: Desk) -> None:
    """An id that the forge does not know: the remedy is `register`, and no other way is tried with it."""
    desk.set("oauthClientSecret", "s")
    desk.codes.refusal = as_json(401, {"error": "invalid_client"})
    with desk.get_on_terminal() as program:
        ended = program.ended()
    remedy = f"`git credential-forge register {desk.codes.url}` shows what to enter where, and keeps what you get"
    assert ended.err == desk.no("it does not know the client id that is set for it", remedy)


def test_less_than_asked_for(desk: Desk) -> None:
    """A token with which git could not push is none, here as with the browser."""
    desk.codes.polls = [desk.codes.token(scope="gist")]
    with desk.get_on_terminal() as program:
        ended = program.ended()
    assert ended.err == desk.leads + desk.no("it granted less than was asked for, not repo workflow")
    assert ended.out == QUIT


def test_somebody_else(desk: Desk) -> None:
    """Who entered the code is not who the remote asks for: refused, nothing kept."""
    desk.codes.who = "mallory"
    asked = asked_for(desk.codes.url, "username=alice", challenge=CHALLENGE)
    with HelperOnTerminal([desk.main, "get"], desk.environment, asked) as program:
        ended = program.ended()
    host = desk.codes.host
    assert ended.err == (
        f"{desk.leads}forge: you signed in as mallory, but this remote asks for alice; nothing was changed\n"
        f"forge: sign out of {host} in your browser, or use http://mallory@{host}/…\n"
    )
    assert ended.out == QUIT


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted(desk: Desk, number: signal.Signals) -> None:
    """Ctrl-C and its kin while a person looks for their phone: exit 130, no answer, no process left."""
    desk.codes.polls = [PENDING]
    with desk.get_on_terminal() as program:
        program.wait_for("WDJB-0001")
        program.process.send_signal(number)
        ended = program.ended(10)
    assert (ended.status, ended.out, ended.err) == (130, "", desk.leads)


def test_git_is_gone(desk: Desk) -> None:
    """git's death is seen on our stdout: within a second nothing is left, nothing said, nobody polled any more."""
    desk.codes.polls = [PENDING]
    desk.codes.device["interval"] = 30
    with desk.get_on_terminal() as program:
        program.wait_for("WDJB-0001")
        assert program.process.stdout
        program.process.stdout.close()
        closed = time.monotonic()
        program.process.wait(10)
        assert time.monotonic() - closed < 2  # a second, and one for a busy machine
        assert program.process.stderr
        assert program.process.stderr.read().decode() == desk.leads
    assert desk.codes.forms == []


# Which way is taken.


@pytest.fixture
def browser() -> Iterator[GentleBrowser]:
    with GentleBrowser("alice", "unused") as running:
        yield running


def test_without_a_secret_although_a_browser_is_there(desk: Desk, browser: GentleBrowser) -> None:
    """GitHub knows no public clients: without the secret a code is the only way, and its page is opened here."""
    with desk.get_on_terminal(BROWSER=str(browser.opener)) as program:
        ended = program.ended()
        assert shown(program) == desk.shows()
    assert (ended.status, ended.err) == (0, desk.leads + desk.welcome)
    assert [tab.handed_over for tab in browser.wait_for_tabs(1)] == [f"{desk.codes.url}/login/device"]


def test_with_a_secret_and_a_browser(desk: Desk, browser: GentleBrowser) -> None:
    """Then the browser is the better way, and no code is asked for."""
    desk.set("oauthClientSecret", "s")
    with desk.get(BROWSER=str(browser.opener)) as program:
        program.wait_until_said("in your browser")
        browser.wait_for_tabs(1)
    assert "/login/oauth/authorize" in [path for _, path, _ in desk.codes.seen]
    assert DEVICE not in [path for _, path, _ in desk.codes.seen]


def test_login_device(desk: Desk, browser: GentleBrowser) -> None:
    """A person's word goes before all that speaks for the browser."""
    desk.set("oauthClientSecret", "s")
    with desk.login("--device", BROWSER=str(browser.opener)) as program:
        assert program.wait() == 0
    assert program.seen == desk.leads + desk.shows() + desk.welcome
    assert [form["client_secret"] for form in desk.codes.forms] == ["s", "s"]


def test_flow_device(desk: Desk, browser: GentleBrowser) -> None:
    """`credential.forgeFlow = device`, the same for every git."""
    desk.set("oauthClientSecret", "s")
    desk.set("forgeFlow", "device")
    with desk.get_on_terminal(BROWSER=str(browser.opener)) as program:
        assert program.ended().err == desk.leads + desk.welcome
        assert shown(program) == desk.shows()


@pytest.mark.parametrize("page", ["http://127.0.0.1:9/x", "https://github.com/login/device"])
def test_a_page_elsewhere_is_not_opened(desk: Desk, browser: GentleBrowser, page: str) -> None:
    """Where a server shows another's page, a person reads the address first."""
    desk.codes.device["verification_uri"] = page
    with desk.get_on_terminal(BROWSER=str(browser.opener)) as program:
        assert program.ended().status == 0
        assert shown(program) == f"forge: open {page} in any browser and enter WDJB-0001\n"
    assert browser.tabs() == []


GITLAB = 'Basic realm="GitLab"'


@pytest.mark.parametrize("what", ["an old GitLab", "an application that may not"])
def test_a_forge_without_codes_leaves_paste(main: Path, environment: dict[str, str], what: str) -> None:
    """Over SSH at a GitLab before 17.2, or with an application that is not to have codes: paste is offered instead."""
    refused = as_json(400, {"error": "unauthorized_client"})

    def answer(request: Request) -> Answer:
        if request.method == "GET":
            return Answer(401, [("WWW-Authenticate", GITLAB)], b"")
        return PAGE if what == "an old GitLab" else refused

    server = HttpServer(answer)
    url = f"http://127.0.0.1:{server.port}"
    with open(f"{environment['HOME']}/.gitconfig", "a", encoding="utf-8") as file:
        file.write(f'[credential "{url}"]\n\toauthClientId = x\n')
    with HelperOnTerminal([main, "get"], environment, asked_for(url, challenge=GITLAB)) as program:
        program.wait_for(r"open http\S+ anywhere, then paste here")
        program.process.send_signal(signal.SIGINT)
        ended = program.ended()
    assert (ended.status, ended.err) == (130, f"forge: signing in to 127.0.0.1:{server.port}\n")
    with HelperOnTerminal([main, "login", "--device", url], environment) as program:
        ended = program.ended()
        assert shown(program) == ""
    said = {
        "an old GitLab": "its device flow is of no use: it answered with a web page",
        "an application that may not": "it said: unauthorized_client",
    }
    server.stop()
    assert (ended.status, ended.err) == (1, f"forge: not signed in to 127.0.0.1:{server.port}: {said[what]}\n")


def test_a_forge_that_has_no_device_flow(main: Path, environment: dict[str, str]) -> None:
    """`--device` at Gitea, which has none: in words, with the key that would name one, also without a terminal."""
    for start in HelperOnTerminal, Program:
        with start([main, "login", "--device", "https://codeberg.org"], environment) as program:
            ended = program.ended()
        assert (ended.status, ended.out) == (1, "")
        assert ended.err == (
            "forge: not signed in to codeberg.org: it has no device flow that this program knows of\n"
            "forge: sign in without --device or forgeFlow; or set credential.https://codeberg.org.oauthDeviceAuthURL\n"
        )


# A real server: django-oauth-toolkit's device views.


def enter(page: str, user_code: str, action: str) -> None:
    """What a person does on the page: signs in, enters the code, presses a button."""
    with new_client() as client:
        client.follow_redirects = True
        go(client, page, "alice", PASSWORDS["alice"])
        for filled in ({"user_code": user_code}, {"action": action}):
            shown = client.get(page)
            form = Page(shown.text).forms[0]
            answer = client.post(page, data=form.fields | filled, headers={"Referer": page})
            assert answer.status_code == 200, answer.text
            page = str(answer.url)


@pytest.fixture
def real(main: Path, environment: dict[str, str], forge: Forge) -> HelperOnTerminal:
    environment["GIT_SSL_CAINFO"] = str(forge.ca_file)
    forge.add_device_application(CLIENT)
    settings = f"oauthClientId = {CLIENT}\n\toauthDeviceAuthURL = /login/device/code"
    with open(f"{environment['HOME']}/.gitconfig", "a", encoding="utf-8") as file:
        file.write(f'[credential "{forge.url}"]\n\t{settings}\n')
    return HelperOnTerminal([main, "get"], environment, asked_for(forge.url))


CODE = r"forge: open (\S+) in any browser and enter (\S+)\r\n"


def test_a_real_server(real: HelperOnTerminal, forge: Forge) -> None:
    """Its pages, its answers: no browser here, so the code is the way; the token is good, and can be refreshed."""
    with real as program:
        found = program.wait_for(CODE)
        assert found[1] == f"{forge.url}/login/device"
        enter(found[1], found[2], "accept")
        ended = program.ended()
    answer = answer_of(ended.out)
    kept = forge.secrets()
    assert (answer["username"], answer["password"]) == ("alice", kept["access_token"][-1])
    assert ended.err.splitlines()[-1].startswith(f"forge: signed in as alice at {forge.host}, ")
    assert len(kept["refresh_token"]) == 1
    assert not any(value in ended.err + program.shown for values in kept.values() for value in values)


def test_a_real_server_says_no(real: HelperOnTerminal, forge: Forge) -> None:
    """Denied on its page."""
    with real as program:
        found = program.wait_for(CODE)
        enter(found[1], found[2], "deny")
        ended = program.ended()
    assert ended.out == QUIT
    assert ended.err.splitlines()[1] == f"forge: not signed in to {forge.host}: you denied the request in the browser"


# A device authorization response, read as hostile.

GOOD = {"device_code": "d", "user_code": "AB-CD", "verification_uri": "https://forge.example/device"}


def parse(status: int = 200, **changed: Any) -> DeviceCode | Refusal | Broken:
    return wire.parse_device(status, "application/json", json.dumps({**GOOD, **changed}).encode())


@pytest.mark.parametrize(
    ("changed", "lifetime", "interval"),
    [
        ({}, 300, 5),
        ({"expires_in": 900, "interval": 5}, 900, 5),
        ({"expires_in": "900", "interval": "7"}, 900, 7),
        ({"expires_in": 0, "interval": 0}, 300, 5),
        ({"expires_in": -5, "interval": -5}, 1, 1),
        ({"expires_in": 1e300, "interval": 1e300}, wire.LONGEST_LIFE, 300),
        ({"expires_in": float("nan"), "interval": float("nan")}, 300, 5),
        ({"expires_in": [], "interval": True}, 300, 5),
        ({"expires_in": 0.5, "interval": 0.5}, 300, 5),
    ],
)
def test_times(changed: dict[str, Any], lifetime: int, interval: int) -> None:
    """No figure makes us poll without a pause, or wait for ever."""
    found = parse(**changed)
    assert isinstance(found, DeviceCode)
    assert (found.lifetime, found.interval) == (lifetime, interval)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("device_code", value) for value in (None, "", 3, "a b", "a\n", "é", "x" * 65_537)],
        *[("user_code", value) for value in (None, "", 3, "A B", "A\x1b[2J", "Ä", "x" * 65, "\u202eAB")],
        *[
            ("verification_uri", value)
            for value in (
                None,
                "",
                3,
                "javascript:alert(1)",
                "file:///etc/passwd",
                "https://a@b/",
                "https://a/ b",
                "x\n",
            )
        ],
    ],
)
def test_malformed(key: str, value: object) -> None:
    """What is shown to a person is visible characters, and an address that a browser may open."""
    assert isinstance(parse(200, **{key: value}), Broken)


@pytest.mark.parametrize("whole", [None, 3, "javascript:alert(1)", "https://a@b/", "https://a/\x1b"])
def test_malformed_whole_page(whole: object) -> None:
    """That one can be done without."""
    found = parse(verification_uri_complete=whole)
    assert found == DeviceCode(Secret("d"), "AB-CD", "https://forge.example/device", None, 300, 5)


@pytest.mark.parametrize(
    ("body", "kind", "found"),
    [
        (b"device_code=d&user_code=U&verification_uri=https%3A%2F%2Fa.example%2F&interval=7",
         "application/x-www-form-urlencoded", DeviceCode(Secret("d"), "U", "https://a.example/", None, 300, 7)),
        (b"error=device_flow_disabled&error_description=Off", "application/x-www-form-urlencoded",
         Refusal("device_flow_disabled", "Off")),
        (b"<html>", "text/html", Broken("it answered with a web page")),
        (b"[]", "application/json", Broken("it answered with HTTP 200")),
    ],
)  # fmt: skip
def test_bodies(body: bytes, kind: str, found: object) -> None:
    """GitHub's form encoding too, where a proxy has taken our Accept away."""
    assert wire.parse_device(200, kind, body) == found


def test_secrets_are_no_arguments(desk: Desk) -> None:
    """The device code is nowhere to be seen but at the forge."""
    desk.codes.polls = [PENDING, PENDING, desk.codes.token()]
    with desk.get_on_terminal() as program:
        program.wait_for("WDJB-0001")
        arguments = b"".join(_read(f"/proc/{pid}/cmdline") for pid in os.listdir("/proc") if pid.isdecimal())
        ended = program.ended()
        assert "device-1" not in shown(program) + ended.err
    assert b"device-1" not in arguments


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""
