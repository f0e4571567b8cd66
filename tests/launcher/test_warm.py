"""The warm path: what is in memory is answered without Python, for as long as it may be."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.memory import Memory, lines, oldest, save, sign_in
from tests.support.person import REPAIRS
from tests.support.programs import traced

ASKED = ("protocol=https", "host=example.com")
ALICE = ("username=alice", "password=token-of-alice")
STATE = ("capability[]=authtype", "capability[]=state")
AUTHTYPE = b"capability[]=authtype\n"  # what git's cache says first from 2.46 on
END = 4_102_444_800
# Plays the cache of git from 2.40 on, which gives the expiry back, where an older git is installed.
NEWER = """#!/bin/sh
case "$*" in
  *"credential-cache --socket "*" get") answer=$({git} "$@") ; [ -n "$answer" ] || exit 0
    printf '%s\\n' "$answer"
    case $answer in *password_expiry_utc=*) ;; *) [ -z "$EXPIRY" ] || echo "password_expiry_utc=$EXPIRY" ;; esac ;;
  *) exec {git} "$@" ;;
esac
"""


class Warm(NamedTuple):
    """alice and bob are signed in, git is configured."""

    launcher: Path
    environment: dict[str, str]
    memory: Memory

    @property
    def names(self) -> Path:
        return self.memory.directory / "account-https-example.com"

    def git(self, *words: str, given: bytes) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["git", *words], input=given, env=self.environment, capture_output=True, check=False, timeout=60
        )

    def ask(self, operation: str, *pairs: str, program: str = "git-credential-forge", **more: str) -> bytes:
        done = subprocess.run(
            [str(self.launcher.with_name(program)), operation],
            input=lines(*pairs),
            env=self.environment | more,
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout


@pytest.fixture
def warm(installed: Path, environment: dict[str, str]) -> Warm:
    environment["GIT_TERMINAL_PROMPT"] = "0"
    save(installed, environment, sign_in(), sign_in(account="bob"))
    launcher = installed / "git-credential-forge"
    subprocess.run([str(launcher), "configure"], env=environment, check=True, capture_output=True, timeout=60)
    return Warm(launcher, environment, Memory(environment))


@pytest.fixture
def newer(warm: Warm, home: Path) -> Warm:
    """The same with a git whose cache gives expiries."""
    save(warm.launcher.parent, warm.environment, sign_in(expiry=END), sign_in(account="bob", expiry=END))
    real = shutil.which("git", path=warm.environment["PATH"])
    assert real is not None
    (home / "bin").mkdir()
    (home / "bin/git").write_text(NEWER.format(git=shlex.quote(real)))
    (home / "bin/git").chmod(0o755)
    path = os.pathsep.join([str(home / "bin"), warm.environment["PATH"]])
    return warm._replace(environment=warm.environment | {"PATH": path, "EXPIRY": str(END)})


def _started(warm: Warm, tmp_path: Path, command: list[str], given: bytes) -> tuple[bytes, list[str]]:
    """Standard output, and the base name of each program that was executed."""
    done = traced(command, given, warm.environment, tmp_path)
    assert (done.status, done.err) == (0, b"")
    return done.out, done.names


@pytest.mark.parametrize("named", [(), ("username=bob",), ("username=oauth2",), ("path=alice/demo.git",)])
def test_fill_and_approve_start_no_python(warm: Warm, tmp_path: Path, named: tuple[str, ...]) -> None:
    """What a push costs: git's own fill, with one sh and one cache client, and approve with what fill gave."""
    settings = ["-c", "credential.useHttpPath=true"]
    filled, programs = _started(warm, tmp_path, ["git", *settings, "credential", "fill"], lines(*ASKED, *named))
    who = "bob" if "username=bob" in named else "alice"
    assert f"username={who}\npassword=token-of-{who}\n".encode() in filled
    assert programs == ["git", "sh", "git"]
    before = warm.memory.dump([("https", "example.com")], ["alice", "bob"], ["", "alice/demo.git"])
    _, programs = _started(warm, tmp_path, ["git", *settings, "credential", "approve"], filled + b"\n")
    assert programs[:2] == ["git", "sh"]
    # Without a state, which git sends from 2.46 on, only the account that is meant without a name is known as ours.
    assert set(programs) <= {"git", "sh"} or who == "bob"
    assert warm.memory.dump([("https", "example.com")], ["alice", "bob"], ["", "alice/demo.git"]) == before


def test_the_cache_is_asked_by_a_git_that_reads_no_config(warm: Warm, home: Path) -> None:
    """Which may be long, and be read from several files. One that does read it leaves its trace."""
    traces = home / "traces"
    with (home / ".gitconfig").open("a") as config:
        config.write(f"[trace2]\n\teventTarget = {traces}\n")
    assert b"password=token-of-alice\n" in warm.ask("get", *ASKED)
    assert not traces.exists()
    warm.git("version", given=b"")
    assert traces.exists()


def test_foreign_credentials_start_no_python_either(warm: Warm, tmp_path: Path) -> None:
    """A password for a host that is no forge is answered from memory as quickly."""
    foreign = ("protocol=https", "host=other.example", "username=dave", "password=pw")
    warm.git("credential", "approve", given=lines(*foreign))
    filled, programs = _started(warm, tmp_path, ["git", "credential", "fill"], lines(*foreign[:2]))
    assert oldest(filled) == lines(*foreign)[:-1]
    assert programs == ["git", "sh", "git"]


@pytest.mark.parametrize(
    ("operation", "pairs"),
    [
        ("get", ("protocol=https", "host=unknown.example")),
        ("store", (*ASKED, "username=carol", "password=new")),
        ("erase", (*ASKED, *ALICE)),
        ("get", (*ASKED, "unknown=1")),
    ],
)
def test_all_else_goes_to_python(warm: Warm, tmp_path: Path, operation: str, pairs: tuple[str, ...]) -> None:
    """A miss, another token, every erase, an unknown key: the look at programs would see Python."""
    _, programs = _started(warm, tmp_path, [str(warm.launcher), operation], lines(*pairs))
    assert "git-credential-forge--main" in programs


def test_when_an_answer_has_ended_python_looks_again(warm: Warm, tmp_path: Path) -> None:
    """From the time of the names file on the launcher gives nothing by itself: git's daemon may serve before it
    forgets, after a suspend. Python puts the time right, and the next get is the launcher's again."""
    for past in (time.time() - 1, 0.0):
        os.utime(warm.names, (past, past))
        answer, programs = _started(warm, tmp_path, [str(warm.launcher), "get"], lines(*ASKED))
        assert oldest(answer) == lines(*ALICE)
        assert "git-credential-forge--main" in programs
        assert warm.names.stat().st_mtime > time.time() + 3000
        _, programs = _started(warm, tmp_path, [str(warm.launcher), "get"], lines(*ASKED))
        assert programs == ["git-credential-forge", "git"]


def test_an_ended_answer_is_not_given(warm: Warm) -> None:
    """Ended by the names file, though the daemon still has it, and no session to go on with: nothing is given."""
    rows = re.sub(rb"(?m)^[0-9]+\t[0-9]+\t", b"1\t1\t", warm.names.read_bytes())
    warm.names.write_bytes(rows)
    os.utime(warm.names, (1, 1))
    assert oldest(warm.memory.ask(lines(*ASKED, "username=alice"))) == lines(*ALICE)[:-1]
    assert warm.ask("get", *ASKED) == b""


def test_a_clock_that_cannot_be_set_leads_to_python(warm: Warm, tmp_path: Path) -> None:
    """The launcher's clock is a file; where it cannot be written, Python decides, and nothing is said."""
    (warm.memory.directory / "now").mkdir()
    answer, programs = _started(warm, tmp_path, [str(warm.launcher), "get"], lines(*ASKED))
    assert oldest(answer) == lines(*ALICE)
    assert "git-credential-forge--main" in programs


# -- state --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", ["git-credential-forge", "git-credential-forge--main"])
@pytest.mark.parametrize("announced", [("capability[]=state",), STATE, tuple(reversed(STATE))])
def test_state_names_the_token(newer: Warm, program: str, announced: tuple[str, ...]) -> None:
    """Announced, and with an expiry: the answer carries the state, whose value is the expiry."""
    answer = newer.ask("get", *announced, *ASKED, program=program)
    expected = ("password_expiry_utc=4102444800", "capability[]=state", "state[]=forge:4102444800", "continue=1")
    assert answer.removeprefix(AUTHTYPE) == lines(*ALICE, *expected)


LFS = """#!{sh}
# As git-lfs asks: by git, from below a program of this name.
printf 'capability[]=authtype\\ncapability[]=state\\nprotocol=https\\nhost=example.com\\n\\n' | {ask}
:
"""


@pytest.mark.parametrize("how", ["configured", "absolute path", "name", "Python", "run by git-lfs itself"])
def test_git_lfs_is_not_told_to_continue(newer: Warm, home: Path, tmp_path: Path, how: str) -> None:
    """It would try the token that is refused again and again: it gets the state, which names the token, and no more.
    Anybody else who asks in that way is told."""
    main = str(newer.launcher.with_name("git-credential-forge--main"))
    helpers = {"absolute path": str(newer.launcher), "name": "forge", "Python": main}
    chosen = f"-c credential.helper= -c credential.helper={shlex.quote(helpers[how])}" if how in helpers else ""
    ask = f"{newer.launcher} get" if how.startswith("run by") else f"git {chosen} credential fill"
    path = os.pathsep.join([str(newer.launcher.parent), newer.environment["PATH"]])
    for name, told in (("git-lfs", False), ("git-other", True)):
        program = tmp_path / name
        program.write_text(LFS.format(sh=shutil.which("sh"), ask=ask))
        program.chmod(0o755)
        environment = newer.environment | {"PATH": path}
        done = subprocess.run([str(program)], env=environment, capture_output=True, check=True, timeout=60, cwd=home)
        announced = REPAIRS or not ask.startswith("git ")  # git before 2.46 passes no capability on
        assert (b"continue=1\n" in done.stdout, done.stderr) == (told and announced, b"")
        assert (b"state[]=forge:" in done.stdout) == announced


@pytest.mark.parametrize("program", ["git-credential-forge", "git-credential-forge--main"])
def test_no_state_that_was_not_announced(newer: Warm, program: str) -> None:
    """An older git does not know the key."""
    answer = newer.ask("get", "capability[]=authtype", *ASKED, program=program)
    assert answer.removeprefix(AUTHTYPE) == lines(*ALICE, "password_expiry_utc=4102444800")


@pytest.mark.parametrize("program", ["git-credential-forge", "git-credential-forge--main"])
def test_no_state_without_an_expiry(newer: Warm, program: str) -> None:
    """There is nothing that would name the token."""
    if b"expiry" in newer.memory.ask(lines(*ASKED, "username=alice")):
        pytest.skip("not here: a git whose cache keeps expiries")
    assert newer.ask("get", *STATE, *ASKED, program=program, EXPIRY="") == lines(*ALICE)


@pytest.mark.parametrize("program", ["git-credential-forge", "git-credential-forge--main"])
@pytest.mark.parametrize("host", ["other.example", "example.com"])
def test_a_foreign_credential_carries_no_state(newer: Warm, program: str, host: str) -> None:
    """State is ours: with it a store would be passed over, and the foreign password forgotten while it is in use.
    Also where somebody else is signed in at the same host."""
    where = ("protocol=https", f"host={host}")
    newer.memory.store(lines(*where, "username=dave", "password=pw"))
    answer = newer.ask("get", *STATE, *where, "username=dave", program=program)
    assert answer.removeprefix(AUTHTYPE) == lines("username=dave", "password=pw", "password_expiry_utc=4102444800")


@pytest.mark.parametrize("account", ["alice", "bob", "somebody"])
def test_a_store_with_our_state_starts_nothing(warm: Warm, tmp_path: Path, account: str) -> None:
    """git says with the state that it stores what it was given: no process at all."""
    given = lines(*STATE, *ASKED, f"username={account}", "password=x", "password_expiry_utc=9", "state[]=forge:9")
    assert _started(warm, tmp_path, [str(warm.launcher), "store"], given) == (b"", ["git-credential-forge"])


def test_a_store_for_the_end_of_our_account_s_name_is_not_passed_over(warm: Warm, installed: Path) -> None:
    """`alice bob` is signed in: `bob` is not."""
    save(installed, warm.environment, sign_in("third.example", "alice bob"))
    asked = ("protocol=https", "host=third.example", "username=bob")
    assert warm.ask("store", *asked, "password=of-bob") == b""
    assert oldest(warm.ask("get", *asked)) == lines("username=bob", "password=of-bob")


@pytest.mark.parametrize("state", ["other:9", "forge", "xforge:9"])
def test_a_store_with_the_state_of_others_is_not_passed_over(warm: Warm, tmp_path: Path, state: str) -> None:
    """Other helpers have state as well; theirs says nothing of ours."""
    given = lines(*STATE, *ASKED, "username=carol", "password=new", f"state[]={state}")
    _, programs = _started(warm, tmp_path, [str(warm.launcher), "store"], given)
    assert "git-credential-forge--main" in programs
    carol = oldest(warm.memory.ask(lines(*ASKED, "username=carol")))
    assert carol == lines("username=carol", "password=new")[:-1]


@pytest.mark.parametrize("account", ["alice", "bob"])
def test_a_password_for_an_origin_that_is_never_signed_in_to_is_kept(warm: Warm, account: str) -> None:
    """With forgeFlow = never a person types one, where they were signed in before: the next git has it from memory.
    (The launcher passes over it while that sign-in lives: docs/decisions.md.)"""
    program = "git-credential-forge--main"
    warm.git("config", "--global", "credential.https://example.com.forgeFlow", "never", given=b"")
    warm.ask("store", *ASKED, f"username={account}", "password=typed", program=program)
    assert b"password=typed\n" in warm.ask("get", *ASKED, f"username={account}", program="git-credential-forge--main")


# -- where the memory is --------------------------------------------------------------------------------------


@pytest.mark.parametrize("cache", [None, "", "relative", "{home}/xdg", "{home}/xdg/", "{home}/a b'c", "/{home}//xdg"])
def test_launcher_and_python_have_the_same_memory(
    installed: Path, environment: dict[str, str], home: Path, cache: str | None
) -> None:
    """XDG_CACHE_HOME, unset, empty, absolute or void: what Python keeps, the launcher finds."""
    if cache is not None:
        environment["XDG_CACHE_HOME"] = cache.format(home=home)
    environment["GIT_TERMINAL_PROMPT"] = "0"
    asked = ("protocol=https", "host=other.example", "username=u")
    given = {"store": lines(*asked, "password=p"), "get": lines(*asked)}
    said = {}
    for program, operation in (("git-credential-forge--main", "store"), ("git-credential-forge", "get")):
        done = subprocess.run(
            [str(installed / program), operation],
            input=given[operation],
            env=environment,
            capture_output=True,
            check=True,
            timeout=60,
            cwd=home,
        )
        said[operation] = oldest(done.stdout)
    assert said == {"store": b"", "get": lines("username=u", "password=p")}
    places = [path.parent for path in home.rglob("socket")]
    absolute = cache is not None and cache.startswith(("/", "{"))
    base = Path(os.path.normpath(cache.format(home=home).replace("//", "/"))) if cache and absolute else home / ".cache"
    assert places == [base / "git-credential-forge"]
    alone = home / "alone"
    alone.mkdir()
    shutil.copy2(installed / "git-credential-forge", alone)  # and no Python beside it
    done = subprocess.run(
        [str(alone / "git-credential-forge"), "get"],
        input=given["get"],
        env=environment,
        capture_output=True,
        check=False,
        timeout=60,
        cwd=home,
    )
    assert oldest(done.stdout) == (b"" if cache == "relative" else said["get"])
