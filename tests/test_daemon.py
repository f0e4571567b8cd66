"""Where our files are, and git's own cache daemon, the real one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from git_credential_forge import daemon, git
from git_credential_forge.errors import ForgeError, VaultError
from tests.support.surroundings import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from git_credential_forge.daemon import Place

DEADLINE = 20.0  # seconds for what the machine does in milliseconds
linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="not here: no /proc")


@pytest.fixture(autouse=True)
def _at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name)
    git._git.cache_clear()
    yield
    git._git.cache_clear()


@pytest.fixture
def place() -> Place:
    return daemon.place()


def until(true: Callable[[], object]) -> bool:
    """Look until it is so, or the deadline has passed."""
    deadline = time.monotonic() + DEADLINE
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def entry(name: str, secret: str = "") -> bytes:
    return f"protocol=https\nhost={name}\nusername=u\n".encode() + (f"password={secret}\n".encode() if secret else b"")


def pid_of(place: Place) -> int:
    """The one daemon that listens at a place, found by its arguments."""
    pids = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # gone meanwhile
            words = path.read_bytes().split(b"\0")
            if words[-2:-1] == [place.socket.encode()] and any(b"daemon" in word for word in words[:-2]):
                pids.append(int(path.parent.name))
    assert len(pids) == 1, pids
    return pids[0]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "{home}/.cache/git-credential-forge/socket"),
        ("", "{home}/.cache/git-credential-forge/socket"),
        ("relative", "{home}/.cache/git-credential-forge/socket"),
        ("{home}/else where", "{home}/else where/git-credential-forge/socket"),
    ],
)
def test_default_socket(value: str | None, expected: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """git's rule for its own cache; a relative path is void, for a helper is started in many directories."""
    if value is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", value.format(home=home))
    assert daemon.default_socket() == expected.format(home=home)


def test_place_is_made(home: Path) -> None:
    """For us alone, whatever the umask; a second look finds it good."""
    mask = os.umask(0)
    try:
        place = daemon.place()
    finally:
        os.umask(mask)
    assert place == (f"{home}/.cache/git-credential-forge", f"{home}/.cache/git-credential-forge/socket")
    assert stat.S_IMODE(os.stat(place.directory).st_mode) == 0o700
    assert daemon.place() == place
    assert place.path("x") == f"{place.directory}/x"


def test_place_for_a_socket_of_ones_own(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--socket as git credential-cache has it: with a tilde, or from where we are."""
    monkeypatch.chdir(home)
    assert daemon.place("~/a/b/s") == (f"{home}/a/b", f"{home}/a/b/s")
    assert daemon.place("c/s") == (f"{home}/c", f"{home}/c/s")


def loosen(mode: int) -> Callable[[Path], None]:
    return lambda path: path.chmod(mode)


def with_file_at_socket(path: Path) -> None:
    (path / "socket").write_text("x")


def with_link_at_socket(path: Path) -> None:
    (path / "socket").symlink_to("elsewhere")


def with_directory_at_socket(path: Path) -> None:
    (path / "socket").mkdir()


def as_file(path: Path) -> None:
    path.rmdir()
    path.write_text("x")


def below_file(path: Path) -> None:
    path.rmdir()
    path.parent.rmdir()
    path.parent.write_text("x")


def as_dangling_link(path: Path) -> None:
    path.rmdir()
    path.symlink_to("nowhere")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        *((loosen(mode), "others may look into {}") for mode in (0o701, 0o710, 0o704, 0o755, 0o777)),
        (with_file_at_socket, "{}/socket is in the way, and no socket of yours"),
        (with_link_at_socket, "{}/socket is in the way, and no socket of yours"),
        (with_directory_at_socket, "{}/socket is in the way, and no socket of yours"),
        (as_file, "{} is not a directory"),
        (below_file, "{}: Not a directory"),
        (as_dangling_link, "{}: No such file or directory"),
    ],
)
def test_place_that_is_not_ours_alone(spoil: Callable[[Path], None], said: str, place: Place) -> None:
    """One line says what is wrong with it; nothing is kept there."""
    spoil(Path(place.directory))
    with pytest.raises(VaultError) as caught:
        daemon.place()
    assert caught.value.message == "nothing is kept in memory: " + said.format(place.directory)


def test_the_remedy_mends_it(place: Place) -> None:
    """What the hint says to type does it."""
    os.chmod(place.directory, 0o755)
    with pytest.raises(VaultError) as caught:
        daemon.place()
    (hint,) = caught.value.hints
    subprocess.run(["sh", "-c", hint.removeprefix("to mend it: ")], env=dict(os.environ), check=True)
    assert daemon.place() == place


@pytest.mark.usefixtures("place")
def test_place_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user's directory is refused."""
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(VaultError, match="belongs to another user"):
        daemon.place()


def test_long_path(home: Path) -> None:
    """Longer than an address of a Unix socket may be (108 bytes): git's client knows how."""
    place = daemon.place(str(home / ("d" * 120) / "socket"))
    daemon.store(place, entry("h", "secret"), 60)
    assert b"password=secret\n" in daemon.ask(place, entry("h"))


def test_without_daemon(place: Place) -> None:
    """Nothing is held, nothing is started to say so, and erasing is no error."""
    assert daemon.ask(place, entry("h")) == b""
    daemon.erase(place, entry("h"))
    assert os.listdir(place.directory) == []


def test_store_ask_erase(place: Place) -> None:
    """What was kept comes back, 200 kB of it too, and is gone when it was erased."""
    secret = "x" * 200_000
    daemon.store(place, entry("h", secret), 60)
    assert stat.S_ISSOCK(os.stat(place.socket).st_mode)
    assert daemon.place() == place, "its own socket is in nobody's way"
    assert f"password={secret}\n".encode() in daemon.ask(place, entry("h"))
    assert daemon.ask(place, entry("other")) == b""
    daemon.erase(place, entry("h"))
    assert daemon.ask(place, entry("h")) == b""


def test_lifetime(place: Place) -> None:
    """The daemon forgets by itself, each entry at its own end."""
    daemon.store(place, entry("short", "s"), 1)
    daemon.store(place, entry("long", "s"), 60)
    assert until(lambda: daemon.ask(place, entry("short")) == b"")
    assert daemon.ask(place, entry("long")) != b""


@linux
def test_daemon_is_detached(place: Place) -> None:
    """In a session of its own, with no descriptor of ours, and a hang-up of the terminal does not end it."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        daemon.store(place, entry("h", "s"), 60)
        pid = pid_of(place)
        held = {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()}
        assert os.getsid(pid) != os.getsid(0)
        assert {name.partition(":")[0] for name in held} <= {"/dev/null", "socket"}
        os.kill(pid, signal.SIGHUP)
        assert daemon.ask(place, entry("h")) != b""
        assert pid_of(place) == pid
    finally:
        os.close(reader)
        os.close(writer)


def test_store_holds_no_pipe_of_the_caller(place: Place) -> None:
    """Who reads our output to its end has it when we have ended, not when the daemon has: two hours later."""
    script = "import sys; from git_credential_forge import daemon as d; d.store(d.place(), sys.argv[1].encode(), 600)"
    done = subprocess.run(
        [sys.executable, "-c", script, entry("h", "s").decode()],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        timeout=DEADLINE,
        check=True,
    )
    assert (done.stdout, done.stderr) == (b"", b"")
    assert daemon.ask(place, entry("h")) != b""


STORE_AT_ONCE = """
import sys
from git_credential_forge import daemon
place = daemon.place()
print("ready", flush=True)
sys.stdin.readline()
daemon.store(place, sys.argv[1].encode(), 600)
"""


def test_many_start_it_at_once(place: Place) -> None:
    """One daemon, and it has everybody's entry: a second would take the socket away, and the first one's memory."""
    names = [f"h{number}" for number in range(12)]
    children = [
        subprocess.Popen(
            [sys.executable, "-c", STORE_AT_ONCE, entry(name, "s").decode()],
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for name in names
    ]
    for child in children:
        assert child.stdout
        assert child.stdout.readline() == b"ready\n"
    for child in children:
        assert child.stdin
        child.stdin.write(b"\n")
        child.stdin.flush()
    for child in children:
        child.communicate(timeout=DEADLINE)
        assert child.returncode == 0
    assert [name for name in names if daemon.ask(place, entry(name)) == b""] == []


@linux
def test_a_dead_daemon_is_replaced(place: Place) -> None:
    """It leaves its socket behind: nothing is held then, and the next store works."""
    daemon.store(place, entry("h", "s"), 60)
    os.kill(pid_of(place), signal.SIGKILL)
    assert until(lambda: daemon.ask(place, entry("h")) == b"")
    assert os.path.exists(place.socket)
    daemon.store(place, entry("h", "anew"), 60)
    assert b"password=anew\n" in daemon.ask(place, entry("h"))


def test_a_git_without_cache(place: Place, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform or a build without it is said in words, by whoever wants to keep something."""
    (home / "bin").mkdir()
    (home / "bin" / "git").write_text("#!/bin/sh\necho \"git: 'credential-cache' is not a git command\" >&2\nexit 1\n")
    (home / "bin" / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{home}/bin:/usr/bin:/bin")
    with pytest.raises(VaultError, match=r"^nothing is kept in memory: git credential-cache does not work here$"):
        daemon.store(place, entry("h", "s"), 60)


def test_lock_file(place: Place) -> None:
    """Ours alone, handed to no child, not followed where it is a link, and there to stay."""
    descriptor = daemon.open_lock(place, "lock-x")
    assert not os.get_inheritable(descriptor)
    assert stat.S_IMODE(os.fstat(descriptor).st_mode) == 0o600
    os.close(descriptor)
    with daemon.lock(place, "lock-x"):
        pass
    assert os.listdir(place.directory) == ["lock-x"]
    Path(place.path("lock-link")).symlink_to(place.path("lock-x"))
    Path(place.path("lock-directory")).mkdir()
    for name in ("lock-link", "lock-directory", "missing/lock"):
        with pytest.raises(VaultError, match="nothing is kept in memory: .*" + name):
            daemon.open_lock(place, name)


def test_lock_excludes(place: Place) -> None:
    """While it is held nobody else has it; afterwards, also after an error, it is free."""

    def free() -> bool:
        descriptor = daemon.open_lock(place, "lock-x")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True

    def hold() -> None:
        with daemon.lock(place, "lock-x"):
            assert not free()
            raise ForgeError("x")

    with pytest.raises(ForgeError):
        hold()
    assert free()
