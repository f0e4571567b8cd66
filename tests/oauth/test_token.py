"""Requests to a forge's endpoints as a client, and what the recorded answers of each forge are taken for."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from git_credential_forge.forges import OTHER
from git_credential_forge.oauth import token, wire
from git_credential_forge.oauth.wire import Broken, DeviceCode, Refusal, Token
from git_credential_forge.origin import Origin
from git_credential_forge.recognise import Forge, Metadata, build
from git_credential_forge.secret import Secret
from git_credential_forge.settings import Settings
from tests.support.httpserver import Answer, HttpServer, Request
from tests.support.recorded import read
from tests.support.signing_in import as_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORM = {"grant_type": "refresh_token", "refresh_token": "r"}
DEAD = as_json(401, {"error": "invalid_client"})
GOOD = as_json(200, {"access_token": "a", "token_type": "bearer"})
HEADER = "Basic " + base64.b64encode(b"my+id%3A:s+%C3%A9%25").decode()  # each part encoded (RFC 6749, section 2.3.1)


class Server:
    """Says what comes next in `says`, and keeps how it was asked: the header, and the secret in the body."""

    def __init__(self) -> None:
        self.says: list[Answer] = [GOOD]
        self.asked: list[tuple[str, str]] = []
        self.bodies: list[str] = []
        self._server = HttpServer(self._answer)
        self.origin = Origin("http", "127.0.0.1", self._server.port)
        self.stop = self._server.stop

    def _answer(self, request: Request) -> Answer:
        body = request.body.decode()
        self.bodies.append(body)
        secret = [part.partition("=")[2] for part in body.split("&") if part.startswith("client_secret=")]
        self.asked.append((request.header("Authorization"), "".join(secret)))
        return self.says.pop(0)

    def forge(self, *, secret: str | None = "s é%", header: bool = False, metadata: bool = False) -> Forge:
        url = self.origin.url
        said = Metadata(url, f"{url}/a", f"{url}/t", secret_in_header=metadata)
        hidden = None if secret is None else Secret(secret)
        settings = Settings(client_id="my id:", client_secret=hidden, secret_in_header=header)
        return build(OTHER, self.origin, "", settings, said, certain=True)


@pytest.fixture
def server(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME")
    running = Server()
    yield running
    running.stop()


IN_BODY = ("", "s+%C3%A9%25")
IN_HEADER = (HEADER, "")


@pytest.mark.parametrize(
    ("how", "asked"),
    [
        ({}, IN_BODY),
        ({"header": True}, IN_HEADER),
        ({"metadata": True}, IN_HEADER),
        ({"secret": None}, ("", "")),
        ({"secret": None, "header": True}, ("", "")),
    ],
)
def test_where_the_secret_goes(how: dict[str, Any], asked: tuple[str, str], server: Server) -> None:
    """Into the body, or the header where the configuration or the metadata say so; never both; public has none."""
    outcome = token.ask(server.forge(**how), FORM)
    assert isinstance(outcome.found, Token)
    assert server.asked == [asked]
    assert "client_id=my+id%3A" in server.bodies[0]


@pytest.mark.parametrize(("header", "asked"), [(False, [IN_BODY, IN_HEADER]), (True, [IN_HEADER, IN_BODY])])
def test_the_other_way(header: bool, asked: list[tuple[str, str]], server: Server) -> None:
    """A server that does not take the one way is asked in the other, once."""
    server.says = [DEAD, GOOD]
    assert isinstance(token.ask(server.forge(header=header), FORM).found, Token)
    assert server.asked == asked


def test_neither_way(server: Server) -> None:
    """A wrong secret: its first word counts."""
    server.says = [as_json(401, {"error": "invalid_client", "error_description": "first"}), DEAD]
    found = token.ask(server.forge(), FORM).found
    assert found == Refusal("invalid_client", "first")
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    "error", ["invalid_grant", "authorization_pending", "bad_refresh_token", "unauthorized_client"]
)
def test_no_second_request_for_the_grant(error: str, server: Server) -> None:
    """A code or a refresh token is used once: it is not sent again where the client was not what was wrong."""
    server.says = [as_json(400, {"error": error})]
    assert token.ask(server.forge(), FORM).found == Refusal(error, "")
    assert len(server.asked) == 1


def test_no_second_request_without_a_secret(server: Server) -> None:
    """A public client has one way."""
    server.says = [DEAD]
    assert token.ask(server.forge(secret=None), FORM).found == Refusal("invalid_client", "")


def test_device_code(server: Server) -> None:
    """Asked of its own endpoint, as the same client, with the status that it came with."""
    server.says = [
        as_json(503, {}),
        as_json(200, {"device_code": "d", "user_code": "u", "verification_uri": "http://x/"}),
    ]
    forge = server.forge()
    assert token.device_code(forge, f"{server.origin.url}/d") == (Broken("it answered with HTTP 503"), 503)
    found, status = token.device_code(forge, f"{server.origin.url}/d")
    assert isinstance(found, DeviceCode)
    assert (status, server.asked) == (200, [IN_BODY] * 2)


# What each forge's recorded answers are taken for.

RECORDS = ("gitlab", "github", "github-enterprise", "bitbucket", "bitbucket-dc", "googlesource")
CASES = [(name, case["name"], case["response"]) for name in RECORDS for case in read(name)["cases"]]


def parsed(response: dict[str, Any]) -> Token | Refusal | Broken:
    kind = response["headers"]["content-type"]
    body = response["body"].replace("<access_token>", "a").replace("<refresh_token>", "r")
    return wire.parse_token(response["status"], kind, body.encode())


def of(case: str) -> pytest.MarkDecorator:
    """Each record that has this case."""
    found = [(name, response) for name, said, response in CASES if said == case]
    return pytest.mark.parametrize(("name", "response"), found, ids=[name for name, _ in found])


@of("token")
def test_token(name: str, response: dict[str, Any]) -> None:
    """Its token, its lifetime, all the scopes that its record asks for."""
    found = parsed(response)
    assert isinstance(found, Token)
    lifetimes = {"github": None, "github-enterprise": 28_800, "googlesource": 3599}
    assert found.lifetime == lifetimes.get(name, 7200)
    assert (found.refresh_token is None) is (name == "github")
    scopes = {
        "gitlab": "read_repository write_repository",
        "bitbucket": "repository repository:write",
        "bitbucket-dc": "PUBLIC_REPOS REPO_READ REPO_WRITE",
        "googlesource": "https://www.googleapis.com/auth/gerritcodereview",
    }
    assert found.lacks(scopes.get(name, "repo gist workflow")) == ""


@of("token, form-encoded")
def test_form_encoded(name: str, response: dict[str, Any]) -> None:
    """GitHub's, where our Accept was lost on the way: the same token."""
    plain = next(answer for record, case, answer in CASES if (record, case) == (name, "token"))
    assert parsed(response) == parsed(plain)


@of("token, with the new name of the field")
def test_renamed_field(name: str, response: dict[str, Any]) -> None:
    """Bitbucket's `scope`, since May 2026, beside its `scopes` of before."""
    found = parsed(response)
    assert isinstance(found, Token)
    assert found.lacks("repository repository:write") == "", name


@of("bad refresh token")
def test_dead_grant(name: str, response: dict[str, Any]) -> None:
    """Ends the sign-in, at every forge."""
    found = parsed(response)
    assert isinstance(found, Refusal)
    assert (found.dead_grant, found.dead_client) == (True, False), name


@of("unknown client")
def test_dead_client(name: str, response: dict[str, Any]) -> None:
    """Says nothing about the sign-in: the application is what is wrong."""
    found = parsed(response)
    assert isinstance(found, Refusal)
    assert (found.dead_grant, found.dead_client) == (False, True), name


@of("device pending")
def test_pending(name: str, response: dict[str, Any]) -> None:
    """In a 200 as in a 400."""
    found = parsed(response)
    assert isinstance(found, Refusal)
    assert found.error == "authorization_pending", name


@of("device code")
def test_recorded_device_code(name: str, response: dict[str, Any]) -> None:
    """GitHub's live for a quarter of an hour, GitLab's for five minutes."""
    words = {"<device_code>": "d", "<user_code>": "WDJB-MJHT", "<base>": "https://forge.example"}
    body = response["body"]
    for word, value in words.items():
        body = body.replace(word, value)
    found = wire.parse_device(response["status"], response["headers"]["content-type"], body.encode())
    assert isinstance(found, DeviceCode)
    assert (found.lifetime, found.interval) == (300 if name == "gitlab" else 900, 5)
    assert (found.whole_page is not None) is (name == "gitlab")
