"""Who has signed in: the forge's own answer, from a real server on this machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from git_credential_forge.forges import FORGEJO, OTHER
from git_credential_forge.oauth import whoami
from git_credential_forge.oauth.wire import Token
from git_credential_forge.origin import Origin
from git_credential_forge.recognise import Forge, Metadata, build
from git_credential_forge.secret import Secret
from git_credential_forge.settings import Settings
from tests.support.httpserver import Answer, HttpServer, Request
from tests.support.surroundings import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = "hush-token"


class Server:
    """Answers everything alike, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.says = Answer(404, [], b"")
        self._server = HttpServer(self._answer)
        self.origin = Origin("http", "127.0.0.1", self._server.port)
        self.stop = self._server.stop

    def _answer(self, request: Request) -> Answer:
        self.asked.append(request)
        return self.says

    def forge(self) -> Forge:
        return build(FORGEJO, self.origin, "", Settings(), certain=True)

    def ask(self) -> str | None:
        return whoami.ask(self.forge(), Token(Secret(TOKEN), None, None))


@pytest.fixture(autouse=True)
def _at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME")


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


@pytest.mark.parametrize("name", ["gitea", "forgejo"])
def test_recorded(name: str, server: Server) -> None:
    """What real servers say to a good token, and to one whose application has been deleted."""
    cases = json.loads((ROOT / "tests" / "recorded" / f"{name}.json").read_text())["cases"]
    seen = 0
    for case in cases:
        if case["request"]["path"] == "/api/v1/user":
            answer = case["response"]
            server.says = Answer(answer["status"], list(answer["headers"].items()), answer["body"].encode())
            assert server.ask() == ("alice" if answer["status"] == 200 else None)
            seen += 1
    assert seen == 3
    assert {(asked.method, asked.target) for asked in server.asked} == {("GET", "/api/v1/user")}
    assert {asked.header("Authorization") for asked in server.asked} == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    ("login", "account"),
    [
        *((name, name) for name in ("alice", "a.b-c_d", "Jürgen", "x" * 255, "a+b%20c")),
        *((name, None) for name in (
            "", None, 3, ["alice"], {"a": 1}, True, "a b", "a\tb", "a\nb", "a\0b", "a\x1b[2J", "a\x7f", "a\x85", "a:b",
            "a/b",
            "a@b", "x" * 256, "a\ud800b",
        )),
    ],
)  # fmt: skip
def test_name(login: object, account: str | None, server: Server) -> None:
    """A name that can stand in a URL, in a line of the protocol and in the names file; any other is none."""
    server.says = Answer(200, [], json.dumps({"login": login, "username": "mallory"}).encode())
    assert server.ask() == account
    assert account is None or account.encode()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""), (200, b"[]"), (200, b'"alice"'), (200, b"\xff"), (200, b"[" * 100_000), (200, b"{}"),
        *((status, b'{"login":"alice"}') for status in (201, 401, 403, 500)),
        (200, b'{"login":"alice","x":"' + b"x" * (1 << 20) + b'"}'),
    ],
)  # fmt: skip
def test_no_name(status: int, body: bytes, server: Server) -> None:
    """No answer is no name, and no error: the sign-in has worked all the same."""
    server.says = Answer(status, [], body)
    assert server.ask() is None
    assert len(server.asked) == 1


def test_redirect(server: Server) -> None:
    """The token is not taken elsewhere."""
    elsewhere = Server()
    server.says = Answer(302, [("Location", f"{elsewhere.origin.url}/api/v1/user")], b'{"login":"alice"}')
    assert server.ask() is None
    elsewhere.stop()
    assert elsewhere.asked == []


def test_unreachable(server: Server, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Silent, but for who traces; and then without the token."""
    server.stop()
    assert server.ask() is None
    assert capfd.readouterr() == ("", "")
    monkeypatch.setenv("GIT_TRACE_FORGE", "1")
    assert server.ask() is None
    said = capfd.readouterr().err
    assert "whoami: UnreachableError" in said
    assert "hush" not in said


def test_who_cannot_be_asked(server: Server) -> None:
    """A server of which nothing is known but its endpoints is not guessed at."""
    found = Metadata(server.origin.url, f"{server.origin.url}/authorize", f"{server.origin.url}/token")
    settings: dict[str, Any] = {"client_id": "mine"}
    other = build(OTHER, server.origin, "", Settings(**settings), found, certain=True)
    assert whoami.ask(other, Token(Secret(TOKEN), None, None)) is None
    assert server.asked == []
