"""`coder list|show|login|logout`: each word, of every recorded answer and of both generations; and whose token goes
where."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.support.coder import Coder
from tests.support.coder_clients import MISSING
from tests.support.coder_people import SIGNED_OUT, say
from tests.support.forge import PASSWORDS
from tests.support.gentle_browser import GentleBrowser
from tests.support.httpserver import Answer, HttpServer, Request
from tests.support.leaks import Leaks
from tests.support.memory import save
from tests.support.memory import sign_in as saved
from tests.support.person import wait_until
from tests.support.signing_in import Program
from tests.support.surroundings import ROOT, SET_UP
from tests.support.terminal import OnTerminal

if TYPE_CHECKING:
    from collections.abc import Iterator

API = "/api/v2/external-auth"
RECORDED = {
    case["name"].removeprefix("external auth: "): case
    for case in json.loads((ROOT / "tests/recorded/coder.json").read_text())["cases"]
}
WRONG_KEY = "Invalid API key format: incorrect amount of API key parts, expected 2 got 1"
REFUSED = f"{SIGNED_OUT.rstrip('.')}: {WRONG_KEY}"
STRANGE = "if the deployment is below a path, that belongs to its address; or another login stands in front of it"
OPENER = """#!/bin/sh
printf '%s\\n' "$@" >"$HOME/opened.new"
env >"$HOME/environment-of-the-browser"
mv "$HOME/opened.new" "$HOME/opened"
"""


class Done(NamedTuple):
    status: int
    out: str
    err: str


class Person:
    """Somebody with a home, the program, and a Coder in the environment."""

    def __init__(self, home: Path, installed: Path, environment: dict[str, str]) -> None:
        self.home = home
        self.launcher = installed / "git-credential-forge"
        self.environment = environment | {"TZ": "UTC"}

    def uses(self, url: str, token: str) -> None:
        self.environment |= {"CODER_URL": url, "CODER_SESSION_TOKEN": token}

    def cli(self, url: str, token: str, directory: str = ".config/coderv2") -> Path:
        """The coder CLI is signed in there."""
        where = self.home / directory
        where.mkdir(parents=True)
        (where / "url").write_text(f"{url}\n")
        (where / "session").write_text(token)
        return where

    def has_browser(self) -> Path:
        opener = self.home / "opener"
        opener.write_text(OPENER)
        opener.chmod(0o755)
        self.environment["BROWSER"] = str(opener)
        return self.home / "opened"

    def coder(self, *words: str) -> Done:
        done = subprocess.run(
            [self.launcher, "coder", *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=self.home,
            start_new_session=True,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def json(self, *words: str) -> dict[str, Any]:
        done = self.coder(*words, "--json")
        assert (done.status, done.err) == (0, "")
        found: dict[str, Any] = json.loads(done.out)
        assert list(found)[:2] == ["version", "url"]
        return found

    def types(self, *words: str) -> OnTerminal:
        return OnTerminal([str(self.launcher), "coder", *words], self.environment, self.home)


@pytest.fixture
def person(home: Path, installed: Path, environment: dict[str, str]) -> Person:
    return Person(home, installed, environment | SET_UP)


@pytest.fixture(params=[2025, 2026])
def each(request: pytest.FixtureRequest, person: Person) -> Iterator[Coder]:
    """A Coder of either generation, with a Gitea and a GitHub, in the person's environment."""
    with Coder(request.param) as server:
        yield _furnish(server, person)


@pytest.fixture
def coder(person: Person) -> Iterator[Coder]:
    """One of 2026, below a path."""
    with Coder(2026, base="/in/here") as server:
        yield _furnish(server, person)


def _furnish(server: Coder, person: Person) -> Coder:
    server.add("gitea", match="gitea", supports_revocation=True)
    server.add(
        "hub",
        type="github",
        match="github",
        device=True,
        app_installable=True,
        app_install_url="https://github.com/apps/x/installations/new",
        installations=[{"id": 1, "account": {"login": "acme"}, "configure_url": "https://github.com/c"}],
    )
    person.uses(server.url, server.session_token)
    return server


def name(server: Coder) -> str:
    return server.url.removeprefix("http://")


def lines(*said: str) -> str:
    return "".join(f"forge: {line}\n" for line in said)


def clock(at: float) -> str:
    day = "" if time.strftime("%j", time.gmtime(at)) == time.strftime("%j", time.gmtime()) else "%Y-%m-%d "
    return time.strftime(f"{day}%H:%M", time.gmtime(at))


# -- what a real Coder has answered -------------------------------------------------------------------------


class Replay:
    """Serves recorded answers as they stand, by method and path; context manager."""

    def __init__(self, *names: str) -> None:
        cases = [RECORDED[each] for each in names]
        self.cases = {(case["request"]["method"], case["request"]["path"]): case["response"] for case in cases}
        self.server = HttpServer(self.answer)
        self.name = f"127.0.0.1:{self.server.port}"
        self.url = f"http://{self.name}"

    def __enter__(self) -> Replay:  # noqa: PYI034 # Self is newer than Python 3.10
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()

    def answer(self, request: Request) -> Answer:
        said = self.cases[request.method, request.target]
        return Answer(said["status"], list(said["headers"].items()), said["body"].encode())


GITEA = {
    "id": "gitea",
    "name": "Gitea",
    "type": "gitea",
    "linked": False,
    "expires": None,
    "refreshable": True,
    "device": False,
    "revocable": None,
    "problem": None,
}
SHOWN = {
    "id": "gitea",
    "name": "Gitea",
    "linked": False,
    "user": None,
    "device": False,
    "revocable": None,
    "app_installable": False,
    "app_install_url": None,
    "installations": [],
}
UNSAID = "this server does not say whether the forge's token was revoked: assume that it is still valid"
ENDS = 1795362673  # of the link in the record


@pytest.mark.parametrize(
    ("case", "words", "text", "document"),
    [
        (
            "list, not linked",
            ["list"],
            "gitea   Gitea   gitea   not linked      renewed by Coder   in the browser\n",
            {"providers": [GITEA]},
        ),
        (
            "list, linked",
            ["list"],
            "gitea   Gitea   gitea   linked   token until {ends}   renewed by Coder   in the browser\n",
            {"providers": [GITEA | {"linked": True, "expires": ENDS}]},
        ),
        (
            "show, not linked",
            ["show", "gitea"],
            "gitea      Gitea at {name}\nlinked     no\nsigns in   in the browser\n",
            SHOWN,
        ),
        (
            "show, linked",
            ["show", "--timeout", "60", "gitea"],
            "gitea      Gitea at {name}\nlinked     yes\nsigns in   in the browser\n",
            SHOWN | {"linked": True},
        ),
        ("show, linked", ["login", "gitea"], "gitea is already linked at {name}\n", SHOWN | {"linked": True}),
        (
            "delete, linked",
            ["logout", "gitea"],
            f"unlinked gitea at {{name}}\n{UNSAID}\n",
            {"id": "gitea", "linked": False, "token_revoked": None, "token_revocation_error": None},
        ),
    ],
)
def test_recorded_answers(person: Person, case: str, words: list[str], text: str, document: dict[str, object]) -> None:
    """The whole of what a person and a program see of each."""
    with Replay(case) as server:
        person.uses(server.url, "0123456789-0123456789abcdefghijkl")
        assert person.coder(*words) == (0, text.format(name=server.name, ends=clock(ENDS)), "")
        assert person.json(*words) == {"version": 1, "url": server.url, **document}


@pytest.mark.parametrize(
    ("cases", "words", "said"),
    [
        (
            ["list, wrong session token"],
            ["list"],
            [
                f"{{name}} refuses the session token in CODER_SESSION_TOKEN: {REFUSED}",
                "a new one is at {url}/cli-auth",
            ],
        ),
        (
            ["show, unknown id"],
            ["show", "nope"],
            [
                f"{{name}} knows no external auth with the id nope: {MISSING.rstrip('.')}",
                "`git credential-forge coder list --url {url}` shows all",
            ],
        ),
        (
            ["delete, no link"],
            ["logout", "gitea"],
            ["gitea is not linked at {name}, so there is nothing to unlink"],
        ),
    ],
)
def test_recorded_refusals(person: Person, cases: list[str], words: list[str], said: list[str]) -> None:
    """In words, on standard error alone, and exit status 1; so with --json."""
    with Replay(*cases) as server:
        person.uses(server.url, "wrong")
        expected = Done(1, "", lines(*said).format(name=server.name, url=server.url))
        assert person.coder(*words) == expected
        assert person.coder(*words, "--json") == expected


# -- list, show and logout of both generations --------------------------------------------------------------


def test_list(person: Person, each: Coder) -> None:
    """A line for each forge; whether a token can be revoked only where the server says it."""
    ends = int(time.time()) + 3600
    each.link("gitea", "token-of-gitea", expires=ends)
    until = f"token until {clock(ends)}"
    said = ("   can be revoked", "   cannot be revoked") if each.generation == 2026 else ("", "")
    blank = " " * len(until)
    browser = "in the browser" if not said[0] else f"in the browser{said[0]}"
    code = "by a code" if not said[1] else f"by a code     {said[1]}"
    rows = [
        f"gitea   Gitea    gitea    linked       {until}   renewed by Coder   {browser}\n",
        f"hub     GitHub   github   not linked   {blank}   renewed by Coder   {code}\n",
    ]
    assert person.coder("list") == (0, "".join(rows), "")
    new = each.generation == 2026
    gitea = GITEA | {"linked": True, "expires": ends, "revocable": True if new else None}
    hub = {"id": "hub", "name": "GitHub", "type": "github", "device": True, "revocable": False if new else None}
    found = person.json("list")
    assert found == {"version": 1, "url": each.url, "providers": [gitea, GITEA | hub]}


def test_list_of_a_link_that_ended(person: Person, coder: Coder) -> None:
    """The forge takes its token no more, and one without end has none."""
    coder.link("gitea", "token-of-gitea", expires=time.time() + 3600)
    coder.spoil("gitea")
    coder.link("hub", "token-of-hub", refreshable=False)
    why = "no longer linked (token failed to validate)"
    assert person.coder("list").out == (
        f"gitea   Gitea    gitea    {why}      renewed by Coder   in the browser   can be revoked\n"
        f"hub     GitHub   github   {'linked':{len(why)}}      not renewed        by a code        cannot be revoked\n"
    )
    gitea, hub = person.json("list")["providers"]
    assert (gitea["linked"], gitea["problem"], gitea["expires"]) == (False, "token failed to validate", None)
    assert (hub["linked"], hub["problem"], hub["expires"], hub["refreshable"]) == (True, None, None, False)


def test_list_of_nothing(person: Person) -> None:
    """A Coder without external auth."""
    with Coder() as server:
        person.uses(server.url, server.session_token)
        assert person.coder("list") == (
            0,
            f"{server.host} has no external auth; its administrator can set it up\n",
            "",
        )
        assert person.json("list") == {"version": 1, "url": server.url, "providers": []}


def test_show(person: Person, each: Coder) -> None:
    """As whom, by which way, and where the app still has to be installed."""
    revocable = "its token   cannot be revoked\n" if each.generation == 2026 else ""
    wide = "  " if revocable else " "
    new = "https://github.com/apps/x/installations/new"

    def told(linked: str, *apps: str) -> str:
        head = f"hub       {wide}GitHub at {each.host}\nlinked    {wide}{linked}\nsigns in  {wide}by a code\n"
        return head + revocable + "".join(f"app       {wide}{app}\n" for app in apps)

    assert person.coder("show", "hub") == (0, told("no", f"still to be installed: {new}"), "")
    each.link("hub", "token-of-hub")
    apps = ("installed for acme: https://github.com/c", f"more: {new}")
    assert person.coder("show", "hub") == (0, told("yes, as alice (A)", *apps), "")
    assert person.json("show", "hub") == {
        "version": 1,
        "url": each.url,
        "id": "hub",
        "name": "GitHub",
        "linked": True,
        "user": {"login": "alice", "name": "A"},
        "device": True,
        "revocable": False if revocable else None,
        "app_installable": True,
        "app_install_url": new,
        "installations": [{"account": "acme", "configure_url": "https://github.com/c"}],
    }


def test_show_of_an_app_at_no_address(person: Person, coder: Coder) -> None:
    """What is no address of a web page is not shown as one."""
    coder.add("bad", match="x", app_installable=True, app_install_url="javascript:alert(1)")
    assert person.coder("show", "bad").out.splitlines()[-1] == (
        "app         still to be installed: the server names no address that could be opened"
    )
    assert person.json("show", "bad")["app_install_url"] is None


def test_show_of_nobody(person: Person, each: Coder) -> None:
    """An id that is not there: the list is named; with --json no document comes."""
    said = lines(
        f"{each.host} knows no external auth with the id nope: "
        "Resource not found or you do not have access to this resource",
        f"`git credential-forge coder list --url {each.url}` shows all",
    )
    for action in ("show", "login", "logout"):
        assert person.coder(action, "nope") == (1, "", said)


@pytest.mark.parametrize(
    ("revocation", "said"),
    [
        ((True, ""), "its token is revoked at the forge"),
        (
            (False, "the forge said no"),
            "its token was not revoked at the forge (the forge said no): it stays valid until it ends",
        ),
    ],
)
def test_logout(person: Person, coder: Coder, revocation: tuple[bool, str], said: str) -> None:
    """What became of the token is said as the server says it."""
    coder.revocation = revocation
    for as_json in (False, True):
        coder.link("gitea", "token-of-gitea")
        if as_json:
            assert person.json("logout", "gitea") == {
                "version": 1,
                "url": coder.url,
                "id": "gitea",
                "linked": False,
                "token_revoked": revocation[0],
                "token_revocation_error": revocation[1] or None,
            }
        else:
            assert person.coder("logout", "gitea") == (0, f"unlinked gitea at {name(coder)}\n{said}\n", "")


def test_logout_where_nothing_is_revoked(person: Person, each: Coder) -> None:
    """A forge without a call for it, and a server that does not say; then there is no link any more."""
    each.link("hub", "token-of-hub")
    said = UNSAID
    if each.generation == 2026:
        why = "as Coder knows no call for that there: it stays valid until it ends"
        said = f"its token was not revoked at the forge, {why}"
    assert person.coder("logout", "hub") == (0, f"unlinked hub at {each.host}\n{said}\n", "")
    gone = lines(f"hub is not linked at {each.host}, so there is nothing to unlink")
    assert person.coder("logout", "hub") == (1, "", gone)
    assert person.coder("logout", "hub", "--json") == (1, "", gone)


# -- login --------------------------------------------------------------------------------------------------


def test_login_by_a_code(person: Person, each: Coder) -> None:
    """The code is shown on the terminal, and asked about until it has been entered."""
    each.device = ["authorization_pending", ""]
    with person.types("login", "hub") as terminal:
        assert terminal.wait() == 0
    assert terminal.seen == (
        f"forge: open {each.url}/hub/login/device in any browser and enter WDJB-0000\n"
        f"hub is linked at {each.host}, as alice (A)\n"
    )
    asked = [(entry.method, entry.form) for entry in each.requests(f"{API}/hub/device")]
    code = {"device_code": "device-code-0-of-hub"}
    assert asked == [("GET", {}), ("POST", code), ("POST", code)]


def test_login_by_a_code_that_is_denied(person: Person, coder: Coder) -> None:
    """Said, and exit status 1."""
    coder.device = ["access_denied"]
    with person.types("login", "hub") as terminal:
        assert terminal.wait() == 1
    assert terminal.seen == (
        f"forge: open {coder.url}/hub/login/device in any browser and enter WDJB-0000\n"
        "forge: hub is not linked: you denied the request at the forge\n"
    )


def test_login_by_a_code_without_a_terminal(person: Person, coder: Coder) -> None:
    """No code is asked for that nobody would see."""
    assert person.coder("login", "hub") == (
        1,
        "",
        lines(
            "hub is not linked: no terminal is there to show a code on",
            f"run it in a terminal, or open {coder.url}/external-auth/hub in a browser",
        ),
    )
    assert coder.requests(f"{API}/hub/device") == []


def test_login_in_the_browser(person: Person, each: Coder) -> None:
    """Coder's own page is opened, and waited for; no secret is handed to what opens it."""
    opened = person.has_browser()
    with Leaks(person.home) as leaks, Program([person.launcher, "coder", "login", "gitea"], person.environment) as it:
        it.wait_until_said("if none opens")
        _until(lambda: len(each.requests(f"{API}/gitea")) > 1)
        each.link("gitea", "token-of-gitea")
        done = it.ended()
    page = f"{each.url}/external-auth/gitea"
    said = lines(f"linking gitea at {each.host} in your browser; if none opens: {page}")
    assert (done.status, done.out, done.err) == (0, f"gitea is linked at {each.host}\n", said)
    assert opened.read_text() == f"{page}\n"
    leaks.saw("output", done.out + done.err)
    secrets = {"session token": [each.session_token], "token of the forge": ["token-of-gitea"]}
    assert [found for found in leaks.found(secrets) if found != "session token in an environment"] == []
    assert "CODER_URL=" in (person.home / "environment-of-the-browser").read_text()


def test_login_with_the_page_shown(person: Person, coder: Coder) -> None:
    """Without a browser here, it can be opened in any; with --json the document comes at the end."""
    with Program([person.launcher, "coder", "login", "gitea", "--json"], person.environment) as it:
        it.wait_until_said("waiting for it")
        coder.link("gitea", "token-of-gitea")
        done = it.ended()
    page = f"{coder.url}/external-auth/gitea"
    said = f"to link gitea, open {page} in a browser that is signed in to {name(coder)}; waiting for it"
    assert (done.status, done.err) == (0, lines(said))
    assert json.loads(done.out) == {"version": 1, "url": coder.url, **SHOWN, "linked": True, "revocable": True}


def test_login_that_nobody_answers(person: Person, coder: Coder) -> None:
    """The deadline is that of every sign-in; a server that fails meanwhile is asked again."""
    (person.home / ".gitconfig").write_text("[credential]\n\tforgeSignInTimeout = 1\n")
    page = f"{coder.url}/external-auth/gitea"
    with Program([person.launcher, "coder", "login", "gitea"], person.environment) as it:
        it.wait_until_said("waiting for it")
        coder.instead[f"GET {API}/gitea"] = say(500, {"message": "Failed to validate token."})
        done = it.ended()
    said = f"to link gitea, open {page} in a browser that is signed in to {name(coder)}; waiting for it"
    expected = lines(said, "gitea is not linked: nobody did it within 1 s")
    assert (done.status, done.out, done.err) == (1, "", expected)


@pytest.mark.parametrize("what", ["gitea", "hub"])
def test_login_cancelled(person: Person, coder: Coder, what: str) -> None:
    """Ctrl-C: exit status 130, not a word more, and nothing is left."""
    coder.interval = 60
    with person.types("login", what) as terminal:
        terminal.wait_for("waiting for it\n|enter WDJB-0000\n")
        shown = terminal.seen
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.wait() == 130
        assert (terminal.seen, terminal.echoes()) == (shown, True)
    assert sorted(str(path.relative_to(person.home)) for path in person.home.rglob("*")) == [
        ".cache",
        ".cache/git-credential-forge",
    ]


def _until(done: Any) -> None:
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# -- which deployment, and whose token ----------------------------------------------------------------------


@pytest.fixture
def other() -> Iterator[Coder]:
    """Another deployment."""
    with Coder() as server:
        server.add("theirs", match="x")
        yield server


def test_the_environments_token_goes_nowhere_else(person: Person, coder: Coder, other: Coder) -> None:
    """--url names another deployment, another path of the same host, or that host by another name: no request at all
    is made there."""
    before = len(coder.log)
    near = coder.url.removesuffix("/here")
    for url in (other.url, near, f"{coder.url}/x", coder.url.replace("127.0.0.1", "localhost")):
        assert person.coder("list", "--url", url) == (
            1,
            "",
            lines(
                f"not signed in to the Coder at {url.removeprefix('http://')}",
                f"run: git credential-forge login {url}",
                f"CODER_SESSION_TOKEN is not sent there: it is for CODER_URL, {coder.url}",
            ),
        )
    assert (len(coder.log), other.log) == (before, [])


def test_the_environments_token_with_the_same_address(person: Person, coder: Coder) -> None:
    """However it is written, it is the same: letters of the host, a slash at the end."""
    person.environment["CODER_URL"] = coder.url.replace("http", "HTTP") + "/"
    assert person.coder("show", "gitea", "--url", coder.url).status == 0
    assert {entry.headers["coder-session-token"] for entry in coder.log} == {coder.session_token}
    assert [entry.path for entry in coder.log] == [f"{API}/gitea"]


def test_a_token_without_its_address(person: Person, coder: Coder) -> None:
    """Nobody knows whose it is, so it is sent nowhere."""
    del person.environment["CODER_URL"]
    assert person.coder("list", "--url", coder.url) == (
        1,
        "",
        lines(
            f"not signed in to the Coder at {name(coder)}",
            f"run: git credential-forge login {coder.url}",
            "CODER_SESSION_TOKEN is not sent there: CODER_URL does not say whose it is",
        ),
    )
    assert coder.log == []


@pytest.mark.parametrize("place", ["default", "XDG_CONFIG_HOME", "CODER_CONFIG_DIR"])
def test_the_clis_own_session(person: Person, coder: Coder, other: Coder, place: str) -> None:
    """Where `coder login` has left it, for the deployment that it is for; the environment's goes before it there, and
    not to another."""
    where = {"default": ".config/coderv2", "XDG_CONFIG_HOME": "xdg/coderv2", "CODER_CONFIG_DIR": "mine"}[place]
    if place != "default":
        person.environment[place] = str(person.home / where).removesuffix("/coderv2")
    person.cli(other.url, other.session_token, where)
    row = "theirs   Gitea   gitea   not linked      renewed by Coder   in the browser   cannot be revoked\n"
    assert person.coder("list", "--url", other.url) == (0, row, "")
    assert [entry.headers["coder-session-token"] for entry in other.log] == [other.session_token]
    assert coder.log == []
    del person.environment["CODER_URL"], person.environment["CODER_SESSION_TOKEN"]
    assert person.coder("list") == (0, row, "")
    assert person.coder("list", "--url", coder.url).status == 1
    assert coder.log == []


def test_the_clis_token_is_for_one_address(person: Person, coder: Coder, other: Coder) -> None:
    """CODER_URL alone names the deployment; the token in the file is for another."""
    person.cli(other.url, other.session_token)
    del person.environment["CODER_SESSION_TOKEN"]
    assert person.coder("list") == (
        1,
        "",
        lines(f"not signed in to the Coder at {name(coder)}", f"run: git credential-forge login {coder.url}"),
    )
    assert (coder.log, other.log) == ([], [])


def test_a_refused_token_of_the_cli(person: Person, other: Coder) -> None:
    """It is said where it came from, and what gets another."""
    where = person.cli(other.url, "wrong-token")
    done = person.coder("list")
    assert (done.status, done.out) == (1, "")
    first, second = done.err.splitlines()
    source = f"the coder CLI's session token in {where}/session"
    assert first.startswith(f"forge: {other.host} refuses {source}: {SIGNED_OUT.rstrip('.')}")
    assert second == f"forge: run: coder login {other.url}"
    assert "wrong-token" not in done.err


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (
            "http://coder.example.org",
            "over plain http anybody on the way could read the session token: {url} ({source})",
        ),
        ("ftp://coder.example.org", "{source} is no http(s) address of a Coder: {url}"),
        ("https://coder.example.org/?x=1", "{source} is no http(s) address of a Coder: {url}"),
        (
            "https://alice:hush@coder.example.org",
            "{source} is no http(s) address of a Coder: https://coder.example.org",
        ),
    ],
)
def test_addresses_that_are_none(person: Person, url: str, said: str) -> None:
    """Wherever they stand: nothing is sent."""
    person.environment["CODER_SESSION_TOKEN"] = "some-token"
    assert person.coder("list", "--url", url) == (1, "", lines(said.format(url=url, source="--url")))
    person.environment["CODER_URL"] = url
    assert person.coder("list") == (1, "", lines(said.format(url=url, source="CODER_URL")))


def test_a_token_that_is_none(person: Person, coder: Coder) -> None:
    """A header could be broken by it."""
    person.environment["CODER_SESSION_TOKEN"] = "a b"
    said = "the session token in CODER_SESSION_TOKEN has characters in it that no token has"
    assert person.coder("list") == (1, "", lines(said))
    assert coder.log == []


def test_no_coder_at_all(person: Person) -> None:
    """What to type is said."""
    said = lines("no Coder is known here", "name one with --url, or set CODER_URL and CODER_SESSION_TOKEN")
    assert person.coder("list") == (1, "", said)


# -- our own sign-in ----------------------------------------------------------------------------------------

SIGNED_IN = ", kept in memory while you work, and two hours more"


def sign_in(person: Person, server: Coder) -> int:
    """By `login`, in a browser that is then closed; when its token ends."""
    for variable in ("CODER_URL", "CODER_SESSION_TOKEN"):
        person.environment.pop(variable, None)
    with GentleBrowser("alice", PASSWORDS["alice"]) as browser:
        command = [str(person.launcher), "login", server.url]
        environment = person.environment | {"BROWSER": str(browser.opener)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr.endswith(f"{SIGNED_IN}\n")) == (0, True), done.stderr
    told = subprocess.run(
        [person.launcher, "status", "--json"], env=person.environment, capture_output=True, check=True
    )
    return int(json.loads(told.stdout)["sign_ins"][-1]["token_expires"])


def test_our_own_sign_in(person: Person) -> None:
    """Its token is used, and refreshed when it has ended, with no browser; a refused one is said to be that."""
    opened = person.has_browser()
    with Coder(2026) as server:
        server.add("gitea", match="gitea")
        server.lifetime(1)
        ends = sign_in(person, server)
        server.lifetime(3600)
        wait_until(ends)
        before = len(server.log)
        row = "gitea   Gitea   gitea   not linked      renewed by Coder   in the browser   cannot be revoked\n"
        assert person.coder("list") == (0, row, "")
        assert person.coder("list", "--url", server.url) == (0, row, "")
        asked = [(entry.path, entry.form.get("grant_type")) for entry in server.log[before:]]
        assert asked == [("/oauth2/tokens", "refresh_token"), (API, None), (API, None)]
        assert [entry.status for entry in server.log[before:]] == [200, 200, 200]
        server.end_tokens()
        reason = f"{SIGNED_OUT.rstrip('.')}: API key is invalid"
        assert person.coder("list") == (
            1,
            "",
            lines(
                f"{server.host} refuses the token of the sign-in of alice: {reason}",
                f"run: git credential-forge login {server.url}",
            ),
        )
    assert not opened.exists()


def test_our_own_sign_in_that_is_over(person: Person) -> None:
    """The server of 2025 lets the refresh token end with the other; no browser is opened by itself."""
    opened = person.has_browser()
    with Coder(2025) as server:
        server.lifetime(1)
        wait_until(sign_in(person, server))
        server.expire()  # which counts parts of a second too
        why = "The refresh token is invalid or expired (invalid_grant)"
        assert person.coder("list") == (
            1,
            "",
            lines(
                f"{server.host} no longer accepts this sign-in ({why})",
                f"not signed in to the Coder at {server.host}",
                f"run: git credential-forge login {server.url}",
            ),
        )
    assert not opened.exists()


def test_two_sign_ins_of_our_own(person: Person, other: Coder) -> None:
    """One has to be named, and each is asked with its own token."""
    with Coder(2026) as server:
        for each in (server, other):
            sign_in(person, each)
        first, second = sorted([server.url, other.url])
        said = lines(f"signed in to several Coders ({first}, {second}), so --url has to name one")
        assert person.coder("list") == (1, "", said)
        assert person.json("list", "--url", other.url)["providers"][0]["id"] == "theirs"
        assert person.json("list", "--url", server.url)["providers"] == []
        tokens = [each.requests(API)[0].headers["coder-session-token"] for each in (server, other)]
    assert len(set(tokens)) == 2


def test_a_sign_in_of_another_kind(person: Person, coder: Coder) -> None:
    """What is held for the same host, and was not made for Coder, is not sent."""
    del person.environment["CODER_URL"], person.environment["CODER_SESSION_TOKEN"]
    save(person.launcher.parent, person.environment, saved(coder.host, scheme="http", base="/in/here"))
    assert person.coder("list", "--url", coder.url) == (
        1,
        "",
        lines(f"not signed in to the Coder at {name(coder)}", f"run: git credential-forge login {coder.url}"),
    )
    assert coder.log == []


# -- what is no Coder ---------------------------------------------------------------------------------------


def test_something_else_answers(person: Person, coder: Coder) -> None:
    """A page, a redirect to another login, the wrong path: said, and the token follows no redirect."""
    with Coder() as elsewhere:
        moved = Answer(302, [("Location", f"{elsewhere.url}{API}")], b"")
        coder.instead[f"GET {API}"] = moved
        said = f"{name(coder)} does not answer as Coder's API does: it redirects to {elsewhere.host}"
        assert person.coder("list") == (1, "", lines(said, STRANGE))
        assert elsewhere.log == []
    person.environment["CODER_URL"] = coder.url.removesuffix("/in/here")
    said = f"{coder.host} does not answer as Coder's API does: it answered with a web page (HTTP 404)"
    assert person.coder("list") == (1, "", lines(said, STRANGE))


def test_a_reason_that_is_long_and_hostile(person: Person, coder: Coder) -> None:
    """Whole and cleaned: each part on the one line, and nothing that moves the cursor."""
    wrong = [{"field": "id", "detail": "too\nlong"}, {"field": "x"}]
    coder.instead[f"GET {API}"] = say(403, {"message": "No\x1b[2J.", "detail": "not you.", "validations": wrong})
    assert person.coder("list") == (1, "", lines(f"{name(coder)} refused: No [2J: not you; id: too long; x"))


def test_nobody_answers(person: Person) -> None:
    """A port where nothing listens."""
    with Coder() as server:
        person.uses(server.url, server.session_token)
    assert person.coder("list") == (1, "", lines(f"{server.host} cannot be reached (Connection refused)"))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["list", "gitea"], "list takes no ID"),
        (["show"], "show needs an ID; list shows them"),
        (["login", "../x"], "argument ID: no id that an external auth could have"),
        (["forget"], "argument action: invalid choice: 'forget' (choose from "),
    ],
)
def test_typed_wrong(person: Person, words: list[str], why: str) -> None:
    """Exit status 2, and nothing is asked of anybody."""
    done = person.coder(*words)
    assert (done.status, done.out) == (2, "")
    assert done.err.splitlines()[-1].startswith(f"git credential-forge coder: error: {why}")
    assert os.listdir(person.home) == []
