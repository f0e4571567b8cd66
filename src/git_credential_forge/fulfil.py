"""An answer that is not in memory: the session goes on, else is refreshed, else a person signs in."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from git_credential_forge import flight, identify, index, say, session
from git_credential_forge.daemon import Place
from git_credential_forge.errand import Errand, base_of
from git_credential_forge.errors import (
    RefusedError,
    TerminatedError,
    UnreachableError,
    VaultError,
    WrongAccountError,
)
from git_credential_forge.oauth import authorize, refresh
from git_credential_forge.oauth import obtain as ways
from git_credential_forge.oauth.authorize import Grant
from git_credential_forge.oauth.refresh import Refreshed, Rejected, UnknownClient
from git_credential_forge.origin import Origin
from git_credential_forge.protocol import Answer
from git_credential_forge.recognise import Forge
from git_credential_forge.session import Session
from git_credential_forge.vault import Vault


class Got(NamedTuple):
    answer: Answer
    minted: bool  # the token is a new one, or answers a refusal


def obtain(errand: Errand) -> Got | None:
    """An answer for a request whose answer is not in memory; None where the host is no forge, or nobody may be asked.
    Raises ForgeError with the reason why a forge cannot be answered for."""
    held = errand.vault.session(errand.origin, errand.base, errand.request.asked) if errand.vault else None
    if held and not errand.anew:
        got = _go_on(errand, held)
        if got:
            return got
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
    return Got(_sign_in(errand, forge), minted=True)


def _go_on(errand: Errand, held: Session) -> Got | None:
    """Serve a session again, or refresh it: by one process for all, which is why it is read again under the lock.
    None if it has ended. Raises UnreachableError."""
    vault, origin, account, refused = errand.vault, errand.origin, held.account, errand.request.refused
    if vault is None:
        return None
    name = flight.refresh_name(origin, account)
    with flight.acting(vault.place, name, flight.REFRESH, errand.gone, done=_news(errand)) as mine:
        answer = _held_now(errand)
        if answer:
            return Got(answer, minted=refused is not None)
        now = vault.session(origin, errand.base, account)
        forge = identify.forge_of(now, errand) if now else None
        if now is None or forge is None:
            return None
        if now.expiry == refused and not now.refused:
            now = vault.refuse(origin, now)
        if now.usable(time.time()):
            _keep(vault, origin, now)
            return Got(now.answer(), minted=refused is not None)
        hopeless = now.refresh_token is None or (now.repaired and not forge.kind.says_401_for_tokens_only)
        if now.refused and now.young(time.time()) and hopeless:
            return _once_more(errand, forge, now)
        if now.refresh_token is None:
            return None
        if not mine:
            raise UnreachableError(f"another git is still refreshing the sign-in to {forge.name}; try again")
        renewed = _refresh(errand, vault, forge, now)
        return Got(renewed, minted=True) if renewed else None


def _held_now(errand: Errand) -> Answer | None:
    """What another process has put into memory for this errand: not what we were refused with."""
    if errand.vault is None:
        return None
    base = base_of(errand.origin, errand.request, errand.vault)
    answer = errand.vault.answer(errand.origin, base, errand.request.asked)
    if answer is None and base:  # a forge on a sub-path: its tokens are given from the session
        kept = errand.vault.session(errand.origin, base, errand.request.asked)
        answer = kept.answer() if kept and kept.usable(time.time()) else None
    return answer if answer and answer.expiry != (errand.request.refused or -1) else None


def _news(errand: Errand) -> Callable[[], bool]:
    """Whether what we wait for is there. The cache is asked only when the names file has changed."""
    if errand.vault is None or errand.anew:
        return lambda: False
    place, origin = errand.vault.place, errand.origin
    seen = [index.stamp(place, origin)]

    def look() -> bool:
        now = index.stamp(place, origin)
        if now == seen[0]:
            return False
        seen[0] = now
        return _held_now(errand) is not None

    return look


def _once_more(errand: Errand, forge: Forge, now: Session) -> Got:
    """A token that was issued a moment ago is refused, and a newer one would be: some forges say 401 for a repository
    that one may not see. So it is given again, with that reason, and neither a refresh nor a tab is spent on it."""
    if errand.surroundings.interactive:
        say.line(f"{forge.name} refuses this repository to {now.account}, whose token is a moment old")
        say.line(f"to sign in anew all the same: git credential-forge login {forge.url}")
    return Got(now.answer(), minted=True)


def _refresh(errand: Errand, vault: Vault, forge: Forge, old: Session) -> Answer | None:
    if old.refresh_token is None:
        return None
    outcome = refresh.refresh(forge, old.refresh_token)
    if isinstance(outcome, Refreshed):
        renewed = session.renew(forge, old, outcome.token)
        if _is_still_held(vault, errand.origin, old):
            _keep(vault, errand.origin, renewed)
        return renewed.answer()
    if isinstance(outcome, Rejected):
        if _is_still_held(vault, errand.origin, old):
            vault.forget(errand.origin, old.base, old.account)
        if errand.surroundings.interactive:
            say.line(f"{forge.name} no longer accepts this sign-in ({say.clean(str(outcome.refusal))})")
            if outcome.lost:
                say.line("the answer to a refresh was lost on the way, and this forge takes each refresh token once")
        return None
    if isinstance(outcome, UnknownClient):
        raise authorize.unknown_client(forge)
    raise UnreachableError(f"{outcome.reason}; your sign-in is kept, try again later")


def _is_still_held(vault: Vault, origin: Origin, old: Session) -> bool:
    """Not when somebody has signed out meanwhile, or in anew: neither is undone by a refresh that was under way."""
    now = vault.session(origin, old.base, old.account)
    return now is not None and now.refresh_token == old.refresh_token


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

    name, patience = flight.sign_in_name(origin), errand.settings.sign_in_timeout
    with flight.acting(place, name, patience, errand.gone, done=_news(errand), waiting=waiting) as mine:
        answer = None if errand.anew else _held_now(errand)
        if answer:
            return answer
        shared = flight.refusal(place, forge, 0, since=started)
        if shared:
            raise shared
        if not mine:
            raise RefusedError(f"not signed in to {forge.name}: another git's sign-in did not end within {patience} s")
        grant = _ask_person(errand, forge, place)
        account = grant.account or asked or errand.settings.default_username or errand.request.username or "oauth2"
        previous = vault.session(origin, forge.scope, account) if vault else None
        fresh = session.make(forge, account, grant.token, previous)
        flight.forget_refusal(place, origin)
        kept = _keep(vault, origin, fresh)
    _welcome(forge, fresh, vault if kept else None)
    return fresh.answer()


def _ask_person(errand: Errand, forge: Forge, place: Place | None) -> Grant:
    """A grant, or the refusal left for those who wait, where it concerns them."""
    asked = errand.request.asked

    def admit(account: str | None) -> None:
        if asked and account and account.casefold() != asked.casefold():
            raise WrongAccountError(
                f"you signed in as {account}, but this remote asks for {say.clean(asked)}; nothing was changed",
                f"sign out of {forge.name} in your browser, or use {forge.origin.scheme}://{account}@{forge.name}/…",
            )

    try:
        return ways.sign_in(forge, errand.settings, errand.surroundings, errand.gone, admit)
    except (WrongAccountError, TerminatedError):
        raise  # says nothing to who asks for somebody else; no word of the person's: who waits takes over
    except (RefusedError, UnreachableError) as error:
        flight.remember_refusal(place, forge, error, quiet=isinstance(error, RefusedError))
        raise
    except KeyboardInterrupt:
        cancelled = RefusedError(f"not signed in to {forge.name}: it was cancelled")
        flight.remember_refusal(place, forge, cancelled, quiet=True)
        raise


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
