"""A new access token for a session (RFC 6749, section 6). Of its outcomes only one ends the session."""

from __future__ import annotations

import time
from typing import NamedTuple

from git_credential_forge import say
from git_credential_forge.errors import UnreachableError
from git_credential_forge.oauth import token, wire
from git_credential_forge.oauth.wire import Refusal, Token
from git_credential_forge.recognise import Forge
from git_credential_forge.secret import Secret

PATIENCE = 10.0  # seconds in all, as people wait for a git command
_PERHAPS_DONE = (200, 500, 502, 504)  # with a body of no use: a gateway that has not heard the end of it, say
PAUSES = (0.4, 1.2)  # seconds between tries


class Refreshed(NamedTuple):
    token: Token


class Rejected(NamedTuple):
    """The grant is dead: the refresh token is of no more use to anybody. `lost`: a try before had perhaps been
    accepted, and its answer lost on the way; where refresh tokens rotate, that is what kills them."""

    refusal: Refusal
    lost: bool


class UnknownClient(NamedTuple):
    """The forge does not know the application, or its secret: nothing to do with this sign-in."""

    refusal: Refusal


class Unreachable(NamedTuple):
    """Nothing was decided: the session is as good as it was."""

    reason: str


def refresh(forge: Forge, refresh_token: Secret) -> Refreshed | Rejected | UnknownClient | Unreachable:
    """Up to three tries within `PATIENCE` seconds: what is only disturbed for a moment, nobody has to hear of."""
    deadline = time.monotonic() + PATIENCE
    lost = False
    reason = ""
    for pause in (*PAUSES, None):
        left = deadline - time.monotonic()
        wait = pause
        try:
            found, status, later = token.ask(forge, wire.refresh_form(forge, refresh_token), deadline=left)
        except UnreachableError as error:
            reason, lost = error.message, lost or error.sent
        else:
            if isinstance(found, Token):
                say.trace("refresh: token arrived")
                return Refreshed(found)
            if isinstance(found, Refusal) and found.dead_grant:
                return Rejected(found, lost)
            if isinstance(found, Refusal) and found.dead_client:
                return UnknownClient(found)
            lost = lost or (isinstance(found, wire.Broken) and status in _PERHAPS_DONE)
            said = found.reason if isinstance(found, wire.Broken) else f"it said: {say.clean(str(found))}"
            reason = f"{forge.name} cannot refresh the sign-in now ({said})"
            wait = pause and _asked_pause(later, pause)
        if wait is None or time.monotonic() + wait >= deadline:
            break
        time.sleep(wait)
    return Unreachable(reason)


def _asked_pause(retry_after: str, pause: float) -> float:
    """Retry-After in seconds (RFC 9110, section 10.2.3); its other form, a date, is not worth more than our pause."""
    return max(pause, min(float(retry_after), PATIENCE)) if retry_after.isdecimal() else pause
