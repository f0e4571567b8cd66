"""The agent's API, taken apart: what counts as an answer, whose token it is, and what a hostile server gets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from git_credential_forge.coder import agent
from git_credential_forge.coder.agent import Agent, Failed, Linked, NoProvider, Unlinked
from git_credential_forge.errors import ForgeError
from git_credential_forge.oauth.http import Response
from git_credential_forge.origin import parse
from git_credential_forge.secret import Secret
from tests.support.surroundings import ROOT

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "11111111-2222-3333-4444-555555555555"
DEPLOYMENT = parse("https://coder.example.org/sub")
assert DEPLOYMENT
AGENT = Agent(DEPLOYMENT, Secret(TOKEN), "CODER_AGENT_TOKEN")
PAGE = "https://coder.example.org/sub/external-auth/gitea"
BROKEN = Failed("the answer of coder.example.org/sub cannot be used")
RECORDED = {
    case["name"]: case["response"]
    for case in json.loads((ROOT / "tests/recorded/coder.json").read_text())["cases"]
    if case["name"].startswith("workspace: ")
}


def answer(status: int = 200, kind: str = "application/json", body: str = "", **fields: Any) -> Response:
    return Response(status, kind, "https://elsewhere.example/", (body or json.dumps(fields)).encode())


def plain(found: tuple[object, ...]) -> tuple[object, ...]:
    """With its secret as text, to be compared."""
    return tuple(field.reveal() if isinstance(field, Secret) else field for field in found)


def recorded(name: str) -> agent.Verdict:
    said = RECORDED[f"workspace: {name}"]
    who = AGENT._replace(deployment=parse("http://127.0.0.1:3303"))  # type: ignore[arg-type]
    return agent.judge(who, Response(said["status"], said["headers"]["content-type"], "", said["body"].encode()))


def test_what_a_real_coder_answers() -> None:
    """Each recorded answer is what it is."""
    linked = recorded("linked")
    assert isinstance(linked, Linked)
    assert linked.username == ""
    assert linked.token.reveal() == json.loads(RECORDED["workspace: linked"]["body"])["access_token"]
    assert recorded("not linked") == Unlinked("http://127.0.0.1:3303/external-auth/gitea", ours=True)
    nothing = recorded("no provider")
    assert isinstance(nothing, NoProvider)
    assert nothing.said.startswith("No matching external auth provider found in Coder for the url ")
    assert recorded("wrong agent token") == Failed(
        "127.0.0.1:3303 refuses the agent token of CODER_AGENT_TOKEN: Workspace agent not authorized: The agent cannot "
        "authenticate until the workspace provision job has been completed. If the job is no longer running, this "
        "agent is invalid",
        for_good=True,
    )
    assert recorded("neither") == Failed("127.0.0.1:3303 said: 'url' or 'id' must be provided!")


@pytest.mark.parametrize(
    ("username", "password", "expected"),
    [("t0ken", "", ""), ("oauth2", "t0ken", "oauth2"), ("x-token-auth", "t0ken", "x-token-auth"), ("", "", "")],
)
def test_a_pair_that_git_can_use(username: str, password: str, expected: str) -> None:
    """The token is the password; the name that Coder says only where the forge wants one, and never the token."""
    found = agent.judge(AGENT, answer(access_token="t0ken", username=username, password=password, type="t", url=""))
    assert plain(found) == ("t0ken", expected)


@pytest.mark.parametrize(
    "fields",
    [
        {"access_token": "a\nhost=evil.example"},
        {"access_token": "a\r"},
        {"access_token": "a b"},
        {"access_token": "\u212a"},
        {"access_token": "x" * 65_537},
        {"access_token": 7},
        {"access_token": ["t"]},
        {"access_token": "t", "password": "another", "username": "oauth2"},
        {"access_token": "t", "password": "t", "username": "a\nquit=1"},
        {"access_token": "t", "password": "t", "username": "x" * 256},
        {"access_token": "t", "password": "t"},
        {"access_token": "", "url": ""},
        {"access_token": "", "url": "javascript:alert(1)"},
        {"access_token": "", "url": "file:///etc/passwd"},
        {"access_token": "", "url": "https://coder.example.org/\x1b[2J"},
        {"access_token": "", "url": "https://alice:pw@coder.example.org/"},
        {"access_token": "", "url": "https://coder.example.org/" + "x" * 20_000},
        {"access_token": "", "url": 7},
        {},
    ],
)
def test_a_hostile_answer_is_none(fields: dict[str, Any]) -> None:
    """Tokens and names are visible characters and not too many, a page is an address that a browser opens."""
    assert agent.judge(AGENT, answer(**fields)) == BROKEN


@pytest.mark.parametrize("body", ["[]", "null", "7", '"OK"', "{", "[" * 100_000, "\0"])
def test_what_is_no_object(body: str) -> None:
    assert agent.judge(AGENT, answer(body=body)) == BROKEN


@pytest.mark.parametrize(
    ("page", "ours"),
    [
        (PAGE, True),
        ("https://coder.example.org:443/external-auth/x", True),
        ("https://evil.example/external-auth/x", False),
        ("http://coder.example.org/external-auth/x", False),
        ("https://coder.example.org.evil.example/", False),
    ],
)
def test_whose_page_it_is(page: str, ours: bool) -> None:
    """Only one of the deployment's own origin is opened."""
    assert agent.judge(AGENT, answer(access_token="", url=page)) == Unlinked(page, ours)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (answer(404, "text/html", "<html>"), "is no Coder now: it answered with a web page (HTTP 404)"),
        (answer(404, "text/plain", "no"), "answered with HTTP 404"),
        (answer(200, "text/html; charset=utf-8", "<html>"), "is no Coder now: it answered with a web page (HTTP 200)"),
        (answer(302, "text/plain", "x"), "is no Coder now: it redirects to elsewhere.example"),
        (answer(500, message="Failed.\x1b[2J", detail="no rows"), "said: Failed. [2J: no rows"),
        (answer(502, "text/plain", "Bad Gateway"), "answered with HTTP 502"),
        (answer(500, message=f"for {TOKEN}?"), "said: for …?"),
    ],
)
def test_what_stands_in_the_place_of_coder(given: Response, expected: str) -> None:
    """Whose words they are is said, and they are cleaned; the agent's token is not among them."""
    found = agent.judge(AGENT, given)
    assert isinstance(found, Failed)
    assert (found.reason, found.for_good) == (f"coder.example.org/sub {expected}", False)


def test_where_it_is_asked() -> None:
    """Below the deployment's own path; the address is one parameter, whatever stands in it."""
    match = "https://git.example.org/a%20b/c?listen=1&id=x#y+z"
    asked = urlsplit(AGENT.url(match))
    assert asked[:3] == ("https", "coder.example.org", "/sub/api/v2/workspaceagents/me/external-auth")
    assert parse_qsl(asked.query) == [("match", match)]
    assert asked.fragment == ""


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("CODER_AGENT_TOKEN", "CODER_AGENT_TOKEN_FILE", "CODER_AGENT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CODER_AGENT_URL", "https://coder.example.org/sub/")
    return monkeypatch


def test_the_agent_of_this_workspace(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The variable goes before the file, whose end of line is not the token's; a sub-path is kept."""
    environment.setenv("CODER_AGENT_TOKEN", TOKEN)
    assert plain(agent.find()) == plain(AGENT)
    (tmp_path / "token").write_text("  in-a-file\n")
    environment.setenv("CODER_AGENT_TOKEN_FILE", str(tmp_path / "token"))
    assert agent.find().token.reveal() == TOKEN
    environment.setenv("CODER_AGENT_TOKEN", "")
    found = agent.find()
    assert (found.token.reveal(), found.source) == ("in-a-file", f"CODER_AGENT_TOKEN_FILE, {tmp_path}/token")


@pytest.mark.parametrize("url", ["https://c.example", "http://127.0.0.1:7080", "http://localhost:1/", "http://[::1]:1"])
def test_where_the_agent_token_may_go(environment: pytest.MonkeyPatch, url: str) -> None:
    """Over https, or to this machine."""
    environment.setenv("CODER_AGENT_TOKEN", TOKEN)
    environment.setenv("CODER_AGENT_URL", url)
    assert agent.find().deployment == parse(url.rstrip("/"))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("CODER_AGENT_URL", "http://coder.example.org",
         "CODER_AGENT_URL is no https address, and the agent token could be read on the way"),
        ("CODER_AGENT_URL", "ftp://coder.example.org", "CODER_AGENT_URL is no http(s) address: ftp://coder.example.org"),
        ("CODER_AGENT_URL", "https://u:pw@c.example/\x1b", "CODER_AGENT_URL is no http(s) address: https://c.example/"),
        ("CODER_AGENT_URL", "https://c.example/?match=x",
         "CODER_AGENT_URL is no http(s) address: https://c.example/?match=x"),
        ("CODER_AGENT_TOKEN", "a b", "what is in CODER_AGENT_TOKEN is no agent token"),
        ("CODER_AGENT_TOKEN", "a\r\nX: y", "what is in CODER_AGENT_TOKEN is no agent token"),
        ("CODER_AGENT_TOKEN", "x" * 65_537, "what is in CODER_AGENT_TOKEN is no agent token"),
        ("CODER_AGENT_TOKEN_FILE", "/nowhere/\x1btoken",
         "CODER_AGENT_TOKEN_FILE, /nowhere/ token, cannot be read: No such file or directory"),
        ("CODER_AGENT_TOKEN_FILE", "/", "CODER_AGENT_TOKEN_FILE, /, cannot be read: Is a directory"),
        ("CODER_AGENT_TOKEN_FILE", "/dev/null", "what is in CODER_AGENT_TOKEN_FILE, /dev/null is no agent token"),
    ],
)  # fmt: skip
def test_surroundings_that_make_no_agent(
    environment: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    """Said in one clean line, without a token in it."""
    if name == "CODER_AGENT_URL":
        environment.setenv("CODER_AGENT_TOKEN", TOKEN)
    environment.setenv(name, value)
    with pytest.raises(ForgeError) as raised:
        agent.find()
    assert (raised.value.message, raised.value.hints) == (expected, ())
