"""OAuth messages, built and taken apart without a wire."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from git_credential_forge.forges import FORGEJO
from git_credential_forge.oauth import wire
from git_credential_forge.oauth.wire import UNKNOWN_ISSUER, Attempt, Broken, Callback, Issuer, Refusal, Token
from git_credential_forge.origin import Origin
from git_credential_forge.recognise import Forge, build
from git_credential_forge.secret import Secret
from git_credential_forge.settings import Settings
from tests.support.surroundings import ROOT

relaxed = settings(deadline=None)
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
REDIRECT = "http://127.0.0.1:4711"
ISSUER = "https://forge.example"
KNOWN = Issuer(ISSUER, announced=False)
BROWSER = Attempt(Secret("state-b"), Secret("verifier-b"))
PASTE = Attempt(Secret("state-p"), Secret("verifier-p"))
ATTEMPTS = [BROWSER, PASTE]
# RFC 7636, appendix B
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def forge(**more: Any) -> Forge:
    return build(FORGEJO, Origin("https", "forge.example", 443), "", Settings(**more), certain=True)


# Built


@pytest.mark.parametrize(
    ("more", "address", "extra"),
    [
        ({}, "https://forge.example/login/oauth/authorize", {}),
        ({"scopes": "read:user write:repository"}, "https://forge.example/login/oauth/authorize",
         {"scope": ["read:user write:repository"]}),
        ({"authorize_url": "https://sso.example/a?tenant=t"}, "https://sso.example/a", {"tenant": ["t"]}),
        ({"client_id": "id&with=signs", "client_secret": Secret("hush")}, "https://forge.example/login/oauth/authorize",
         {"client_id": ["id&with=signs"]}),
    ],
)  # fmt: skip
def test_authorize_url(more: dict[str, Any], address: str, extra: dict[str, list[str]]) -> None:
    """Code, PKCE by S256 and never plain, our state and redirect; no scope where the forge has none."""
    url = wire.authorize_url(forge(**more), Attempt(Secret("st&te"), Secret(VERIFIER)), REDIRECT)
    parts = urlsplit(url)
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == address
    assert parse_qs(parts.query, keep_blank_values=True) == {
        "response_type": ["code"],
        "client_id": [FORGEJO.client_id],
        "redirect_uri": [REDIRECT],
        "state": ["st&te"],
        "code_challenge": [CHALLENGE],
        "code_challenge_method": ["S256"],
        **extra,
    }
    assert VERIFIER not in url
    assert "hush" not in url
    assert " " not in url
    assert "+" not in url, "not every server takes it for a space"


CALLBACK = Callback(Secret("v"), Secret("c"), None)


def test_forms() -> None:
    """Exactly what RFC 6749 and 7636 have; the client is put to it by `token`."""
    asking = forge()
    exchange = {"grant_type": "authorization_code", "code": "c", "redirect_uri": REDIRECT, "code_verifier": "v"}
    assert wire.exchange_form(asking, CALLBACK, REDIRECT) == exchange
    refresh = {"grant_type": "refresh_token", "refresh_token": "r"}
    assert wire.refresh_form(asking, Secret("r")) == refresh
    probe = {"grant_type": "authorization_code", "code": "probe", "redirect_uri": REDIRECT}
    assert wire.probe_form(REDIRECT) == probe


def test_attempts_are_fresh() -> None:
    """State and verifier: never one for the other, never twice."""
    one, two = Attempt.fresh(), Attempt.fresh()
    texts = {secret.reveal() for secret in (*one, *two)}
    assert len(texts) == 4
    assert all(43 <= len(text) <= 128 for text in texts)


# Callbacks


@pytest.mark.parametrize(
    ("query", "verifier", "code", "refusal"),
    [
        ("code=c&state=state-b", "verifier-b", "c", None),
        ("state=state-p&code=c", "verifier-p", "c", None),
        ("code=a%2Fb%3D&state=state%2Db&more=x&more=y", "verifier-b", "a/b=", None),
        (f"code=c&state=state-b&iss={ISSUER}", "verifier-b", "c", None),
        (f"code=c&state=state-b&iss={ISSUER}/", "verifier-b", "c", None),
        ("error=access_denied&error_description=the+request+is+denied&state=state-b", "verifier-b", None,
         Refusal("access_denied", "the request is denied")),
        ("error=server_error&state=state-b", "verifier-b", None, Refusal("server_error", "")),
        ("error=&state=state-b", "verifier-b", None, Refusal("", "")),
        ("code=c&state=state-b&iss=https://evil.example", "verifier-b", None,
         Refusal("mix-up", "the answer came from another server")),
        ("error=x&state=state-b&iss=", "verifier-b", None, Refusal("mix-up", "the answer came from another server")),
    ],
)  # fmt: skip
def test_callback(query: str, verifier: str, code: str | None, refusal: Refusal | None) -> None:
    """With a right state: a code or a refusal, and the verifier of that attempt; none by another server (RFC 9207)."""
    found = wire.parse_callback(query, ATTEMPTS, KNOWN)
    assert found
    assert found.verifier == Secret(verifier)
    assert (found.code.reveal() if found.code else None) == code
    assert found.refusal == refusal


@pytest.mark.parametrize(
    "query",
    [
        "",
        "code=c",
        "error=access_denied",
        "code=c&state=",
        "code=c&state=wrong",
        "code=c&state=STATE-B",
        "code=c&state=state-b%00",
        "code=c&state=state-b ",
        "code=c&state=state",
        "code=c&state=state-bb",
        "code=c&state=verifier-b",
        "error=access_denied&state=wrong",
        "code=c&state=state-b&state=state-b",
        "code=c&state=wrong&state=state-b",
        "code=c&code=d&state=state-b",
        "error=x&error=y&state=state-b",
        f"code=c&state=state-b&iss={ISSUER}&iss={ISSUER}",
        "error=x&error_description=a&error_description=b&state=state-b",
        "code=c&error=x&state=state-b",
        "state=state-b",
        "code=&state=state-b",
        "code=a%20b&state=state-b",
        "code=a%0Ab&state=state-b",
        "code=%C3%A9&state=state-b",
        "code=c&state=%FF",
        "code=%FF&state=state-b",
        "code=c&state=state-b&" + "&".join(f"x{number}=" for number in range(31)),
        "state-b",
        "code=c;state=state-b",
        "Code=c&State=state-b",
    ],
)
def test_callback_that_is_none(query: str) -> None:
    """Without exactly one right state, and exactly one code or error, nothing has happened."""
    assert wire.parse_callback(query, ATTEMPTS, KNOWN) is None


@pytest.mark.parametrize(
    ("query", "refusal"),
    [
        ("error=access_denied", Refusal("access_denied", "")),
        ("error=access_denied&x=y", Refusal("access_denied", "")),
        ("error=access_denied&error_description=no", None),
        ("error=invalid_scope", None),
        ("code=c", None),
        ("error=x&code=c", None),
        ("error=x&error=x", None),
        ("error_description=no", None),
        ("error=x&state=wrong", None),
        (f"error=x&iss={ISSUER}", None),
    ],
)
def test_callback_by_its_path(query: str, refusal: Refusal | None) -> None:
    """At a path that cannot be guessed, a bare refusal needs no state; everything else does."""
    found = wire.parse_callback(query, ATTEMPTS, KNOWN, by_path=True)
    assert (found.refusal if found else None) == refusal
    assert found is None or (found.code, found.verifier) == (None, ATTEMPTS[0].verifier)


def test_callback_before_anything_was_asked() -> None:
    """No attempt, no callback, not even with an empty state."""
    assert wire.parse_callback("code=c&state=", [], KNOWN) is None


@pytest.mark.parametrize(
    ("issuer", "iss", "good"),
    [
        (UNKNOWN_ISSUER, "", True),
        (UNKNOWN_ISSUER, "&iss=https://any.example", True),
        (KNOWN, "", True),
        (KNOWN, f"&iss={ISSUER}", True),
        (KNOWN, "&iss=https://any.example", False),
        (KNOWN, "&iss=", False),
        (Issuer(ISSUER, announced=True), "", False),
        (Issuer(ISSUER, announced=True), f"&iss={ISSUER}/", True),
        (Issuer(ISSUER + "/", announced=True), f"&iss={ISSUER}", True),
        (Issuer(ISSUER, announced=True), "&iss=https://any.example", False),
    ],
)
@pytest.mark.parametrize("answer", ["code=c", "error=access_denied"])
def test_issuer(answer: str, issuer: Issuer, iss: str, good: bool) -> None:
    """Compared where somebody told which it is, and missed where the server announced it (RFC 9207, section 2.4)."""
    found = wire.parse_callback(f"{answer}&state=state-b{iss}", ATTEMPTS, issuer)
    assert found
    assert (found.refusal != Refusal("mix-up", "the answer came from another server")) is good
    assert (found.code is not None) is (good and answer == "code=c")


keys = st.sampled_from(["code", "state", "error", "error_description", "iss", "x"])
hostile_queries = st.binary(max_size=60).map(lambda data: data.decode("latin-1")) | st.lists(
    st.tuples(keys, st.sampled_from(["state-b", "c", "", "%", "%f", "%FF", "\x00", "é", ISSUER])), max_size=6
).map(lambda pairs: "&".join(f"{key}={value}" for key, value in pairs))


@relaxed
@given(hostile_queries, st.sampled_from([KNOWN, UNKNOWN_ISSUER]))
def test_callback_never_raises(query: str, issuer: Issuer) -> None:
    """Whatever comes; and without our state in it nothing comes of it."""
    found = wire.parse_callback(query, ATTEMPTS, issuer)
    if "state-b" not in query and "state-p" not in query and "%" not in query:
        assert found is None
    if found:
        assert found.verifier in (BROWSER.verifier, PASTE.verifier)
        assert (found.code is None) != (found.refusal is None)


# Token responses


NO_LIFETIMES: list[Any] = [0, -1, "-1", 0.5, "soon", True, False, [], {}, float("nan"), "nan", float("-inf"), 10**400]


def body(**fields: Any) -> bytes:
    return json.dumps({"access_token": "at", "token_type": "bearer"} | fields).encode()


@pytest.mark.parametrize(
    ("content_type", "data", "access", "refresh", "lifetime"),
    [
        (JSON, body(), "at", None, None),
        (JSON + ";charset=utf-8", body(expires_in=3600, refresh_token="rt"), "at", "rt", 3600),
        ("text/plain", body(token_type="BEARER", expires_in="3600"), "at", None, 3600),
        ("", body(expires_in=3600.9), "at", None, 3600),
        (JSON, body(expires_in=None, refresh_token=None), "at", None, None),
        (JSON, body(expires_in="", refresh_token=""), "at", None, None),
        (JSON, body(expires_in=1e300), "at", None, 315_360_000),
        (JSON, body(error="", scope="x", extra=[{}]), "at", None, None),
        (JSON, body(access_token="x" * 65_536), "x" * 65_536, None, None),
        (FORM, b"access_token=a%2Ft&token_type=bearer&scope=", "a/t", None, None),
        ("Application/X-WWW-Form-Urlencoded; charset=utf-8", b"access_token=at&token_type=Bearer&expires_in=28800",
         "at", None, 28_800),
    ],
)  # fmt: skip
def test_token(content_type: str, data: bytes, access: str, refresh: str | None, lifetime: int | None) -> None:
    """JSON or the form that GitHub sends, whatever its name; what is absent is None; a life ends within ten years."""
    found = wire.parse_token(200, content_type, data)
    assert isinstance(found, Token)
    assert found.access_token == Secret(access)
    assert (found.refresh_token.reveal() if found.refresh_token else None) == refresh
    assert found.lifetime == lifetime


@pytest.mark.parametrize(
    ("fields", "granted", "asked", "lacks"),
    [
        ({}, None, "a b", ""),
        ({"scope": "b a c"}, "b a c", "a b", ""),
        ({"scope": "a,b"}, "a,b", "a b", ""),
        ({"scopes": "a"}, "a", "c a b", "b c"),
        ({"scopes": "a:write"}, "a:write", "a a:write", ""),
        ({"scopes": "a:read"}, "a:read", "a", "a"),
        ({"scope": ""}, None, "a", ""),
        ({"scope": ""}, None, "", ""),
        ({"scope": ["a"]}, None, "a", ""),
    ],
)
def test_scope(fields: dict[str, Any], granted: str | None, asked: str, lacks: str) -> None:
    """What was granted, by any of its names and separators; all that was asked, where nothing is said."""
    found = wire.parse_token(200, JSON, body(**fields))
    assert isinstance(found, Token)
    assert found.granted == granted
    assert found.lacks(asked) == lacks


@pytest.mark.parametrize(
    ("status", "content_type", "data", "location", "reason"),
    [
        (302, JSON, body(), "https://Evil.example:8443/x", "it redirects to evil.example:8443"),
        (301, JSON, body(), "/relative", "it redirects to another place"),
        (307, JSON, body(), "https://user:hush@evil.example/", "it redirects to another place"),
        (399, JSON, b'{"error":"invalid_grant"}', "", "it redirects to another place"),
        (200, "text/html; charset=utf-8", b"<html>hush</html>", "", "it answered with a web page (HTTP 200)"),
        (502, "text/html", b"<html>", "", "it answered with a web page (HTTP 502)"),
        (200, JSON, b"", "", "it answered with no OAuth answer (HTTP 200)"),
        (200, JSON, b"[]", "", "it answered with no OAuth answer (HTTP 200)"),
        (200, JSON, b'"hush"', "", "it answered with no OAuth answer (HTTP 200)"),
        (200, JSON, b'{"access_token":"hush"', "", "it answered with no OAuth answer (HTTP 200)"),
        (200, JSON, b"\xff\xfe", "", "it answered with no OAuth answer (HTTP 200)"),
        (200, JSON, b"[" * 100_000, "", "it answered with no OAuth answer (HTTP 200)"),
        (200, JSON, b"1" * 5000, "", "it answered with no OAuth answer (HTTP 200)"),
        (200, FORM, b"hush", "", "it answered with no OAuth answer (HTTP 200)"),
        (500, JSON, body(access_token="hush"), "", "it answered with HTTP 500 and no OAuth error"),
        (201, JSON, body(access_token="hush"), "", "it answered with HTTP 201 and no OAuth error"),
        (400, JSON, b'{"error":{"code":1}}', "", "it answered with HTTP 400 and no OAuth error"),
        (200, JSON, b'{"token_type":"bearer"}', "", "its access_token is missing or malformed"),
        *((200, JSON, body(access_token=value), "", "its access_token is missing or malformed")
          for value in ("", None, 3, ["hush"], "hu sh", "hush\n", "hush\0", "h\xfcsh", "x" * 65_537)),
        *((200, JSON, body(access_token="hush", refresh_token=value), "", "its refresh_token is malformed")
          for value in (3, ["hush"], "hu sh", "hush\r", "x" * 65_537, False)),
        *((200, JSON, body(access_token="hush", token_type=value), "", "its token_type is not bearer")
          for value in ("mac", "", None, ["bearer"], "bearer ")),
        *((200, JSON, body(access_token="hush", expires_in=value), "", "its expires_in is no lifetime")
          for value in NO_LIFETIMES),
    ],
)  # fmt: skip
def test_no_token(status: int, content_type: str, data: bytes, location: str, reason: str) -> None:
    """The reason in our words, with nothing of the answer that may be a secret."""
    found = wire.parse_token(status, content_type, data, location)
    assert found == Broken(reason)
    assert "hush" not in reason


@pytest.mark.parametrize("status", [200, 400, 401, 503])
@pytest.mark.parametrize(
    ("error", "grant", "client"),
    [
        *((error, True, False) for error in ("invalid_grant", "unauthorized_client", "bad_refresh_token")),
        *((error, False, True) for error in ("invalid_client", "incorrect_client_credentials")),
        *(
            (error, False, False)
            for error in ("invalid_request", "server_error", "slow_down", "Invalid_Grant", "x" * 999)
        ),
    ],
)
def test_refusal(status: int, error: str, grant: bool, client: bool) -> None:
    """Which one it is, by the body and not by the status (reference forges.md, 11.3), a token beside it or not."""
    found = wire.parse_token(status, JSON, body(error=error, error_description="why"))
    assert found == Refusal(error, "why")
    assert isinstance(found, Refusal)
    assert (found.dead_grant, found.dead_client) == (grant, client)
    assert str(found) == f"why ({error})"
    assert wire.parse_token(status, FORM, urlencode({"error": error}).encode()) == Refusal(error, "")


@pytest.mark.parametrize("description", [None, 3, [], {"a": "b"}])
def test_refusal_without_words(description: object) -> None:
    """A description that is no text is none."""
    found = wire.parse_token(400, JSON, body(error="x", error_description=description))
    assert found == Refusal("x", "")
    assert str(found) == "x"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
token_keys = st.sampled_from(
    ["access_token", "token_type", "refresh_token", "expires_in", "error", "error_description"]
)
hostile_bodies = st.binary(max_size=80) | st.dictionaries(
    token_keys, json_values | st.sampled_from(["bearer", "ok", 3600])
).map(lambda fields: json.dumps(fields).encode())


@relaxed
@given(
    st.integers(min_value=100, max_value=599),
    st.sampled_from([JSON, FORM, "", "text/html"]) | st.text(max_size=20),
    hostile_bodies,
    st.text(max_size=20),
)
@example(200, JSON, b'{"access_token":"a","token_type":"bearer","expires_in":Infinity}', "")
def test_token_never_raises(status: int, content_type: str, data: bytes, location: str) -> None:
    """Whatever a server sends; and a token is one that fits in a line and in a header."""
    found = wire.parse_token(status, content_type, data, location)
    if isinstance(found, Token):
        for secret in (found.access_token, found.refresh_token):
            assert secret is None or all("!" <= c <= "~" for c in secret.reveal())
            assert secret is None or 1 <= len(secret.reveal()) <= 65_536
        assert found.lifetime is None or 0 < found.lifetime <= 315_360_000


# Real servers


@pytest.mark.parametrize("server", ["gitea", "forgejo"])
def test_recorded(server: str) -> None:
    """What real servers answered to a good, a reused and a malformed refresh token, and to the probe."""
    cases = json.loads((ROOT / "tests" / "recorded" / f"{server}.json").read_text())["cases"]
    found = {
        case["name"]: wire.parse_token(answer["status"], answer["headers"]["content-type"], answer["body"].encode())
        for case in cases
        if case["request"]["path"] == "/login/oauth/access_token"
        for answer in [case["response"]]
    }
    good = found["refresh, good"]
    assert isinstance(good, Token)
    assert good.access_token.reveal().startswith("eyJ")
    assert good.refresh_token
    assert good.refresh_token != good.access_token
    assert good.lifetime == 3600
    again = found["refresh, the same token again"]
    assert (
        isinstance(again, Token)
        if server == "gitea"
        else again == Refusal("unauthorized_client", "token was already used")
    )
    assert found["refresh, malformed token"] == Refusal("unauthorized_client", "unable to parse refresh token")
    outcomes = {
        name: (refusal.dead_grant, refusal.dead_client)
        for name, refusal in found.items()
        if isinstance(refusal, Refusal)
    }
    assert outcomes["refresh, malformed token"] == (True, False)
    assert outcomes.get("refresh, the same token again", (True, False)) == (True, False)
    assert outcomes["probe, unknown client"] == (False, True)
    assert outcomes["probe, built-in client"][1] is False
    assert outcomes["grant type unknown"] == (False, False)
    assert outcomes["refresh with a deleted application"] == (False, True)
