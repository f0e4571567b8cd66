"""Openers: which are found, how they are started, and what it means when one fails, hangs, talks or lies."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from git_credential_forge.oauth import browser
from git_credential_forge.oauth.browser import SETTLED, Opener
from tests.support.forge import PASSWORDS
from tests.support.gentle import go, new_client
from tests.support.helper_terminal import HelperOnTerminal
from tests.support.signing_in import NAMED, QUIT, Ended, Program, StandIn, answer_of, asked_for

if TYPE_CHECKING:
    from collections.abc import Iterator

URL = "http://127.0.0.1:4242/a-start_address"


class Desk:
    """A directory of openers that write down what they were given, and a PATH with git and these alone."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.bin = directory / "programs"
        self.log = directory / "log"
        self.bin.mkdir()
        git = shutil.which("git")
        assert git
        (self.bin / "git").symlink_to(git)
        self.log.touch()

    def opener(self, name: str, then: str = "", *, place: Path | None = None) -> Path:
        """One that appends its name and arguments to the log, as JSON, and then runs some shell."""
        path = (place or self.bin) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        note = f"import json,sys; print(json.dumps(sys.argv[1:]), file=open({str(self.log)!r}, 'a'))"
        python = shlex.join([sys.executable, "-S", "-E", "-c", note, name])
        path.write_text(f'#!/bin/sh\n{python} "$@"\n{then}\n')
        path.chmod(0o755)
        return path

    def started(self) -> list[list[str]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    found = Desk(tmp_path)
    monkeypatch.setenv("PATH", str(found.bin))
    monkeypatch.delenv("BROWSER", raising=False)
    return found


@pytest.fixture
def opener() -> Iterator[list[Opener]]:
    """Openers that a test has made; what they started is ended."""
    made: list[Opener] = []
    yield made
    for one in made:
        if one._running:
            one._running.kill()
            one._running.wait()


def open_all(made: list[Opener], times: int = 1) -> None:
    """The first `times` openers, one after the other, each to its end."""
    one = Opener()
    made.append(one)
    for _ in range(times):
        one.next(URL)
        if one._running:
            one._running.wait(20)


# $BROWSER, as a list of commands.


class Entry(NamedTuple):
    browser: str  # D stands for the directory of the programs
    arguments: list[str]


ENTRIES = {
    "a program": Entry("D/a", ["a", URL]),
    "by its name": Entry("a", ["a", URL]),
    "the place of the address": Entry("D/a --new %s --end", ["a", "--new", URL, "--end"]),
    "inside a word": Entry("D/a --url=%s", ["a", f"--url={URL}"]),
    "twice": Entry("D/a %s %s", ["a", URL, URL]),
    "arguments without a place": Entry("D/a --new", ["a", "--new", URL]),
    "double quotes": Entry('D/a "one word" %s', ["a", "one word", URL]),
    "single quotes": Entry("D/a 'one word' %s", ["a", "one word", URL]),
    "a backslash": Entry(r"D/a one\ word %s", ["a", "one word", URL]),
    "a path with a space": Entry('"D/with space/b"', ["b", URL]),
    "the second of a list": Entry("D/absent:D/a", ["a", URL]),
    "empty entries": Entry("::D/a::", ["a", URL]),
    "an entry without end": Entry('"D/a:D/c', ["c", URL]),
    "no shell: a list": Entry("D/a ; D/c", ["a", ";", "D/c", URL]),
    "no shell: substitution": Entry("D/a $(D/c) `D/c` $HOME", ["a", "$(D/c)", "`D/c`", "$HOME", URL]),
    "no shell: redirection": Entry("D/a > D/made", ["a", ">", "D/made", URL]),
    "no file patterns": Entry("D/a D/*", ["a", "D/*", URL]),
    "not executable": Entry("D/plain:D/a", ["a", URL]),
    "a directory": Entry("D:D/a", ["a", URL]),
    "no program in it": Entry("D/text:D/a", ["a", URL]),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_browser_is_a_list_of_commands(
    desk: Desk, opener: list[Opener], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Entries of $BROWSER are words, divided by colons, with a place for the address; no shell reads them."""
    desk.opener("a")
    desk.opener("b", place=desk.bin / "with space")
    desk.opener("c")
    (desk.bin / "plain").write_text("#!/bin/sh\n")
    (desk.bin / "text").write_text("#!/nowhere/at/all\n")
    (desk.bin / "text").chmod(0o755)
    entry = ENTRIES[name]
    monkeypatch.setenv("BROWSER", entry.browser.replace("D", str(desk.bin)))
    open_all(opener)
    assert desk.started() == [[word.replace("D/", f"{desk.bin}/") for word in entry.arguments]]
    assert not (desk.bin / "made").exists()


@pytest.mark.parametrize("browser", ["./evil", "evil", "sub/evil", "../here/evil", " ./evil %s", "evil:./evil", "%s"])
@pytest.mark.parametrize("path", ["P", "", ".", "P:", ":P", ".:P", "sub", "P::."])
def test_nothing_is_started_from_the_current_directory(
    desk: Desk, opener: list[Opener], monkeypatch: pytest.MonkeyPatch, browser: str, path: str
) -> None:
    """git starts helpers in the work tree: what lies there is never started, neither for $BROWSER nor from the PATH
    (CVE-2020-26233 and kin)."""
    here = desk.directory / "here"
    for name in ("evil", "sub/evil", "wslview", "xdg-open", "sub/xdg-open"):
        desk.opener(name.rpartition("/")[2], place=(here / name).parent)
    monkeypatch.chdir(here)
    monkeypatch.setenv("BROWSER", browser)
    monkeypatch.setenv("PATH", path.replace("P", str(desk.bin)))
    open_all(opener)
    assert desk.started() == []
    assert opener[0].exhausted


@pytest.mark.skipif(sys.platform == "darwin", reason="not here: macOS has `open`")
@pytest.mark.parametrize(
    ("programs", "order"),
    [
        (["xdg-open"], ["xdg-open"]),
        (["wslview"], ["wslview"]),
        (["xdg-open", "wslview"], ["wslview", "xdg-open"]),
        (["xdg-open", "mine"], ["mine", "xdg-open"]),
        ([], []),
    ],
)
def test_openers_of_the_machine_in_their_order(
    desk: Desk, opener: list[Opener], monkeypatch: pytest.MonkeyPatch, programs: list[str], order: list[str]
) -> None:
    """$BROWSER first, then wslview, which only a Windows around us has, then xdg-open; each with the address alone."""
    for name in programs:
        desk.opener(name, "exit 3")
    monkeypatch.setenv("BROWSER", "mine")
    open_all(opener, len(order) + 1)
    assert desk.started() == [[name, URL] for name in order]
    assert opener[0].exhausted


# What becomes of one that runs.


def test_one_that_fails(desk: Desk, opener: list[Opener]) -> None:
    """A bad end within the time counts as failed; a good end, and no end yet, do not."""
    desk.opener("wslview", "exit 3")
    desk.opener("xdg-open", "exit 0")
    open_all(opener)
    assert opener[0].failed()
    opener[0].next(URL)
    assert opener[0]._running
    opener[0]._running.wait(20)
    assert not opener[0].failed()
    assert opener[0].settled
    assert not opener[0].exhausted
    assert desk.started() == [["wslview", URL], ["xdg-open", URL]]


def test_one_that_is_killed_has_failed(desk: Desk, opener: list[Opener]) -> None:
    """A death by a signal is a bad end too."""
    desk.opener("xdg-open", "kill -9 $$")
    open_all(opener)
    assert opener[0].failed()


def test_one_that_ends_badly_after_its_time_has_done_its_work(desk: Desk, opener: list[Opener]) -> None:
    """After 2 s an opener may end as it likes: browsers in the foreground return whatever they return."""
    desk.opener("xdg-open", "read line; exit 3")
    started = Opener()
    opener.append(started)
    read, write = os.pipe()
    # The opener reads from /dev/null, so it is the clock that is moved: it was started long ago.
    desk.opener("xdg-open", f"read line < /proc/{os.getpid()}/fd/{read}; exit 3")
    started.next(URL)
    assert not started.failed()
    started._since -= SETTLED + 1
    assert not started.failed()
    assert started.settled
    os.write(write, b"\n")
    assert started._running
    assert started._running.wait(20) == 3
    assert not started.failed()
    os.close(read)
    os.close(write)


# In a whole sign-in.


class Signing:
    """Sign-ins at a stand-in with openers of the desk's, without a display of its own."""

    def __init__(self, desk: Desk, main: Path, environment: dict[str, str], stand_in: StandIn) -> None:
        self.desk = desk
        self.stand_in = stand_in
        self._main = main
        self._environment = environment | {"PATH": str(desk.bin)}

    def start(self, **environment: str) -> Program:
        return Program([self._main, "get"], self._environment | environment, asked_for(self.stand_in.url))

    def on_terminal(self, **environment: str) -> HelperOnTerminal:
        return HelperOnTerminal([self._main, "get"], self._environment | environment, asked_for(self.stand_in.url))

    @property
    def announced(self) -> str:
        return f"forge: signing in to {self.stand_in.host} in your browser\n{NAMED}"

    @property
    def welcome(self) -> str:
        kept = "kept in memory while you work, and two hours more"
        return f"forge: signed in as alice at {self.stand_in.host}, {kept}\n"

    def succeeded(self, ended: Ended) -> bool:
        """To the letter: nothing of an opener's is heard."""
        assert ended.err == self.announced + self.welcome
        answer = answer_of(ended.out)
        assert list(answer) == ["username", "password", "password_expiry_utc"]
        return (ended.status, answer["password"]) == (0, self.stand_in.access_token)


@pytest.fixture
def signing(tmp_path: Path, main: Path, environment: dict[str, str], stand_in: StandIn) -> Signing:
    return Signing(Desk(tmp_path), main, environment, stand_in)


def visiting(follow: bool = True) -> str:
    """Shell that visits "$1" as a browser does; without `follow` only the start address, whose target it prints."""
    script = (
        "import sys, urllib.request as u\n"
        + ("" if follow else "u.HTTPRedirectHandler.redirect_request = lambda *_: None\n")
        + "try: u.urlopen(sys.argv[1], timeout=20)\n"
        "except u.HTTPError as e: print(e.headers['Location'])\n"
    )
    return shlex.join([sys.executable, "-S", "-E", "-c", script]) + ' "$1"'


def test_a_failing_opener_gives_way(signing: Signing) -> None:
    """One that exits 3 gives way to the next, which gets an address of its own."""
    failing = signing.desk.opener("failing", "exit 3")
    working = signing.desk.opener("working", visiting())
    with signing.start(BROWSER=f"{failing}:{working}") as program:
        assert signing.succeeded(program.ended())
    (first, one), (second, another) = signing.desk.started()
    assert (first, second) == ("failing", "working")
    assert one != another


@pytest.mark.skipif(sys.platform == "darwin", reason="not here: macOS has `open`")
@pytest.mark.parametrize("display", ["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME", "BROWSER"])
def test_openers_on_the_path_where_a_browser_can_be(signing: Signing, display: str) -> None:
    """With a display, inside Windows, or behind a $BROWSER that fails, the PATH's openers are tried in turn."""
    signing.desk.opener("wslview", "exit 1")
    signing.desk.opener("xdg-open", visiting())
    with signing.start(**{display: "/nowhere" if display == "BROWSER" else ":0"}) as program:
        assert signing.succeeded(program.ended())
    assert [name for name, _ in signing.desk.started()] == ["wslview", "xdg-open"]


class Place(NamedTuple):
    environment: dict[str, str]
    program: str
    arguments: list[str]  # "URL" stands for the address
    unwrap: str = ""  # shell that makes the address the first argument


FAR = {"SSH_CONNECTION": "a 1 b 2", "VSCODE_IPC_HOOK_CLI": "/run/user/1000/x.sock"}
BUS = {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/user/1000/bus"}
START = ["-NoProfile", "-NonInteractive", "-Command", "Start-Process 'URL'"]
UNQUOTE = 'shift 3; set -- "${1#*\\\'}"; set -- "${1%\\\'}"'
PLACES = {
    "VS Code by SSH": Place({**FAR, "BROWSER": "D/browser.sh"}, "browser.sh", ["URL"]),
    "a dev container": Place({"REMOTE_CONTAINERS": "true", "BROWSER": "D/browser.sh"}, "browser.sh", ["URL"]),
    "Codespaces": Place({"CODESPACES": "true", **FAR, "BROWSER": "D/browser.sh"}, "browser.sh", ["URL"]),
    "Codespaces, as it was": Place({"BROWSER": "D/code --openExternal"}, "code", ["--openExternal", "URL"], "shift"),
    "VS Code by SSH, no $BROWSER": Place(FAR, "code", ["--openExternal", "URL"], "shift"),
    "its other edition": Place(FAR, "code-insiders", ["--openExternal", "URL"], "shift"),
    "WSL": Place({"WSL_DISTRO_NAME": "Debian"}, "wslview", ["URL"]),
    "WSL without wslu": Place({"WSL_INTEROP": "/run/WSL/1_interop"}, "powershell.exe", START, UNQUOTE),
    "WSL with a display": Place({"WSL_DISTRO_NAME": "x", "DISPLAY": ":0"}, "powershell.exe", START, UNQUOTE),
    "Flatpak": Place({"FLATPAK_ID": "com.example.Editor", **BUS}, "xdg-open", ["URL"]),
    "Snap": Place({"SNAP_NAME": "editor", **BUS}, "xdg-open", ["URL"]),
}


@pytest.mark.skipif(sys.platform == "darwin", reason="not here: macOS has `open`")
@pytest.mark.parametrize("name", PLACES)
def test_each_place_has_its_opener(signing: Signing, name: str) -> None:
    """What opens a browser there is the only thing that is started, with these arguments; what lies on the PATH beside
    it, `cmd.exe` and `explorer.exe` among it, is not."""
    place = PLACES[name]
    for other in ("cmd.exe", "explorer.exe", "cmd", "rundll32.exe", "sensible-browser", "firefox"):
        signing.desk.opener(other)
    if place.program != "xdg-open":
        signing.desk.opener("xdg-open")
    signing.desk.opener(place.program, f"{place.unwrap}\n{visiting()}")
    environment = {key: value.replace("D/", f"{signing.desk.bin}/") for key, value in place.environment.items()}
    with signing.start(**environment) as program:
        assert signing.succeeded(program.ended())
    [[started, *arguments]] = signing.desk.started()
    assert started == place.program
    url = arguments[-1].removeprefix("Start-Process '").removesuffix("'")
    assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+/[A-Za-z0-9_-]{43}", url), "no quote, no `&`, no `%`"
    assert arguments == [word.replace("URL", url) for word in place.arguments]


def test_macos(desk: Desk, opener: list[Opener], monkeypatch: pytest.MonkeyPatch) -> None:
    """There it is `open`, and nothing of the others."""
    monkeypatch.setattr(sys, "platform", "darwin")
    for name in ("open", "xdg-open", "wslview"):
        desk.opener(name, "exit 1")
    open_all(opener, 2)
    assert desk.started() == [["open", URL]]
    assert opener[0].exhausted


def test_powershell_where_windows_has_it(
    desk: Desk, opener: list[Opener], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also where the PATH of Windows is not appended to ours."""
    there = desk.opener("powershell.exe", place=tmp_path / "Windows")
    monkeypatch.setattr(browser, "POWERSHELL", str(there))
    open_all(opener)
    assert desk.started() == [], "outside Windows it is not looked for"
    monkeypatch.setenv("WSL_DISTRO_NAME", "Debian")
    one = Opener()
    opener.append(one)
    one.next("https://forge.example/login/device")
    assert one._running
    one._running.wait(20)
    command = "Start-Process 'https://forge.example/login/device'"
    assert desk.started() == [["powershell.exe", "-NoProfile", "-NonInteractive", "-Command", command]]


@pytest.mark.parametrize(
    "more", ["$(calc)", "?a=';calc;'", "?a=1&calc", "(calc)", "\x1b", " calc", "\\calc", '"', "`calc`"]
)
def test_an_address_that_a_shell_could_run(
    desk: Desk, opener: list[Opener], monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    """An opener may be a shell, or lead to one: a server's address with more in it is not opened, the person has it."""
    monkeypatch.setenv("BROWSER", str(desk.opener("one")))
    one = Opener()
    opener.append(one)
    one.next(f"https://forge.example/login/device{more}")
    assert (one.exhausted, one._running, desk.started()) == (True, None, [])


@pytest.mark.parametrize("address", ["file:///etc/passwd", "javascript:alert(1)", "ssh://a/b", "-h", "https:a.b"])
def test_nothing_but_http(desk: Desk, opener: list[Opener], monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("BROWSER", str(desk.opener("one")))
    one = Opener()
    opener.append(one)
    one.next(address)
    assert (one.exhausted, desk.started()) == (True, [])


@pytest.mark.skipif(os.geteuid() != 0, reason="not here: root, for whom sudo is")
def test_sudo(signing: Signing, environment: dict[str, str]) -> None:
    """`sudo git` in somebody's home opens nothing, says nothing of a sign-in, and writes nothing there."""
    home = environment["HOME"]
    signing.desk.opener("xdg-open", visiting())
    os.chown(home, 1000, 1000)
    before = {str(path) for path in Path(home).rglob("*")}
    with signing.start(SUDO_USER="alice", SUDO_UID="1000", DISPLAY=":0", BROWSER="xdg-open") as program:
        ended = program.ended()
    assert (ended.status, ended.out, ended.err) == (0, "", "")
    assert signing.desk.started() == []
    assert {str(path) for path in Path(home).rglob("*")} == before


def test_a_hanging_opener_is_left_alone(signing: Signing) -> None:
    """One that does not end is neither waited for nor killed, and no second one is started beside it; it holds none
    of our pipes."""
    (signing.desk.bin / "python").symlink_to(sys.executable)
    hang = shlex.join([sys.executable, "-S", "-E", "-c", "import time; time.sleep(60)"])
    hanging = signing.desk.opener("hanging", f"{visiting()}\necho $$ > {signing.desk.directory}/pid\nexec {hang}")
    second = signing.desk.opener("second")
    with signing.start(BROWSER=f"{hanging}:{second}") as program:
        ended = program.ended(15)
    assert signing.succeeded(ended)
    assert [name for name, _ in signing.desk.started()] == ["hanging"]
    pid = int(_written(signing.desk.directory / "pid"))
    try:
        os.kill(pid, 0)
        assert os.getsid(pid) == pid
    finally:
        os.kill(pid, 9)


def _written(path: Path) -> str:
    """What a process writes to a file in the end; it may still be about to."""
    import time

    deadline = time.monotonic() + 10
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < deadline, f"{path} was not written"
        time.sleep(0.01)
    return path.read_text()


def test_a_hanging_opener_that_has_not_opened_anything(signing: Signing) -> None:
    """One that hangs before it has opened anything may still be at it (a slow browser): it keeps its turn beyond the
    2 s, until the deadline."""
    seconds = int(SETTLED) + 1
    git = signing.desk.directory / "gitconfig"
    git.write_text(f"[credential]\n\tforgeSignInTimeout = {seconds}\n")
    hang = shlex.join([sys.executable, "-S", "-E", "-c", "import time; time.sleep(60)"])
    hanging = signing.desk.opener("hanging", f"echo $$ > {signing.desk.directory}/pid\nexec {hang}")
    second = signing.desk.opener("second")
    with signing.start(BROWSER=f"{hanging}:{second}", GIT_CONFIG_GLOBAL=str(git)) as program:
        ended = program.ended(15)
    os.kill(int(_written(signing.desk.directory / "pid")), 9)
    late = f"forge: not signed in to {signing.stand_in.host}: nobody answered within {seconds} s\n"
    assert (ended.status, ended.out, ended.err) == (0, QUIT, signing.announced + late)
    assert [name for name, _ in signing.desk.started()] == ["hanging"]


def test_a_talking_opener_is_not_heard(signing: Signing) -> None:
    """What an opener prints reaches neither git nor the terminal, and it can read nothing of ours."""
    talking = signing.desk.opener(
        "talking",
        f'echo password=evil\necho quit=1 >&2\n[ -z "$(cat)" ] || echo heard >> {signing.desk.log}\n{visiting()}',
    )
    with signing.start(BROWSER=str(talking)) as program:
        assert signing.succeeded(program.ended())
    assert [name for name, _ in signing.desk.started()] == ["talking"]


def test_an_opener_sees_no_secret_of_the_sign_in(signing: Signing) -> None:
    """Neither state nor challenge stands in an opener's arguments: it gets the start address, without & and =."""
    working = signing.desk.opener("working", visiting())
    with signing.start(BROWSER=str(working)) as program:
        assert signing.succeeded(program.ended())
    [[_, address]] = signing.desk.started()
    [sent] = signing.stand_in.authorizations()
    assert not {"&", "=", "?"} & set(address)
    assert sent["state"] not in address
    assert sent["code_challenge"] not in address


def test_one_that_fails_after_its_visit_is_not_followed_by_another(signing: Signing) -> None:
    """Once a browser has come to the start address, the opener's exit status means nothing: no second tab."""
    target = signing.desk.directory / "target"
    lying = signing.desk.opener("lying", f"{visiting(follow=False)} > {target}.part\nmv {target}.part {target}\nexit 3")
    (signing.desk.bin / "mv").symlink_to(shutil.which("mv") or "/bin/mv")
    second = signing.desk.opener("second", visiting())
    with signing.start(BROWSER=f"{lying}:{second}") as program:
        address = _written(target).strip()
        # A person takes longer than an opener: four looks of the program's, at least.
        with pytest.raises(Exception, match="timed out"):
            program.process.wait(0.5)
        with new_client() as client:
            ending = go(client, address, "alice", PASSWORDS["alice"])
        ended = program.ended()
    assert "Signed in to" in ending.text
    assert signing.succeeded(ended)
    assert [name for name, _ in signing.desk.started()] == ["lying"]


def test_with_every_opener_failed_and_no_terminal(signing: Signing) -> None:
    """The end of the list without a terminal: one line that says what to type, and no password prompt of git's."""
    failing = signing.desk.opener("failing", "exit 3")
    with signing.start(BROWSER=str(failing)) as program:
        ended = program.ended()
    host, url = signing.stand_in.host, signing.stand_in.url
    assert (ended.status, ended.out) == (0, QUIT)
    assert ended.err == (
        f"{signing.announced}forge: not signed in to {host}: no browser can be opened here, and no terminal is there "
        f"to ask on\nforge: run: git credential-forge login {url}\n"
    )


def test_with_every_opener_failed_it_is_the_terminal_s_turn(signing: Signing) -> None:
    """The end of the list with a terminal: paste goes on, with one line that says so."""
    failing = signing.desk.opener("failing", "exit 3")
    with signing.on_terminal(BROWSER=str(failing)) as program:
        found = program.wait_for(r"open (http\S+) anywhere")
        program.wait_until_said("no browser could be opened here\n")
        with new_client() as client:
            ending = go(client, found[1], "alice", PASSWORDS["alice"])
        ended = program.ended()
    assert "Signed in to" in ending.text
    assert ended.err == f"{signing.announced}forge: no browser could be opened here\n{signing.welcome}"
    assert answer_of(ended.out)["password"] == signing.stand_in.access_token
