"""People's configuration for git-credential-oauth and for Git Credential Manager, as their documentation has it: it
works as it stands, once the helper line names us."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.gentle_browser import GentleBrowser
from tests.support.person import Person, wait_until
from tests.support.recorded import Recorded, read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ID, SECRET = "9d886e36-5771-4f2b-8c8b-420c68ad5baa", "4BC5BD4704EAE28FD832"

# git-credential-oauth, README, "Custom hosts".
GCO_GITLAB = f"""
[credential "URL"]
	oauthClientId = {ID}
	oauthScopes = read_repository write_repository
	oauthAuthURL = /oauth/authorize
	oauthTokenURL = /oauth/token
	oauthDeviceAuthURL = /oauth/authorize_device
"""
# The same for GitHub Enterprise.
GCO_GHES = f"""
[credential "URL"]
	oauthClientId = {ID}
	oauthClientSecret = {SECRET}
	oauthScopes = repo gist workflow
	oauthAuthURL = /login/oauth/authorize
	oauthTokenURL = /login/oauth/access_token
	oauthDeviceAuthURL = /login/device/code
"""
# Git Credential Manager, docs/generic-oauth.md, "Example Git configuration".
GCM = f"""
[credential "URL"]
	oauthClientId = {ID}
	oauthClientSecret = {SECRET}
	oauthRedirectUri = "http://127.0.0.1"
	oauthAuthorizeEndpoint = "/login/oauth/authorize"
	oauthTokenEndpoint = "/login/oauth/token"
	oauthDeviceEndpoint = "/login/oauth/device"
	oauthScopes = "code:write profile:read"
	oauthDefaultUserName = "OAUTH"
	oauthUseClientAuthHeader = false
	oauthResponseMode = "query"
"""


def some_server(*, header: bool) -> dict[str, Any]:
    """One that no record is of, at the paths of the example; its client secret by HTTP Basic, or in the body."""

    def case(name: str, status: int, body: str, **headers: str) -> dict[str, Any]:
        return {"name": name, "response": {"status": status, "headers": headers, "body": body}}

    token = '{"access_token":"<access_token>","token_type":"bearer","expires_in":600,"refresh_token":"<refresh_token>"}'
    paths = {"authorize": "authorize", "token": "token", "device": "device"}
    return {
        "paths": {name: f"/login/oauth/{path}" for name, path in paths.items()},
        "behaviour": {"username": "OAUTH", "refresh": True, "secret_in_header": header},
        "cases": [
            case("challenge", 401, "", **{"WWW-Authenticate": 'Basic realm="Git"'}),
            case("refused", 401, "", **{"WWW-Authenticate": 'Basic realm="Git"'}),
            case("token", 200, token),
            case("bad code", 400, '{"error":"invalid_grant"}'),
            case("bad refresh token", 400, '{"error":"invalid_grant"}'),
            case("unknown client", 401, '{"error":"invalid_client"}'),
        ],
    }


@pytest.fixture
def browser() -> Iterator[GentleBrowser]:
    with GentleBrowser("alice", "unused") as running:
        yield running


def person_of(forge: Recorded, home: Path, installed: Path, browser: GentleBrowser, settings: str) -> Person:
    (home / ".gitconfig").write_text(settings.replace('"URL"', f'"{forge.url}"'))
    person = Person(home, installed, forge, browser.opener)
    assert person.git("config", "--global", "credential.helper", str(installed / "git-credential-forge")).status == 0
    return person


@pytest.mark.parametrize(
    ("record", "settings", "account", "username"),
    [
        (read("gitlab"), GCO_GITLAB, "", "oauth2"),
        (read("github"), GCO_GHES, "", "oauth2"),
        (read("github-enterprise"), GCO_GHES, " as alice", "alice"),
        (some_server(header=False), GCM, "", "OAUTH"),
        (some_server(header=True), GCM.replace("false", "true"), "", "OAUTH"),
        (some_server(header=True), GCM.replace("\toauthUseClientAuthHeader = false\n", ""), "", "OAUTH"),
    ],
    ids=["GitLab", "GitHub's API elsewhere", "GHES", "GCM", "GCM, header", "GCM, default"],
)
def test_works_as_it_stands(
    record: dict[str, Any],
    settings: str,
    account: str,
    username: str,
    *,
    home: Path,
    installed: Path,
    browser: GentleBrowser,
    tmp_path: Path,
) -> None:
    """Only the helper line is changed: sign-in, fetch, refresh; nothing but the endpoints that it names is asked."""
    with Recorded(record, tmp_path) as forge:
        forge.registered = {ID: SECRET if SECRET in settings else ""}
        forge.lifetime = 3
        person = person_of(forge, home, installed, browser, settings)
        done = person.git("ls-remote", "-q", forge.repo_url)
        assert done.err == (
            f"forge: signing in to {forge.host} in your browser\n"
            f"forge: signed in{account} at {forge.host}, kept in memory while you work, and two hours more\n"
        )
        [asked] = forge.forms("code")
        assert asked["client_id"] == ID
        assert asked["scope"] == settings.partition("oauthScopes = ")[2].partition("\n")[0].strip('"')
        if record["behaviour"].get("refresh"):
            wait_until(max(forge.access.values()))
            assert person.git("ls-remote", "-q", forge.repo_url)[::2] == (0, "")
            assert forge.what("refreshed") == ["refreshed"]
        assert {form["username"] for form in forge.forms("git")} == {username}
        assert len(browser.tabs()) == 1
        elsewhere = {form["path"] for form in forge.forms("nothing there")}
        assert elsewhere <= {"/api/v3/user"}, "whoami of GitHub Enterprise, at the host that was configured"


def test_gitlab_scopes_as_the_command_sets_them(
    home: Path, installed: Path, browser: GentleBrowser, tmp_path: Path
) -> None:
    """The README's command, unquoted, sets the first scope alone: a sign-in as it was asked for, with GitLab's name."""
    with Recorded(read("gitlab"), tmp_path) as forge:
        forge.registered = {ID: ""}
        settings = GCO_GITLAB.replace("read_repository write_repository", "read_repository")
        person = person_of(forge, home, installed, browser, settings)
        address = forge.repo_url.replace("://", "://alice@")
        assert person.git("ls-remote", "-q", address).status == 0
        assert {form["username"] for form in forge.forms("git")} == {"oauth2"}
