"""Registration against servers that answer anything: what is taken, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from git_credential_forge import forges, recognise
from git_credential_forge.errors import RefusedError, UnreachableError
from git_credential_forge.oauth import registration
from git_credential_forge.oauth.registration import Application, Client
from git_credential_forge.origin import Origin
from git_credential_forge.recognise import Forge
from git_credential_forge.secret import Secret
from git_credential_forge.settings import Settings
from tests.support.httpserver import Answer, Request
from tests.support.signing_in import StandIn, as_json

TOKEN = Secret("a-token-of-the-shared-client")
OWN = {
    "id": 12,
    "name": "git-credential-forge on laptop",
    "client_id": "8a0a0a83-6017-40ec-ac72-80d65e8c14ed",
    "client_secret": "gto_of_no_use",
    "confidential_client": False,
    "skip_secondary_authorization": False,
    "redirect_uris": ["http://127.0.0.1"],
    "created": "2026-11-22T14:50:28Z",
}
TAKEN = Application(12, str(OWN["name"]), str(OWN["client_id"]), ("http://127.0.0.1",), confidential=False)


@pytest.fixture
def server() -> Iterator[StandIn]:
    with StandIn() as server:
        yield server


def forge(server: StandIn, **settings: str) -> Forge:
    origin = Origin("http", "127.0.0.1", server.port)
    return recognise.build(forges.FORGEJO, origin, "", Settings(**settings), certain=True)  # type: ignore[arg-type]


def register(server: StandIn, answer: Answer, scopes: str = "") -> Client:
    server.other = lambda _: answer
    return registration.register(forge(server, scopes=scopes), f"{server.url}/register", "mine")


def answered(**changed: object) -> dict[str, object]:
    fields = {"client_id": "an-id", "redirect_uris": ["http://127.0.0.1"], **changed}
    return {name: value for name, value in fields.items() if value is not None}


@pytest.mark.parametrize(
    ("fields", "secret"),
    [
        (answered(), None),
        (answered(client_secret=""), None),
        (answered(client_secret="a-secret", client_secret_expires_at=0), Secret("a-secret")),
        (answered(redirect_uris=None), None),
        (answered(scope="b a c"), None),
    ],
)
@pytest.mark.parametrize("status", [200, 201])
def test_taken(server: StandIn, status: int, fields: dict[str, object], secret: Secret | None) -> None:
    """A client id, and a secret where the server gives one all the same."""
    client = register(server, as_json(status, fields), scopes="a b")
    assert client == Client("an-id", secret, "http://127.0.0.1")
    assert json.loads(server.asked[0].body)["scope"] == "a b"


OF_NO_USE = "registered an application that is of no use: "
REDIRECT = "it did not take the redirect address http://127.0.0.1"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        (answered(client_id=None), f"{OF_NO_USE}its answer has no client id"),
        (answered(client_id=""), f"{OF_NO_USE}its answer has no client id"),
        (answered(client_id=7), f"{OF_NO_USE}its answer has no client id"),
        (answered(client_id="a b"), f"{OF_NO_USE}its answer has no client id"),
        (answered(client_id='a"\n[core]\n\teditor = evil'), f"{OF_NO_USE}its answer has no client id"),
        (answered(client_id="x" * 513), f"{OF_NO_USE}its answer has no client id"),
        (answered(client_secret=["s"]), f"{OF_NO_USE}its answer has a malformed secret"),
        (answered(client_secret="a\nb"), f"{OF_NO_USE}its answer has a malformed secret"),
        (answered(redirect_uris=["https://evil.example"]), f"{OF_NO_USE}{REDIRECT}"),
        (answered(redirect_uris=["http://127.0.0.1", "https://evil.example"]), f"{OF_NO_USE}{REDIRECT}"),
        (answered(redirect_uris="http://127.0.0.1"), f"{OF_NO_USE}{REDIRECT}"),
        (answered(scope="mcp"), f"{OF_NO_USE}it did not take the scopes a b"),
        (answered(scope=["a", "b"]), f"{OF_NO_USE}it did not take the scopes a b"),
        ([], "did not register an application: it answered with HTTP 201"),
    ],
)
def test_nonsense(server: StandIn, fields: object, why: str) -> None:
    """Refused, whatever the status."""
    with pytest.raises(RefusedError) as refused:
        register(server, as_json(201, fields), scopes="a b")
    assert str(refused.value) == f"127.0.0.1:{server.port} {why}"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Answer(201, [("Content-Type", "text/html")], b"<html>"), "it answered with HTTP 201"),
        (as_json(400, {"error": "invalid_redirect_uri"}), "it said: invalid_redirect_uri"),
        (as_json(403, {"error": "x", "error_description": "ask\x1b]0;us"}), "it said: ask ]0;us"),
        (as_json(201, "[" * 100_000), "it answered with HTTP 201"),
        (Answer(302, [("Location", "https://evil.example/register")], b""), "it answered with HTTP 302"),
    ],
)
def test_refused(server: StandIn, answer: Answer, why: str) -> None:
    """In the server's words, cleaned; a redirect is not followed."""
    with pytest.raises(RefusedError) as refused:
        register(server, answer)
    assert str(refused.value) == f"127.0.0.1:{server.port} did not register an application: {why}"
    assert len(server.asked) == 1


def test_out_of_order(server: StandIn) -> None:
    """A server that fails has refused nothing."""
    with pytest.raises(UnreachableError, match=r"did not register an application: it answered with HTTP 503$"):
        register(server, Answer(503, [], b""))


def test_applications(server: StandIn) -> None:
    """All pages, each once; what is malformed among them is passed over."""
    odd: list[object] = [{**OWN, "id": wrong} for wrong in (None, "12", True, -1)]
    odd += [{**OWN, "client_id": "a b"}, {**OWN, "name": None}, "text", None]
    more = {**OWN, "id": 13, "client_id": "another", "redirect_uris": "text", "confidential_client": None}

    def answer(request: Request) -> Answer:
        page = request.target.partition("page=")[2].partition("&")[0]
        assert request.header("Authorization") == f"Bearer {TOKEN.reveal()}"
        return as_json(200, {"1": [*odd, OWN], "2": [OWN, more]}.get(page, []))

    server.other = answer
    found = registration.applications(forge(server), TOKEN)
    assert found == [TAKEN, Application(13, TAKEN.name, "another", (), confidential=True)]
    assert [each.serves("http://127.0.0.1") for each in found] == [True, False]
    path = "/api/v1/user/applications/oauth2"
    assert [request.target for request in server.asked] == [f"{path}?page={page}&limit=50" for page in (1, 2, 3)]


def test_applications_without_end(server: StandIn) -> None:
    """A server that shows the same page for ever is asked twice."""
    server.other = lambda _: as_json(200, [OWN])
    assert registration.applications(forge(server), TOKEN) == [TAKEN]
    assert len(server.asked) == 2


def test_applications_by_the_thousand(server: StandIn) -> None:
    """No more of a page is looked at than was asked for: comparing 20,000 of each would take hours."""

    def answer(request: Request) -> Answer:
        page = int(request.target.partition("page=")[2].partition("&")[0])
        return as_json(200, [{"id": page * 20_000 + n, "name": "", "client_id": "a"} for n in range(20_000)])

    server.other = answer
    assert len(registration.applications(forge(server), TOKEN)) == 20 * 50


def test_create_and_delete(server: StandIn) -> None:
    """As Gitea and Forgejo answer it (recorded); one that is gone already is deleted."""
    server.other = lambda request: as_json(201, OWN) if request.method == "POST" else Answer(204, [], b"")
    assert registration.create(forge(server), TOKEN, "mine") == TAKEN
    registration.delete(forge(server), TOKEN, TAKEN)
    server.other = lambda _: Answer(404, [], b"")
    registration.delete(forge(server), TOKEN, TAKEN)
    path = "/api/v1/user/applications/oauth2"
    assert [(each.method, each.target) for each in server.asked] == [
        ("POST", path),
        ("DELETE", f"{path}/12"),
        ("DELETE", f"{path}/12"),
    ]
    assert json.loads(server.asked[0].body) == {
        "name": "mine",
        "redirect_uris": ["http://127.0.0.1"],
        "confidential_client": False,
    }
    assert {each.header("Authorization") for each in server.asked} == {f"Bearer {TOKEN.reveal()}"}


def test_not_allowed(server: StandIn) -> None:
    """A narrowed token at Gitea: its words."""
    said = "token does not have at least one of required scope(s), required=[write:user]"
    server.other = lambda _: as_json(403, {"message": said, "url": f"{server.url}/api/swagger"})
    calls: dict[str, Callable[[], object]] = {
        "list your applications": lambda: registration.applications(forge(server), TOKEN),
        "create an application": lambda: registration.create(forge(server), TOKEN, "mine"),
        "delete the application": lambda: registration.delete(forge(server), TOKEN, TAKEN),
    }
    for what, call in calls.items():
        with pytest.raises(RefusedError) as refused:
            call()
        assert str(refused.value) == f"127.0.0.1:{server.port} did not {what}: it said: {said}"
