"""What every test has: a home of its own that is left without processes, the installed launcher, a locked door.

`tests.outside` is the door. With CI set, a test that is skipped has failed, unless its reason begins with
"not here: " (another platform, an older git) or it is one of `tests/real`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests import outside

NOBODY = outside.enter()  # before anything else can look at the machine

import pytest  # noqa: E402 - see above

from tests.support.surroundings import ROOT, clean_environment  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

# By .ci/run, for its step test.
INSTALLED_BY_CI = ("git", "git-lfs", "chromium", "strace", "bash", "dash", "busybox", "zsh", "mksh", "ksh")
LEAVING = 5.0  # seconds for what ends by itself after a test: openers, children of a killed git


@pytest.fixture
def home() -> Iterator[Path]:
    """A fresh, empty home with a short path. Afterwards its cache daemons are ended; any other process of it that
    is left fails the test."""
    path = Path(os.path.realpath(tempfile.mkdtemp(prefix="home-")))
    try:
        yield path
        _end_daemons(path)
        left = _wait_for_none(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)
    assert not left, f"processes with HOME={path} were left: {left}"


@pytest.fixture
def environment(home: Path) -> dict[str, str]:
    """The environment for a program in `home`; yours to change."""
    return clean_environment(home)


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What pip, pipx and uv need besides a clean environment to fetch packages; one cache for all tests."""
    told = {k: v for k, v in os.environ.items() if k.startswith(("PIP_", "UV_"))}
    cache = _shared(tmp_path_factory)
    caches = {"PIP_CACHE_DIR": str(cache / "pip"), "UV_CACHE_DIR": str(cache / "uv")}
    return told | outside.machine().certificates | caches


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory, network: dict[str, str]) -> Path:
    """The project as a wheel, built once for all of pytest-xdist's processes."""

    def build(directory: Path) -> None:
        pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(directory), str(ROOT)]
        run(pip, clean_environment(directory / "home", **network))

    return next(once(tmp_path_factory, "wheel", build).glob("*.whl"))


@pytest.fixture(scope="session")
def installed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, network: dict[str, str]
) -> Path:
    """The directory of the launcher, installed from the wheel: $FORGE_INSTALLED, else a venv made for this run."""
    given = os.environ.get("FORGE_INSTALLED")
    if given:
        assert (Path(given) / "git-credential-forge").is_file(), f"no launcher in FORGE_INSTALLED={given}"
        return Path(given)
    package: Path = request.getfixturevalue("wheel")

    def build(directory: Path) -> None:
        environment = clean_environment(directory / "home", **network)
        run([sys.executable, "-m", "venv", str(directory / "venv")], environment)
        run([str(directory / "venv/bin/python"), "-m", "pip", "install", "--quiet", str(package)], environment)

    return once(tmp_path_factory, "installed", build) / "venv" / "bin"


def run(arguments: list[str], environment: dict[str, str], given: str = "") -> str:
    """Standard output of what must succeed; both outputs in the failure if it does not."""
    done = subprocess.run(
        arguments, env=environment, input=given, capture_output=True, text=True, check=False, timeout=250
    )
    assert done.returncode == 0, f"{arguments} exited {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], None]) -> Path:
    """A directory that `build` has filled, in whichever process of this run came first."""
    directory = _shared(factory) / name
    with (directory.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready = directory / ".ready"
        if not ready.exists():
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
            build(directory)
            ready.touch()
    return directory


def _shared(factory: pytest.TempPathFactory) -> Path:
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def _end_daemons(home: Path) -> None:
    for directory, _, names in os.walk(home):
        for name in names:
            path = os.path.join(directory, name)
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                subprocess.run(
                    ["git", "credential-cache", "--socket", path, "exit"],
                    env=clean_environment(home),
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    check=False,
                    timeout=20,
                )


def _wait_for_none(home: Path) -> list[str]:
    """The processes of that home which do not end by themselves, by their command lines. They are killed."""
    deadline = time.monotonic() + LEAVING
    while (left := _processes_of(home)) and time.monotonic() < deadline:
        time.sleep(0.02)  # the kernel tells nobody when somebody else's child ends
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return [f"{pid}: {line}" for pid, line in left.items()]


def _processes_of(home: Path) -> dict[int, str]:
    found = {}
    wanted = b"\0HOME=" + os.fsencode(home) + b"\0"
    for entry in Path("/proc").glob("[0-9]*"):  # where there is no /proc, nothing is found
        with suppress(OSError):  # gone, or another user's
            if wanted in b"\0" + (entry / "environ").read_bytes() + b"\0":
                line = (entry / "cmdline").read_bytes()
                found[int(entry.name)] = line.replace(b"\0", b" ").decode(errors="replace").strip()
    return found


@pytest.fixture(autouse=True)
def _stays_inside() -> Iterator[None]:
    """Fails a test that reached outside, also where the error was caught, or whose child had no home of its own."""
    yield
    reached = outside.reached.copy()
    outside.reached.clear()
    landed = sorted(str(path.relative_to(NOBODY)) for path in NOBODY.rglob("*git*"))
    if landed:
        shutil.rmtree(NOBODY)
        NOBODY.mkdir(mode=0o700)
    assert not reached, f"TestReachedOutside: {reached}"
    assert not landed, f"a program was started without a home of its own, and left there: {landed}"


def pytest_configure() -> None:
    missing = [program for program in INSTALLED_BY_CI if not shutil.which(program)]
    if missing and outside.machine().ci:
        raise pytest.UsageError(f"with CI set nothing may be missing: {', '.join(missing)}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The last look, of one process for all: is the real home as it was?"""
    shutil.rmtree(NOBODY, ignore_errors=True)
    left = [] if hasattr(session.config, "workerinput") else outside.left_behind()
    if left:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        text = f"TestReachedOutside: the real home is not as it was before the tests: {left}"
        if reporter:
            reporter.stats.setdefault("error", []).append(pytest.CollectReport("the real home", "failed", text, []))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if not item.path.is_relative_to(ROOT / "tests" / "real"):
        _no_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if not collector.path.is_relative_to(ROOT / "tests" / "real"):
        _no_skip(report)
    return report


def _no_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.outcome == "skipped" and outside.machine().ci and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not reason.removeprefix("Skipped: ").startswith("not here: "):
            report.outcome = "failed"
            report.longrepr = f"with CI set nothing may be missing, and this was to be skipped: {reason}"
