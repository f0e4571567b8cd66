"""From an empty home to pushes: real git, real Chromium, an authorization server that is not ours."""

from __future__ import annotations

import re
import time
from pathlib import Path

from tests.support.browser import Browser
from tests.support.forge import Forge
from tests.support.person import REPAIRS, Person, wait_until

PARTS = {"git", "git-remote-https", "sh", "git-credential-forge"}


def test_first_push_and_after(person: Person, forge: Forge, chromium: Browser, home: Path) -> None:
    """One tab and one click for the first push; then nothing is opened while the sign-in lives, and one tab when it
    has ended."""
    person.environment["BROWSER"] = str(chromium.opener)
    work = home / "work"
    cloned = person.git("clone", "-q", forge.repo_url(), str(work))
    where = forge.host
    assert cloned[:2] == (0, "")
    shared = '"git-credential-oauth", the one that Forgejo or Gitea ships for helpers like this'
    assert cloned.err.splitlines() == [
        f"forge: signing in to {where} in your browser",
        f"forge: the page will name the application {shared}",
        f"forge: signed in as alice at {where}, kept in memory while you work, and two hours more",
    ]
    [tab] = chromium.wait_for_tabs(1)
    assert (tab.title, tab.console) == (where, ())
    assert tab.text == f"Signed in to {where}\n\nas alice. You can close this tab and go back to your terminal."
    assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+/", tab.address), "code and state are out of the address bar"
    assert chromium.strays() == []
    assert [event.ok for event in forge.log("consent")] == [True]

    person.commit(work, "first")
    assert person.git("push", "-q", cwd=work) == (0, "", "")
    assert forge.head() == person.git("rev-parse", "HEAD", cwd=work).out.strip()
    assert len(chromium.tabs()) == 1

    assert _programs_of_a_push(person, work, home / "trace") <= PARTS
    assert len(chromium.tabs()) == 1


def test_after_expiry_a_push_refreshes_silently(person: Person, forge: Forge, chromium: Browser, home: Path) -> None:
    """An expired token is renewed by the command that needs it, without a word and without a tab."""
    forge.set_lifetime(3)
    person.environment["BROWSER"] = str(chromium.opener)
    work = home / "work"
    assert person.git("clone", "-q", forge.repo_url(), str(work)).status == 0
    ended = time.time() + 3
    person.commit(work, "later")
    wait_until(ended)
    assert person.git("push", "-q", cwd=work) == (0, "", "")
    assert [event.ok for event in forge.log("refresh")] == [True]
    assert len(chromium.tabs()) == 1


def test_rejected_revoked_and_logged_out(person: Person, forge: Forge, chromium: Browser) -> None:
    """A rejected token is replaced without the browser; a revoked grant and a logout lead to it."""
    person.environment["BROWSER"] = str(chromium.opener)
    fetch = ("ls-remote", "-q", forge.repo_url())
    assert person.git(*fetch).status == 0

    filled = person.git("credential", "fill", given=f"url={forge.url}\n\n").out
    assert person.git("credential", "reject", given=filled) == (0, "", "")
    assert person.git(*fetch)[::2] == (0, "")
    assert [event.ok for event in forge.log("refresh")] == [True]
    assert len(chromium.tabs()) == 1

    forge.revoke_all()
    if not REPAIRS:
        assert person.git(*fetch).status == 128, "git of before 2.46 fails with the token that has just died"
    again = person.git(*fetch)
    assert again.status == 0
    assert again.err.startswith(f"forge: {forge.host} no longer accepts this sign-in (")
    assert len(chromium.wait_for_tabs(2)) == 2

    assert person.git("credential-forge", "logout", forge.url).out.startswith(f"forgot alice at {forge.host}\n")
    assert person.git(*fetch).status == 0
    assert len(chromium.wait_for_tabs(3)) == 3


def test_forget_me(person: Person, forge: Forge, chromium: Browser) -> None:
    """`git credential reject` without a password forgets everything of the origin."""
    person.environment["BROWSER"] = str(chromium.opener)
    assert person.git("ls-remote", "-q", forge.repo_url()).status == 0
    assert person.git("credential", "reject", given=f"url={forge.url}\n\n") == (0, "", "")
    assert person.git("credential-forge", "status").out == "not signed in anywhere\n"
    assert person.git("ls-remote", "-q", forge.repo_url()).status == 0
    assert len(chromium.wait_for_tabs(2)) == 2


def _programs_of_a_push(person: Person, work: Path, trace: Path) -> set[str]:
    """The names of all programs that a push starts; among them the ones that must be there."""
    person.commit(work, "traced")
    traced = person.run("strace", "-f", "-qq", "-e", "trace=execve", "-o", str(trace), "git", "push", "-q", cwd=work)
    assert traced == (0, "", "")
    started = re.findall(r'execve\("([^"]*)".* = 0$', trace.read_text(), re.MULTILINE)
    names = {Path(path).name for path in started}
    assert {"git-remote-https", "sh"} <= names
    return names
