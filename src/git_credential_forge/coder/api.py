"""What Coder's API answers, taken apart: its errors as a sentence, and what answers in its place. No I/O."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from git_credential_forge import say
from git_credential_forge.origin import parse

if TYPE_CHECKING:
    from git_credential_forge.oauth.http import Response
    from git_credential_forge.secret import Secret

MOST_VALIDATIONS = 8  # that are shown: one for each field of a request, and ours have two


def words(answer: Response, *secrets: Secret) -> str | None:
    """Coder's error, `{"message", "detail", "validations": [{"field", "detail"}]}`, whole and cleaned; None where the
    answer is no such object. `secrets`: what was sent along, should a server repeat it."""
    said = fields(answer)
    message = _text(said, "message")
    if said is None or not message:
        return None
    found = said.get("validations")
    lines = [line for line in found if isinstance(line, dict)] if isinstance(found, list) else []
    wrong = [(_text(line, "field"), _text(line, "detail")) for line in lines[:MOST_VALIDATIONS]]
    parts = [message, _text(said, "detail"), *(": ".join(filter(None, pair)) for pair in wrong)]
    return ": ".join(cleaned(part, *secrets) for part in parts[:2] if part) + "".join(
        f"; {cleaned(part, *secrets)}" for part in parts[2:] if part
    )


def detail(answer: Response) -> str:
    """Of an error what it says for programs, as it came; '' where it says nothing."""
    return _text(fields(answer), "detail")


def stranger(answer: Response) -> str | None:
    """What answers in the place of Coder: a redirect, which is never followed, or a web page; None where it speaks as
    an API does."""
    if 300 <= answer.status < 400:  # noqa: PLR2004
        elsewhere = parse(answer.location)
        return f"it redirects to {elsewhere.origin.netloc if elsewhere else 'another place'}"
    if "html" in answer.content_type.lower():
        return f"it answered with a web page (HTTP {answer.status})"
    return None


def fields(answer: Response) -> dict[str, object] | None:
    """The JSON object that an answer is, else None."""
    found = document(answer)
    return found if isinstance(found, dict) else None


def document(answer: Response) -> object:
    """The JSON that an answer is, else None."""
    try:
        return json.loads(answer.body.decode("utf-8"))
    except (ValueError, RecursionError):
        return None


def _text(said: dict[str, object] | None, name: str) -> str:
    found = said.get(name) if said else None
    return found if isinstance(found, str) else ""


def cleaned(text: str, *secrets: Secret) -> str:
    """Words of a server, without what was sent along."""
    for secret in secrets:
        text = text.replace(secret.reveal(), "…")
    return say.clean(text).rstrip(".")
