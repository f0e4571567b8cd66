"""A forge that has no passwords of its own: it sends who wants to sign in on to another forge, and takes the name that
comes back ("Sign in with Codeberg")."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from email.message import Message
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import httpx

from tests.support.forge import PASSWORDS, Forge
from tests.support.httpserver import Answer, Request

if TYPE_CHECKING:
    from typing import Any

LOGIN = "/user/login"
BACK = "/user/oauth2/provider/callback"
CLIENT_ID = "the forge that delegates"


class Delegating(Forge):
    """Its accounts have the names of the provider's."""

    def __init__(self, provider: Forge, **how: Any) -> None:
        self._provider = provider
        self._wanted: dict[str, tuple[str, str]] = {}  # state -> where to, verifier
        super().__init__(**how)
        provider.add_application(CLIENT_ID, name="a forge", redirect_uris=self.url + BACK)

    def _proxy(self, request: Request) -> Answer:
        path, _, query = request.target.partition("?")
        said = {name: values[0] for name, values in parse_qs(query).items()}
        if path == LOGIN:
            return self._send_on(said.get("next", "/"))
        if path == BACK:
            return self._take_back(said)
        return super()._proxy(request)

    def _send_on(self, where_to: str) -> Answer:
        state, verifier = secrets.token_urlsafe(), secrets.token_urlsafe(40)
        self._wanted[state] = where_to, verifier
        digest = hashlib.sha256(verifier.encode()).digest()
        asked = {
            "client_id": CLIENT_ID,
            "response_type": "code",
            "redirect_uri": self.url + BACK,
            "state": state,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        return Answer(302, [("Location", f"{self._provider.url}/login/oauth/authorize?{urlencode(asked)}")], b"")

    def _take_back(self, said: dict[str, str]) -> Answer:
        where_to, verifier = self._wanted.pop(said["state"])
        form = {"grant_type": "authorization_code", "client_id": CLIENT_ID, "redirect_uri": self.url + BACK}
        form |= {"code": said["code"], "code_verifier": verifier}
        with httpx.Client(verify=False, trust_env=False, base_url=self._provider.url) as client:
            token = client.post("/login/oauth/access_token", data=form).json()["access_token"]
            user = client.get("/api/v1/user", headers={"Authorization": f"Bearer {token}"}).json()["login"]
        cookies = [("Set-Cookie", cookie) for cookie in self._signed_in(user)]
        return Answer(302, [("Location", where_to), *cookies], b"")

    def _signed_in(self, user: str) -> list[str]:
        """The cookies of somebody who has signed in here: the toolkit's own form, filled in by us."""
        page = super()._proxy(_request("GET", LOGIN))
        [field] = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.body.decode())
        [cookie] = _cookies(page)
        form = {"csrfmiddlewaretoken": field, "username": user, "password": PASSWORDS[user]}
        head = {"Cookie": cookie.partition(";")[0], "Referer": self.url + LOGIN, "Host": urlsplit(self.url).netloc}
        head["Content-Type"] = "application/x-www-form-urlencoded"
        done = super()._proxy(_request("POST", LOGIN, urlencode(form, quote_via=quote), head))
        assert done.status == 302, done
        return _cookies(done)


def _cookies(answer: Answer) -> list[str]:
    return [value for name, value in answer.headers if name.lower() == "set-cookie"]


def _request(method: str, target: str, body: str = "", headers: dict[str, str] | None = None) -> Request:
    head = Message()
    for name, value in (headers or {}).items():
        head[name] = value
    return Request(method, target, head, body.encode())
