"""Which way to a new sign-in: browser, else device flow, else paste. The choice, nothing else."""

from __future__ import annotations

from collections.abc import Callable

from git_credential_forge import say
from git_credential_forge.errors import RefusedError
from git_credential_forge.oauth import authorize, device, dynamic
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
    *,
    account: str | None = None,
    then: Callable[[Grant], Forge | None] | None = None,
) -> Grant:
    """A grant for a forge, from a person; with `then`, which goes on with it, by browser or paste alone. Raises what
    `authorize.sign_in` raises."""
    if forge.client_id is None and forge.kind.registers_at_sign_in and not dynamic.possible(forge):
        raise dynamic.unregistrable(forge)
    if forge.client_id is None and not dynamic.possible(forge):
        raise RefusedError(
            f"{forge.name} needs a client id of its own",
            authorize.client_id_remedy(forge),
            *authorize.type_a_password(forge),
        )
    browser = settings.flow == "browser" or (settings.flow == "auto" and surroundings.browser)
    ways = Ways(
        browser=browser,
        paste=settings.flow != "browser",
        patience=settings.sign_in_timeout,
        gone=gone,
        account=account,
    )
    if then:
        return authorize.sign_in(forge, ways, admit, then)
    if settings.flow == "device" or (settings.flow == "auto" and forge.device_url and _better(forge, browser=browser)):
        try:
            return device.sign_in(forge, ways._replace(browser=surroundings.browser), admit)
        except device.NoCodeError as error:
            if settings.flow == "device" or _needs_code(forge):
                raise
            say.trace(f"obtain: {error.message}")  # GitLab before 17.2, or an application that is not to have codes
    return authorize.sign_in(forge, ways, admit)


def _better(forge: Forge, *, browser: bool) -> bool:
    """Whether a code is the better way: without a browser here, or for a client that lacks the secret which the
    browser's way needs at this kind of forge."""
    return not browser or _needs_code(forge)


def _needs_code(forge: Forge) -> bool:
    return forge.kind.needs_secret and forge.client_secret is None
