"""The launcher in every shell that may be somebody's `sh`, from every place, in every environment."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.memory import Memory, lines, oldest, save, sign_in
from tests.support.programs import traced

TOKEN = "a-token-that-nobody-may-see"
PASSWORD = "a-password-that-nobody-may-see"
ASKED = ("protocol=https", "host=example.com")
HIT = f"username=alice\npassword={TOKEN}\n\n".encode()
FOREIGN = lines("protocol=https", "host=other.example", "username=dave", f"password={PASSWORD}")
OTHERS = ("zsh", "mksh", "yash", "ksh")
SHELLS = ("dash", "bash", "busybox", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS))
OPTIONS = ["-x", "-v", "-a", "-u", "-C", "-f", "-e"]
ODD = "a b'c\"d$e\\f#g;h"
# All names that the launcher uses for itself, as somebody's environment may have them.
NAMES = (
    *("op", "dir", "protocol", "host", "path", "username", "password", "caps", "stated", "ours", "known", "request"),
    *("answer", "account", "end", "line", "key", "nl", "self", "index", "y"),
)
VARIABLES = dict.fromkeys(NAMES, "y") | {"IFS": "=./-abcdefghijk"}


class Shell(NamedTuple):
    """One shell that goes by the name `sh`."""

    name: str
    sh: Path


class Place(NamedTuple):
    """An installed launcher, with somebody signed in."""

    launcher: Path
    line: str  # the helper that configure writes
    environment: dict[str, str]
    memory: Memory


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    found = shutil.which(request.param)
    if found is None:
        pytest.skip(f"not here: {request.param}")
    (tmp_path / "sh").symlink_to(found)
    return Shell(request.param, tmp_path / "sh")


@pytest.fixture
def place(installed: Path, environment: dict[str, str]) -> Place:
    environment["GIT_TERMINAL_PROMPT"] = "0"
    save(installed, environment, sign_in(token=TOKEN))
    launcher = installed / "git-credential-forge"
    return Place(launcher, _configured(launcher, environment), environment, Memory(environment))


def _configured(launcher: Path, environment: dict[str, str]) -> str:
    """The helper that `configure` writes, as git reads it."""
    subprocess.run([str(launcher), "configure"], env=environment, check=True, capture_output=True, timeout=60)
    read = subprocess.run(
        ["git", "config", "--global", "--includes", "credential.helper"],
        *(),
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return read.stdout.removesuffix("\n")


def _ways(shell: Shell, place: Place, *options: str) -> dict[str, list[str]]:
    """How it is started: as a program, and sourced by the configured line, as git does both; the operation follows."""
    return {
        "run": [str(shell.sh), *options, str(place.launcher)],
        "sourced": [str(shell.sh), *options, "-c", place.line.removeprefix("!")],
    }


def _call(
    way: list[str], operation: str, given: bytes, place: Place, **more: str
) -> subprocess.CompletedProcess[bytes]:
    """git puts the operation behind the line."""
    command = [*way[:-1], f"{way[-1]} {operation}"] if "-c" in way else [*way, operation]
    return subprocess.run(
        command, input=given, env=place.environment | more, capture_output=True, check=False, timeout=60
    )


@pytest.mark.parametrize("way", ["run", "sourced"])
def test_every_shell_answers_a_hit_in_silence(shell: Shell, place: Place, way: str) -> None:
    """A hit is the same answer in every shell, run or sourced, and nothing on standard error."""
    done = _call(_ways(shell, place)[way], "get", lines(*ASKED), place)
    assert (done.returncode, oldest(done.stdout), done.stderr) == (0, HIT, b"")


@pytest.mark.parametrize("way", ["run", "sourced"])
def test_every_shell_hands_a_miss_to_python(shell: Shell, place: Place, way: str) -> None:
    """What is not in memory goes to Python whole: a foreign password is stored, given, and erased."""
    start = _ways(shell, place)[way]
    asked = lines("protocol=https", "host=other.example")
    assert _call(start, "store", FOREIGN, place).stderr == b""
    assert oldest(place.memory.ask(asked)) == FOREIGN[FOREIGN.index(b"username") : -1]
    assert oldest(_call(start, "get", asked, place).stdout) == FOREIGN[FOREIGN.index(b"username") :]
    assert _call(start, "erase", FOREIGN, place).returncode == 0
    assert place.memory.ask(asked) == b""
    assert _call(start, "capability", b"", place).stdout.startswith(b"version 0\n")
    assert _call(start, "--version", b"", place).stdout.startswith(b"git-credential-forge ")


@pytest.mark.parametrize("option", OPTIONS)
def test_no_option_of_a_shell_shows_a_secret(shell: Shell, place: Place, option: str) -> None:
    """With -x, -v and the like from outside: the same answer, and no secret on standard error."""
    for name, way in _ways(shell, place, option).items():
        done = _call(way, "get", lines(*ASKED), place)
        stored = _call(way, "store", FOREIGN, place)
        assert (name, done.returncode, oldest(done.stdout)) == (name, 0, HIT)
        assert (name, stored.returncode, stored.stdout) == (name, 0, b"")
        assert TOKEN.encode() not in done.stderr + stored.stderr
        assert PASSWORD.encode() not in done.stderr + stored.stderr
        assert place.memory.ask(FOREIGN) != b""


@pytest.mark.parametrize("options", ["xtrace", "verbose", "allexport", "nounset", "noclobber", "errexit:noglob"])
@pytest.mark.parametrize("way", ["run", "sourced"])
def test_exported_shell_options_show_no_secret(shell: Shell, place: Place, options: str, way: str) -> None:
    """SHELLOPTS from the environment (bash heeds it) changes no answer and shows no secret."""
    start = _ways(shell, place)[way]
    done = _call(start, "get", lines(*ASKED), place, SHELLOPTS=options, PS4="+ ")
    stored = _call(start, "store", FOREIGN, place, SHELLOPTS=options, PS4="+ ")
    assert (done.returncode, oldest(done.stdout), stored.returncode) == (0, HIT, 0)
    assert TOKEN.encode() not in done.stderr
    assert PASSWORD.encode() not in stored.stderr
    assert place.memory.ask(FOREIGN) != b""


@pytest.mark.parametrize("way", ["run", "sourced"])
def test_exported_variables_change_nothing(shell: Shell, place: Place, way: str) -> None:
    """Variables of the launcher's own names, exported by somebody: the same answers, on a hit, a miss and a store."""
    start = _ways(shell, place)[way]
    asked = lines("protocol=https", "host=other.example")
    done = _call(start, "get", lines(*ASKED), place, **VARIABLES)
    assert (done.returncode, oldest(done.stdout), done.stderr) == (0, HIT, b"")
    assert _call(start, "get", asked, place, **VARIABLES).stdout == b""
    _call(start, "store", FOREIGN, place, **VARIABLES)
    assert oldest(place.memory.ask(asked)) == FOREIGN[FOREIGN.index(b"username") : -1]


@pytest.mark.parametrize("way", ["run", "sourced"])
def test_a_token_of_200_kb_is_answered(shell: Shell, place: Place, way: str, installed: Path) -> None:
    """The longest tokens there are (CVE-2025-48386 was a short buffer) come whole, and their store is known."""
    token = "0123456789" * 20_000
    save(installed, place.environment, sign_in(token=token))
    start = _ways(shell, place)[way]
    answer = f"username=alice\npassword={token}\n\n".encode()
    assert oldest(_call(start, "get", lines(*ASKED), place).stdout) == answer
    stored = _call(start, "store", lines(*ASKED)[:-1] + answer, place)
    assert (stored.returncode, stored.stdout, stored.stderr) == (0, b"", b"")
    assert oldest(place.memory.ask(lines(*ASKED))) == answer[:-1]


@pytest.mark.parametrize("way", ["run", "sourced"])
@pytest.mark.parametrize("link", ["", "absolute", "relative", "chain"])
def test_any_path_and_any_link_will_do(shell: Shell, place: Place, home: Path, way: str, link: str) -> None:
    """From a path with spaces and quotes, through symbolic links: hits are answered, misses reach Python."""
    directory = home / ODD
    directory.mkdir()
    for name in ("git-credential-forge", "git-credential-forge--main"):
        shutil.copy2(place.launcher.parent / name, directory)
    links = {
        "absolute": {"one": directory / "git-credential-forge"},
        "relative": {"one": Path("..", ODD, "git-credential-forge")},
        "chain": {"one": Path("..", "two", "git-credential-forge"), "two": directory / "git-credential-forge"},
    }
    for name, target in links.get(link, {}).items():
        (home / name).mkdir()
        (home / name / "git-credential-forge").symlink_to(target)
    launcher = (home / "one" if link else directory) / "git-credential-forge"
    odd = place._replace(launcher=launcher, line=_configured(launcher, place.environment))
    start = _ways(shell, odd)[way]
    done = _call(start, "get", lines(*ASKED), odd)
    assert (done.returncode, oldest(done.stdout), done.stderr) == (0, HIT, b"")
    assert _call(start, "--version", b"", odd).stdout.startswith(b"git-credential-forge ")


@pytest.mark.parametrize("way", ["run", "sourced"])
def test_gits_exec_path_alone_is_enough(shell: Shell, place: Place, home: Path, way: str) -> None:
    """With PATH set to git's exec path, as some programs start git, hits and misses go as ever. (Not in yash: as `sh`
    it has no `[` and no `printf` unless the PATH has namesakes of them, so even the configured line fails.)"""
    if shell.name == "yash":
        pytest.skip("not here: builtins without namesakes on the PATH, in yash")
    path = subprocess.run(["git", "--exec-path"], env=place.environment, capture_output=True, check=True, text=True)
    start, only = _ways(shell, place)[way], path.stdout.strip()
    done = _call(start, "get", lines(*ASKED), place, PATH=only)
    assert (done.returncode, oldest(done.stdout), done.stderr) == (0, HIT, b"")
    (home / "link").mkdir()
    (home / "link/git-credential-forge").symlink_to(place.launcher)
    linked = place._replace(launcher=home / "link/git-credential-forge")
    linked = linked._replace(line=_configured(linked.launcher, place.environment))
    start = _ways(shell, linked)[way]  # a miss now needs readlink, env and sed
    stored = _call(start, "store", FOREIGN, linked, PATH=only, PYTHONHOME="/nonexistent")
    assert (stored.returncode, stored.stderr) == (0, b"")
    assert place.memory.ask(FOREIGN) != b""


def test_it_is_found_by_name_in_the_current_directory(place: Place) -> None:
    """`sh git-credential-forge`, the one way in which $0 has no slash, finds Python all the same."""
    done = subprocess.run(
        ["sh", "git-credential-forge", "--version"],
        cwd=place.launcher.parent,
        env=place.environment,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.startswith(b"git-credential-forge ")


# -- what strace sees -------------------------------------------------------------------------------------


CACHE = "git credential-cache --socket socket get"


def test_a_hit_starts_one_program(place: Place, tmp_path: Path) -> None:
    """Run directly: the launcher and git's cache client, nothing else; to store what is held, not even that."""
    stored = lines(*ASKED)[:-1] + HIT
    for operation, given, said, started in (("get", lines(*ASKED), HIT, [CACHE]), ("store", stored, b"", [])):
        done = traced([str(place.launcher), operation], given, place.environment, tmp_path)
        assert (done.status, oldest(done.out), done.err) == (0, said, b"")
        assert done.programs == [f"git-credential-forge {operation}", *started]


@pytest.mark.parametrize("how", ["configured", "absolute path", "name"])
def test_git_starts_what_is_expected_and_no_more(place: Place, tmp_path: Path, how: str) -> None:
    """`git credential fill` on a hit: as configured one sh and one cache client; by path and name, one more each."""
    helper = {"configured": place.line, "absolute path": str(place.launcher), "name": "forge"}[how]
    path = os.pathsep.join([str(place.launcher.parent), place.environment["PATH"]])
    settings = ["-c", "credential.helper=", "-c", f"credential.helper={helper}"]
    command = ["git", *settings, "credential", "fill"]
    done = traced(command, lines(*ASKED), place.environment | {"PATH": path}, tmp_path)
    assert oldest(done.out) == b"protocol=https\nhost=example.com\n" + HIT[:-1]
    middle = {
        "configured": [],
        "absolute path": ["git-credential-forge get"],
        "name": ["git credential-forge get", "git-credential-forge get"],
    }[how]
    assert done.programs[0].endswith(" credential fill")
    assert [re.sub(r"^sh -c .*", "sh", program) for program in done.programs[1:]] == ["sh", *middle, CACHE]


def test_no_secret_stands_in_arguments_or_environment(shell: Shell, place: Place, tmp_path: Path) -> None:
    """In no shell, even with -a, which exports what is set; run or sourced, on a hit, a miss or a store."""
    requests = {"get": lines(*ASKED, f"password={PASSWORD}"), "store": FOREIGN, "erase": FOREIGN}
    for way in _ways(shell, place, "-a").values():
        for operation, given in requests.items():
            command = [*way[:-1], f"{way[-1]} {operation}"] if "-c" in way else [*way, operation]
            done = traced(command, given, place.environment | VARIABLES, tmp_path)
            assert done.programs
            assert TOKEN not in done.log
            assert PASSWORD not in done.log


def test_a_secret_that_is_planted_is_seen(place: Place, tmp_path: Path) -> None:
    """The look at arguments and environment sees a secret where there is one."""
    done = traced(
        ["sh", "-c", "SECRET=$1 git version; git version $2; :", "sh", PASSWORD, TOKEN],
        b"",
        place.environment,
        tmp_path,
    )
    assert f'"SECRET={PASSWORD}"' in done.log
    assert f"git version {TOKEN}" in done.programs


# -- Python, as the launcher starts it --------------------------------------------------------------------


def test_python_variables_do_not_reach_python(shell: Shell, place: Place) -> None:
    """What somebody set for their own Python would break ours: PYTHONHOME alone ends it before it begins."""
    variables = {
        "PYTHONHOME": "/nonexistent",
        "PYTHONPATH": ".",
        "PYTHONVERBOSE": "1",
        "PYTHONINSPECT": "1",
        "PYTHON_GIL": "9",
        "PYTHONWARNINGS": "error",
        "PYTHONA9_z": "1",
    }
    for way in _ways(shell, place).values():
        done = _call(way, "--version", b"", place, **variables)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.startswith(b"git-credential-forge ")


@pytest.mark.parametrize("variables", [{}, {"PYTHONPATH": "."}, {"PYTHONPATH": "", "PYTHONSAFEPATH": ""}])
def test_no_module_of_the_current_directory_is_imported(place: Place, home: Path, variables: dict[str, str]) -> None:
    """git starts helpers in the work tree, and what lies there is somebody else's."""
    tree = home / "tree"
    tree.mkdir()
    for name in ("json", "git_credential_forge", "httpx", "platformdirs", "sitecustomize", "usercustomize", "re"):
        (tree / f"{name}.py").write_text(f"open({str(home / 'imported')!r}, 'w').close()\nraise SystemExit(9)\n")
    done = subprocess.run(
        [str(place.launcher), "status", "--json"],
        cwd=tree,
        env=place.environment | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert b'"account": "alice"' in done.stdout
    assert (done.returncode, done.stderr) == (0, b"")
    assert not (home / "imported").exists()


def test_a_git_of_the_current_directory_is_not_run(place: Place, home: Path) -> None:
    """An empty or relative entry of PATH is not searched by Python; nor does the launcher add one."""
    tree = home / "tree"
    tree.mkdir()
    for name in ("git", "git-credential-forge--main", "env", "sed", "readlink"):
        (tree / name).write_text(f"#!/bin/sh\n: >{shlex.quote(str(home / 'ran'))}\n")
        (tree / name).chmod(0o755)
    subprocess.run(
        [str(place.launcher), "get"],
        cwd=tree,
        env=place.environment,
        input=lines("protocol=https", "host=x.example"),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert not (home / "ran").exists()


def test_the_launcher_is_short(place: Place) -> None:
    """At most 50 lines of code: one can read it before one trusts it."""
    text = place.launcher.read_text()
    code = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert len(code) <= 50
    assert os.access(place.launcher, os.X_OK)
