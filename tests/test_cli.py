"""The program's own words and exit status, and what becomes of an answer when something around it is broken."""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from git_credential_forge.commands import VERBS
from tests.support.forge import PASSWORDS, Forge
from tests.support.gentle_browser import GentleBrowser
from tests.support.memory import Memory, lines, oldest, save, sign_in

BOTH = ["git-credential-forge", "git-credential-forge--main"]
ASKED = ("protocol=https", "host=example.com")
FOREIGN = (*ASKED, "username=dave", "password=pw")
ANSWER = lines("username=dave", "password=pw")
Run = subprocess.CompletedProcess[bytes]


@pytest.fixture
def silent(environment: dict[str, str]) -> dict[str, str]:
    """Nobody is there to be asked."""
    environment["GIT_TERMINAL_PROMPT"] = "0"
    return environment


def _run(program: Path, *words: str, given: bytes = b"", env: dict[str, str]) -> Run:
    return subprocess.run(
        [str(program), *words],
        input=given,
        env=env,
        capture_output=True,
        check=False,
        timeout=60,
        cwd=env["HOME"],
        start_new_session=True,
    )


def _all(done: Run) -> tuple[int, bytes, bytes]:
    return done.returncode, done.stdout, done.stderr


# -- what people type -------------------------------------------------------------------------------------


def test_it_ends_at_once(installed: Path, silent: dict[str, str]) -> None:
    """Nothing runs behind the answer: beside a thread that still speaks, Python's own end has been seen to crash."""
    code = "import atexit; atexit.register(print, 'behind it'); from git_credential_forge.start import main; main()"
    done = _run(installed / "python", "-c", code, "--version", env=silent)
    assert _all(done) == _all(_run(installed / "git-credential-forge--main", "--version", env=silent))


@pytest.mark.parametrize("program", BOTH)
@pytest.mark.parametrize("words", [("-h",), ("--help",), ("--timeout=9", "--help"), ("get", "-h")])
def test_help(installed: Path, silent: dict[str, str], program: str, words: tuple[str, ...]) -> None:
    """On standard output, with exit status 0: every verb, and where the manual is."""
    status, out, err = _all(_run(installed / program, *words, env=silent))
    assert (status, err) == (0, b"")
    verbs = re.findall(r"(?m)^  git credential-forge (\S+)", out.decode())
    assert [verb for verb in verbs if verb != "demo"] == [
        *("configure", "unconfigure", "login", "logout", "status", "register", "unregister"),
        *("coder", "get|store|erase"),
    ]
    assert out.startswith(b"git-credential-forge: ")
    assert out.endswith(b"The manual: man git-credential-forge\n")
    assert max(map(len, out.decode().splitlines())) <= 100


@pytest.mark.parametrize("program", BOTH)
@pytest.mark.parametrize("more", [(), ("--json",), ("https://example.com",), ("--nonsense",)])
@pytest.mark.parametrize("verb", list(VERBS))
def test_help_of_one_command(
    installed: Path, silent: dict[str, str], program: str, verb: str, more: tuple[str, ...]
) -> None:
    """What it does, each of its options and where the manual is, whatever else was typed; and it does nothing."""
    for asked in ("-h", "--help"):
        status, out, err = _all(_run(installed / program, verb, asked, *more, env=silent | {"COLUMNS": "80"}))
        said = out.decode()
        assert (status, err) == (0, b"")
        assert said.startswith(f"usage: git credential-forge {verb} [-h]")
        assert said.endswith("\nThe manual: man git-credential-forge\n")
        assert set(re.findall(r"\[?(--[a-z-]+)", said.split("\n\n")[0])) | {"--help"} == set(
            re.findall(r"(?m)^  (?:-h, )?(--[a-z-]+)", said)
        )
        assert max(map(len, said.splitlines())) <= 80
    assert not (Path(silent["HOME"]) / ".cache").exists()


@pytest.mark.parametrize("program", BOTH)
def test_version(installed: Path, silent: dict[str, str], program: str) -> None:
    """One line: the name and the version of what is installed."""
    told = subprocess.run(
        [
            str(installed / "python"),
            "-c",
            "from importlib.metadata import version; print(version('git-credential-forge'))",
        ],
        env=silent,
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    done = _run(installed / program, "--version", env=silent)
    assert _all(done) == (0, f"git-credential-forge {told.stdout}".encode(), b"")


@pytest.mark.parametrize("program", BOTH)
def test_capability(installed: Path, silent: dict[str, str], program: str) -> None:
    """git-credential(1): the version of the format, and a line for each capability."""
    said = b"version 0\ncapability authtype\ncapability state\n"
    assert _all(_run(installed / program, "capability", env=silent)) == (0, said, b"")


@pytest.mark.parametrize("program", BOTH)
@pytest.mark.parametrize("words", [("frobnicate",), ("--timeout=9", "frobnicate"), ("get ",), ("",), ("GET",)])
def test_an_unknown_operation_is_passed_over(
    installed: Path, silent: dict[str, str], program: str, words: tuple[str, ...]
) -> None:
    """gitcredentials(7): helpers ignore operations that they do not know, in silence."""
    assert _all(_run(installed / program, *words, given=lines(*FOREIGN), env=silent)) == (0, b"", b"")
    assert Memory(silent).ask(lines(*ASKED)) == b""


@pytest.mark.parametrize("program", BOTH)
@pytest.mark.parametrize("words", [("frobnicate",), (), ("--verbose",)])
def test_a_person_who_types_it_sees_the_usage(
    installed: Path, silent: dict[str, str], program: str, words: tuple[str, ...]
) -> None:
    """At a terminal: the help on standard error, exit status 2."""
    above, below = pty.openpty()
    try:
        done = subprocess.run(
            [str(installed / program), *words], stdin=below, env=silent, capture_output=True, check=False, timeout=60
        )
    finally:
        os.close(above)
        os.close(below)
    wanted = _run(installed / program, "-h", env=silent).stdout
    which = f"forge: there is no such command: {' '.join(words)}\n".encode() if words else b""
    assert _all(done) == (2, b"", which + wanted)


@pytest.mark.parametrize("program", BOTH)
@pytest.mark.parametrize("words", [("lgoin", "https://a.example"), ("--verbose",), ("Login", "-x"), ("-v", "-5")])
def test_what_git_never_asks_for_is_a_mistake(
    installed: Path, silent: dict[str, str], program: str, words: tuple[str, ...]
) -> None:
    """A script would take silence for a sign-in."""
    done = _run(installed / program, *words, env=silent)
    wanted = _run(installed / program, "-h", env=silent).stdout
    assert _all(done) == (2, b"", f"forge: there is no such command: {' '.join(words)}\n".encode() + wanted)


# -- options before an operation ----------------------------------------------------------------------------


@pytest.mark.parametrize("program", BOTH)
@pytest.mark.parametrize("spelling", [("--socket", "{}"), ("--socket={}",)])
def test_socket_in_both_spellings(
    installed: Path, silent: dict[str, str], home: Path, program: str, spelling: tuple[str, ...]
) -> None:
    """The memory behind another socket is another memory; its directory is made, and is nobody else's."""
    words = [word.format(home / "else where/socket") for word in spelling]
    assert _all(_run(installed / program, *words, "store", given=lines(*FOREIGN), env=silent)) == (0, b"", b"")
    assert (home / "else where").stat().st_mode & 0o777 == 0o700
    assert oldest(_run(installed / program, *words, "get", given=lines(*ASKED), env=silent).stdout) == ANSWER
    assert _run(installed / program, "get", given=lines(*ASKED), env=silent).stdout == b""
    assert _run(installed / program, *words, "erase", given=lines(*FOREIGN), env=silent).returncode == 0
    assert _run(installed / program, *words, "get", given=lines(*ASKED), env=silent).stdout == b""


@pytest.mark.parametrize("program", BOTH)
@pytest.mark.parametrize("spelling", [("--timeout", "1"), ("--timeout=1",)])
def test_timeout_in_both_spellings(
    installed: Path, silent: dict[str, str], program: str, spelling: tuple[str, ...]
) -> None:
    """What is stored for a second is gone after one; what is stored beside it for longer is not."""
    other = ("protocol=https", "host=other.example", "username=u", "password=p")
    _run(installed / program, "--timeout=900", "store", given=lines(*other), env=silent)
    _run(installed / program, *spelling, "store", given=lines(*FOREIGN), env=silent)
    memory, deadline = Memory(silent), time.monotonic() + 20
    while memory.ask(lines(*ASKED)):
        assert time.monotonic() < deadline, "kept for too long"
        time.sleep(0.05)  # nobody tells when a daemon forgets
    assert oldest(memory.ask(lines(*other[:2]))) == lines(*other[2:])[:-1]


@pytest.mark.parametrize("value", ["soon", "0", "-1", "", "1.5", "99999999999", "a\x1b[31mb"])
def test_a_timeout_that_is_none_is_said_and_not_used(installed: Path, silent: dict[str, str], value: str) -> None:
    """One line, cleaned; the operation goes on with the usual timeout."""
    main = installed / "git-credential-forge--main"
    done = _run(main, f"--timeout={value}", "store", given=lines(*FOREIGN), env=silent)
    shown = value.replace("\x1b", " ")
    said = f"forge: --timeout is a number of seconds, so it is not used: {shown}\n"
    assert _all(done) == (0, b"", said.encode())
    assert oldest(Memory(silent).ask(lines(*ASKED))) == ANSWER[:-1]


@pytest.mark.parametrize("words", [("--verbose",), ("-x",), ("--timeout",), ("--socket",), ("--timeou=9",), ("--",)])
def test_an_unknown_option_is_said(installed: Path, silent: dict[str, str], words: tuple[str, ...]) -> None:
    """One line that names it; git goes on, and nothing is given or kept."""
    for program in BOTH:
        for operation in ("get", "store", "erase"):
            done = _run(installed / program, *words, operation, given=lines(*FOREIGN), env=silent)
            said = f"forge: unknown option before the operation: {words[0].partition('=')[0]}\n".encode()
            assert _all(done) == (0, b"", said)
    assert Memory(silent).ask(lines(*ASKED)) == b""


def test_a_socket_in_a_directory_of_others(installed: Path, silent: dict[str, str], home: Path) -> None:
    """It may be /tmp, which nobody is to close to all others."""
    (home / "loose").mkdir()
    (home / "loose").chmod(0o777)
    done = _run(installed / "git-credential-forge", "status", "--socket", str(home / "loose/socket"), env=silent)
    own = f"name a directory of its own, which need not be there: --socket '{home}/loose/forge/socket'"
    said = f"forge: nothing is kept in memory: others may look into {home}/loose\nforge: {own}\n"
    assert _all(done) == (1, b"", said.encode())
    again = ("status", "--socket", str(home / "loose/forge/socket"))
    assert _run(installed / "git-credential-forge", *again, env=silent).returncode == 0


# -- a memory that cannot be used -----------------------------------------------------------------------------


def _loose(place: Path) -> str:
    place.mkdir(parents=True)
    place.chmod(0o755)
    return f"others may look into {place}\nforge: to mend it: chmod 700 '{place}'"


def _strangers(place: Path) -> str:
    place.mkdir(parents=True, mode=0o700)
    try:
        os.chown(place, 12_345, 12_345)
    except PermissionError:
        pytest.skip("not here: only root can give a directory away")
    return f"{place} belongs to another user"


def _a_file(place: Path) -> str:
    place.parent.mkdir(parents=True)
    place.write_bytes(b"mine")
    return f"{place} is not a directory"


def _no_socket(place: Path) -> str:
    place.mkdir(parents=True, mode=0o700)
    (place / "socket").write_bytes(b"mine")
    return f"{place}/socket is in the way, and no socket of yours"


def _a_link(place: Path) -> str:
    place.mkdir(parents=True, mode=0o700)
    (place / "socket").symlink_to("elsewhere")
    return f"{place}/socket is in the way, and no socket of yours"


def _cache_is_a_file(place: Path) -> str:
    place.parent.write_bytes(b"mine")
    return f"{place}: {os.strerror(20)}"


BROKEN = [_loose, _strangers, _a_file, _no_socket, _a_link, _cache_is_a_file]


def _places(home: Path) -> dict[str, tuple[int, int, bytes]]:
    return {
        str(path): (path.lstat().st_mode, path.lstat().st_uid, path.read_bytes() if path.is_file() else b"")
        for path in home.rglob("*")
    }


@pytest.mark.parametrize("program", BOTH)
@pytest.mark.parametrize("operation", ["get", "store", "erase"])
@pytest.mark.parametrize("broken", BROKEN)
def test_a_memory_that_cannot_be_used_is_said(  # noqa: PLR0917 # pytest names them
    installed: Path, silent: dict[str, str], home: Path, program: str, operation: str, broken: Callable[[Path], str]
) -> None:
    """One clear line that says what is in the way, exit status 0, and what is there is left as it is. The `get` says
    it: git asks first, and what it tells afterwards is not worth the line again."""
    why = broken(home / ".cache/git-credential-forge")
    before = _places(home)
    done = _run(installed / program, operation, given=lines(*FOREIGN), env=silent)
    said = f"forge: nothing is kept in memory: {why}\n" if operation == "get" else ""
    assert _all(done) == (0, b"", said.encode())
    assert _places(home) == before


@pytest.mark.parametrize("verb", [("status",), ("logout", "--all"), ("login", "https://example.com")])
def test_commands_say_it_too(installed: Path, silent: dict[str, str], home: Path, verb: tuple[str, ...]) -> None:
    """With exit status 1: the command could not do its work."""
    why = _loose(home / ".cache/git-credential-forge")
    done = _run(installed / BOTH[0], *verb, env=silent)
    assert _all(done) == (1, b"", f"forge: nothing is kept in memory: {why}\n".encode())


@pytest.fixture(scope="module")
def forge() -> Iterator[Forge]:
    with Forge() as forge:
        yield forge


@pytest.mark.parametrize("broken", BROKEN)
def test_the_sign_in_still_works_for_this_command(
    installed: Path, environment: dict[str, str], home: Path, forge: Forge, broken: Callable[[Path], str]
) -> None:
    """Nothing can be kept, and git gets its answer all the same: once signed in, once said why."""
    forge.reset()
    why = broken(home / ".cache/git-credential-forge")
    before = _places(home)
    with GentleBrowser("alice", PASSWORDS["alice"]) as browser:
        environment |= {"BROWSER": str(browser.opener), "GIT_SSL_CAINFO": str(forge.ca_file)}
        given = lines("protocol=https", f"host={forge.host}", 'wwwauth[]=Basic realm="Gitea"')
        status, out, err = _all(_run(installed / BOTH[0], "get", given=given, env=environment))
    assert status == 0
    (token,) = forge.secrets()["access_token"]
    assert out.startswith(f"username=alice\npassword={token}\n".encode())
    assert err.count(b"nothing is kept in memory") == 1
    assert err.startswith(f"forge: nothing is kept in memory: {why}\n".encode())
    assert err.endswith(f"forge: signed in as alice at {forge.host}, for this command only\n".encode())
    assert _places(home) == before


# -- broken descriptors ---------------------------------------------------------------------------------------


@pytest.fixture
def held(installed: Path, silent: dict[str, str]) -> Memory:
    memory = Memory(silent)
    memory.store(lines(*FOREIGN))
    save(installed, silent, sign_in("forge.example"))
    return memory


def _by_shell(program: Path, words: str, redirection: str, given: bytes, env: dict[str, str]) -> Run:
    """With descriptors that only a shell can make."""
    command = f"exec {shlex.quote(str(program))} {words} {redirection}"
    return subprocess.run(["sh", "-c", command], input=given, env=env, capture_output=True, check=False, timeout=60)


@pytest.mark.parametrize("program", BOTH)
@pytest.mark.parametrize("host", ["example.com", "forge.example", "unknown.example"])
def test_stdout_closed(installed: Path, silent: dict[str, str], held: Memory, program: str, host: str) -> None:
    """Nobody can be answered: exit status 0, no trace of Python's, and no token anywhere."""
    done = _by_shell(installed / program, "get", ">&-", lines("protocol=https", f"host={host}"), silent)
    assert done.returncode == 0 or (program == BOTH[0] and host != "unknown.example")  # the shell's printf says 1
    assert b"Traceback" not in done.stderr
    assert b"mistake" not in done.stderr
    assert b"pw" not in done.stderr + done.stdout
    assert b"token-of" not in done.stderr + done.stdout
    assert held.ask(lines(*ASKED)) != b""


@pytest.mark.parametrize("program", BOTH)
def test_stdout_closed_keeps_what_is_stored(
    installed: Path, silent: dict[str, str], held: Memory, program: str
) -> None:
    """store and erase need no standard output."""
    other = lines("protocol=https", "host=other.example", "username=u", "password=p")
    done = _by_shell(installed / program, "store", ">&-", other, silent)
    assert (done.returncode, done.stderr) == (0, b"")
    assert oldest(held.ask(other)) == b"username=u\npassword=p\n"
    done = _by_shell(installed / program, "erase", ">&-", other, silent)
    assert (done.returncode, done.stderr) == (0, b"")
    assert held.ask(other) == b""


@pytest.mark.parametrize("program", BOTH)
@pytest.mark.parametrize("operation", ["get", "store", "erase"])
def test_stdin_closed(installed: Path, silent: dict[str, str], held: Memory, program: str, operation: str) -> None:
    """The same as an empty request: nothing given, nothing changed, nothing said by the program."""
    done = _by_shell(installed / program, operation, "<&-", b"", silent)
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"forge: " not in done.stderr
    assert b"Traceback" not in done.stderr
    assert oldest(held.ask(lines(*ASKED))) == ANSWER[:-1]


@pytest.mark.parametrize("program", BOTH)
@pytest.mark.parametrize("host", ["example.com", "forge.example"])
def test_stderr_closed(installed: Path, silent: dict[str, str], held: Memory, program: str, host: str) -> None:
    """A closed standard error is no reason to lose an answer."""
    done = _by_shell(installed / program, "get", "2>&-", lines("protocol=https", f"host={host}"), silent)
    assert done.returncode == 0
    alice = lines("username=alice", "password=token-of-alice")
    assert oldest(done.stdout) == (ANSWER if host == "example.com" else alice)
    assert oldest(held.ask(lines(*ASKED))) == ANSWER[:-1]


@pytest.mark.parametrize("host", ["example.com", "forge.example"])
def test_stdout_full(installed: Path, silent: dict[str, str], held: Memory, host: str) -> None:
    """An answer that cannot be written is a matter of the disk and no mistake of ours; no token is shown."""
    for program in BOTH:
        done = _by_shell(installed / program, "get", ">/dev/full", lines("protocol=https", f"host={host}"), silent)
        assert done.returncode == 0 or program == BOTH[0]  # the shell's printf says 1
        assert b"mistake" not in done.stderr
        assert b"Traceback" not in done.stderr
        assert b"pw" not in done.stderr
        assert b"token-of" not in done.stderr
    assert oldest(held.ask(lines(*ASKED))) == ANSWER[:-1]


def test_a_reader_that_has_gone_is_no_error(installed: Path, silent: dict[str, str], held: Memory) -> None:
    """git may end before it has read: silence, exit status 0."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [str(installed / BOTH[1]), "get"],
            input=lines(*ASKED),
            env=silent,
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")
    assert oldest(held.ask(lines(*ASKED))) == ANSWER[:-1]
