"""An answer that is not in memory: the session goes on, else is refreshed, else a person signs in."""

from __future__ import annotations

import time

from git_credential_forge import flight, identify, say, session
from git_credential_forge.errand import Errand
from git_credential_forge.errors import RefusedError, UnreachableError, VaultError
from git_credential_forge.oauth import authorize, refresh
from git_credential_forge.oauth import obtain as ways
from git_credential_forge.oauth.refresh import Refreshed, Rejected, UnknownClient
from git_credential_forge.origin import Origin
from git_credential_forge.protocol import Answer
from git_credential_forge.recognise import Forge
from git_credential_forge.session import Session
from git_credential_forge.vault import Vault


def obtain(errand: Errand) -> Answer | None:
    """An answer for a request whose answer is not in memory; None where the host is no forge, or nobody may be asked.
    Raises ForgeError with the reason why a forge cannot be answered for."""
    held = errand.vault.session(errand.origin, errand.base, errand.request.asked) if errand.vault else None
    if held and not errand.anew:
        answer = _go_on(errand, held)
        if answer:
            return answer
    forge = identify.forge(errand, held)
    if forge is None:
        return None
    if forge.origin.scheme == "http" and not forge.origin.loopback and not errand.settings.allow_http:
        if not forge.certain:
            return None
        raise RefusedError(
            f"not signed in to {forge.name}: over plain http anybody on the way could read the token",
            f"to allow it all the same: git config --global credential.{forge.url}.forgeAllowHttp true",
        )
    if not errand.surroundings.interactive:
        return None
    return _sign_in(errand, forge)


def _go_on(errand: Errand, held: Session) -> Answer | None:
    """Serve a session again, or refresh it: by one process for all, which is why it is read again under the lock.
    None if it has ended. Raises UnreachableError."""
    vault, origin, account = errand.vault, errand.origin, held.account
    if vault is None:
        return None
    name = flight.refresh_name(origin, account)
    with flight.acting(vault.place, name, flight.REFRESH, errand.gone) as mine:
        answer = vault.answer(origin, errand.base, account)
        if answer:
            return answer
        now = vault.session(origin, errand.base, account)
        forge = identify.forge_of(now, errand) if now else None
        if now is None or forge is None:
            return None
        if now.usable(time.time()):
            _keep(vault, origin, now)
            return now.answer()
        if now.refresh_token is None:
            return None
        if not mine:
            raise UnreachableError(f"another git is still refreshing the sign-in to {forge.name}; try again")
        return _refresh(errand, vault, forge, now)


def _refresh(errand: Errand, vault: Vault, forge: Forge, old: Session) -> Answer | None:
    if old.refresh_token is None:
        return None
    outcome = refresh.refresh(forge, old.refresh_token)
    if isinstance(outcome, Refreshed):
        token = outcome.token
        if token.refresh_token is None:  # RFC 6749, section 6: then the old one stays good
            token = token._replace(refresh_token=old.refresh_token)
        renewed = session.make(forge, old.account, token, old)
        _keep(vault, errand.origin, renewed)
        return renewed.answer()
    if isinstance(outcome, Rejected):
        now = vault.session(errand.origin, old.base, old.account)
        if now and now.refresh_token == old.refresh_token:  # and not one of a sign-in meanwhile
            vault.forget(errand.origin, old.base, old.account)
        if errand.surroundings.interactive:
            say.line(f"{forge.name} no longer accepts this sign-in ({say.clean(str(outcome.refusal))})")
        return None
    if isinstance(outcome, UnknownClient):
        raise authorize.unknown_client(forge)
    raise UnreachableError(f"{outcome.reason}; your sign-in is kept, try again later")


def _sign_in(errand: Errand, forge: Forge) -> Answer:
    """One process asks the person; who waited for it takes what it got, or shares its refusal."""
    vault, origin, asked = errand.vault, errand.origin, errand.request.asked
    place = vault.place if vault else None
    started = time.time()
    quiet = None if errand.anew else flight.refusal(place, forge, errand.settings.quiet_period, since=started)
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
        answer = vault.answer(origin, errand.base, asked) if vault and not errand.anew else None
        if answer:
            return answer
        shared = flight.refusal(place, forge, 0, since=started)
        if shared:
            raise shared
        if not mine:
            raise RefusedError(f"not signed in to {forge.name}: another git's sign-in did not end within {patience} s")
        try:
            grant = ways.sign_in(forge, errand.settings, errand.surroundings, errand.gone, admit)
        except RefusedError as error:
            flight.remember_refusal(place, forge, error)
            raise
        except KeyboardInterrupt:
            flight.remember_refusal(place, forge, RefusedError(f"not signed in to {forge.name}: it was cancelled"))
            raise
        account = grant.account or asked or errand.settings.default_username or errand.request.username or "oauth2"
        previous = vault.session(origin, forge.scope, account) if vault else None
        fresh = session.make(forge, account, grant.token, previous)
        flight.forget_refusal(place, origin)
        kept = _keep(vault, origin, fresh)
    _welcome(forge, fresh, vault if kept else None)
    return fresh.answer()


def _welcome(forge: Forge, fresh: Session, vault: Vault | None) -> None:
    who = f"signed in as {fresh.account} at {forge.name}"
    if vault is None:
        say.line(f"{who}, for this command only")
    else:
        say.line(f"{who}, kept in memory while you work, and {_span(vault.timeout)} more")


def _span(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    if rest or not hours:
        return f"{seconds} s" if seconds % 60 else f"{seconds // 60} min"
    return {1: "an hour", 2: "two hours"}.get(hours, f"{hours} hours")


def _keep(vault: Vault | None, origin: Origin, fresh: Session) -> bool:
    """Save before git is answered. What cannot be kept is still good for this command."""
    if vault is None:
        return False
    try:
        vault.save(origin, fresh)
    except VaultError as error:
        say.lines(error.message, error.hints)
        return False
    return True
