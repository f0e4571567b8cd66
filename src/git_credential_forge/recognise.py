"""Which forge a host is, and where to sign in there. Pure: what was read and heard comes in as values.

A heuristic chooses how to sign in at a host, never which token goes there: all that is found out is used for
that origin alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from git_credential_forge import forges
from git_credential_forge.errors import ForgeError
from git_credential_forge.forges import Kind
from git_credential_forge.origin import Origin, Url, parse
from git_credential_forge.secret import Secret
from git_credential_forge.settings import Settings

_DEEPEST = 4  # steps of a path at which a forge is looked for; each costs a request
_RESOURCE = re.compile(r'\bresource_metadata\s*=\s*(?:"([^"]*)"|([^\s,]+))', re.IGNORECASE)
# GitHub Enterprise puts its hints before the realm, or behind it. So many and no more: of a long challenge that looks
# like one hint behind the other, each would be looked at from each.
_HINT = r'[\w-]+\s*=\s*(?:"[^"]*"|[^\s,"]+)[\s,]+'
_REALM = re.compile(rf'\bbasic\s+(?:{_HINT}){{0,8}}?realm\s*=\s*(?:"([^"]*)"|([^\s,]+))', re.IGNORECASE)


class Metadata(NamedTuple):
    """What a server says of itself (OpenID Connect Discovery, RFC 8414), already checked by `oauth.metadata`."""

    issuer: str | None
    authorize_url: str
    token_url: str
    announces_iss: bool = False
    device_url: str | None = None
    revoke_url: str | None = None
    userinfo_url: str | None = None
    registration_url: str | None = None
    scopes: tuple[str, ...] = ()
    secret_in_header: bool = False  # it takes a client's secret by HTTP Basic alone
    resource: str | None = None  # what its tokens have to be asked for (RFC 8707)


class Registration(NamedTuple):
    """A client that this machine has registered by itself: the one redirect address that it has, and where and with
    what it is changed or taken back (RFC 7592), where the server said that."""

    redirect: str
    url: str | None = None
    token: Secret | None = None


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
    device_url: str | None
    revoke_url: str | None
    whoami_url: str | None
    client_id: str | None
    client_secret: Secret | None
    secret_in_header: bool
    scopes: str
    resource: str | None
    redirect: str
    bearer: bool  # git is to send its tokens by Bearer
    certain: bool  # said by configuration, name or challenge, and not only found out by asking around
    registration_url: str | None = None  # where a program registers itself (RFC 7591)
    own: Registration | None = None  # of the client, where this machine has registered it at a sign-in

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

    def page(self, address: str) -> str:
        """An address of the record's, at the server that gives this forge's tokens: it can be another origin's, and a
        token for its calls is not brought here."""
        return resolve(address, _server(self.kind, self.token_url) or f"{self.origin.url}{self.base}/", self.origin)


def kind_of(origin: Origin, settings: Settings, wwwauth: tuple[str, ...], remembered: str | None) -> Kind | None:
    """The kind of forge, by configuration, name, challenge, memory, in this order; None if nothing says it."""
    known = _kind_by_name(origin, wwwauth)
    if settings.authorize_url and settings.token_url:
        if known and _is_at(settings.token_url, known.token):
            return known
        scopes = (settings.scopes or "").split()
        return _kind_by_endpoints(settings.token_url, settings.device_url, scopes) or forges.OTHER
    return known or forges.BY_KEY.get(remembered or "")


def kind_by_metadata(metadata: Metadata) -> Kind:
    return _kind_by_endpoints(metadata.token_url, metadata.device_url, metadata.scopes) or forges.OTHER


def at_root(kind: Kind, origin: Origin, path: str | None, *, typed: bool = False) -> bool:
    """Whether a forge of this kind can be nowhere but at the root of its host: known by name, or the path has no room
    for more."""
    return any(_is_host(origin, name) for name in kind.hosts) or not prefixes(path, typed=typed)


def prefixes(path: str | None, *, typed: bool = False) -> list[str]:
    """The paths at which a forge can be that has a repository at `path`, shortest first: two steps of it are the
    repository's own. Of a path that a person `typed` none has to be: it can be the forge's."""
    steps = [step for step in (path or "").split("/") if step]
    own = 0 if typed else 2
    found = ["/" + "/".join(steps[:end]) for end in range(1, min(len(steps) - own, _DEEPEST) + 1)]
    return [base for base in found if covers(base, path)]


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
    scope = base
    by_record = resolve(kind.token, root, origin)
    token = _configured(settings, settings.token_url, origin, "oauthTokenURL") or (
        metadata.token_url if metadata else by_record
    )
    server = root if token == by_record else _server(kind, token)
    if server and server.startswith(origin.url + "/"):
        base = server[len(origin.url) :].rstrip("/")
        scope = scope or (base if covers(base, path) else "")
    # What the record says of the paths below a forge holds where its token endpoint is.
    known = kind if server else forges.OTHER
    found = metadata or Metadata(None, resolve(kind.authorize, root, origin), token)
    scopes = kind.scopes if settings.scopes is None else settings.scopes
    return Forge(
        kind=kind,
        origin=origin,
        base=base,
        scope=scope,
        issuer=found.issuer,
        announces_iss=found.announces_iss,
        authorize_url=_configured(settings, settings.authorize_url, origin, "oauthAuthURL") or found.authorize_url,
        token_url=token,
        device_url=_configured(settings, settings.device_url, origin, "oauthDeviceAuthURL")
        or found.device_url
        or (resolve(known.device, server or root, origin) if known.device else None),
        revoke_url=found.revoke_url or (resolve(known.revoke, server or root, origin) if known.revoke else None),
        whoami_url=_whoami(known, server or root, origin, found, scopes),
        client_id=settings.client_id or kind.client_id,
        client_secret=settings.client_secret,
        secret_in_header=settings.secret_in_header or found.secret_in_header,
        scopes=scopes,
        resource=found.resource,
        redirect=settings.redirect_url or kind.redirect,
        bearer=settings.bearer and kind.bearer,
        certain=certain,
        registration_url=found.registration_url if kind.registers_itself else None,
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


def resolve(address: str, root: str, origin: Origin) -> str:
    """An address of a record's at a forge with this root."""
    return address.replace("{host}", origin.netloc) if "://" in address else root + address


def resource_metadata(wwwauth: tuple[str, ...]) -> str | None:
    """Where a challenge says that the server describes itself (RFC 9728, section 5.1)."""
    found = (match[1] or match[2] for value in wwwauth for match in _RESOURCE.finditer(value))
    return next((url for url in found if url), None)


def _server(kind: Kind, token_url: str) -> str | None:
    """The root of the forge whose token endpoint this is, if it is one of that kind."""
    return token_url.removesuffix(kind.token) if kind.token and _is_at(token_url, kind.token) else None


def _whoami(kind: Kind, root: str, origin: Origin, found: Metadata, scopes: str) -> str | None:
    """Where a token with these scopes may be asked whose it is."""
    asked = scopes.split()
    if kind.whoami and (not kind.whoami_scopes or set(asked) & set(kind.whoami_scopes)):
        return resolve(kind.whoami, root, origin)
    return found.userinfo_url if "openid" in asked else None


def _kind_by_name(origin: Origin, wwwauth: tuple[str, ...]) -> Kind | None:
    """The kind that the host's name tells, or else its challenge."""
    named = (kind for kind in forges.KINDS if any(_is_host(origin, name) for name in kind.hosts))
    challenging = (kind for kind in forges.KINDS if _realms(wwwauth) & set(kind.realms))
    return next(named, None) or next(challenging, None)


def _is_host(origin: Origin, name: str) -> bool:
    """`.name` is every host below it."""
    return origin.netloc.endswith(name) if name.startswith(".") else origin.netloc == name


def _kind_by_endpoints(token_url: str, device_url: str | None, scopes: Sequence[str]) -> Kind | None:
    """The kind whose endpoints have these paths. Enough to choose how; the addresses themselves stay as they are. One
    that is known by its hosts alone is nowhere else: it has addresses at other hosts, which get no token from here."""
    anywhere = [kind for kind in forges.KINDS if kind.realms or kind.by_metadata]
    marked = [kind for kind in anywhere if not kind.marks or set(kind.marks) & set(scopes)]
    fitting = [kind for kind in marked if _is_at(token_url, kind.token)]
    by_device = [kind for kind in fitting if device_url and kind.device and _is_at(device_url, kind.device)]
    return next(iter(by_device or fitting), None)


def _is_at(url: str, address: str) -> bool:
    return url == address or ("://" not in address and ("/" + url).endswith("/" + address))


def _realms(wwwauth: tuple[str, ...]) -> set[str]:
    return {match[1] or match[2] or "" for value in wwwauth for match in _REALM.finditer(value)}
