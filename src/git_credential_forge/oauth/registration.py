"""An application that a program registers: by itself (RFC 7591), or as one of the person's own, by the forge's calls.

Answers are a server's, so hostile until each part that is used has been looked at.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from git_credential_forge import say
from git_credential_forge.errors import RefusedError, UnreachableError
from git_credential_forge.oauth import http
from git_credential_forge.oauth.http import Response
from git_credential_forge.origin import parse
from git_credential_forge.recognise import Forge, Registration
from git_credential_forge.secret import Secret

ID = re.compile(r"[\x21-\x7e]{1,512}")  # VSCHAR of RFC 6749, appendix A, without the space; ids of 90 have been seen
SECRET = re.compile(r"[\x21-\x7e]{1,4096}")
TAKE_BACK = 2.0  # seconds: it is also done on Ctrl-C
_PAGES = 20  # of applications, as a bound
_PAGE = 50  # applications: the most that Gitea gives at once


class Client(NamedTuple):
    client_id: str
    secret: Secret | None
    redirect: str
    url: str | None = None  # where the registration is changed or taken back (RFC 7592)
    token: Secret | None = None  # and with what


class Application(NamedTuple):
    """One of a person's own, as a Forgejo or Gitea lists it."""

    number: int
    name: str
    client_id: str
    redirects: tuple[str, ...]
    confidential: bool

    def serves(self, redirect: str) -> bool:
        """Whether a program without a secret can sign in by it."""
        return not self.confidential and redirect in self.redirects


def register(forge: Forge, url: str, name: str) -> Client:
    """Register a client by itself (RFC 7591, section 3). Raises RefusedError, UnreachableError."""
    answer = http.post_json(url, _wanted(forge, name))
    found = _json(answer)
    if not isinstance(found, dict) or answer.status not in (200, 201):
        raise _refused(forge, answer, found, "register an application")
    client_id, secret = found.get("client_id"), found.get("client_secret")
    redirects, granted = found.get("redirect_uris", [forge.redirect]), found.get("scope", forge.scopes)
    if not (isinstance(client_id, str) and ID.fullmatch(client_id)):
        raise _useless(forge, "its answer has no client id")
    if secret is not None and secret != "" and not (isinstance(secret, str) and SECRET.fullmatch(secret)):
        raise _useless(forge, "its answer has a malformed secret")
    if redirects != [forge.redirect]:
        raise _useless(forge, f"it did not take the redirect address {forge.redirect}")
    if not isinstance(granted, str) or not set(forge.scopes.split()) <= set(granted.split()):
        raise _useless(forge, f"it did not take the scopes {forge.scopes}")
    manage = _managed(found, url)
    return Client(client_id, Secret(secret) if secret else None, forge.redirect, *(manage or (None, None)))


def _wanted(forge: Forge, name: str) -> dict[str, object]:
    wanted: dict[str, object] = {
        "client_name": name,
        "application_type": "native",  # OpenID's servers take it for a web application else, and a port for another
        "redirect_uris": [forge.redirect],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    }
    return {**wanted, **({"scope": forge.scopes} if forge.scopes else {})}


def _managed(found: dict[str, object], url: str) -> tuple[str, Secret] | None:
    """Where and with what a registration is managed. One at another origin than where it was made is not used."""
    where, token = found.get("registration_client_uri"), found.get("registration_access_token")
    there, here = parse(where) if isinstance(where, str) else None, parse(url)
    if not (there and here and there.origin == here.origin and isinstance(token, str) and SECRET.fullmatch(token)):
        return None
    return str(where), Secret(token)


def move(forge: Forge, own: Registration, name: str) -> bool:
    """Give a client the redirect address of `forge` (RFC 7592, section 2.2), and no other; whether it has it now. The
    token stays the one that it was made with: what the Coder of 2025 answers here is no token. Raises
    UnreachableError."""
    if own.url is None or own.token is None:
        return False
    answer = http.put_json(own.url, {"client_id": forge.client_id, **_wanted(forge, name)}, bearer=own.token)
    found = _json(answer)
    moved = isinstance(found, dict) and found.get("redirect_uris") == [forge.redirect]
    say.trace(f"registration: HTTP {answer.status} for another redirect address")
    return answer.status == 200 and moved  # noqa: PLR2004


def take_back(own: Registration) -> bool:
    """End a client (RFC 7592, section 2.3), and what was granted to it; whether it is gone."""
    if own.url is None or own.token is None:
        return False
    try:
        answer = http.delete(own.url, bearer=own.token, deadline=TAKE_BACK)
    except UnreachableError as error:
        say.trace(f"registration: {error.message}")
        return False
    say.trace(f"registration: HTTP {answer.status} for taking it back")
    gone = answer.status in (401, 404) and "html" not in answer.content_type.lower()  # already; or a login in front
    return answer.status == 204 or gone  # noqa: PLR2004


def applications(forge: Forge, token: Secret) -> list[Application]:
    """Those of the person whose token it is. Raises RefusedError, UnreachableError."""
    found: list[Application] = []
    for page in range(1, _PAGES + 1):
        answer = http.get(f"{_address(forge)}?page={page}&limit={_PAGE}", bearer=token)
        listed = _json(answer)
        if answer.status != 200 or not isinstance(listed, list):  # noqa: PLR2004
            raise _refused(forge, answer, listed, "list your applications")
        new = [each for each in map(_application, listed[:_PAGE]) if each and each not in found]
        found += new
        if not new:
            break
    return found


def create(forge: Forge, token: Secret, name: str) -> Application:
    """One more, without a secret. Raises RefusedError, UnreachableError."""
    wanted: dict[str, object] = {"name": name, "redirect_uris": [forge.redirect], "confidential_client": False}
    answer = http.post_json(_address(forge), wanted, bearer=token)
    found = _json(answer)
    made = _application(found)
    if answer.status != 201 or made is None:  # noqa: PLR2004
        raise _refused(forge, answer, found, "create an application")
    return made


def delete(forge: Forge, token: Secret, application: Application) -> None:
    """Take one away; its tokens end with it. Raises RefusedError, UnreachableError."""
    answer = http.delete(f"{_address(forge)}/{application.number}", bearer=token)
    if answer.status not in (204, 404):  # the second: it is gone already
        raise _refused(forge, answer, _json(answer), "delete the application")


def _address(forge: Forge) -> str:
    return forge.page(forge.kind.own_applications or "")


def _application(found: object) -> Application | None:
    if not isinstance(found, dict):
        return None
    number, name, client_id = found.get("id"), found.get("name"), found.get("client_id")
    redirects, confidential = found.get("redirect_uris"), found.get("confidential_client")
    if not (isinstance(number, int) and not isinstance(number, bool) and number > 0 and isinstance(name, str)):
        return None
    if not (isinstance(client_id, str) and ID.fullmatch(client_id)):
        return None
    listed = tuple(each for each in redirects if isinstance(each, str)) if isinstance(redirects, list) else ()
    return Application(number, name, client_id, listed, confidential is not False)


def _json(answer: Response) -> object:
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return None


def _refused(forge: Forge, answer: Response, found: object, what: str) -> RefusedError | UnreachableError:
    said = found if isinstance(found, dict) else {}
    words = next((w for w in map(said.get, ("error_description", "message", "error")) if isinstance(w, str) and w), "")
    why = f"it said: {say.clean(words)}" if words else f"it answered with HTTP {answer.status}"
    message = f"{forge.name} did not {what}: {why}"
    return UnreachableError(message) if answer.status >= 500 else RefusedError(message)  # noqa: PLR2004


def _useless(forge: Forge, why: str) -> RefusedError:
    return RefusedError(f"{forge.name} registered an application that is of no use: {why}")
