"""Who has signed in: the forge's own answer."""

from __future__ import annotations

import base64
import json
import re

from git_credential_forge import say
from git_credential_forge.errors import UnreachableError
from git_credential_forge.oauth import http
from git_credential_forge.oauth.wire import Token
from git_credential_forge.recognise import Forge
from git_credential_forge.secret import Secret

# What may stand in a URL's userinfo and in our names file.
_NAME = re.compile(r"[^\x00-\x20\x7f-\x9f:/@\ud800-\udfff]{1,255}")


def ask(forge: Forge, token: Token) -> str | None:
    """The account that a token belongs to; None where the forge cannot say."""
    if forge.whoami_url is not None:
        return _name(forge, _fetch(forge.whoami_url, token.access_token))
    return _name(forge, _claims(forge, token.id_token)) if token.id_token else None


def _fetch(url: str, token: Secret) -> object:
    try:
        answer = http.get(url, bearer=token)
        return json.loads(answer.body) if answer.status == 200 else None  # noqa: PLR2004
    except (UnreachableError, ValueError, RecursionError) as error:
        say.trace(f"whoami: {type(error).__name__}")
        return None


def _claims(forge: Forge, id_token: Secret) -> object:
    """What an id_token says, if it is for us. It came from the token endpoint itself, by TLS, so its signature tells
    nothing more (OpenID Connect Core, section 3.1.3.7)."""
    payload = id_token.reveal().split(".")[1:2]
    try:
        found = json.loads(base64.urlsafe_b64decode(payload[0] + "==")) if payload else None
    except (ValueError, RecursionError):
        return None
    audience = found.get("aud") if isinstance(found, dict) else None
    return found if forge.client_id in (audience if isinstance(audience, list) else [audience]) else None


def _name(forge: Forge, found: object) -> str | None:
    said = found if isinstance(found, dict) else {}
    names = (said.get(field) for field in forge.kind.whoami_fields)
    return next((name for name in names if isinstance(name, str) and _NAME.fullmatch(name)), None)
