"""The cache daemon is gone, and what it had in memory: one sign-in, whose reason is said once, and to a person."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.support.forge import Forge
from tests.support.gentle_browser import GentleBrowser
from tests.support.person import Person, wait_until
from tests.support.signing_in import NAMED

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="not here: /proc")
MANY = 8


@pytest.fixture
def signed(person: Person, forge: Forge, browser: GentleBrowser) -> Person:
    person.environment["BROWSER"] = str(browser.opener)
    assert person.git("ls-remote", "-q", forge.repo_url()).status == 0
    return person


def end_daemon(home: Path) -> None:
    """With kill -9: its socket stays."""
    wanted = b"HOME=" + os.fsencode(home) + b"\0"
    ended = 0
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            is_it = b"credential-cache--daemon" in (entry / "cmdline").read_bytes()
            if is_it and wanted in (entry / "environ").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)
                ended += 1
        except OSError:
            continue  # gone, or another user's
    assert ended == 1


def why(forge: Forge) -> str:
    return f"forge: the sign-in to {forge.host} is forgotten: git's cache daemon, which had it in memory, is gone\n"


def signing(forge: Forge) -> str:
    return (
        f"forge: signing in to {forge.host} in your browser\n{NAMED}"
        f"forge: signed in as alice at {forge.host}, kept in memory while you work, and two hours more\n"
    )


def test_one_sign_in_and_why(signed: Person, forge: Forge, browser: GentleBrowser, home: Path) -> None:
    """The reason stands before the sign-in; the command after it is silent again."""
    fetch = ("ls-remote", "-q", forge.repo_url(), "HEAD")
    end_daemon(home)
    assert signed.git(*fetch) == (0, f"{forge.head()}\tHEAD\n", why(forge) + signing(forge))
    assert signed.git(*fetch) == (0, f"{forge.head()}\tHEAD\n", "")
    assert len(browser.tabs()) == 2


def test_many_at_once(signed: Person, forge: Forge, browser: GentleBrowser, home: Path) -> None:
    """Of eight gits one says it, and one signs in."""
    end_daemon(home)
    done = signed.at_once(MANY, "ls-remote", "-q", forge.repo_url(), "HEAD")
    assert [each[:2] for each in done] == [(0, f"{forge.head()}\tHEAD\n")] * MANY
    assert "".join(each.err for each in done).count(why(forge)) == 1
    assert len(browser.tabs()) == 2


def test_nobody_to_ask(signed: Person, forge: Forge, browser: GentleBrowser, home: Path) -> None:
    """Who may not ask is silent, and leaves the reason to who may."""
    ask = f"protocol=https\nhost={forge.host}\n\n"
    end_daemon(home)
    assert signed.git("credential-forge", "get", given=ask, CI="1") == (0, "", "")
    assert signed.git("ls-remote", "-q", forge.repo_url())[::2] == (0, why(forge) + signing(forge))
    assert len(browser.tabs()) == 2


def test_it_had_ended_anyhow(person: Person, forge: Forge, browser: GentleBrowser, home: Path) -> None:
    """A sign-in whose time was over is not missed."""
    person.environment["BROWSER"] = str(browser.opener)
    short = ("-c", "credential.helper=", "-c", "credential.helper=forge --timeout=2")
    forge.set_lifetime(1)
    assert person.git(*short, "credential", "fill", given=f"url={forge.url}\n\n").status == 0
    ended = time.time() + 1 + 2
    forge.set_lifetime(3600)
    end_daemon(home)
    wait_until(ended)
    assert person.git("ls-remote", "-q", forge.repo_url())[::2] == (0, signing(forge))


def test_signed_out(signed: Person, forge: Forge, home: Path) -> None:
    """What was forgotten by wish is not missed either."""
    assert signed.git("credential-forge", "logout", forge.url).status == 0
    end_daemon(home)
    assert signed.git("ls-remote", "-q", forge.repo_url())[::2] == (0, signing(forge))
