"""An answer that is not in memory, without a person: another process brings it, or the session goes on."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from git_credential_forge import flight, identify, index, say, session
from git_credential_forge.daemon import Place
from git_credential_forge.errand import Errand, base_of
from git_credential_forge.errors import RefusedError, UnreachableError, VaultError
from git_credential_forge.origin import Origin
from git_credential_forge.protocol import Answer
from git_credential_forge.recognise import Forge
from git_credential_forge.session import Session
from git_credential_forge.surroundings import Surroundings
from git_credential_forge.vault import Vault

if TYPE_CHECKING:
    from git_credential_forge.oauth.refresh import Rejected, UnknownClient
    from git_credential_forge.oauth.wire import Refusal

# What speaks to forges is imported by who acts, and not by the many who wait for it.


class Got(NamedTuple):
    answer: Answer
    minted: bool  # the token is a new one, or answers a refusal


class Turn(NamedTuple):
    mine: bool  # nobody else is at it; False also after `flight.REFRESH` seconds of waiting
    answer: Answer | None  # what another one has brought
    since: float  # when we began to wait, in seconds since 1970


@contextlib.contextmanager
def turn(errand: Errand) -> Iterator[Turn]:
    """Go on with a sign-in that lives, one process at a time. Who waits is let go as soon as there is an answer, or
    the sign-in has ended."""
    since = time.time()
    vault = errand.vault
    row = vault.row(errand.origin, errand.base, errand.request.asked) if vault else None
    if vault is None or row is None or time.time() >= row.session_end:
        yield Turn(True, None, since)
        return
    name, news = flight.refresh_name(errand.origin, row.account), News(errand, or_end=True)
    with flight.acting(vault.place, name, flight.REFRESH, errand.gone, done=news.there) as mine:
        yield Turn(mine, news.answer or held_now(errand), since)


def go_on(errand: Errand, now: Session | None, turn: Turn) -> Got | None:
    """Serve a session again, or refresh it; in `turn`, in which the session was read. None if it has ended, also where
    its refresh is refused while its token lives: a Coder ends both at once. Raises RefusedError, UnreachableError."""
    vault, origin, refused = errand.vault, errand.origin, errand.request.refused
    forge = identify.forge_of(now, errand) if now and not now.lent else None
    if vault is None or now is None or forge is None:
        return None
    if now.expiry == refused and not now.refused:
        if now.blameless(time.time()):
            doubt(errand.surroundings, forge.name, forge.url, now.account)
            return Got(now.answer(), minted=True)
        now = vault.refuse(origin, now)
    if now.usable(time.time()):
        keep(vault, origin, now, after=now, unchanged=True)
        return Got(now.answer(), minted=refused is not None)
    if now.refresh_token is None:
        return None
    try:
        renewed = _renewed(errand, vault, forge, now, turn)
    except (RefusedError, UnreachableError) as error:
        if not now.alive(time.time()):
            raise
        say.trace(f"fulfil: {error.message}")
        if turn.mine:  # or each git would try it anew
            later = now.put_off(time.time(), errand.settings.quiet_period)
            keep(vault, origin, later, after=now, unchanged=True)
        return Got(now.answer(), minted=refused is not None)
    return Got(renewed, minted=True) if renewed else None


def _renewed(errand: Errand, vault: Vault, forge: Forge, now: Session, turn: Turn) -> Answer | None:
    """Raises UnreachableError; RefusedError with what another one has met with meanwhile."""
    failed = flight.refusal(vault.place, forge, 0, turn.since, flight.refresh_name(errand.origin, now.account))
    if failed:
        raise failed
    if not turn.mine:
        raise UnreachableError(f"another git is still refreshing the sign-in to {forge.name}; try again")
    return _refresh(errand, vault, forge, now)


def held_now(errand: Errand) -> Answer | None:
    """What another process has put into memory for this errand: not what we were refused with."""
    if errand.vault is None:
        return None
    base = base_of(errand.origin, errand.request, errand.vault)
    answer = errand.vault.answer(errand.origin, base, errand.request.asked)
    if answer is None:  # a forge on a sub-path, and Bearer: these tokens are given from the session
        kept = errand.vault.session(errand.origin, base, errand.request.asked)
        answer = kept.answer() if kept and (base or kept.bearer) and kept.usable(time.time()) else None
    return answer if answer and answer.expiry != (errand.request.refused or -1) else None


class News:
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
        row = errand.vault.row(errand.origin, errand.base, errand.request.asked) if self._or_end else None
        return self._or_end and (row is None or time.time() >= row.session_end)

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
    name = flight.refresh_name(errand.origin, old.account)
    if isinstance(outcome, Refreshed):
        flight.forget_refusal(vault.place, errand.origin, name)
        renewed = session.renew(forge, old, outcome.token)
        keep(vault, errand.origin, renewed, after=old)
        return renewed.answer()
    if isinstance(outcome, UnknownClient) and forge.own is None:
        raise authorize.unknown_client(forge)
    if isinstance(outcome, Rejected | UnknownClient):
        if vault.holds(errand.origin, old):
            vault.outlive(errand.origin, old)
            vault.forget(errand.origin, old.base, old.account, over=True)
        if errand.surroundings.interactive:
            _say_why(forge, outcome, vault.place)
        return None
    offline = UnreachableError(f"{outcome.reason}; your sign-in is kept, try again later")
    flight.remember_refusal(vault.place, forge, offline, quiet=False, name=name)  # or each who waits would try as long
    raise offline


def _say_why(forge: Forge, outcome: Rejected | UnknownClient, place: Place) -> None:
    """Why a sign-in is over."""
    from git_credential_forge.oauth.refresh import UnknownClient

    if isinstance(outcome, UnknownClient):  # taken away there; a new sign-in registers another
        say.line(f"{forge.name} no longer knows the client that this machine has registered there")
        return
    say.line(f"{forge.name} no longer accepts this sign-in ({_words(forge, outcome.refusal)})")
    if outcome.lost:
        say.line("the answer to a refresh was lost on the way, and this forge takes each refresh token once")
    elif forge.built_in and outcome.refusal.description in forge.kind.elsewhere:
        _name_the_other_machine(forge, place)


def _words(forge: Forge, refusal: Refusal) -> str:
    return refusal.description if refusal.description in forge.kind.elsewhere else say.clean(str(refusal))


def _name_the_other_machine(forge: Forge, place: Place) -> None:
    """Why a sign-in ended that nobody here has touched, and what helps; once a day, as one may choose to live with
    it."""
    if flight.first_today(place, f"told-{forge.origin.scheme}-{forge.origin.netloc}"):
        say.line("another computer signed in with the shared application, and this server allows one at a time")
        say.line(f"`git credential-forge register {forge.url}` gives this computer an application of its own")


def keep(
    vault: Vault | None, origin: Origin, fresh: Session, *, after: Session | None = None, unchanged: bool = False
) -> bool:
    """Save before git is answered. What cannot be kept is still good for this command."""
    if vault is None:
        return False
    try:
        vault.save(origin, fresh, after=after, unchanged=unchanged)
    except VaultError as error:
        say.lines(error.message, error.hints)
        return False
    return True
