"""Which way to a new sign-in: browser, else paste. The choice, nothing else."""

from __future__ import annotations

from collections.abc import Callable

from git_credential_forge.errors import RefusedError
from git_credential_forge.oauth import authorize
from git_credential_forge.oauth.authorize import Grant, Ways
from git_credential_forge.recognise import Forge
from git_credential_forge.settings import Settings
from git_credential_forge.surroundings import Surroundings


def sign_in(
    forge: Forge,
    settings: Settings,
    surroundings: Surroundings,
    gone: Callable[[], bool],
    admit: Callable[[str | None], None],
) -> Grant:
    """A grant for a forge, from a person. Raises what `authorize.sign_in` raises."""
    if forge.client_id is None:
        raise RefusedError(f"{forge.name} needs a client id of its own", authorize.client_id_remedy(forge))
    browser = settings.flow == "browser" or (settings.flow == "auto" and surroundings.browser)
    ways = Ways(browser=browser, paste=settings.flow != "browser", patience=settings.sign_in_timeout, gone=gone)
    return authorize.sign_in(forge, ways, admit)
