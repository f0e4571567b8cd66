"""`status`: what is signed in, as whom, and until when. Names and times only."""

from __future__ import annotations

import argparse
import time

from git_credential_forge import commands, daemon, forges, index, keychain, say, settings
from git_credential_forge.index import Row
from git_credential_forge.origin import Origin
from git_credential_forge.session import Session
from git_credential_forge.vault import Vault


def status_options(parser: argparse.ArgumentParser) -> None:
    parser.description = "Show what is signed in, and until when."
    parser.add_argument("--json", action="store_true", help="for programs: version, times as seconds since 1970")
    commands.add_vault_options(parser)


def status(options: argparse.Namespace) -> int:
    held = Vault(daemon.place(options.socket), options.timeout)
    found = []
    for origin in index.origins(held.place):
        rows = index.read(held.place, origin)
        held.keychain = keychain.chosen(settings.read(origin.url)) if any(row.kept for row in rows) else None
        for row in rows:
            session, kept_in = held.session(origin, row.base, row.account), held.kept_in(row)
            if session or kept_in:
                found.append((origin, row, session, kept_in))
    if options.json:
        commands.document({"sign_ins": [_record(*each) for each in found]})
    elif not found:
        say.result("not signed in anywhere")
    else:
        commands.table([_line(*each) for each in found])
    return 0


def _record(origin: Origin, row: Row, session: Session | None, kept_in: str | None) -> dict[str, object]:
    """Of a session that its keychain does not give now, what is not known is null."""
    return {
        "url": origin.url + row.base,
        "account": row.account,
        "client_id": session and session.client_id,
        "shared_application": session and _shared(session),
        "token_expires": session and session.expiry,
        "signed_in_at": session and session.signed_in_at,
        "signed_in_until": None if kept_in else row.session_end,
        "kept_in": kept_in,
        "refreshable": session and session.refresh_token is not None,
        "lent_by_coder": session and session.lent,
    }


def _line(origin: Origin, row: Row, session: Session | None, kept_in: str | None) -> tuple[str, ...]:
    where = origin.netloc + row.base if origin.scheme == "https" else origin.url + row.base
    until = f"kept in {kept_in}" if kept_in else f"signed in until {say.until(row.session_end)}"
    if session is None:
        return where, row.account, "", "", until
    if session.lent:
        again = "again" if not session.usable(time.time()) else f"after {say.until(session.expiry - session.margin)}"
        return where, session.account, "from the Coder workspace", f"to be asked for {again}", ""
    if not session.usable(time.time()):
        access = "token to be renewed"
    elif session.expiry > time.time() + 366 * 86_400:
        access = "token without end"
    else:
        access = f"token until {say.until(session.expiry)}"
    application = "shared application" if _shared(session) else "your application"
    return where, session.account, application, access, until


def _shared(session: Session) -> bool:
    return session.client_id == forges.BY_KEY.get(session.kind, forges.OTHER).client_id
