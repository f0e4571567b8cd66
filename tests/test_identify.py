"""Which forge an origin is: what is known decides, else one look at the network, at a real server on this machine."""

from __future__ import annotations

import json
import os
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from git_credential_forge import daemon, identify
from git_credential_forge.errand import Errand
from git_credential_forge.errors import RefusedError, UnreachableError
from git_credential_forge.forges import FORGEJO, OTHER
from git_credential_forge.origin import Origin
from git_credential_forge.protocol import Request
from git_credential_forge.secret import Secret
from git_credential_forge.session import Session
from git_credential_forge.settings import Settings
from git_credential_forge.surroundings import Surroundings
from git_credential_forge.vault import Vault
from tests.support.httpserver import Answer, HttpServer
from tests.support.httpserver import Request as Asked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GITEA = 'Basic realm="Gitea"'
ENDPOINTS = {"authorize_url": "https://sso.example/authorize", "token_url": "https://sso.example/token"}
WELL_KNOWN = "/.well-known/openid-configuration"
PUSH = "/a/b.git/info/refs?service=git-receive-pack"


class Host:
    """A web server that says of itself what it is told to say, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.says: dict[str, Answer] = {}
        self.server = HttpServer(self._answer)
        self.origin = Origin("http", "127.0.0.1", self.server.port)

    def _answer(self, request: Asked) -> Answer:
        self.asked.append(request.target)
        return self.says.get(request.target, Answer(404, [], b"not found"))

    def is_server(self, token: str = "login/oauth/access_token", base: str = "") -> None:
        root = self.origin.url + base
        endpoints = {"authorization_endpoint": f"{root}/login/oauth/authorize", "token_endpoint": f"{root}/{token}"}
        document = {"issuer": root, **endpoints}
        self.says[base + WELL_KNOWN] = Answer(
            200, [("Content-Type", "application/json")], json.dumps(document).encode()
        )


@pytest.fixture(autouse=True)
def _at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name)


@pytest.fixture
def host() -> Iterator[Host]:
    running = Host()
    yield running
    running.server.stop()


@pytest.fixture
def vault() -> Vault:
    return Vault(daemon.place(), 600)


def errand(origin: Origin, vault: Vault | None = None, **more: Any) -> Errand:
    told = {name: more.pop(name) for name in ("path", "wwwauth") if name in more}
    request = Request(protocol=origin.scheme, host=origin.netloc, **told)
    there = Surroundings(interactive=more.pop("interactive", True), browser=True, sudo=False)
    rest = {name: more.pop(name) for name in ("base", "anew") if name in more}
    return Errand(
        request=request,
        origin=origin,
        base=rest.pop("base", ""),
        vault=vault,
        gone=lambda: False,
        settings=Settings(**more),
        surroundings=there,
        **rest,
    )


def session(origin: Origin, **more: Any) -> Session:
    fields: dict[str, Any] = {
        "account": "alice",
        "access_token": Secret("a"),
        "expiry": 2_000_000_000,
        "margin": 60,
        "refresh_token": Secret("r"),
        "client_id": FORGEJO.client_id,
        "kind": "forgejo",
        "base": "",
        "issuer": None,
        "token_url": f"{origin.url}/login/oauth/access_token",
        "scopes": "",
        "signed_in_at": 0,
        "issued_at": 0,
    }
    return Session(**fields | more)


FAR = Origin("https", "forge.example", 443)  # a look at it would reach outside, which fails the test


@pytest.mark.parametrize(
    ("origin", "more", "kind"),
    [
        (Origin("https", "codeberg.org", 443), {}, FORGEJO),
        (FAR, {"wwwauth": (GITEA,)}, FORGEJO),
        (FAR, {"wwwauth": (GITEA,), "interactive": False}, FORGEJO),
        (FAR, ENDPOINTS, OTHER),
        (FAR, {**ENDPOINTS, "wwwauth": (GITEA,)}, OTHER),
        (Origin("http", "forge.example", 80), {"wwwauth": (GITEA,)}, FORGEJO),
    ],
)
def test_known_without_a_look(origin: Origin, more: dict[str, Any], kind: object) -> None:
    """Configuration, name and challenge are enough, and certain."""
    found = identify.forge(errand(origin, **more), None)
    assert found
    assert found.kind is kind
    assert found.certain
    assert found.origin == origin


def test_known_by_its_session() -> None:
    """Where git passes no challenge, after a refused token or before 2.41, memory knows."""
    found = identify.forge(errand(FAR), session(FAR))
    assert found
    assert found.kind is FORGEJO


@pytest.mark.parametrize(
    ("origin", "more"),
    [
        (FAR, {"wwwauth": ('Basic realm="Jenkins"',)}),
        (FAR, {"interactive": False}),
        (Origin("http", "forge.example", 80), {}),
        (Origin("http", "forge.example", 80), {"client_id": "mine"}),
    ],
    ids=["another's challenge", "not interactive", "plain http", "plain http with a client id"],
)
def test_nobody_is_asked(origin: Origin, more: dict[str, Any], vault: Vault) -> None:
    """Where git or the person has said that it is no forge of ours, or anybody on the way could answer."""
    assert identify.forge(errand(origin, vault, **more), None) is None
    assert os.listdir(vault.place.directory) == [], "and nothing was learnt"


@pytest.mark.parametrize("wwwauth", [(), (GITEA,)])
def test_found_by_a_look(wwwauth: tuple[str, ...], host: Host, vault: Vault) -> None:
    """One request, and not certain by it; with the challenge, none."""
    host.is_server()
    found = identify.forge(errand(host.origin, vault, wwwauth=wwwauth), None)
    assert found
    assert found.kind is FORGEJO
    assert found.certain is bool(wwwauth)
    assert found.token_url == f"{host.origin.url}/login/oauth/access_token"
    assert host.asked == ([] if wwwauth else [WELL_KNOWN])


def test_found_below_a_path(host: Host, vault: Vault) -> None:
    """A base that is known is where it is asked."""
    host.is_server(base="/sub")
    found = identify.forge(errand(host.origin, vault, base="/sub", path="sub/a.git"), None)
    assert found
    assert (found.base, found.scope) == ("/sub", "/sub")
    assert host.asked == ["/sub" + WELL_KNOWN]


@pytest.mark.parametrize("wwwauth", [(), (GITEA,)], ids=["git before 2.41", "challenged"])
@pytest.mark.parametrize(
    ("path", "base", "asked"),
    [
        ("alice/demo.git", "", ["/"]),
        ("forge/alice/demo.git", "/forge", ["/", "/forge"]),
        ("a/b/alice/demo.git", "/a/b", ["/", "/a", "/a/b"]),
        ("a/b/c/d/alice/demo.git", "/a/b/c/d", ["/", "/a", "/a/b", "/a/b/c", "/a/b/c/d"]),
        ("a/b/c/d/alice/demo.git", "/a", ["/", "/a"]),
    ],
)
def test_found_by_its_path(
    path: str, base: str, asked: list[str], wwwauth: tuple[str, ...], *, host: Host, vault: Vault
) -> None:
    """With useHttpPath, a forge below a path: looked for at the root, then at the path's beginnings, shortest first."""
    host.is_server(base=base)
    found = identify.forge(errand(host.origin, vault, path=path, wwwauth=wwwauth), None)
    assert found
    assert (found.kind, found.base, found.scope) == (FORGEJO, base, base)
    assert found.token_url == f"{host.origin.url}{base}/login/oauth/access_token"
    looked = [where.removesuffix(WELL_KNOWN) or "/" for where in host.asked]
    assert looked == ([] if wwwauth and not base else asked)


def test_what_cannot_be_remembered_leaves_nothing(host: Host, vault: Vault) -> None:
    """The look counts all the same."""
    host.is_server(base="/forge")
    at = vault.place.path(f"found-http-127.0.0.1:{host.origin.port}")
    os.mkdir(at)
    assert identify.forge(errand(host.origin, vault, path="forge/alice/demo.git"), None)
    assert [name for name in os.listdir(vault.place.directory) if name.startswith("found-")] == [os.path.basename(at)]


def test_gitlab_below_a_path(host: Host, vault: Vault) -> None:
    """A relative URL root, found by its metadata: all that the record has is below it."""
    root = f"{host.origin.url}/git/lab"
    fields = {
        "issuer": root,
        "authorization_endpoint": f"{root}/oauth/authorize",
        "token_endpoint": f"{root}/oauth/token",
    }
    document = {**fields, "scopes_supported": ["api", "read_repository", "write_repository"]}
    host.says["/git/lab" + WELL_KNOWN] = Answer(200, [], json.dumps(document).encode())
    found = identify.forge(errand(host.origin, vault, path="git/lab/group/demo.git"), None)
    assert found
    assert (found.kind.key, found.base, found.scopes) == ("gitlab", "/git/lab", "read_repository write_repository")
    assert (found.device_url, found.revoke_url) == (f"{root}/oauth/authorize_device", f"{root}/oauth/revoke")


def test_a_challenge_that_no_metadata_backs(host: Host, vault: Vault) -> None:
    """A forge that does not describe itself, with a path that leaves room: at the root, as its challenge is."""
    found = identify.forge(errand(host.origin, vault, path="scm/a/b.git", wwwauth=('Basic realm="GitHub"',)), None)
    assert found
    assert (found.kind.key, found.base) == ("github", "")
    assert host.asked == [WELL_KNOWN, "/scm" + WELL_KNOWN]


@pytest.mark.parametrize("more", [{"anew": True}, {"client_id": "mine"}], ids=["login", "a client id"])
def test_a_challenge_that_nobody_has_passed_on(more: dict[str, Any], host: Host, vault: Vault) -> None:
    """Who types `login` comes without one, and so does git before 2.41: where the person has said that it is a forge,
    it is asked for."""
    host.says[PUSH] = Answer(401, [("WWW-Authenticate", 'Basic realm="GitHub"')], b"")
    found = identify.forge(errand(host.origin, vault, **more), None)
    assert found
    assert (found.kind.key, found.certain) == ("github", True)
    assert host.asked[-1] == PUSH
    assert identify.forge(errand(host.origin, vault), None) is None, "else nothing but its metadata is asked"
    assert host.asked[-1] == WELL_KNOWN


def test_stranger(host: Host, vault: Vault) -> None:
    """A host that is no forge is asked once within the timeout, by whichever process; a typed login asks anew."""
    for _ in range(3):
        assert identify.forge(errand(host.origin, Vault(vault.place, 600)), None) is None
    assert host.asked == [WELL_KNOWN]
    host.is_server()
    assert identify.forge(errand(host.origin, vault), None) is None
    assert identify.forge(errand(host.origin, vault, anew=True), None) is not None
    assert len(host.asked) == 2


def test_stranger_with_a_path(host: Host, vault: Vault) -> None:
    """With useHttpPath each beginning of the path is asked, once; none where git passed somebody else's challenge."""
    for _ in range(2):
        assert identify.forge(errand(host.origin, vault, path="a/b/c/d.git"), None) is None
    assert host.asked == [WELL_KNOWN, "/a" + WELL_KNOWN, "/a/b" + WELL_KNOWN]
    challenged = errand(host.origin, None, path="a/b/c/d.git", wwwauth=('Basic realm="Jenkins"',))
    assert identify.forge(challenged, None) is None
    assert len(host.asked) == 3


def test_a_host_that_takes_its_time(host: Host, vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow at each beginning of the path, but within the time of a request: the look ends all the same, as one at a
    host that cannot be reached."""
    clock = [0.0]
    answer = host.server.answer

    def slowly(asked: Asked) -> Answer:
        clock[0] += 4.9
        return answer(asked)

    host.server.answer = slowly
    monkeypatch.setattr(identify, "time", SimpleNamespace(monotonic=lambda: clock[0], time=time.time))
    assert identify.forge(errand(host.origin, vault, path="a/b/c/d/e/f.git"), None) is None
    assert host.asked == [WELL_KNOWN, "/a" + WELL_KNOWN, "/a/b" + WELL_KNOWN]
    with pytest.raises(UnreachableError, match="takes too long to say what it is"):
        identify.forge(errand(host.origin, None, path="a/b/c/d/e/f.git", client_id="mine"), None)


@pytest.mark.parametrize(("left", "looks"), [(590, 0), (10, 0), (-10, 1), (610, 1)])
def test_stranger_is_asked_again(left: int, looks: int, host: Host, vault: Vault) -> None:
    """After the timeout, and where the clock was set back; then the time starts anew."""
    identify.forge(errand(host.origin, vault), None)
    noted = vault.place.path(f"no-forge-http-{host.origin.netloc}")
    os.utime(noted, (time.time() + left,) * 2)
    host.asked.clear()
    for _ in range(2):
        assert identify.forge(errand(host.origin, vault), None) is None
    assert len(host.asked) == looks


def test_stranger_with_a_client_id(host: Host, vault: Vault) -> None:
    """Once the person has set one, it is asked whatever was remembered, and what is missing is said."""
    identify.forge(errand(host.origin, vault), None)
    host.asked.clear()
    with pytest.raises(RefusedError) as caught:
        identify.forge(errand(host.origin, vault, client_id="mine"), None)
    assert host.asked == [WELL_KNOWN, "/.well-known/oauth-authorization-server", PUSH]
    assert caught.value.message.startswith(f"not signed in to {host.origin.netloc}: a client id is set for it")
    assert caught.value.hints == (f"set credential.{host.origin.url}.oauthAuthURL and …oauthTokenURL",)


def test_another_server(host: Host, vault: Vault) -> None:
    """One that speaks OAuth and is no forge of ours: signed in to only where the person set a client id."""
    host.is_server("oauth/token")
    assert identify.forge(errand(host.origin, vault), None) is None
    found = identify.forge(errand(host.origin, vault, client_id="mine", wwwauth=('Basic realm="x"',)), None)
    assert found
    assert (found.kind, found.client_id, found.certain) == (OTHER, "mine", True)
    assert found.issuer == host.origin.url
    assert found.token_url == f"{host.origin.url}/oauth/token"


def test_without_a_vault(host: Host) -> None:
    """Nothing can be remembered, so it is asked each time."""
    for _ in range(2):
        assert identify.forge(errand(host.origin), None) is None
    assert host.asked == [WELL_KNOWN] * 2


@pytest.mark.parametrize(("more", "raises"), [({}, False), ({"anew": True}, True), ({"client_id": "mine"}, True)])
def test_unreachable(more: dict[str, Any], raises: bool, host: Host, vault: Vault) -> None:
    """Nothing was learnt, so it is remembered for a moment only; who is asked for by name is told."""
    host.server.stop()
    noted = vault.place.path(f"no-forge-http-{host.origin.netloc}")
    if raises:
        with pytest.raises(UnreachableError, match=f"^{host.origin.netloc} cannot be reached"):
            identify.forge(errand(host.origin, vault, **more), None)
    else:
        assert identify.forge(errand(host.origin, vault, **more), None) is None
        assert 0 < os.stat(noted).st_mtime - time.time() <= 60
        assert identify.forge(errand(host.origin, vault), None) is None
    assert os.path.exists(noted) is not raises


@pytest.mark.parametrize(
    ("held", "settings", "good"),
    [
        ({}, {}, True),
        ({}, {"scopes": "more"}, True),
        ({}, {"authorize_url": "https://sso.example/authorize"}, True),
        ({}, {"client_id": "mine"}, False),
        ({"client_id": "mine"}, {"client_id": "mine"}, True),
        ({"client_id": "mine"}, {}, False),
        ({}, {"token_url": "https://sso.example/login/oauth/access_token"}, False),
        ({}, {"token_url": "login/oauth/access_token"}, True),
        ({"token_url": "https://sso.example/token", "kind": "other", "client_id": "mine"},
         {**ENDPOINTS, "client_id": "mine"}, True),
        ({"token_url": "https://sso.example/token", "kind": "other", "client_id": "mine"},
         {**ENDPOINTS, "token_url": "https://elsewhere.example/token", "client_id": "mine"}, False),
        ({"kind": "a kind of the future", "client_id": "mine"}, {"client_id": "mine"}, True),
    ],
)  # fmt: skip
def test_forge_of_a_session(held: dict[str, Any], settings: dict[str, Any], good: bool) -> None:
    """Its tokens go to the endpoint that is recorded in it; with another client or endpoint set, it is void."""
    kept = session(FAR, **held)
    found = identify.forge_of(kept, errand(FAR, **settings))
    assert (found is not None) is good
    if found:
        assert (found.token_url, found.client_id) == (kept.token_url, kept.client_id)


def test_forge_of_a_session_keeps_what_was_found() -> None:
    """What its metadata named, a refresh carries on: where to revoke, and what tokens are asked for."""
    named = {"revoke_url": "https://forge.example/r", "resource": "https://forge.example/", "issuer": FAR.url}
    kept = session(FAR, **named, kind="other", client_id="mine", token_url="https://forge.example/t")
    found = identify.forge_of(kept, errand(FAR, client_id="mine"))
    assert found
    assert {key: getattr(found, key) for key in named} == named
