"""The Coder that tests speak to: what a real one of 2025 was recorded to answer, and where that of 2026 differs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest

from tests.support.coder import Coder
from tests.support.coder_people import UUID
from tests.support.forge import PASSWORDS
from tests.support.gentle_browser import GentleBrowser
from tests.support.surroundings import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORD = json.loads((ROOT / "tests/recorded/coder.json").read_text())
COMPARED = ("content-type", "location", "www-authenticate")
BLOTTED = [
    (UUID, "<uuid>"),
    (re.compile(r"\$pbkdf2-sha256\$65535\$[^\"]+"), "<hash>"),
    (re.compile(r"eyJ[\w.-]+"), "<external token>"),
    (re.compile(r"coder_\w{10}_\w{40}"), "<secret>"),
    (re.compile(r"(?<!\w)\w{10}-\w{22}(?!\w)"), "<key>"),
    (re.compile(r'(?<=")\w{40}(?=")'), "<registration token>"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z"), "<time>"),
    (re.compile(r'(?<="client_id_issued_at":)\d+'), '"<time>"'),
]
REDIRECT = "http://127.0.0.1:45455/"
OPEN: list[httpx.Client] = []
both = pytest.mark.parametrize("generation", [2025, 2026])


def connect(base_url: str, headers: dict[str, str] | None = None) -> httpx.Client:
    """Closed when the test is over."""
    OPEN.append(httpx.Client(base_url=base_url, headers=headers, trust_env=False))
    return OPEN[-1]


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


# The recorded answers.


class Replay:
    """The recorded requests one after the other; what was blotted out in them is what the server gave before."""

    def __init__(self, coder: Coder) -> None:
        self.coder = coder
        self.client = connect(coder.url)
        self.ids: dict[str, str] = {}  # recorded: given here
        self.given: dict[str, str] = {"agent": coder.agent_token}
        self.before: dict[str, str] = {}  # what stood there before the last answer that gave tokens

    def ask(self, case: dict[str, Any]) -> httpx.Response:
        request, name = case["request"], case["name"]
        if name == "workspace: linked":
            self.coder.link("gitea", "eyJhbGciOiJSUzI1NiJ9.eyJnbnQiOjF9.c2lnbmF0dXJl")
        target = self._known(request["path"])
        headers = {key: self._header(key, value, name) for key, value in request.get("headers", {}).items()}
        form = {key: self._field(key, value, name) for key, value in request.get("form", {}).items()}
        sent: dict[str, Any] = {"json": request["json"]} if "json" in request else {}
        if form:
            sent["data"] = form
        if "basic" in request:
            sent["auth"] = (self._known(request["basic"][0]), self.given["client_secret"])
        answer = self.client.request(request["method"], target, headers=headers, **sent)
        self._keep(case, answer)
        return answer

    def _keep(self, case: dict[str, Any], answer: httpx.Response) -> None:
        code = dict(parse_qsl(urlsplit(answer.headers.get("location", "")).query)).get("code")
        if code:
            self.given["code"] = code
        if "json" not in answer.headers.get("content-type", "") or not isinstance(answer.json(), dict):
            return
        if "access_token" in answer.json() and "refresh_token" in answer.json():
            self.before = dict(self.given)
        recorded = json.loads(case["response"].get("body") or "{}")
        for key in ("client_id", "id"):
            if key in answer.json():
                self.ids[recorded[key]] = answer.json()[key]
        wanted = ("client_secret", "registration_access_token", "access_token", "refresh_token")
        if case["name"] in {"register", "exchange, good", "refresh, good"}:
            self.given |= {key: value for key, value in answer.json().items() if key in wanted}

    def _known(self, text: str) -> str:
        for recorded, here in self.ids.items():
            text = text.replace(recorded, here)
        return text

    def _header(self, name: str, value: str, case: str) -> str:
        if name == "Cookie":
            return f"coder_session_token={self.coder.session_token}"
        if name == "Coder-Session-Token":
            return self.coder.session_token if value.startswith("xxx") else value
        if name != "Authorization" or value == "Bearer wrong":
            return value.replace(RECORD["base"], self.coder.url)
        if len(value) > len("Bearer ") + 33:
            return f"Bearer {self.given['registration_access_token']}"
        old = case.startswith("the old access token")
        return f"Bearer {(self.before if old else self.given)['access_token']}"

    def _field(self, name: str, value: str, case: str) -> str:
        if case == "exchange, wrong secret" and name == "client_secret":
            return "coder_" + "w" * 10 + "_" + "w" * 40
        if name == "refresh_token" or (name == "token" and value.startswith("coder_")):
            return (self.before if "same token again" in case else self.given)["refresh_token"]
        return self.given[name] if name in {"code", "client_secret"} and "x" * 10 in value else self._known(value)


def blot(text: str, base: str) -> str:
    host = urlsplit(base).netloc
    text = text.replace(base, "<base>").replace(host, "<host>")
    for pattern, instead in BLOTTED:
        text = pattern.sub(instead, text)
    return text


def shown(answer: dict[str, Any], base: str) -> dict[str, Any]:
    """What of an answer is compared; a page is not, only that it is one."""
    text = blot(json.dumps({name: answer["headers"].get(name) for name in COMPARED}), base)
    body = "a page" if "html" in answer else blot(answer["body"], base)
    return {
        "status": answer["status"],
        "headers": json.loads(text),
        "body": json.loads(body) if body.startswith(("{", '"')) and body != "a page" else body,
    }


def of(answer: httpx.Response) -> dict[str, Any]:
    found = {"status": answer.status_code, "headers": answer.headers}
    is_page = "html" in answer.headers.get("content-type", "")
    return found | ({"html": ""} if is_page else {"body": answer.text})


def test_every_recorded_answer() -> None:
    """The server of 2025 says what a real one said, status, headers and body, to each recorded request."""
    with Coder(2025) as coder:
        coder.add("gitea", match=r"127\.0\.0\.1:3301.*")
        replay = Replay(coder)
        for case in RECORD["cases"]:
            here, there = shown(of(replay.ask(case)), coder.url), shown(case["response"], RECORD["base"])
            assert (case["name"], here) == (case["name"], there)
    assert len(coder.log) == len(RECORD["cases"])


def test_a_recorded_answer_can_differ() -> None:
    """The comparison above sees a word."""
    said = {"status": 400, "headers": {"content-type": "application/json"}, "body": '{"error":"a"}'}
    assert shown(said, "http://a") != shown(said | {"body": '{"error":"b"}'}, "http://a")
    assert shown(said, "http://a") != shown(said | {"headers": {}}, "http://a")
    assert blot(f'"{"x" * 40}"', "http://a") == '"<registration token>"'


# Both generations, as a client meets them.


class Visitor:
    """A client, and the browser of alice."""

    def __init__(self, coder: Coder, **registered: Any) -> None:
        self.coder = coder
        self.http = connect(coder.url)
        self.verifier = secrets.token_urlsafe(48)
        wanted = {"client_name": "test", "redirect_uris": [REDIRECT]} | registered
        self.client: dict[str, Any] = self.http.post("/oauth2/register", json=wanted).json()

    @property
    def proof(self) -> dict[str, str]:
        found = {"client_id": self.client["client_id"]}
        secret = self.client.get("client_secret")
        return found | ({"client_secret": secret} if secret else {})

    def asks(self, redirect: str = REDIRECT, **more: str) -> dict[str, str]:
        digest = hashlib.sha256(self.verifier.encode()).digest()
        asked = {"response_type": "code", "client_id": self.client["client_id"], "redirect_uri": redirect, "state": "s"}
        asked["code_challenge"] = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        return {name: value for name, value in (asked | more).items() if value}

    def authorize(self, asked: dict[str, str] | str) -> httpx.Response:
        query = asked if isinstance(asked, str) else urlencode(asked)
        cookie = f"coder_session_token={self.coder.session_token}"
        return self.http.post(f"/oauth2/authorize?{query}", headers={"Cookie": cookie})

    def code(self, redirect: str = REDIRECT, **more: str) -> str:
        return sent_to(self.authorize(self.asks(redirect, **more)))["code"]

    def exchange(self, code: str, redirect: str = REDIRECT, **more: str) -> httpx.Response:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect}
        form |= {"code_verifier": self.verifier} | self.proof | more
        return self.http.post("/oauth2/tokens", data=form)

    def sign_in(self) -> dict[str, Any]:
        found: dict[str, Any] = self.exchange(self.code()).json()
        return found

    def refresh(self, token: str, **more: str) -> httpx.Response:
        form = {"grant_type": "refresh_token", "refresh_token": token} | self.proof | more
        return self.http.post("/oauth2/tokens", data=form)

    def alive(self, access_token: str) -> bool:
        answer = self.http.get("/api/v2/users/me", headers={"Authorization": f"Bearer {access_token}"})
        return answer.status_code == 200


def sent_to(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 302, answer.text
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


@pytest.fixture(name="new")
def _new() -> Iterator[Coder]:
    with Coder(2026) as coder:
        yield coder


@pytest.fixture(name="old")
def _old() -> Iterator[Coder]:
    with Coder(2025) as coder:
        yield coder


@both
@pytest.mark.parametrize("mode", ["consent", "deny"])
def test_a_person_signs_in_and_decides(generation: int, mode: Any) -> None:
    """From the authorize page over the sign-in page to consent and back; the cancel link of 2025 has no state."""
    with Coder(generation, base="/sub") as coder, GentleBrowser("alice", PASSWORDS["alice"], mode) as browser:
        visitor = Visitor(coder)
        ended = browser.visit(f"{coder.url}/oauth2/authorize?{urlencode(visitor.asks())}")
        back = dict(parse_qsl(urlsplit(ended).query))
        if mode == "consent":
            token = visitor.exchange(back["code"]).json()["access_token"]
            assert visitor.alive(token)
            assert back == {"code": back["code"], "state": "s"}
            return
    words = {"error_description": "The resource owner or authorization server denied the request", "state": "s"}
    assert back == {"error": "access_denied"} | ({} if generation == 2025 else words)


@both
def test_tokens_rotate_and_end(generation: int) -> None:
    """A refresh ends the access token before, a new sign-in of the same application everything before."""
    with Coder(generation) as coder:
        visitor = Visitor(coder)
        first = visitor.sign_in()
        second = visitor.refresh(first["refresh_token"]).json()
        assert (visitor.alive(first["access_token"]), visitor.alive(second["access_token"])) == (False, True)
        assert refused(visitor.refresh(first["refresh_token"])) == (400, "invalid_grant")
        other = Visitor(coder)  # a second machine, registered for itself
        theirs = other.sign_in()
        third = visitor.sign_in()
        assert refused(visitor.refresh(second["refresh_token"])) == (400, "invalid_grant")
        assert [visitor.alive(said["access_token"]) for said in (second, third, theirs)] == [False, True, True]
        coder.end_tokens()
        assert not visitor.alive(third["access_token"])
        assert refused(visitor.refresh(third["refresh_token"])) == (400, "invalid_grant")


@both
def test_how_long_a_refresh_token_lives(generation: int) -> None:
    """In 2025 it ends with its access token."""
    with Coder(generation) as coder:
        visitor = Visitor(coder)
        coder.lifetime(600)
        said = visitor.sign_in()
        assert (said["expires_in"], visitor.alive(said["access_token"])) == (600, True)
        coder.lifetime(0)
        said = visitor.refresh(said["refresh_token"]).json()
        assert not visitor.alive(said["access_token"])
        assert visitor.refresh(said["refresh_token"]).status_code == (400 if generation == 2025 else 200)
        coder.lifetime(600)
        said = visitor.sign_in()
        coder.expire()
        assert not visitor.alive(said["access_token"])
        assert visitor.refresh(said["refresh_token"]).status_code == (400 if generation == 2025 else 200)


@both
def test_what_both_refuse(generation: int) -> None:
    """A secret in the query, a resource that is not repeated, a registration's wrong token."""
    with Coder(generation) as coder:
        visitor = Visitor(coder)
        in_query = f"/oauth2/tokens?{urlencode(visitor.proof)}"
        form = {"grant_type": "refresh_token", "refresh_token": visitor.sign_in()["refresh_token"]}
        assert refused(visitor.http.post(in_query, data=form)) == (400, "invalid_request")
        assert visitor.refresh(form["refresh_token"]).status_code == 200
        assert refused(visitor.exchange(visitor.code(resource=coder.url))) == (400, "invalid_target")
        said = visitor.exchange(visitor.code(resource=coder.url), resource=coder.url)
        assert said.status_code == 200
        assert refused(visitor.refresh(said.json()["refresh_token"], resource="https://a")) == (400, "invalid_target")
        where = visitor.client["registration_client_uri"]
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            assert refused(visitor.http.get(where, headers=headers)) == (401, "invalid_token")
        assert refused(visitor.authorize({"client_id": ""})) == (400, "invalid_request")
        assert refused(visitor.authorize({"client_id": "x"})) == (401, "invalid_client")


@both
def test_a_registration_is_changed_and_deleted(generation: int) -> None:
    """Its token stays good, whatever the answer to a change says in its place."""
    with Coder(generation) as coder:
        visitor = Visitor(coder)
        where, headers = visitor.client["registration_client_uri"], {}
        headers["Authorization"] = f"Bearer {visitor.client['registration_access_token']}"
        moved = "http://127.0.0.1:45456/"
        changed = visitor.http.put(where, json={"redirect_uris": [moved]}, headers=headers).json()
        assert changed["registration_access_token"].startswith("$pbkdf2-" if generation == 2025 else "")
        assert visitor.http.get(where, headers=headers).json()["redirect_uris"] == [moved]
        said = visitor.exchange(visitor.code(moved), moved).json()
        assert visitor.alive(said["access_token"])
        assert visitor.http.delete(where, headers=headers).status_code == 204
        assert (visitor.alive(said["access_token"]), coder.clients) == (False, {})
        assert refused(visitor.http.get(where, headers=headers)) == (401, "invalid_token")


@both
def test_all_of_an_application_is_revoked(generation: int) -> None:
    """With a session token, and an access token is one too."""
    with Coder(generation) as coder:
        visitor, other = Visitor(coder), Visitor(coder)
        said, kept = visitor.sign_in(), other.sign_in()
        url = f"/oauth2/tokens?client_id={visitor.client['client_id']}"
        assert visitor.http.delete(url).status_code == 401
        assert visitor.http.delete(url, headers={"Coder-Session-Token": said["access_token"]}).status_code == 204
        assert (visitor.alive(said["access_token"]), visitor.alive(kept["access_token"])) == (False, True)


@both
def test_too_many_requests(generation: int) -> None:
    """After so many token requests all are refused, with the time to wait."""
    with Coder(generation) as coder:
        visitor = Visitor(coder)
        coder.limit = 1
        said = visitor.sign_in()
        answer = visitor.refresh(said["refresh_token"])
        assert (refused(answer), answer.headers["retry-after"]) == ((429, "temporarily_unavailable"), "60")
        coder.limit = None
        assert visitor.refresh(said["refresh_token"]).status_code == 200


@both
def test_an_owner_creates_an_application(generation: int) -> None:
    """And nobody else; what was made can sign in."""
    with Coder(generation) as coder:
        visitor = Visitor(coder)
        visitor.http.headers["Coder-Session-Token"] = coder.session_token
        apps, wanted = "/api/v2/oauth2-provider/apps", {"name": "a", "callback_url": REDIRECT}
        made = visitor.http.post(apps, json=wanted).json()["id"]
        secret = visitor.http.post(f"{apps}/{made}/secrets").json()
        visitor.client = {"client_id": made, "client_secret": secret["client_secret_full"]}
        assert "access_token" in visitor.sign_in()
        assert visitor.http.post(apps, json={"name": "a"}).json()["validations"][0]["field"] == "callback_url"
        assert visitor.http.delete(f"{apps}/{made}/secrets/{secret['id']}").status_code == 204
        assert refused(visitor.exchange(visitor.code())) == (401, "invalid_client")
        coder.owner = False
        assert visitor.http.post(apps, json=wanted).status_code == 403
        visitor.http.headers["Coder-Session-Token"] = "wrong"
        assert visitor.http.post(apps, json=wanted).status_code == 401


@both
def test_without_a_provider_or_registration(generation: int) -> None:
    """Nothing of OAuth is there, and everything else is; with registration off its endpoint is not named."""
    with Coder(generation, provider=False, base="/sub") as coder, httpx.Client(trust_env=False) as client:
        for path in ("/.well-known/oauth-authorization-server", "/oauth2/authorize", "/api/v2/oauth2-provider/apps"):
            answer = client.get(coder.url + path)
            assert (answer.status_code, answer.json()) == (404, {"message": "Route not found."})
        assert client.get(f"{coder.url}/.well-known/openid-configuration").headers["content-type"].startswith("text/")
        assert client.get(f"{coder.url}/api/v2/users/me").status_code == 401
        assert client.get(f"http://{coder.host}/oauth2/authorize").status_code == 404
    with Coder(generation, registration=False) as coder, httpx.Client(trust_env=False) as client:
        found = client.get(f"{coder.url}/.well-known/oauth-authorization-server").json()
        assert "registration_endpoint" not in found
        assert client.post(f"{coder.url}/oauth2/register", json={}).headers["content-type"].startswith("text/html")


# What only that of 2026 does.


def test_metadata_of_2026(new: Coder) -> None:
    """It names revocation, registration, and every way to authenticate."""
    found = httpx.get(f"{new.url}/.well-known/oauth-authorization-server", trust_env=False).json()
    assert found["revocation_endpoint"] == f"{new.url}/oauth2/revoke"
    assert found["registration_endpoint"] == f"{new.url}/oauth2/register"
    assert found["token_endpoint_auth_methods_supported"] == ["client_secret_basic", "client_secret_post", "none"]


def test_public_clients_of_2026(new: Coder) -> None:
    """No secret is made for them, and none wanted; others have one, in body or header."""
    public = Visitor(new, token_endpoint_auth_method="none")
    assert (public.client.get("client_secret", "none"), new.clients[public.client["client_id"]].public) == (
        "none",
        True,
    )
    said = public.sign_in()
    assert public.refresh(said["refresh_token"]).status_code == 200
    confidential = Visitor(new)
    client_id, secret = confidential.client["client_id"], confidential.client.pop("client_secret")
    answer = confidential.exchange(confidential.code())
    assert (refused(answer), answer.headers["www-authenticate"]) == ((401, "invalid_client"), 'Basic realm="coder"')
    confidential.http.auth = (client_id, secret)
    assert "access_token" in confidential.sign_in()


@pytest.mark.parametrize("method", ["none", "client_secret_basic"])
def test_redirects_of_2026(new: Coder, method: str) -> None:
    """The port of a loopback address is free, for both kinds of client; nothing else is."""
    visitor = Visitor(new, token_endpoint_auth_method=method)
    other = "http://127.0.0.1:50001/"
    assert visitor.exchange(visitor.code(other), other).status_code == 200
    assert refused(visitor.exchange(visitor.code(other), REDIRECT)) == (400, "invalid_grant")
    for elsewhere in ("http://127.0.0.1:45455/below", "http://localhost:45455/", "https://127.0.0.1:45455/"):
        assert refused(visitor.authorize(visitor.asks(elsewhere))) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "openid"}, "invalid_scope"),
        ({"resource": "relative"}, "invalid_request"),
    ],
)
def test_errors_of_2026_are_sent_back(new: Coder, changed: dict[str, str], error: str) -> None:
    """With the state, once the redirect is known to be good."""
    visitor = Visitor(new)
    back = sent_to(visitor.authorize(visitor.asks(**changed)))
    assert (back["error"], back["state"], '"' in back["error_description"]) == (error, "s", False)


def test_parameters_of_2026(new: Coder) -> None:
    """Unknown ones are passed over; a known one that comes twice is an error."""
    visitor = Visitor(new)
    assert "code" in sent_to(visitor.authorize(visitor.asks(login_hint="alice")))
    back = sent_to(visitor.authorize(urlencode([*visitor.asks().items(), ("state", "t")])))
    assert back["error"] == "invalid_request"


def test_a_code_of_2026_is_good_for_one_try(new: Coder) -> None:
    """That of 2025 survives a wrong verifier, as was recorded."""
    visitor = Visitor(new)
    code = visitor.code()
    assert refused(visitor.exchange(code, code_verifier="w" * 64)) == (400, "invalid_grant")
    assert refused(visitor.exchange(code)) == (400, "invalid_grant")
    assert refused(visitor.exchange(visitor.code(), code_verifier="short")) == (400, "invalid_request")


def test_a_refused_refresh_of_2026_leaves_the_token(new: Coder) -> None:
    """A wrong secret is no reason to end a sign-in; in 2025 nobody looks at it then."""
    visitor = Visitor(new)
    token = visitor.sign_in()["refresh_token"]
    assert refused(visitor.refresh(token, client_secret="wrong")) == (401, "invalid_client")
    assert visitor.refresh(token).status_code == 200


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_revocation_of_2026(new: Coder, kind: str) -> None:
    """Either token ends both; strangers' tokens and unknown ones are a success that ends nothing."""
    visitor, other = Visitor(new), Visitor(new)
    said, theirs = visitor.sign_in(), other.sign_in()

    def revoke(token: str, **more: str) -> httpx.Response:
        return visitor.http.post("/oauth2/revoke", data={"token": token} | visitor.proof | more)

    assert refused(revoke(said[kind], client_secret="wrong")) == (401, "invalid_client")
    assert refused(revoke("no token")) == (400, "invalid_request")
    assert [revoke(token).status_code for token in (theirs[kind], "a" * 10 + "-" + "b" * 22)] == [200, 200]
    assert (visitor.alive(theirs["access_token"]), visitor.alive(said["access_token"])) == (True, True)
    answer = revoke(said[kind])
    assert (answer.status_code, answer.text, visitor.alive(said["access_token"])) == (200, "", False)
    assert refused(visitor.refresh(said["refresh_token"])) == (400, "invalid_grant")


# What only that of 2025 does, beyond what was recorded.


def test_redirects_of_2025(old: Coder) -> None:
    """Below the registered path all is good, whoever asks for it."""
    visitor = Visitor(old)
    below = f"{REDIRECT}below"
    assert visitor.exchange(visitor.code(below), below).status_code == 200
    page = visitor.http.get(
        f"/oauth2/authorize?{urlencode(visitor.asks('http://127.0.0.1:50001/'))}",
        headers={"Cookie": f"coder_session_token={old.session_token}"},
    )
    assert (page.status_code, page.headers["content-type"]) == (400, "text/html; charset=utf-8")


def test_parameters_of_2025(old: Coder) -> None:
    """PKCE may be left out; at the token endpoint too nothing unknown is taken."""
    visitor = Visitor(old)
    code = visitor.code(code_challenge="")
    assert refused(visitor.exchange(code, scope="coder:all")) == (400, "invalid_request")
    assert visitor.exchange(code, code_verifier="").status_code == 200
    del visitor.client["client_secret"]
    assert refused(visitor.exchange(visitor.code())) == (400, "invalid_request")


# External auth.


@pytest.fixture(name="agent")
def _agent(new: Coder) -> httpx.Client:
    new.add("gitea", match=r"^https://git\.example\.org")
    return connect(new.url, {"Coder-Session-Token": new.agent_token})


AGENT = "/api/v2/workspaceagents/me/external-auth"


@pytest.mark.parametrize(
    ("kind", "username", "password"),
    [("gitea", "T", ""), ("github", "T", ""), ("gitlab", "oauth2", "T"), ("bitbucket-cloud", "x-token-auth", "T")],
)
def test_what_a_workspace_is_given(new: Coder, agent: httpx.Client, kind: str, username: str, password: str) -> None:
    """In the shape of each forge; the last provider that matches counts."""
    new.add("later", type=kind, match="example")
    new.link("later", "T")
    found = agent.get(AGENT, params={"match": "https://git.example.org/a/b.git"}).json()
    assert (found["type"], found["username"], found["password"], found["url"]) == (kind, username, password, "")
    assert agent.get(AGENT, params={"id": "nope"}).status_code == 404


@pytest.mark.parametrize("how", ["unlink", "spoil", "expire"])
def test_a_link_that_ends(new: Coder, agent: httpx.Client, how: str) -> None:
    """Whatever ended it, there is the page again."""
    new.link("gitea", "T", expires=0 if how == "expire" else None, refreshable=False)
    if how != "expire":
        getattr(new, how)("gitea")
    found = agent.get(AGENT, params={"id": "gitea"}).json()
    assert (found["access_token"], found["url"]) == ("", f"{new.url}/external-auth/gitea")


def test_listening(new: Coder, agent: httpx.Client) -> None:
    """The request is open until somebody links, or something on the way cuts it."""
    new.cut_after = 0.05
    with pytest.raises(httpx.RemoteProtocolError):
        agent.get(AGENT, params={"id": "gitea", "listen": ""})
    assert [entry.status for entry in new.log] == [0]
    new.cut_after = None
    answers: list[httpx.Response] = []
    listener = threading.Thread(target=lambda: answers.append(agent.get(f"{AGENT}?id=gitea&listen", timeout=30)))
    listener.start()
    while len(new.log) < 2:
        listener.join(0.01)
    assert (answers, new.log[-1].status) == ([], 0)
    new.link("gitea", "T")
    listener.join()
    assert answers[0].json()["username"] == "T"


def test_who_is_no_agent(new: Coder, agent: httpx.Client) -> None:
    """A session token is told that it is none; Bearer does as well as Coder's own header."""
    headers = {"Coder-Session-Token": new.session_token}
    found = agent.get(AGENT, params={"id": "gitea"}, headers=headers)
    assert (found.status_code, found.json()["detail"]) == (401, "An agent token must be a valid UUIDv4. (len 33)")
    bearer = {"Authorization": f"Bearer {new.agent_token}", "Coder-Session-Token": ""}
    assert agent.get(AGENT, params={"id": "gitea"}, headers=bearer).status_code == 200


@pytest.fixture(name="alice")
def _alice(new: Coder) -> httpx.Client:
    new.add("gh", type="github", match="github", device=True, supports_revocation=True, app_installable=True)
    return connect(f"{new.url}/api/v2/external-auth", {"Coder-Session-Token": new.session_token})


def test_external_auth_of_2026(new: Coder, alice: httpx.Client) -> None:
    """It says more about a provider, and what became of the token."""
    [provider] = alice.get(f"{new.url}/api/v2/external-auth").json()["providers"]
    assert (provider["supports_revocation"], provider["code_challenge_methods_supported"]) == (True, ["S256"])
    assert alice.get("/gh").json()["app_installable"] is True
    assert alice.delete("/gh").status_code == 404
    new.link("gh", "T")
    assert alice.get("/gh").json()["user"]["login"] == "alice"
    assert alice.delete("/gh").json() == {"token_revoked": True}
    new.link("gh", "T")
    new.revocation = (False, "the forge says no")
    assert alice.delete("/gh").json() == {"token_revoked": False, "token_revocation_error": "the forge says no"}
    new.add("gitea", match="gitea")
    new.link("gitea", "T")
    assert alice.delete("/gitea").json() == {"token_revoked": False}


def test_device_flow(new: Coder, alice: httpx.Client) -> None:
    """One answer after the other; the last links."""
    new.device, new.interval = ["authorization_pending", "slow_down", ""], 2
    started = alice.get("/gh/device").json()
    assert started["interval"] == 2
    code = {"device_code": started["device_code"]}
    details = [alice.post("/gh/device", json=code).json() for _ in range(2)]
    assert details == [
        {"message": "Failed to exchange device code.", "detail": detail}
        for detail in ("authorization_pending", "slow_down")
    ]
    assert alice.post("/gh/device", json={"device_code": "x"}).json()["detail"] == "incorrect_device_code"
    assert (alice.post("/gh/device", json=code).status_code, alice.get("/gh").json()["authenticated"]) == (204, True)


def test_the_log_and_other_answers(new: Coder, alice: httpx.Client) -> None:
    """Every request is written down; a test may put an answer in the place of any."""
    new.instead["GET /api/v2/external-auth/gh"] = new.signed_out("")
    assert alice.get("/gh").status_code == 401
    [entry] = new.requests("/api/v2/external-auth/gh")
    assert (entry.method, entry.headers["coder-session-token"], entry.status) == ("GET", new.session_token, 401)
    assert {"session_token", "agent_token", "device_token"} <= set(new.secrets())
