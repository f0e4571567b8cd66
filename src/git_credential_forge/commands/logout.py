"""`logout`: forget sign-ins. What a forge still accepts is said, not hidden."""

from __future__ import annotations

import argparse
import time

from git_credential_forge import commands, daemon, flight, forges, identify, index, keychain, machine, say, settings
from git_credential_forge.commands.login import origin_of, request_for
from git_credential_forge.errand import Errand, base_of
from git_credential_forge.errors import ForgeError
from git_credential_forge.index import Row
from git_credential_forge.oauth import registration, revoke
from git_credential_forge.origin import Origin, parse
from git_credential_forge.protocol import Request
from git_credential_forge.secret import Secret
from git_credential_forge.session import Session
from git_credential_forge.vault import Vault

YEAR = 366 * 86_400  # seconds


def logout_options(parser: argparse.ArgumentParser) -> None:
    parser.description = "Forget a sign-in: its tokens are dropped from memory, and from a keychain if it is in one."
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("where", nargs="?", metavar="URL", help="the forge; with a name in it, that account alone")
    which.add_argument("--all", action="store_true", help="forget every sign-in")
    commands.add_vault_options(parser)


def logout(options: argparse.Namespace) -> int:
    held = Vault(daemon.place(options.socket), options.timeout)
    if options.all:
        return max((_forget(held, each, held.rows(each, None)) for each in index.origins(held.place)), default=0)
    request = request_for(options.where)
    origin = origin_of(request, options.where)
    base = base_of(origin, request, held)  # '' for all of the host
    rows = [row for row in held.rows(origin, request.asked) if base in ("", row.base)]
    if not rows:
        who = f"{say.clean(request.asked)} is not" if request.asked else "not"
        what = "what is signed in: git credential-forge status"
        raise ForgeError(f"{who} signed in to {say.address(options.where)}", what)
    return _forget(held, origin, rows)


def _forget(held: Vault, origin: Origin, rows: list[Row]) -> int:
    """1 where something of it is left in a keychain that did not answer: that has been said."""
    held.keychain = keychain.chosen(settings.read(origin.url))
    sessions = [held.session(origin, row.base, row.account) for row in rows]
    for session in sessions:
        held.outlive(origin, session)
    gone = [held.forget(origin, row.base, row.account) for row in rows]
    flight.forget_refusal(held.place, origin)
    for row, session in zip(rows, sessions, strict=True):
        say.result(f"forgot {row.account} at {origin.netloc}{row.base}")
        if session and session.lent:
            _leave(origin, session)
        elif session:
            end(session, secret_of(origin, session))
            _take_back(held, origin, session)
    if all(gone) or not held.keychain:
        return 0
    say.line(f"{held.keychain.name} still has that sign-in, under the name {origin.hidden}: remove it there")
    return 1


def _leave(origin: Origin, session: Session) -> None:
    """Coder has lent this one, and still has it."""
    coder = parse(session.token_url)
    where = f"the Coder at {coder.origin.netloc}" if coder else "Coder"
    say.result(f"nothing is revoked: {where} keeps that token, and gives it to this workspace again")
    say.result(f"to have none from it: git config --global credential.{origin.url}.forgeCoder never")


def secret_of(origin: Origin, session: Session) -> Secret | None:
    """The secret of the client that a session was made by. What is set now can be another's, for another server."""
    configured = settings.read(origin.url + session.base)
    errand = Errand(Request(), origin, session.base, None, lambda: False, configured)
    try:
        forge = identify.forge_of(session, errand)
    except ForgeError:  # what is set cannot be used
        return None
    return forge.client_secret if forge else None


def _take_back(held: Vault, origin: Origin, session: Session) -> None:
    """End a client that this machine has registered at the sign-in, unless another account is signed in by it, or it
    is an owner's, which no program can take back."""
    mine = session.client()
    others = (held.session(origin, row.base, row.account) for row in held.rows(origin, None))
    if mine is None or mine.own.token is None or any(other and other.client_id == mine.client_id for other in others):
        return
    if not registration.take_back(mine.own):
        say.line("the client that this machine has registered there could not be deleted")
        return
    lasting = held.client(origin, session.base)
    if lasting and lasting.client_id == mine.client_id:
        held.forget_client(origin, session.base)
    say.result("the client that this machine had registered there is deleted")
    url = origin.url + session.base
    if machine.kept(url, "oauthClientId") == session.client_id:
        machine.drop(url)


def end(session: Session, secret: Secret | None) -> None:
    """Revoke what the forge still accepts, or say how long it does."""
    why = revoke.revoke(session, secret)
    if why is None:
        say.result("its tokens are revoked there")
    elif session.expiry > time.time():
        endless = session.expiry > time.time() + YEAR
        until = "it is revoked there" if endless else say.until(session.expiry)
        say.result(f"the token that git was given stays valid until {until}: {why}")
        kind = forges.BY_KEY.get(session.kind, forges.OTHER)
        if kind.applications:
            whole = "://" in kind.applications
            server = "" if whole else session.token_url.removesuffix(kind.token)
            say.result(f"to end it now: {server}{kind.applications}")
