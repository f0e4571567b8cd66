"""The demo, as people run it and as a sceptic would: what it prints, that it can fail, and that it leaves nothing."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from git_credential_forge.commands import demo
from git_credential_forge.demo.forge import CLIENT, Forge
from tests.support.gentle_browser import GentleBrowser
from tests.support.surroundings import ROOT, clean_environment
from tests.support.terminal import OnTerminal

DEADLINE = 60  # seconds for a run that takes seven on a machine with nothing else to do
FORGE = r"127\.0\.0\.1:[0-9]+"
SIGN_IN = rf"""
           forge: signing in to {FORGE} in your browser
           forge: the page will name the application "git-credential-oauth", .*
           forge: signed in as alice at {FORGE}, kept in memory while you work, and two hours more"""
FIRST = "a forge on this machine, an empty home in which the installed helper is set up, and git as you have it\n"
STAND_IN = "no browser is opened: a small stand-in fills in the forge's pages over HTTP\n"
PERSON = "your browser opens twice: press Sign in, and Authorize\n"
STEPS = rf"""   time   tabs  exchanges  refreshes   as the forge has counted them
 *[0-9.]+ s      0          0          0   git credential-forge configure
 *[0-9.]+ s      1          1          0   git clone: signed in through the browser{SIGN_IN}
 *[0-9.]+ s      0          0          0   git commit, git push: from memory
 *[0-9.]+ s      0          0          0   a second push: from memory
 *[0-9.]+ s      0          0          1   a push with a token that is refused: (?P<way>.*)
 *[0-9.]+ s      0          0          1   2 s later, a push after the token has ended: refreshed in silence
 *[0-9.]+ s      1          1          0   logout, then 8 fetches at once: one signs in for all(?P<eight>(\n {{11}}.*)+)
 *[0-9.]+ s      0          0          0   a wrong code: refused, client is not authorized
 *[0-9.]+ s      0          0          1   a refresh token used again: refused, token was already used
proved in [0-9.]+ s:
  a sign-in is one tab, also for many gits at once, and its code is bound by PKCE
  after it no push asks: a token that has ended or is refused is renewed, no refresh token used twice
nothing of it is left: the forge, the home and what was in memory are gone
"""
REPAIR = "replaced within the command"
NEXT = "that command failed, the next one had a new token"
FAILED = "forge: every event is shown by: GIT_TRACE_FORGE=1 git credential-forge demo\n"

# What is broken in the program, and where the demo then ends: (file, text, replacement, what the failure says).
BROKEN = {
    "PKCE: the verifier is not sent": (
        "oauth/wire.py",
        '"code_verifier": callback.verifier.reveal(), ',
        "",
        "git clone.*failed PKCE code challenge",
    ),
    "rotation: the old refresh token is kept": (
        "session.py",
        "if token.refresh_token is None:",
        "if True:",
        "a push after the token has ended.*token was already used",
    ),
    "the lock: everybody acts": (
        "flight.py",
        "    if place is None:\n        yield True\n",
        "    if True:\n        yield True\n",
        "8 fetches at once.*'tabs': [2-8]",
    ),
    "a refused token: erase is ignored": (
        "operations.py",
        "    origin = of_request(request.protocol, request.host)\n    rows",
        "    return\n    rows",
        "a push with a token that is refused.*git push has failed.*Authentication failed",
    ),
}


@pytest.fixture
def environment(home: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """With a TMPDIR by which all that the demo starts is known. Afterwards nothing is in it or in the home, and no
    process is left."""
    (tmp_path / "tmp").mkdir()
    yield clean_environment(home, TMPDIR=str(tmp_path / "tmp"))
    left = [*(tmp_path / "tmp").iterdir(), *home.iterdir()]
    deadline = time.monotonic() + 5
    while (running := _running(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.02)  # the stand-in sees only now that nobody answers any more
    assert (left, running) == ([], [])


def _running(tmp: Path) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):  # where there is no /proc, nothing is found
        with suppress(OSError):
            if f"TMPDIR={tmp}/tmp".encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def run_demo(launcher: Path, environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(launcher / "git-credential-forge"), "demo", *options],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )


def git_repairs() -> bool:
    version = subprocess.run(["git", "version"], capture_output=True, text=True, check=True).stdout
    return [int(number) for number in re.findall(r"[0-9]+", version)[:2]] >= [2, 46]


def test_the_whole_story(installed: Path, environment: dict[str, str]) -> None:
    """Every line of it, by what git is here; nothing on standard error, no token in it."""
    path = f"{installed}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        ["git", "credential-forge", "demo", "--headless"],
        env=environment | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    assert (done.returncode, done.stderr) == (0, "")
    told = re.fullmatch(re.escape(FIRST + STAND_IN) + STEPS, done.stdout)
    assert told, done.stdout
    assert told["way"] == (REPAIR if git_repairs() else NEXT)
    assert told["eight"].count("forge: signed in as alice") == 1
    assert not re.search(r"[\w-]{40}", done.stdout)


def test_with_a_persons_browser(installed: Path, environment: dict[str, str], home: Path, tmp_path: Path) -> None:
    """$BROWSER is opened, with the person's home and not with the demo's."""
    homes = tmp_path / "homes"
    with GentleBrowser("alice", "demo") as browser:
        opener = tmp_path / "opener"
        opener.write_text(f'#!/bin/sh\necho "$HOME ${{BROWSER-unset}}" >>{homes}\nexec {browser.opener} "$1"\n')
        opener.chmod(0o755)
        theirs = {"BROWSER": str(opener), "CI": "true", "XDG_CACHE_HOME": "/nonexistent"}
        done = run_demo(installed, environment | theirs)
        assert (done.returncode, done.stderr) == (0, "")
        assert re.fullmatch(re.escape(FIRST + PERSON) + STEPS, done.stdout), done.stdout
        assert all(tab.text.startswith("Signed in to 127.0.0.1:") for tab in browser.wait_for_tabs(2))
        assert len(browser.tabs()) == 2
    assert homes.read_text() == f"{home} unset\n" * 2


def test_a_person_who_says_no(installed: Path, environment: dict[str, str]) -> None:
    """The step fails, with what the helper said about it."""
    with GentleBrowser("alice", "demo", "deny") as browser:
        done = run_demo(installed, environment | {"BROWSER": str(browser.opener)})
    assert done.returncode == 1
    assert " FAILED   git clone: signed in through the browser: git clone has failed; " in done.stdout
    assert "{'tabs': 1}, and {'tabs': 1, 'exchanges': 1} is right\n" in done.stdout
    assert "you denied the request in the browser\n" in done.stdout
    assert done.stderr == f"forge: the demo has ended at: git clone: signed in through the browser\n{FAILED}"


@pytest.mark.parametrize(("after", "key"), [("configure", "\x03"), ("in silence", "\x03"), ("configure", None)])
def test_interrupted(installed: Path, environment: dict[str, str], home: Path, after: str, key: str | None) -> None:
    """By Ctrl-C, which git passes on once more, and by SIGTERM to git: within a sign-in, and within eight."""
    environment["PATH"] = f"{installed}{os.pathsep}{environment['PATH']}"
    with OnTerminal(["git", "credential-forge", "demo", "--headless"], environment, home) as terminal:
        terminal.wait_for(rf"{after}\n")
        if key:
            terminal.type(key)
        else:
            terminal.process.terminate()
        assert terminal.wait() in {-signal.SIGINT, -signal.SIGTERM}
    assert "proved" not in terminal.seen
    assert "FAILED" not in terminal.seen
    assert "Traceback" not in terminal.seen


def test_without_git(installed: Path, environment: dict[str, str], home: Path) -> None:
    """Said at once, and nothing is begun."""
    done = subprocess.run(
        [installed / "git-credential-forge--main", "demo", "--headless"],
        env=environment | {"PATH": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "forge: git is not on the PATH\n")


def test_a_step_that_fails(installed: Path, environment: dict[str, str], tmp_path: Path) -> None:
    """What git said is shown, the status is 1, and what to do is said."""
    git = shutil.which("git", path=environment["PATH"])
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    script = 'case " $* " in *" push "*) echo "no push today" >&2; exit 1 ;; esac'
    fake.write_text(f'#!/bin/sh\n{script}\nexec {git} "$@"\n')
    fake.chmod(0o755)
    path = f"{fake.parent}{os.pathsep}{environment['PATH']}"
    done = run_demo(installed, environment | {"PATH": path}, "--headless")
    assert done.returncode == 1
    assert done.stdout.endswith(
        " FAILED   git commit, git push: from memory: git push has failed; the forge has counted {}, and {} is right\n"
        "          no push today\n"
    )
    assert done.stderr == f"forge: the demo has ended at: git commit, git push: from memory\n{FAILED}"


@pytest.mark.slow
@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_program_fails(broken: str, environment: dict[str, str], tmp_path: Path) -> None:
    """The four promises that the demo is there for: each taken away from the program, and the demo ends there."""
    file, text, replacement, said = BROKEN[broken]
    if "erase" in broken and git_repairs():
        pytest.skip("not here: this git asks again instead of calling erase")
    source = tmp_path / "src"
    shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
    changed = source / "git_credential_forge" / file
    assert changed.read_text().count(text) == 1
    changed.write_text(changed.read_text().replace(text, replacement))
    main = source / "git-credential-forge--main"
    main.write_text(f"#!{sys.executable}\nfrom git_credential_forge.start import main\nmain()\n")
    main.chmod(0o755)
    done = run_demo(source, environment, "--headless")
    assert done.returncode == 1
    assert re.search(f" FAILED .*{said}", done.stdout, re.DOTALL), done.stdout


# -- its forge -------------------------------------------------------------------------------------------


@pytest.fixture
def forge(tmp_path: Path, home: Path) -> Iterator[Forge]:
    forge = Forge(str(tmp_path), clean_environment(home))
    yield forge
    forge.shutdown()
    forge.server_close()


class Asker:
    """One browser, or one helper, at that forge."""

    def __init__(self, forge: Forge) -> None:
        self.forge = forge
        self.headers: dict[str, str] = {}

    def ask(self, method: str, path: str, **form: str) -> tuple[int, http.client.HTTPMessage, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.forge.server_address[1], timeout=10)
        target, body = (path, urlencode(form)) if method == "POST" else (f"{path}?{urlencode(form)}", None)
        connection.request(method, target, body, self.headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()

    def sign_in(self) -> None:
        status, headers, _ = self.ask("POST", "/user/login", to="/")
        assert status == 303
        self.headers["Cookie"] = headers["Set-Cookie"].partition(";")[0]

    def authorize(self, **changed: str) -> tuple[int, http.client.HTTPMessage, str]:
        digest = base64.urlsafe_b64encode(hashlib.sha256(b"verifier").digest()).rstrip(b"=").decode()
        asked = {"client_id": CLIENT, "redirect_uri": "http://127.0.0.1:1", "state": "s", "code_challenge": digest}
        return self.ask("GET", "/login/oauth/authorize", **{**asked, "code_challenge_method": "S256", **changed})

    def code(self, state: str = "s") -> str:
        status, headers, _ = self.ask("POST", "/login/oauth/grant", state=state, granted="true")
        assert status == 303
        return parse_qs(urlsplit(headers["Location"]).query)["code"][0]

    def token(self, **form: Any) -> str:
        """What was wrong, or nothing."""
        asked = {"client_id": CLIENT, "redirect_uri": "http://127.0.0.1:1", "grant_type": "authorization_code", **form}
        status, _, body = self.ask("POST", "/login/oauth/access_token", **asked)
        found = re.search('"error_description": "(.*)"', body)
        assert status == (400 if found else 200)
        return found[1] if found else ""


@pytest.fixture
def asker(forge: Forge) -> Asker:
    return Asker(forge)


@pytest.mark.parametrize(
    ("redirect", "status"),
    [
        ("http://127.0.0.1:4711", 200),
        ("http://127.0.0.1:4711/", 200),
        ("http://127.0.0.1", 200),
        ("HTTP://127.0.0.1:4711", 200),
        ("http://127.0.0.1:4711/callback", 400),
        ("http://127.0.0.1:4711//", 400),
        ("http://127.0.0.1:4711/?a=b", 400),
        ("http://127.0.0.2:4711", 400),
        ("http://localhost:4711", 400),
        ("http://[::1]:4711", 400),
        ("https://127.0.0.1:4711", 400),
        ("http://127.0.0.1:4711@example.org", 400),
        ("", 400),
    ],
)
def test_redirect_addresses(asker: Asker, redirect: str, status: int) -> None:
    """As Gitea and Forgejo compare them; the others end on a page, and nobody calls back."""
    assert asker.authorize(redirect_uri=redirect)[0] == status


@pytest.mark.parametrize("changed", [{"code_challenge_method": "plain"}, {"code_challenge_method": ""}])
def test_no_sign_in_without_pkce(asker: Asker, changed: dict[str, str]) -> None:
    """By S256, and by nothing else."""
    status, headers, _ = asker.authorize(**changed)
    assert status == 303
    assert "error=invalid_request" in headers["Location"]


def test_one_authorization_for_each_browser(forge: Forge, asker: Asker) -> None:
    """The last page that was opened; a page that is loaded again is no other one."""
    asker.sign_in()
    for state in ("first", "second", "second"):
        assert asker.authorize(state=state)[0] == 200
    assert forge.seen == {"tabs": 2}
    assert asker.ask("POST", "/login/oauth/grant", state="first", granted="true")[0] == 400
    assert asker.token(code=asker.code("second"), code_verifier="verifier") == ""


def test_codes_and_refresh_tokens_are_good_once(forge: Forge, asker: Asker) -> None:
    """And a code only with its verifier, its client and its redirect address."""
    asker.sign_in()
    for wrong in ({"code_verifier": "other"}, {}, {"code_verifier": "verifier", "redirect_uri": "http://127.0.0.1:2"}):
        asker.authorize()
        code = asker.code()
        assert asker.token(code=code, **wrong)
        assert asker.token(code=code, code_verifier="verifier") == "client is not authorized"
    asker.authorize()
    code = asker.code()
    assert asker.token(code=code, code_verifier="verifier", client_id="other") == "client is not authorized"
    asker.authorize()
    assert asker.token(code=asker.code(), code_verifier="verifier") == ""
    used = forge.refresh[-1]
    for token, wrong_one in ((used, ""), (used, "token was already used"), ("x", "unable to parse refresh token")):
        assert asker.token(grant_type="refresh_token", refresh_token=token) == wrong_one
    assert forge.seen["refreshes"] == 3


def test_who_is_let_in(forge: Forge, asker: Asker) -> None:
    """A challenge for who has no token, none for who has a bad one; a token that has ended is a bad one."""
    repository = "/alice/demo.git/info/refs"
    assert asker.ask("GET", repository)[1]["WWW-Authenticate"] == 'Basic realm="Gitea"'
    forge.access["living"] = time.monotonic() + 60
    forge.access["ended"] = time.monotonic()
    basic = {name: base64.b64encode(f"any:{name}".encode()).decode() for name in ("living", "ended", "unknown")}
    for bad in (f"Basic {basic['ended']}", f"Basic {basic['unknown']}", "Bearer unknown", "Basic"):
        asker.headers["Authorization"] = bad
        status, headers, _ = asker.ask("GET", repository)
        assert (status, headers["WWW-Authenticate"]) == (401, None)
        assert asker.ask("GET", "/api/v1/user")[0] != 200
    asker.headers["Authorization"] = f"Basic {basic['living']}"
    assert asker.ask("GET", repository)[0] == 404, "git's own server answers: there is no such repository"


# -- the browser -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment_of", "opened"),
    [
        ({}, []),
        ({"DISPLAY": ":0"}, ["xdg-open"]),
        ({"WAYLAND_DISPLAY": "wayland-0"}, ["xdg-open"]),
        ({"WSL_DISTRO_NAME": "Debian"}, ["xdg-open"]),
        ({"SSH_CONNECTION": "x"}, []),
        ({"BROWSER": "my-browser --new %s"}, ["my-browser --new %s", "xdg-open"]),
        ({"BROWSER": "nonesuch:'my-browser' -x:\""}, ["'my-browser' -x", "xdg-open"]),
    ],
)
def test_what_is_opened(
    environment_of: dict[str, str], opened: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the rules of the helper: what is there, and with the person's home."""
    for name in ("my-browser", "xdg-open"):
        (tmp_path / name).touch(0o755)
    home = {"PATH": str(tmp_path), "HOME": "/home/a b"}
    monkeypatch.setattr(os, "environ", {**home, **environment_of})
    monkeypatch.setattr(sys, "platform", "linux")
    assert demo._openers() == [f"env -u BROWSER 'HOME=/home/a b' {entry}" for entry in opened]
