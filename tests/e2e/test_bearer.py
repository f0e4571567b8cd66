"""Tokens by Bearer, where somebody has set that, the forge takes it, and git can send it."""

from __future__ import annotations

from pathlib import Path

from tests.support.forge import Forge
from tests.support.gentle_browser import GentleBrowser
from tests.support.person import Person


def _set(person: Person, forge: Forge, browser: GentleBrowser) -> None:
    person.environment["BROWSER"] = str(browser.opener)
    assert person.git("config", "--global", f"credential.{forge.url}.forgeBearer", "true").status == 0


def test_clone_and_push(repairing: Person, forge: Forge, browser: GentleBrowser, home: Path) -> None:
    """One tab, and no word after it; a refused token is replaced inside the command, an ended one in silence."""
    _set(repairing, forge, browser)
    work = home / "work"
    before = len(forge.git_requests)
    assert repairing.git("clone", "-q", forge.repo_url(), str(work)).status == 0
    repairing.commit(work, "by bearer")
    assert repairing.git("push", "-q", cwd=work) == (0, "", "")
    forge.expire_access_tokens()
    assert repairing.git("ls-remote", "-q", forge.repo_url())[::2] == (0, "")
    assert {request.scheme for request in forge.git_requests[before:] if request.user} == {"bearer"}
    assert [event.ok for event in forge.log("exchange", "refresh") if event.parameters.get("code") != "probe"] == [
        True,
        True,
    ]
    assert len(browser.tabs()) == 1


def test_a_git_that_cannot(older: Person, forge: Forge, browser: GentleBrowser) -> None:
    """Before 2.46 there is Basic alone, and it works as ever."""
    _set(older, forge, browser)
    before = len(forge.git_requests)
    for _ in range(2):
        assert older.git("ls-remote", "-q", forge.repo_url()).status == 0
    assert {request.scheme for request in forge.git_requests[before:] if request.user} == {"basic"}
    assert len(browser.tabs()) == 1


def test_a_dead_grant(repairing: Person, forge: Forge, browser: GentleBrowser) -> None:
    """A token that git sent by Bearer and calls bad is known again: the session is not forgotten with it."""
    _set(repairing, forge, browser)
    assert repairing.git("ls-remote", "-q", forge.repo_url()).status == 0
    [token] = forge.secrets()["access_token"]
    said = f"protocol=https\nhost={forge.host}\ncapability[]=authtype\nauthtype=Bearer\ncredential={token}\n\n"
    assert repairing.git("credential-forge", "erase", given=said) == (0, "", "")
    assert repairing.git("ls-remote", "-q", forge.repo_url())[::2] == (0, "")
    assert len(forge.log("refresh")) == 1
    assert len(browser.tabs()) == 1
