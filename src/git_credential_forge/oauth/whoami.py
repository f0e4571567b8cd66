"""Who has signed in: the forge's own answer."""

from __future__ import annotations

import json
import re

from git_credential_forge import say
from git_credential_forge.errors import UnreachableError
from git_credential_forge.oauth import http
from git_credential_forge.recognise import Forge
from git_credential_forge.secret import Secret

# What may stand in a URL's userinfo and in our names file.
_NAME = re.compile(r"[^\x00-\x20\x7f-\x9f:/@\ud800-\udfff]{1,255}")


def ask(forge: Forge, token: Secret) -> str | None:
    """The account that a token belongs to; None where the forge cannot say."""
    if forge.whoami_url is None:
        return None
    try:
        answer = http.get(forge.whoami_url, bearer=token)
        found = json.loads(answer.body) if answer.status == 200 else None  # noqa: PLR2004
    except (UnreachableError, ValueError, RecursionError) as error:
        say.trace(f"whoami: {type(error).__name__}")
        return None
    name = found.get(forge.kind.whoami_field) if isinstance(found, dict) else None
    return name if isinstance(name, str) and _NAME.fullmatch(name) else None
