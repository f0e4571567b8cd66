"""Coder's tokens as an OAuth provider, of 2025 and of 2026. See `tests.support.coder`."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from tests.support.coder_authorize import UNRESERVED, Authorize
from tests.support.coder_people import Entry, api_key, moment, say, secret, wrong
from tests.support.httpserver import Answer

if TYPE_CHECKING:
    from tests.support.coder_clients import Client

KNOWN = {"grant_type", "client_id", "client_secret", "redirect_uri", "code", "code_verifier", "refresh_token"}
KNOWN |= {"resource"}
MONTH = 30 * 24 * 3600
API_KEY = re.compile(r"[^-]{10}-[^-]{22}")
SECRET = re.compile(r"coder_[^_]+_[^_]+")


@dataclass
class Grant:
    access: str
    refresh: str
    access_ends: float
    refresh_ends: float
    resource: str


class Tokens(Authorize):
    """An application has one grant of a person at a time: a new one is put in its place, and ends it."""

    def __init__(self) -> None:
        super().__init__()
        self.limit: int | None = None  # token requests that are answered before there have been too many
        self._lifetime = 86_399
        self._grants: dict[tuple[str, str], Grant] = {}

    def lifetime(self, seconds: int) -> None:
        """Of access tokens from now on; on the server of 2025 of refresh tokens too."""
        self._lifetime = seconds

    def expire(self) -> None:
        """Every access token is past its time; on the server of 2025 every refresh token too."""
        for grant in self._grants.values():
            grant.access_ends = 0
            grant.refresh_ends = 0 if self.generation == 2025 else grant.refresh_ends

    def end_tokens(self) -> None:
        self._grants = {}

    def end_of(self, client_id: str, person: str = "") -> None:
        """Codes and tokens of an application, all or one person's."""
        self.codes = {key: code for key, code in self.codes.items() if not _of(key, client_id, person)}
        self._grants = {key: grant for key, grant in self._grants.items() if not _of(key, client_id, person)}

    def person(self, token: str) -> str:
        for (_, person), grant in self._grants.items():
            if grant.access == token and grant.access_ends > time.time():
                return person
        return super().person(token)

    def token(self, entry: Entry) -> Answer:
        if self.limit is not None:
            if self.limit <= 0:
                return _too_many()
            self.limit -= 1
        if "client_secret" in entry.query:
            return _secret_in_query()
        client_id, given = self._presented(entry)
        client = self.clients.get(client_id)
        if client is None:
            return self.no_client(client_id)
        asked = entry.asked
        wanted = {"authorization_code": "code", "refresh_token": "refresh_token"}.get(asked.get("grant_type", ""))
        if wanted is None:
            return wrong(400, "unsupported_grant_type", "The grant type is missing or unsupported")
        missing = [name for name in (wanted, *self._also(wanted)) if not asked.get(name)]
        if missing:
            return wrong(400, "invalid_request", f"Missing required parameter: {missing[0]}")
        if self.generation == 2025 and not set(asked) <= KNOWN:
            return wrong(400, "invalid_request", "The request is missing required parameters or is otherwise malformed")
        if not self._authentic(client, given) and (wanted == "code" or self.generation == 2026):
            return self.bad_client()
        return self._exchange(client_id, asked) if wanted == "code" else self._refresh(client_id, asked)

    def _also(self, wanted: str) -> list[str]:
        if wanted != "code":
            return []
        return ["client_secret", "redirect_uri"] if self.generation == 2025 else ["redirect_uri"]

    def _presented(self, entry: Entry) -> tuple[str, str]:
        """Who asks, and its secret; that of 2025 does not look into the header."""
        found = entry.asked.get("client_id", ""), entry.asked.get("client_secret", "")
        scheme, _, value = entry.headers.get("authorization", "").partition(" ")
        if scheme != "Basic" or self.generation == 2025:
            return found
        client_id, _, given = base64.b64decode(value).decode().partition(":")
        return unquote_plus(client_id), unquote_plus(given)

    def _authentic(self, client: Client, given: str) -> bool:
        return client.public or (bool(given) and given == client.secret)

    def _exchange(self, client_id: str, asked: dict[str, str]) -> Answer:
        found = next(((key, code) for key, code in self.codes.items() if code.value == asked["code"]), None)
        if found is None or found[0][0] != client_id:
            return wrong(400, "invalid_grant", "The authorization code is invalid or expired")
        key, code = found
        verifier = asked.get("code_verifier", "")
        if self.generation == 2026:
            del self.codes[key]  # good for one try, where that of 2025 lets one try again
            if verifier and not UNRESERVED.fullmatch(verifier):
                return wrong(400, "invalid_request", "The PKCE code verifier is malformed")
            if asked["redirect_uri"] != code.redirect_uri:
                return wrong(400, "invalid_grant", "The authorization code is invalid or expired")
        if code.challenge and code.challenge != _challenge(verifier):
            return wrong(400, "invalid_grant", "The PKCE code verifier is invalid")
        if code.resource != asked.get("resource", ""):
            return wrong(400, "invalid_target", "The resource parameter is invalid")
        self.codes.pop(key, None)
        return self._give(key, code.resource)

    def _refresh(self, client_id: str, asked: dict[str, str]) -> Answer:
        for key, grant in self._grants.items():
            if key[0] == client_id and grant.refresh == asked["refresh_token"] and grant.refresh_ends > time.time():
                if asked.get("resource", grant.resource) != grant.resource:
                    return wrong(400, "invalid_target", "The resource parameter is invalid")
                return self._give(key, grant.resource)
        return wrong(400, "invalid_grant", "The refresh token is invalid or expired")

    def _give(self, key: tuple[str, str], resource: str) -> Answer:
        """Puts an end to what this application had of this person."""
        ends = time.time() + self._lifetime
        refresh_ends = ends if self.generation == 2025 else time.time() + MONTH
        grant = Grant(api_key(), secret(), ends, refresh_ends, resource)
        self.note("access_token", grant.access)
        self.note("refresh_token", grant.refresh)
        self._grants[key] = grant
        body = {"access_token": grant.access, "token_type": "Bearer", "refresh_token": grant.refresh}
        return say(200, body | {"expiry": moment(ends), "expires_in": self._lifetime})

    # Revocation.

    def revoke(self, entry: Entry) -> Answer:
        """RFC 7009, which the server of 2025 does not have."""
        client_id, given = self._presented(entry)
        client = self.clients.get(client_id)
        if client is None:
            return self.no_client(client_id)
        if "client_secret" in entry.query:
            return _secret_in_query()
        if not entry.asked.get("token"):
            return wrong(400, "invalid_request", "missing token parameter")
        if not self._authentic(client, given):
            return self.bad_client()
        token = entry.asked["token"]
        if not (SECRET if token.startswith("coder_") else API_KEY).fullmatch(token):
            return wrong(400, "invalid_request", "Invalid token format")
        for key in [key for key, grant in self._grants.items() if token in {grant.access, grant.refresh}]:
            if key[0] == client_id:
                del self._grants[key]
        return Answer(200, [], b"")

    def revoke_application(self, entry: Entry) -> Answer:
        """All that an application has of who asks."""
        client_id = entry.query.get("client_id", "")
        if client_id not in self.clients:
            return self.no_client(client_id)
        person = self.person(entry.session)
        if not person:
            return self.signed_out(entry.session)
        self.end_of(client_id, person)
        return Answer(204, [], b"")


def _of(key: tuple[str, str], client_id: str, person: str) -> bool:
    return key[0] == client_id and person in {"", key[1]}


def _secret_in_query() -> Answer:
    return wrong(400, "invalid_request", "client_secret must not be sent in the query string")


def _too_many() -> Answer:
    body = {"error": "temporarily_unavailable", "error_description": "Too many requests; try again later"}
    return say(429, body, [("Retry-After", "60")])


def _challenge(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
