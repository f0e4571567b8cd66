"""The same way at any real Coder: registered, signed in to, refreshed, revoked. Given by the environment.

CODER_URL            https://coder.example.org, with its OAuth2 provider on and registration allowed; or on this machine
CODER_SESSION_TOKEN  of an account there, by which its page is signed in to; nothing else is done with it
"""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import httpx
import pytest

from tests import outside
from tests.support.signing_in import answer_of
from tests.support.surroundings import clean_environment
from tests.support.tabs import write_opener

URL, TOKEN = outside.machine().coder[0].rstrip("/"), outside.machine().coder[1]

pytestmark = pytest.mark.skipif(not (URL and TOKEN), reason="no real Coder is given, see CODER_URL")


class Allowing:
    """A browser that is signed in, and presses Allow: the page of Coder posts to where it stands."""

    def __init__(self, directory: Path) -> None:
        self.opener, pipe = write_opener(directory)
        self.tabs = 0
        self._pipe = os.fdopen(os.open(pipe, os.O_RDWR), "r+b", buffering=0)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with httpx.Client(timeout=60) as client:
            while True:
                start = self._pipe.readline().decode().strip()
                self.tabs += 1
                page = client.get(start).headers["Location"]
                headers = {"Cookie": f"coder_session_token={TOKEN}", "Origin": URL, "Referer": page}
                back = client.post(page, headers=headers).headers["Location"]
                client.get(back)


@pytest.fixture
def browser(tmp_path: Path) -> Allowing:
    return Allowing(tmp_path)


def test_the_whole_way(home: Path, installed: Path, browser: Allowing) -> None:
    """Sign in once, refresh twice, with the old token dead at once; `logout` leaves neither token nor registration."""
    path = os.pathsep.join([str(installed), "/usr/local/bin", "/usr/bin", "/bin"])
    environment = clean_environment(home, PATH=path, BROWSER=str(browser.opener))

    def git(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        command = ["git", *arguments]
        return subprocess.run(command, env=environment, input=given, capture_output=True, text=True, check=False)

    def token() -> str:
        done = git("credential", "fill", given=f"url={URL}\n\n")
        assert done.returncode == 0, done.stderr
        return answer_of(f"{done.stdout}\n")["password"]

    def alive(token: str) -> bool:
        return httpx.get(f"{URL}/api/v2/users/me", headers={"Coder-Session-Token": token}).status_code == 200

    assert git("credential-forge", "configure").returncode == 0
    tokens = [token()]
    for _ in range(2):
        assert git("credential", "reject", given=f"url={URL}\npassword={tokens[-1]}\n\n").returncode == 0
        tokens.append(token())
    assert [alive(each) for each in tokens] == [False, False, True]
    assert browser.tabs == 1
    revoked = "its tokens are revoked there\nthe client that this machine had registered there is deleted\n"
    assert git("credential-forge", "logout", URL).stdout.endswith(f"\n{revoked}")
    assert not alive(tokens[-1])
