"""A forge for many gits at once, a program of its own: `storm_forge.py CERTIFICATE KEY LOG`; it prints its port.

It answers `info/refs` after a look at the password, and `login/oauth/access_token` after DELAY; nothing is kept: a
token that begins with `good` is good, a refresh token that begins with `live` lives. LOG gets a word for each request
for a token. It is small on purpose: what is measured is what happens on the other side.
"""

from __future__ import annotations

import base64
import binascii
import json
import socket
import socketserver
import ssl
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs

DELAY = 0.03  # seconds for a token: what a forge takes to sign and to write one down
ACCOUNT = "alice"
GOOD, BAD = "good" + "t" * 854, "evil" + "t" * 854  # bytes as a Forgejo's
LIVING = "live" + "r" * 854
HEAD = "d0" * 20


def _packet(line: bytes) -> bytes:
    return b"%04x%s" % (len(line) + 4, line)


_REFS = (
    _packet(b"# service=git-upload-pack\n")
    + b"0000"
    + _packet(f"{HEAD} HEAD\0symref=HEAD:refs/heads/main object-format=sha1\n".encode())
    + _packet(f"{HEAD} refs/heads/main\n".encode())
    + b"0000"
)


class _Server(socketserver.ThreadingTCPServer):
    request_queue_size = 1024
    daemon_threads = True
    context: ssl.SSLContext
    log: Path


class _Connection(socketserver.BaseRequestHandler):
    """HTTP/1.1, as little of it as git, httpx and Go need."""

    server: _Server
    request: socket.socket

    def handle(self) -> None:
        try:
            self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.server.context.wrap_socket(self.request, server_side=True) as connection:
                while self._one(connection):
                    pass
        except OSError:
            pass  # gone

    def _one(self, connection: ssl.SSLSocket) -> bool:
        data = bytearray()
        while b"\r\n\r\n" not in data:
            more = connection.recv(65_536)
            if not more:
                return False
            data += more
        head, _, body = bytes(data).partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(body) < int(headers.get("content-length", 0)):
            body += connection.recv(65_536)
        method, path, _ = first.split(" ")
        connection.sendall(self._answer(method, path.partition("?")[0], headers, body.decode()))
        return True

    def _answer(self, method: str, path: str, headers: dict[str, str], body: str) -> bytes:
        if path == "/api/v1/user":
            return _json(200, {"login": ACCOUNT})
        if path == "/login/oauth/access_token" and method == "POST":
            return self._token({key: values[0] for key, values in parse_qs(body).items()})
        if path.endswith("/info/refs"):
            if _password(headers.get("authorization", "")).startswith("good"):
                return _http(200, "application/x-git-upload-pack-advertisement", _REFS)
            return _http(401, "text/plain", b"", 'WWW-Authenticate: Basic realm="Gitea"\r\n')
        return _http(404, "text/plain", b"")

    def _token(self, form: dict[str, str]) -> bytes:
        kind = "probe" if form.get("code") == "probe" else form["grant_type"]
        with self.server.log.open("a") as log:
            log.write(f"{kind}\n")
        time.sleep(DELAY)
        if form.get("code") != "good" and not form.get("refresh_token", "").startswith("live"):
            return _json(400, {"error": "invalid_grant"})
        token = {"access_token": GOOD, "token_type": "bearer", "expires_in": 3600, "refresh_token": LIVING}
        return _json(200, token)


def _password(authorization: str) -> str:
    try:
        return base64.b64decode(authorization.removeprefix("Basic ")).decode("latin-1").partition(":")[2]
    except binascii.Error:
        return ""


def _json(status: int, content: dict[str, object]) -> bytes:
    return _http(status, "application/json", json.dumps(content).encode())


def _http(status: int, kind: str, body: bytes, more: str = "") -> bytes:
    return f"HTTP/1.1 {status} -\r\nContent-Type: {kind}\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body


def main() -> None:
    certificate, key, log = sys.argv[1:]
    with _Server(("localhost", 0), _Connection) as server:
        server.log = Path(log)
        server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.context.load_cert_chain(certificate, key)
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
