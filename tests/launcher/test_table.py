"""One table of requests through the launcher and through Python: what they say, and what they leave, is the same."""

from __future__ import annotations

import base64
import os
import re
import select
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import trustme

from tests.support.httpserver import Answer, HttpServer, Request
from tests.support.memory import Memory, lines, save, sign_in
from tests.support.surroundings import clean_environment

if TYPE_CHECKING:
    from typing_extensions import Self

pytestmark = pytest.mark.timeout(400)  # a hundred programs each, on a machine that may be busy

HIDDEN = "git-credential-forge.invalid"
HOSTS = [
    *(
        ("https", host)
        for host in ("example.com", "EXAMPLE.com", "example.com:443", "example.com:8443", "example.com.")
    ),
    *(("https", host) for host in ("other.example", "[2001:db8::1]", "a/b", "", "x y", "odd_name")),
    *(("http", host) for host in ("example.com", "example.com:80", "other.example")),
    *(("smtp", "mail.example"), ("imap", "mail.example:993"), ("cert", ""), ("HTTPS", "example.com")),
    *(("https", f"{name}.{HIDDEN}") for name in ("example.com", "example.com.8443", "example.com.http")),
    *(("https", host) for host in (HIDDEN, f"EXAMPLE.com.{HIDDEN}", f"example.com.{HIDDEN}.", f"new.{HIDDEN}")),
]
USERS = ["alice", "Alice", "bob", "carol", "dave", "erin", "oauth2", "git", "x-token-auth", "", "a\\b'$(id)\"`id` c"]
PATHS = ["", "a.git", "b.git", "forge", "forge/a.git"]
HOST, OTHER = ("protocol=https", "host=example.com"), ("protocol=https", "host=other.example")
DAVE, ALICE, CAROL = (
    ("username=dave", "password=pw"),
    ("username=alice", "password=token-of-alice"),
    ("username=carol",),
)
CONTROL = ["\x01", "\t", "\r", "\x1b", "\x7f", "\x85"]
ADDED = {"\t": "tab", "\r": "carriage return"}
LONG = 200_000


# -- the requests -----------------------------------------------------------------------------------------


Table = Callable[[], Iterator[tuple[str, bytes]]]


def _plain() -> Iterator[tuple[str, bytes]]:
    """What git sends, day by day: the launcher knows most of these."""
    yield "hit", lines(*HOST)
    yield "other host", lines(*OTHER)
    yield "unknown host", lines("protocol=https", "host=unknown.example")
    yield "http", lines("protocol=http", "host=example.com")
    yield "path", lines(*HOST, "path=a.git")
    yield "another path", lines(*HOST, "path=b.git")
    yield "host in capitals", lines("protocol=https", "host=EXAMPLE.com")
    yield "host with its own port", lines("protocol=https", "host=example.com:443")
    yield "http host with its own port", lines("protocol=http", "host=example.com:80")
    yield "path of a forge", lines(*HOST, "path=forge/a.git")
    for name in ("alice", "Alice", "bob", "carol", "erin", "nobody", "oauth2", "git", "x-token-auth", "OAuth2"):
        yield f"username {name}", lines(*HOST, f"username={name}")
    yield "carol and path", lines(*HOST, *CAROL, "path=a.git")
    yield "carol and another path", lines(*HOST, *CAROL, "path=b.git")
    yield "capabilities", lines("capability[]=authtype", "capability[]=state", *HOST, 'wwwauth[]=Basic realm="Gitea"')
    yield "capabilities at the end", lines(*HOST, "capability[]=state", "capability[]=authtype")
    yield "capability state", lines("capability[]=state", *HOST)
    yield "capability authtype", lines("capability[]=authtype", *OTHER)
    yield "our token", lines(*HOST, *ALICE)
    yield "our token and path", lines(*HOST, *ALICE, "path=a.git")
    yield "our token, expiry, refresh", lines(*HOST, *ALICE, "password_expiry_utc=4102444800", "oauth_refresh_token=r")
    yield "our token, other spelling", lines(*HOST, "username=ALICE", "password=token-of-alice")
    yield "an older token of ours", lines(*HOST, "username=alice", "password=old")
    yield "our token as oauth2", lines(*HOST, "username=oauth2", "password=token-of-alice")
    yield "bob's token", lines(*HOST, "username=bob", "password=token-of-bob")
    yield "alice's token as bob's", lines(*HOST, "username=bob", "password=token-of-alice")
    yield "carol's password", lines(*HOST, *CAROL, "password=carols")
    yield "carol's password, same path", lines(*HOST, *CAROL, "password=carols", "path=a.git")
    yield "carol's password, another path", lines(*HOST, *CAROL, "password=carols", "path=b.git")
    yield "foreign, stored again", lines(*OTHER, *DAVE)
    yield "foreign, another password", lines(*OTHER, "username=dave", "password=new")
    yield "new foreign", lines(*OTHER, "username=erin", "password=new", "path=a.git", "password_expiry_utc=4102444800")
    yield "our state", lines("capability[]=state", *HOST, *ALICE, "state[]=forge:4102444800")
    yield "our state, unknown host", lines(*OTHER, "username=erin", "password=x", "state[]=forge:1")


def _odd() -> Iterator[tuple[str, bytes]]:
    """What git does not send every day, and what it never sends: mostly for Python, by the launcher's own word."""
    yield "nothing", b""
    yield "blank line", b"\n"
    yield "more behind the blank line", lines(*OTHER) + lines(*HOST, *ALICE)
    yield "no blank line", b"protocol=https\nhost=example.com\n"
    yield "no line end", b"protocol=https\nhost=example.com"
    yield "no line end, password", b"protocol=https\nhost=example.com\nusername=alice\npassword=token-of-alice"
    yield "no equals sign", lines(*HOST, "username")
    yield "no equals sign at first", lines("get", *HOST)
    yield "an empty key", lines(*HOST, "=alice")
    yield "space before the key", lines(" protocol=https", "host=example.com")
    yield "space behind the value", lines("protocol=https", "host=example.com ")
    yield "CRLF", lines(*HOST, *ALICE).replace(b"\n", b"\r\n")
    yield "no protocol", lines("host=example.com", *ALICE)
    yield "no host", lines("protocol=https", *ALICE)
    yield "no host, no password", lines("protocol=https")
    yield "empty protocol", lines("protocol=", "host=example.com", *ALICE)
    yield "url", lines("url=https://example.com/", *ALICE)
    yield "url behind", lines(*OTHER, f"url=https://example.com.{HIDDEN}/")
    for kind in (("smtp", "mail.example"), ("imap", "mail.example:993"), ("cert", ""), ("HTTPS", "example.com")):
        yield f"{kind[0]} without", lines(f"protocol={kind[0]}", f"host={kind[1]}")
        yield f"{kind[0]} with", lines(f"protocol={kind[0]}", f"host={kind[1]}", "username=alice", "password=m")
    for host in (
        *("EXAMPLE.com", "example.com:443", "example.com:8443", "example.com.", "example.com:", "example.com:0"),
        *("example.com:99999", "[2001:db8::1]", "[::1", "a/b", "example.com/x", "x y", "", "alice@example.com", "*"),
        *("odd_name", "exämple.com", "-", "..", "../account-https-example.com"),
    ):
        yield f"host {host!r}", lines("protocol=https", f"host={host}")
        yield f"host {host!r}, named", lines("protocol=https", f"host={host}", *ALICE)
    yield "http, own port", lines("protocol=http", "host=example.com:80")


def _odd_keys() -> Iterator[tuple[str, bytes]]:
    """Keys with brackets and without, values that are empty, said twice, or long."""
    for value in ("authtype", "state", "", "other", "state ", "STATE"):
        yield f"capability {value!r}", lines(f"capability[]={value}", *HOST)
    yield "capability taken back", lines("capability[]=state", "capability[]=", *HOST)
    yield "capability twice", lines("capability[]=authtype", "capability[]=authtype", *OTHER)
    yield "capability without brackets", lines("capability=state", *HOST)
    yield "state of others", lines(*HOST, *ALICE, "state[]=other:1")
    yield "state of others first", lines(*HOST, *ALICE, "state[]=other:1", "state[]=forge:1")
    yield "state taken back", lines(*HOST, *CAROL, "password=new", "state[]=forge:1", "state[]=")
    yield (
        "state taken back and ours",
        lines(*HOST, *CAROL, "password=new", "state[]=forge:1", "state[]=", "state[]=forge:2"),
    )
    yield "state, almost ours", lines(*HOST, *CAROL, "password=new", "state[]=forge")
    yield "state without brackets", lines(*HOST, *CAROL, "password=new", "state=forge:1")
    yield "state without username", lines(*HOST, "state[]=forge:1")
    yield "state, smtp", lines("protocol=smtp", "host=mail.example", "username=erin", "password=p", "state[]=forge:1")
    for value in ("Negotiate", "negotiate abc", "Basic, Negotiate", "NTLM"):
        yield (
            f"wwwauth {value}",
            lines("capability[]=state", *HOST, f"wwwauth[]={value}", 'wwwauth[]=Basic realm="Gitea"'),
        )
    for value in ("1", "0", ""):
        yield f"continue {value!r}", lines("capability[]=state", *HOST, f"continue={value}")
    yield "wwwauth taken back", lines(*HOST, "wwwauth[]=Basic", "wwwauth[]=")
    yield "username empty", lines(*HOST, "username=")
    yield "username empty, foreign", lines(*OTHER, "username=", "password=x")
    yield "username odd", lines(*OTHER, f"username={USERS[-1]}", "password=\\n$(id)'\"`id` ")
    yield "password empty", lines(*OTHER, "username=erin", "password=")
    yield "password with equals signs", lines(*OTHER, "username=erin", "password=a=b==")
    yield "no username", lines(*OTHER, "password=new")
    yield "password alone", lines(*HOST, "password=token-of-alice")
    yield "path empty", lines(*HOST, "path=")
    yield "path empty, foreign", lines(*OTHER, *DAVE, "path=")
    yield "authtype", lines("capability[]=authtype", *OTHER, "authtype=Bearer", "credential=c", "username=erin")
    yield (
        "authtype, ephemeral",
        lines("capability[]=authtype", *OTHER, "authtype=Bearer", "credential=c", "ephemeral=1"),
    )
    yield "expiry in the past", lines(*OTHER, "username=erin", "password=x", "password_expiry_utc=1")
    yield "expiry no number", lines(*OTHER, "username=erin", "password=x", "password_expiry_utc=soon")
    yield "unknown key", lines(*HOST, "unknown=1", *ALICE)
    yield "unknown array", lines(*HOST, "unknown[]=1")
    yield "quit", lines("quit=1", *HOST)
    yield "not UTF-8", b"protocol=https\nhost=other.example\nusername=\xff\xfe\npassword=\xe9\n\n"


def _odd_lengths() -> Iterator[tuple[str, bytes]]:
    """What is said twice, and what is long."""
    for key, same, another in (
        *(("protocol", "https", "http"), ("host", "example.com", "other.example"), ("username", "alice", "bob")),
        *(("path", "a.git", "b.git"), ("password", "token-of-alice", "x"), ("password_expiry_utc", "9", "8")),
    ):
        rest = [line for line in (*HOST, *ALICE) if not line.startswith(f"{key}=")]
        yield f"{key} twice", lines(*rest, f"{key}={same}", f"{key}={same}")
        yield f"{key} twice, different", lines(*rest, f"{key}={same}", f"{key}={another}")
        yield f"{key} twice, empty at first", lines(*rest, f"{key}=", f"{key}={same}")
    for length in (65_535, 65_536, 70_000):
        yield f"wwwauth of {length}", lines(*HOST, "wwwauth[]=" + "x" * (length - 10))
        yield f"path of {length}", lines(*HOST, *CAROL, "path=" + "x" * (length - 5))
        yield f"unknown of {length}", lines(*OTHER, *DAVE, "unknown=" + "x" * (length - 8))
    yield "wwwauth of 66,000 bytes, not characters", lines(*HOST, "wwwauth[]=" + "é" * 33_000)
    yield "password of 200 kB", lines(*OTHER, "username=erin", "password=" + "t" * LONG)
    yield "password of 2 MB", lines(*OTHER, "username=erin", "password=" + "t" * (2 << 20))


def _control() -> Iterator[tuple[str, bytes]]:
    """Control bytes in each key, for what we sign in to and for what we pass through."""
    for character in CONTROL:
        for key in ("host", "path", "username", "password", "unknown", "wwwauth[]"):
            for place in (("protocol=https", "host=example.com"), ("protocol=smtp", "host=mail.example")):
                rest = [line for line in (*place, *ALICE) if not line.startswith(f"{key}=")]
                name = f"{ADDED.get(character, repr(character))} in {key}, {place[0]}"
                yield name, lines(*rest, f"{key}=ali{character}ce")


def _hidden() -> Iterator[tuple[str, bytes]]:
    """The hosts that sessions are kept under, however they are spelt."""
    for name in (
        *(f"example.com.{HIDDEN}", f"EXAMPLE.COM.{HIDDEN.upper()}", f"Example.com.{HIDDEN.title()}", HIDDEN),
        *(f"example.com.{HIDDEN}.", f"example.com.{HIDDEN}..", f"example.com.{HIDDEN}:443", f"new.{HIDDEN}:8443"),
        *(f"example.com.{HIDDEN}.:443", f"alice@example.com.{HIDDEN}", f"alice:x@example.com.{HIDDEN}:443"),
        *(f"example.com.8443.{HIDDEN}", f"example.com.http.{HIDDEN}", f"new.{HIDDEN}", f".{HIDDEN}"),
    ):
        where = ("protocol=https", f"host={name}")
        yield name, lines("capability[]=authtype", "capability[]=state", *where)
        yield f"{name}, alice", lines(*where, "username=alice")
        yield f"{name}, alice and password", lines(*where, *ALICE, "path=forge")
        yield f"http {name}", lines("protocol=http", f"host={name}", *ALICE)
        yield f"smtp {name}", lines("protocol=smtp", f"host={name}", *ALICE)


# -- the states -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class State:
    """What is held before a request: entries of the cache, and files of names with their times."""

    entries: tuple[bytes, ...] = ()
    files: dict[str, tuple[bytes, float]] = field(default_factory=dict)
    socket_gone: bool = False


NAMES = "account-https-example.com"
FOREIGN = (
    lines(*OTHER, *DAVE),
    lines(*HOST, *CAROL, "path=a.git", "password=carols"),
    lines("protocol=smtp", "host=mail.example", "username=alice", "password=m"),
    lines("protocol=cert", "host=", "username=alice", "password=c"),
    lines("protocol=http", "host=example.com", "username=erin", "password=h"),
)
# Another spelling of the same origin, and of the same account: stored before the sign-in.
SPELLINGS = (
    lines("protocol=https", "host=EXAMPLE.com", "username=erin", "password=upper"),
    lines("protocol=https", "host=example.com:443", "username=erin", "password=port"),
    lines(*HOST, "username=Alice", "password=capital"),
    lines("protocol=http", "host=example.com:80", "username=erin", "password=http port"),
)


def _with_names(state: State, content: bytes, at: float | None = None) -> State:
    return replace(state, files={NAMES: (content, at or time.time() + 3000)})


@pytest.fixture(scope="module")
def states(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, State]:
    """The starting states, as the vault makes them; made once, and put up again for each comparison."""
    expiry = int(time.time()) + 3600
    alice, bob = sign_in(expiry=expiry), sign_in(account="bob", expiry=expiry + 1)
    port = sign_in(host="example.com:8443", expiry=expiry + 2)
    below = [sign_in(base="/forge", expiry=expiry), sign_in(account="bob", base="/forge/two", expiry=expiry)]

    def made(*sign_ins: dict[str, object], with_: tuple[bytes, ...] = ()) -> State:
        return _taken(installed, clean_environment(tmp_path_factory.mktemp("state")), with_, sign_ins)

    one, two = made(alice), made(alice, bob, port, with_=FOREIGN)
    names, _ = two.files[NAMES]
    ended = re.sub(rb"(?m)^[0-9]+\t", b"%d\t" % (expiry - 7200), one.files[NAMES][0])
    return {
        "nothing": State(),
        "foreign": State(FOREIGN),
        "one": one,
        "two": two,
        "other spellings": made(alice, with_=SPELLINGS),
        "answer ended": State(
            tuple(entry for entry in one.entries if HIDDEN.encode() in entry), {NAMES: (ended, expiry - 7200)}
        ),
        "below a path": made(*below, with_=FOREIGN),
        "below a path and above": made(*below, bob, with_=FOREIGN),
        "due": _with_names(two, names, time.time() - 1),
        "no names": _with_names(two, b""),
        "names without line end": _with_names(two, b"alice"),
        "names: garbage": _with_names(two, b"\xff\x00\x80garbage\nmore\n\n\t\t\t\n"),
        "names: cut": _with_names(two, names[: len(names) - 9]),
        "socket gone": replace(two, socket_gone=True),
    }


def _taken(
    installed: Path, environment: dict[str, str], foreign: tuple[bytes, ...], sign_ins: tuple[dict[str, object], ...]
) -> State:
    memory = Memory(environment)
    try:
        memory.store(*foreign)
        save(installed, environment, *sign_ins)
        entries = []
        for protocol, host in HOSTS:
            for user in ("alice", "bob") if sign_ins else ():
                for path in ("", "forge", "forge/two"):
                    where = [
                        f"protocol={protocol}",
                        f"host={host}",
                        f"username={user}",
                        *([f"path={path}"] if path else []),
                    ]
                    request = lines(*where)
                    answer = memory.ask(request)
                    if answer and request[:-1] + answer.split(b"\n", 1)[1] not in foreign:
                        entries.append(request[:-1] + answer.split(b"\n", 1)[1])
        files = {file.name: (file.read_bytes(), file.stat().st_mtime) for file in memory.directory.glob("account-*")}
    finally:
        memory.end()
    return State((*foreign, *dict.fromkeys(entries)), files)


# -- two worlds -------------------------------------------------------------------------------------------


class World:
    """One home in a state, and one program that is asked there."""

    def __init__(self, home: Path, program: Path, state: State) -> None:
        self.environment = clean_environment(home, GIT_TERMINAL_PROMPT="0")
        self.memory = Memory(self.environment)
        self._program = str(program)
        self._state = state
        self._aside = home / "aside"

    def put_up(self) -> None:
        if self._state.socket_gone or not self._state.entries or not self.memory.socket.exists():
            self.take_down()
        self.memory.empty(HOSTS)
        self.memory.store(*self._state.entries)
        self.memory.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for file in self.memory.directory.iterdir():
            if file != self.memory.socket:
                file.unlink()
        for name, (content, at) in self._state.files.items():
            (self.memory.directory / name).write_bytes(content)
            os.utime(self.memory.directory / name, (at, at))
        if self._state.socket_gone:
            self.memory.socket.rename(self._aside)

    def take_down(self) -> None:
        if self._aside.exists():  # two daemons, if one was started in place of the one that is not found
            self.memory.end()
            self._aside.rename(self.memory.socket)
        self.memory.end()
        shutil.rmtree(self.memory.directory, ignore_errors=True)

    def run(self, operation: str, request: bytes) -> tuple[int, bytes]:
        done = subprocess.run(
            [self._program, operation],
            input=request,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=60,
        )
        return done.returncode, done.stdout

    def held(self) -> tuple[dict[str, bytes], dict[str, list[bytes]]]:
        """The cache's contents; and of each file of names all but the times, which are the moment's."""
        names = {
            file.name: [re.sub(rb"^\d+\t\d+\t", b"", line) for line in file.read_bytes().split(b"\n")]
            for file in self.memory.directory.glob("account-*")
        }
        return self.memory.dump(HOSTS, USERS, PATHS), names


@pytest.fixture
def worlds(installed: Path, home: Path, states: dict[str, State], state: str) -> Iterator[tuple[World, World]]:
    """The same state twice: for the launcher, and for Python."""
    both = (
        World(home / "shell", installed / "git-credential-forge", states[state]),
        World(home / "python", installed / "git-credential-forge--main", states[state]),
    )
    try:
        yield both
    finally:
        for world in both:
            world.take_down()


def _differences(worlds: tuple[World, World], operation: str, requests: list[tuple[str, bytes]]) -> list[str]:
    """For each request that they do not treat alike: its name, and what each did."""
    shell, python = worlds
    found, held, before = [], None, None
    for name, request in requests:
        if before is None or held != (before, before):
            for world in worlds:
                world.put_up()
            before = python.held()
            assert shell.held() == before, "the starting states are not the same"
        said = shell.run(operation, request), python.run(operation, request)
        held = shell.held(), python.held()
        if said[0] != said[1]:
            found.append(f"{operation}, {name}: launcher {_short(said[0])}, Python {_short(said[1])}")
        if held[0] != held[1]:
            news = [_news(after, before) for after in held]
            found.append(f"{operation}, {name}: left by the launcher {news[0]}, by Python {news[1]}")
    return found


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 300 else f"{text[:200]}… ({len(text)})"


def _news(after: tuple[dict[str, bytes], object], before: tuple[dict[str, bytes], object]) -> str:
    gone = before[0].keys() - after[0].keys()
    new = {key: value for key, value in after[0].items() if before[0].get(key) != value}
    return _short(f"gone {sorted(gone)}, new {new}, names {after[1] if after[1] != before[1] else 'as before'}")


STATES = (
    "two",
    *(
        pytest.param(state, marks=pytest.mark.slow)
        for state in (
            *("nothing", "foreign", "one", "answer ended"),
            *("other spellings", "below a path", "below a path and above", "due"),
        )
    ),
)
DAMAGED = (
    *("names: garbage", "socket gone"),
    *(pytest.param(state, marks=pytest.mark.slow) for state in ("no names", "names without line end", "names: cut")),
)
FEW = ("hit", "path", "username bob", "username carol", "username oauth2", "capabilities", "our token", "bob's token")


def _few() -> Iterator[tuple[str, bytes]]:
    return (pair for pair in _plain() if pair[0] in FEW)


@pytest.mark.parametrize("operation", ["get", "store", "erase"])
@pytest.mark.parametrize("state", STATES)
def test_what_git_sends_is_answered_alike(worlds: tuple[World, World], operation: str) -> None:
    """Launcher and Python say and leave the same, byte for byte, in every state."""
    differences = _differences(worlds, operation, list(_plain()))
    assert not differences, "\n".join(differences)


@pytest.mark.parametrize("operation", ["get", "store", "erase"])
@pytest.mark.parametrize("state", DAMAGED)
def test_what_is_damaged_is_treated_alike(worlds: tuple[World, World], operation: str) -> None:
    """Without the socket, with a file of names that is none: launcher and Python still do the same."""
    differences = _differences(worlds, operation, list(_few()))
    assert not differences, "\n".join(differences)


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["get", "store", "erase"])
@pytest.mark.parametrize("state", ["two"])
@pytest.mark.parametrize("table", [_odd, _odd_keys, _odd_lengths, _control, _hidden])
def test_what_is_odd_is_answered_alike(worlds: tuple[World, World], operation: str, table: Table) -> None:
    """Whatever comes on standard input: launcher and Python say and leave the same, byte for byte."""
    differences = _differences(worlds, operation, list(table()))
    assert not differences, "\n".join(differences)


@pytest.mark.parametrize("state", ["two"])
@pytest.mark.parametrize("table", [_few, *(pytest.param(table, marks=pytest.mark.slow) for table in (_plain, _hidden))])
def test_a_nul_gives_nothing_that_the_rest_would_not_give(worlds: tuple[World, World], table: Table) -> None:
    """A shell's `read` drops NUL bytes (docs/decisions.md), so the launcher is asked without them, and cannot know.
    It prints nothing that Python, which refuses every NUL, would not print for the request without it."""
    shell, python = worlds
    for world in worlds:
        world.put_up()
    before = shell.held()
    for _, request in table():
        for place in (len(b"protocol=ht"), request.find(b"host=") + 9, len(request) - 2):
            with_nul = request[:place] + b"\0" + request[place:]
            assert shell.run("get", with_nul)[1] in (b"", python.run("get", request)[1])
        assert python.run("get", with_nul) == (0, b"")
    assert shell.held()[0] == before[0]


# -- hidden hosts, by git -----------------------------------------------------------------------------------

PROGRAMS = ["git-credential-forge", "git-credential-forge--main"]
SPELT = [
    f"example.com.{HIDDEN}",
    f"EXAMPLE.com.{HIDDEN.upper()}",
    f"example.com.{HIDDEN}.",
    f"example.com.{HIDDEN}:443",
]


class Signed(NamedTuple):
    """Somebody who is signed in, with one of the two programs as the only helper."""

    environment: dict[str, str]
    memory: Memory

    def git(self, *words: str, given: bytes = b"", cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["git", *words], input=given, env=self.environment, capture_output=True, check=False, timeout=60, cwd=cwd
        )

    def held(self) -> dict[str, bytes]:
        return self.memory.dump(HOSTS, USERS, PATHS)


@pytest.fixture(params=PROGRAMS)
def signed(request: pytest.FixtureRequest, installed: Path, environment: dict[str, str]) -> Signed:
    save(installed, environment, sign_in())
    environment |= {"GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_COUNT": "1"}
    environment |= {"GIT_CONFIG_KEY_0": "credential.helper", "GIT_CONFIG_VALUE_0": str(installed / request.param)}
    return Signed(environment, Memory(environment))


@pytest.mark.parametrize("host", SPELT)
@pytest.mark.parametrize("protocol", ["https", pytest.param("http", marks=pytest.mark.slow)])
@pytest.mark.parametrize("user", [(), ("username=alice",), ("username=alice", "password=known")])
def test_git_is_given_nothing_for_a_hidden_host(
    signed: Signed, protocol: str, host: str, user: tuple[str, ...]
) -> None:
    """`git credential fill`, `approve` and `reject` for the hosts that sessions are kept under: nothing given, nothing
    changed. For the real host they are."""
    request, before = lines(f"protocol={protocol}", f"host={host}", *user), signed.held()
    assert b"token" not in signed.git("credential", "fill", given=request).stdout
    for operation in ("approve", "reject"):
        done = signed.git("credential", operation, given=request)
        assert (done.returncode, done.stdout) == (0, b"")
        assert signed.held() == before
    assert b"token-of-alice" in signed.git("credential", "fill", given=lines(*HOST)).stdout
    assert f"https://alice@example.com.{HIDDEN} " in before


def test_a_submodule_that_points_to_a_hidden_host_gets_nothing(signed: Signed, home: Path) -> None:
    """Somebody's repository has a submodule there, and makes the name lead to their server: no credential arrives."""
    heard: list[Request] = []

    def answer(request: Request) -> Answer:
        heard.append(request)
        return Answer(401, [("WWW-Authenticate", 'Basic realm="Gitea"')], b"")

    host, authority, context = f"example.com.{HIDDEN}", trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    authority.cert_pem.write_to_path(str(home / "ca.pem"))
    server = HttpServer(answer, context)
    signed.environment["GIT_SSL_CAINFO"] = str(home / "ca.pem")
    try:
        with _Proxy(server.port) as proxy:
            signed.environment["https_proxy"] = f"http://127.0.0.1:{proxy.port}"
            before = signed.held()
            who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
            signed.git("init", "-q", "above", cwd=home)
            (home / "above/.gitmodules").write_text(
                f'[submodule "x"]\n\tpath = x\n\turl = https://{host}/alice/x.git\n'
                f'[submodule "y"]\n\tpath = y\n\turl = https://alice@{host}/alice/y.git\n'
            )
            for name in ("x", "y"):
                link = f"160000,{'1' * 40},{name}"
                assert signed.git("update-index", "--add", "--cacheinfo", link, cwd=home / "above").returncode == 0
            signed.git("add", ".gitmodules", cwd=home / "above")
            assert signed.git(*who, "commit", "-qm", "m", cwd=home / "above").returncode == 0
            done = signed.git("clone", "--recurse-submodules", str(home / "above"), "copy", cwd=home)
    finally:
        server.stop()
    assert b"could not read" in done.stderr  # Username, Password: so no helper gave one
    assert {request.target.partition("?")[0] for request in heard} == {
        "/alice/x.git/info/refs",
        "/alice/y.git/info/refs",
    }
    sent = {request.header("Authorization") for request in heard}
    assert sent <= {"", "Basic " + base64.b64encode(b"alice:").decode()}  # the URL's own name, which git tries at first
    assert signed.held() == before


class _Proxy:
    """Context manager: an HTTP proxy that leads every name to one port of this machine, as their resolver would."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._tunnel, args=[client], daemon=True).start()

    def _tunnel(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                more = client.recv(1)
                if not more:
                    return
                head += more
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                for end in select.select([client, server], [], [])[0]:
                    data = end.recv(65_536)
                    if not data:
                        return
                    (server if end is client else client).sendall(data)
