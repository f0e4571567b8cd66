"""Large files: git-lfs asks git for the same sign-in, from eight transfers at once, and is asked for no tab."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.forge import Forge
from tests.support.gentle_browser import GentleBrowser
from tests.support.lfs import CHALLENGE
from tests.support.person import Person
from tests.support.signing_in import NAMED, answer_of

FILES = 8

pytestmark = pytest.mark.skipif(not shutil.which("git-lfs"), reason="not here: git-lfs")


@pytest.fixture
def work(person: Person, forge: Forge, browser: GentleBrowser, home: Path, request: pytest.FixtureRequest) -> Path:
    """A clone by somebody who is signed in, with large files that are committed and not yet pushed."""
    person.environment["BROWSER"] = str(browser.opener)
    work = home / "work"
    forge.create_repo(request.node.name)
    assert person.git("clone", "-q", forge.repo_url(request.node.name), str(work)).status == 0
    for setting in ("lfs.concurrenttransfers=8", "lfs.locksverify=false"):
        assert person.git("config", "--global", *setting.split("=")).status == 0
    assert person.git("lfs", "install", "--skip-smudge")[::2] == (0, "")
    assert person.git("lfs", "track", "*.large", cwd=work)[::2] == (0, "")
    for number in range(FILES):
        (work / f"{number}.large").write_text(f"large file {number} of {forge.host}\n" * 1000)
    assert person.git("add", ".", cwd=work)[::2] == (0, "")
    assert person.git("commit", "-qm", "large files", cwd=work)[::2] == (0, "")
    return work


def transfers(forge: Forge, method: str) -> list[int]:
    """How each request for one object was answered."""
    return [each.status for each in forge.git_requests if each.method == method and "/info/lfs/objects/" in each.target]


def test_push_and_pull(person: Person, forge: Forge, browser: GentleBrowser, work: Path) -> None:
    """Eight transfers each way with what is in memory: no tab, no refresh, not a word."""
    assert person.git("push", "-q", cwd=work)[::2] == (0, "")
    assert transfers(forge, "PUT") == [200] * FILES
    shutil.rmtree(work / ".git" / "lfs")
    assert person.git("lfs", "pull", cwd=work) == (0, "", "")
    assert transfers(forge, "GET") == [200] * FILES
    assert (work / "7.large").read_text() == f"large file 7 of {forge.host}\n" * 1000
    assert len(browser.tabs()) == 1
    assert forge.log("refresh") == []


def test_a_refused_token(person: Person, forge: Forge, browser: GentleBrowser, work: Path) -> None:
    """Refused when the transfer begins: one refresh inside the same command, whatever git is there."""
    forge.expire_access_tokens()
    assert person.git("lfs", "push", "origin", "main", cwd=work)[::2] == (0, "")
    assert transfers(forge, "PUT").count(200) == FILES
    assert [event.ok for event in forge.log("refresh")] == [True]
    assert len(browser.tabs()) == 1


def test_refused_in_the_middle(person: Person, forge: Forge, browser: GentleBrowser, work: Path) -> None:
    """Refused when the transfers begin, all eight: one refresh, and each transfer is made in the end."""
    ends = [forge.expire_access_tokens]
    forge.lfs.allowed = lambda: ends.pop()() if ends else None
    assert person.git("lfs", "push", "origin", "main", cwd=work)[::2] == (0, "")
    assert transfers(forge, "PUT").count(200) == FILES
    assert [event.ok for event in forge.log("refresh")] == [True]
    assert len(browser.tabs()) == 1


def test_git_lfs_is_the_first_to_ask(person: Person, forge: Forge, browser: GentleBrowser, work: Path) -> None:
    """With nothing in memory: one tab, and the transfers go on."""
    assert person.git("push", "-q", cwd=work)[::2] == (0, "")
    shutil.rmtree(work / ".git" / "lfs")
    assert person.git("credential-forge", "logout", forge.url).status == 0
    pulled = person.git("lfs", "pull", cwd=work)
    assert pulled.err == (
        f"forge: signing in to {forge.host} in your browser\n{NAMED}"
        f"forge: signed in as alice at {forge.host}, kept in memory while you work, and two hours more\n"
    )
    assert pulled.status == 0
    assert transfers(forge, "GET") == [200] * FILES
    assert len(browser.tabs()) == 2


def test_its_challenge(person: Person, forge: Forge, browser: GentleBrowser) -> None:
    """Newer ones pass on how they were challenged, in words that are not git's: the forge is asked what it is."""
    person.environment["BROWSER"] = str(browser.opener)
    asked = f"protocol=https\nhost={forge.host}\nwwwauth[]={CHALLENGE}\n\n"
    assert answer_of(person.git("credential-forge", "get", given=asked).out)["username"] == "alice"
    assert len(forge.log("discovery")) == 1
