"""The device flow (RFC 8628): a code that a person enters in any browser, on any machine."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator

from git_credential_forge import ask, say
from git_credential_forge.errors import AbandonedError, RefusedError, TryElsewhereError, UnreachableError
from git_credential_forge.oauth import authorize, token, whoami, wire
from git_credential_forge.oauth.authorize import Grant, Ways
from git_credential_forge.oauth.browser import Opener
from git_credential_forge.oauth.wire import DeviceCode, Refusal, Token
from git_credential_forge.origin import parse
from git_credential_forge.recognise import Forge

LOOK = 0.1  # seconds between looks at git, while we wait for the next poll
CODES = 12  # in one sign-in: a server whose codes end at once does not fill the screen
OUTAGE = 500  # and above: nothing is known of a forge whose server fails
RUN_OUT = ("expired_token", "token_expired")  # GitHub documents the second


class NoCodeError(RefusedError):
    """The forge gives no code, or not to this application; another way may be open."""


def sign_in(forge: Forge, ways: Ways, admit: Callable[[str | None], None]) -> Grant:
    """Show a person a code, and get the token when they have entered it. A code that runs out while they may still
    take their time (GitLab's after five minutes) is renewed.

    Raises RefusedError (NoCodeError where no code is given), UnreachableError, TryElsewhereError, AbandonedError.
    """
    deadline = time.monotonic() + ways.patience
    _address(forge)  # before a terminal is asked for
    with screen() as shown:
        if shown is None:
            raise TryElsewhereError(
                f"not signed in to {forge.name}: no terminal is there to show a code on",
                f"run: git credential-forge login {forge.url}",
            )
        code, lead = _begin(forge), ""
        say.line(f"signing in to {forge.name}; the page will name the application with the client id {forge.client_id}")
        for _ in range(CODES):
            show(shown, code, lead)
            if ways.browser and not lead:
                _open(forge, code)
            granted = _poll(forge, code, deadline, ways.gone)
            if granted:
                authorize.demand_scopes(forge, granted)
                account = whoami.ask(forge, granted)
                admit(account)
                return Grant(granted, account, forge)
            code, lead = _begin(forge), "that code has run out; "
    raise RefusedError(f"not signed in to {forge.name}: nobody entered one of {CODES} codes in time")


def _address(forge: Forge) -> str:
    """Where a code comes from."""
    if forge.device_url is None:
        raise NoCodeError(
            f"not signed in to {forge.name}: it has no device flow that this program knows of",
            f"sign in without --device or forgeFlow; or set credential.{forge.url}.oauthDeviceAuthURL",
        )
    return forge.device_url


def _begin(forge: Forge) -> DeviceCode:
    try:
        found, status = token.device_code(forge, _address(forge))
    except UnreachableError as error:
        raise UnreachableError(f"not signed in to {forge.name}: {error.message}") from None
    if isinstance(found, DeviceCode):
        return found
    if isinstance(found, Refusal):
        refused = _refused(forge, found)
        raise refused if found.dead_client else NoCodeError(refused.message, *refused.hints)
    message = f"not signed in to {forge.name}: its device flow is of no use: {found.reason}"
    raise UnreachableError(message) if status >= OUTAGE else NoCodeError(message)


def show(descriptor: int, code: DeviceCode, lead: str) -> None:
    """Where to enter which code; `lead` goes before."""
    say.on(descriptor, f"{lead}open {say.clean(code.page)} in any browser and enter {code.user_code}")
    if code.whole_page:
        say.on(descriptor, f"or open {say.clean(code.whole_page)}, which has the code in it")


def _open(forge: Forge, code: DeviceCode) -> None:
    """In a browser here, if the page is the forge's own: where another server's is shown, a person looks first. Without
    the code: an opener's arguments are there for every user to read, and who enters it signs us in as themselves."""
    address = parse(code.page)
    ours = [parse(url) for url in (forge.origin.url, forge.authorize_url, forge.token_url)]
    if address and address.origin in [url.origin for url in ours if url]:
        opener = Opener()
        if not opener.exhausted:
            opener.next(code.page)


def _poll(forge: Forge, code: DeviceCode, deadline: float, gone: Callable[[], bool]) -> Token | None:
    """Ask until the person has decided; None when the code has run out and there is time for another."""
    interval = code.interval
    ends = time.monotonic() + code.lifetime
    form = wire.device_token_form(forge, code)
    while True:
        wait(min(time.monotonic() + interval, deadline), gone)
        if time.monotonic() >= deadline:
            raise RefusedError(f"not signed in to {forge.name}: nobody entered the code in time")
        try:
            found = token.ask(forge, form).found
        except UnreachableError as error:
            say.trace(f"device: {error.message}")  # a network that comes and goes is asked again, more slowly
            found = Refusal("slow_down", "")
        if isinstance(found, Token):
            say.trace("device: token arrived")
            return found
        said = found.error if isinstance(found, Refusal) else "slow_down"
        if said in RUN_OUT or time.monotonic() >= ends:
            return None
        if said == "slow_down":
            interval += wire.DEVICE_INTERVAL
        elif isinstance(found, Refusal) and said != "authorization_pending":
            raise _refused(forge, found)


def wait(until: float, gone: Callable[[], bool]) -> None:
    """Raises AbandonedError as soon as nobody is left who waits with us."""
    while time.monotonic() < until:
        if gone():
            raise AbandonedError
        time.sleep(max(0.0, min(LOOK, until - time.monotonic())))


def _refused(forge: Forge, refusal: Refusal) -> RefusedError:
    if refusal.dead_client:
        return authorize.unknown_client(forge)
    if refusal.error == "device_flow_disabled":
        remedy = 'tick "Enable Device Flow" in the settings of the application, on the page where it was registered'
        return RefusedError(f"not signed in to {forge.name}: the device flow is off for this application", remedy)
    return authorize.refused(forge, refusal)


@contextlib.contextmanager
def screen() -> Iterator[int | None]:
    """A descriptor of something that a person looks at: standard error, or the terminal where that is none."""
    if os.isatty(2):
        yield 2
    else:
        with ask.opened() as descriptor:
            yield descriptor
