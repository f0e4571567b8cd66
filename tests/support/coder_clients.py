"""Coder's applications: registered by themselves (RFC 7591, RFC 7592), or by an owner. See `tests.support.coder`."""

from __future__ import annotations

import base64
import secrets
import time
import uuid
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.support.coder_people import Entry, People, letters, problem, say, secret, wrong
from tests.support.httpserver import Answer

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
PLAIN = "application/json"  # of registration's errors
MISSING = "Resource not found or you do not have access to this resource"


@dataclass
class Client:
    """`secret` is None where none was made, `registration_token` empty for what an owner has made."""

    name: str
    redirect_uris: list[str]
    secret: str | None
    public: bool
    registration_token: str
    method: str = "client_secret_basic"
    issued_at: int = field(default_factory=lambda: int(time.time()))
    secret_ids: list[str] = field(default_factory=list)


class Clients(People):
    generation: int
    registration: bool

    def __init__(self) -> None:
        super().__init__()
        self.clients: dict[str, Client] = {}

    def end_of(self, client_id: str, person: str = "") -> None:
        raise NotImplementedError

    # By themselves.

    def register(self, entry: Entry) -> Answer:
        if refused := _refused(entry.form):
            return refused
        method = entry.form.get("token_endpoint_auth_method", "client_secret_basic")
        public = self.generation == 2026 and method == "none"
        client = Client(
            name=entry.form.get("client_name") or "Dynamic Client",
            redirect_uris=entry.form["redirect_uris"],
            secret=None if public else self.note("client_secret", secret()),
            public=public,
            registration_token=self.note("registration_token", letters(40)),
            method=method,
        )
        client_id = str(uuid.uuid4())
        self.clients[client_id] = client
        found = self._described(client_id, client) | {"registration_access_token": client.registration_token}
        return say(201, found | ({} if public else {"client_secret": client.secret}))

    def manage(self, entry: Entry, client_id: str) -> Answer:
        client = self.clients.get(client_id)
        if client is None or not client.registration_token:
            return wrong(401, "invalid_token", "Client not found", PLAIN)
        if not entry.bearer:
            return wrong(401, "invalid_token", "Missing Authorization header", PLAIN)
        if entry.bearer != client.registration_token:
            return wrong(401, "invalid_token", "Invalid registration access token", PLAIN)
        if entry.method == "DELETE":
            return self._forget(client_id)
        found = self._described(client_id, client)
        if entry.method == "PUT":
            if refused := _refused(entry.form):
                return refused
            client.redirect_uris = entry.form["redirect_uris"]
            client.name = entry.form.get("client_name") or client.name
            client.method = entry.form.get("token_endpoint_auth_method", "client_secret_basic")
            found = self._described(client_id, client)
            if self.generation == 2025:  # which says what it keeps of the token, instead of the token
                salted = [base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (16, 64)]
                found["registration_access_token"] = f"$pbkdf2-sha256$65535${salted[0]}${salted[1]}"
        return say(200, found)

    def _described(self, client_id: str, client: Client) -> dict[str, Any]:
        return {
            "client_id": client_id,
            "client_id_issued_at": client.issued_at,
            "redirect_uris": client.redirect_uris,
            "client_name": client.name,
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": client.method,
            "registration_access_token": "",
            "registration_client_uri": f"{self.url}/oauth2/clients/{client_id}",
        }

    def _forget(self, client_id: str) -> Answer:
        del self.clients[client_id]
        self.end_of(client_id)
        return Answer(204, [], b"")

    # By an owner.

    def apps(self, entry: Entry) -> Answer:
        if refused := self._not_an_owner(entry):
            return refused
        if entry.method == "GET":
            return say(200, [self._app(client_id) for client_id in self.clients])
        missing = [name for name in ("name", "callback_url") if not entry.form.get(name)]
        if missing:
            found = [{"field": name, "detail": _required(name)} for name in missing]
            return say(400, {"message": "Validation failed.", "validations": found})
        client_id = str(uuid.uuid4())
        self.clients[client_id] = Client(entry.form["name"], [entry.form["callback_url"]], None, False, "")
        return say(201, self._app(client_id))

    def app(self, entry: Entry, client_id: str) -> Answer:
        if refused := self._not_an_owner(entry):
            return refused
        if client_id not in self.clients:
            return problem(404, MISSING)
        return self._forget(client_id) if entry.method == "DELETE" else say(200, self._app(client_id))

    def app_secrets(self, entry: Entry, client_id: str) -> Answer:
        if refused := self._not_an_owner(entry):
            return refused
        if client_id not in self.clients:
            return problem(404, MISSING)
        client = self.clients[client_id]
        client.secret = self.note("client_secret", secret())
        client.secret_ids.append(str(uuid.uuid4()))
        return say(201, {"id": client.secret_ids[-1], "client_secret_full": client.secret})

    def app_secret(self, entry: Entry, client_id: str, secret_id: str) -> Answer:
        if refused := self._not_an_owner(entry):
            return refused
        client = self.clients.get(client_id)
        if client is None or secret_id not in client.secret_ids:
            return problem(404, MISSING)
        if secret_id == client.secret_ids[-1]:
            client.secret = None
        client.secret_ids.remove(secret_id)
        return Answer(204, [], b"")

    def _not_an_owner(self, entry: Entry) -> Answer | None:
        if not self.person(entry.session):
            return self.signed_out(entry.session)
        return None if self.owner else problem(403, "Forbidden.", "You don't have permission to view this content.")

    def _app(self, client_id: str) -> dict[str, Any]:
        client = self.clients[client_id]
        endpoints = {"authorization": f"{self.url}/oauth2/authorize", "token": f"{self.url}/oauth2/tokens"}
        return {
            "id": client_id,
            "name": client.name,
            "callback_url": client.redirect_uris[0],
            "icon": "",
            "endpoints": endpoints | {"device_authorization": ""},
        }


def _required(name: str) -> str:
    return f'Validation failed for tag "required" with value: "{name}"'


def _refused(form: dict[str, Any]) -> Answer | None:
    """What is wrong with what somebody wants to register."""
    words = ""
    uris = form.get("redirect_uris") or []
    if not uris:
        words = "redirect_uris is required for authorization code flow"
    for number, uri in enumerate(uris):
        parts = urlsplit(uri)
        if "#" in uri:
            words = f"invalid redirect_uris: redirect URI at index {number} must not contain a fragment component"
        elif parts.scheme == "http" and parts.hostname not in LOOPBACK:
            words = (
                f"invalid redirect_uris: redirect URI at index {number} must use https scheme for non-localhost URLs"
            )
        elif parts.scheme in {"", "javascript", "data", "file", "ftp"}:
            words = f"invalid redirect_uris: redirect URI at index {number} uses a scheme that is not allowed"
    if not set(form.get("grant_types", ["authorization_code"])) <= {"authorization_code", "refresh_token"}:
        words = words or "invalid grant_types: unsupported grant type"
    if form.get("token_endpoint_auth_method", "none") not in {"none", "client_secret_basic", "client_secret_post"}:
        words = words or "invalid token_endpoint_auth_method"
    return wrong(400, "invalid_client_metadata", words, PLAIN) if words else None
