"""External auth, taken apart: the recorded answers, and what a hostile server gets; and the pace of the device flow."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from git_credential_forge.coder import api, external_auth, link
from git_credential_forge.coder.deployment import Access, Deployment
from git_credential_forge.coder.external_auth import Installation, Link, Provider, UnknownIdError, Unlinked
from git_credential_forge.errors import ForgeError, RefusedError, UnreachableError
from git_credential_forge.oauth import device, http
from git_credential_forge.oauth.http import Response
from git_credential_forge.origin import Origin
from git_credential_forge.secret import Secret
from tests.support.surroundings import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

TOKEN = "0123456789-0123456789abcdefghijkl"
CODER = Deployment(Origin("https", "coder.example.org", 443), "/sub")
ACCESS = Access(CODER, Secret(TOKEN), "the session token in CODER_SESSION_TOKEN", "how to get another")
API = "https://coder.example.org/sub/api/v2/external-auth"
RECORDED = {
    case["name"].removeprefix("external auth: "): case["response"]
    for case in json.loads((ROOT / "tests/recorded/coder.json").read_text())["cases"]
}
GITEA = Provider("gitea", "Gitea", "gitea", False, None, True, False, None, None)


def answer(
    status: int = 200, kind: str = "application/json", location: str = "", body: str = "", **said: Any
) -> Response:
    return Response(status, kind, location, (body or json.dumps(said)).encode())


def recorded(name: str) -> Response:
    said = RECORDED[name]
    return Response(said["status"], said["headers"].get("content-type", ""), "", said["body"].encode())


class Wire:
    """In the place of the network: what was asked, and what comes back, one after the other."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str, object]] = []
        self.answers: list[Response | Exception] = []

    def speaks(self, method: str) -> Callable[..., Response]:
        def speak(url: str, fields: object = None, *, session: Secret, deadline: float = 0) -> Response:
            assert deadline in (0, external_auth.SLOW)
            self.asked.append((method, url, session.reveal(), fields))
            found = self.answers.pop(0)
            if isinstance(found, Exception):
                raise found
            return found

        return speak


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    network = Wire()
    for name, method in (("get", "GET"), ("post_json", "POST"), ("delete", "DELETE")):
        monkeypatch.setattr(http, name, network.speaks(method))
    return network


def said(error: ForgeError) -> list[str]:
    return [error.message, *error.hints]


# -- Coder's errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"message": "No."}, "No"),
        ({"message": "No.", "detail": "Not today."}, "No: Not today"),
        ({"message": "No", "validations": [{"field": "id", "detail": "too long"}]}, "No; id: too long"),
        (
            {"message": "No", "detail": "See", "validations": [{"field": "a", "detail": "b"}, {"field": "c"}, 7, {}]},
            "No: See; a: b; c",
        ),
        ({"message": "a\nb\x1b[2Jc\u202ed", "detail": "e\x00f"}, "a b [2Jc d: e f"),
        ({"message": f"you sent {TOKEN}", "detail": TOKEN}, "you sent …: …"),
        ({"message": "x" * 400}, "x" * 299 + "…"),
        ({"message": ""}, None),
        ({"message": 7, "detail": "x"}, None),
        ({"message": "No", "detail": 7, "validations": "x"}, "No"),
        ({"error": "invalid_token"}, None),
    ],
)
def test_errors_in_words(fields: dict[str, Any], expected: str | None) -> None:
    """Whole, cleaned, and without the token, should a server repeat it."""
    assert api.words(answer(400, **fields), Secret(TOKEN)) == expected


@pytest.mark.parametrize("body", ["[]", "null", '"OK"', "{", "\xff", "[" * 100_000])
def test_what_is_no_error_object(body: str) -> None:
    """Nothing is made of it."""
    assert api.words(answer(400, body=body)) is None
    assert api.detail(answer(400, body=body)) == ""


def test_many_validations_do_not_flood_the_screen() -> None:
    """Eight of them are enough."""
    found = api.words(answer(400, message="No", validations=[{"field": "f", "detail": "d"}] * 1000))
    assert found == "No" + "; f: d" * 8


@pytest.mark.parametrize(
    ("status", "kind", "location", "expected"),
    [
        (302, "", "https://login.example.org/?next=secret", "it redirects to login.example.org"),
        (307, "text/html", "/login", "it redirects to another place"),
        (302, "", "https://a@b\x1b/", "it redirects to another place"),
        (200, "text/html; charset=utf-8", "", "it answered with a web page (HTTP 200)"),
        (401, "Text/HTML", "", "it answered with a web page (HTTP 401)"),
        (404, "application/json", "", None),
        (204, "", "", None),
    ],
)
def test_what_answers_in_coders_place(status: int, kind: str, location: str, expected: str | None) -> None:
    """A redirect, by its host alone, or a page."""
    assert api.stranger(answer(status, kind, location)) == expected


# -- answers ----------------------------------------------------------------------------------------------


def test_recorded_lists(wire: Wire) -> None:
    """A provider, without a link and with one."""
    wire.answers = [recorded("list, not linked"), recorded("list, linked")]
    assert external_auth.providers(ACCESS) == [GITEA]
    assert external_auth.providers(ACCESS) == [GITEA._replace(linked=True, expires=1795362673)]
    assert wire.asked == [("GET", API, TOKEN, None)] * 2


def test_a_list_of_2026(wire: Wire) -> None:
    """Whether a token can be revoked is said; a link whose token is no good is none, and says why."""
    provider = {"id": "hub", "type": "github", "device": True, "display_name": "Hub", "allow_refresh": False}
    link_ = {"provider_id": "hub", "has_refresh_token": True, "expires": "0001-01-01T00:00:00Z", "authenticated": True}
    wire.answers = [answer(providers=[provider | {"supports_revocation": True}], links=[link_])]
    hub = Provider("hub", "Hub", "github", True, None, False, True, True, None)
    assert external_auth.providers(ACCESS) == [hub]
    broken = link_ | {
        "authenticated": False,
        "validate_error": "token failed\nto validate",
        "expires": "2030-01-01T00:00:00Z",
    }
    wire.answers = [answer(providers=[provider | {"allow_refresh": True}], links=[broken])]
    expected = hub._replace(linked=False, refreshable=True, revocable=None, problem="token failed to validate")
    assert external_auth.providers(ACCESS) == [expected]


@pytest.mark.parametrize(
    "fields",
    [
        {"providers": None, "links": None},
        {"providers": "x", "links": 7},
        {"providers": [7, None, {}, {"id": ""}, {"id": 7}, ["id"]], "links": [7, {}]},
        {},
    ],
)
def test_a_list_of_nonsense_is_empty(wire: Wire, fields: dict[str, Any]) -> None:
    """Only what has the right type is taken."""
    wire.answers = [answer(**fields)]
    assert external_auth.providers(ACCESS) == []


def test_a_hostile_list(wire: Wire) -> None:
    """What is shown is cleaned; a flag is a flag, a time is a time; a token in it is not looked at."""
    provider = {"id": "a\x1b[31mb", "type": "t\ny", "display_name": "\u202eevil", "device": "yes", "token": "hush"}
    found = {"provider_id": "a\x1b[31mb", "authenticated": "true", "expires": 12, "validate_error": "\x9b1A"}
    wire.answers = [answer(providers=[provider], links=[found])]
    assert external_auth.providers(ACCESS) == [Provider("a [31mb", "evil", "t y", False, None, None, None, None, "1A")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-22T15:51:13.881672Z", 1795362673),
        ("2026-11-22T15:51:13Z", 1795362673),
        ("2026-11-22T16:51:13.123456789+01:00", 1795362673),
        ("0001-01-01T00:00:00Z", None),
        ("9999-12-31T23:59:59-14:00", None),
        ("2026-13-22T15:51:13Z", None),
        ("2026-11-22", None),
        ("2026-11-22T15:51:13Z\n", None),
        (None, None),
    ],
)
def test_times(wire: Wire, text: str | None, expected: int | None) -> None:
    """As Go writes them; its zero time is no end."""
    found = {"provider_id": "x", "authenticated": True, "expires": text}
    wire.answers = [answer(providers=[{"id": "x"}], links=[found])]
    assert [each.expires for each in external_auth.providers(ACCESS)] == [expected]


def test_recorded_shows(wire: Wire) -> None:
    """One provider, linked or not, or none of that id."""
    wire.answers = [recorded("show, not linked"), recorded("show, linked"), recorded("show, unknown id")]
    gitea = Link("gitea", "Gitea", False, None, None, False, None, False, None, ())
    assert external_auth.show(ACCESS, "gitea") == gitea
    assert external_auth.show(ACCESS, "gitea") == gitea._replace(linked=True)
    with pytest.raises(UnknownIdError) as caught:
        external_auth.show(ACCESS, "nope")
    missing = "Resource not found or you do not have access to this resource"
    assert said(caught.value) == [
        f"coder.example.org/sub knows no external auth with the id nope: {missing}",
        "`git credential-forge coder list --url https://coder.example.org/sub` shows all",
    ]
    assert [url for _, url, _, _ in wire.asked] == [f"{API}/gitea", f"{API}/gitea", f"{API}/nope"]


def test_an_app(wire: Wire) -> None:
    """Who has it, and where it is installed; an address counts only if a browser may open it."""
    wire.answers = [
        answer(
            authenticated=True,
            display_name="Hub",
            device=True,
            user={"login": "al\nice", "name": "A", "token": "hush"},
            app_installable=True,
            app_install_url="https://github.com/apps/x/installations/new",
            installations=[
                {"account": {"login": "acme"}, "configure_url": "https://github.com/c"},
                {"account": None, "configure_url": "javascript:alert(1)"},
                7,
            ],
        )
    ]
    page = "https://github.com/apps/x/installations/new"
    has = (Installation("acme", "https://github.com/c"), Installation("", None))
    assert external_auth.show(ACCESS, "hub") == Link("hub", "Hub", True, "al ice", "A", True, None, True, page, has)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "file:///etc/passwd",
        "http://github.com/plain",
        "https://a:b@github.com/",
        "https://github.com/\x1b[2J",
        "https://github.com/" + "a" * 300,
        7,
        None,
    ],
)
def test_no_address_to_go_to(wire: Wire, url: object) -> None:
    """None that is no https address, or that could not be shown whole."""
    wire.answers = [answer(authenticated=True, app_installable=True, app_install_url=url)]
    assert external_auth.show(ACCESS, "hub").app_install_url is None


def test_an_app_page_on_this_machine(wire: Wire) -> None:
    """Plain http goes no further than loopback."""
    wire.answers = [answer(app_install_url="http://127.0.0.1:3000/apps")]
    assert external_auth.show(ACCESS, "hub").app_install_url == "http://127.0.0.1:3000/apps"


def test_recorded_deletes(wire: Wire) -> None:
    """What the server of 2025 says; what it does not say is not made up."""
    wire.answers = [recorded("delete, linked"), recorded("delete, no link")]
    assert external_auth.unlink(ACCESS, "gitea") == Unlinked(None, None)
    with pytest.raises(ForgeError) as caught:
        external_auth.unlink(ACCESS, "gitea")
    assert said(caught.value) == ["gitea is not linked at coder.example.org/sub, so there is nothing to unlink"]
    assert wire.asked == [("DELETE", f"{API}/gitea", TOKEN, None)] * 2


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (answer(token_revoked=True), Unlinked(True, None)),
        (answer(token_revoked=False), Unlinked(False, None)),
        (answer(token_revoked=False, token_revocation_error="forge said\x1b no"), Unlinked(False, "forge said  no")),
        (answer(token_revoked="yes", token_revocation_error=7), Unlinked(None, None)),
        (answer(), Unlinked(None, None)),
        (Response(204, "", "", b""), Unlinked(None, None)),
    ],
)
def test_deletes_of_2026(wire: Wire, reply: Response, expected: Unlinked) -> None:
    """Revoked, not revoked, not revoked because of something; and what is neither."""
    wire.answers = [reply]
    assert external_auth.unlink(ACCESS, "gitea") == expected


def test_a_404_tells_no_link_from_no_provider(wire: Wire) -> None:
    """The server of 2026 says the same of both, so it is asked once more."""
    gone = recorded("show, unknown id")
    wire.answers = [gone, recorded("show, not linked")]
    with pytest.raises(
        ForgeError, match=r"^gitea is not linked at coder.example.org/sub, so there is nothing to unlink$"
    ):
        external_auth.unlink(ACCESS, "gitea")
    wire.answers = [gone, gone]
    with pytest.raises(UnknownIdError):
        external_auth.unlink(ACCESS, "gitea")


def test_another_500_is_no_missing_link(wire: Wire) -> None:
    """Only these words say that."""
    wire.answers = [answer(500, message="Failed to delete external auth link.", detail="pq: too many connections")]
    with pytest.raises(UnreachableError) as caught:
        external_auth.unlink(ACCESS, "gitea")
    assert said(caught.value) == [
        "coder.example.org/sub could not answer: Failed to delete external auth link: pq: too many connections"
    ]


def test_a_delete_whose_answer_is_lost(wire: Wire) -> None:
    """It may have been done."""
    wire.answers = [UnreachableError("x cannot be reached", sent=True), UnreachableError("x cannot be reached")]
    with pytest.raises(UnreachableError) as caught:
        external_auth.unlink(ACCESS, "gitea")
    assert said(caught.value) == [
        "x cannot be reached",
        "it may be unlinked all the same: `git credential-forge coder show gitea` tells",
    ]
    with pytest.raises(UnreachableError) as caught:
        external_auth.unlink(ACCESS, "gitea")
    assert said(caught.value) == ["x cannot be reached"]


def test_who_refuses_what(wire: Wire) -> None:
    """A 401 names the token by where it is from; a page or a redirect is not taken for Coder's word; what may pass is
    told from what does not."""
    signed_out = (
        "You are signed out or your session has expired. Please sign in again to continue: "
        "Invalid API key format: incorrect amount of API key parts, expected 2 got 1"
    )
    strange = "if the deployment is below a path, that belongs to its address; or another login stands in front of it"
    cases: list[tuple[Response, type[ForgeError], list[str]]] = [
        (
            recorded("list, wrong session token"),
            ForgeError,
            [
                f"coder.example.org/sub refuses the session token in CODER_SESSION_TOKEN: {signed_out}",
                "how to get another",
            ],
        ),
        (
            answer(302, "", "https://sso.example.org/?to=x"),
            ForgeError,
            ["coder.example.org/sub does not answer as Coder's API does: it redirects to sso.example.org", strange],
        ),
        (
            answer(200, "text/html"),
            ForgeError,
            [
                "coder.example.org/sub does not answer as Coder's API does: it answered with a web page (HTTP 200)",
                strange,
            ],
        ),
        (answer(403, message="Forbidden."), ForgeError, ["coder.example.org/sub refused: Forbidden"]),
        (answer(404, message="Route not found."), ForgeError, ["coder.example.org/sub refused: Route not found"]),
        (
            answer(404, body="not found"),
            ForgeError,
            ["coder.example.org/sub does not answer as Coder's API does: HTTP 404 without a reason", "is it a Coder?"],
        ),
        (answer(418, body="x"), ForgeError, ["coder.example.org/sub refused: HTTP 418, and no reason"]),
        (answer(429, message="Slow down."), UnreachableError, ["coder.example.org/sub could not answer: Slow down"]),
        (answer(502, body="x"), UnreachableError, ["coder.example.org/sub could not answer: HTTP 502, and no reason"]),
        (
            answer(200, body="[]"),
            ForgeError,
            ["coder.example.org/sub answered with something that this program does not understand"],
        ),
    ]
    for reply, kind, expected in cases:
        wire.answers = [reply]
        with pytest.raises(kind) as caught:
            external_auth.providers(ACCESS)
        assert said(caught.value) == expected
        assert (type(caught.value) is UnreachableError) == (kind is UnreachableError)


# -- the device flow --------------------------------------------------------------------------------------

CODE: dict[str, Any] = {
    "device_code": "the-device-code",
    "user_code": "WDJB-MJHT",
    "verification_uri": "https://github.com/login/device",
    "expires_in": 900,
    "interval": 5,
}


def no(detail: str) -> Response:
    return answer(400, message="Failed to exchange device code.", detail=detail)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it was waited before each poll, on a clock that goes only then."""
    clock, found = [1000.0], list[float]()

    def wait(until: float, _gone: object) -> None:
        found.append(until - clock[0])
        clock[0] = until

    monkeypatch.setattr(device, "wait", wait)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(os, "isatty", lambda _: True)
    return found


def test_without_a_device_flow(wire: Wire) -> None:
    """As the server of 2025 says it, of a code and of an exchange."""
    wire.answers = [recorded("device, not supported"), recorded("device exchange, not supported")]
    with pytest.raises(ForgeError) as caught:
        external_auth.device_code(ACCESS, "gitea")
    assert said(caught.value) == ["coder.example.org/sub refused: Git auth device flow not supported"]
    with pytest.raises(ForgeError) as caught:
        external_auth.exchange(ACCESS, "gitea", Secret("x"))
    assert said(caught.value) == ["coder.example.org/sub refused: Git auth provider does not support device flow"]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"verification_uri": "javascript:alert(1)"}, "its verification_uri is no address"),
        ({"user_code": "a\x1b[2J"}, "its device code is missing or malformed"),
        ({"device_code": ""}, "its device code is missing or malformed"),
        ({"error": f"no {ACCESS.token.reveal()}"}, "no …"),
    ],
)
def test_a_code_of_no_use(wire: Wire, changed: dict[str, Any], why: str) -> None:
    """What a person would be shown is checked first."""
    wire.answers = [answer(**(CODE | changed))]
    with pytest.raises(ForgeError) as caught:
        external_auth.device_code(ACCESS, "hub")
    assert said(caught.value) == [f"coder.example.org/sub gives no code that could be used for hub: {why}"]


def test_the_pace_of_the_device_flow(wire: Wire, waits: list[float], capfd: pytest.CaptureFixture[str]) -> None:
    """Pending is asked again, `slow_down` and a server that fails five seconds later, a code that has run out is
    renewed, and 204 is the end."""
    polls = [
        no("authorization_pending"),
        no("slow_down"),
        answer(502),
        no("authorization_pending"),
        no("expired_token"),
    ]
    done = Response(204, "", "", b"")
    wire.answers = [answer(**CODE), *polls, answer(**(CODE | {"user_code": "SECOND"})), done]
    link.by_code(ACCESS, "hub", 300)
    assert waits == [5, 5, 10, 15, 15, 5]
    where = "open https://github.com/login/device in any browser and enter"
    said = f"forge: {where} WDJB-MJHT\nforge: that code has run out; {where} SECOND\n"
    assert capfd.readouterr() == ("", said)
    asked = ("POST", f"{API}/hub/device", TOKEN, {"device_code": "the-device-code"})
    begun = ("GET", f"{API}/hub/device", TOKEN, None)
    assert wire.asked == [begun, *([asked] * 5), begun, asked]


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (no("access_denied"), "hub is not linked: you denied the request at the forge"),
        (no("incorrect_device_code"), "hub is not linked: coder.example.org/sub said: incorrect_device_code"),
        (
            no("the-device-code is bad"),
            "coder.example.org/sub refused: Failed to exchange device code: … is bad",
        ),
    ],
)
def test_a_device_flow_that_ends(wire: Wire, waits: list[float], last: Response, expected: str) -> None:
    """Denied, or refused for another reason, which does not repeat the code."""
    wire.answers = [answer(**CODE), no("authorization_pending"), last]
    with pytest.raises(ForgeError) as caught:
        link.by_code(ACCESS, "hub", 300)
    assert (said(caught.value), waits) == ([expected], [5, 5])


def test_nobody_enters_the_code(wire: Wire, waits: list[float]) -> None:
    """The deadline ends it, and codes that end at once do not fill the screen."""
    wire.answers = [answer(**CODE), no("authorization_pending")]
    with pytest.raises(RefusedError) as caught:
        link.by_code(ACCESS, "hub", 8)
    assert (said(caught.value), waits) == (["hub is not linked: nobody entered the code in time"], [5, 3])
    wire.answers = [answer(**CODE), no("expired_token")] * device.CODES
    with pytest.raises(RefusedError) as caught:
        link.by_code(ACCESS, "hub", 300)
    assert said(caught.value) == [f"hub is not linked: nobody entered one of {device.CODES} codes in time"]
