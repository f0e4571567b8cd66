"""Which forge an origin is: what is known decides, else one look at the network; a stranger is remembered."""

from __future__ import annotations

import contextlib
import os
import time

from git_credential_forge import client, flight, recognise, say
from git_credential_forge.errand import Errand
from git_credential_forge.errors import RefusedError, UnreachableError
from git_credential_forge.forges import BY_KEY, OTHER, Kind
from git_credential_forge.origin import Origin, parse
from git_credential_forge.recognise import Forge, Metadata
from git_credential_forge.session import Session
from git_credential_forge.vault import Vault

MOMENT = 60  # seconds for which what a forge says of itself is good: for the many gits that come together
PATIENCE = 12  # seconds: who waits for a look waits so long, and behind that none begins a further request


def forge_of(session: Session, errand: Errand) -> Forge | None:
    """The forge that a session is of; None if the configuration now names another client or endpoint, which makes the
    session void: its tokens were not made for that."""
    kind = BY_KEY.get(session.kind, OTHER)
    url = session.token_url
    found = Metadata(session.issuer, url, url, revoke_url=session.revoke_url, resource=session.resource)
    forge = recognise.build(kind, errand.origin, session.base, errand.settings, found, certain=True)
    registered = session.client()
    if registered:  # whose secret may be another one by now
        newest = errand.vault.client(errand.origin, session.base) if errand.vault else None
        forge = client.used(forge, client.renewed(registered, newest)) or forge
    same = (forge.token_url, forge.client_id) == (session.token_url, session.client_id)
    return forge if same else None


def forge(errand: Errand, session: Session | None, *, wanted: bool = False) -> Forge | None:
    """Which forge the origin is, with as few looks at the network as can be; None if it is none that we know.
    `wanted`: a person says that it is one, as who sets a client id does."""
    configured = errand.settings
    wanted = wanted or configured.client_id is not None
    kind = recognise.kind_of(errand.origin, configured, errand.request.wwwauth, session.kind if session else None)
    described = bool(configured.authorize_url and configured.token_url)
    recorded = described or (kind is not None and _has_record(kind))
    if kind and recorded and _is_placed(errand, kind, described=described):
        return _as_recorded(errand, kind)
    if not _may_look(errand, kind, wanted=wanted):
        return None
    place = errand.vault.place if errand.vault else None
    with flight.acting(place, f"look-{errand.origin.scheme}-{errand.origin.netloc}", PATIENCE, errand.gone):
        return _ask_it(errand, kind, wanted=wanted) if _may_look(errand, kind, wanted=wanted) else None


def _ask_it(errand: Errand, kind: Kind | None, *, wanted: bool) -> Forge | None:
    """One look for all gits that come together: who has waited for it finds what was learnt."""
    configured = errand.settings
    where = recognise.resource_metadata(errand.request.wwwauth)
    try:
        base, found = _seen(errand) or _look(errand, where, wanted=wanted)
    except UnreachableError as error:
        if wanted or errand.anew or kind:
            raise
        say.trace(f"identify: {error.message}")
        _remember_stranger(errand, errand.settings.quiet_period)  # nothing was learnt, but not each git is to wait
        return None
    said = recognise.kind_by_metadata(found) if found else None
    certain = wanted or bool(where)
    if found and said and (said is not OTHER or certain):
        _remember(errand, base, found)
        path = errand.request.path
        return recognise.build(said, errand.origin, base, configured, found, certain=certain, path=path)
    if kind and _has_record(kind):  # whose challenge has its name, although it does not describe itself
        return _as_recorded(errand, kind)
    # Who types `login` comes without a challenge, and so does git before 2.41.
    from git_credential_forge.oauth import metadata

    told = metadata.challenges(errand.origin, errand.request.path) if errand.anew or wanted else ()
    if recognise.resource_metadata(told) and not errand.request.wwwauth:
        return _ask_it(errand._replace(request=errand.request._replace(wwwauth=told)), kind, wanted=wanted)
    kind = recognise.kind_of(errand.origin, configured, told, None)
    if kind:
        return _as_recorded(errand, kind)
    if errand.anew:
        from git_credential_forge.coder import provider

        provider.demand_on(errand.origin, errand.base)
    if configured.client_id is not None:
        raise RefusedError(
            f"not signed in to {errand.origin.netloc}: a client id is set for it, but it does not say where to sign in",
            f"set credential.{errand.origin.url}.oauthAuthURL and …oauthTokenURL",
        )
    _remember_stranger(errand, errand.vault.timeout if errand.vault else 0)
    return None


def _as_recorded(errand: Errand, kind: Kind) -> Forge:
    path = errand.request.path
    return recognise.build(kind, errand.origin, errand.base, errand.settings, certain=True, path=path)


def _has_record(kind: Kind) -> bool:
    """Whether what is known of a kind is enough to sign in there."""
    return kind is not OTHER and not kind.by_metadata


def _may_look(errand: Errand, kind: Kind | None, *, wanted: bool) -> bool:
    """Whether the host may be asked what it is."""
    origin, challenge = errand.origin, errand.request.wwwauth
    if (origin.scheme == "http" and not origin.loopback) or not errand.surroundings.interactive:
        return False
    if wanted or kind or recognise.resource_metadata(challenge):
        return True
    return not recognise.challenge_of_another(challenge) and (errand.anew or not _known_stranger(errand))


def _is_placed(errand: Errand, kind: Kind, *, described: bool) -> bool:
    """Whether it is known where on its host the forge is. git says no paths unless it is told to (useHttpPath)."""
    root = recognise.at_root(kind, errand.origin, errand.request.path, typed=errand.anew)
    return described or bool(errand.base) or root


def _look(errand: Errand, where: str | None, *, wanted: bool) -> tuple[str, Metadata | None]:
    """What the server says of itself, and below which path: where the challenge points to (then the path is the
    resource's, wherever its server is), at its root, then at the paths that the repository's begins with."""
    from git_credential_forge.oauth import metadata

    ends = time.monotonic() + PATIENCE
    if where:
        found = metadata.discover_resource(errand.origin, where)
        if found:
            about = parse(found.resource or "")
            base = about.path.rstrip("/") if about else ""
            return base if recognise.covers(base, errand.request.path) else "", found
    for base in (errand.base, *recognise.prefixes(errand.request.path, typed=errand.anew)):
        if time.monotonic() >= ends:
            raise UnreachableError(f"{errand.origin.netloc} takes too long to say what it is")
        found = metadata.discover(errand.origin, base, wanted=wanted)
        if found:
            return base, found
    return errand.base, None


def _seen(errand: Errand) -> tuple[str, Metadata] | None:
    """What the server said of itself a moment ago, and below which path; who types `login` asks anew."""
    if errand.vault is None or errand.anew:
        return None
    import json

    try:
        path = _findings(errand.vault, errand.origin)
        if not 0 <= time.time() - os.stat(path).st_mtime < MOMENT:
            return None
        with open(path, encoding="utf-8") as file:
            base, *said = json.load(file)
            found = Metadata(*said)._replace(scopes=tuple(said[Metadata._fields.index("scopes")]))
    except (OSError, ValueError, TypeError, IndexError):
        return None
    fits = base == errand.base or (not errand.base and recognise.covers(base, errand.request.path))
    return (base, found) if fits else None


def _remember(errand: Errand, base: str, found: Metadata) -> None:
    if errand.vault is None or _seen(errand):
        return
    import json

    path = _findings(errand.vault, errand.origin)
    aside = f"{path}-{os.getpid()}"
    try:
        with open(aside, "w", encoding="utf-8") as file:
            json.dump([base, *found], file)
        os.replace(aside, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(aside)


def _findings(held: Vault, origin: Origin) -> str:
    return held.place.path(f"found-{origin.scheme}-{origin.netloc}")


def _known_stranger(errand: Errand) -> bool:
    """Whether this host was asked a while ago and is no forge."""
    held = errand.vault
    return held is not None and flight.put_off(held.place, _stranger(errand.origin), held.timeout)


def _remember_stranger(errand: Errand, seconds: int) -> None:
    flight.put_off_for(errand.vault.place if errand.vault else None, _stranger(errand.origin), seconds)


def _stranger(origin: Origin) -> str:
    return f"no-forge-{origin.scheme}-{origin.netloc}"
