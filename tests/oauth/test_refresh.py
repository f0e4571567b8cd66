"""A new access token for a session, from a real server on this machine."""

from __future__ import annotations

import json
import socket
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest

from git_credential_forge import say
from git_credential_forge.forges import FORGEJO
from git_credential_forge.oauth import refresh
from git_credential_forge.oauth.refresh import Refreshed, Rejected, UnknownClient, Unreachable
from git_credential_forge.origin import Origin
from git_credential_forge.recognise import build
from git_credential_forge.secret import Secret
from git_credential_forge.settings import Settings
from tests.support.httpserver import Answer, HttpServer, Request
from tests.support.surroundings import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OLD = "hush-refresh-token"
BUSY = Answer(503, [], b"")
Outcome = Refreshed | Rejected | UnknownClient | Unreachable


def refused(error: str, description: str = "why") -> bytes:
    return json.dumps({"error": error, "error_description": description}).encode()


class Server:
    """Answers everything alike, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.first: list[Answer] = []  # what is said before
        self.says = Answer(404, [], b"")
        self._server = HttpServer(self._answer)
        self.origin = Origin("http", "127.0.0.1", self._server.port)
        self.stop = self._server.stop

    def _answer(self, request: Request) -> Answer:
        self.asked.append(request)
        return self.first.pop(0) if self.first else self.says

    def refresh(self, **settings: Any) -> Outcome:
        forge = build(FORGEJO, self.origin, "", Settings(**settings), certain=True)
        return refresh.refresh(forge, Secret(OLD))


@pytest.fixture(autouse=True)
def pauses(home: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that would have passed between tries, in a home where nothing is set."""
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME")
    taken: list[float] = []
    monkeypatch.setattr(refresh, "time", SimpleNamespace(monotonic=time.monotonic, sleep=taken.append))
    return taken


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


@pytest.mark.parametrize("name", ["gitea", "forgejo"])
def test_recorded(name: str, server: Server) -> None:
    """Real answers: a good token, a used one (refused where tokens rotate), a malformed one, no such client."""
    cases = json.loads((ROOT / "tests" / "recorded" / f"{name}.json").read_text())["cases"]
    outcomes: dict[str, Outcome] = {}
    for case in cases:
        if case["request"].get("form", {}).get("grant_type") == "refresh_token":
            answer = case["response"]
            server.says = Answer(answer["status"], list(answer["headers"].items()), answer["body"].encode())
            outcomes[case["name"]] = server.refresh()
    assert isinstance(outcomes["refresh, good"], Refreshed)
    assert isinstance(outcomes["refresh, malformed token"], Rejected)
    assert isinstance(outcomes["refresh with a deleted application"], UnknownClient)
    again = outcomes["refresh, the same token again"]
    assert isinstance(again, Refreshed if name == "gitea" else Rejected)
    if isinstance(again, Rejected):
        assert str(again.refusal) == "token was already used (unauthorized_client)"


@pytest.mark.parametrize(
    ("settings", "client"),
    [
        ({}, {"client_id": [FORGEJO.client_id]}),
        ({"client_id": "mine", "client_secret": Secret("s")}, {"client_id": ["mine"], "client_secret": ["s"]}),
    ],
)
def test_what_is_sent(settings: dict[str, Any], client: dict[str, list[str]], server: Server) -> None:
    """Once, to the token endpoint, the token in the body and nowhere else."""
    server.says = Answer(400, [], refused("invalid_grant"))
    server.refresh(**settings)
    (request,) = server.asked
    assert (request.method, request.target) == ("POST", "/login/oauth/access_token")
    assert parse_qs(request.body.decode()) == {"grant_type": ["refresh_token"], "refresh_token": [OLD], **client}
    assert "hush" not in f"{request.target} {request.headers}"


GOOD = {"access_token": "new", "token_type": "bearer", "expires_in": 3600}


@pytest.mark.parametrize(
    ("more", "token"), [({}, None), ({"refresh_token": ""}, None), ({"refresh_token": "r2"}, "r2")]
)
def test_good(more: dict[str, str], token: str | None, server: Server) -> None:
    """A new refresh token if there is one; None tells that the old one stays good."""
    server.says = Answer(200, [], json.dumps(GOOD | more).encode())
    outcome = server.refresh()
    assert isinstance(outcome, Refreshed)
    assert outcome.token.access_token == Secret("new")
    assert outcome.token.lifetime == 3600
    assert (outcome.token.refresh_token.reveal() if outcome.token.refresh_token else None) == token


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        *((status, refused(error), Rejected)
          for status in (200, 400, 401, 403)
          for error in ("invalid_grant", "unauthorized_client", "bad_refresh_token")),
        *((400, refused(error), UnknownClient) for error in ("invalid_client", "incorrect_client_credentials")),
        *((status, body, Unreachable)
          for status in (200, 400, 403, 429, 503)
          for body in (b"", b"<html>", b"{}", refused("temporarily_unavailable"), refused("invalid_request"))),
        (500, json.dumps(GOOD).encode(), Unreachable),
        (302, refused("invalid_grant"), Unreachable),
        (200, json.dumps(GOOD | {"token_type": "mac"}).encode(), Unreachable),
        (200, json.dumps(GOOD | {"access_token": ""}).encode(), Unreachable),
        (200, json.dumps(GOOD | {"refresh_token": "a b"}).encode(), Unreachable),
        (200, b"x" * 2_000_000, Unreachable),
    ],
)  # fmt: skip
def test_outcomes(status: int, body: bytes, kind: type, server: Server) -> None:
    """Only a dead grant ends the session; whatever else comes, the session is as good as it was."""
    server.says = Answer(status, [("Location", "https://evil.example/")] if status == 302 else [], body)
    outcome = server.refresh()
    assert type(outcome) is kind
    assert len(server.asked) == (3 if kind is Unreachable else 1)
    if isinstance(outcome, Unreachable):
        assert server.origin.netloc in outcome.reason
        assert "\n" not in outcome.reason


def test_network(server: Server) -> None:
    """Nobody there: nothing was decided."""
    server.stop()
    outcome = server.refresh()
    assert isinstance(outcome, Unreachable)
    assert outcome.reason.startswith(f"{server.origin.netloc} cannot be reached (")


@pytest.mark.parametrize("error", ["temporarily_unavailable", "x" * 5000])
def test_words_are_bounded(error: str, server: Server) -> None:
    """A server's words are shown clean and in part: a megabyte of them would flood the screen."""
    server.says = Answer(400, [], refused(error, "\x1b[2J" + "words " * 5000))
    outcome = server.refresh()
    assert isinstance(outcome, Unreachable)
    assert "\x1b" not in outcome.reason
    assert len(outcome.reason) < say.LONGEST + 200


@pytest.mark.parametrize("tries", [1, 2])
def test_disturbed_for_a_moment(tries: int, server: Server, pauses: list[float]) -> None:
    """Nobody has to hear of it; what was not lost is not called so."""
    server.first = [BUSY] * tries
    server.says = Answer(200, [], json.dumps(GOOD).encode())
    assert isinstance(server.refresh(), Refreshed)
    assert pauses == [0.4, 1.2][:tries]
    server.first = [BUSY] * tries
    server.says = Answer(400, [], refused("invalid_grant"))
    outcome = server.refresh()
    assert isinstance(outcome, Rejected)
    assert not outcome.lost


@pytest.mark.parametrize(
    "first",
    [(200, b"x" * 2_000_000), (504, b"<h1>Time-out</h1>"), (502, b""), (200, b"{}"), (200, b'{"access_token": 7}')],
)
def test_an_answer_that_was_lost(server: Server, first: tuple[int, bytes]) -> None:
    """The first try may have been accepted: then the refusal of the second is explained by it."""
    server.first = [Answer(first[0], [], first[1])]
    server.says = Answer(400, [], refused("unauthorized_client", "token was already used"))
    outcome = server.refresh()
    assert isinstance(outcome, Rejected)
    assert outcome.lost


def test_a_try_that_went_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that was refused lost nothing: the refusal that comes later has another cause."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    body = refused("invalid_grant")

    def answer() -> None:
        with listening.accept()[0] as connection:
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    thread = threading.Thread(target=answer, daemon=True)

    def begin(_: float) -> None:
        listening.listen()
        thread.start()

    monkeypatch.setattr(refresh, "time", SimpleNamespace(monotonic=time.monotonic, sleep=begin))
    origin = Origin("http", "127.0.0.1", listening.getsockname()[1])
    outcome = refresh.refresh(build(FORGEJO, origin, "", Settings(), certain=True), Secret(OLD))
    thread.join(20)
    listening.close()
    assert isinstance(outcome, Rejected)
    assert not outcome.lost


@pytest.mark.parametrize(
    ("retry_after", "taken", "asked"),
    [
        ("2", [2.0, 2.0], 3),
        ("0", [0.4, 1.2], 3),
        ("Wed, 21 Oct 2026 07:28:00 GMT", [0.4, 1.2], 3),
        ("-1", [0.4, 1.2], 3),
        ("30", [], 1),
        ("9" * 400, [], 1),
    ],
)
def test_retry_after(retry_after: str, taken: list[float], asked: int, server: Server, pauses: list[float]) -> None:
    """Waited for as long as people wait for a git command; longer is said instead."""
    server.says = Answer(429, [("Retry-After", retry_after)], b"")
    assert isinstance(server.refresh(), Unreachable)
    assert pauses == taken
    assert len(server.asked) == asked


def test_patience(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tries together have one deadline."""
    monkeypatch.setattr(refresh, "PATIENCE", 0.5)
    server.says = BUSY
    assert isinstance(server.refresh(), Unreachable)
    assert len(server.asked) in (1, 2)
