"""A forge on this machine with TLS, and a browser that grants everything: enough for one sign-in."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
_BROWSER = """\
#!{python}
import http.client, sys
from urllib.parse import parse_qs, urlsplit
def visit(url):
    at = urlsplit(url)
    to = http.client.HTTPConnection(at.hostname, at.port)
    to.request("GET", (at.path or "/") + ("?" + at.query if at.query else ""))
    return to.getresponse()
asked = parse_qs(urlsplit(visit(sys.argv[1]).headers["location"]).query)
visit(asked["redirect_uri"][0] + "?code=good&state=" + asked["state"][0]).read()
"""


class Forge:
    """Serves until the program ends. `authorities`: a file with its certificate behind all that the system has."""

    def __init__(self, at: Path) -> None:
        key, certificate = at / "key.pem", at / "certificate.pem"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
                *("-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)),
            ],
            check=True,
            capture_output=True,
        )
        self.authorities = at / "authorities.pem"
        self.authorities.write_text(bundle_with(certificate))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server = ThreadingHTTPServer(("localhost", 0), _Handler)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        self.host = f"localhost:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.browser = at / "granting-browser"
        self.browser.write_text(_BROWSER.format(python=sys.executable))
        self.browser.chmod(0o755)


def bundle_with(certificate: Path) -> str:
    """All certificates that the system trusts, and one more: to load them is a part of what a sign-in costs."""
    bundle = next((Path(path).read_text() for path in _BUNDLES if Path(path).exists()), "")
    return bundle + certificate.read_text()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        form = self.rfile.read(int(self.headers["content-length"]))
        if b"code=good" in form:
            token = {"access_token": "t" * 858, "token_type": "bearer", "expires_in": 3600, "refresh_token": "r" * 858}
            self._say(200, token)
        else:
            self._say(400, {"error": "invalid_grant"})

    def do_GET(self) -> None:
        self._say(200, {"login": "alice"})

    def _say(self, status: int, content: Mapping[str, object]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
