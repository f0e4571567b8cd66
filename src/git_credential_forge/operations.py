"""What git asks for: get, store, erase. The whole story."""

from __future__ import annotations

import time
from collections.abc import Callable

from git_credential_forge import flight, fulfil, protocol, say, settings, sign_in, surroundings
from git_credential_forge.errand import Errand, address, base_of
from git_credential_forge.errors import BadRequestError, ForgeError, VaultError
from git_credential_forge.fulfil import Got
from git_credential_forge.index import Row
from git_credential_forge.origin import Origin, is_hidden, of_request
from git_credential_forge.protocol import Request
from git_credential_forge.settings import Settings
from git_credential_forge.vault import Vault


def get(request: Request, held: Vault | None, gone: Callable[[], bool]) -> bytes:
    """What git is answered.

    1. What is in memory. 2. What another git puts there meanwhile. 3. What is not ours. 4. A session goes on: served
    again, or refreshed. 5. What Coder has, in a workspace of it. 6. Recognise the forge. 7. Sign in, if somebody is
    there. A forge that we know and cannot answer for ends in a reason and quit=1: silence would make git ask for a
    password, and keep it. Raises BadRequestError, AbandonedError, KeyboardInterrupt.
    """
    if is_hidden(request.host) or not request.protocol or request.host is None:
        return b""
    origin = of_request(request.protocol, request.host)
    if origin is None:
        return held.pass_get(request) if held else b""
    if protocol.has_control(request):
        raise BadRequestError(f"refused a request for {origin.netloc} with a control character in it")
    errand = Errand(request, origin, base_of(origin, request, held), held, gone)
    try:
        return _remembered(errand) or _fulfil(errand)
    except VaultError as error:
        if held is None or not held.rows(origin, None):
            raise
        say.lines(error.message, error.hints)
        return protocol.QUIT


def _remembered(errand: Errand) -> bytes:
    """Step 1. After a 401 another git may have repaired it already."""
    request = errand.request
    found = errand.vault.answer(errand.origin, errand.base, request.asked) if errand.vault else None
    if found is None or found.expiry == (request.refused or -1):
        return b""
    return protocol.encode_answer(found, request, minted=request.refused is not None)


def _fulfil(errand: Errand) -> bytes:
    """Steps 2 to 7: up to 4 one process for each sign-in, and nothing is asked or read before it is its turn."""
    request, origin, held = errand.request, errand.origin, errand.vault
    with fulfil.turn(errand) as turn:
        if turn.answer:
            return protocol.encode_answer(turn.answer, request, minted=request.refused is not None)
        configured = settings.read(address(origin, request))
        errand = errand._replace(settings=configured, surroundings=surroundings.look(configured))
        if held:
            _open_keychain(held, configured, quiet=not errand.surroundings.interactive)
        if configured.flow == "never" and held:
            for row in held.rows(origin, None):  # from before it was set
                held.forget(origin, row.base, row.account)
        session = held.session(origin, errand.base, request.asked) if held else None
        if held and session and session.lent and configured.coder == "never":  # from before it was set
            held.forget(origin, session.base, session.account)
            session = None
        passed = _passed(errand, held) if held and session is None else b""
        if passed or configured.flow == "never":
            return passed
        done = _tried(errand, lambda: fulfil.go_on(errand, session, turn))
    if done is None and surroundings.workspace() and configured.coder != "never":
        from git_credential_forge.coder import workspace

        done = _tried(errand, lambda: workspace.get(errand, session))
    return _tried(errand, lambda: sign_in.sign_in(errand, session)) or b"" if done is None else done


def _passed(errand: Errand, held: Vault) -> bytes:
    """Somebody else's credential, where no sign-in of ours is; one that is over is taken out of the names. Who takes
    out one that should be there still says why it is not: once, and to a person."""
    origin = errand.origin
    row = held.row(origin, errand.base, errand.request.asked)
    if row is None:
        return held.pass_get(errand.request)
    if held.kept_in(row):  # which may be locked, and is not over because of that
        return b""
    lost, interactive = held.lost(origin, row), errand.surroundings.interactive
    if (interactive or not lost) and held.forget(origin, row.base, row.account, row, over=True) and lost:
        which = f"the sign-in to {origin.netloc}{row.base} is forgotten"
        say.line(f"{which}: git's cache daemon, which had it in memory, is gone")
    return b""


def _tried(errand: Errand, way: Callable[[], Got | None]) -> bytes | None:
    """What git is answered if this way leads to something; None if it leads nowhere."""
    try:
        got = way()
    except ForgeError as error:
        if not errand.surroundings.interactive:
            return b""
        say.lines(error.message, error.hints)
        return protocol.QUIT
    return protocol.encode_answer(got.answer, errand.request, minted=got.minted) if got else None


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
        base = base_of(origin, request, held)
        configured = settings.read(address(origin, request)) if held.row(origin, base, request.asked) else None
        if configured and configured.flow != "never":
            _open_keychain(held, configured, quiet=True)
            if held.session(origin, base, request.asked):
                return
    held.pass_store(request)


def erase(request: Request, held: Vault | None) -> None:
    """Forget. With a password: that token is refused, the session is kept to refresh with. Without: everything."""
    if held is None or is_hidden(request.host) or not request.protocol or request.host is None:
        return
    origin = of_request(request.protocol, request.host)
    rows = held.rows(origin, request.asked) if origin else []
    if origin and rows:
        configured = settings.read(address(origin, request))
        _open_keychain(held, configured, quiet=not surroundings.look(configured).interactive)
    for row in rows:
        if origin and request.token is None:
            held.forget(origin, row.base, row.account)
        elif origin and _refuse(held, origin, row, request):
            return
    held.pass_erase(request)


def _open_keychain(held: Vault, configured: Settings, *, quiet: bool) -> None:
    if configured.store:
        from git_credential_forge import keychain

        held.keychain = keychain.chosen(configured, quiet=quiet)


def _refuse(held: Vault, origin: Origin, row: Row, request: Request) -> bool:
    """Mark a token as refused, if it is the one that this account has now: not an older one, of a slow process."""
    with flight.acting(held.place, flight.refresh_name(origin, row.account), flight.REFRESH, lambda: False):
        session = held.session(origin, row.base, row.account)
        if session is None or session.access_token != request.token:
            return False
        if not session.blameless(time.time()):
            held.refuse(origin, session)
        elif request.state_of_ours is None:  # git from 2.46 on has been told when it came again
            around = surroundings.look(settings.read(address(origin, request)))
            fulfil.doubt(around, origin.netloc + row.base, origin.url + row.base, session.who)
        return True
