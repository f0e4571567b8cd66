"""End the tokens of a sign-in at the forge (RFC 7009), where it has a call for that."""

from __future__ import annotations

from urllib.parse import urlencode

from git_credential_forge import say
from git_credential_forge.errors import UnreachableError
from git_credential_forge.forges import BY_KEY, OTHER
from git_credential_forge.oauth import http
from git_credential_forge.secret import Secret
from git_credential_forge.session import Session


def revoke(session: Session, client_secret: Secret | None) -> str | None:
    """Why the tokens may live on; None when they are ended. The refresh token goes first: with it, most servers end
    what was made from it; where the access token then is unknown, that is a success (section 2.2)."""
    if session.revoke_url is None and BY_KEY.get(session.kind, OTHER).deletes_tokens:
        return _delete(session)
    if session.revoke_url is None:
        return "this forge cannot revoke it by a call"
    tokens = [("refresh_token", session.refresh_token), ("access_token", session.access_token)]
    for hint, token in tokens:
        if token is None:
            continue
        form = {"token": token.reveal(), "token_type_hint": hint, "client_id": session.client_id}
        if client_secret is not None:
            form["client_secret"] = client_secret.reveal()
        try:
            answer = http.post(session.revoke_url, form)
        except UnreachableError as error:
            return error.message
        # A web page instead of an answer is some server's reply to every address, and has ended nothing.
        if answer.status != 200 or "html" in answer.content_type.lower():  # noqa: PLR2004
            say.trace(f"revoke: HTTP {answer.status} for the {hint}")
            return f"the forge did not revoke it (HTTP {answer.status})"
    return None


def _delete(session: Session) -> str | None:
    """All that this person has by this client. It takes an access token that lives."""
    url = f"{session.token_url}?{urlencode({'client_id': session.client_id})}"
    try:
        answer = http.delete(url, bearer=session.access_token)
    except UnreachableError as error:
        return error.message
    if answer.status == 204:  # noqa: PLR2004
        return None
    say.trace(f"revoke: HTTP {answer.status}")
    return f"the forge did not revoke it (HTTP {answer.status})"
