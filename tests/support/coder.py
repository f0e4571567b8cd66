"""A Coder for tests, as it was in 2025 or as it is in 2026: OAuth provider, external auth, the API for workspaces.

What it answers was recorded (`tests/recorded/coder.json`, of 2025) or read in its source (2026). The two differ in

- applications: in 2025 each has a secret, wanted in the body; in 2026 there are public ones, and HTTP Basic
- the redirect: in 2025 the port counts, in 2026 not for loopback addresses
- the authorize page: in 2025 it refuses parameters that it does not know, and shows every error itself; in 2026 it
  wants PKCE, and sends errors back
- tokens: in 2025 the refresh token ends with the access token, and there is no call to revoke one
- external auth: in 2026 it says whether a token can be revoked, and what became of that
"""

from __future__ import annotations

import json
import re
import threading
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from tests.support.coder_links import ExternalAuth
from tests.support.coder_people import Entry, page, problem
from tests.support.httpserver import Answer, HttpServer, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

APPS = "/api/v2/oauth2-provider/apps"
GATED = re.compile(rf"/oauth2/.*|/\.well-known/oauth-(authorization-server|protected-resource)|{APPS}(/.*)?")


class Coder(ExternalAuth):
    """Context manager. `provider=False`: nothing of OAuth is there. `base`: a path below which all of it is."""

    def __init__(
        self, generation: int = 2026, *, registration: bool = True, provider: bool = True, base: str = ""
    ) -> None:
        self.generation, self.registration, self.provider, self.base = generation, registration, provider, base
        super().__init__()
        self.log: list[Entry] = []
        self.instead: dict[str, Answer] = {}  # "GET /path": what a test wants it to answer
        self._one_by_one = threading.RLock()
        self._routes = [(method, re.compile(path), how) for method, path, how in self._table()]
        self._server = HttpServer(self._answer)
        self.host = f"127.0.0.1:{self._server.port}"
        self.url = f"http://{self.host}{base}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_listening()
        self._server.stop()

    def requests(self, path: str) -> list[Entry]:
        return [entry for entry in self.log if entry.path == path]

    def _table(self) -> list[tuple[str, str, Callable[..., Answer]]]:
        me, auth = "/api/v2/users/me", "/api/v2/external-auth"
        table: list[tuple[str, str, Callable[..., Answer]]] = [
            ("GET", r"/\.well-known/oauth-authorization-server", self.authorization_server),
            ("GET", r"/\.well-known/oauth-protected-resource", self.protected_resource),
            ("GET POST", "/oauth2/authorize", self.authorize),
            ("POST", "/oauth2/tokens", self.token),
            ("DELETE", "/oauth2/tokens", self.revoke_application),
            ("GET PUT DELETE", "/oauth2/clients/([^/]+)", self.manage),
            ("GET POST", APPS, self.apps),
            ("GET DELETE", f"{APPS}/([^/]+)", self.app),
            ("POST", f"{APPS}/([^/]+)/secrets", self.app_secrets),
            ("DELETE", f"{APPS}/([^/]+)/secrets/([^/]+)", self.app_secret),
            ("GET", "/api/v2/buildinfo", self.buildinfo),
            ("GET", me, self.me),
            ("GET", auth, self.external_auth),
            ("GET DELETE", f"{auth}/([^/]+)", self.external_auth_of),
            ("GET POST", f"{auth}/([^/]+)/device", self.device_flow),
            ("GET", "/api/v2/workspaceagents/me/external-auth", self.agent),
            ("GET POST", "/login", self.login),
        ]
        if self.registration:
            table.append(("POST", "/oauth2/register", self.register))
        if self.generation == 2026:
            table.append(("POST", "/oauth2/revoke", self.revoke))
        return table

    def _answer(self, request: Request) -> Answer:
        entry = _read(request, self.base)
        self.log.append(entry)
        answer = self.instead.get(f"{entry.method} {entry.path}") or self._routed(entry)
        entry.status = answer.status
        if self.generation == 2026 and entry.path.startswith("/oauth2/"):
            return Answer(answer.status, [*answer.headers, ("Cache-Control", "no-store")], answer.body)
        return answer

    def _routed(self, entry: Entry) -> Answer:
        if not entry.path:
            return page("404 Not Found", "There is something else here.", 404)
        if not self.provider and GATED.fullmatch(entry.path):
            return problem(404, "Route not found.")
        for methods, path, how in self._routes:
            found = path.fullmatch(entry.path)
            if found and entry.method in methods.split():
                if how == self.agent:  # which may take its time
                    return how(entry)
                with self._one_by_one:
                    return how(entry, *found.groups())
        if entry.path.startswith("/api/"):
            return problem(404, "Route not found.")
        return page("Coder", "Coder's web application, which knows all other paths.")


def _read(request: Request, base: str) -> Entry:
    """A path outside of the base is left empty."""
    path, _, query = request.target.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    text = request.body.decode()
    if "json" in request.header("Content-Type"):
        form = json.loads(text)
    else:
        form = dict(parse_qsl(text, keep_blank_values=True))
    headers = {name.lower(): value for name, value in request.headers.items()}
    below = path.removeprefix(base) if path.startswith(f"{base}/") else ""
    return Entry(request.method, below, dict(pairs), pairs, form, headers)
