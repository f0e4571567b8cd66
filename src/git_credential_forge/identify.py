"""Which forge an origin is: what is known decides, else one look at the network; a stranger is remembered."""

from __future__ import annotations

import contextlib
import os
import time

from git_credential_forge import recognise, say
from git_credential_forge.errand import Errand
from git_credential_forge.errors import RefusedError, UnreachableError
from git_credential_forge.forges import BY_KEY, OTHER
from git_credential_forge.origin import Origin
from git_credential_forge.recognise import Forge, Metadata
from git_credential_forge.session import Session
from git_credential_forge.vault import Vault


def forge_of(session: Session, errand: Errand) -> Forge | None:
    """The forge that a session is of; None if the configuration now names another client or endpoint, which makes the
    session void: its tokens were not made for that."""
    kind = BY_KEY.get(session.kind, OTHER)
    found = Metadata(session.issuer, session.token_url, session.token_url)
    forge = recognise.build(kind, errand.origin, session.base, errand.settings, found, certain=True)
    same = (forge.token_url, forge.client_id) == (session.token_url, session.client_id)
    return forge if same else None


def forge(errand: Errand, session: Session | None) -> Forge | None:
    """Which forge the origin is, with at most one look at the network; None if it is none that we know."""
    origin, configured, challenge = errand.origin, errand.settings, errand.request.wwwauth
    kind = recognise.kind_of(origin, configured, challenge, session.kind if session else None)
    if kind and (kind is not OTHER or (configured.authorize_url and configured.token_url)):
        return recognise.build(kind, origin, errand.base, configured, certain=True, path=errand.request.path)
    wanted = configured.client_id is not None
    if origin.scheme == "http" and not origin.loopback:
        return None
    if not errand.surroundings.interactive or (not wanted and recognise.challenge_of_another(challenge)):
        return None
    if not wanted and not errand.anew and _known_stranger(errand):
        return None
    from git_credential_forge.oauth import metadata

    try:
        found = metadata.discover(origin, errand.base, wanted=wanted)
    except UnreachableError as error:
        if wanted or errand.anew:
            raise
        say.trace(f"identify: {error.message}")
        _remember_stranger(errand, errand.settings.quiet_period)  # nothing was learnt, but not each git is to wait
        return None
    kind = recognise.kind_by_metadata(found) if found else None
    if found and kind and (kind is not OTHER or wanted):
        return recognise.build(kind, origin, errand.base, configured, found, certain=wanted, path=errand.request.path)
    if wanted:
        raise RefusedError(
            f"not signed in to {origin.netloc}: a client id is set for it, but it does not say where to sign in",
            f"set credential.{origin.url}.oauthAuthURL and …oauthTokenURL",
        )
    _remember_stranger(errand, errand.vault.timeout if errand.vault else 0)
    return None


def _known_stranger(errand: Errand) -> bool:
    """Whether this host was asked a while ago and is no forge."""
    if errand.vault is None:
        return False
    try:
        until = os.stat(_stranger(errand.vault, errand.origin)).st_mtime
    except OSError:
        return False
    return time.time() < until <= time.time() + errand.vault.timeout


def _remember_stranger(errand: Errand, seconds: int) -> None:
    """Leave an empty file whose time of modification is when the host is asked again."""
    if errand.vault is None:
        return
    path, until = _stranger(errand.vault, errand.origin), time.time() + seconds
    with contextlib.suppress(OSError):
        with open(path, "wb"):
            pass
        os.utime(path, (until, until))


def _stranger(held: Vault, origin: Origin) -> str:
    return held.place.path(f"no-forge-{origin.scheme}-{origin.netloc}")
