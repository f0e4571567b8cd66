"""Coder's own OAuth provider, as far as it is no OAuth: whether it is on, and the applications of its owners."""

from __future__ import annotations

import re
from typing import NamedTuple

from git_credential_forge import say
from git_credential_forge.coder import api
from git_credential_forge.errors import ForgeError, RefusedError, UnreachableError
from git_credential_forge.oauth import http
from git_credential_forge.oauth.http import Response
from git_credential_forge.oauth.registration import SECRET
from git_credential_forge.origin import Origin
from git_credential_forge.recognise import Forge
from git_credential_forge.secret import Secret

LONGEST_NAME = 32  # characters of an application's name; letters, digits, and single hyphens between them
DEADLINE = 5.0  # seconds, for a question that only makes an error clearer


_ID = re.compile("[0-9A-Za-z-]{1,64}")  # it stands in an address


class Made(NamedTuple):
    client_id: str
    secret: Secret
    name: str
    new: bool = True


def demand_on(origin: Origin, base: str) -> None:
    """Raises RefusedError for a Coder whose provider is off: it then says nothing of itself to programs that sign in,
    but its version to everybody."""
    try:
        answer = http.get(f"{origin.url}{base}/api/v2/buildinfo", deadline=DEADLINE)
    except UnreachableError:
        return
    said = api.fields(answer) or {}
    external = said.get("external_url")
    if answer.status == 200 and isinstance(external, str) and "/coder/coder" in external:  # noqa: PLR2004
        raise RefusedError(
            f"not signed in to {origin.netloc}{base}: this Coder lets no program sign in, its OAuth2 provider is off",
            "an administrator turns it on, with CODER_OAUTH2_PROVIDER_ENABLE=true; before 2026, with "
            "CODER_EXPERIMENTS=oauth2",
        )


def create(forge: Forge, token: Secret, source: str, wanted: str, kept: str | None) -> Made:
    """An application with a secret, by an owner's session token; the one that is `kept`, if it is there, gets another
    secret. Raises ForgeError; then no new one is left there."""
    url, name = f"{forge.origin.url}{forge.base}/api/v2/oauth2-provider/apps", _name(wanted)
    there = _named(forge, url, token, source, kept) if kept else None
    if kept and there:
        return Made(kept, _secret(forge, f"{url}/{kept}/secrets", token, source), there, new=False)
    answer = http.post_json(url, {"name": name, "callback_url": forge.redirect, "icon": ""}, session=token)
    said = _made(forge, answer, source, "create an application", token)
    client_id = said.get("id")
    if not (isinstance(client_id, str) and _ID.fullmatch(client_id)):
        raise RefusedError(f"{forge.name} created an application that is of no use: its answer has no id")
    try:
        return Made(client_id, _secret(forge, f"{url}/{client_id}/secrets", token, source), name)
    except BaseException:
        _delete(forge, f"{url}/{client_id}", token, name)
        raise


def _named(forge: Forge, url: str, token: Secret, source: str, client_id: str) -> str | None:
    """What an application is called, if it is there with this redirect address. Raises ForgeError: what cannot be told
    is no reason for another one."""
    answer = http.get(f"{url}/{client_id}", session=token) if _ID.fullmatch(client_id) else None
    if answer is None or (answer.status in (400, 404) and not api.stranger(answer)):  # no UUID; unknown
        return None
    said = _made(forge, answer, source, "look at the application of this machine", token, status=200)
    name = said.get("name")
    same = (said.get("id"), said.get("callback_url")) == (client_id, forge.redirect)
    return say.clean(name) if same and isinstance(name, str) else None


def _secret(forge: Forge, url: str, token: Secret, source: str) -> Secret:
    answer = http.post_json(url, {}, session=token)
    secret = _made(forge, answer, source, "create a secret", token).get("client_secret_full")
    if not (isinstance(secret, str) and SECRET.fullmatch(secret)):
        raise RefusedError(f"{forge.name} created an application that is of no use: its answer has no secret")
    return Secret(secret)


def _delete(forge: Forge, url: str, token: Secret, name: str) -> None:
    try:
        gone = http.delete(url, session=token).status in (204, 404)
    except UnreachableError:
        gone = False
    if not gone:
        page = forge.page(forge.kind.registration or "")
        say.line(f'the application "{name}" is at {forge.name} all the same: {page}')


def _made(
    forge: Forge, answer: Response, source: str, what: str, token: Secret, *, status: int = 201
) -> dict[str, object]:
    found = api.fields(answer)
    if answer.status == status and found is not None:
        return found
    why = api.stranger(answer) or api.words(answer, token) or f"HTTP {answer.status}, and no reason"
    if answer.status == 401:  # noqa: PLR2004
        raise RefusedError(f"{forge.name} refuses {source}: {why}", f"a new one is at {forge.url}/cli-auth")
    if answer.status >= 500:  # noqa: PLR2004
        raise UnreachableError(f"{forge.name} did not {what}: {why}")
    raise ForgeError(f"{forge.name} did not {what}: {why}", "it takes the session token of an owner of the deployment")


def _name(wanted: str) -> str:
    return re.sub("[^0-9A-Za-z]+", "-", wanted)[:LONGEST_NAME].strip("-") or "git-credential-forge"
