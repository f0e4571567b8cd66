"""The same journey at any real forge: an untouched Gitea or Forgejo, given by the environment.

FORGE_URL      https://git.example.org (a self-signed one also needs FORGE_CA, the certificate's file)
FORGE_USER     an account there, and FORGE_PASSWORD, its password, without a second factor
FORGE_REPO     a repository that this account may push to, as owner/name; a branch is pushed and deleted again
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gentle_browser import GentleBrowser
from tests.support.surroundings import clean_environment

URL, USER, PASSWORD, REPO = (os.environ.get(f"FORGE_{name}", "") for name in ("URL", "USER", "PASSWORD", "REPO"))

pytestmark = pytest.mark.skipif(not all((URL, USER, PASSWORD, REPO)), reason="no real forge is given, see FORGE_URL")


@pytest.fixture
def browser() -> Iterator[GentleBrowser]:
    with GentleBrowser(USER, PASSWORD) as browser:
        yield browser


def test_the_journey(home: Path, installed: Path, browser: GentleBrowser) -> None:
    """Sign in once, push, push again, go on after a reject, sixteen at once after a logout: two tabs in all."""
    path = os.pathsep.join([str(installed), "/usr/local/bin", "/usr/bin", "/bin"])
    environment = clean_environment(home, PATH=path, BROWSER=str(browser.opener))
    if "FORGE_CA" in os.environ:
        environment["GIT_SSL_CAINFO"] = os.environ["FORGE_CA"]
    work, branch = home / "work", f"forge-{time.time_ns()}"

    def git(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
        command = ["git", *identity, *arguments]
        where = work if work.exists() else home
        return subprocess.run(
            command, env=environment, input=given, capture_output=True, text=True, cwd=where, check=False
        )

    def succeeds(*arguments: str, given: str = "") -> str:
        done = git(*arguments, given=given)
        assert done.returncode == 0, done.stderr
        return done.stderr if arguments[0] != "credential" else done.stdout

    succeeds("credential-forge", "configure")
    said = succeeds("clone", "-q", f"{URL.rstrip('/')}/{REPO}.git", str(work))
    if not browser.tabs():  # a public repository is cloned without a sign-in
        said = succeeds("credential-forge", "login", URL)
    assert f"forge: signed in as {USER} at " in said
    assert len(browser.tabs()) == 1
    try:
        for text in ("first", "second"):
            succeeds("commit", "-q", "--allow-empty", "-m", text)
            assert "forge:" not in succeeds("push", "-q", "origin", f"HEAD:refs/heads/{branch}")
        filled = succeeds("credential", "fill", given=f"url={URL}\n\n")
        succeeds("credential", "reject", given=filled)
        succeeds("ls-remote", "-q", "origin")
        assert len(browser.tabs()) == 1
    finally:
        git("push", "-q", "origin", "--delete", branch)
    succeeds("credential-forge", "logout", URL)
    children = [
        subprocess.Popen(["git", "ls-remote", "-q", "origin"], env=environment, cwd=work, stdout=subprocess.DEVNULL)
        for _ in range(16)
    ]
    assert [child.wait(120) for child in children] == [0] * 16
    succeeds("credential", "fill", given=f"url={URL}\n\n")  # also where ls-remote needed no sign-in
    assert len(browser.tabs()) == 2
