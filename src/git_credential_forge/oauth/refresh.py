"""A new access token for a session (RFC 6749, section 6). Of its outcomes only one ends the session."""

from __future__ import annotations

from typing import NamedTuple

from git_credential_forge.errors import UnreachableError
from git_credential_forge.oauth import http, wire
from git_credential_forge.oauth.wire import Refusal, Token
from git_credential_forge.recognise import Forge
from git_credential_forge.secret import Secret


class Refreshed(NamedTuple):
    token: Token


class Rejected(NamedTuple):
    """The grant is dead: the refresh token is of no more use to anybody."""

    refusal: Refusal


class UnknownClient(NamedTuple):
    """The forge does not know the application, or its secret: nothing to do with this sign-in."""

    refusal: Refusal


class Unreachable(NamedTuple):
    """Nothing was decided: the session is as good as it was."""

    reason: str


def refresh(forge: Forge, refresh_token: Secret) -> Refreshed | Rejected | UnknownClient | Unreachable:
    try:
        answer = http.post(forge.token_url, wire.refresh_form(forge, refresh_token))
    except UnreachableError as error:
        return Unreachable(error.message)
    found = wire.parse_token(answer.status, answer.content_type, answer.body, answer.location)
    if isinstance(found, Token):
        return Refreshed(found)
    if isinstance(found, Refusal) and found.dead_grant:
        return Rejected(found)
    if isinstance(found, Refusal) and found.dead_client:
        return UnknownClient(found)
    reason = found.reason if isinstance(found, wire.Broken) else f"it said: {found}"
    return Unreachable(f"{forge.name} cannot refresh the sign-in now ({reason})")
