"""A forge whose sign-in is npm's oidc-provider, a certified OpenID provider: everything at the server's own paths, with
git's own server side behind it and TLS in front. What goes through is written down here."""

from __future__ import annotations

import base64
import http.client
import json
import re
import shutil
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import httpx
import trustme

from tests.support.child import Child
from tests.support.githttp import Repositories
from tests.support.httpserver import Answer, HttpServer, Request
from tests.support.surroundings import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typing_extensions import Self

PACKAGE = "oidc-provider@8.8.1"  # the last that says it runs on Node 18 and 20
GIT = re.compile(r"/[^/]+/[^/]+\.git/")
HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "expect"}


class Heard(NamedTuple):
    """A request that the provider answered, and how; for a redirect, the parameters of where to."""

    path: str
    form: dict[str, str]
    status: int
    sent_to: dict[str, str]


class Certified:
    """Context manager. `packages` is a directory with a `node_modules` in it. Who signs in owns the repositories of
    that name, whatever the password."""

    def __init__(self, packages: Path, directory: Path, clients: list[dict[str, Any]]) -> None:
        self.heard: list[Heard] = []
        self.given: dict[str, list[str]] = {name: [] for name in ("access_token", "refresh_token", "code")}
        self.instead: Callable[[Answer], Answer] = lambda answer: answer  # what becomes of it on the way
        self.git_users: list[str] = []  # who was let in, for each request of a repository that was
        self.repositories = Repositories(directory)
        self.repositories.create("alice", "demo")
        self.ca_file = directory / "ca.pem"
        self._server = HttpServer(self._answer, self._certificate())
        self.host = f"127.0.0.1:{self._server.port}"
        self.url = f"https://{self.host}"
        self.repo_url = f"{self.url}/alice/demo.git"
        script = packages / "oidc_provider.mjs"
        shutil.copy(ROOT / "tests" / "support" / script.name, script)  # a module finds packages beside itself
        try:
            self._provider = Child(["node", str(script)], {"issuer": self.url, "clients": clients}, directory)
        except BaseException:
            self._server.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()
        self._provider.close()

    def secrets(self) -> dict[str, list[str]]:
        return self.given

    def forms(self, path: str) -> list[dict[str, str]]:
        return [heard.form for heard in self.heard if heard.path == path]

    def set_lifetime(self, seconds: int) -> None:
        """Of access tokens from now on."""
        self._provider.call("set_lifetime", seconds=seconds)

    def owner(self, token: str) -> str:
        """Whose access token that is, empty for one that is not alive."""
        return str(self._provider.call("owner", token=token))

    def replay(self, refresh_token: str) -> None:
        """Use a refresh token twice, as a thief who copied it, and who it was copied from."""
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token, "client_id": "ours"}
        for _ in range(2):
            httpx.post(f"{self.url}/token", data=form, verify=False, trust_env=False)

    def refreshable(self, token: str) -> bool:
        """Whether that refresh token is good."""
        return bool(self._provider.call("refreshable", token=token))

    def _certificate(self) -> ssl.SSLContext:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca_file))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        return context

    def _answer(self, request: Request) -> Answer:
        return self._git(request) if GIT.match(request.target) else self._proxy(request)

    def _git(self, request: Request) -> Answer:
        scheme, _, value = request.header("Authorization").partition(" ")
        token = base64.b64decode(value).decode().partition(":")[2] if scheme == "Basic" else ""
        user = self.owner(token) if token else ""
        if not user or request.target.split("/")[1] != user:
            return Answer(401, [("WWW-Authenticate", 'Basic realm="Git"')], b"")
        self.git_users.append(user)
        return self.repositories.serve(request, user)

    def _proxy(self, request: Request) -> Answer:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        headers["X-Forwarded-Proto"] = "https"
        connection = http.client.HTTPConnection("127.0.0.1", self._provider.ready, timeout=60)
        try:
            connection.request(request.method, request.target, request.body or None, headers)
            said = connection.getresponse()
            answer = Answer(said.status, said.getheaders(), said.read())
        finally:
            connection.close()
        self._note(request, answer)
        return self.instead(answer)

    def _note(self, request: Request, answer: Answer) -> None:
        path, _, query = request.target.partition("?")
        where = next((value for name, value in answer.headers if name.lower() == "location"), "")
        sent_to = dict(parse_qsl(urlsplit(where).query))
        form = dict(parse_qsl(request.body.decode() or query, keep_blank_values=True))
        self.heard.append(Heard(path, form, answer.status, sent_to))
        kind = next((value for name, value in answer.headers if name.lower() == "content-type"), "")
        found = json.loads(answer.body) if answer.status == 200 and "json" in kind else {}
        for name, values in self.given.items():
            values += [said[name] for said in (found, sent_to) if said.get(name)]


def without_iss(answer: Answer, instead: str = "") -> Answer:
    """An authorization response whose `iss` (RFC 9207) is taken out on the way, or another's."""
    headers = [
        (name, re.sub(r"([?&])iss=[^&]*", rf"\1{instead}", value) if name.lower() == "location" else value)
        for name, value in answer.headers
    ]
    return replace(answer, headers=headers)
