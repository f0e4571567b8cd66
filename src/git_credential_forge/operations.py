"""What git asks for: get, store, erase. The whole story."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import NamedTuple

from git_credential_forge import flight, protocol, recognise, say, settings, surroundings, vault
from git_credential_forge.errors import BadRequestError, ForgeError, RefusedError, UnreachableError, VaultError
from git_credential_forge.forges import BY_KEY, OTHER
from git_credential_forge.origin import Origin, is_hidden, of_request
from git_credential_forge.protocol import Answer, Request
from git_credential_forge.recognise import Forge, Metadata
from git_credential_forge.settings import Settings
from git_credential_forge.surroundings import Surroundings
from git_credential_forge.vault import Session, Vault


class Errand(NamedTuple):
    """One request on its way: for whom, where, and with what."""

    request: Request
    origin: Origin
    base: str  # path of the forge that the request's path lies below, '' for the whole host
    vault: Vault | None  # None where nothing can be kept
    gone: Callable[[], bool]  # whether nobody is left to read the answer
    settings: Settings
    surroundings: Surroundings
    anew: bool = False  # a person wants to sign in, whatever is held


def get(request: Request, held: Vault | None, gone: Callable[[], bool]) -> bytes:
    """What git is answered.

    1. What is in memory, ours or not. 2. A session goes on: served again, or refreshed. 3. Recognise the forge.
    4. Sign in, if somebody is there. A forge that we know and cannot answer for ends in a reason and quit=1: silence
    would make git ask for a password, and keep it. Raises BadRequestError, AbandonedError, KeyboardInterrupt.
    """
    if is_hidden(request.host) or not request.protocol or request.host is None:
        return b""
    origin = of_request(request.protocol, request.host)
    if origin is None:
        return held.pass_get(request) if held else b""
    if protocol.has_control(request):
        raise BadRequestError(f"refused a request for {origin.netloc} with a control character in it")
    base = base_of(origin, request, held)
    found = held.answer(origin, base, request.asked) if held else None
    if found:
        return protocol.encode_answer(found, request)
    configured = settings.read(address(origin, request))
    if held and (configured.flow == "never" or held.row(origin, base, request.asked) is None):
        passed = held.pass_get(request)
        if passed:
            return passed
    if configured.flow == "never":
        return b""
    errand = Errand(request, origin, base, held, gone, configured, surroundings.look(configured))
    try:
        answer = obtain(errand)
    except (VaultError, BadRequestError):
        raise
    except ForgeError as error:
        if not errand.surroundings.interactive:
            return b""
        say.lines(error.message, error.hints)
        return protocol.QUIT
    return protocol.encode_answer(answer, request) if answer else b""


def store(request: Request, held: Vault | None) -> None:
    """Keep what is not ours. Ours was kept before git had it, and an older token must not replace a newer one."""
    if held is None or request.state_of_ours or is_hidden(request.host) or not request.protocol or request.host is None:
        return
    if request.password is None and request.credential is None:
        return
    origin = of_request(request.protocol, request.host)
    if origin:
        if protocol.has_control(request):
            raise BadRequestError(f"refused a request for {origin.netloc} with a control character in it")
        living = request.username and held.session(origin, base_of(origin, request, held), request.username)
        if living and settings.read(address(origin, request)).flow != "never":
            return
    held.pass_store(request)


def erase(request: Request, held: Vault | None) -> None:
    """Forget. With a password: that token is refused, the session is kept to refresh with. Without: everything."""
    if held is None or is_hidden(request.host) or not request.protocol or request.host is None:
        return
    origin = of_request(request.protocol, request.host)
    row = held.row(origin, base_of(origin, request, held), request.asked) if origin else None
    if origin and request.password is None:
        held.forget(origin, row.account if row and request.asked else None)
    elif origin and row:
        with flight.acting(held.place, flight.refresh_name(origin, row.account), flight.REFRESH, lambda: False):
            session = held.session(origin, row.base, row.account)
            if session and session.access_token == request.password:
                held.refuse(origin, session)
                return
    held.pass_erase(request)


def obtain(errand: Errand) -> Answer | None:
    """An answer for a request whose answer is not in memory; None where the host is no forge, or nobody may be asked.
    Raises ForgeError with the reason why a forge cannot be answered for."""
    session = errand.vault.session(errand.origin, errand.base, errand.request.asked) if errand.vault else None
    if session and not errand.anew:
        answer = _go_on(errand, session)
        if answer:
            return answer
    forge = _recognise(errand, session)
    if forge is None:
        return None
    if forge.origin.scheme == "http" and not forge.origin.loopback and not errand.settings.allow_http:
        if not forge.certain:
            return None
        raise RefusedError(
            f"not signed in to {forge.name}: over plain http anybody on the way could read the token",
            f"to allow it all the same: git config --global credential.{forge.origin.url}.forgeAllowHttp true",
        )
    if not errand.surroundings.interactive:
        return None
    return _sign_in(errand, forge)


def _go_on(errand: Errand, session: Session) -> Answer | None:
    """Serve a session again, or refresh it: by one process for all, which is why it is read again under the lock.
    None if it has ended. Raises UnreachableError."""
    held, origin, account = errand.vault, errand.origin, session.account
    if held is None:
        return None
    name = flight.refresh_name(origin, account)
    with flight.acting(held.place, name, flight.REFRESH, errand.gone) as mine:
        answer = held.answer(origin, errand.base, account)
        if answer:
            return answer
        now = held.session(origin, errand.base, account)
        forge = _forge_of(now, errand) if now else None
        if now is None or forge is None:
            return None
        if now.usable(time.time()):
            _keep(held, origin, now)
            return now.answer()
        if now.refresh_token is None:
            return None
        if not mine:
            raise UnreachableError(f"another git is still refreshing the sign-in to {forge.name}; try again")
        return _refresh(errand, held, forge, now)


def _refresh(errand: Errand, held: Vault, forge: Forge, session: Session) -> Answer | None:
    from git_credential_forge.oauth import authorize
    from git_credential_forge.oauth.refresh import Refreshed, Rejected, UnknownClient, refresh

    if session.refresh_token is None:
        return None
    outcome = refresh(forge, session.refresh_token)
    if isinstance(outcome, Refreshed):
        token = outcome.token
        if token.refresh_token is None:  # RFC 6749, section 6: then the old one stays good
            token = token._replace(refresh_token=session.refresh_token)
        renewed = make_session(forge, errand.base, session.account, token, session)
        _keep(held, errand.origin, renewed)
        return renewed.answer()
    if isinstance(outcome, Rejected):
        held.forget(errand.origin, session.account)
        if errand.surroundings.interactive:
            say.line(f"{forge.name} no longer accepts this sign-in ({say.clean(str(outcome.refusal))})")
        return None
    if isinstance(outcome, UnknownClient):
        raise authorize.unknown_client(forge)
    raise UnreachableError(f"{outcome.reason}; your sign-in is kept, try again later")


def _sign_in(errand: Errand, forge: Forge) -> Answer:
    """One process asks the person; who waited for it takes what it got, or shares its refusal."""
    from git_credential_forge.oauth import obtain as ways

    held, origin, asked = errand.vault, errand.origin, errand.request.asked
    place = held.place if held else None
    started = time.time()
    quiet = None if errand.anew else flight.refusal(place, origin, errand.settings.quiet_period, since=started)
    if quiet:
        raise quiet

    def waiting() -> None:
        say.line(f"another git is signing in to {forge.name}, waiting for it (Ctrl-C to stop waiting)")

    def admit(account: str | None) -> None:
        if asked and account and account.casefold() != asked.casefold():
            raise RefusedError(
                f"you signed in as {account}, but this remote asks for {say.clean(asked)}; nothing was changed",
                f"sign out of {forge.name} in your browser, or use {origin.scheme}://{account}@{forge.name}/…",
            )

    name, patience = flight.sign_in_name(origin), errand.settings.sign_in_timeout
    with flight.acting(place, name, patience, errand.gone, waiting) as mine:
        answer = held.answer(origin, errand.base, asked) if held and not errand.anew else None
        if answer:
            return answer
        shared = flight.refusal(place, origin, 0, since=started)
        if shared:
            raise shared
        if not mine:
            raise RefusedError(f"not signed in to {forge.name}: another git's sign-in did not end within {patience} s")
        try:
            grant = ways.sign_in(forge, errand.settings, errand.surroundings, errand.gone, admit)
        except RefusedError as error:
            flight.remember_refusal(place, origin, error)
            raise
        except KeyboardInterrupt:
            flight.remember_refusal(place, origin, RefusedError(f"not signed in to {forge.name}: it was cancelled"))
            raise
        account = grant.account or asked or errand.settings.default_username or errand.request.username or "oauth2"
        base = forge.base if forge.base and recognise.covers(forge.base, errand.request.path) else ""
        previous = held.session(origin, base, account) if held else None
        session = make_session(forge, base, account, grant.token, previous)
        flight.forget_refusal(place, origin)
        kept = _keep(held, origin, session)
    _welcome(forge, session, held if kept else None)
    return session.answer()


def _welcome(forge: Forge, session: Session, held: Vault | None) -> None:
    who = f"signed in as {session.account} at {forge.name}"
    if held is None:
        say.line(f"{who}, for this command only")
    else:
        say.line(f"{who}, kept in memory while you work, and {_span(held.timeout)} more")


def _span(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    if rest or not hours:
        return f"{seconds} s" if seconds % 60 else f"{seconds // 60} min"
    return {1: "an hour", 2: "two hours"}.get(hours, f"{hours} hours")


def _keep(held: Vault | None, origin: Origin, session: Session) -> bool:
    """Save before git is answered. What cannot be kept is still good for this command."""
    if held is None:
        return False
    try:
        held.save(origin, session)
    except VaultError as error:
        say.lines(error.message, error.hints)
        return False
    return True


def make_session(forge: Forge, base: str, account: str, token: object, previous: Session | None) -> Session:
    """A session from a token response, received now."""
    from git_credential_forge.oauth.wire import Token

    assert isinstance(token, Token)
    now = int(time.time())
    margin = vault.margin(token.lifetime) if token.lifetime else vault.MARGIN
    expiry = now + (token.lifetime or vault.FOR_EVER)
    if previous and expiry <= previous.expiry <= expiry + margin:
        expiry = previous.expiry + 1  # the figure names the token: never twice the same
    return Session(
        account=account,
        access_token=token.access_token,
        expiry=expiry,
        margin=margin,
        refresh_token=token.refresh_token,
        client_id=forge.client_id or "",
        kind=forge.kind.key,
        base=base,
        issuer=forge.issuer,
        token_url=forge.token_url,
        whoami_url=forge.whoami_url,
        scopes=forge.scopes,
        signed_in_at=previous.signed_in_at if previous else now,
    )


def _forge_of(session: Session, errand: Errand) -> Forge | None:
    """The forge that a session is of; None if the configuration now names another client or endpoint, which makes the
    session void: its tokens were not made for that."""
    kind = BY_KEY.get(session.kind, OTHER)
    found = Metadata(session.issuer, session.token_url, session.token_url)
    forge = recognise.build(kind, errand.origin, session.base, errand.settings, found, certain=True)
    same = (forge.token_url, forge.client_id) == (session.token_url, session.client_id)
    return forge if same else None


def _recognise(errand: Errand, session: Session | None) -> Forge | None:
    """Which forge the origin is, with at most one look at the network; None if it is none that we know."""
    from git_credential_forge.oauth import metadata  # imports httpx only when it asks

    origin, configured, challenge = errand.origin, errand.settings, errand.request.wwwauth
    kind = recognise.kind_of(origin, configured, challenge, session.kind if session else None)
    if kind and (kind is not OTHER or (configured.authorize_url and configured.token_url)):
        return recognise.build(kind, origin, errand.base, configured, certain=True)
    wanted = configured.client_id is not None
    if origin.scheme == "http" and not origin.loopback:
        return None
    if not errand.surroundings.interactive or (not wanted and recognise.challenge_of_another(challenge)):
        return None
    if not wanted and _known_stranger(errand):
        return None
    found = metadata.discover(origin, errand.base, wanted=wanted)
    kind = recognise.kind_by_metadata(found) if found else None
    if found and kind and (kind is not OTHER or wanted):
        return recognise.build(kind, origin, errand.base, configured, found, certain=wanted)
    if wanted:
        raise RefusedError(
            f"not signed in to {origin.netloc}: a client id is set for it, but it does not say where to sign in",
            f"set credential.{origin.url}.oauthAuthURL and …oauthTokenURL",
        )
    _remember_stranger(errand)
    return None


def _known_stranger(errand: Errand) -> bool:
    """Whether this host was asked within the timeout and is no forge."""
    if errand.vault is None:
        return False
    try:
        age = time.time() - os.stat(_stranger(errand.vault, errand.origin)).st_mtime
    except OSError:
        return False
    return 0 <= age < errand.vault.timeout


def _remember_stranger(errand: Errand) -> None:
    if errand.vault:
        try:
            with open(_stranger(errand.vault, errand.origin), "wb"):
                pass
        except OSError:
            say.trace("recognise: cannot be remembered")


def _stranger(held: Vault, origin: Origin) -> str:
    return held.place.path(f"no-forge-{origin.scheme}-{origin.netloc}")


def base_of(origin: Origin, request: Request, held: Vault | None) -> str:
    """The path of the forge, among those signed in to at this origin, that a request's path lies below."""
    from git_credential_forge import index

    rows = index.read(held.place, origin) if held and request.path else []
    bases = [row.base for row in rows if row.base and recognise.covers(row.base, request.path)]
    return max(bases, key=len, default="")


def address(origin: Origin, request: Request) -> str:
    """The address for git's configuration, so that per-path and per-user settings count."""
    from urllib.parse import quote

    user = f"{quote(request.username, safe='')}@" if request.username else ""
    path = f"/{quote(request.path, safe='/%')}" if request.path else ""
    return f"{origin.scheme}://{user}{origin.netloc}{path}"
