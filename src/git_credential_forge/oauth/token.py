"""Requests to a forge's endpoints as the client that we are there (RFC 6749, section 2.3.1)."""

from __future__ import annotations

from typing import NamedTuple

from git_credential_forge.oauth import http, wire
from git_credential_forge.oauth.http import Response
from git_credential_forge.oauth.wire import Broken, DeviceCode, Refusal, Token
from git_credential_forge.recognise import Forge


class Outcome(NamedTuple):
    found: Token | Refusal | Broken
    status: int
    retry_after: str


def ask(forge: Forge, form: dict[str, str], *, deadline: float = http.DEADLINE) -> Outcome:
    """What the token endpoint answers. Raises UnreachableError.

    A client's secret goes into the body, as Coder wants it, or into the header, as the metadata or the configuration
    says. A server that does not take the one is asked in the other way: it looks at the client before the grant. Not
    for a client that was registered by itself: there its metadata is known.
    """
    outcome = _ask(forge, form, in_header=forge.secret_in_header, deadline=deadline)
    if forge.client_secret and not forge.own and isinstance(outcome.found, Refusal) and outcome.found.dead_client:
        other = _ask(forge, form, in_header=not forge.secret_in_header, deadline=deadline)
        return outcome if isinstance(other.found, Refusal) and other.found.dead_client else other
    return outcome


def device_code(forge: Forge, url: str) -> tuple[DeviceCode | Refusal | Broken, int]:
    """What the device authorization endpoint answers, and with which status. Raises UnreachableError."""
    answer = _post(forge, url, wire.device_form(forge), in_header=forge.secret_in_header, deadline=http.DEADLINE)
    return wire.parse_device(answer.status, answer.content_type, answer.body), answer.status


def _ask(forge: Forge, form: dict[str, str], *, in_header: bool, deadline: float) -> Outcome:
    answer = _post(forge, forge.token_url, form, in_header=in_header, deadline=deadline)
    found = wire.parse_token(answer.status, answer.content_type, answer.body, answer.location)
    return Outcome(found, answer.status, answer.retry_after)


def _post(forge: Forge, url: str, form: dict[str, str], *, in_header: bool, deadline: float) -> Response:
    client, secret = forge.client_id or "", forge.client_secret
    body = {**form, "client_id": client}
    if secret is not None and not in_header:
        body["client_secret"] = secret.reveal()
    basic = (client, secret) if secret is not None and in_header else None
    return http.post(url, body, basic=basic, deadline=deadline)
