"""The demo's forge: sign-in, tokens and git by the rules of Gitea and Forgejo, refusals in their words, and counts."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import secrets
import shutil
import subprocess
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from urllib.parse import parse_qsl, urlencode

GIT = shutil.which("git") or "git"
CLIENT = "a4792ccc-144e-407e-86c9-5e7d8d9c3269"  # git-credential-oauth, as Gitea and Forgejo register it
LONG = 3600  # seconds: what both give a token
_BACKEND = [GIT, "http-backend"]

# Their rule (models/auth/oauth2.go) for the redirect addresses of this client: any port, no path, not "localhost".
_REDIRECT = re.compile(r"https?://127\.0\.0\.1/?|http://127\.0\.0\.1:[0-9]+/?", re.IGNORECASE)
_PAGE = '<!doctype html><html lang="en"><meta charset="utf-8"><title>demo forge</title><h1>Demo forge</h1><p>'
_SIGN_IN = """Part of <code>git credential-forge demo</code> on this machine; any password will do.
<form method="post" action="/user/login"><input type="hidden" name="to" value="{}"><p><input name="user_name"
value="alice"> <input type="password" name="password" value="demo"> <button type="submit">Sign in</button></form>"""
_CONSENT = """<b>git-credential-oauth</b> wants to act as alice, and will go on at {}.
<form method="post" action="/login/oauth/grant"><input type="hidden" name="state" value="{}"><p>
<button type="submit" name="granted" value="true">Authorize</button>
<button type="submit" name="granted" value="false">Deny</button></form>"""


class Forge(ThreadingTCPServer):
    """`seen` counts tabs (authorize pages), exchanges of codes, and refreshes."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, root: str, environment: dict[str, str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.environment = environment | {"GIT_PROJECT_ROOT": root, "GIT_HTTP_EXPORT_ALL": "1", "REMOTE_USER": "alice"}
        self.lock = threading.Lock()
        self.seen: Counter[str] = Counter()
        self.lifetime = LONG
        self.pending: dict[str, dict[str, str]] = {}  # browser session: the authorize page that it saw last
        self.codes: dict[str, dict[str, str]] = {}
        self.access: dict[str, float] = {}  # token: when it ends
        self.refresh: list[str] = []  # only the last one is good
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, *_: object) -> None:
        """A browser or a git has hung up: nothing to tell anybody."""

    def token(self, form: dict[str, str]) -> dict[str, object]:
        """What the token endpoint answers: an error if something is wrong, else a new pair."""
        wrong = self._refresh(form) if form["grant_type"] == "refresh_token" else self._exchange(form)
        if wrong:
            return {"error": "unauthorized_client", "error_description": wrong}
        access, refresh = secrets.token_urlsafe(), secrets.token_urlsafe()
        self.access[access] = time.monotonic() + self.lifetime + 10  # seconds more than is said, for a slow machine
        self.refresh.append(refresh)
        return {"access_token": access, "refresh_token": refresh, "token_type": "bearer", "expires_in": self.lifetime}

    def _exchange(self, form: dict[str, str]) -> str:
        asked = self.codes.pop(form["code"], None)  # good once, whoever brings it
        if asked is None or form["client_id"] != CLIENT:
            return "client is not authorized"
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != asked["code_challenge"]:
            return "failed PKCE code challenge"
        self.seen["exchanges"] += 1
        same = form.get("redirect_uri") == asked["redirect_uri"]
        return "" if same else "redirect_uri does not match the authorization request"

    def _refresh(self, form: dict[str, str]) -> str:
        self.seen["refreshes"] += 1
        if form["refresh_token"] not in self.refresh or form["client_id"] != CLIENT:
            return "unable to parse refresh token"
        return "" if form["refresh_token"] == self.refresh[-1] else "token was already used"

    def lets_in(self, header: str) -> bool:
        """Whether an Authorization header has a living token: as a Bearer, or as the password of any name."""
        kind, _, value = header.partition(" ")
        token = base64.b64decode(value).decode().partition(":")[2] if kind == "Basic" else value
        return time.monotonic() < self.access.get(token, 0)


class _Handler(BaseHTTPRequestHandler):
    server: Forge
    timeout = 10  # seconds: browsers open connections that they do not use

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if path.startswith("/alice/demo.git/"):
            self._git(path, query, body)
            return
        self.session = "".join(re.findall(r"git_credential_forge_demo=([\w-]+)", self.headers.get("Cookie", ""))[:1])
        pages = {"/login/oauth/authorize": self._authorize, "/user/login": self._sign_in}
        pages |= {"/login/oauth/grant": self._grant, "/login/oauth/access_token": self._token}
        with self.server.lock:
            pages.get(path, self._document)(dict(parse_qsl(query or body.decode())))

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """It counts, and does not log: a line would hold a code."""

    def _authorize(self, asked: dict[str, str]) -> None:
        redirect, state = asked.get("redirect_uri", ""), asked.get("state", "")
        if asked.get("client_id") != CLIENT or not _REDIRECT.fullmatch(redirect):
            self._send(400, "Client ID not registered, or Unregistered Redirect URI")  # and nobody calls back
        elif asked.get("code_challenge_method") != "S256" or "code_challenge" not in asked:
            self._back(asked, error="invalid_request", error_description="PKCE is required for public clients")
        elif self.session not in self.server.pending:
            self._send(200, _SIGN_IN.format(html.escape(self.path)))
        else:
            self.server.seen["tabs"] += state != self.server.pending[self.session].get("state")  # not one loaded again
            self.server.pending[self.session] = asked
            self._send(200, _CONSENT.format(html.escape(redirect), html.escape(state)))

    def _sign_in(self, form: dict[str, str]) -> None:
        session = secrets.token_urlsafe()
        self.server.pending[session] = {}
        cookie = f"git_credential_forge_demo={session}; Path=/; Max-Age=900; HttpOnly; SameSite=Lax"
        self._send(303, Location=f"/{form['to'].lstrip('/')}", Set_Cookie=cookie)

    def _grant(self, form: dict[str, str]) -> None:
        asked, code = self.server.pending.get(self.session, {}), secrets.token_urlsafe()
        if asked.get("state") != form["state"]:
            self._send(400, "Another tab of this browser has taken the place of this one.")
        elif form.get("granted") != "true":
            self._back(asked, error="access_denied", error_description="the request is denied")
        else:
            self.server.codes[code] = asked
            self._back(asked, code=code)

    def _token(self, form: dict[str, str]) -> None:
        answer = self.server.token(form)
        self._send(400 if "error" in answer else 200, json.dumps(answer), Content_Type="application/json")

    def _document(self, _: dict[str, str]) -> None:
        """What this is, for a git that passes no challenge on; and who has signed in."""
        answer, oauth = {}, f"{self.server.url}/login/oauth/"
        if self.path == "/.well-known/openid-configuration":
            answer = {"issuer": self.server.url, "authorization_endpoint": f"{oauth}authorize"}
            answer["token_endpoint"] = f"{oauth}access_token"
        elif self.path == "/api/v1/user" and self.server.lets_in(self.headers.get("Authorization", "")):
            answer = {"login": "alice"}
        self._send(200 if answer else 404, json.dumps(answer), Content_Type="application/json")

    def _git(self, path: str, query: str, body: bytes) -> None:
        """Challenged without a token; refused with a bad one, without a challenge; else git's own server answers."""
        get = self.headers.get
        if not self.server.lets_in(get("Authorization", "")):
            challenge = {} if "Authorization" in self.headers else {"WWW_Authenticate": 'Basic realm="Gitea"'}
            self._send(401, "Failed to authenticate user", **challenge)
            return
        given = self.server.environment | {"REQUEST_METHOD": self.command, "PATH_INFO": path, "QUERY_STRING": query}
        given |= {"CONTENT_TYPE": get("Content-Type", ""), "CONTENT_LENGTH": str(len(body))}
        given |= {"HTTP_CONTENT_ENCODING": get("Content-Encoding", ""), "GIT_PROTOCOL": get("Git-Protocol", "")}
        done = subprocess.run(_BACKEND, input=body, env=given, capture_output=True, check=False, start_new_session=True)
        head, _, rest = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
        self._send(int(headers.pop("Status", "200" if headers else "500")[:3]), rest, **headers)

    def _back(self, asked: dict[str, str], **answer: str) -> None:
        self._send(303, Location=f"{asked['redirect_uri']}?{urlencode(answer | {'state': asked.get('state', '')})}")

    def _send(self, status: int, body: str | bytes = "", **headers: str) -> None:
        if isinstance(body, str):
            headers = {"Content_Type": "text/html; charset=utf-8", **headers}
            body = (_PAGE * headers["Content_Type"].startswith("text/html") + body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)
