"""Forges, networks, clocks and disks that do not do as they should: what is said, what it costs, what is lost: nothing.

The costs are counted in the authorization server's own log.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.forge import Forge
from tests.support.gentle_browser import GentleBrowser
from tests.support.httpserver import Answer, Request
from tests.support.person import Done, Person, wait_until
from tests.support.signing_in import NAMED
from tests.support.storm import OwnInstall, Storm, directory

OWN = "11111111-2222-3333-4444-555555555555"
TOKEN = "/login/oauth/access_token"
MANY = 40
AFTERWARDS = ", kept in memory while you work, and two hours more"


@pytest.fixture
def signed(person: Person, forge: Forge, browser: GentleBrowser) -> Person:
    person.environment["BROWSER"] = str(browser.opener)
    assert fetch(person, forge).status == 0
    return person


def fetch(person: Person, forge: Forge, name: str = "demo", owner: str = "alice") -> Done:
    return person.git("ls-remote", "-q", forge.repo_url(name, owner), "HEAD")


def right(forge: Forge) -> Done:
    return Done(0, f"{forge.head()}\tHEAD\n", "")


def refreshes(forge: Forge) -> list[bool]:
    return [event.ok for event in forge.log("refresh")]


def refused(forge: Forge) -> int:
    """How many requests came with a token that was not good."""
    return sum(each.status == 401 and each.scheme != "" for each in forge.git_requests)


# A 401 that says nothing about the token.


@pytest.fixture
def ambiguous(person: Person, forge: Forge, browser: GentleBrowser) -> Person:
    """Signed in to a forge that says 401 for what one may not see, and whose paths are nobody's that we know."""
    forge.add_application(OWN)
    forge.hides = True
    person.environment["BROWSER"] = str(browser.opener)
    settings = {"oauthClientId": OWN, "oauthAuthURL": "/oauth/authorize", "oauthTokenURL": "/oauth/token"}
    for key, value in settings.items():
        assert person.git("config", "--global", f"credential.{forge.url}.{key}", value).status == 0
    assert fetch(person, forge).err == (
        f"forge: signing in to {forge.host} in your browser\nforge: signed in at {forge.host}{AFTERWARDS}\n"
    )
    return person


def refusal(person: Person, forge: Forge) -> str:
    """What we say when a fetch of somebody else's repository fails; the rest is git's own line."""
    done = fetch(person, forge, "secret", "bob")
    assert done[:2] == (128, "")
    *ours, of_git = done.err.splitlines(keepends=True)
    assert of_git == f"fatal: Authentication failed for '{forge.repo_url('secret', 'bob')}/'\n"
    return "".join(ours)


def no_such(forge: Forge) -> str:
    return (
        f"forge: {forge.host} refuses this repository to oauth2, whose token is a moment old\n"
        f"forge: to sign in anew all the same: git credential-forge login {forge.url}\n"
    )


@pytest.mark.usefixtures("repairing")  # before the sign-in: an older git's cache would not tell tokens apart
def test_a_repository_that_one_may_not_see(ambiguous: Person, forge: Forge, browser: GentleBrowser) -> None:
    """Ten attempts cost one refresh and no tab, say why, and are nothing to a fetch of another repository."""
    assert refusal(ambiguous, forge) == "", "it is tried with a new token, once"
    for _ in range(9):
        assert refusal(ambiguous, forge) == no_such(forge)
        assert fetch(ambiguous, forge) == right(forge)
    assert refreshes(forge) == [True]
    assert len(browser.tabs()) == 1


@pytest.mark.usefixtures("older")
def test_a_repository_that_one_may_not_see_on_an_older_git(
    ambiguous: Person, forge: Forge, browser: GentleBrowser
) -> None:
    """The same where git does not ask again: the reason comes with the `erase`."""
    said = []
    for _ in range(10):
        said.append(refusal(ambiguous, forge))
        assert fetch(ambiguous, forge) == right(forge)
    # The first token is found refused, the next one was made for that, and all that follows is for the repository.
    assert said == ["", *[no_such(forge)] * 9]
    assert refreshes(forge) == [True]
    assert len(browser.tabs()) == 1


@pytest.mark.usefixtures("repairing")
def test_refused_and_young(signed: Person, forge: Forge, browser: GentleBrowser) -> None:
    """Where a 401 is about the token, a young one is refreshed as often as it is refused; a tab is for a dead grant."""
    for _ in range(3):
        forge.expire_access_tokens()
        assert fetch(signed, forge) == right(forge)
    assert refreshes(forge) == [True] * 3
    assert len(browser.tabs()) == 1
    forge.revoke_all()
    assert fetch(signed, forge) == right(forge)._replace(
        err=f"forge: {forge.host} no longer accepts this sign-in (invalid_grant)\n"
        f"forge: signing in to {forge.host} in your browser\n{NAMED}"
        f"forge: signed in as alice at {forge.host}{AFTERWARDS}\n"
    )
    assert len(browser.tabs()) == 2


# A refresh kills the token of before.


@pytest.mark.slow
@pytest.mark.usefixtures("repairing")
def test_forty_fetches_with_a_token_that_dies(signed: Person, forge: Forge, browser: GentleBrowser) -> None:
    """Forty fetches are under way when somebody refreshes, which kills their token: all repair from the one new one."""
    old = str(forge.secrets()["access_token"][-1])
    come = threading.Semaphore(0)
    refreshed = threading.Event()

    def hold(request: Request) -> Answer | None:
        if "/info/refs" in request.target and request.header("Authorization"):
            come.release()
            refreshed.wait()
        return None

    forge.instead = hold
    ask = f"protocol=https\nhost={forge.host}\n\n"
    with Storm(signed) as storm:
        storm.start("git", "ls-remote", "-q", forge.repo_url(), "HEAD", number=MANY)
        for _ in range(MANY):
            storm.until(lambda: come.acquire(blocking=False))
        held = signed.git("credential-forge", "get", given=ask).out
        assert f"password={old}\n" in held
        assert signed.git("credential-forge", "erase", given=ask[:-1] + held).status == 0
        assert f"password={old}\n" not in signed.git("credential-forge", "get", given=ask).out
        refreshed.set()
        assert storm.ended() == [right(forge)] * MANY
    assert refreshes(forge) == [True]
    assert refused(forge) >= MANY, "all had the old one"
    assert len(browser.tabs()) == 1


# Networks.

def hang_up(_: Request) -> Answer:
    raise ConnectionResetError


def answering(status: int, *headers: tuple[str, str], page: str = "") -> Callable[[Request], Answer]:
    return lambda _: Answer(status, list(headers), page.encode())


NOW = "{} cannot refresh the sign-in now"
HTML = ("Content-Type", "text/html")
FAULTS: dict[str, tuple[Callable[[Request], Answer], int, str]] = {  # and how often it is tried, and what is said
    "503": (answering(503), 3, f"{NOW} (it answered with no OAuth answer (HTTP 503))"),
    "429": (answering(429, ("Retry-After", "1")), 3, f"{NOW} (it answered with no OAuth answer (HTTP 429))"),
    "429 for an hour": (
        answering(429, ("Retry-After", "3600")),
        1,
        f"{NOW} (it answered with no OAuth answer (HTTP 429))",
    ),
    "hung up": (hang_up, 3, "{} cannot be reached (it does not speak HTTP, or hung up)"),
    "captive portal": (
        answering(200, HTML, page="<html>Welcome to our hotel</html>"),
        3,
        f"{NOW} (it answered with a web page (HTTP 200))",
    ),
    "captive redirect": (
        answering(302, ("Location", "https://portal.example/?to=here")),
        3,
        f"{NOW} (it redirects to portal.example)",
    ),
}


@pytest.fixture
def stale(signed: Person, forge: Forge) -> Person:
    """Signed in, and the next command has to refresh."""
    held = signed.git("credential", "fill", given=f"url={forge.url}\n\n").out
    assert signed.git("credential", "reject", given=held) == (0, "", "")
    return signed


@pytest.mark.parametrize("name", FAULTS)
def test_a_refresh_that_is_disturbed(stale: Person, forge: Forge, browser: GentleBrowser, name: str) -> None:
    """Tried again within ten seconds, then said; nothing is opened, nothing lost, and the next command goes on in
    silence."""
    answer, tries, reason = FAULTS[name]
    asked = []

    def disturb(request: Request) -> Answer | None:
        if not request.target.startswith(TOKEN):
            return None
        asked.append(request)
        return answer(request)

    forge.instead = disturb
    begun = time.monotonic()
    offline(fetch(stale, forge), reason.format(forge.host))
    assert time.monotonic() - begun < 15
    assert len(asked) == tries
    forge.instead = lambda _: None
    assert fetch(stale, forge) == right(forge)
    assert refreshes(forge) == [True]
    assert len(browser.tabs()) == 1


def test_a_name_that_cannot_be_looked_up(stale: Person, forge: Forge, browser: GentleBrowser) -> None:
    """As little as any other fault of the network: here the name of a proxy that the refresh alone goes through."""
    setting = f"http.{forge.url}/login/.proxy"
    assert stale.git("config", "--global", setting, "http://nowhere.invalid:3128").status == 0
    offline(fetch(stale, forge), f"{forge.host} cannot be reached (Name or service not known)")
    assert stale.git("config", "--global", "--unset", setting).status == 0
    assert fetch(stale, forge) == right(forge)
    assert len(browser.tabs()) == 1


def offline(done: Done, reason: str) -> None:
    """Our line, git's, and not a word more."""
    assert done[:2] == (128, "")
    ours, of_git = done.err.splitlines()
    assert ours == f"forge: {reason}; your sign-in is kept, try again later"
    assert of_git.startswith("fatal: ")


@pytest.mark.parametrize("rotates", [True, False])
def test_an_answer_that_is_lost(stale: Person, forge: Forge, browser: GentleBrowser, *, rotates: bool) -> None:
    """The forge has refreshed and nobody hears of it. Where refresh tokens rotate, that was the end of the one that we
    have: then, and only then, the browser, with that reason."""
    forge.rotate(on=rotates)
    losses = [hang_up]

    def lose(request: Request) -> Answer | None:
        if request.target.startswith(TOKEN) and b"refresh_token" in request.body and losses:
            forge._proxy(request)
            return losses.pop()(request)
        return None

    forge.instead = lose
    done = fetch(stale, forge)
    assert done[:2] == right(forge)[:2]
    assert done.err == (
        f"forge: {forge.host} no longer accepts this sign-in (invalid_grant)\n"
        "forge: the answer to a refresh was lost on the way, and this forge takes each refresh token once\n"
        f"forge: signing in to {forge.host} in your browser\n{NAMED}"
        f"forge: signed in as alice at {forge.host}{AFTERWARDS}\n"
        if rotates
        else ""
    )
    assert refreshes(forge) == [True, not rotates]
    assert len(browser.tabs()) == (2 if rotates else 1)


# Clocks.


@pytest.fixture
def clock(repairing: Person, installed: Path, tmp_path: Path) -> OwnInstall:
    """The person's helper, with a clock of its own."""
    own = OwnInstall(tmp_path, installed)
    repairing.environment["PATH"] = f"{own.bin}{os.pathsep}{repairing.environment['PATH']}"
    assert repairing.git("credential-forge", "configure").status == 0
    return own


@pytest.mark.parametrize("hours", [5, -5])
def test_a_clock_that_is_wrong(
    person: Person, forge: Forge, browser: GentleBrowser, clock: OwnInstall, hours: int
) -> None:
    """Five hours off: no loop. When it is put right, what it says then counts: ahead, the sign-in goes on; behind, it
    looks over, and is one tab more. A token that is refused is refreshed once, as ever."""
    person.environment["BROWSER"] = str(browser.opener)
    forge.set_lifetime(6 * 3600)  # git itself has the right clock here, and would not take what has ended for it
    clock.set(hours * 3600)
    welcome = (
        f"forge: signing in to {forge.host} in your browser\n{NAMED}"
        f"forge: signed in as alice at {forge.host}{AFTERWARDS}\n"
    )
    assert fetch(person, forge).err == welcome
    for _ in range(3):
        assert fetch(person, forge) == right(forge)
    assert (refreshes(forge), len(browser.tabs()), refused(forge)) == ([], 1, 0)
    clock.set(0)
    assert fetch(person, forge) == right(forge)._replace(err="" if hours > 0 else welcome)
    for _ in range(3):
        assert fetch(person, forge) == right(forge)
    tabs = 1 if hours > 0 else 2
    assert (refreshes(forge), len(browser.tabs()), refused(forge)) == ([], tabs, 0)
    forge.expire_access_tokens()
    for _ in range(3):
        assert fetch(person, forge) == right(forge)
    assert (refreshes(forge), len(browser.tabs())) == ([True], tabs)


def test_after_a_suspend(person: Person, forge: Forge, browser: GentleBrowser) -> None:
    """The cache daemon slept through the end of the token, and answers before it forgets: it is not given, but
    refreshed."""
    person.environment["BROWSER"] = str(browser.opener)
    forge.set_lifetime(4)
    assert fetch(person, forge).status == 0
    ends = time.time() + 4
    [daemon] = processes_of(person.home, "credential-cache--daemon")
    os.kill(daemon, signal.SIGSTOP)
    try:
        wait_until(ends)
        with Storm(person) as storm:
            storm.start("git", "ls-remote", "-q", forge.repo_url(), "HEAD")
            storm.until(lambda: any(map(is_connected, processes_of(person.home, "git credential-cache "))))
            os.kill(daemon, signal.SIGCONT)
            assert storm.ended() == [right(forge)]
    finally:
        os.kill(daemon, signal.SIGCONT)
    assert refused(forge) == 0
    assert refreshes(forge) == [True]
    assert len(browser.tabs()) == 1


@pytest.mark.slow
def test_a_cache_that_hangs(person: Person, forge: Forge, browser: GentleBrowser) -> None:
    """It is asked for twenty seconds; then git ends too, and does not ask for a password of a forge that is known."""
    person.environment["BROWSER"] = str(browser.opener)
    assert fetch(person, forge).status == 0
    [daemon] = processes_of(person.home, "credential-cache--daemon")
    os.kill(daemon, signal.SIGSTOP)
    try:
        main = ["-c", "credential.helper=", "-c", "credential.helper=forge--main"]
        done = person.git(*main, "credential", "fill", given=f"url={forge.url}\n\n")
    finally:
        os.kill(daemon, signal.SIGCONT)
    assert (done.status, done.out) == (128, "")
    assert done.err.splitlines()[0] == (
        "forge: nothing is kept in memory: git credential-cache did not answer within 20 s"
    )
    assert "could not read" not in done.err


def processes_of(home: Path, words: str) -> list[int]:
    """Those of that home whose command line has these words."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone, or another user's
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if words in line and f"HOME={home}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def is_connected(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return any(os.readlink(each).startswith("socket:") for each in Path(f"/proc/{pid}/fd").iterdir())
    return False


# Disks. (A daemon that was killed, or whose socket is gone: `tests/reliability`.)

ALONE = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")  # so that modes count for root too


def unprivileged(person: Person, forge: Forge) -> Done:
    before = ALONE if os.geteuid() == 0 else ()
    return person.run(*before, "git", "ls-remote", "-q", forge.repo_url(), "HEAD")


@pytest.mark.parametrize("what", ["home", "directory"])
def test_nowhere_to_write(person: Person, forge: Forge, browser: GentleBrowser, what: str) -> None:
    """A home that cannot be written to, or our directory without a way in: each command signs in for itself, and says
    once why."""
    person.environment["BROWSER"] = str(browser.opener)
    where = directory(person)
    if what == "directory":
        where.mkdir(parents=True, exist_ok=True)
    locked, mode = (person.home, 0o500) if what == "home" else (where, 0)
    locked.chmod(mode)
    try:
        for tabs in (1, 2):
            assert unprivileged(person, forge) == right(forge)._replace(
                err=f"forge: nothing is kept in memory: {where}: Permission denied\n"
                f"forge: signing in to {forge.host} in your browser\n{NAMED}"
                f"forge: signed in as alice at {forge.host}, for this command only\n"
            )
            assert len(browser.tabs()) == tabs
    finally:
        locked.chmod(0o700)


def test_another_users_file_in_the_way(person: Person, forge: Forge, browser: GentleBrowser) -> None:
    """Where our socket should be: not asked and not written to, and what is signed in is for this command alone."""
    if os.geteuid() != 0:
        pytest.skip("not here: root, to make another user's file")
    person.environment["BROWSER"] = str(browser.opener)
    where = directory(person)
    where.mkdir(parents=True, exist_ok=True, mode=0o700)
    where.chmod(0o700)
    (where / "socket").write_text("theirs")
    os.chown(where / "socket", 65534, 65534)
    assert fetch(person, forge) == right(forge)._replace(
        err=f"forge: nothing is kept in memory: {where}/socket is in the way, and no socket of yours\n"
        f"forge: signing in to {forge.host} in your browser\n{NAMED}"
        f"forge: signed in as alice at {forge.host}, for this command only\n"
    )
    assert (where / "socket").read_text() == "theirs"
    assert [path.name for path in where.iterdir()] == ["socket"]


_NO_LOCKS = """\
#!{python}
import errno, fcntl, os
from git_credential_forge.start import main

def flock(descriptor, operation):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

fcntl.flock = flock
main()
"""


def test_no_locks(home: Path, installed: Path, tmp_path: Path, forge: Forge, browser: GentleBrowser) -> None:
    """A home on a network that has none: all works, unprotected, and it is said once."""
    own = OwnInstall(tmp_path, installed)
    (own.bin / "git-credential-forge--main").write_text(_NO_LOCKS.format(python=installed / "python"))
    person = Person(home, own.bin, forge, browser.opener)
    assert person.git("credential-forge", "configure").status == 0
    assert fetch(person, forge) == right(forge)._replace(
        err="forge: many gits at once may each sign in or refresh, because they cannot wait for each other here: "
        "No locks available\n"
        f"forge: signing in to {forge.host} in your browser\n{NAMED}"
        f"forge: signed in as alice at {forge.host}{AFTERWARDS}\n"
    )
    assert fetch(person, forge) == right(forge)
    assert len(browser.tabs()) == 1
