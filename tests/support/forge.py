"""A forge for tests: one origin with a real authorization server and real git repositories behind it.

The sign-in is django-oauth-toolkit's, in a process of its own (`tests.support.authserver`), at Gitea's paths.
Git requests go to `git http-backend`, after their token has been introspected there, and are refused the way
Gitea and Forgejo refuse them.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import http.client
import json
import re
import secrets
import signal
import ssl
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import trustme

from tests.support import lfs
from tests.support.child import Child
from tests.support.githttp import Repositories
from tests.support.httpserver import Answer, HttpServer, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Self

CLIENT_ID = "a4792ccc-144e-407e-86c9-5e7d8d9c3269"
LOOPBACK = "http://127.0.0.1 http://127.0.0.1/"  # Gitea does not mind a final slash, the toolkit does
PASSWORDS = {"alice": "alice's password", "bob": "bob's password"}
LIFETIME = 3600
HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "expect"}
OTHER_PATHS = {"/oauth/authorize": "/login/oauth/authorize", "/oauth/token": "/login/oauth/access_token"}  # GitLab's
GIT_PATH = re.compile(r"/[^/]+/[^/]+\.git/")


@dataclass(frozen=True)
class Event:
    """One request that reached the authorization server.

    `what` is one of: discovery, authorize, "login page", login, consent, exchange, refresh, whoami, userinfo,
    introspect, applications, application (one of them), token (another grant type), other (no such path). `ok` says
    whether it got what it asked for (an authorize that leads to the login page is ok), `error` is OAuth's word, `user`
    whose browser or token.
    """

    what: str
    ok: bool
    status: int
    error: str
    path: str
    user: str
    parameters: dict[str, str]


@dataclass(frozen=True)
class GitRequest:
    """One request for a repository, and how it was answered; `user` is empty where none was let in."""

    method: str
    target: str
    user: str
    status: int
    scheme: str  # of the Authorization header, lower case; empty without one


class Forge:
    """Context manager. `host` may be "127.0.0.1" or "localhost"; `prefix` is a sub-path such as "/forge"."""

    def __init__(self, *, host: str = "127.0.0.1", tls: bool = True, prefix: str = "") -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="forge-", ignore_cleanup_errors=True)
        directory = Path(self._directory.name)
        self.challenge = 'Basic realm="Gitea"'
        self.hides = False  # a repository that one may not see is answered by 401, as GitLab does, instead of 404
        self.instead: Callable[[Request], Answer | None] = _nothing  # what answers, or breaks, in our place
        self.prefix = prefix
        self.repositories = Repositories(directory)
        self.lfs = lfs.Objects()
        self._introspector = {
            "client_id": "introspector",
            "name": "the git side of this forge",
            "redirect_uris": "https://unused.invalid/",
            "secret": secrets.token_hex(),
        }
        self._git_requests: list[GitRequest] = []
        self.ca_file = directory / "ca.pem"
        self._server = HttpServer(self._answer, self._certificate(host) if tls else None)
        self.port = self._server.port
        self.host = f"{host}:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.host}{prefix}"
        try:
            self._authserver = Child(
                [sys.executable, "-m", "tests.support.authserver"],
                {
                    "database": str(directory / "database"),
                    "users": PASSWORDS,
                    "applications": self._applications(),
                    "lifetime": LIFETIME,
                },
                directory,
            )
        except BaseException:
            self._server.stop()
            self._directory.cleanup()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._server.stop()
        self._authserver.close()
        self._directory.cleanup()

    # Repositories: private, of one owner each.

    def create_repo(self, name: str = "demo", owner: str = "alice") -> str:
        """A repository with one commit on `main`, whose id is returned."""
        return self.repositories.create(owner, name)

    def repo_url(self, name: str = "demo", owner: str = "alice") -> str:
        return f"{self.url}/{owner}/{name}.git"

    def head(self, name: str = "demo", owner: str = "alice", branch: str = "main") -> str:
        """The commit that stands there now."""
        return self.repositories.head(owner, name, branch)

    @property
    def git_requests(self) -> list[GitRequest]:
        """Every request for a repository, in the order of their answers."""
        return list(self._git_requests)

    # The authorization server: what happened, and what a test may do to it.

    def log(self, *what: str) -> list[Event]:
        """Everything so far, in order; with names, only events of these names."""
        events = [Event(**event) for event in self._authserver.call("log")]
        return [event for event in events if not what or event.what in what]

    def secrets(self) -> dict[str, list[str]]:
        """All that was ever handed out or sent: access_token, refresh_token, code, code_verifier, state."""
        answer: dict[str, list[str]] = self._authserver.call("secrets")
        return answer

    def mint(
        self, user: str = "alice", client_id: str = CLIENT_ID, lifetime: int = LIFETIME
    ) -> dict[str, Any]:
        """A token response without a sign-in: access_token, refresh_token, token_type, expires_in."""
        answer: dict[str, Any] = self._authserver.call(
            "mint", user=user, client_id=client_id, lifetime=lifetime
        )
        return answer

    def expire_access_tokens(self) -> None:
        """Those that are out there; refresh tokens stay good."""
        self._authserver.call("expire_access_tokens")

    def revoke_all(self) -> None:
        """Grants are gone: every access and refresh token and every code is dead."""
        self._authserver.call("revoke_all")

    @contextlib.contextmanager
    def halted(self) -> Iterator[Callable[[], None]]:
        """The authorization server takes connections and does nothing, until the end or until what this yields is
        called."""
        self._authserver.signal(signal.SIGSTOP)
        try:
            yield lambda: self._authserver.signal(signal.SIGCONT)
        finally:
            self._authserver.signal(signal.SIGCONT)

    def set_lifetime(self, seconds: int) -> None:
        """Of access tokens that are given out from now on."""
        self._authserver.call("set_lifetime", seconds=seconds)

    def rotate(self, *, on: bool) -> None:
        """Whether a refresh gives a new refresh token and kills the old one (it does at first)."""
        self._authserver.call("rotate", on=on)

    def count_grants(self, *, on: bool) -> None:
        """Whether a sign-in or refresh of one user and client ends all their other refresh tokens, as on a Forgejo
        whose refresh tokens rotate (it does not at first)."""
        self._authserver.call("count_grants", on=on)

    def own_applications(self, user: str = "alice") -> list[dict[str, str]]:
        """Those that this user has made: name and client_id."""
        answer: list[dict[str, str]] = self._authserver.call("own_applications", user=user)
        return answer

    def add_application(
        self, client_id: str, *, name: str = "own", redirect_uris: str = LOOPBACK, secret: str = ""
    ) -> None:
        """One more client; confidential if it has a secret."""
        self._authserver.call(
            "add_application", client_id=client_id, name=name, redirect_uris=redirect_uris, secret=secret
        )

    def add_device_application(self, client_id: str) -> None:
        """One that asks for device codes (RFC 8628), at `login/device/code`; public."""
        grant = "urn:ietf:params:oauth:grant-type:device_code"
        self._authserver.call(
            "add_application", client_id=client_id, name="device", redirect_uris=LOOPBACK, secret="", grant=grant
        )

    def remove_application(self, client_id: str = CLIENT_ID) -> None:
        """And with it its grants and tokens."""
        self._authserver.call("remove_application", client_id=client_id)

    def reset(self) -> None:
        """As new, in milliseconds: nobody signed in, nothing recorded; only the repositories stay."""
        self._authserver.call("reset", applications=self._applications(), lifetime=LIFETIME)
        self._git_requests.clear()
        self.lfs = lfs.Objects()
        self.challenge = 'Basic realm="Gitea"'
        self.hides = False
        self.instead = _nothing

    def _applications(self) -> list[dict[str, str]]:
        shared = {
            "client_id": CLIENT_ID,
            "name": "git-credential-oauth",
            "redirect_uris": LOOPBACK,
            "secret": "",
        }
        return [shared, self._introspector]

    def _certificate(self, host: str) -> ssl.SSLContext:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca_file))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(host).configure_cert(context)
        return context

    # Answering.

    def _answer(self, request: Request) -> Answer:
        if not request.target.startswith(self.prefix + "/"):
            return _plain(404, "Nothing here")
        request = replace(request, target=request.target.removeprefix(self.prefix))
        instead = self.instead(request)
        if instead:
            return instead
        if not GIT_PATH.match(request.target):
            return self._proxy(request)
        scheme, token = _credential(request.header("Authorization"))
        user = self._owner(token) if token else ""
        if lfs.PATH in request.target and not user:
            answer = lfs.unauthorized()
        else:
            answer = self._git(request, user) if scheme else self._challenge()
        self._git_requests.append(GitRequest(request.method, request.target, user, answer.status, scheme))
        return answer

    def _challenge(self) -> Answer:
        return Answer(401, [("WWW-Authenticate", self.challenge)], b"Unauthorized\n")

    def _git(self, request: Request, user: str) -> Answer:
        if not user:  # as Gitea and Forgejo: no challenge
            return _plain(401, "Failed to authenticate user")
        if request.target.split("/")[1] != user or not self.repositories.has(request.target):
            return self._challenge() if self.hides else _plain(404, "Repository not found")
        if lfs.PATH in request.target:
            return self.lfs.serve(request, self.url)
        return self.repositories.serve(request, user)

    def _owner(self, token: str) -> str:
        """Whose token that is, empty for one that is not alive: introspection (RFC 7662)."""
        client = f"{self._introspector['client_id']}:{self._introspector['secret']}"
        headers = {
            "Authorization": "Basic " + base64.b64encode(client.encode()).decode(),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        answer = self._ask("POST", "/login/oauth/introspect", headers, urlencode({"token": token}).encode())
        assert answer.status == 200, answer
        said = json.loads(answer.body)
        return str(said["username"]) if said["active"] else ""

    def _proxy(self, request: Request) -> Answer:
        """What the authorization server answers, at Gitea's paths or at GitLab's."""
        path, question, query = request.target.partition("?")
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        headers["X-Forwarded-Prefix"] = self.prefix
        headers["X-Forwarded-Proto"] = self.url.partition(":")[0]
        return self._ask(request.method, OTHER_PATHS.get(path, path) + question + query, headers, request.body)

    def _ask(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self._authserver.ready, timeout=60)
        try:
            connection.request(method, target, body or None, headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.getheaders(), answer.read())
        finally:
            connection.close()


def _nothing(_: Request) -> None:
    """Nobody stands in our place."""


def _plain(status: int, text: str) -> Answer:
    return Answer(status, [("Content-Type", "text/plain")], f"{text}\n".encode())


def _credential(authorization: str) -> tuple[str, str]:
    """Scheme in lower case and token, each empty if there is none; the token where Gitea looks for it."""
    scheme, _, value = authorization.partition(" ")
    scheme = scheme.lower()
    if scheme in {"bearer", "token"}:
        return scheme, value.strip()
    if scheme != "basic":
        return scheme, ""
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return scheme, ""
    return scheme, user if password in {"", "x-oauth-basic"} else password
