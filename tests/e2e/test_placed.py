"""Where on its host a forge is, and where it leaves the sign-in to, told by the servers themselves: a GitLab with a
relative URL root, and protected resources that name their server (RFC 9728), through real git."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.gentle_browser import GentleBrowser
from tests.support.person import Person, wait_until
from tests.support.recorded import CLIENT, Recorded, read
from tests.support.signing_in import asked_for

if TYPE_CHECKING:
    from collections.abc import Iterator

NEWER = os.environ.get("FORGE_NEWER_GIT", "")  # made by .ci/newer-git
AFTERWARDS = "kept in memory while you work, and two hours more"


def somebody(home: Path, installed: Path, forge: Recorded, browser: GentleBrowser) -> Person:
    person = Person(home, installed, forge, browser.opener)
    assert person.git("credential-forge", "configure").status == 0
    return person


@pytest.fixture
def browser() -> Iterator[GentleBrowser]:
    with GentleBrowser("alice", "unused") as running:
        yield running


@pytest.fixture
def gitlab(home: Path, installed: Path, tmp_path: Path, browser: GentleBrowser) -> Iterator[tuple[Recorded, Person]]:
    """At https://host/gitlab, with repositories in groups of groups; nothing but its client id is set, for its path."""
    with Recorded(read("gitlab"), tmp_path, root="/gitlab") as forge:
        for group in ("group/sub", "group/sub/below", "other"):
            forge.repositories.create(group, "repo")
        person = somebody(home, installed, forge, browser)
        with person.leaks:
            assert person.git("config", "--global", f"credential.{forge.url}.useHttpPath", "true").status == 0
            yield forge, person
        assert person.leaks.found(forge.secrets()) == []


def test_a_relative_url_root(gitlab: tuple[Recorded, Person], browser: GentleBrowser) -> None:
    """One sign-in for all of its groups, refreshed and revoked there; the rest of the host gets nothing of it."""
    forge, person = gitlab
    assert person.git("config", "--global", f"credential.{forge.base}.oauthClientId", CLIENT).status == 0
    forge.lifetime = 4
    done = person.git("ls-remote", "-q", f"{forge.base}/group/sub/repo.git")
    assert done.status == 0
    assert done.err == (
        f"forge: signing in to {forge.host}/gitlab in your browser\n"
        f"forge: signed in at {forge.host}/gitlab, {AFTERWARDS}\n"
    )
    for group in ("other", "group/sub/below"):
        wait_until(max(forge.access.values()))
        forge.lifetime = 4 if group == "other" else None
        assert person.git("ls-remote", "-q", f"{forge.base}/{group}/repo.git")[::2] == (0, "")
    clone = person.home / "clone"
    assert person.git("clone", "-q", f"{forge.base}/group/sub/repo.git", str(clone)) == (0, "", "")
    person.commit(clone, "second")
    assert person.git("push", "-q", "origin", "HEAD:second", cwd=clone) == (0, "", "")
    assert forge.repositories.head("group/sub", "repo", "second")
    assert (forge.what("token", "refreshed"), len(browser.tabs())) == (["token", "refreshed", "refreshed"], 1)
    for path in ("gitlabs/group/repo.git", "group/sub/repo.git", "gitlab/../group/repo.git"):
        assert person.git("credential-forge", "get", given=asked_for(forge.url, f"path={path}"), CI="1") == (0, "", "")
    out = person.git("credential-forge", "logout", forge.base).out
    assert out == f"forgot oauth2 at {forge.host}/gitlab\nits tokens are revoked there\n"
    assert (forge.access, forge.refresh) == ({}, {})


def test_a_relative_url_root_without_an_id(gitlab: tuple[Recorded, Person]) -> None:
    """What is missing is said of that path, and the command that is named there mends it for that path."""
    forge, person = gitlab
    repository = f"{forge.base}/group/sub/repo.git"
    done = person.git("ls-remote", "-q", repository)
    assert done.status == 128
    assert done.err.splitlines()[:2] == [
        f"forge: {forge.host}/gitlab needs a client id of its own",
        f"forge: `git credential-forge register {forge.base}` shows what to enter where, and keeps what you get",
    ]
    assert person.git("credential-forge", "register", forge.base, "--client-id", CLIENT).status == 0
    assert person.git("credential-forge", "login", forge.base).err.splitlines()[-1] == (
        f"forge: signed in at {forge.host}/gitlab, {AFTERWARDS}"
    )
    assert person.git("ls-remote", "-q", repository)[::2] == (0, "")
    assert len(forge.what("token")) == 1


# A protected resource that names its authorization server.

RESOURCE = "/.well-known/oauth-protected-resource"


def protected(resource: str = "<base>/") -> dict[str, Any]:
    """A host whose challenge points to its metadata, that to a server at `/idp`, which describes itself by RFC 8414."""

    def case(name: str, status: int, body: object, **headers: str) -> dict[str, Any]:
        text = body if isinstance(body, str) else json.dumps(body, separators=(",", ":"))
        return {"name": name, "response": {"status": status, "headers": headers, "body": text}}

    token = {"access_token": "<access_token>", "token_type": "bearer", "refresh_token": "<refresh_token>"}
    challenge = {"WWW-Authenticate": f'Basic realm="Code", Bearer resource_metadata="<base>{RESOURCE}"'}
    ends = {"authorization_endpoint": "<base>/idp/a", "token_endpoint": "<base>/idp/t"}
    return {
        "paths": {"authorize": "/idp/a", "token": "/idp/t", "revoke": "/r", "resource": RESOURCE}
        | {"discovery": "/.well-known/oauth-authorization-server/idp"},
        "behaviour": {"refresh": True},
        "cases": [
            case("challenge", 401, "", **challenge),
            case("refused", 401, "", **challenge),
            case("resource", 200, {"resource": resource, "authorization_servers": ["<base>/idp"]}),
            case("discovery", 200, {"issuer": "<base>/idp", "revocation_endpoint": "<base>/r", **ends}),
            case("token", 200, token | {"expires_in": 600}),
            case("bad code", 400, {"error": "invalid_grant"}),
            case("bad refresh token", 400, {"error": "invalid_grant"}),
            case("unknown client", 401, {"error": "invalid_client"}),
            case("revoked", 200, ""),
        ],
    }


@pytest.mark.parametrize("challenged", [True, False], ids=["git passes the challenge", "an older git"])
def test_a_resource_that_names_its_server(
    home: Path, installed: Path, tmp_path: Path, browser: GentleBrowser, *, challenged: bool
) -> None:
    """Signed in to where the resource says, with a token for that resource at each step (RFC 8707): asked for at the
    authorize page, at the exchange, at each refresh."""
    with Recorded(protected(), tmp_path) as forge:
        person = somebody(home, installed, forge, browser)
        _use(person, challenged=challenged)
        for key, value in (("oauthClientId", CLIENT), ("oauthScopes", "git")):
            assert person.git("config", "--global", f"credential.{forge.url}.{key}", value).status == 0
        forge.lifetime = 4
        done = person.git("ls-remote", "-q", forge.repo_url)
        assert (done.status, done.err) == (
            0,
            f"forge: signing in to {forge.host} in your browser\nforge: signed in at {forge.host}, {AFTERWARDS}\n",
        )
        for _ in range(2):
            wait_until(max(forge.access.values()))
            assert person.git("ls-remote", "-q", forge.repo_url)[::2] == (0, "")
        steps = [forge.forms(step) for step in ("code", "token", "refreshed")]
        assert [len(forms) for forms in steps] == [1, 1, 2]
        assert {form.get("resource") for forms in steps for form in forms} == {f"{forge.url}/"}
        assert len(browser.tabs()) == 1
        assert len(forge.what("resource", "discovery")) == 2, "each was asked for once"
        out = person.git("credential-forge", "logout", forge.url).out
        assert out == f"forgot oauth2 at {forge.host}\nits tokens are revoked there\n"


def test_a_resource_of_another_origin(home: Path, installed: Path, tmp_path: Path, browser: GentleBrowser) -> None:
    """Metadata about somebody else's resource is none: nobody is signed in by it, and no tab opens."""
    with Recorded(protected("https://code.example/"), tmp_path) as forge:
        person = somebody(home, installed, forge, browser)
        pointer = f'wwwauth[]=Bearer resource_metadata="{forge.url}{RESOURCE}"'
        given = asked_for(forge.url, pointer, challenge=None)
        assert person.git("credential-forge", "get", given=given) == (0, "", "")
        assert (browser.tabs(), forge.what("code", "token")) == ([], [])


def _use(person: Person, *, challenged: bool) -> None:
    """A git that passes challenges on to helpers (from 2.41 on), or one that does not."""
    said = subprocess.run(["git", "version"], capture_output=True, text=True, check=True).stdout.split()[2]
    passes = tuple(int(part) for part in said.split(".")[:2]) >= (2, 41)
    if challenged and NEWER:
        person.environment["GIT_EXEC_PATH"] = str(Path(NEWER, "core"))
        person.environment["PATH"] = f"{Path(NEWER, 'bin')}{os.pathsep}{person.environment['PATH']}"
    elif challenged and not passes:
        pytest.skip("not here: git is older than 2.41, and FORGE_NEWER_GIT names no newer one")
    elif passes and not challenged:
        pytest.skip("not here: git is 2.41 or newer")
