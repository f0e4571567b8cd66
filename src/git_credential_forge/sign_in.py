"""A person signs in: one process asks, the others wait for what it gets."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from git_credential_forge import client, flight, fulfil, identify, say, session
from git_credential_forge.daemon import Place
from git_credential_forge.errand import Errand
from git_credential_forge.errors import (
    ForgeError,
    RefusedError,
    TerminatedError,
    UnreachableError,
    VaultError,
    WrongAccountError,
)
from git_credential_forge.fulfil import Got
from git_credential_forge.index import KEPT
from git_credential_forge.origin import Origin
from git_credential_forge.protocol import Answer, alike
from git_credential_forge.recognise import Forge, Registration
from git_credential_forge.session import Session
from git_credential_forge.vault import Vault

if TYPE_CHECKING:
    from git_credential_forge.oauth.authorize import Grant

NOBODY = "oauth2"  # the name beside a token whose account nobody knows, as git-credential-oauth has it


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
        raise over_plain_http(forge.name, forge.url)
    if not errand.surroundings.interactive:
        return None
    return Got(_sign_in(errand, forge, held), minted=True)


def over_plain_http(name: str, url: str) -> RefusedError:
    return RefusedError(
        f"not signed in to {name}: over plain http anybody on the way could read the token",
        f"to allow it all the same: git config --global credential.{url}.forgeAllowHttp true",
    )


def _sign_in(errand: Errand, forge: Forge, held: Session | None) -> Answer:
    """One process asks the person; who waited for it takes what it got, or shares its refusal."""
    vault, origin = errand.vault, errand.origin
    place = vault.place if vault else None
    started = time.time()
    quiet = None if errand.anew else flight.refusal(place, forge, errand.settings.quiet_period, since=started)
    if quiet:
        raise quiet

    def waiting() -> None:
        say.line(f"another git is signing in to {forge.name}, waiting for it (Ctrl-C to stop waiting)")

    name, patience = flight.sign_in_name(origin), errand.settings.sign_in_timeout
    news = fulfil.News(errand)
    with flight.acting(place, name, patience, errand.gone, done=news.there, waiting=waiting) as mine:
        answer = news.answer or (None if errand.anew else _saved(errand))
        if answer:
            return answer
        shared = flight.refusal(place, forge, 0, since=started)
        if shared:
            raise shared
        if not mine:
            raise RefusedError(f"not signed in to {forge.name}: another git's sign-in did not end within {patience} s")
        grant = _ask_person(errand, forge, place, held)
        _keep_client(vault, grant.forge)
        return take_in(errand, grant.forge, grant).answer()


def _as_before(vault: Vault | None, forge: Forge, held: Session | None) -> Forge:
    """The forge with the client that this machine has registered there before: the one in the vault, or of the session
    which did not go on, or one without a secret, whose id is kept where `register` keeps what it gets."""
    remembered = vault.client(forge.origin, forge.scope) if vault and forge.kind.registers_at_sign_in else None
    for each in (remembered, held.client() if held else None):
        found = client.used(forge, each) if each else None
        if found:
            return found
    if forge.kind.registers_at_sign_in and forge.client_id and forge.client_secret is None:
        from git_credential_forge import machine

        if machine.kept(forge.url, "oauthClientId") == forge.client_id:
            return forge._replace(own=Registration(forge.redirect))
    return forge


def _keep_client(vault: Vault | None, forge: Forge) -> None:
    """Keep a client that this machine has registered beyond its session, so that it stays one: in the vault, and the
    id of one without a secret where it outlives that."""
    registered = client.of(forge)
    if registered is None:
        return
    if vault:
        with contextlib.suppress(VaultError):  # `fulfil.keep` says it
            vault.keep_client(forge.origin, forge.scope, registered)
    from git_credential_forge import machine

    values = {"oauthClientId": registered.client_id, "oauthRedirectURL": registered.own.redirect}
    try:
        if registered.secret is not None:
            if machine.kept(forge.url, "oauthClientId") not in (None, registered.client_id):
                machine.drop(forge.url)  # the one before
        elif any(machine.kept(forge.url, key) != value for key, value in values.items()):
            machine.keep(forge.url, {**values})
    except ForgeError as error:  # the next sign-in registers another one then
        say.trace(f"sign-in: {error.message}")


def take_in(errand: Errand, forge: Forge, grant: Grant) -> Session:
    """Make a session of what a person has granted, keep it, and say so."""
    vault, origin, request = errand.vault, errand.origin, errand.request
    known = grant.account or request.asked
    account = known or errand.settings.default_username or request.username or forge.kind.username or NOBODY
    previous = vault.session(origin, forge.scope, account) if vault else None
    fresh = session.make(forge, account, grant.token, previous)
    flight.forget_refusal(vault.place if vault else None, origin)
    kept = fulfil.keep(vault, origin, fresh)
    if vault and kept:
        make_room(vault, origin, fresh, request.asked)
    _welcome(forge, known, vault if kept else None, fresh)
    return fresh


def make_room(vault: Vault, origin: Origin, fresh: Session, asked: str | None) -> None:
    """The default account whose sign-in is over, or of which a keychain gives no session, is no longer that, once
    somebody else has signed in where nobody was named: or each command to come would ask for it again. The keychain
    keeps what it has. Nor is one whose token Coder lends, once somebody has signed in themselves."""
    row = vault.row(origin, fresh.base, asked)
    if row is None or row.account == fresh.account:
        return
    held = vault.session(origin, row.base, row.account)
    living = held is not None or time.time() < row.session_end < KEPT
    if not living or (held and held.lent and not fresh.lent):
        vault.succeed(origin, row, fresh.account)


def _saved(errand: Errand) -> Answer | None:
    """What another process has signed in to meanwhile, also if it was killed with only the session saved, or if that
    token has ended since."""
    with fulfil.turn(errand) as turn:
        if turn.answer:
            return turn.answer
        held = errand.vault.session(errand.origin, errand.base, errand.request.asked) if errand.vault else None
        got = fulfil.go_on(errand, held, turn)
        return got.answer if got else None


def _ask_person(errand: Errand, forge: Forge, place: Place | None, held: Session | None) -> Grant:
    """A grant, or the refusal left for those who wait, where it concerns them."""
    from git_credential_forge.oauth import obtain as ways

    asked = errand.request.asked

    def admit(account: str | None) -> None:
        if asked and account and not alike(account, asked):
            raise WrongAccountError(
                f"you signed in as {account}, but this remote asks for {say.clean(asked)}; nothing was changed",
                f"sign out of {forge.name} in your browser, or use {forge.origin.scheme}://{account}@{forge.name}/…",
            )

    try:
        known = _as_before(errand.vault, forge, held)
        return ways.sign_in(known, errand.settings, errand.surroundings, errand.gone, admit, account=asked)
    except (WrongAccountError, TerminatedError):
        raise  # says nothing to who asks for somebody else; no word of the person's: who waits takes over
    except (RefusedError, UnreachableError) as error:
        flight.remember_refusal(place, forge, error, quiet=isinstance(error, RefusedError))
        raise
    except KeyboardInterrupt:
        cancelled = RefusedError(f"not signed in to {forge.name}: it was cancelled")
        flight.remember_refusal(place, forge, cancelled, quiet=True)
        raise


def _welcome(forge: Forge, account: str | None, vault: Vault | None, fresh: Session) -> None:
    who = f"signed in as {account} at {forge.name}" if account else f"signed in at {forge.name}"
    if vault is None:
        say.line(f"{who}, for this command only")
    elif keychain := vault.kept_in(vault.row(forge.origin, fresh.base, fresh.account)):
        say.line(f"{who}, kept in {keychain}")
    else:
        say.line(f"{who}, kept in memory while you work, and {_span(vault.timeout)} more")


def _span(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    if rest or not hours:
        return f"{seconds} s" if seconds % 60 else f"{seconds // 60} min"
    return {1: "an hour", 2: "two hours"}.get(hours, f"{hours} hours")
