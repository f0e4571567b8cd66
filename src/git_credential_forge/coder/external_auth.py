"""A person's external auth at Coder: which forges it holds tokens of. The calls, and their answers taken apart.

No answer has a forge's token in it. What comes is somebody else's text all the same: only fields that are known are
taken, of the type that they have to be, and what is shown is cleaned.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import NamedTuple
from urllib.parse import quote

from git_credential_forge import say
from git_credential_forge.coder import api
from git_credential_forge.coder.deployment import Access
from git_credential_forge.errors import ForgeError, UnreachableError
from git_credential_forge.oauth import http, wire
from git_credential_forge.oauth.http import Response
from git_credential_forge.oauth.wire import DeviceCode
from git_credential_forge.origin import parse
from git_credential_forge.secret import Secret

SLOW = 30.0  # seconds for what makes Coder ask the forges themselves
MOST = 500  # providers, or installations of an app, that are looked at
_NO_LINK = "no rows in result set"  # what the servers of 2025 say, with 500, of a link that is not there
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d{1,9})?(Z|[+-]\d\d:\d\d)")


class UnknownIdError(ForgeError):
    """No provider has this id."""


class Provider(NamedTuple):
    """A forge in the list, and whether the person has linked it. None where the server does not say."""

    id: str
    name: str
    type: str
    linked: bool
    expires: int | None  # of the forge's token, seconds since 1970
    refreshable: bool | None
    device: bool | None
    revocable: bool | None
    problem: str | None  # what is wrong with a link that is there


class Installation(NamedTuple):
    account: str
    configure_url: str | None


class Link(NamedTuple):
    """One provider, as the person has it."""

    id: str
    name: str
    linked: bool
    login: str | None  # at the forge
    full_name: str | None
    device: bool | None
    revocable: bool | None
    app_installable: bool | None
    app_install_url: str | None
    installations: tuple[Installation, ...]


class Unlinked(NamedTuple):
    """What became of the forge's token: None where the server does not say whether it was revoked."""

    revoked: bool | None
    error: str | None


def providers(access: Access) -> list[Provider]:
    """All forges that this Coder knows. Raises ForgeError."""
    said = _object(access, _get(access, _url(access)))
    links = {str(link.get("provider_id")): link for link in _objects(said.get("links"))}
    found = [_provider(each, links.get(str(each.get("id")))) for each in _objects(said.get("providers"))]
    return [each for each in found if each.id]


def _provider(said: dict[str, object], link: dict[str, object] | None) -> Provider:
    may, there = _flag(said, "allow_refresh"), link is not None
    link = link or {}
    linked = link.get("authenticated") is True
    return Provider(
        id=_text(said, "id"),
        name=_text(said, "display_name"),
        type=_text(said, "type"),
        linked=linked,
        expires=_time(link.get("expires")) if linked else None,
        refreshable=_flag(link, "has_refresh_token") if there and may is not False else may,
        device=_flag(said, "device"),
        revocable=_flag(said, "supports_revocation"),
        problem=(_text(link, "validate_error") or "no reason given") if there and not linked else None,
    )


def show(access: Access, provider: str) -> Link:
    """Raises ForgeError, UnknownIdError."""
    said = _object(access, _get(access, _url(access, provider), provider))
    user = said.get("user")
    person = user if isinstance(user, dict) else {}
    return Link(
        id=provider,
        name=_text(said, "display_name"),
        linked=said.get("authenticated") is True,
        login=_text(person, "login") or None,
        full_name=_text(person, "name") or None,
        device=_flag(said, "device"),
        revocable=_flag(said, "supports_revocation"),
        app_installable=_flag(said, "app_installable"),
        app_install_url=_page(said.get("app_install_url")),
        installations=tuple(map(_installation, _objects(said.get("installations")))),
    )


def _installation(said: dict[str, object]) -> Installation:
    account = said.get("account")
    return Installation(_text(account if isinstance(account, dict) else {}, "login"), _page(said.get("configure_url")))


def unlink(access: Access, provider: str) -> Unlinked:
    """Raises ForgeError, also where there was no link."""
    try:
        answer = http.delete(_url(access, provider), session=access.token)
    except UnreachableError as error:
        tells = f"it may be unlinked all the same: `git credential-forge coder show {provider}` tells"
        raise UnreachableError(error.message, *([tells] if error.sent else []), sent=error.sent) from None
    gone = answer.status == 404 and not api.stranger(answer)  # noqa: PLR2004
    if gone:
        show(access, provider)  # raises where nobody has that id: the answer is the same
    if gone or (answer.status == 500 and _NO_LINK in api.detail(answer)):  # noqa: PLR2004
        raise ForgeError(f"{provider} is not linked at {access.deployment.name}, so there is nothing to unlink")
    _demand(access, answer, provider)
    said = api.fields(answer)
    if said is None and api.document(answer) != "OK" and answer.body:
        raise _senseless(access)
    return Unlinked(_flag(said or {}, "token_revoked"), _text(said or {}, "token_revocation_error") or None)


def device_code(access: Access, provider: str) -> DeviceCode:
    """A code for the person to enter at the forge. Raises ForgeError."""
    answer = _get(access, _url(access, provider, "device"), provider)
    found = wire.parse_device(answer.status, answer.content_type, answer.body)
    if isinstance(found, DeviceCode):
        return found
    why = found.reason if isinstance(found, wire.Broken) else api.cleaned(str(found), access.token)
    raise ForgeError(f"{access.deployment.name} gives no code that could be used for {provider}: {why}")


def exchange(access: Access, provider: str, device_code: Secret) -> str:
    """'' once the person has entered the code and is linked; else OAuth's word for why not (RFC 8628, section 3.5).
    Raises ForgeError."""
    url = _url(access, provider, "device")
    answer = http.post_json(url, {"device_code": device_code.reveal()}, session=access.token)
    detail = api.detail(answer).strip()
    if answer.status == 400 and re.fullmatch("[a-z_]+", detail):  # noqa: PLR2004
        return detail
    _demand(access, answer, provider, device_code)
    return ""


# -- the way there and back ---------------------------------------------------------------------------------


def page(access: Access, provider: str) -> str:
    """Where a person links a forge in the browser."""
    return f"{access.deployment.url}/external-auth/{quote(provider, safe='')}"


def _url(access: Access, *parts: str) -> str:
    return "/".join([f"{access.deployment.url}/api/v2/external-auth", *(quote(part, safe="") for part in parts)])


def _get(access: Access, url: str, provider: str = "") -> Response:
    answer = http.get(url, session=access.token, deadline=SLOW)
    _demand(access, answer, provider)
    return answer


def _demand(access: Access, answer: Response, provider: str, *secrets: Secret) -> None:
    """Raises ForgeError for all but a success; UnreachableError where the next try may be one."""
    name, stranger = access.deployment.name, api.stranger(answer)
    if stranger:
        raise ForgeError(
            f"{name} does not answer as Coder's API does: {stranger}",
            "if the deployment is below a path, that belongs to its address; or another login stands in front of it",
        )
    if 200 <= answer.status < 300:  # noqa: PLR2004
        return
    why = api.words(answer, access.token, *secrets)
    if why is None and answer.status == 404:  # noqa: PLR2004
        raise ForgeError(f"{name} does not answer as Coder's API does: HTTP 404 without a reason", "is it a Coder?")
    why = why or f"HTTP {answer.status}, and no reason"
    if answer.status == 401:  # noqa: PLR2004
        raise ForgeError(f"{name} refuses {access.source}: {why}", access.remedy)
    if answer.status == 404 and provider:  # noqa: PLR2004
        known = f"git credential-forge coder list --url {access.deployment.url}"
        raise UnknownIdError(f"{name} knows no external auth with the id {provider}: {why}", f"`{known}` shows all")
    if answer.status in (429, *range(500, 600)):
        raise UnreachableError(f"{name} could not answer: {why}")
    raise ForgeError(f"{name} refused: {why}")


def _senseless(access: Access) -> ForgeError:
    return ForgeError(f"{access.deployment.name} answered with something that this program does not understand")


def _object(access: Access, answer: Response) -> dict[str, object]:
    said = api.fields(answer)
    if said is None:
        raise _senseless(access)
    return said


def _objects(value: object) -> list[dict[str, object]]:
    return [each for each in value[:MOST] if isinstance(each, dict)] if isinstance(value, list) else []


def _text(said: dict[str, object], name: str) -> str:
    value = said.get(name)
    return say.clean(value) if isinstance(value, str) else ""


def _flag(said: dict[str, object], name: str) -> bool | None:
    value = said.get(name)
    return value if isinstance(value, bool) else None


def _page(value: object) -> str | None:
    """An address that a person may be sent to: https, and short enough to be shown whole."""
    found = parse(value) if isinstance(value, str) and len(value) <= say.LONGEST else None
    usable = found and (found.origin.scheme == "https" or found.origin.loopback)
    return str(value) if usable else None


def _time(value: object) -> int | None:
    """Seconds since 1970 of a time in RFC 3339; None also for Go's zero time, which says that there is no end."""
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if not match:
        return None
    zone = "+00:00" if match[2] == "Z" else match[2]
    try:
        found = datetime.fromisoformat(match[1] + zone).astimezone(timezone.utc).timestamp()
    except (ValueError, OverflowError):
        return None
    return int(found) if found > 0 else None
