"""The only place that runs git."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from git_credential_forge import git
from git_credential_forge.errors import ForgeError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def config(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The global configuration of a home in which nothing else is set; git is looked for anew."""
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.chdir(home)
    git._git.cache_clear()
    yield home / ".gitconfig"
    git._git.cache_clear()


def program(path: Path, text: str = "exit 0", mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)
    return path


def test_find_never_looks_here(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """git starts us in a work tree: what lies there is somebody else's, whatever PATH says (CVE-2020-26233)."""
    program(home / "git")
    program(home / "bin" / "git")
    for path in ("", ".", ":", "bin", "./bin:", f"{home}/nowhere"):
        monkeypatch.setenv("PATH", path)
        assert git.find("git") is None
    monkeypatch.setenv("PATH", f"::.:bin:{home}/bin")
    assert git.find("git") == f"{home}/bin/git"


def test_find_wants_a_program(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory or a file that may not be run is passed over."""
    (home / "a" / "git").mkdir(parents=True)
    program(home / "b" / "git", mode=0o644)
    program(home / "c" / "git")
    monkeypatch.setenv("PATH", f"{home}/a:{home}/b:{home}/c")
    assert git.find("git") == f"{home}/c/git"


def test_without_git(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said in words."""
    monkeypatch.setenv("PATH", str(home))
    with pytest.raises(ForgeError, match=r"^git is not on the PATH$"):
        git.run("version")


def test_run_is_not_overheard(home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """A trace that the person asked of git would show what we give it; its complaints are not for the person either."""
    for name in ("GIT_TRACE", "GIT_TRACE_SETUP", "GIT_TRACE2", "GIT_TRACE2_EVENT"):
        monkeypatch.setenv(name, str(home / name.lower()))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "0")
    status, out = git.run("hash-object", "--stdin", given=b"hush\n")
    assert (status, len(out)) == (0, 41)
    assert git.run("no-such-command", "hush")[0] != 0
    assert os.listdir(home) == []
    assert capfd.readouterr() == ("", "")


def test_no_child_is_given_a_token_of_coders(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They stand in our environment, and git's daemon would have them for hours."""
    program(home / "bin" / "git", 'env >"$HOME/seen"')
    monkeypatch.setenv("PATH", f"{home}/bin:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(home))
    for name in ("CODER_SESSION_TOKEN", "CODER_AGENT_TOKEN", "CODER_AGENT_URL"):
        monkeypatch.setenv(name, "some-text")
    git.run("version")
    assert [line for line in (home / "seen").read_text().splitlines() if "CODER" in line] == [
        "CODER_AGENT_URL=some-text"
    ]
    git.helper(f"!env >{home}/seen;", "get", b"", 5)
    assert [line for line in (home / "seen").read_text().splitlines() if "CODER" in line] == [
        "CODER_AGENT_URL=some-text"
    ]


def test_run_gives_up(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A git that hangs holds nobody for ever."""
    program(home / "bin" / "git", "exec sleep 300")
    monkeypatch.setenv("PATH", f"{home}/bin:/usr/bin:/bin")
    monkeypatch.setattr(git, "OVERDUE", 0.2)
    with pytest.raises(ForgeError, match=r"^git version did not answer within 0.2 s$"):
        git.run("version")


def test_detached(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a session of its own, and without a pipe of ours."""
    looking = (
        f"#!{sys.executable}\nimport os\nnull = os.stat(os.devnull).st_rdev\n"
        "fds = [os.fstat(n).st_rdev == null for n in (1, 2)]\n"
        f"print(os.getsid(0) == os.getpid(), *fds, file=open({str(home / 'seen')!r}, 'a'))\nprint('said')\n"
    )
    program(home / "bin" / "git").write_text(looking)
    monkeypatch.setenv("PATH", f"{home}/bin")
    assert git.run("x", detached=True) == (0, b"")
    assert git.run("x") == (0, b"said\n")
    assert (home / "seen").read_text() == "True True True\nFalse False True\n"


def test_config(config: Path) -> None:
    """Names in lower case; a value with line ends, an empty one and none at all come apart; odd bytes survive."""
    config.write_bytes(b'[a]\n\tTwo = "x\\ny"\n\tempty =\n\tnone\n\todd = \xff=\xc3\xa9\n[a "B.c"]\n\tk = v\n')
    expected = [("a.two", "x\ny"), ("a.empty", ""), ("a.none", "true"), ("a.odd", "\udcff=\xe9"), ("a.B.c.k", "v")]
    assert git.config("config", "-z", "--list") == expected
    assert git.config("config", "-z", "--get-regexp", "nothing") == []


def test_urlmatch(config: Path, home: Path) -> None:
    """Each key once, with the value that fits best; or those of one file alone, which need not exist."""
    config.write_text('[credential]\n\thelper = h\n\tX = 1\n[credential "https://h.example"]\n\tX = 2\n')
    (home / "more").write_text('[credential "https://h.example/p"]\n\tX = 3\n\tY = 4\n')
    more = str(home / "more")
    assert git.urlmatch("credential", "https://h.example/p") == {"helper": "h", "x": "2"}
    assert git.urlmatch("credential", "https://h.example/p", more) == {"x": "3", "y": "4"}
    assert git.urlmatch("credential", "https://other.example", more) == {}
    assert git.urlmatch("credential", "https://h.example", more + "-missing") == {}


def test_remote_url(home: Path) -> None:
    """The address of a remote of the repository that we stand in; None for any other word."""
    environment = dict(os.environ)
    subprocess.run(["git", "init", "-q", home], env=environment, check=True)
    subprocess.run(["git", "remote", "add", "origin", "https://h.example/a.git"], env=environment, cwd=home, check=True)
    assert git.remote_url("origin") == "https://h.example/a.git"
    assert git.remote_url("upstream") is None
    assert git.remote_url("--global") is None
    config = ["git", "config", "url.https://new.example/.insteadOf", "https://h.example/"]
    subprocess.run(config, env=environment, cwd=home, check=True)
    assert git.remote_url("origin") == "https://new.example/a.git"
