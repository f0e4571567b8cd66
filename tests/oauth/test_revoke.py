"""Ending tokens at the forge, from a real server on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import pytest

from git_credential_forge.forges import GITLAB
from git_credential_forge.oauth import revoke
from git_credential_forge.oauth.wire import Token
from git_credential_forge.origin import Origin
from git_credential_forge.recognise import build
from git_credential_forge.secret import Secret
from git_credential_forge.session import Session, make
from git_credential_forge.settings import Settings
from tests.support.httpserver import Answer, HttpServer, Request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JSON = [("Content-Type", "application/json")]


class Server:
    """Answers in turn, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.says: list[Answer] = []
        self._server = HttpServer(self._answer)
        self.origin = Origin("http", "127.0.0.1", self._server.port)
        self.stop = self._server.stop

    def _answer(self, request: Request) -> Answer:
        self.asked.append(request)
        return self.says.pop(0)

    def forms(self) -> list[tuple[str, dict[str, str]]]:
        return [(request.target, dict(parse_qsl(request.body.decode()))) for request in self.asked]

    def session(self, refresh_token: str | None = "hush-refresh") -> Session:
        forge = build(GITLAB, self.origin, "", Settings(client_id="mine"), certain=True)
        token = Token(Secret("hush-access"), Secret(refresh_token) if refresh_token else None, 7200)
        return make(forge, "alice", token, None)


@pytest.fixture
def server(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("HOME", str(home))
    running = Server()
    yield running
    running.stop()


def form(token: str, hint: str, **more: str) -> tuple[str, dict[str, str]]:
    return "/oauth/revoke", {"token": token, "token_type_hint": hint, "client_id": "mine", **more}


def test_both_tokens(server: Server) -> None:
    """The refresh token first; a server that no longer knows the access token then says 200 (RFC 7009, 2.2)."""
    server.says = [Answer(200, JSON, b"{}"), Answer(200, JSON, b"")]
    assert revoke.revoke(server.session(), None) is None
    assert server.forms() == [form("hush-refresh", "refresh_token"), form("hush-access", "access_token")]


def test_a_secret_goes_along(server: Server) -> None:
    """A confidential client has to show that it is itself (GitLab: 403 without)."""
    server.says = [Answer(200, JSON, b"{}")]
    assert revoke.revoke(server.session(None), Secret("s")) is None
    assert server.forms() == [form("hush-access", "access_token", client_secret="s")]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(403, JSON, b'{"error":"unauthorized_client"}'),
        Answer(404, [], b""),
        Answer(302, [("Location", "https://evil.example/")], b""),
        Answer(200, [("Content-Type", "text/html; charset=utf-8")], b"<!doctype html>"),
        Answer(503, [], b""),
    ],
    ids=["not ours", "no such call", "redirect", "a web page", "down"],
)
def test_what_is_no_success(server: Server, answer: Answer) -> None:
    """Said with its status; nothing more is sent there, and no redirect is followed."""
    server.says = [answer]
    assert revoke.revoke(server.session(), None) == f"the forge did not revoke it (HTTP {answer.status})"
    assert server.forms() == [form("hush-refresh", "refresh_token")]


def test_nobody_there(server: Server) -> None:
    """A forge that cannot be reached is named, and no token."""
    server.stop()
    why = revoke.revoke(server.session(), None)
    assert why == f"127.0.0.1:{server.origin.port} cannot be reached (Connection refused)"


def test_by_deleting(server: Server) -> None:
    """Coder before 2026: what the person has by this client, by the token that lives; only 204 is a success."""
    session = server.session()._replace(revoke_url=None, kind="coder", token_url=f"{server.origin.url}/oauth2/tokens")
    page = Answer(200, [("Content-Type", "text/html")], b"<html>")
    server.says = [Answer(204, [], b""), page, Answer(401, JSON, b"{}")]
    said = [revoke.revoke(session, Secret("s")) for _ in range(3)]
    assert said == [None, *(f"the forge did not revoke it (HTTP {status})" for status in (200, 401))]
    [first, *_] = server.asked
    assert (first.method, first.target) == ("DELETE", "/oauth2/tokens?client_id=mine")
    assert (first.header("Authorization"), first.body) == ("Bearer hush-access", b"")


def test_a_forge_without_a_call(server: Server) -> None:
    """Nothing is guessed at."""
    without = server.session()._replace(revoke_url=None)
    assert revoke.revoke(without, None) == "this forge cannot revoke it by a call"
    assert server.asked == []
