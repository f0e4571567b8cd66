"""A token that the forge refuses, inside one git command and from one command to the next."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.forge import Forge
from tests.support.gentle_browser import GentleBrowser
from tests.support.person import Person, wait_until
from tests.support.signing_in import answer_of

MANY = 16


@pytest.fixture
def signed(repairing: Person, forge: Forge, browser: GentleBrowser) -> Person:
    """Signed in, on a git of 2.46 or newer."""
    repairing.environment["BROWSER"] = str(browser.opener)
    assert repairing.git("ls-remote", "-q", forge.repo_url()).status == 0
    return repairing


def test_one_command(signed: Person, forge: Forge, browser: GentleBrowser, home: Path) -> None:
    """A refused token is replaced inside the command: fetch, clone and push end well, without a word or a tab."""
    work = home / "work"
    for command in (("ls-remote", "-q", forge.repo_url()), ("clone", "-q", forge.repo_url(), str(work))):
        forge.expire_access_tokens()
        assert signed.git(*command)[::2] == (0, "")
    signed.commit(work, "more")
    forge.expire_access_tokens()
    assert signed.git("push", "-q", cwd=work) == (0, "", "")
    assert forge.head() == signed.git("rev-parse", "HEAD", cwd=work).out.strip()
    assert [event.ok for event in forge.log("refresh")] == [True] * 3
    assert len(browser.tabs()) == 1


def test_the_grant_is_dead_too(signed: Person, forge: Forge, browser: GentleBrowser) -> None:
    """Revoked in the middle: one tab, and all commands still end well."""
    forge.revoke_all()
    done = signed.at_once(MANY, "ls-remote", forge.repo_url(), "HEAD")
    assert [each[:2] for each in done] == [(0, f"{forge.head()}\tHEAD\n")] * MANY
    assert len(browser.tabs()) == 2


def test_a_session_that_is_served_again(signed: Person, forge: Forge) -> None:
    """Also where the answer had left the cache, and the session was served."""
    socket = str(signed.home / ".cache/git-credential-forge/socket")
    entry = f"protocol=https\nhost={forge.host}\nusername=alice\n"
    assert signed.git("credential-cache", "--socket", socket, "erase", given=entry).status == 0
    forge.expire_access_tokens()
    assert signed.git("ls-remote", "-q", forge.repo_url())[::2] == (0, "")
    assert len(forge.log("refresh")) == 1


@pytest.mark.parametrize(
    "said", ["", "state[]=forge:1\n", "state[]=other:1\n", "wwwauth[]=Negotiate\n", 'wwwauth[]=Basic realm="Gitea"\n']
)
def test_what_is_announced(signed: Person, forge: Forge, said: str) -> None:
    """state with continue for what is held; without continue where git would lose its round to Negotiate, or where the
    answer is one to a refusal."""
    asked = f"capability[]=state\nprotocol=https\nhost={forge.host}\nusername=alice\n{said}\n"
    out = signed.git("credential-forge", "get", given=asked).out
    plain = said.startswith(("state[]=forge:", "wwwauth[]=Negotiate"))
    form = r"(?:capability\[\]=authtype\n)?username=alice\npassword=\S+\npassword_expiry_utc=(\d+)\n"
    form += r"capability\[\]=state\nstate\[\]=forge:\1\n"
    assert re.fullmatch(form + ("" if plain else "continue=1\n") + "\n", out)


def test_the_next_command_on_an_older_git(older: Person, forge: Forge, browser: GentleBrowser) -> None:
    """Before 2.46 the command fails, `erase` keeps the session, and the next one refreshes silently."""
    older.environment["BROWSER"] = str(browser.opener)
    fetch = ("ls-remote", "-q", forge.repo_url())
    assert older.git(*fetch).status == 0
    forge.expire_access_tokens()
    assert older.git(*fetch).status == 128
    assert older.git(*fetch)[::2] == (0, "")
    assert len(browser.tabs()) == 1


def test_an_older_token_undoes_nothing(person: Person, forge: Forge, browser: GentleBrowser) -> None:
    """The `erase` and `store` of a slow process, with the token of before, leave the newer one alone."""
    person.environment["BROWSER"] = str(browser.opener)
    assert person.git("ls-remote", "-q", forge.repo_url()).status == 0
    ask = f"protocol=https\nhost={forge.host}\n\n"
    old = person.git("credential-forge", "get", given=ask).out
    assert person.git("credential", "reject", given=f"url={forge.url}\n{old}").status == 0
    new = person.git("credential-forge", "get", given=ask).out
    slow = f"protocol=https\nhost={forge.host}\n{old}"
    assert person.git("credential-forge", "erase", given=slow) == (0, "", "")
    assert person.git("credential-forge", "store", given=slow) == (0, "", "")
    held = person.git("credential-forge", "get", given=ask).out
    assert answer_of(held)["password"] == answer_of(new)["password"] != answer_of(old)["password"]
    assert len(forge.log("refresh")) == 1


def test_offline_keeps_the_sign_in(person: Person, forge: Forge, browser: GentleBrowser) -> None:
    """Where the token endpoint cannot be reached after an expiry: one line, no tab, and all is kept."""
    person.environment["BROWSER"] = str(browser.opener)
    forge.set_lifetime(2)
    assert person.git("ls-remote", "-q", forge.repo_url()).status == 0
    ended = time.time() + 2
    wait_until(ended)
    ask = f"protocol=https\nhost={forge.host}\n\n"
    nowhere = "http://127.0.0.1:9"
    offline = person.git("-c", f"http.proxy={nowhere}", "credential-forge", "get", given=ask)
    assert offline.out == "quit=1\n\n"
    reason, kept = offline.err.split("; ")
    assert reason.startswith(f"forge: {forge.host} cannot be reached (")
    assert kept == "your sign-in is kept, try again later\n"
    silent = person.git("-c", f"http.proxy={nowhere}", "credential-forge", "get", given=ask, CI="1")
    assert silent == (0, "", "")
    assert person.git("ls-remote", "-q", forge.repo_url())[::2] == (0, "")
    assert len(browser.tabs()) == 1


def test_a_logout_during_a_refresh(person: Person, forge: Forge, browser: GentleBrowser) -> None:
    """Who signs out while a refresh is under way stays signed out; that one command still has its token."""
    person.environment["BROWSER"] = str(browser.opener)
    forge.set_lifetime(2)
    assert person.git("ls-remote", "-q", forge.repo_url()).status == 0
    ended = time.time() + 2
    wait_until(ended)
    with forge.halted() as go_on:
        command = ["git", "credential-forge", "get"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        traced = person.environment | {"GIT_TRACE_FORGE": "1"}
        with subprocess.Popen(command, env=traced, text=True, start_new_session=True, **pipes) as asking:  # type: ignore[call-overload]
            asking.stdin.write(f"protocol=https\nhost={forge.host}\n\n")
            asking.stdin.close()
            while "http: POST" not in asking.stderr.readline():
                pass
            assert person.git("credential-forge", "logout", forge.url).out.startswith(f"forgot alice at {forge.host}\n")
            go_on()
            assert "\npassword=" in asking.stdout.read()
    assert person.git("credential-forge", "status").out == "not signed in anywhere\n"
