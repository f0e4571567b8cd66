"""Coder's people: their sessions and pages, and the words in which Coder answers. See `tests.support.coder`."""

from __future__ import annotations

import html
import json
import re
import secrets
import string
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from tests.support.forge import PASSWORDS
from tests.support.httpserver import Answer

if TYPE_CHECKING:
    from collections.abc import Iterable

JSON = "application/json; charset=utf-8"
PAGE = "text/html; charset=utf-8"
COOKIE = "coder_session_token"
SIGNED_OUT = "You are signed out or your session has expired. Please sign in again to continue."
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass
class Entry:
    """A request, and the status that it got: 0 while it is open, and where it was cut."""

    method: str
    path: str
    query: dict[str, str]
    pairs: list[tuple[str, str]]  # of the query, as they came
    form: dict[str, Any]
    headers: dict[str, str]
    status: int = 0

    @property
    def asked(self) -> dict[str, str]:
        """What a token request may say: query and form, the form first (Go's `Request.Form`)."""
        return self.query | self.form

    @property
    def bearer(self) -> str:
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme.lower() == "bearer" else ""

    @property
    def cookie(self) -> str:
        found = re.search(rf"(?:^|; ?){COOKIE}=([^;]*)", self.headers.get("cookie", ""))
        return found[1] if found else ""

    @property
    def session(self) -> str:
        """The token, wherever it stands."""
        return self.headers.get("coder-session-token", "") or self.bearer or self.cookie


def say(status: int, body: object, headers: Iterable[tuple[str, str]] = (), kind: str = JSON) -> Answer:
    return Answer(status, [("Content-Type", kind), *headers], (json.dumps(body, separators=(",", ":")) + "\n").encode())


def problem(status: int, message: str, detail: str = "") -> Answer:
    """Coder's own error, which is none of OAuth's."""
    return say(status, {"message": message} | ({"detail": detail} if detail else {}))


def wrong(status: int, error: str, description: str, kind: str = JSON) -> Answer:
    """OAuth's error (RFC 6749, section 5.2)."""
    return say(status, {"error": error, "error_description": description}, kind=kind)


def page(title: str, body: str, status: int = 200) -> Answer:
    text = f"<!DOCTYPE html><html><head><title>{html.escape(title)}</title></head><body>{body}</body></html>"
    return Answer(status, [("Content-Type", PAGE)], text.encode())


def letters(number: int) -> str:
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(number))


def api_key() -> str:
    return f"{letters(10)}-{letters(22)}"


def secret() -> str:
    return f"coder_{letters(10)}_{letters(40)}"


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class People:
    """Who has which session. Every secret that was given out is in `secrets()`."""

    url: str
    base: str
    generation: int

    def __init__(self) -> None:
        self.owner = True  # whether they own the deployment
        self.given: dict[str, list[str]] = {}
        self.session_token = self.note("session_token", api_key())
        self.sessions = {self.session_token: "alice"}

    def secrets(self) -> dict[str, list[str]]:
        return self.given

    def note(self, kind: str, value: str) -> str:
        self.given.setdefault(kind, []).append(value)
        return value

    def person(self, token: str) -> str:
        """Whose token that is, empty for one that is not good; `OAuth` knows more of them."""
        return self.sessions.get(token, "")

    def signed_out(self, token: str) -> Answer:
        parts = token.split("-")
        if not token:
            detail = f'Cookie "{COOKIE}" or query parameter must be provided.'
        elif len(parts) != 2:
            detail = f"Invalid API key format: incorrect amount of API key parts, expected 2 got {len(parts)}"
        else:
            detail = "API key is invalid."
        challenge = (
            'Bearer realm="coder", error="invalid_token", error_description="The access token has expired", '
            f'resource_metadata="{self.url}/.well-known/oauth-protected-resource"'
        )
        return say(401, {"message": SIGNED_OUT, "detail": detail}, [("WWW-Authenticate", challenge)])

    def me(self, entry: Entry) -> Answer:
        name = self.person(entry.session)
        if not name:
            return self.signed_out(entry.session)
        now = moment(0)
        return say(
            200,
            {
                "id": "d815b1e1-c714-465e-ba24-699750c41cd6",
                "username": name,
                "name": name[0].upper(),
                "email": f"{name}@example.org",
                "created_at": now,
                "updated_at": now,
                "last_seen_at": now,
                "status": "active",
                "login_type": "password",
                "organization_ids": ["1c81a63f-b2a5-4366-97f3-ce1b61882677"],
                "roles": [{"name": "owner", "display_name": "Owner"}] if self.owner else [],
            },
        )

    def buildinfo(self, _: Entry) -> Answer:
        """What it says of itself to everybody (coder/coder, codersdk/deployment.go)."""
        version = {2025: "v2.26.0", 2026: "v2.36.0"}[self.generation]
        found = {"external_url": f"https://github.com/coder/coder/releases/tag/{version}", "version": version}
        return say(200, found | {"dashboard_url": self.url, "workspace_proxy": False})

    def to_login(self, entry: Entry) -> Answer:
        """Where a page goes whose reader is not signed in."""
        back = f"{self.base}{entry.path}" + (f"?{urlencode(entry.pairs)}" if entry.pairs else "")
        return Answer(307, [("Location", f"{self.url}/login?{urlencode({'redirect': back})}")], b"")

    def login(self, entry: Entry) -> Answer:
        """The sign-in page. The real one sends JSON from a script; whoever fills in forms cannot tell."""
        back = entry.asked.get("redirect", f"{self.base}/")
        name = entry.form.get("username", "")
        if entry.method == "POST" and PASSWORDS.get(name) == entry.form.get("password"):
            session = self.note("session_token", api_key())
            self.sessions[session] = name
            cookie = f"{COOKIE}={session}; Path=/; HttpOnly; SameSite=Lax"
            return Answer(303, [("Location", back), ("Set-Cookie", cookie)], b"")
        return page(
            "Sign in to Coder",
            f'<form method="post" action="{self.base}/login">'
            f'<input type="hidden" name="redirect" value="{html.escape(back)}">'
            '<input name="username"><input type="password" name="password">'
            '<button type="submit">Sign in</button></form>',
        )
