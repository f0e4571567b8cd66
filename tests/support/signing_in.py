"""Sign-ins for tests: the program as git starts it, a forge that misbehaves, a listener asked by hand."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

import httpx

from tests.support.httpserver import Answer, HttpServer, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from typing_extensions import Self

CHALLENGE = 'Basic realm="Gitea"'
NAMED = (
    'forge: the page will name the application "git-credential-oauth", '
    "the one that Forgejo or Gitea ships for helpers like this\n"
)
QUIT = "quit=1\n\n"


# A listener, asked by hand.


@dataclass(frozen=True)
class Raw:
    """An answer as it came through the socket; `status` 0 where the connection ended without one."""

    status: int
    head: str
    body: str

    def header(self, name: str) -> str:
        lines = self.head.split("\r\n")[1:]
        return next((line.partition(": ")[2] for line in lines if line.lower().startswith(name.lower() + ": ")), "")


def request(port: int, target: str, *headers: str, method: str = "GET", host: str | None = None) -> bytes:
    """One request as a browser sends it, `headers` behind the Host."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host or f'127.0.0.1:{port}'}", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def ask(port: int, sent: bytes, *, half_close: bool = False, timeout: float = 10) -> Raw:
    """What `sent` gets. With `half_close` the other side sees the end of it; else it must not need to."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        connection.sendall(sent)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        return receive(connection)


def receive(connection: socket.socket) -> Raw:
    data = bytearray()
    try:
        while more := connection.recv(65_536):
            data += more
    except ConnectionResetError:
        pass  # we were refused before all of it had been read
    head, _, body = data.decode().partition("\r\n\r\n")
    return Raw(int(head.split(" ")[1]) if head else 0, head, body)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# A forge that misbehaves.


def as_json(status: int, fields: object) -> Answer:
    return Answer(status, [("Content-Type", "application/json")], json.dumps(fields).encode())


class StandIn:
    """Gitea's paths at http://127.0.0.1, without pages: whoever comes is let in, and sent back with a code.

    A test changes what the endpoints answer: `authorize` (parameters in, parameters of the response out), `token`,
    `probe` (token requests with the code "probe"), `whoami`, `metadata`, `other` (every other path).
    """

    def __init__(self) -> None:
        self.code = "code-" + secrets.token_urlsafe()
        self.access_token = "access-" + secrets.token_urlsafe()
        self.asked: list[Request] = []
        self.authorize: Callable[[dict[str, str]], dict[str, str]] = lambda given: {
            "code": self.code,
            "state": given["state"],
        }
        self.token: Callable[[Request], Answer] = lambda _: as_json(200, self.token_response())
        self.probe: Callable[[Request], Answer] = lambda _: as_json(400, {"error": "invalid_grant"})
        self.whoami: Callable[[Request], Answer] = lambda _: as_json(200, {"login": "alice"})
        self.metadata: Callable[[Request], Answer] = lambda _: Answer(404, [], b"")
        self.other: Callable[[Request], Answer] = lambda _: Answer(404, [], b"")
        self._server = HttpServer(self._answer)
        self.port = self._server.port
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def token_response(self, **changed: object) -> dict[str, object]:
        fields = {"access_token": self.access_token, "token_type": "bearer", "expires_in": 3600, **changed}
        return {name: value for name, value in fields.items() if value is not None}

    def describe(self, _: Request | None = None, **changed: object) -> Answer:
        """Metadata, for `metadata`: issuer and endpoints, S256, and what is `changed`."""
        fields: dict[str, object] = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/login/oauth/authorize",
            "token_endpoint": f"{self.url}/login/oauth/access_token",
            "code_challenge_methods_supported": ["plain", "S256"],
        }
        return as_json(200, {**fields, **changed})

    def exchanges(self) -> list[dict[str, str]]:
        """The forms that came to the token endpoint, without the probe's."""
        forms = [_form(request) for request in self.asked if request.target == "/login/oauth/access_token"]
        return [form for form in forms if form.get("code") != "probe"]

    def authorizations(self) -> list[dict[str, str]]:
        targets = [request.target.partition("?") for request in self.asked]
        return [dict(parse_qsl(query)) for path, _, query in targets if path == "/login/oauth/authorize"]

    def _answer(self, request: Request) -> Answer:
        self.asked.append(request)
        path, _, query = request.target.partition("?")
        if path == "/login/oauth/authorize":
            given = dict(parse_qsl(query))
            sent = self.authorize(given)
            return Answer(302, [("Location", f"{given['redirect_uri']}/?{urlencode(sent)}")], b"")
        if path == "/login/oauth/access_token":
            return (self.probe if _form(request).get("code") == "probe" else self.token)(request)
        if path == "/api/v1/user":
            return self.whoami(request)
        if path.startswith("/.well-known/"):
            return self.metadata(request)
        return self.other(request)


def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl(request.body.decode(), keep_blank_values=True))


# The program as git starts it.


@dataclass(frozen=True)
class Ended:
    status: int
    out: str
    err: str
    seconds: float


class Program:
    """Runs without a terminal, its standard streams being pipes: environment, arguments, request are the test's."""

    def __init__(
        self,
        arguments: Sequence[str | Path],
        environment: dict[str, str],
        asked: str = "",
        *,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.started = time.monotonic()
        self._said = b""
        self.process = subprocess.Popen(
            arguments,
            env=environment,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=pass_fds,
        )
        assert self.process.stdin is not None
        self.process.stdin.write(asked.encode())
        self.process.stdin.close()
        self.process.stdin = None  # for `communicate`

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()

    def wait_until_said(self, words: str) -> None:
        """Until a whole line on stderr has them."""
        assert self.process.stderr is not None
        while words.encode() not in self._said:
            line = self.process.stderr.readline()
            assert line, f"never said: {words!r}, but: {self._said!r}"
            self._said += line

    def ended(self, timeout: float = 30) -> Ended:
        """The whole of its standard streams, once it has ended."""
        out, err = self.process.communicate(timeout=timeout)
        err = self._said + err
        return Ended(self.process.returncode, out.decode(), err.decode(), time.monotonic() - self.started)


class _Refusing(httpx.BaseTransport):
    def handle_request(self, request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("Connection refused", request=request)


def elsewhere(port: int) -> httpx.Client:
    """A browser on another machine: what listens on this one's port it cannot reach."""
    mounts = {f"all://127.0.0.1:{port}": _Refusing()}
    return httpx.Client(verify=False, trust_env=False, timeout=60, mounts=mounts)


def asked_for(url: str, *more: str, challenge: str | None = CHALLENGE) -> str:
    """What git sends for an address; `more` are lines."""
    protocol, _, rest = url.partition("://")
    challenged = [f"wwwauth[]={challenge}"] if challenge else []
    lines = [f"protocol={protocol}", f"host={rest.partition('/')[0]}", *challenged, *more]
    return "\n".join([*lines, "", ""])


def answer_of(out: str) -> dict[str, str]:
    """An answer for git, taken apart; it must end with a blank line."""
    assert out.endswith("\n\n"), out
    return dict(line.split("=", 1) for line in out[:-2].split("\n"))
