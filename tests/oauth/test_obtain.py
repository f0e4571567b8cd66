"""Which way to a sign-in is taken: browser, paste, both or none; by settings, surroundings and the person's word."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from git_credential_forge.errors import RefusedError
from git_credential_forge.forges import OTHER
from git_credential_forge.oauth import obtain
from git_credential_forge.origin import of_request
from git_credential_forge.recognise import build
from git_credential_forge.settings import Settings
from git_credential_forge.surroundings import Surroundings
from tests.support.gentle_browser import GentleBrowser
from tests.support.helper_terminal import HelperOnTerminal
from tests.support.signing_in import NAMED, QUIT, Program, StandIn, answer_of, asked_for
from tests.support.surroundings import SET_UP

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ASKED = r"open (http\S+) anywhere"


class Desk(NamedTuple):
    """A browser that can be opened, an environment that does not know it yet, a forge that lets everybody in."""

    main: Path
    environment: dict[str, str]
    browser: GentleBrowser
    stand_in: StandIn

    def with_browser(self) -> dict[str, str]:
        return self.environment | {"BROWSER": str(self.browser.opener)}

    def flow(self, value: str) -> None:
        path = f"{self.environment['HOME']}/.gitconfig"
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"[credential]\n\tforgeFlow = {value}\n")

    def get(self, environment: dict[str, str]) -> Program:
        return Program([self.main, "get"], environment, asked_for(self.stand_in.url))

    def get_on_terminal(self, environment: dict[str, str]) -> HelperOnTerminal:
        return HelperOnTerminal([self.main, "get"], environment, asked_for(self.stand_in.url))

    @property
    def nobody(self) -> str:
        host, url = self.stand_in.host, self.stand_in.url
        return (
            f"forge: not signed in to {host}: no browser can be opened here, and no terminal is there to ask on\n"
            f"forge: run: git credential-forge login {url}\n"
        )


@pytest.fixture
def desk(main: Path, environment: dict[str, str], stand_in: StandIn) -> Iterator[Desk]:
    with GentleBrowser("alice", "unused") as browser:
        yield Desk(main, environment | SET_UP, browser, stand_in)


def paste(program: HelperOnTerminal, stand_in: StandIn) -> None:
    asked = parse_qs(urlsplit(program.wait_for(ASKED)[1]).query)
    query = urlencode({"code": stand_in.code, "state": asked["state"][0]})
    program.type(f"{asked['redirect_uri'][0]}/?{query}\r".encode())


def test_auto_with_a_browser_and_no_terminal(desk: Desk) -> None:
    """An editor's git: the browser alone."""
    with desk.get(desk.with_browser()) as program:
        ended = program.ended()
    assert answer_of(ended.out)["password"] == desk.stand_in.access_token
    assert len(desk.browser.tabs()) == 1


def test_auto_with_both(desk: Desk) -> None:
    """At a keyboard: the browser, and the terminal offers paste beside it."""
    with desk.get_on_terminal(desk.with_browser()) as program:
        ended = program.ended()
        assert program.shown.startswith("forge: no browser here? open http")
    assert answer_of(ended.out)["password"] == desk.stand_in.access_token
    assert len(desk.browser.tabs()) == 1


@pytest.mark.parametrize("name", ["DISPLAY", "WAYLAND_DISPLAY"])
def test_a_display_is_enough_for_the_path_s_opener(desk: Desk, name: str) -> None:
    """With a display the machine's own opener is started."""
    path = f"{desk.browser.opener.parent}:{desk.environment['PATH']}"  # it is called xdg-open there
    with desk.get(desk.environment | {name: ":0", "PATH": path}) as program:
        ended = program.ended()
    assert answer_of(ended.out)["password"] == desk.stand_in.access_token
    assert len(desk.browser.tabs()) == 1


def test_auto_without_a_browser(desk: Desk) -> None:
    """No display: an opener that lies on the PATH is not started, the terminal is asked."""
    path = f"{desk.browser.opener.parent}:{desk.environment['PATH']}"
    with desk.get_on_terminal(desk.environment | {"PATH": path, "SSH_CONNECTION": "a b c d"}) as program:
        paste(program, desk.stand_in)
        ended = program.ended()
        assert program.shown.startswith("forge: open http")
    assert answer_of(ended.out)["password"] == desk.stand_in.access_token
    assert desk.browser.tabs() == []


def test_browser_variable_beats_ssh(desk: Desk) -> None:
    """VS Code sets $BROWSER on the other end of its SSH connection, and opens one on this: it is used."""
    with desk.get(desk.with_browser() | {"SSH_CONNECTION": "a b c d"}) as program:
        ended = program.ended()
    assert answer_of(ended.out)["password"] == desk.stand_in.access_token
    assert len(desk.browser.tabs()) == 1


def test_neither_browser_nor_terminal(desk: Desk) -> None:
    """Nobody can be asked: one line with the reason, one to type, at once, and no password prompt of git's."""
    with desk.get(desk.environment) as program:
        ended = program.ended(10)
    assert (ended.status, ended.out, ended.err) == (0, QUIT, desk.nobody)
    assert desk.stand_in.asked == []


def test_flow_paste(desk: Desk) -> None:
    """`paste`: no browser is started although there is one."""
    desk.flow("paste")
    with desk.get_on_terminal(desk.with_browser()) as program:
        paste(program, desk.stand_in)
        ended = program.ended()
    assert answer_of(ended.out)["password"] == desk.stand_in.access_token
    assert ended.err.startswith(f"forge: signing in to {desk.stand_in.host}\n{NAMED}")
    assert desk.browser.tabs() == []


def test_flow_paste_without_a_terminal(desk: Desk) -> None:
    """`paste` where there is no terminal: the reason, and still no browser."""
    desk.flow("paste")
    with desk.get(desk.with_browser()) as program:
        ended = program.ended(10)
    assert (ended.status, ended.out, ended.err) == (0, QUIT, desk.nobody)
    assert desk.browser.tabs() == []


def test_flow_browser(desk: Desk) -> None:
    """`browser`: nothing is written to the terminal, nor is it changed."""
    desk.flow("browser")
    with desk.get_on_terminal(desk.with_browser()) as program:
        ended = program.ended()
        assert program.shown == ""
        assert program.settings == program.before
    assert answer_of(ended.out)["password"] == desk.stand_in.access_token
    assert len(desk.browser.tabs()) == 1


def test_flow_browser_without_a_display(desk: Desk) -> None:
    """`browser` means one even where nothing speaks for it: the PATH's opener is started, over SSH too."""
    desk.flow("browser")
    path = f"{desk.browser.opener.parent}:{desk.environment['PATH']}"
    with desk.get(desk.environment | {"PATH": path, "SSH_CONNECTION": "a b c d"}) as program:
        ended = program.ended()
    assert answer_of(ended.out)["password"] == desk.stand_in.access_token


def test_flow_never(desk: Desk) -> None:
    """`never`: the host is passed through in silence, so that git asks for a password."""
    desk.flow("never")
    with desk.get_on_terminal(desk.with_browser()) as program:
        ended = program.ended(10)
        assert program.shown == ""
    assert (ended.status, ended.out, ended.err) == (0, "", "")
    assert desk.browser.tabs() == []
    assert desk.stand_in.asked == []


@pytest.mark.parametrize(
    "told",
    [
        {"GIT_TERMINAL_PROMPT": "0"},
        {"GCM_INTERACTIVE": "never"},
        {"GCM_INTERACTIVE": "0"},
        {"VSCODE_GIT_FETCH_SILENT": "true"},
        {"CI": "true"},
        {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "credential.interactive", "GIT_CONFIG_VALUE_0": "never"},
    ],
)
def test_not_to_be_asked_is_silent(desk: Desk, told: dict[str, str]) -> None:
    """Non-interactive: no tab, no terminal, no word, exit 0 (design, decision 7)."""
    with desk.get_on_terminal(desk.with_browser() | told) as program:
        ended = program.ended(10)
        assert program.shown == ""
    assert (ended.status, ended.out, ended.err) == (0, "", "")
    assert desk.browser.tabs() == []
    assert desk.stand_in.asked == []


def test_login_paste(desk: Desk) -> None:
    """`login --paste`: a person's word goes before the settings; success is exit 0 and stands on stderr."""
    desk.stand_in.metadata = desk.stand_in.describe
    with HelperOnTerminal([desk.main, "login", "--paste", desk.stand_in.url], desk.with_browser()) as program:
        paste(program, desk.stand_in)
        ended = program.ended()
    assert (ended.status, ended.out) == (0, "")
    assert ended.err.endswith(
        f"forge: signed in as alice at {desk.stand_in.host}, kept in memory while you work, and two hours more\n"
    )
    assert desk.browser.tabs() == []


def test_login_although_ci_says_that_nobody_is_here(desk: Desk) -> None:
    """Who types `login` is there, whatever a variable says."""
    desk.stand_in.metadata = desk.stand_in.describe
    with Program([desk.main, "login", desk.stand_in.url], desk.with_browser() | {"CI": "true"}) as program:
        ended = program.ended()
    assert (ended.status, ended.out) == (0, "")
    assert len(desk.browser.tabs()) == 1


def test_login_where_git_is_not_set_up(desk: Desk) -> None:
    """It signs in, and says that git will not ask."""
    desk.stand_in.metadata = desk.stand_in.describe
    bare = {name: value for name, value in desk.with_browser().items() if name not in SET_UP}
    with Program([desk.main, "login", desk.stand_in.url], bare) as program:
        ended = program.ended()
    assert (ended.status, ended.out) == (0, "")
    assert ended.err.splitlines()[-1] == (
        "forge: git does not ask this program yet; to have it ask: git credential-forge configure"
    )


def test_login_without_a_way(desk: Desk) -> None:
    """`login` that can reach nobody fails with 1, and does not tell a person to type what they have just typed."""
    desk.stand_in.metadata = desk.stand_in.describe
    with Program([desk.main, "login", desk.stand_in.url], desk.environment) as program:
        ended = program.ended(10)
    assert (ended.status, ended.out) == (1, "")
    first, second = ended.err.splitlines()
    assert f"{first}\n" == desk.nobody.splitlines(keepends=True)[0]
    assert second == "forge: run it in a terminal, or set BROWSER to a program that opens a browser"


@pytest.mark.parametrize("browser", ["/nonexistent", "false", "firefox-nope:also-not"])
def test_login_with_a_browser_that_opens_nothing(desk: Desk, browser: str) -> None:
    """It is named: who has set it, or another program has, may not know."""
    desk.stand_in.metadata = desk.stand_in.describe
    with Program([desk.main, "login", desk.stand_in.url], desk.environment | {"BROWSER": browser}) as program:
        ended = program.ended(20)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.splitlines()[-1] == (
        f"forge: run it in a terminal, or set BROWSER to a program that opens a browser; {browser} has opened none"
    )


def test_a_server_that_needs_a_client_id_of_its_own() -> None:
    """Without a client id nothing is opened: the remedy is one command."""
    origin = of_request("https", "git.example:8443")
    assert origin
    settings = Settings(authorize_url="/authorize", token_url="/token")
    forge = build(OTHER, origin, "", settings, certain=True)
    with pytest.raises(RefusedError) as refused:
        obtain.sign_in(forge, settings, Surroundings(True, True, False), lambda: False, lambda _: None)
    assert refused.value.message == "git.example:8443 needs a client id of its own"
    assert refused.value.hints == (
        "`git credential-forge register https://git.example:8443` shows what to enter where, and keeps what you get",
        (
            "to type a password or token there instead: "
            "git config --global credential.https://git.example:8443.forgeFlow never"
        ),
    )
