"""An answer that is not in memory: the session goes on, else is refreshed, else a person signs in."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

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
from git_credential_forge.origin import Origin
from git_credential_forge.protocol import Answer
from git_credential_forge.recognise import Forge
from git_credential_forge.session import Session
from git_credential_forge.surroundings import Surroundings
from git_credential_forge.vault import Vault

if TYPE_CHECKING:
    from git_credential_forge.oauth.authorize import Grant

# What speaks to forges is imported by who acts, and not by the many who wait for it.


class Got(NamedTuple):
    answer: Answer
    minted: bool  # the token is a new one, or answers a refusal


@contextlib.contextmanager
def turn(errand: Errand) -> Iterator[tuple[bool, Answer | None]]:
    """Go on with a sign-in that lives, one process at a time. Who waits is let go as soon as there is an answer, or
    the sign-in has ended; then, and after `flight.REFRESH` seconds, it yields False. And the answer that was found."""
    vault = errand.vault
    row = vault.row(errand.origin, errand.base, errand.request.asked) if vault else None
    if vault is None or row is None or time.time() >= row.session_end:
        yield True, None
        return
    name, news = flight.refresh_name(errand.origin, row.account), _News(errand, or_end=True)
    with flight.acting(vault.place, name, flight.REFRESH, errand.gone, done=news.there) as mine:
        yield mine, news.answer or held_now(errand)


def obtain(errand: Errand) -> Got | None:
    """What a person gets who wants to sign in now, whatever is held. Raises what `sign_in` raises."""
    held = errand.vault.session(errand.origin, errand.base, errand.request.asked) if errand.vault else None
    return sign_in(errand, held)


def sign_in(errand: Errand, held: Session | None) -> Got | None:
    """A person's answer; None where the host is no forge, or nobody may be asked. `held`: the session that did not go
    on, which still tells what the forge is. Raises ForgeError with the reason why a forge cannot be answered for."""
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


def go_on(errand: Errand, now: Session | None, *, mine: bool) -> Got | None:
    """Serve a session again, or refresh it; in `turn`, in which the session was read. None if it has ended. Raises
    UnreachableError."""
    vault, origin, refused = errand.vault, errand.origin, errand.request.refused
    forge = identify.forge_of(now, errand) if now else None
    if vault is None or now is None or forge is None:
        return None
    if now.expiry == refused and not now.refused:
        if now.blameless(time.time()):
            doubt(errand.surroundings, forge.name, forge.url, now.account)
            return Got(now.answer(), minted=True)
        now = vault.refuse(origin, now)
    if now.usable(time.time()):
        _keep(vault, origin, now)
        return Got(now.answer(), minted=refused is not None)
    if now.refresh_token is None:
        return None
    if not mine:
        raise UnreachableError(f"another git is still refreshing the sign-in to {forge.name}; try again")
    renewed = _refresh(errand, vault, forge, now)
    return Got(renewed, minted=True) if renewed else None


def held_now(errand: Errand) -> Answer | None:
    """What another process has put into memory for this errand: not what we were refused with."""
    if errand.vault is None:
        return None
    base = base_of(errand.origin, errand.request, errand.vault)
    answer = errand.vault.answer(errand.origin, base, errand.request.asked)
    if answer is None and base:  # a forge on a sub-path: its tokens are given from the session
        kept = errand.vault.session(errand.origin, base, errand.request.asked)
        answer = kept.answer() if kept and kept.usable(time.time()) else None
    return answer if answer and answer.expiry != (errand.request.refused or -1) else None


class _News:
    """Whether what we wait for is there; or also, whether the sign-in has ended. The cache is asked only when the
    names file has changed, and what it gave is kept: a moment later that may have ended, or be refused to another."""

    def __init__(self, errand: Errand, *, or_end: bool = False) -> None:
        self.answer: Answer | None = None
        self._errand, self._or_end = errand, or_end
        self._seen = self._stamp()

    def there(self) -> bool:
        now, errand = self._stamp(), self._errand
        if errand.vault is None or now == self._seen:
            return False
        self._seen = now
        self.answer = held_now(errand)
        if self.answer:
            return True
        return self._or_end and errand.vault.row(errand.origin, errand.base, errand.request.asked) is None

    def _stamp(self) -> tuple[int, int] | None:
        """None for who wants to sign in whatever there is, too."""
        held = self._errand.vault if not self._errand.anew else None
        return index.stamp(held.place, self._errand.origin) if held else None


def doubt(around: Surroundings, name: str, url: str, account: str) -> None:
    """A token that was issued a moment ago is refused, and a newer one would be: some forges say 401 for a repository
    that one may not see. So it is kept, with that reason, and neither a refresh nor a tab is spent on it."""
    if around.interactive:
        say.line(f"{name} refuses this repository to {account}, whose token is a moment old")
        say.line(f"to sign in anew all the same: git credential-forge login {url}")


def _refresh(errand: Errand, vault: Vault, forge: Forge, old: Session) -> Answer | None:
    if old.refresh_token is None:
        return None
    from git_credential_forge.oauth import authorize, refresh
    from git_credential_forge.oauth.refresh import Refreshed, Rejected, UnknownClient

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
    news = _News(errand)
    with flight.acting(place, name, patience, errand.gone, done=news.there, waiting=waiting) as mine:
        answer = news.answer or (None if errand.anew else _saved(errand))
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


def _saved(errand: Errand) -> Answer | None:
    """What another process has signed in to meanwhile, also if it was killed with only the session saved, or if that
    token has ended since."""
    with turn(errand) as (mine, answer):
        if answer:
            return answer
        held = errand.vault.session(errand.origin, errand.base, errand.request.asked) if errand.vault else None
        got = go_on(errand, held, mine=mine)
        return got.answer if got else None


def _ask_person(errand: Errand, forge: Forge, place: Place | None) -> Grant:
    """A grant, or the refusal left for those who wait, where it concerns them."""
    from git_credential_forge.oauth import obtain as ways

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
