"""In a Coder workspace: a token that Coder has of the forge, before a person is asked to sign in there.

One process asks for an origin, the others take what it got. The token is kept for a minute, because nobody says when
it ends; then Coder is asked again, which tests it at the forge, and refreshes it. It is asked for the host alone: who
makes a repository's address chooses its path, and a deployment's patterns need not be bound to the host.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from git_credential_forge import flight, fulfil, recognise, say, session, sign_in
from git_credential_forge.errand import Errand
from git_credential_forge.errors import ForgeError, RefusedError, TerminatedError
from git_credential_forge.forges import CODER_WORKSPACE
from git_credential_forge.fulfil import Got
from git_credential_forge.recognise import Forge, Metadata
from git_credential_forge.session import Session
from git_credential_forge.settings import Settings
from git_credential_forge.vault import TIMEOUT

if TYPE_CHECKING:
    from git_credential_forge.coder.agent import Agent, Failed, Linked, NoProvider, Unlinked

# What speaks to Coder is imported by who acts, and not by the many who wait for it.

LIFE = 66  # seconds: a minute, and the margin in which a token is no longer given out


def get(errand: Errand, held: Session | None) -> Got | None:
    """What Coder gives for this errand; None where it gives nothing, and a person may be asked as anywhere else.
    `held`: the session that did not go on. Raises RefusedError, AbandonedError."""
    origin, place = errand.origin, errand.vault.place if errand.vault else None
    if (origin.scheme == "http" and not origin.loopback) or flight.put_off(place, _nothing(errand), TIMEOUT):
        return None
    news = fulfil.News(errand)
    with flight.acting(place, _name(errand), flight.REFRESH, errand.gone, done=news.there) as mine:
        got = _of_another(errand, news)
        if got or not mine or flight.put_off(place, _nothing(errand), TIMEOUT):
            return got
        from git_credential_forge.coder import agent

        try:
            who = agent.find()
        except ForgeError as error:
            _pass_over(errand, agent.Failed(error.message), held)
            return None
        verdict = agent.ask(who, origin.url)
        if isinstance(verdict, agent.Linked):
            return _take(errand, _forge(errand, who), verdict, held)
        _pass_over(errand, verdict, held)
    if isinstance(verdict, agent.Unlinked) and errand.surroundings.interactive:
        return _link(errand, who, verdict)
    return None


def _pass_over(errand: Errand, verdict: Unlinked | NoProvider | Failed, held: Session | None) -> None:
    """No token. Where that is not the person's to change at once, Coder is left alone for a while."""
    from git_credential_forge.coder.agent import Failed, NoProvider

    vault = errand.vault
    if vault and held and held.lent and not isinstance(verdict, Failed):
        vault.forget(errand.origin, held.base, held.account, over=True)
    place = vault.place if vault else None
    if isinstance(verdict, NoProvider):
        say.trace(f"workspace: {verdict.said}")
        flight.put_off_for(place, _nothing(errand), TIMEOUT)
    elif isinstance(verdict, Failed):
        if errand.surroundings.interactive:
            say.line(f"no token for {errand.origin.netloc} from Coder: {verdict.reason}")
        flight.put_off_for(place, _nothing(errand), errand.settings.quiet_period)


def _link(errand: Errand, who: Agent, unlinked: Unlinked) -> Got:
    """One process shows the page and waits for the person; who waited for it takes what it got, or shares its
    refusal. For a while after one nobody waits again, but Coder is asked each time: the link may be there."""
    from git_credential_forge.coder import invite

    whom, place = _forge(errand, who), errand.vault.place if errand.vault else None
    since, name = time.time() - errand.settings.quiet_period, _name(errand)
    told = flight.refusal(place, whom, 0, since, name)
    if told:
        raise told

    def waiting() -> None:
        say.line(f"another git waits for {whom.name} to be linked in Coder, waiting for it (Ctrl-C to stop waiting)")

    patience, news = errand.settings.sign_in_timeout, fulfil.News(errand)
    lock = flight.sign_in_name(errand.origin)
    with flight.acting(place, lock, patience, errand.gone, done=news.there, waiting=waiting) as mine:
        got = _of_another(errand, news)
        if got:
            return got
        told = flight.refusal(place, whom, 0, since, name)
        if told:
            raise told
        if not mine:
            raise invite.refused(whom, f"nobody linked it within {patience} s", unlinked)
        try:
            linked = invite.wait(who, whom, unlinked, errand)
        except TerminatedError:
            raise  # no word of the person's: who waits takes over
        except RefusedError as error:
            flight.remember_refusal(place, whom, error, quiet=True, name=name)
            raise
        except KeyboardInterrupt:
            cancelled = invite.refused(whom, "it was cancelled", unlinked)
            flight.remember_refusal(place, whom, cancelled, quiet=True, name=name)
            raise
        flight.forget_refusal(place, errand.origin, name)
        return _take(errand, whom, linked, None)


def _of_another(errand: Errand, news: fulfil.News) -> Got | None:
    answer = news.answer or fulfil.held_now(errand)
    return Got(answer, minted=errand.request.refused is not None) if answer else None


def _take(errand: Errand, whom: Forge, linked: Linked, held: Session | None) -> Got:
    """Make a session of what Coder has given, and keep it, in memory alone. The same token again where it was refused:
    the forge knows it, Coder has just tried, so it is the repository that is refused."""
    from git_credential_forge.oauth.wire import Token

    vault, origin, request = errand.vault, errand.origin, errand.request
    name = errand.settings.default_username or request.username or linked.username or sign_in.NOBODY
    account = request.asked or name
    previous = vault.session(origin, whom.scope, account) if vault else None
    fresh = session.make(whom, account, Token(linked.token, None, LIFE), previous)
    same = held is not None and held.lent and held.access_token == linked.token
    again = same and held is not None and (held.refused or held.expiry == request.refused)
    fresh = fresh._replace(username=linked.username, repaired=again)
    if again and request.refused is not None:
        fulfil.doubt(errand.surroundings, whom.name, whom.url, fresh.who)
    row = vault.row(origin, whom.scope, account) if vault else None
    # A sign-in of the person's own is not written over, nor one in a keychain that does not open now.
    own = previous is not None and not previous.lent and (held is None or held.account != account)
    if vault and not own and not (row and row.kept):
        fulfil.keep(vault, origin, fresh)
        sign_in.make_room(vault, origin, fresh, request.asked)
    return Got(fresh.answer(), minted=True)


def _forge(errand: Errand, who: Agent) -> Forge:
    """The forge as Coder has it: the whole host."""
    url = who.url(errand.origin.url)
    return recognise.build(CODER_WORKSPACE, errand.origin, "", Settings(), Metadata(None, url, url), certain=True)


def _name(errand: Errand) -> str:
    return f"coder-{errand.origin.scheme}-{errand.origin.netloc}"


def _nothing(errand: Errand) -> str:
    """The file that remembers for a while that Coder gives nothing for this host."""
    return f"no-{_name(errand)}"
