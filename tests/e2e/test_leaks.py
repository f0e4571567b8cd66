"""The search for secrets itself, and one whole sign-in with every argument and environment looked at."""

from __future__ import annotations

import os
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from tests.support.forge import Forge
from tests.support.gentle_browser import GentleBrowser
from tests.support.leaks import Leaks
from tests.support.person import Person


@pytest.mark.parametrize("form", ["as it is", "in a URL"])
def test_a_planted_leak_is_found(tmp_path: Path, forge: Forge, form: str) -> None:
    """A token in a file, and in an argument of a process, is found."""
    token = str(forge.mint()["access_token"])
    (tmp_path / "log").write_text(f"token: {token}" if form == "as it is" else f"?code={token}")
    leaks = Leaks(tmp_path)
    assert leaks.found(forge.secrets()) == ["access_token in file log"]


def test_a_leak_into_a_process_is_found(tmp_path: Path, forge: Forge) -> None:
    """The environment of a process of that home is looked into."""
    token = str(forge.mint()["access_token"])
    with Leaks(tmp_path) as leaks:
        child = Popen(["cat"], env={"HOME": str(tmp_path), "T": token, "PATH": os.defpath}, stdin=PIPE)
        while not leaks.found(forge.secrets()):
            pass
        child.communicate()
    assert set(leaks.found(forge.secrets())) == {"access_token in an environment"}


def test_no_secret_in_any_process(person: Person, forge: Forge, browser: GentleBrowser, home: Path) -> None:
    """Sign-in, warm fetch and refresh: no secret in an argument or an environment of any process that is started."""
    person.environment["BROWSER"] = str(browser.opener)
    trace = home.parent / f"{home.name}-trace"
    strace = ("strace", "-f", "-qq", "-v", "-s", "100000", "-e", "trace=execve", "-o", str(trace))
    # Started by this, and not below strace, which would wait for it.
    assert person.git("credential", "approve", given="url=https://a:b@example.org\n\n").status == 0
    try:
        for _ in range(2):
            assert person.run(*strace, "git", "ls-remote", "-q", forge.repo_url()).status == 0
            person.leaks.saw("the trace of a fetch", trace.read_bytes())
        filled = person.git("credential", "fill", given=f"url={forge.url}\n\n").out
        assert person.git("credential", "reject", given=filled).status == 0
        assert person.run(*strace, "git", "ls-remote", "-q", forge.repo_url()).status == 0
        person.leaks.saw("the trace of a refresh", trace.read_bytes())
        assert len(forge.log("refresh")) == 1
        assert "git-credential-forge--main" in trace.read_text()
    finally:
        trace.unlink(missing_ok=True)
