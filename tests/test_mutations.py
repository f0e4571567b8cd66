"""Each check of `tests.mutations` is taken away, in a copy, and the tests that are named there turn red."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.mutations import MUTATIONS, Mutation
from tests.support.surroundings import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

PACKAGE = ROOT / "src" / "git_credential_forge"
MAIN = """\
#!{python}
import sys
sys.path.insert(0, {source!r})
from git_credential_forge.start import main
main()
"""


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_what_is_taken_away_is_there(mutation: Mutation) -> None:
    """The text of a mutation stands exactly once in its file; a list that is out of date would prove nothing."""
    text = (PACKAGE / mutation.file).read_text()
    assert text.count(mutation.text) == 1
    assert mutation.replacement != mutation.text
    assert mutation.red


def test_names_are_their_own() -> None:
    """No two mutations have the same name."""
    names = [mutation.name for mutation in MUTATIONS]
    assert sorted(set(names)) == sorted(names)


def outcomes(directory: Path, tests: Sequence[str], mutation: Mutation | None) -> dict[str, str]:
    """How the tests end against a copy of the source with the mutation, in a pytest of its own."""
    source = directory / "src"
    shutil.copytree(PACKAGE, source / "git_credential_forge", ignore=shutil.ignore_patterns("__pycache__"))
    if mutation:
        path = source / "git_credential_forge" / mutation.file
        path.write_text(path.read_text().replace(mutation.text, mutation.replacement))
    programs = directory / "bin"
    programs.mkdir()
    (programs / "git-credential-forge").touch()  # what says that this is where programs are installed
    main = programs / "git-credential-forge--main"
    main.write_text(MAIN.format(python=sys.executable, source=str(source)))
    main.chmod(0o755)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-rA", "-p", "no:xdist", "--tb=no", "--no-header", "-q"),
            *("--timeout=40", f"--basetemp={directory / 'pytest'}", *tests),
        ],
        env=environment(PYTHONPATH=str(source), FORGE_INSTALLED=str(programs)),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    found = re.findall(r"^(PASSED|FAILED|ERROR) (tests/.*?)(?: - .*)?$", done.stdout, re.MULTILINE)
    assert found, done.stdout + done.stderr
    return {test: verdict for verdict, test in found}


def environment(**more: str) -> dict[str, str]:
    """As we were started, so that the copy's tests look at the machine for themselves; not counted as coverage."""
    ours = ("COVERAGE_", "FORGE_", "PYTEST_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | more


@pytest.mark.slow
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_without_the_check_its_tests_are_red(mutation: Mutation, tmp_path: Path) -> None:
    """Removing any one check turns each of its tests red (acceptance, 8)."""
    assert outcomes(tmp_path, mutation.red, mutation) == dict.fromkeys(mutation.red, "FAILED")


@pytest.mark.slow
def test_with_all_checks_they_are_green(tmp_path: Path) -> None:
    """The same tests pass against an unchanged copy, so it is the change that turns them red."""
    tests = sorted({test for mutation in MUTATIONS for test in mutation.red})
    assert outcomes(tmp_path, tests, None) == dict.fromkeys(tests, "PASSED")
