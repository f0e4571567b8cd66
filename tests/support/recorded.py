"""A forge made of recorded answers, `tests/recorded/*.json`: served as they stand, with git's own server behind.

What differs each time (tokens, codes, addresses) stands in them as `<name>`. What the forge demands and what a refresh
ends there is in the file's `behaviour`:

- `username`: the only name that git may send beside a token; else any
- `says_401_for_all`: for a repository too that somebody may not see
- `secret`: applications have one, and every grant but a device's needs it
- `secret_in_header`: by HTTP Basic (true) or in the body (false) alone
- `refresh`: a refresh token comes with a token, good for one use; `keeps_refresh_token`: for ever, and is not repeated
- `refresh_kills_access`: the access token before is dead at once
- `iss`: what stands there in an authorization response (RFC 9207)
- `device_pace`: seconds that must be between two polls; `pkce_optional`: a code is given without a challenge too
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote_plus, urlencode

from tests.support.githttp import Repositories
from tests.support.httpserver import Answer, HttpServer, Request
from tests.support.surroundings import ROOT

if TYPE_CHECKING:
    from typing_extensions import Self

CLIENT, SECRET = "0a1b2c3d", "hush-client-secret"
GIT = re.compile(r"/(?:[^/]+/)+[^/]+\.git/")


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "tests" / "recorded" / f"{name}.json").read_text())
    return found


class Heard(NamedTuple):
    what: str  # the case that it was answered with; "git" for what git's server answered
    form: dict[str, str]


class Recorded:
    """Context manager. Everybody is alice, and grants what is asked for, unless `denies`. `root`: a path of the host
    below which all of it is."""

    def __init__(self, record: dict[str, Any], directory: Path, root: str = "") -> None:
        self.paths: dict[str, str] = {name: root + path for name, path in ({"git": ""} | record["paths"]).items()}
        self.behaviour: dict[str, Any] = record["behaviour"]
        self.cases = {case["name"]: case["response"] for case in record["cases"]}
        self.repositories = Repositories(directory)
        self.repositories.create("alice", "demo")
        self.ca_file = directory / "unused"
        self.denies = False
        self.lifetime: int | None = None  # of access tokens from now on, instead of the recorded one
        self.issuer: str = self.behaviour.get("iss", "")
        self.registered = {CLIENT: SECRET if self.behaviour.get("secret") else ""}
        self.heard: list[Heard] = []
        self.given: dict[str, list[str]] = {name: [] for name in ("access_token", "refresh_token", "code", "state")}
        self.access: dict[str, float] = {}  # tokens that are good, and until when
        self.refresh: dict[str, str] = {}  # refresh tokens that are good, and the access token given with each
        self._codes: dict[str, dict[str, str]] = {}
        self._devices: dict[str, str] = {}  # user code: device code
        self._decided: dict[str, bool] = {}  # device code: whether the person has said yes
        self._polled: dict[str, float] = {}
        self._server = HttpServer(self._answer)
        self.host = f"127.0.0.1:{self._server.port}"
        self.url = f"http://{self.host}"
        self._root, self.base = root, self.url + root  # which stands as `<base>` in the record
        self.repo_url = f"{self.url}{self.paths['git']}/alice/demo.git"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    # What a test may do, and see.

    def secrets(self) -> dict[str, list[str]]:
        return self.given

    def expire(self) -> None:
        """All access tokens; refresh tokens stay good."""
        self.access.clear()

    def revoke_all(self) -> None:
        self.access.clear()
        self.refresh.clear()

    def enter(self, user_code: str, *, grant: bool = True) -> None:
        """A person enters a code on the forge's page, and decides."""
        self._decided[self._devices[user_code]] = grant

    def what(self, *names: str) -> list[str]:
        """What was answered, in order; only these."""
        return [heard.what for heard in self.heard if heard.what in names]

    def forms(self, what: str) -> list[dict[str, str]]:
        return [heard.form for heard in self.heard if heard.what == what]

    # Answering.

    def _answer(self, request: Request) -> Answer:
        path, _, query = request.target.partition("?")
        for name in ("authorize", "token", "device", "revoke", "whoami", "discovery", "resource"):
            if path == self.paths.get(name):
                form = dict(parse_qsl(request.body.decode() or query, keep_blank_values=True))
                answer: Answer = getattr(self, f"_{name}")(request, form)
                return answer
        below = path.removeprefix(self.paths["git"])
        if path.startswith(self._root + "/") and GIT.match(below):
            return self._git(request, request.target.replace(path, below, 1))
        self.heard.append(Heard("nothing there", {"path": path}))
        return Answer(404, [("Content-Type", "text/html")], b"<html>Not Found</html>")

    def _authorize(self, _: Request, form: dict[str, str]) -> Answer:
        self.given["state"].append(form["state"])
        if self.denies:
            return self._say("denied", form, redirect_uri=form["redirect_uri"], state=quote(form["state"]))
        code = self._fresh("code")
        self._codes[code] = form
        self.heard.append(Heard("code", form))
        joint = "&" if "?" in form["redirect_uri"] else "?"
        sent = {"code": code, "state": form["state"]}
        if self.issuer:
            sent["iss"] = self.issuer.replace("<base>", self.base)
        back = f"{form['redirect_uri']}{joint}{urlencode(sent)}"
        return Answer(302, [("Location", back)], b"")

    def _token(self, request: Request, form: dict[str, str]) -> Answer:
        suffix = "" if "application/json" in request.header("Accept") else ", form-encoded"
        grant = form.get("grant_type", "")
        device = grant.endswith(":device_code")
        client, secret = _client(request, form)
        known = self.registered.get(client)
        in_header = self.behaviour.get("secret_in_header", bool(request.header("Authorization")))
        wrong_way = bool(secret) and in_header != bool(request.header("Authorization"))
        if known is None or wrong_way or (secret or "") != ("" if device and not secret else known):
            return self._say("unknown client", form, suffix=suffix)
        if device:
            return self._poll(form, suffix)
        if grant == "refresh_token":
            return self._refresh(form, suffix)
        asked = self._codes.pop(form.get("code", ""), None)
        if asked is None or asked["redirect_uri"] != form.get("redirect_uri") or not self._proven(asked, form):
            return self._say("bad code", form, suffix=suffix)
        return self._give("token", form, suffix)

    def _proven(self, asked: dict[str, str], form: dict[str, str]) -> bool:
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        made = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        return asked.get("code_challenge", "" if self.behaviour.get("pkce_optional") else None) == made

    def _refresh(self, form: dict[str, str], suffix: str) -> Answer:
        token = form.get("refresh_token", "")
        if token not in self.refresh:
            return self._say("bad refresh token", form, suffix=suffix)
        if self.behaviour.get("refresh_kills_access"):
            self.access.pop(self.refresh[token], None)
        if self.behaviour.get("keeps_refresh_token"):
            return self._give("refreshed", form, suffix)
        del self.refresh[token]
        return self._give("token", form, suffix, heard="refreshed")

    def _give(self, case: str, form: dict[str, str], suffix: str, heard: str = "") -> Answer:
        access, refresh = self._fresh("access_token"), ""
        self.access[access] = time.time() + (self.lifetime or 7200)
        if self.behaviour.get("refresh") and "<refresh_token>" in self.cases[case]["body"]:
            refresh = self._fresh("refresh_token")
            self.refresh[refresh] = access
        answer = self._say(case, form, suffix=suffix, heard=heard, access_token=access, refresh_token=refresh)
        if self.lifetime is None:
            return answer
        body = re.sub(rb'("expires_in":)\d+', rb"\g<1>%d" % self.lifetime, answer.body)
        return Answer(answer.status, answer.headers, body)

    def _device(self, request: Request, form: dict[str, str]) -> Answer:
        suffix = "" if "application/json" in request.header("Accept") else ", form-encoded"
        if form.get("client_id") not in self.registered:
            return self._say("unknown client", form, suffix=suffix)
        device, user = secrets.token_hex(20), f"WDJB-{len(self._devices):04}"
        self._devices[user] = device
        return self._say("device code", form, suffix=suffix, device_code=device, user_code=user)

    def _poll(self, form: dict[str, str], suffix: str) -> Answer:
        device = form["device_code"]
        last, self._polled[device] = self._polled.get(device, 0.0), time.monotonic()
        if time.monotonic() - last < self.behaviour.get("device_pace", 0):
            return self._say("device too fast", form, suffix=suffix)
        if device not in self._decided:
            return self._say("device pending", form, suffix=suffix)
        if not self._decided[device]:
            return self._say("device denied", form, suffix=suffix)
        return self._give("device token" if "device token" in self.cases else "token", form, suffix)

    def _revoke(self, request: Request, form: dict[str, str]) -> Answer:
        client, secret = _client(request, form)
        if "revocation refused" in self.cases and self.registered.get(client) != (secret or ""):
            return self._say("revocation refused", form)
        token = form.get("token", "")
        self.access.pop(self.refresh.pop(token, token), None)
        return self._say("revoked", form)

    def _whoami(self, request: Request, form: dict[str, str]) -> Answer:
        token = request.header("Authorization").removeprefix("Bearer ")
        return self._say("whoami" if self._is_good(token) else "whoami refused", form, login="alice")

    def _discovery(self, _: Request, form: dict[str, str]) -> Answer:
        return self._say("discovery", form)

    def _resource(self, _: Request, form: dict[str, str]) -> Answer:
        return self._say("resource", form)

    def _git(self, request: Request, target: str) -> Answer:
        scheme, _, value = request.header("Authorization").partition(" ")
        user, _, token = base64.b64decode(value).decode().partition(":") if scheme == "Basic" else ("", "", "")
        if not scheme or (scheme == "Basic" and not token):  # a name in the address goes out before git has asked us
            return self._say("challenge", {})
        hidden = self.behaviour.get("says_401_for_all") and not self.repositories.has(target)
        if self.behaviour.get("username", user) != user or not self._is_good(token) or hidden:
            return self._say("refused", {"username": user})
        self.heard.append(Heard("git", {"username": user}))
        below = Request(request.method, target, request.headers, request.body)
        return self.repositories.serve(below, "alice")

    def _is_good(self, token: str) -> bool:
        return self.access.get(token, 0.0) > time.time()

    def _fresh(self, kind: str) -> str:
        self.given[kind].append(f"{kind}-{secrets.token_urlsafe(30)}")
        return self.given[kind][-1]

    def _say(self, case: str, form: dict[str, str], *, suffix: str = "", heard: str = "", **words: str) -> Answer:
        """A recorded answer; its variant where that was recorded."""
        self.heard.append(Heard(heard or case, form))
        found = self.cases.get(case + suffix) or self.cases[case]

        def filled(text: str) -> str:
            for name, word in {"base": self.base, **words}.items():
                text = text.replace(f"<{name}>", word)
            return text

        headers = [(name, filled(value)) for name, value in found["headers"].items()]
        return Answer(found["status"], headers, filled(found["body"]).encode())


def _client(request: Request, form: dict[str, str]) -> tuple[str, str | None]:
    """Who asks, and its secret: in the header or in the body (RFC 6749, section 2.3.1)."""
    scheme, _, value = request.header("Authorization").partition(" ")
    if scheme == "Basic":
        client, _, secret = base64.b64decode(value).decode().partition(":")
        return unquote_plus(client), unquote_plus(secret)
    return form.get("client_id", ""), form.get("client_secret")
