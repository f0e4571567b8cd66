"""What a server says of itself, read as hostile."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from git_credential_forge import origin as origins
from git_credential_forge.errors import RefusedError, UnreachableError
from git_credential_forge.forges import FORGEJO
from git_credential_forge.oauth import metadata
from git_credential_forge.origin import Origin
from git_credential_forge.recognise import Metadata, kind_by_metadata
from tests.support.httpserver import Answer, HttpServer, Request
from tests.support.surroundings import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

relaxed = settings(deadline=None)
PLACE = Origin("https", "forge.example", 443)
OPENID = "/.well-known/openid-configuration"
RFC_8414 = "/.well-known/oauth-authorization-server"


def document(root: str = "https://forge.example", **more: object) -> dict[str, Any]:
    """Whole metadata; a field that is given as ... is left out."""
    fields = {
        "issuer": root,
        "authorization_endpoint": f"{root}/authorize",
        "token_endpoint": f"{root}/token",
        "code_challenge_methods_supported": ["plain", "S256"],
        **more,
    }
    return {key: value for key, value in fields.items() if value is not ...}


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in document().items() if name != key}


def check(fields: object, base: str = "") -> Metadata | None:
    return metadata.check(json.dumps(fields).encode(), PLACE, base)


@pytest.mark.parametrize(
    ("more", "base"),
    [
        ({}, ""),
        ({"issuer": "https://forge.example/"}, ""),
        ({"code_challenge_methods_supported": ...}, ""),
        ({"code_challenge_methods_supported": ["S256"]}, ""),
        ({"token_endpoint": "https://forge.example:443/elsewhere/token?x=y"}, ""),
        ({"token_endpoint": "HTTPS://FORGE.example/token"}, ""),
        ({"issuer": "https://forge.example/sub"}, "/sub"),
        ({"issuer": "https://forge.example/sub/"}, "/sub"),
        ({"unknown": {"deep": [1]}}, ""),
        ({"authorization_response_iss_parameter_supported": True}, ""),
        ({"authorization_response_iss_parameter_supported": "true"}, ""),
        ({"authorization_response_iss_parameter_supported": 1}, ""),
    ],
)
def test_good(more: dict[str, Any], base: str) -> None:
    """Its issuer is what was asked, a slash more or less, and its endpoints are there."""
    fields = document(**more)
    announces = fields.get("authorization_response_iss_parameter_supported") is True
    expected = Metadata(fields["issuer"], fields["authorization_endpoint"], fields["token_endpoint"], announces)
    assert check(fields, base) == expected


BAD_ADDRESSES = (
    ...,
    None,
    "",
    3,
    ["https://forge.example/x"],
    "/x",
    "https://evil.example/x",
    "http://forge.example/x",
    "https://forge.example:8443/x",
    "https://forge.example.evil.example/x",
    "https://user@forge.example/x",
    "https://forge.example@evil.example/x",
    "https://forge.example/x#y",
    "https://forge.example/x y",
    "https://forge.example\\@evil.example/",
    "javascript:alert(1)",
)


@pytest.mark.parametrize("key", ["issuer", "authorization_endpoint", "token_endpoint"])
@pytest.mark.parametrize("value", BAD_ADDRESSES)
def test_bad_address(key: str, value: object) -> None:
    """A server speaks for its own origin only: otherwise it could send a code or a token elsewhere."""
    assert check(document() | {key: value} if value is not ... else without(key)) is None


@pytest.mark.parametrize(
    ("more", "base"),
    [
        ({"issuer": "https://forge.example/sub"}, ""),
        ({}, "/sub"),
        ({"issuer": "https://forge.example/subway"}, "/sub"),
        ({"issuer": "https://forge.example/sub/more"}, "/sub"),
        ({"code_challenge_methods_supported": ["plain"]}, ""),
        ({"code_challenge_methods_supported": []}, ""),
        ({"code_challenge_methods_supported": "S256"}, ""),
        ({"code_challenge_methods_supported": None}, ""),
        ({"code_challenge_methods_supported": {"S256": 1}}, ""),
        ({"code_challenge_methods_supported": [["S256"]]}, ""),
    ],
)
def test_bad(more: dict[str, Any], base: str) -> None:
    """Another issuer than was asked (RFC 8414, section 3.3), or one that says it cannot do S256."""
    assert check(document(**more), base) is None


SHELL = ("/$(id)", "/a;id", "/a'b", "/a&b", "/..", "/a/../b", "/a//b", "/%2e%2e", "/a b", "/-/(a)")


@pytest.mark.parametrize("base", SHELL)
def test_bad_base(base: str) -> None:
    """The path of a forge stands in commands that are shown to be copied: what a shell could run is none."""
    assert check(document(f"{PLACE.url}{base}"), base) is None


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"3", b'"x"', b"\xff", b"[" * 100_000, b"1" * 5000, b"<html>"]
)
def test_no_document(body: bytes) -> None:
    """What is no JSON object is no metadata."""
    assert metadata.check(body, PLACE, "") is None


json_values = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(max_size=9) | st.sampled_from([*document().values()][:3]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@relaxed
@given(
    st.binary(max_size=80)
    | st.dictionaries(st.sampled_from([*document()]), json_values).map(lambda d: json.dumps(d).encode())
)
def test_never_raises(body: bytes) -> None:
    """Whatever comes; and what is good is on the origin that was asked."""
    found = metadata.check(body, PLACE, "")
    for url in (found.issuer, found.authorize_url, found.token_url) if found else ():
        parsed = origins.parse(url or "")
        assert parsed
        assert parsed.origin == PLACE


@pytest.mark.parametrize("server", ["gitea", "forgejo"])
def test_recorded(server: str) -> None:
    """What real servers say, the newer without and the older with a slash behind the issuer, at their own base only."""
    recorded = json.loads((ROOT / "tests" / "recorded" / f"{server}.json").read_text())
    answers = {case["name"]: case["response"] for case in recorded["cases"]}
    place = origins.parse(recorded["base"])
    assert place
    body = answers["discovery"]["body"].encode()
    found = metadata.check(body, place.origin, "")
    assert found
    assert (found.issuer or "").rstrip("/") == recorded["base"]
    assert found.token_url == f"{recorded['base']}/login/oauth/access_token"
    assert found.authorize_url == f"{recorded['base']}/login/oauth/authorize"
    assert kind_by_metadata(found) is FORGEJO
    assert metadata.check(body, place.origin, "/sub") is None
    assert metadata.check(body, place.origin._replace(port=3000), "") is None
    for name in ("no RFC 8414 metadata", "no RFC 9728 metadata"):
        assert answers[name]["status"] == 404


# Over the wire


class Server:
    """A web server on this machine that keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.says: dict[str, Answer] = {}
        self._server = HttpServer(self._answer)
        self.origin = Origin("http", "127.0.0.1", self._server.port)
        self.stop = self._server.stop

    def _answer(self, request: Request) -> Answer:
        self.asked.append(f"{request.method} {request.target}")
        assert not request.header("Authorization")
        assert not request.header("Cookie")
        return self.says.get(request.target, Answer(404, [], b""))

    def document(self, base: str = "", **more: Any) -> Answer:
        return Answer(200, [], json.dumps(document(self.origin.url + base, **more)).encode())


@pytest.fixture
def server(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME")
    running = Server()
    yield running
    running.stop()


PAGE = Answer(200, [("Content-Type", "text/html")], b"<html>any path is a page here</html>")


@pytest.mark.parametrize("base", ["", "/sub"])
@pytest.mark.parametrize(
    ("openid", "rfc_8414", "wanted", "asked", "found"),
    [
        ("document", None, False, 1, True),
        ("document", "document", True, 1, True),
        (None, "document", False, 1, False),
        (None, "document", True, 2, True),
        (PAGE, "document", False, 2, True),
        (PAGE, PAGE, False, 2, False),
        (PAGE, None, True, 2, False),
        (None, None, True, 2, False),
        (Answer(500, [], b"{}"), "document", False, 1, False),
        (Answer(403, [], b""), "document", False, 1, False),
        (Answer(302, [("Location", RFC_8414)], b""), "document", False, 1, False),
        (Answer(302, [("Location", RFC_8414)], b""), None, True, 2, False),
    ],
)  # fmt: skip
def test_discover(
    openid: Answer | str | None,
    rfc_8414: Answer | str | None,
    wanted: bool,
    asked: int,
    found: bool,
    *,
    base: str,
    server: Server,
) -> None:
    """OpenID's name for the document; RFC 8414's only where that was a page, as web applications have for any path,
    or where the person says that there is one. Nothing is followed."""
    paths = [base + OPENID, RFC_8414 + base]
    for path, says in zip(paths, (openid, rfc_8414), strict=True):
        if says:
            server.says[path] = server.document(base) if isinstance(says, str) else says
    assert (metadata.discover(server.origin, base, wanted=wanted) is not None) is found
    assert server.asked == [f"GET {path}" for path in paths[:asked]]


def test_discover_something_too_large(server: Server) -> None:
    """Metadata is a page of text; a quarter of a megabyte is none, and more is not read."""
    server.says[OPENID] = server.document(padding="x" * (1 << 18))
    with pytest.raises(UnreachableError, match="larger than 262144 bytes"):
        metadata.discover(server.origin, "", wanted=False)


# A protected resource that names its server (RFC 9728)

RESOURCE = "/.well-known/oauth-protected-resource"


def resource(server: Server, **changed: object) -> Answer:
    """A whole document; a field that is given as ... is left out."""
    fields = {"resource": f"{server.origin.url}/", "authorization_servers": [f"{server.origin.url}/idp"], **changed}
    return Answer(200, [], json.dumps({key: value for key, value in fields.items() if value is not ...}).encode())


def test_discover_resource(server: Server) -> None:
    """The server that it names, by RFC 8414's rule for a path; its tokens are asked for that resource (RFC 8707)."""
    server.says[RESOURCE] = resource(server)
    server.says[RFC_8414 + "/idp"] = server.document("/idp")
    found = metadata.discover_resource(server.origin, server.origin.url + RESOURCE)
    assert found
    assert (found.issuer, found.resource) == (f"{server.origin.url}/idp", f"{server.origin.url}/")
    assert server.asked == [f"GET {path}" for path in (RESOURCE, "/idp" + OPENID, RFC_8414 + "/idp")]


@pytest.mark.parametrize(
    "changed",
    [
        {"authorization_servers": ...},
        {"authorization_servers": []},
        {"authorization_servers": "https://forge.example"},
        {"authorization_servers": [3]},
        {"authorization_servers": ["https://user@forge.example/"]},
        {"resource": ...},
        {"resource": "https://forge.example/"},
        {"resource": 3},
    ],
)
def test_resource_of_no_use(changed: dict[str, Any], server: Server) -> None:
    """A document that names no server, or is about somebody else: as if it were not there."""
    server.says[RESOURCE] = resource(server, **changed)
    assert metadata.discover_resource(server.origin, server.origin.url + RESOURCE) is None
    assert server.asked == [f"GET {RESOURCE}"]


@pytest.mark.parametrize("path", SHELL)
def test_resource_at_a_bad_base(path: str, server: Server) -> None:
    """As of a server: it becomes the path of the forge."""
    server.says[RESOURCE] = resource(server, resource=server.origin.url + path)
    assert metadata.discover_resource(server.origin, server.origin.url + RESOURCE) is None
    assert server.asked == [f"GET {RESOURCE}"]


@pytest.mark.parametrize("url", ["https://evil.example/x", "http://127.0.0.1:1/x", "javascript:x", "/relative", ""])
def test_resource_elsewhere_is_not_fetched(url: str, server: Server) -> None:
    """A challenge cannot send us to another origin."""
    assert metadata.discover_resource(server.origin, url) is None
    assert server.asked == []


def test_resource_of_another_s_server(server: Server) -> None:
    """Never followed by itself: the person is told who that is, and how to say yes."""
    server.says[RESOURCE] = resource(server, authorization_servers=["https://idp.example/a"])
    with pytest.raises(RefusedError) as caught:
        metadata.discover_resource(server.origin, server.origin.url + RESOURCE)
    here = server.origin
    assert caught.value.message == f"not signed in to {here.netloc}: it leaves the sign-in to idp.example"
    assert caught.value.hints == (f"if you trust that: git credential-forge register {here.url}",)
    assert server.asked == [f"GET {RESOURCE}"]


ENDPOINTS = {
    "device_authorization_endpoint": "device_url",
    "revocation_endpoint": "revoke_url",
    "userinfo_endpoint": "userinfo_url",
    "registration_endpoint": "registration_url",
}


@pytest.mark.parametrize(("name", "field"), ENDPOINTS.items())
def test_what_can_be_done_without(name: str, field: str) -> None:
    """An endpoint beside the two: where it is not of that origin it is not there, and the rest still is."""
    good = check(document() | {name: "https://forge.example/e"})
    assert good
    assert getattr(good, field) == "https://forge.example/e"
    for value in BAD_ADDRESSES[1:]:
        found = check(document() | {name: value})
        assert found
        assert getattr(found, field) is None


@pytest.mark.parametrize(
    ("methods", "header"),
    [
        (..., False),
        (["client_secret_basic"], True),
        (["client_secret_basic", "client_secret_post"], False),
        (["none"], False),
        ("client_secret_basic", False),
    ],
)
def test_how_a_secret_is_sent(methods: object, header: bool) -> None:
    """In the body, unless the server takes it by HTTP Basic alone."""
    found = check(document(token_endpoint_auth_methods_supported=methods))
    assert found
    assert found.secret_in_header is header
