"""A forge that is not linked in Coder yet: a person is shown where to do it, and Coder is asked until they have."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

from git_credential_forge import say
from git_credential_forge.coder import agent
from git_credential_forge.coder.agent import Agent, Failed, Linked, NoProvider, Unlinked, Verdict
from git_credential_forge.errand import Errand
from git_credential_forge.errors import AbandonedError, RefusedError
from git_credential_forge.oauth import device, http
from git_credential_forge.oauth.authorize import REMIND
from git_credential_forge.oauth.browser import Opener
from git_credential_forge.recognise import Forge

LOOK = 0.1  # seconds between looks at git, the opener and the answer
PAUSES = (0.25, 10.0)  # seconds after the first failure, and at most: each pause is twice the one before
HELD = 1.0  # seconds: what lasted so long was held open, and then cut on its way; it is asked again at once


def wait(who: Agent, whom: Forge, unlinked: Unlinked, errand: Errand) -> Linked:
    """Show the page, and ask until there is a token. Raises RefusedError, AbandonedError."""
    opener = _open(whom, unlinked, errand, who)
    ends = time.monotonic() + errand.settings.sign_in_timeout
    remind, pause = time.monotonic() + REMIND, PAUSES[0]

    def tend() -> None:
        nonlocal remind
        if errand.gone():
            raise AbandonedError
        if opener and opener.failed():
            opener.next(unlinked.page)
        if time.monotonic() >= remind:
            remind = ends
            left = max(1, round((ends - time.monotonic()) / 60))
            say.line(f"still waiting for the link, Ctrl-C to cancel ({left} min left)")

    while time.monotonic() < ends:
        began, found = time.monotonic(), list[Verdict]()
        http.in_background(functools.partial(_listen, who, errand.origin.url, found))
        _until(lambda found=found: bool(found), ends, tend)  # type: ignore[misc]
        verdict = found[0] if found else None
        if isinstance(verdict, Linked):
            say.line(f"{whom.name} is linked in Coder now")
            return verdict
        if isinstance(verdict, NoProvider) or (isinstance(verdict, Failed) and verdict.for_good):
            raise refused(whom, verdict.said if isinstance(verdict, NoProvider) else verdict.reason, unlinked)
        if time.monotonic() - began >= HELD:
            pause = PAUSES[0]
            continue
        _until(lambda: False, min(time.monotonic() + pause, ends), tend)
        pause = min(2 * pause, PAUSES[1])
    raise refused(whom, f"nobody linked it within {errand.settings.sign_in_timeout} s", unlinked)


def refused(whom: Forge, why: str, unlinked: Unlinked) -> RefusedError:
    """No token, with what a person can do about it."""
    return RefusedError(
        f"no token for {whom.name} from Coder: {why}",
        f"to link it: open {say.clean(unlinked.page)}, then run the command again",
        f"to sign in without Coder: git credential-forge login {whom.origin.url}",
    )


def _open(whom: Forge, unlinked: Unlinked, errand: Errand, who: Agent) -> Opener | None:
    """Show the page, and have a browser open it if it is the deployment's own: at another server's, a person looks
    first. Raises RefusedError where nobody would see it."""
    flow, page = errand.settings.flow, say.clean(unlinked.page)
    wanted = flow == "browser" or (flow == "auto" and errand.surroundings.browser)
    opener = Opener() if wanted and unlinked.ours else None
    opener = opener if opener and not opener.exhausted else None
    with device.screen() as screen:
        if screen is None and opener is None:
            raise refused(whom, "it is not linked there yet", unlinked)
        say.line(f"{whom.name} is not linked in Coder yet" + (": see your browser" if opener else ""))
        doubt = "" if unlinked.ours else f", if you know it: it is not at {who.deployment.origin.url}"
        lead = "no browser here? open" if opener else "to link it, open"
        say.on(2 if screen is None else screen, f"{lead} {page} in any browser{doubt}")
    if opener:
        opener.next(unlinked.page)
    return opener


def _listen(who: Agent, match: str, found: list[Verdict]) -> None:
    found.append(agent.ask(who, match, listen=True))


def _until(done: Callable[[], bool], ends: float, tend: Callable[[], None]) -> None:
    while not done() and time.monotonic() < ends:
        tend()
        time.sleep(max(0.0, min(LOOK, ends - time.monotonic())))
