"""git's own suites for credential helpers pass with the installed helper, with the git that is here."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.git import conformance
from tests.support.surroundings import ROOT

COMMAND = ROOT / "tests" / "git" / "conformance.py"


@pytest.mark.timeout(600)
def test_every_test_of_the_suites_passes(installed: Path, environment: dict[str, str]) -> None:
    """All that the suites of this git's version have, by name and as configured, with nothing said beside."""
    if platform.system() != "Linux" or platform.freedesktop_os_release().get("ID") != "debian":
        pytest.skip("not here: the suites come from Debian's source package of git")
    git = shutil.which("git")
    assert git
    done = subprocess.run(
        [sys.executable, str(COMMAND), "--git", git],
        env=environment | {"FORGE_INSTALLED": str(installed)},
        capture_output=True,
        text=True,
        check=False,
        timeout=580,
    )
    if "none of Debian's releases has the source" in done.stderr:
        pytest.skip(f"not here: {done.stderr.strip()}")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    print(done.stdout)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()[2:]]
    t0303 = next(row for row in rows if row[1] == "t0303")
    assert t0303[2] == t0303[3] == t0303[4], "git's cache, and ours in both ways, pass the same number"
    passed, total = map(int, t0303[3].split("/"))
    assert passed == total >= 13
    assert all(row[-1] in ("nothing", "-") for row in rows)


@pytest.mark.parametrize(
    ("said", "status", "passed", "failed"),
    [
        ("ok 1 - a\nok 2 - b\n# passed all 2 test(s)\n1..2\n", 0, 2, []),
        ("ok 1 - a\nnot ok 2 - b\n#\tcheck fill\n1..2\n", 1, 1, ["b"]),
        ("ok 1 - a\nok 2 - b # SKIP no sockets\n1..2\n", 1, 1, ["b # SKIP no sockets"]),
        ("ok 1 - a\n", 1, 1, ["broke off after 1 tests of ?, exit status 1"]),
        ("ok 1 - a\n1..2\n", 0, 1, ["broke off after 1 tests of 2, exit status 0"]),
        ("1..0 # SKIP no helper\n", 0, 0, ["broke off after 0 tests of ?, exit status 0"]),
    ],
)
def test_what_a_suite_says_is_read_strictly(said: str, status: int, passed: int, failed: list[str]) -> None:
    """Passed is what is said to be, of a plan that was carried out."""
    outcome = conformance._outcome(subprocess.CompletedProcess([], status, said, "forge: a word\n"))
    assert (outcome.passed, outcome.failed, outcome.said) == (passed, failed, ["forge: a word"])


@pytest.mark.parametrize(
    ("default", "value", "status"),
    [("false", None, 1), ("true", None, 0), ("false", "true", 0), ("true", "0", 1)],
)
def test_the_stand_in_for_gits_test_tool(
    tmp_path: Path, environment: dict[str, str], default: str, value: str | None, status: int
) -> None:
    """`env-helper` reads a boolean from the environment as git's own does; any other call is an error."""
    tool = tmp_path / "test-tool"
    conformance._write_program(tool, conformance.TEST_TOOL)
    environment |= {"GIT_TEST_X": value} if value else {}
    asked = [str(tool), "env-helper", "--type=bool", f"--default={default}", "--exit-code", "GIT_TEST_X"]
    assert subprocess.run(asked, env=environment, check=False).returncode == status
    other = subprocess.run([str(tool), "path-utils"], env=environment, capture_output=True, check=False)
    assert other.returncode == 125
