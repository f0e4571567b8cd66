"""Link a forge at Coder: by a code that a person enters at the forge, or on Coder's own page in the browser."""

from __future__ import annotations

import time

from git_credential_forge import say
from git_credential_forge.coder import external_auth
from git_credential_forge.coder.deployment import Access
from git_credential_forge.errors import RefusedError, TryElsewhereError, UnreachableError
from git_credential_forge.oauth import device, wire
from git_credential_forge.oauth.browser import Opener
from git_credential_forge.oauth.wire import DeviceCode

LOOK = 1.0  # seconds between looks at the link; Coder itself looks at its database that often
REMIND = 15.0  # seconds


def by_code(access: Access, provider: str, patience: float) -> None:
    """Until the person has entered a code, which is renewed when it runs out. Raises ForgeError."""
    deadline = time.monotonic() + patience
    with device.screen() as shown:
        if shown is None:
            page = external_auth.page(access, provider)
            message = f"{provider} is not linked: no terminal is there to show a code on"
            raise TryElsewhereError(message, f"run it in a terminal, or open {page} in a browser")
        lead = ""
        for _ in range(device.CODES):
            code = external_auth.device_code(access, provider)
            device.show(shown, code, lead)
            if _entered(access, provider, code, deadline):
                return
            lead = "that code has run out; "
    raise RefusedError(f"{provider} is not linked: nobody entered one of {device.CODES} codes in time")


def _entered(access: Access, provider: str, code: DeviceCode, deadline: float) -> bool:
    """Ask until the person has decided; False when the code has run out and there is time for another."""
    interval, ends = code.interval, time.monotonic() + code.lifetime
    while True:
        device.wait(min(time.monotonic() + interval, deadline), lambda: False)
        if time.monotonic() >= deadline:
            raise RefusedError(f"{provider} is not linked: nobody entered the code in time")
        try:
            said = external_auth.exchange(access, provider, code.device_code)
        except UnreachableError as error:
            say.trace(f"link: {error.message}")  # asked again, more slowly
            said = "slow_down"
        if not said:
            return True
        if said in device.RUN_OUT or time.monotonic() >= ends:
            return False
        if said == "slow_down":
            interval += wire.DEVICE_INTERVAL
        elif said == "access_denied":
            raise RefusedError(f"{provider} is not linked: you denied the request at the forge")
        elif said != "authorization_pending":
            raise RefusedError(f"{provider} is not linked: {access.deployment.name} said: {say.clean(said)}")


def by_page(access: Access, provider: str, patience: float, *, browser: bool) -> None:
    """Until the link is there. The page is opened if it can be, and shown in any case: it has no secret in it. Raises
    ForgeError."""
    page, name = external_auth.page(access, provider), access.deployment.name
    opener = Opener() if browser else None
    if opener and not opener.exhausted:
        say.line(f"linking {provider} at {name} in your browser; if none opens: {page}")
        opener.next(page)
    else:
        say.line(f"to link {provider}, open {page} in a browser that is signed in to {name}; waiting for it")
    started = time.monotonic()
    deadline, remind = started + patience, started + REMIND
    while time.monotonic() < deadline:
        time.sleep(min(LOOK, max(0.0, deadline - time.monotonic())))
        if opener and opener.failed():
            opener.next(page)
        if _is_linked(access, provider):
            return
        if time.monotonic() >= remind:
            remind = deadline
            left = max(1, round((deadline - time.monotonic()) / 60))
            say.line(f"still waiting for the link, Ctrl-C to cancel ({left} min left)")
    raise RefusedError(f"{provider} is not linked: nobody did it within {patience:.0f} s")


def _is_linked(access: Access, provider: str) -> bool:
    try:
        return external_auth.show(access, provider).linked
    except UnreachableError as error:
        say.trace(f"link: {error.message}")  # a network that comes and goes
        return False
