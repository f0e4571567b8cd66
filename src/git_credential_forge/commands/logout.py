"""`logout`: forget sign-ins. What a forge still accepts is said, not hidden."""

from __future__ import annotations

import argparse
import time

from git_credential_forge import commands, daemon, flight, forges, index, say
from git_credential_forge.commands.login import request_for
from git_credential_forge.errors import ForgeError
from git_credential_forge.index import Row
from git_credential_forge.origin import Origin, of_request
from git_credential_forge.vault import Vault


def logout_options(parser: argparse.ArgumentParser) -> None:
    parser.description = "Forget a sign-in: its tokens are dropped from memory."
    parser.add_argument("where", nargs="?", metavar="URL", help="the forge; with a name in it, that account alone")
    parser.add_argument("--all", action="store_true", help="forget every sign-in")
    commands.add_vault_options(parser)


def logout(options: argparse.Namespace) -> int:
    if bool(options.where) == options.all:
        raise ForgeError("say which sign-in to forget", "git credential-forge logout URL, or --all")
    held = Vault(daemon.place(options.socket), options.timeout)
    if options.all:
        for each in index.origins(held.place):
            _forget(held, each, None)
        return 0
    request = request_for(options.where)
    origin = of_request(request.protocol, request.host)
    if origin is None or not held.rows(origin, request.asked):
        raise ForgeError(f"not signed in to {say.address(options.where)}")
    _forget(held, origin, request.asked)
    return 0


def _forget(held: Vault, origin: Origin, asked: str | None) -> None:
    rows = held.rows(origin, asked)
    ends = [_token_end(held, origin, row) for row in rows]
    for row in rows:
        held.forget(origin, row.base, row.account)
    flight.forget_refusal(held.place, origin)
    for row, (end, page) in zip(rows, ends, strict=True):
        say.result(f"forgot {row.account} at {origin.netloc}{row.base}")
        if end > time.time():
            until = f"until {say.until(end)}" if end < time.time() + 366 * 86_400 else "until it is revoked there"
            why = "this forge cannot revoke it by a call" if page else "this program does not revoke it"
            say.result(f"the token that git was given stays valid {until}: {why}")
            if page:
                say.result(f"to end it now: {page}")


def _token_end(held: Vault, origin: Origin, row: Row) -> tuple[float, str | None]:
    session = held.session(origin, row.base, row.account)
    if session is None:
        return 0, None
    kind = forges.BY_KEY.get(session.kind, forges.OTHER)
    server = session.token_url.removesuffix(kind.token)
    return session.expiry, server + kind.applications if kind.applications else None
