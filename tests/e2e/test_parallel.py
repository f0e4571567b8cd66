"""Many gits at once: one tab, one exchange; or one refresh. Counted at the authorization server."""

from __future__ import annotations

import threading
import time

from tests.support.browser import Browser
from tests.support.forge import PASSWORDS, Forge
from tests.support.gentle_browser import GentleBrowser
from tests.support.person import Person, wait_until

MANY = 16


def test_nothing_cached(person: Person, forge: Forge, chromium: Browser) -> None:
    """Sixteen gits and no sign-in: one tab, one exchange, sixteen right commits."""
    person.environment["BROWSER"] = str(chromium.opener)
    done = person.at_once(MANY, "ls-remote", forge.repo_url(), "HEAD")
    assert [each[:2] for each in done] == [(0, f"{forge.head()}\tHEAD\n")] * MANY
    assert len(chromium.tabs()) == 1
    assert [event.ok for event in forge.log("exchange") if event.parameters.get("code") != "probe"] == [True]
    assert len(forge.log("consent")) == 1
    assert sum("signing in to" in each.err and "in your browser" in each.err for each in done) == 1


def test_expired(person: Person, forge: Forge, browser: GentleBrowser) -> None:
    """Sixteen gits and an expired token: no tab, one refresh, sixteen right commits, not a word."""
    forge.set_lifetime(3)
    person.environment["BROWSER"] = str(browser.opener)
    assert person.git("ls-remote", "-q", forge.repo_url()).status == 0
    ended = time.time() + 3
    forge.set_lifetime(3600)
    wait_until(ended)
    done = person.at_once(MANY, "ls-remote", forge.repo_url(), "HEAD")
    assert done == [(0, f"{forge.head()}\tHEAD\n", "")] * MANY
    assert len(browser.tabs()) == 1
    assert [event.ok for event in forge.log("refresh")] == [True]


def test_denied(person: Person, forge: Forge) -> None:
    """Who waited shares the refusal, who comes soon after is told of it, and `login` asks again."""
    with GentleBrowser("alice", PASSWORDS["alice"], "hold") as browser:
        person.environment["BROWSER"] = str(browser.opener)

        def deny_when_asked() -> None:
            browser.wait_for_tabs(1)
            browser.release(grant=False)

        threading.Thread(target=deny_when_asked).start()
        done = person.at_once(4, "ls-remote", forge.repo_url())
        refused = f"forge: not signed in to {forge.host}: you denied the request in the browser\n"
        assert [each.status for each in done] == [128] * 4
        assert all(refused in each.err for each in done)
        assert len(browser.tabs()) == 1
        soon = person.git("ls-remote", forge.repo_url())
        assert soon.status == 128
        assert soon.err.startswith(f"{refused}forge: asking again is paused until ")
        assert len(browser.tabs()) == 1
    with GentleBrowser("alice", PASSWORDS["alice"]) as willing:
        login = person.git("credential-forge", "login", forge.url, BROWSER=str(willing.opener))
        assert (login.status, login.out) == (0, "")
        assert person.git("ls-remote", "-q", forge.repo_url()).status == 0
