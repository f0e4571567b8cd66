"""Which forge a host is, from values alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from git_credential_forge import forges, recognise
from git_credential_forge import origin as origins
from git_credential_forge.errors import ForgeError
from git_credential_forge.forges import FORGEJO, OTHER, Kind
from git_credential_forge.recognise import Forge, Metadata
from git_credential_forge.secret import Secret
from git_credential_forge.settings import Settings
from tests.support.surroundings import ROOT

if TYPE_CHECKING:
    from git_credential_forge.origin import Origin

URL = "https://git.example"
ENDPOINTS = {"authorize_url": "https://sso.example/authorize", "token_url": "https://sso.example/token"}


def place(url: str = URL) -> Origin:
    found = origins.parse(url)
    assert found
    return found.origin


def recorded(name: str) -> list[Any]:
    cases: list[Any] = json.loads((ROOT / "tests" / "recorded" / f"{name}.json").read_text())["cases"]
    return cases


def build(
    kind: Kind = FORGEJO, base: str = "", metadata: Metadata | None = None, path: str | None = None, **settings: Any
) -> Forge:
    return recognise.build(kind, place(), base, Settings(**settings), metadata, certain=True, path=path)


@pytest.mark.parametrize(
    ("url", "settings", "wwwauth", "remembered", "kind"),
    [
        (URL, {}, (), None, None),
        ("https://codeberg.org", {}, (), None, FORGEJO),
        ("https://gitea.com", {}, ('Basic realm="other"',), "other", FORGEJO),
        ("https://code.forgejo.org", {}, (), None, FORGEJO),
        ("http://codeberg.org", {}, (), None, FORGEJO),
        ("http://codeberg.org:8080", {}, (), None, None),
        ("https://codeberg.org:8443", {}, (), None, None),
        ("https://codeberg.org.", {}, (), None, None),
        ("https://x.codeberg.org", {}, (), None, None),
        ("https://codeberg.org.evil.example", {}, (), None, None),
        ("https://notcodeberg.org", {}, (), None, None),
        (URL, {}, ('Basic realm="Gitea"',), None, FORGEJO),
        (URL, {}, ('Basic realm="Gitea"',), "other", FORGEJO),
        (URL, {}, (), "forgejo", FORGEJO),
        (URL, {}, (), "other", OTHER),
        (URL, {}, (), "a kind of the future", None),
        (URL, {}, ('Basic realm="nobody"',), "forgejo", FORGEJO),
        (URL, ENDPOINTS, ('Basic realm="Gitea"',), "forgejo", OTHER),
        ("https://codeberg.org", ENDPOINTS, (), None, OTHER),
        (URL, {**ENDPOINTS, "token_url": "forge/login/oauth/access_token"}, (), None, FORGEJO),
        (URL, {**ENDPOINTS, "token_url": "evil-login/oauth/access_token"}, (), None, OTHER),
        (URL, {"token_url": "https://sso.example/token"}, (), None, None),
        (URL, {"authorize_url": "https://sso.example/authorize"}, (), None, None),
        (URL, {"client_id": "x"}, (), None, None),
    ],
)  # fmt: skip
def test_kind(
    url: str, settings: dict[str, Any], wwwauth: tuple[str, ...], remembered: str | None, kind: Kind | None
) -> None:
    """Configuration, exact name, challenge, memory, in this order; a look-alike is nobody."""
    assert recognise.kind_of(place(url), Settings(**settings), wwwauth, remembered) is kind


@pytest.mark.parametrize(
    ("wwwauth", "ours"),
    [
        ('Basic realm="Gitea"', True),
        ('basic REALM = "Gitea"', True),
        ("Basic realm=Gitea", True),
        ('Basic realm="Forgejo"', True),
        ('Negotiate, Basic realm="Gitea"', True),
        ('Bearer realm="x", Basic realm="Gitea", charset="UTF-8"', True),
        ('Basic realm="Gitea (Basic Auth)"', False),
        ('Basic realm="gitea"', False),
        ('Basic realm="Jenkins"', False),
        ('Basic charset="UTF-8", realm="Gitea"', True),
        ('Basic a="realm=x" b=c, realm="Gitea"', True),
        ('Basic a="b", Bearer realm="Gitea"', False),
        ('Basic xrealm="Gitea"', False),
        ('Bearer realm="Gitea"', False),
        ("Negotiate", False),
        ('Basic realm=""', False),
        ("", False),
    ],
)
def test_challenge(wwwauth: str, ours: bool) -> None:
    """The realm of a Basic challenge, exactly: with OAuth switched off Gitea calls itself otherwise."""
    assert (recognise.kind_of(place(), Settings(), (wwwauth,), None) is FORGEJO) is ours
    assert recognise.challenge_of_another((wwwauth,)) is not ours
    assert recognise.challenge_of_another(("Negotiate", wwwauth)) is not ours


@pytest.mark.parametrize(
    ("wwwauth", "key"),
    [
        ('Basic realm="GitHub"', "github"),
        ('Basic realm="GitHub" enterprise_hint="x" domain_hint="y"', "github"),
        ('Basic domain_hint="y", enterprise_hint="x" realm="GitHub"', "github"),
        ('Basic realm="GitLab"', "gitlab"),
        ('Basic realm="Atlassian Bitbucket"', "bitbucket-dc"),
        ('Basic realm="Bitbucket"', None),
        ('Basic realm="GitHub Enterprise"', None),
    ],
)
def test_challenge_of_each(wwwauth: str, key: str | None) -> None:
    """As each forge challenges on a host of somebody's own; GitHub's hints in whatever order."""
    found = recognise.kind_of(place(), Settings(), (wwwauth,), None)
    assert (found.key if found else None) == key
    assert recognise.challenge_of_another((wwwauth,)) is (key is None)


NAMED = [(host, kind) for kind in forges.KINDS for host in kind.hosts]


@pytest.mark.parametrize(("host", "kind"), NAMED, ids=[host for host, _ in NAMED])
def test_look_alikes(host: str, kind: Kind) -> None:
    """Each host that a record names, and nobody who looks like it: neither record nor address is theirs."""
    name = f"x{host}" if host.startswith(".") else host
    assert recognise.kind_of(place(f"https://{name}"), Settings(), (), None) is kind
    bare = host.lstrip(".")
    alike = [f"not{bare}", f"{name}.evil.example", f"{name}.", f"{name}:8443", f"evil-{bare}", f"xn--{bare}"]
    alike += [bare] if host.startswith(".") else [f"www.{bare}", f"x.{bare}"]
    for other in set(alike) - {known for known, _ in NAMED}:
        found = origins.of_request("https", other)
        assert found
        named = recognise.kind_of(found, Settings(), (), None)
        assert named is None, other
    for other in (
        f"{bare}@evil.example",
        f"evil.example\\@{bare}",
        bare.replace("o", "\u043e"),
        f"{bare}/x",
        f"{bare} ",
    ):
        assert origins.of_request("https", other) is None, other


GHES_ENDPOINTS = {"authorize_url": "/login/oauth/authorize", "token_url": "/login/oauth/access_token"}
GITLAB_ENDPOINTS = {"authorize_url": "/oauth/authorize", "token_url": "/oauth/token"}


@pytest.mark.parametrize(
    ("settings", "wwwauth", "key"),
    [
        ({**GHES_ENDPOINTS, "device_url": "/login/device/code"}, (), "github"),
        (GHES_ENDPOINTS, ('Basic realm="GitHub"',), "github"),
        (GHES_ENDPOINTS, (), "forgejo"),
        ({**GITLAB_ENDPOINTS, "scopes": "read_repository write_repository"}, (), "gitlab"),
        ({**GITLAB_ENDPOINTS, "scopes": "read_repository"}, (), "gitlab"),
        ({**GITLAB_ENDPOINTS, "scopes": "api"}, ('Basic realm="GitLab"',), "gitlab"),
        ({**GITLAB_ENDPOINTS, "scopes": "api"}, (), "other"),
        (GITLAB_ENDPOINTS, (), "other"),
        (GITLAB_ENDPOINTS, ('Basic realm="GitHub"',), "other"),
        ({"authorize_url": "/x", "token_url": "/rest/oauth2/latest/token"}, (), "bitbucket-dc"),
        ({"authorize_url": "/site/oauth2/authorize", "token_url": "/site/oauth2/access_token"}, (), "other"),
    ],
)  # fmt: skip
def test_kind_of_described_servers(settings: dict[str, Any], wwwauth: tuple[str, ...], key: str) -> None:
    """By the paths of their endpoints, with the challenge where those are common; and never a kind that has a part at a
    host of its own, such as ghe.com's or Bitbucket's API."""
    found = recognise.kind_of(place(), Settings(**settings), wwwauth, None)
    assert found
    assert found.key == key


@pytest.mark.parametrize("kind", [*forges.KINDS, OTHER], ids=lambda kind: kind.key)
@pytest.mark.parametrize("wwwauth", [(), *[(f'Basic realm="{r}"',) for kind in forges.KINDS for r in kind.realms]])
def test_a_heuristic_sends_no_token_elsewhere(kind: Kind, wwwauth: tuple[str, ...]) -> None:
    """Whatever endpoints and challenge a host has, all that gets a token is at that host."""
    token = kind.token if "://" not in kind.token else "x/token"
    device = kind.device if kind.device and "://" not in kind.device else "x/device"
    token, device = f"/{token or 'x'}", f"/{device}"
    settings = Settings(
        authorize_url="/x",
        token_url=token,
        device_url=device,
        scopes=f"{kind.scopes} account api openid",
        client_id="mine",
    )
    found = recognise.kind_of(place(), settings, wwwauth, kind.key)
    assert found
    forge = recognise.build(found, place(), "", settings, certain=True)
    for url in (forge.token_url, forge.device_url, forge.revoke_url, forge.whoami_url):
        parsed = origins.parse(url or URL)
        assert parsed
        assert parsed.origin == place()


@pytest.mark.parametrize("key", ["github.com", "bitbucket", "googlesource"])
def test_whole_addresses(key: str) -> None:
    """A host that has parts elsewhere: exactly these, whichever of its names is asked for."""
    kind = forges.BY_KEY[key]
    host = {"github.com": "gist.github.com", "googlesource": "go.googlesource.com"}.get(key, kind.hosts[0])
    forge = recognise.build(kind, place(f"https://{host}"), "", Settings(scopes="account"), certain=True)
    assert (forge.authorize_url, forge.token_url, forge.device_url, forge.whoami_url, forge.revoke_url) == {
        "github.com": (
            "https://github.com/login/oauth/authorize",
            "https://github.com/login/oauth/access_token",
            "https://github.com/login/device/code",
            "https://api.github.com/user",
            None,
        ),
        "bitbucket": (
            "https://bitbucket.org/site/oauth2/authorize",
            "https://bitbucket.org/site/oauth2/access_token",
            None,
            "https://api.bitbucket.org/2.0/user",
            None,
        ),
        "googlesource": (
            "https://accounts.google.com/o/oauth2/v2/auth",
            "https://oauth2.googleapis.com/token",
            None,
            None,
            "https://oauth2.googleapis.com/revoke",
        ),
    }[key]


def test_ghe_com() -> None:
    """A tenant of ghe.com has its API at a name made of its own."""
    forge = recognise.build(forges.GHE_COM, place("https://octo.ghe.com"), "", Settings(), certain=True)
    assert forge.whoami_url == "https://api.octo.ghe.com/user"
    assert forge.token_url == "https://octo.ghe.com/login/oauth/access_token"
    assert forge.device_url == "https://octo.ghe.com/login/device/code"


def test_no_challenge_is_nobodys() -> None:
    """git before 2.41 passes none: that says nothing about the host."""
    assert recognise.challenge_of_another(()) is False


@pytest.mark.parametrize("server", ["gitea", "forgejo"])
def test_recorded_challenges(server: str) -> None:
    """Real servers: an anonymous request is challenged as ours, a refused token is not challenged at all."""
    seen = set()
    for case in recorded(server):
        challenge = case["response"]["headers"].get("www-authenticate")
        wwwauth = (challenge,) if challenge else ()
        if case["name"].startswith("challenge, anonymous"):
            assert recognise.kind_of(place(), Settings(), wwwauth, None) is FORGEJO
            seen.add("challenge")
        if case["name"].startswith("refused token"):
            assert case["response"]["status"] == 401
            assert wwwauth == ()
            assert recognise.kind_of(place(), Settings(), wwwauth, "forgejo") is FORGEJO, "so memory has to know it"
            seen.add("refused")
        if "LFS" in case["name"] and challenge:
            assert recognise.kind_of(place(), Settings(), wwwauth, None) is None
            assert not recognise.challenge_of_another(wwwauth), "so it is asked what it is"
    assert seen == {"challenge", "refused"}


@pytest.mark.parametrize(
    ("token_url", "kind"),
    [
        ("https://git.example/login/oauth/access_token", FORGEJO),
        ("https://git.example/sub/login/oauth/access_token", FORGEJO),
        ("https://git.example/oauth/token", OTHER),
        ("https://git.example/xlogin/oauth/access_token", OTHER),
        ("https://git.example/login/oauth/access_token/", OTHER),
    ],
)
def test_kind_by_metadata(token_url: str, kind: Kind) -> None:
    """The path of the token endpoint says which kind it is, as a whole."""
    assert recognise.kind_by_metadata(Metadata(URL, f"{URL}/authorize", token_url)) is kind


@pytest.mark.parametrize("base", ["", "/sub", "/a/b"])
def test_build_from_the_record(base: str) -> None:
    """Everything below the forge's base, with the client that it ships."""
    forge = build(base=base)
    assert forge == Forge(
        kind=FORGEJO,
        origin=place(),
        base=base,
        scope=base,
        issuer=None,
        announces_iss=False,
        authorize_url=f"{URL}{base}/login/oauth/authorize",
        token_url=f"{URL}{base}/login/oauth/access_token",
        device_url=None,
        revoke_url=None,
        whoami_url=f"{URL}{base}/api/v1/user",
        client_id=FORGEJO.client_id,
        client_secret=None,
        secret_in_header=False,
        scopes="",
        resource=None,
        redirect="http://127.0.0.1",
        bearer=False,
        certain=True,
    )
    assert forge.built_in
    assert forge.name == "git.example" + base
    assert forge.url == URL + base
    assert forge.page("user/settings") == f"{URL}{base}/user/settings"


FOUND = Metadata(f"{URL}/sub/", f"{URL}/sub/login/oauth/authorize", f"{URL}/sub/login/oauth/access_token")


@pytest.mark.parametrize(
    ("metadata", "settings", "expected"),
    [
        (None, {"client_id": "mine"}, {"client_id": "mine"}),
        (None, {"client_secret": Secret("s")}, {"client_secret": Secret("s")}),
        (None, {"scopes": "a b"}, {"scopes": "a b"}),
        (None, {"redirect_url": "http://localhost:9/cb"}, {"redirect": "http://localhost:9/cb"}),
        (None, {"authorize_url": "x/y"}, {"authorize_url": f"{URL}/x/y"}),
        (None, {"authorize_url": "/x/y"}, {"authorize_url": f"{URL}/x/y"}),
        (None, {"token_url": "forge/login/oauth/access_token"},
         {"token_url": f"{URL}/forge/login/oauth/access_token", "whoami_url": f"{URL}/forge/api/v1/user"}),
        (None, {"token_url": "forge/login/oauth/access_token"}, {"base": "/forge", "scope": ""}),
        (None, {"token_url": "https://sso.example/login/oauth/access_token"},
         {"base": "", "whoami_url": "https://sso.example/api/v1/user"}),
        (None, {"token_url": "https://sso.example/token"}, {"base": "", "whoami_url": None}),
        (None, {"token_url": "https://git.example.evil/login/oauth/access_token"}, {"base": ""}),
        (FOUND, {}, {"issuer": f"{URL}/sub/", "base": "/sub", "whoami_url": f"{URL}/sub/api/v1/user",
                     "authorize_url": f"{URL}/sub/login/oauth/authorize"}),
        (FOUND, {"token_url": "https://sso.example/token"},
         {"token_url": "https://sso.example/token", "authorize_url": f"{URL}/sub/login/oauth/authorize"}),
    ],
)  # fmt: skip
def test_build(metadata: Metadata | None, settings: dict[str, Any], expected: dict[str, Any]) -> None:
    """The configuration goes before what was found, and that before what is known of the kind."""
    forge = build(metadata=metadata, **settings)
    assert {key: getattr(forge, key) for key in expected} == expected


@pytest.mark.parametrize(
    ("base", "path", "scope"),
    [
        ("", None, ""),
        ("", "a/b.git", ""),
        ("", "sub/a/b.git", "/sub"),
        ("", "subway/a.git", ""),
        ("/sub", None, "/sub"),
    ],
)
def test_scope(base: str, path: str | None, scope: str) -> None:
    """A sign-in below a path is kept for that path only where git says paths; else it is the host's."""
    forge = build(base=base, path=path, token_url="sub/login/oauth/access_token")
    assert (forge.base, forge.scope, forge.url) == ("/sub", scope, URL + scope)
    assert forge.page("user") == f"{URL}/sub/user"


def test_another_server_has_what_it_was_given() -> None:
    """No built-in id, no whoami, no guess."""
    forge = build(OTHER, metadata=Metadata(URL, f"{URL}/authorize", f"{URL}/token"), client_id="mine")
    assert (forge.client_id, forge.whoami_url, forge.built_in, forge.scopes) == ("mine", None, False, "")
    assert build(OTHER, metadata=Metadata(URL, f"{URL}/a", f"{URL}/t")).client_id is None
    assert not build(OTHER, metadata=Metadata(URL, f"{URL}/a", f"{URL}/t")).built_in
    assert not build(client_id="mine").built_in


@pytest.mark.parametrize(("key", "name"), [("authorize_url", "oauthAuthURL"), ("token_url", "oauthTokenURL")])
@pytest.mark.parametrize(
    ("url", "allow", "good"),
    [
        ("https://sso.example/x", False, True),
        ("http://127.0.0.1:9/x", False, True),
        ("http://sso.example/x", False, False),
        ("http://sso.example/x", True, True),
        ("ftp://sso.example/x", True, False),
        ("https://user:hush@sso.example/x", True, False),
        ("https://sso.example/a b", True, False),
        ("x y", True, False),
    ],
)
def test_where_a_secret_may_go(key: str, name: str, url: str, allow: bool, good: bool) -> None:
    """TLS, this machine, or the person's own word; any other configured address is refused by its key's name."""
    configured: dict[str, Any] = {key: url, "allow_http": allow}
    if good:
        assert getattr(build(**configured), key) == url
        return
    with pytest.raises(ForgeError) as caught:
        build(**configured)
    assert caught.value.message.startswith(f"credential.{name} for git.example ")
    assert "hush" not in caught.value.message


@pytest.mark.parametrize(
    ("path", "typed", "found"),
    [
        (None, False, []),
        ("alice/demo.git", False, []),
        ("git/lab/alice/demo.git", False, ["/git", "/git/lab"]),
        (None, True, []),
        ("git/", True, ["/git"]),
        ("git/lab/alice/demo.git/x", True, ["/git", "/git/lab", "/git/lab/alice", "/git/lab/alice/demo.git"]),
        ("git/../lab", True, []),
    ],
)
def test_prefixes(path: str | None, typed: bool, found: list[str]) -> None:
    """Two steps are a repository's, unless a person has typed the path: that may be the forge's own."""
    assert recognise.prefixes(path, typed=typed) == found


@pytest.mark.parametrize(
    ("base", "path", "covered"),
    [
        ("", None, True),
        ("", "a/b.git", True),
        ("/forge", "forge/a/b.git", True),
        ("/forge", "forge/", True),
        ("/forge", "forge", True),
        ("/forge", "forgery/a.git", False),
        ("/forge", "other/forge/a.git", False),
        ("/forge", "Forge/a.git", False),
        ("/forge", None, False),
        ("/forge", "", False),
        ("/a/b", "a/b/c.git", True),
        ("/a/b", "a/c.git", False),
        ("/forge", "forge/../evil/a.git", False),
        ("/forge", "forge/./../evil/a.git", False),
        ("/forge", "forge/x/../../evil/a.git", False),
        ("/forge", "forge/..hidden/a.git", True),
    ],
)
def test_covers(base: str, path: str | None, covered: bool) -> None:
    """Below a forge's path lies what does so with `..` resolved: git hands us `%2e%2e` decoded, servers resolve it."""
    assert recognise.covers(base, path) is covered
