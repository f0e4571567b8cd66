"""What people install: the wheel has what it must, and each usual way puts a working program on the PATH."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import run
from tests.support.surroundings import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "git-credential-forge"
VERSION = "0.1.0"
ASKED = "protocol=https\nhost=git.example.org\n"
GIVEN = "username=alice\npassword=with space, = and ü\n"

pytestmark = pytest.mark.timeout(400)  # what is fetched, and built, on a machine that does much else


@pytest.fixture
def contents(wheel: Path) -> Iterator[dict[str, zipfile.ZipInfo]]:
    with zipfile.ZipFile(wheel) as archive:
        yield {info.filename.replace(f"git_credential_forge-{VERSION}", "NAME"): info for info in archive.infolist()}


@pytest.fixture
def builder(environment: dict[str, str], network: dict[str, str]) -> dict[str, str]:
    """The environment for pip, pipx and uv: that of a fresh home, and what fetches packages."""
    return environment | network | {"UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1"}  # as pip does; the second is older


@pytest.fixture
def tool(builder: dict[str, str], home: Path, request: pytest.FixtureRequest) -> str:
    """pipx or uv, put into a venv beside the home it will install into."""
    name: str = request.param
    venv = home / "the-tool's-own"
    run([sys.executable, "-m", "venv", str(venv)], builder)
    run([str(venv / "bin/python"), "-m", "pip", "install", "--quiet", name], builder)
    return str(venv / "bin" / name)


def test_the_wheel_has_what_it_must(contents: dict[str, zipfile.ZipInfo]) -> None:
    """The launcher as a script with its mode, the man page, the licence, the package; and nothing else."""
    launcher = contents.pop(f"NAME.data/scripts/{NAME}")
    assert stat.S_IMODE(launcher.external_attr >> 16) == 0o755
    contents.pop(f"NAME.data/data/share/man/man1/{NAME}.1")
    contents.pop("NAME.dist-info/licenses/LICENSE")
    assert {name.partition("/")[0] for name in contents} == {"git_credential_forge", "NAME.dist-info"}
    source = ROOT / "src"
    expected = {
        str(path.relative_to(source))
        for path in (source / "git_credential_forge").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in contents if name.startswith("git_credential_forge/")} == expected


def test_the_launcher_as_installed(installed: Path) -> None:
    """Mode 0755, byte for byte what is in the tree: pip rewrites the first line of Python scripts only."""
    launcher = installed / NAME
    assert stat.S_IMODE(launcher.stat().st_mode) == 0o755
    assert launcher.read_bytes() == (ROOT / "src" / NAME).read_bytes()
    assert (installed / f"{NAME}--main").is_file()
    assert (installed.parent / f"share/man/man1/{NAME}.1").is_file()


def test_in_a_venv(environment: dict[str, str], builder: dict[str, str], home: Path) -> None:
    """`pip install .` and back."""
    venv = home / "venv with a space"
    run([sys.executable, "-m", "venv", str(venv)], builder)
    pip = [str(venv / "bin/python"), "-m", "pip"]
    run([*pip, "install", "--quiet", str(ROOT)], builder)
    assert (venv / f"share/man/man1/{NAME}.1").is_file()
    works(venv / "bin", environment)
    run([*pip, "uninstall", "--quiet", "--yes", NAME], builder)
    assert remains(venv) == []


@pytest.mark.slow
def test_for_one_user(environment: dict[str, str], builder: dict[str, str], home: Path) -> None:
    """`pip install --user .` with the interpreter that this venv was made from, as people have it."""
    base = os.path.join(sys.base_prefix, "bin", "python3")
    pip = [sys.executable, "-m", "pip", "--python", base]
    builder["PIP_BREAK_SYSTEM_PACKAGES"] = "1"  # Debian refuses --user too; this home is all that it would break
    run([*pip, "install", "--quiet", "--user", str(ROOT)], builder)
    works(home / ".local/bin", environment)
    assert "\nproved in " in run(["git", "credential-forge", "demo", "--headless"], environment)
    run([*pip, "uninstall", "--quiet", "--yes", NAME], builder)
    assert remains(home / ".local") == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tool", "verbs"), [("pipx", [""]), ("uv", ["tool"])], indirect=["tool"], ids=["pipx", "uv"]
)
def test_as_a_tool(
    tool: str, verbs: list[str], environment: dict[str, str], builder: dict[str, str], home: Path
) -> None:
    """`pipx install .` and `uv tool install .`."""
    command = [tool, *filter(None, verbs)]
    builder["PATH"] = f"{home / '.local/bin'}:{builder['PATH']}"
    builder["UV_PYTHON"] = builder["PIPX_DEFAULT_PYTHON"] = sys.executable
    run([*command, "install", str(ROOT)], builder)
    works(home / ".local/bin", environment)
    assert "\nproved in " in run(["git", "credential-forge", "demo", "--headless"], environment)
    run([*command, "uninstall", NAME], builder)
    assert remains(home / ".local") == []


def works(directory: Path, environment: dict[str, str]) -> None:
    """Found by git on the PATH, answers for its version, and passes a password through to memory and back."""
    environment["PATH"] = f"{directory}:{environment['PATH']}"
    assert shutil.which(NAME, path=environment["PATH"]) == str(directory / NAME)
    assert run(["git", "credential-forge", "--version"], environment) == f"{NAME} {VERSION}\n"
    git = ["git", "-c", "credential.helper=forge", "credential"]
    environment["GIT_TERMINAL_PROMPT"] = "0"
    run([*git, "approve"], environment, ASKED + GIVEN)
    assert run([*git, "fill"], environment, ASKED) == ASKED + GIVEN
    run([*git, "reject"], environment, ASKED + GIVEN)
    gone = subprocess.run(
        [*git, "fill"], env=environment, input=ASKED, capture_output=True, text=True, check=False, timeout=30
    )
    assert (gone.returncode, gone.stdout) == (128, "")


def remains(directory: Path) -> list[str]:
    """What bears our name below a directory, but for the lock file that pipx keeps of all it ever had."""
    return [
        str(path.relative_to(directory))
        for path in directory.rglob("*")
        if path.name.replace("-", "_").startswith("git_credential_forge")
    ]
