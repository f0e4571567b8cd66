"""`install.sh`: puts a working program where people find it, takes all of it away again, and does nothing by halves."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import run
from tests.support.surroundings import ROOT, clean_environment

NAME = "git-credential-forge"
SCRIPT = ROOT / "install.sh"
NOWHERE = "http://127.0.0.1:1/simple"
TOOLS = (
    "cat env grep id ln mkdir mktemp mv readlink rm rmdir sed sh sort tail"  # what install.sh runs, but git and python3
)

pytestmark = pytest.mark.timeout(400)
KEPT = """\
# from here written by git credential-forge register https://git.example.org; unregister removes it
[credential "https://git.example.org"]
\toauthClientId = "mine"
# to here
"""


@pytest.fixture
def person(home: Path) -> Path:
    """A home as people may have one: with a space in its path."""
    path = home / "a home"
    path.mkdir()
    return path


@pytest.fixture
def around(person: Path, home: Path, network: dict[str, str]) -> dict[str, str]:
    """The environment of that person: python3 is the interpreter that these tests' venv was made from."""
    programs = home / "programs"
    programs.mkdir()
    (programs / "python3").symlink_to(os.path.join(sys.base_prefix, "bin", "python3"))
    return clean_environment(person, **network) | {"PATH": f"{programs}:/usr/bin:/bin"}


@pytest.fixture
def bare(person: Path, home: Path) -> dict[str, str]:
    """A machine with the tools that install.sh needs and nothing else: no git, no python3, no sudo, no apt-get."""
    programs = home / "bare"
    programs.mkdir()
    for name in TOOLS.split():
        found = shutil.which(name)
        assert found, name
        (programs / name).symlink_to(os.path.realpath(found))
    return clean_environment(person) | {"PATH": str(programs)}


def install(environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(SCRIPT), *options],
        env=environment,
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
        start_new_session=True,  # no terminal, so no sudo that could ask
    )


def fails(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that it failed with."""
    assert done.returncode == 1, done
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0].removeprefix("install.sh: ")


def everything(directory: Path) -> dict[str, str | bytes]:
    """Each path below a directory, with what it is."""
    return {
        str(path.relative_to(directory)): os.readlink(path)
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else "directory"
        for path in directory.rglob("*")
    }


def program(directory: str, name: str, text: str) -> None:
    path = Path(directory.partition(":")[0]) / name
    path.unlink(missing_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.slow
def test_there_and_back_from_nothing(around: dict[str, str], person: Path) -> None:
    """In an empty home: what it prints at the end works in the same shell; again upgrades; nothing is left, twice."""
    done = install(around)
    assert (done.returncode, done.stderr) == (0, "")
    launcher, ours = person / ".local/bin" / NAME, person / ".local/share" / NAME
    assert f"from {ROOT}\ninstalled {NAME} 0.1.0 in ~/.local/share/{NAME}\ngit uses {NAME} for every" in done.stdout
    shown = done.stdout.split("what you can type now:\n")[1].splitlines()
    assert f"    ~/.local/bin/{NAME} -h" in shown
    assert run(["/bin/sh", "-c", shown[-1]], around).startswith(f"{NAME}: sign in")
    assert "Nm git-credential-forge" in (person / f".local/share/man/man1/{NAME}.1").read_text()
    line = run(["git", "config", "credential.helper"], around)
    assert str(launcher) in line, "git is given the link, which outlives an upgrade"

    asked, given = "protocol=https\nhost=git.example.org\n", "username=alice\npassword=secret\n"
    git = ["git", "credential"]
    run([*git, "approve"], around, asked + given)
    before = os.readlink(ours / "current")
    again = install(around)
    assert (again.returncode, again.stderr) == (0, "")
    assert "git uses it as it is configured already" in again.stdout
    assert os.readlink(ours / "current") != before
    assert sorted(path.name for path in ours.iterdir()) == ["current", "made", os.readlink(ours / "current")]
    assert run(["git", "config", "credential.helper"], around) == line
    assert run([*git, "fill"], around, asked) == asked + given

    away = install(around, "--uninstall")
    assert (away.returncode, away.stderr) == (0, "")
    assert away.stdout == f"removed ~/.gitconfig, which configure had made\ntook away {NAME}\n"
    assert everything(person) == {}
    twice = install(around, "--uninstall")
    assert (twice.returncode, twice.stderr) == (0, "")
    assert twice.stdout == f"nothing to take away: {NAME} was not installed by install.sh\n"
    assert everything(person) == {}


@pytest.mark.slow
def test_in_a_home_that_is_lived_in(around: dict[str, str], person: Path) -> None:
    """~/.local/bin on the PATH, directories of XDG's, a git config of one's own: it comes back byte for byte."""
    around["PATH"] = f"{person}/.local/bin:{around['PATH']}"
    for key, where in (("DATA", "da ta"), ("CONFIG", "conf"), ("CACHE", "ca che")):
        around[f"XDG_{key}_HOME"] = str(person / where)
    (person / ".local/bin").mkdir(parents=True)
    (person / ".local/bin/other").write_text("of theirs")
    (person / ".gitconfig").write_text("[user]\n\tname = Alice\n[credential]\n\thelper = store\n")
    before = everything(person)

    done = install(around, "--no-configure")
    assert (done.returncode, done.stderr) == (0, "")
    assert (person / ".gitconfig").read_bytes() == before[".gitconfig"]
    assert "is not on your PATH" not in done.stdout
    shown = done.stdout.split("what you can type now:\n")[1].splitlines()
    assert "    git credential-forge configure" in shown
    configured = run(["git", "credential-forge", "configure"], around)
    assert "another helper stays: store" in configured
    assert (person / "da ta" / NAME / "current").is_symlink()
    assert str(person / ".local/bin" / NAME) in run(["git", "config", "--get-all", "credential.helper"], around)
    ours = person / "conf" / NAME / "gitconfig"
    with ours.open("a") as file:
        file.write(KEPT)

    away = install(around, "--uninstall")
    assert (away.returncode, away.stderr) == (0, "")
    stays = f"took away {NAME}; what register has kept stays in ~/conf/{NAME}/gitconfig\n"
    assert away.stdout.endswith(stays), away.stdout
    assert ours.read_text() == KEPT
    ours.unlink()
    ours.parent.rmdir()
    ours.parent.parent.rmdir()
    assert everything(person) == before


@pytest.mark.slow
def test_a_failed_upgrade_changes_nothing(around: dict[str, str], person: Path) -> None:
    """Without a network one line says so; what was there goes on working. So it does where the first try fails."""
    offline = around | {"PIP_INDEX_URL": NOWHERE, "PIP_CACHE_DIR": str(person.parent / "pip"), "PIP_RETRIES": "1"}
    offline.pop("PIP_FIND_LINKS", None)
    expected = "the package index cannot be reached: go online (behind a proxy, set https_proxy), then run this again"
    assert fails(install(offline)) == expected
    assert everything(person) == {}
    assert install(around).returncode == 0
    before = everything(person)
    assert fails(install(offline)) == expected
    assert everything(person) == before
    assert run([str(person / ".local/bin" / NAME), "--version"], around) == f"{NAME} 0.1.0\n"
    assert install(around, "--uninstall").returncode == 0


@pytest.mark.slow
def test_an_interrupt_leaves_nothing(around: dict[str, str], person: Path) -> None:
    """Ctrl-C while pip is at work."""
    with subprocess.Popen(
        ["/bin/sh", str(SCRIPT)], env=around, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
    ) as child:
        assert child.stdout
        child.stdout.readline()
        deadline = time.monotonic() + 60
        while not list(person.glob(f".local/share/{NAME}/venv-*/bin/pip")) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(child.pid, signal.SIGINT)
        assert child.wait(timeout=60) == 130
    assert everything(person) == {}


def test_from_the_index_where_nothing_lies_beside_it(around: dict[str, str], person: Path) -> None:
    """Piped into a shell, in a directory of whatever kind, it asks the package index for the project by name."""
    (person / "pyproject.toml").write_text(f'name = "{NAME}"\n')
    done = subprocess.run(
        ["/bin/sh"],
        env=around | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(person)},
        cwd=person,
        input=SCRIPT.read_text(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout == f"installing into ~/.local/share/{NAME}, from the package index\n"
    assert fails(done).startswith("pip could not install it: ERROR: ")
    assert NAME in done.stderr
    assert set(everything(person)) == {"pyproject.toml"}


def test_a_cut_off_download_runs_nothing(bare: dict[str, str], person: Path) -> None:
    """Cut at the end of any line, or anywhere in the last one."""
    text = SCRIPT.read_text().rstrip("\n")
    ends = [at for at, character in enumerate(text) if character == "\n"]
    program(bare["PATH"], "git", f"echo git >>'{person}/ran'")
    for end in [*ends, *range(ends[-1] + 1, len(text))]:
        done = subprocess.run(
            ["/bin/sh"], env=bare, cwd=person, input=text[:end], capture_output=True, text=True, check=False, timeout=20
        )
        assert done.stdout == "", text[:end][-80:]
        assert "install.sh: " not in done.stderr, text[:end][-80:]
    assert everything(person) == {}


def test_what_it_needs_is_named(bare: dict[str, str], person: Path) -> None:
    """No git, no python3, one that is too old: one line each, and nothing made."""
    assert fails(install(bare)) == "git is missing: install it, then run this again"
    program(bare["PATH"], "git", "exit 0")
    assert fails(install(bare)) == "python3 is missing: install it (3.10 or newer), then run this again"
    program(bare["PATH"], "python3", "[ $1 = -V ] && echo Python 3.9.2")
    assert fails(install(bare)) == "python 3.10 or newer is needed, and this is Python 3.9.2"
    assert everything(person) == {}


def test_debians_python_without_ensurepip(bare: dict[str, str], person: Path) -> None:
    """Its package is named; as root it is installed, with fresh lists if need be."""
    log, venv = person.parent / "log", person.parent / "ensurepip"
    program(bare["PATH"], "git", "exit 0")
    program(
        bare["PATH"],
        "python3",
        f"case $* in *ensurepip*) [ -e '{venv}' ] ;; *venv*) echo no room; exit 1 ;; *) exit 0 ;; esac",
    )
    assert fails(install(bare)) == (
        "this python lacks ensurepip: install the package that has it (often python3-venv), then run this again"
    )
    program(
        bare["PATH"],
        "apt-get",
        f"echo \"$*\" >>'{log}'\ncase $2 in update) >'{log}.fresh' ;; esac\n[ -e '{log}.fresh' ]",
    )
    program(bare["PATH"], "id", "echo 1000")
    assert fails(install(bare)) == (
        "this python lacks ensurepip, which is in the package python3-venv: install it as root, then run this again"
    )
    program(bare["PATH"], "sudo", f"echo sudo >>'{log}'")
    assert "install it as root" in fails(install(bare)), "there is no terminal to ask on"
    assert not log.exists()

    program(bare["PATH"], "id", "echo 0")
    assert fails(install(bare)) == "apt-get could not install python3-venv: do that as root, then run this again"
    tried = "-qq install python3-venv -y --no-install-recommends"
    assert log.read_text().splitlines() == [tried, "-qq update", tried]
    venv.touch()
    assert fails(install(bare)) == "python could not make an environment: no room"
    assert everything(person) == {}


def test_what_is_in_the_way_stays(bare: dict[str, str], person: Path) -> None:
    """A program of that name from somewhere else, and a home that is not one's own."""
    program(bare["PATH"], "git", "exit 0")
    program(bare["PATH"], "python3", "exit 0")
    (person / ".local/bin").mkdir(parents=True)
    (person / ".local/bin" / NAME).symlink_to("/nowhere/pipx")
    before = everything(person)
    assert fails(install(bare)) == (
        f"~/.local/bin/{NAME} is there already and not from here (pipx, pip --user, uv?): uninstall that first"
    )
    assert everything(person) == before
    assert fails(install(bare | {"HOME": "relative"})).startswith("HOME is not set")


def test_options(bare: dict[str, str], person: Path) -> None:
    """What it does not know is said to be so before anything is done."""
    wrong = install(bare, "--prefix=/usr")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("usage: ")
    asked = install(bare, "--help")
    assert (asked.returncode, asked.stderr) == (0, "")
    assert asked.stdout == wrong.stderr
    assert everything(person) == {}
