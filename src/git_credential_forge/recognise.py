"""Which forge a host is, and where to sign in there. Pure: what was read and heard comes in as values.

A heuristic chooses how to sign in at a host, never which token goes there: all that is found out is used for
that origin alone.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from git_credential_forge import forges
from git_credential_forge.errors import ForgeError
from git_credential_forge.forges import Kind
from git_credential_forge.origin import Origin, Url, parse
from git_credential_forge.secret import Secret
from git_credential_forge.settings import Settings

_REALM = re.compile(r'\bbasic\s+realm\s*=\s*(?:"([^"]*)"|([^\s,]+))', re.IGNORECASE)


class Metadata(NamedTuple):
    """What a server says of itself (OpenID Connect Discovery, RFC 8414), already checked by `oauth.metadata`."""

    issuer: str | None
    authorize_url: str
    token_url: str
    announces_iss: bool = False


class Forge(NamedTuple):
    """One forge, with all that a sign-in there needs."""

    kind: Kind
    origin: Origin
    base: str  # path of the forge itself: '' or '/sub/path'
    scope: str  # path that repositories of it have in common, where git says paths; else ''
    issuer: str | None  # None where the server has not said it
    announces_iss: bool  # in its metadata: each authorization response has it
    authorize_url: str
    token_url: str
    whoami_url: str | None
    client_id: str | None
    client_secret: Secret | None
    scopes: str
    redirect: str
    certain: bool  # said by configuration, name or challenge, and not only found out by asking around

    @property
    def name(self) -> str:
        return self.origin.netloc + self.scope

    @property
    def url(self) -> str:
        """The address by which git's configuration knows it."""
        return self.origin.url + self.scope

    @property
    def built_in(self) -> bool:
        """Whether the client is the one that the forge ships."""
        return self.client_id is not None and self.client_id == self.kind.client_id

    def page(self, relative: str) -> str:
        return f"{self.origin.url}{self.base}/{relative}"


def kind_of(origin: Origin, settings: Settings, wwwauth: tuple[str, ...], remembered: str | None) -> Kind | None:
    """The kind of forge, by configuration, name, challenge, memory, in this order; None if nothing says it."""
    if settings.authorize_url and settings.token_url:
        return _kind_by_endpoint(settings.token_url) or forges.OTHER
    for kind in forges.KINDS:
        if origin.netloc in kind.hosts:
            return kind
    for kind in forges.KINDS:
        if _realms(wwwauth) & set(kind.realms):
            return kind
    return forges.BY_KEY.get(remembered or "")


def kind_by_metadata(metadata: Metadata) -> Kind:
    return _kind_by_endpoint(metadata.token_url) or forges.OTHER


def challenge_of_another(wwwauth: tuple[str, ...]) -> bool:
    """git passed a challenge, and it is no forge's that we know: then nobody is asked what the host is."""
    known = {realm for kind in forges.KINDS for realm in (*kind.realms, *kind.vague_realms)}
    return bool(wwwauth) and not (_realms(wwwauth) & known)


def build(
    kind: Kind,
    origin: Origin,
    base: str,
    settings: Settings,
    metadata: Metadata | None = None,
    *,
    certain: bool,
    path: str | None = None,
) -> Forge:
    """The forge at an origin, or below `base`, for a repository at `path`. What the configuration names goes before
    what was found, and that before what is known of the kind. Raises ForgeError if a configured address cannot be
    used."""
    root = f"{origin.url}{base}/"
    found = metadata or Metadata(None, root + kind.authorize, root + kind.token)
    scope = base
    token = _configured(settings, settings.token_url, origin, "oauthTokenURL") or found.token_url
    server = token.removesuffix(kind.token) if kind.token and token.endswith("/" + kind.token) else None
    if server and server.startswith(origin.url + "/"):
        base = server[len(origin.url) :].rstrip("/")
        scope = scope or (base if covers(base, path) else "")
    return Forge(
        kind=kind,
        origin=origin,
        base=base,
        scope=scope,
        issuer=found.issuer,
        announces_iss=found.announces_iss,
        authorize_url=_configured(settings, settings.authorize_url, origin, "oauthAuthURL") or found.authorize_url,
        token_url=token,
        whoami_url=server + kind.whoami if server and kind.whoami else None,
        client_id=settings.client_id or kind.client_id,
        client_secret=settings.client_secret,
        scopes=kind.scopes if settings.scopes is None else settings.scopes,
        redirect=settings.redirect_url or kind.redirect,
        certain=certain,
    )


def secure(url: Url, settings: Settings) -> bool:
    """Whether something secret may go there: https, this machine, or by the person's own word."""
    return url.origin.scheme == "https" or url.origin.loopback or settings.allow_http


def covers(base: str, path: str | None) -> bool:
    """Whether a repository's path, as git says it with useHttpPath, lies below a forge's. One with dots in it does not:
    curl takes them out before it asks, and it lies elsewhere then."""
    if any(step.lower().replace("%2e", ".") in (".", "..") for step in (path or "").split("/")):
        return False
    return f"/{path or ''}/".startswith(base + "/")


def _configured(settings: Settings, value: str | None, origin: Origin, key: str) -> str | None:
    """A configured address, resolved against the host as git-credential-oauth resolves it."""
    if not value:
        return None
    url = value if "://" in value else f"{origin.url}/{value.lstrip('/')}"
    parsed = parse(url)
    if parsed is None or not secure(parsed, settings):
        raise ForgeError(f"credential.{key} for {origin.netloc} is no address that a secret may be sent to")
    return url


def _kind_by_endpoint(token_url: str) -> Kind | None:
    """The kind whose token endpoint has this path. Enough to choose how; the address itself stays as it is."""
    return next((kind for kind in forges.KINDS if token_url.endswith("/" + kind.token)), None)


def _realms(wwwauth: tuple[str, ...]) -> set[str]:
    return {match[1] or match[2] or "" for value in wwwauth for match in _REALM.finditer(value)}
