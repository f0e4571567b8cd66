"""The suite cannot touch the user's machine: each way out that `tests.outside` knows is shut, and said so."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import outside
from tests.outside import TestReachedOutside
from tests.support.surroundings import ROOT, clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable

NEVER = "git-credential-forge-was-never-here"


def _real(*parts: str) -> str:
    return os.path.join(outside.machine().homes[0], *parts)


def _connect(host: str, family: socket.AddressFamily = socket.AF_INET) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((host, 9))


def _connect_unix() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(_real(".cache/git-credential-forge/socket"))


def _bind_everywhere() -> None:
    with socket.socket() as sock:
        sock.bind(("0.0.0.0", 0))


def _through_a_link(tmp: Path) -> None:
    (tmp / "link").symlink_to(_real())
    (tmp / "link" / NEVER).write_text("")


WAYS_OUT: dict[str, Callable[[Path], object]] = {
    "write": lambda _: Path(_real(NEVER)).write_text(""),
    "os.open": lambda _: os.open(_real(NEVER), os.O_CREAT | os.O_WRONLY),
    "append": lambda _: os.open(_real(".gitconfig"), os.O_APPEND | os.O_WRONLY),
    "through a link": _through_a_link,
    "mkdir": lambda _: Path(_real(NEVER)).mkdir(),
    "move in": lambda tmp: (tmp / "gone").rename(_real(NEVER)),
    "move out": lambda tmp: Path(_real(NEVER)).rename(tmp / "here"),
    "remove": lambda _: Path(_real(NEVER)).unlink(),
    "link": lambda _: Path(_real(NEVER)).symlink_to("/"),
    "chmod": lambda _: Path(_real(NEVER)).chmod(0o700),
    "read git's configuration": lambda _: Path(_real(".gitconfig")).read_text(),
    "read our memory": lambda _: os.listdir(_real(".cache/git-credential-forge")),
    "read our configuration": lambda _: Path(_real(".config/git-credential-forge/gitconfig")).read_text(),
    "cache daemon of the user": lambda _: _connect_unix(),
    "address": lambda _: _connect("192.0.2.1"),
    "IPv6 address": lambda _: _connect("2001:db8::1", socket.AF_INET6),
    "name": lambda _: socket.getaddrinfo("codeberg.org", 443),
    "connection by name": lambda _: socket.create_connection(("codeberg.org", 443), timeout=1),
    "listening to all": lambda _: _bind_everywhere(),
    "child in the real home": lambda _: subprocess.run(["true"], env={"HOME": _real()}, check=False),
    "child without a home": lambda _: subprocess.run(["true"], env={"PATH": os.environ["PATH"]}, check=False),
    "exec": lambda _: os.posix_spawn("/bin/true", ["true"], {"HOME": _real()}),
}


@pytest.mark.parametrize("way", WAYS_OUT)
def test_every_way_out_is_shut(way: str, tmp_path: Path) -> None:
    """It raises before anything is done, as an error that no `except Exception` hides."""
    with pytest.raises(TestReachedOutside) as caught:
        WAYS_OUT[way](tmp_path)
    assert not isinstance(caught.value, Exception)
    assert outside.reached == [str(caught.value)]
    outside.reached.clear()
    assert not os.path.lexists(_real(NEVER))


def test_what_tests_need_is_open(tmp_path: Path, home: Path) -> None:
    """Loopback, the throwaway home, files of their own and the tree to read."""
    for host in ("127.0.0.1", "127.8.9.1", "::1"):
        _connect(host, socket.AF_INET6 if ":" in host else socket.AF_INET)
    assert socket.getaddrinfo("localhost", 80)
    (tmp_path / "file").write_text("")
    (Path.home() / "file").write_text("")
    (home / ".gitconfig").write_text("")
    (ROOT / "pyproject.toml").read_text()
    subprocess.run(["true"], env=clean_environment(home), check=True)
    subprocess.run(["true"], check=True)


def test_the_surroundings_are_nobodys() -> None:
    """HOME and XDG_* of this process lead to a throwaway directory; what would change a program is gone."""
    led = {os.environ[name] for name in ("HOME", *outside.XDG)}
    assert all(Path(path).name.startswith("forge-nobody-") or "forge-nobody-" in path for path in led)
    assert not led & set(outside.machine().homes)
    assert not {"CI", "DISPLAY", "BROWSER", "GIT_SSL_CAINFO", "SSL_CERT_FILE", "https_proxy"} & set(os.environ)


# What a run of pytest does with a test that breaks the rules: (the test, what the run says).
BAD_TESTS = {
    "passed over": (
        """
        def test_bad():
            try:
                open(os.path.join(REAL, "x"), "w")
            except BaseException:
                pass
        """,
        "TestReachedOutside: ['open: ",
    ),
    "in a thread": (
        """
        def test_bad():
            thread = threading.Thread(target=lambda: open(os.path.join(REAL, "x"), "w"))
            thread.start()
            thread.join()
        """,
        "TestReachedOutside",
    ),
    "child without a home of its own": (
        """
        def test_bad():
            subprocess.run(["git", "config", "--global", "a.b", "c"], check=True)
        """,
        "was started without a home of its own, and left there: ['.gitconfig']",
    ),
    "child that finds the real home all the same": (
        """
        def test_bad():
            subprocess.run(["sh", "-c", "mkdir -p $0/.cache/git-credential-forge", REAL], check=True)
        """,
        "the real home is not as it was before the tests: ['",
    ),
    "child that changes the real .gitconfig": (
        """
        def test_bad():
            subprocess.run(["sh", "-c", "echo '[a]' >>$0/.gitconfig", REAL], check=True)
        """,
        ".gitconfig']",
    ),
    "process left in its home": (
        """
        def test_bad(environment):
            orphan = "(sleep 60 >/dev/null & echo started); true"
            subprocess.run(["sh", "-c", orphan], env=environment, start_new_session=True, stdout=subprocess.PIPE)
        """,
        ": sleep 60'",
    ),
    "skipped in CI": ("def test_bad(): pytest.skip('no browser')", "nothing may be missing"),
    "module skipped in CI": ("pytest.importorskip('nonesuch')", "nothing may be missing"),
}
GOOD_TESTS = {
    "daemon": """
        def test_good(environment, home):
            socket = str(home / "a" / "socket")
            os.mkdir(home / "a", 0o700)
            subprocess.run(["git", "credential-cache", "--socket", socket, "store"], env=environment, check=True,
                           input=b"protocol=https\\nhost=h\\nusername=u\\npassword=p\\n")
            assert os.path.exists(socket)
        """,
    "another platform": "def test_good(): pytest.skip('not here: macOS only')",
}
IMPORTS = "import os, subprocess, threading, pytest\nREAL = os.environ['FORGE_REAL']\n"


def _pytest(tmp: Path, test: str, **more: str) -> subprocess.CompletedProcess[str]:
    """A run of its own, for which `tmp/real` is the real home."""
    real = tmp / "real"
    (tmp / "tests").mkdir()
    (tmp / "tests" / "test_it.py").write_text(IMPORTS + textwrap.dedent(test))
    environment = clean_environment(real, CI="true", PYTHONPATH=str(ROOT), FORGE_REAL=str(real), **more)
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.conftest", "-c", str(ROOT / "pyproject.toml")),
            *("--rootdir", str(tmp), "--basetemp", str(tmp / "tmp"), str(tmp / "tests")),
        ],
        env=environment,
        cwd=tmp,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


@pytest.mark.parametrize("test", BAD_TESTS)
def test_a_bad_test_fails(test: str, tmp_path: Path) -> None:
    """Whatever way it goes, its run is red, names the mistake, and ends with pytest's own last line."""
    source, said = BAD_TESTS[test]
    done = _pytest(tmp_path, source)
    assert done.returncode in {1, 2}, done.stdout + done.stderr
    assert said in done.stdout
    assert done.stdout.splitlines()[-1].startswith("====")


def test_nothing_may_be_missing_in_ci(tmp_path: Path) -> None:
    """Tests skip what their machine lacks; where CI is set, the run does not begin then."""
    done = _pytest(tmp_path, "def test_good(): pass", PATH="/nowhere")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "with CI set nothing may be missing: git, git-lfs, chromium, strace" in done.stderr


@pytest.mark.parametrize("test", GOOD_TESTS)
def test_a_good_test_passes(test: str, tmp_path: Path) -> None:
    """The cache daemon that a test had is ended for it; another platform's test may be skipped in CI."""
    done = _pytest(tmp_path, GOOD_TESTS[test])
    assert done.returncode == 0, done.stdout + done.stderr
