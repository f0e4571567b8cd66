"""A client that is registered at a sign-in, at servers that answer anything: what is used, kept, and taken back."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from git_credential_forge import forges, recognise
from git_credential_forge.errors import RefusedError, UnreachableError
from git_credential_forge.oauth import dynamic
from git_credential_forge.origin import Origin
from git_credential_forge.recognise import Forge, Metadata, Registration
from git_credential_forge.secret import Secret
from git_credential_forge.settings import Settings
from tests.support.httpserver import Answer, Request
from tests.support.signing_in import StandIn, as_json, listens

TOKEN = "a-registration-token"


class Server(StandIn):
    """Registers whoever comes, unless `changed` says something else."""

    def __init__(self) -> None:
        super().__init__()
        self.changed: dict[str, object] = {}
        self.answers: dict[str, Answer] = {}
        self.other = self._any

    def _any(self, request: Request) -> Answer:
        path = request.target.partition("?")[0]
        if request.method + path in self.answers:
            return self.answers[request.method + path]
        if path == "/oauth2/tokens":
            return as_json(400, {"error": "invalid_grant"})
        if request.method == "DELETE":
            return Answer(204, [], b"")
        asked = json.loads(request.body)
        managed = {"registration_client_uri": f"{self.url}/clients/1", "registration_access_token": TOKEN}
        status = 200 if request.method == "PUT" else 201
        fields = {"client_id": "new", "redirect_uris": asked["redirect_uris"], **managed, **self.changed}
        return as_json(status, {name: value for name, value in fields.items() if value is not None})

    @property
    def heard(self) -> list[str]:
        return [f"{request.method} {request.target}" for request in self.asked]

    def forge(self, own: Registration | None = None, client_id: str | None = None) -> Forge:
        at = f"{self.url}/oauth2/"
        said = Metadata(self.url, f"{at}authorize", f"{at}tokens", registration_url=f"{self.url}/register")
        there = Origin("http", "127.0.0.1", self.port)
        found = recognise.build(forges.CODER, there, "", Settings(), said, certain=True)
        return found._replace(own=own, client_id=client_id)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


def port(forge: Forge) -> int:
    return urlsplit(forge.redirect).port or 0


def test_a_new_one(server: Server) -> None:
    """Bound first, registered with exactly that address, and not listened at any longer afterwards."""
    with dynamic.listening(server.forge()) as (listener, forge):
        assert listens(port(forge))
        assert listener.redirect_uri == forge.redirect
        assert json.loads(server.asked[0].body)["redirect_uris"] == [forge.redirect]
        assert (forge.client_id, forge.client_secret) == ("new", None)
        assert forge.own == Registration(forge.redirect, f"{server.url}/clients/1", Secret(TOKEN))
    assert not listens(port(forge))
    assert server.heard == ["POST /register"]


@pytest.mark.parametrize("error", [RefusedError("no"), UnreachableError("away"), KeyboardInterrupt()])
def test_taken_back(server: Server, error: BaseException) -> None:
    """Where it leads to no sign-in, whatever the reason; and an answer to that changes no reason."""
    server.answers["DELETE/clients/1"] = Answer(500, [], b"")
    with pytest.raises(type(error)) as raised, dynamic.listening(server.forge()):
        raise error
    assert raised.value is error
    assert server.heard == ["POST /register", "DELETE /clients/1"]
    assert server.asked[1].header("Authorization") == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    "changed",
    [
        {"registration_client_uri": "https://evil.example/clients/1"},
        {"registration_client_uri": "http://127.0.0.1:1/clients/1"},
        {"registration_client_uri": "file:///etc/passwd"},
        {"registration_client_uri": ["x"]},
        {"registration_client_uri": None},
        {"registration_access_token": "a\nb"},
        {"registration_access_token": ""},
        {"registration_access_token": 7},
        {"registration_access_token": "x" * 4097},
        {"registration_access_token": None},
    ],
)
def test_where_it_is_not_managed(server: Server, changed: dict[str, object]) -> None:
    """An address of another origin, or no token: the client is used, and nobody is asked to change or end it."""
    server.changed = changed
    seen: list[Forge] = []
    with contextlib.suppress(KeyboardInterrupt), dynamic.listening(server.forge()) as (_, forge):
        seen.append(forge)
        raise KeyboardInterrupt
    assert [forge.own for forge in seen] == [Registration(forge.redirect) for forge in seen]
    assert server.heard == ["POST /register"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (as_json(201, {"client_id": "new", "redirect_uris": ["https://evil.example"]}), RefusedError),
        (as_json(201, {"client_id": "", "redirect_uris": []}), RefusedError),
        (as_json(429, {"error": "temporarily_unavailable"}), RefusedError),
        (Answer(302, [("Location", "https://evil.example/register")], b""), RefusedError),
        (Answer(200, [("Content-Type", "text/html")], b"<html>"), RefusedError),
        (Answer(503, [], b""), UnreachableError),
    ],
)
def test_no_registration(server: Server, answer: Answer, error: type[Exception]) -> None:
    """What cannot be used is none: the listener is gone, and nothing else is asked."""
    server.answers["POST/register"] = answer
    with pytest.raises(error), dynamic.listening(server.forge()):
        pytest.fail("a client of nobody's")
    assert server.heard == ["POST /register"]
    [asked] = json.loads(server.asked[0].body)["redirect_uris"]
    assert not listens(urlsplit(asked).port or 0)


def known(server: Server, redirect: str) -> Forge:
    return server.forge(Registration(redirect, f"{server.url}/clients/1", Secret(TOKEN)), "old")


def free(server: Server) -> str:
    with dynamic.listening(server.forge()) as (_, forge):
        pass
    server.asked.clear()
    return forge.redirect


def test_the_old_one(server: Server) -> None:
    """At its port, once the server has been asked whether it knows it."""
    redirect = free(server)
    with dynamic.listening(known(server, redirect)) as (_, forge):
        assert (forge.client_id, forge.redirect) == ("old", redirect)
    assert server.heard == ["POST /oauth2/tokens"]


def test_the_old_one_is_never_taken_back(server: Server) -> None:
    """A sign-in that fails does not end what others may be signed in by."""
    with pytest.raises(RefusedError), dynamic.listening(known(server, free(server))):
        raise RefusedError("no")
    assert server.heard == ["POST /oauth2/tokens"]


def test_the_old_one_is_gone(server: Server) -> None:
    """Then a new one is made, once."""
    server.answers["POST/oauth2/tokens"] = as_json(401, {"error": "invalid_client"})
    with dynamic.listening(known(server, free(server))) as (_, forge):
        assert forge.client_id == "new"
    assert server.heard == ["POST /oauth2/tokens", "POST /register"]


@pytest.mark.parametrize(
    "answer",
    [
        None,
        as_json(200, {"redirect_uris": ["http://127.0.0.1:1/"]}),
        as_json(401, {"error": "invalid_token"}),
        Answer(200, [("Content-Type", "text/html")], b"<html>"),
    ],
)
def test_another_address(server: Server, answer: Answer | None) -> None:
    """With its port taken, the registration is changed; what does not take that is replaced."""
    if answer:
        server.answers["PUT/clients/1"] = answer
    with dynamic.listening(server.forge()) as (_, first):
        server.asked.clear()
        with dynamic.listening(known(server, first.redirect)) as (_, forge):
            assert forge.redirect != first.redirect
            assert forge.client_id == ("new" if answer else "old")
            assert forge.own == Registration(forge.redirect, f"{server.url}/clients/1", Secret(TOKEN))
    assert server.heard == ["PUT /clients/1", *(["POST /register"] if answer else [])]
    put = json.loads(server.asked[0].body)
    assert (put["client_id"], put["token_endpoint_auth_method"]) == ("old", "none")


@pytest.mark.parametrize("redirect", ["http://evil.example:8080/", "https://evil.example/", "nonsense", "http://10.0.0.1:80/"])
def test_an_address_elsewhere(server: Server, redirect: str) -> None:
    """What a damaged memory says is not bound."""
    with dynamic.listening(known(server, redirect)) as (_, forge):
        assert urlsplit(forge.redirect).hostname == "127.0.0.1"
