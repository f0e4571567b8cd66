"""One request on its way: for whom, where, and with what."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from git_credential_forge import index, recognise
from git_credential_forge.origin import Origin
from git_credential_forge.protocol import Request
from git_credential_forge.settings import Settings
from git_credential_forge.surroundings import Surroundings
from git_credential_forge.vault import Vault


class Errand(NamedTuple):
    request: Request
    origin: Origin
    base: str  # path of the forge that the request's path lies below, '' for the whole host
    vault: Vault | None  # None where nothing can be kept
    gone: Callable[[], bool]  # whether nobody is left to read the answer
    settings: Settings = Settings()  # looked up once it is clear that they are needed, as are the surroundings
    surroundings: Surroundings = Surroundings(interactive=False, browser=False, sudo=False)
    anew: bool = False  # a person wants to sign in, whatever is held


def base_of(origin: Origin, request: Request, held: Vault | None) -> str:
    """The path of the forge, among those signed in to at this origin, that a request's path lies below."""
    rows = index.read(held.place, origin) if held and request.path else []
    bases = [row.base for row in rows if row.base and recognise.covers(row.base, request.path)]
    return max(bases, key=len, default="")


def address(origin: Origin, request: Request) -> str:
    """The address for git's configuration, so that per-path and per-user settings count."""
    if not (request.username or request.path):
        return origin.url
    from urllib.parse import quote

    user = f"{quote(request.username, safe='', errors='surrogateescape')}@" if request.username else ""
    path = f"/{quote(request.path, safe='/%', errors='surrogateescape')}" if request.path else ""
    return f"{origin.scheme}://{user}{origin.netloc}{path}"
