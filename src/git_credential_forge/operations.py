"""What git asks for: get, store, erase. The whole story."""

from __future__ import annotations

from collections.abc import Callable

from git_credential_forge import flight, fulfil, protocol, say, settings, surroundings
from git_credential_forge.errand import Errand, address, base_of
from git_credential_forge.errors import BadRequestError, ForgeError
from git_credential_forge.index import Row
from git_credential_forge.origin import Origin, is_hidden, of_request
from git_credential_forge.protocol import Request
from git_credential_forge.secret import Secret
from git_credential_forge.vault import Vault


def get(request: Request, held: Vault | None, gone: Callable[[], bool]) -> bytes:
    """What git is answered.

    1. What is in memory, ours or not. 2. A session goes on: served again, or refreshed. 3. Recognise the forge.
    4. Sign in, if somebody is there. A forge that we know and cannot answer for ends in a reason and quit=1: silence
    would make git ask for a password, and keep it. Raises BadRequestError, AbandonedError, KeyboardInterrupt.
    """
    if is_hidden(request.host) or not request.protocol or request.host is None:
        return b""
    origin = of_request(request.protocol, request.host)
    if origin is None:
        return held.pass_get(request) if held else b""
    if protocol.has_control(request):
        raise BadRequestError(f"refused a request for {origin.netloc} with a control character in it")
    base = base_of(origin, request, held)
    found = held.answer(origin, base, request.asked) if held else None
    if found and found.expiry != (request.refused or -1):  # after a 401 another git may have repaired it already
        return protocol.encode_answer(found, request, minted=request.refused is not None)
    configured = settings.read(address(origin, request))
    if configured.flow == "never" and held:
        for row in held.rows(origin, None):  # from before it was set
            held.forget(origin, row.base, row.account)
    passed = _passed(request, origin, base, held) if held else b""
    if passed or configured.flow == "never":
        return passed
    return _fulfil(Errand(request, origin, base, held, gone, configured, surroundings.look(configured)))


def _passed(request: Request, origin: Origin, base: str, held: Vault) -> bytes:
    """Somebody else's credential, where no sign-in of ours is; one that is over is taken out of the names."""
    row = held.row(origin, base, request.asked)
    if row is None:
        return held.pass_get(request)
    if held.session(origin, base, request.asked) is None:
        held.forget(origin, row.base, row.account, as_of=row)
    return b""


def _fulfil(errand: Errand) -> bytes:
    try:
        got = fulfil.obtain(errand)
    except ForgeError as error:
        if not errand.surroundings.interactive:
            return b""
        say.lines(error.message, error.hints)
        return protocol.QUIT
    return protocol.encode_answer(got.answer, errand.request, minted=got.minted) if got else b""


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
        living = request.username and held.session(origin, base_of(origin, request, held), request.username)
        if living and settings.read(address(origin, request)).flow != "never":
            return
    held.pass_store(request)


def erase(request: Request, held: Vault | None) -> None:
    """Forget. With a password: that token is refused, the session is kept to refresh with. Without: everything."""
    if held is None or is_hidden(request.host) or not request.protocol or request.host is None:
        return
    origin = of_request(request.protocol, request.host)
    rows = held.rows(origin, request.asked) if origin else []
    for row in rows:
        if origin and request.password is None:
            held.forget(origin, row.base, row.account)
        elif origin and _refuse(held, origin, row, request.password):
            return
    held.pass_erase(request)


def _refuse(held: Vault, origin: Origin, row: Row, password: Secret | None) -> bool:
    """Mark a token as refused, if it is the one that this account has now: not an older one, of a slow process."""
    with flight.acting(held.place, flight.refresh_name(origin, row.account), flight.REFRESH, lambda: False):
        session = held.session(origin, row.base, row.account)
        if session is None or session.access_token != password:
            return False
        held.refuse(origin, session)
        return True
