"""Runs git's own tests for credential helpers against the installed helper, and prints how many of them pass.

    python3 tests/git/conformance.py                    Debian's gits, and the table goes to docs/conformance.md
    python3 tests/git/conformance.py --release trixie   one of them
    python3 tests/git/conformance.py --git /usr/bin/git that git, with the suite of its version

The suites are `t0303-credential-external.sh`, and the tests of `helper_test_authtype` (git 2.46 and newer), which
t0303 leaves out. They come unchanged from git's source package. A git of another release is unpacked from Debian's
packages and runs with the C library that it was made for, so nothing is built and nothing installed. The helper is
$FORGE_INSTALLED/git-credential-forge, else the one on the PATH. Needs apt, dpkg-deb and perl; no root.
"""

from __future__ import annotations

import argparse
import datetime as dt
import glob
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "docs" / "conformance.md"
RELEASES = ("bookworm", "trixie", "sid")
OLDER = ("bullseye",)  # known too, if a git is of its version
LIBRARIES = ("libc6", "libpcre2-8-0", "zlib1g")  # what git itself is linked with
NOWHERE = "http://127.0.0.1:1"  # a proxy that is not there: no host on the network is ever asked
OVERDUE = 600  # seconds for a suite that takes ten

AUTHTYPE = """#!/bin/sh
test_description='the tests of t0301 that t0303 leaves out'
. ./test-lib.sh
. "$TEST_DIRECTORY"/lib-credential.sh
eval "$GIT_TEST_CREDENTIAL_HELPER_SETUP"
helper_test_authtype "$GIT_TEST_CREDENTIAL_HELPER"
test_done
"""

# The one thing that the suites ask of git's test-tool, which no package has: a boolean from the environment.
TEST_TOOL = """#!/bin/sh
test "$1" = env-helper || { echo "test-tool: $*" >&2; exit 125; }
for word; do case $word in --default=*) value=${word#--default=} ;; esac; done
eval "value=\\${$word-$value}"
case $value in true | yes | on | 1) ;; *) exit 1 ;; esac
"""


class Git(NamedTuple):
    name: str  # for the table
    version: str
    directory: Path  # with `git` in it, and nothing else
    suite: Path  # git's source tree, as far as the tests need it


class Way(NamedTuple):
    """A helper, and how it is configured."""

    title: str
    helper: str
    with_timeout: str
    socket: str  # of its daemon, below HOME


class Outcome(NamedTuple):
    passed: int
    total: int
    failed: list[str]
    said: list[str]  # on standard error


# git takes no spaces in a helper's name there, and `configure` writes a line with some: they come by the environment.
CONFIGURED = '!eval${IFS}"$forge_line"'
CACHE = Way("`git credential-cache`", "cache", "cache --timeout=1", ".cache/git/credential/socket")
WAYS = (
    CACHE,
    Way("`helper = forge`", "forge", "forge --timeout=1", ".cache/git-credential-forge/socket"),
    Way("as `configure` writes it", CONFIGURED, f"{CONFIGURED} --timeout=1", ".cache/git-credential-forge/socket"),
)
SUITES = {"t0303": "t0303-credential-external.sh", "authtype": "t9999-authtype.sh"}


class ConformanceError(Exception):
    """The tests could not be run, and why."""


def main() -> int:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="conformance-") as made:
        work = Path(os.path.realpath(made))
        try:
            installed = _installed()
            line = _configured_line(installed, work / "home")
            gits = [_of_release(name, work / name) for name in options.release]
            gits += [_of_path(path, work / f"git-{number}") for number, path in enumerate(options.git)]
            if not gits:
                gits = [_of_release(name, work / name) for name in RELEASES]
            outcomes = _run_all(gits, installed, line)
        except ConformanceError as error:
            sys.stderr.write(f"conformance: {error}\n")
            return 2
        table = _table(gits, outcomes)
        print(table)
        failed = _explain(outcomes, installed, line)
    if not (options.git or options.release):
        TABLE.write_text(_page(table, installed))
        print(f"\nwritten to {TABLE.relative_to(ROOT)}")
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run git's own tests for credential helpers against this one.")
    parser.add_argument("--git", action="append", default=[], metavar="PATH", help="a git; its suite is Debian's")
    parser.add_argument("--release", action="append", default=[], metavar="NAME", help="Debian's git of this release")
    return parser.parse_args()


# -- the helper -------------------------------------------------------------------------------------------


def _installed() -> Path:
    """The directory of the launcher."""
    given = os.environ.get("FORGE_INSTALLED") or os.path.dirname(shutil.which("git-credential-forge") or "")
    if not given or not (Path(given) / "git-credential-forge").is_file():
        raise ConformanceError("git-credential-forge is not on the PATH: install it, or set FORGE_INSTALLED")
    return Path(given).absolute()


def _configured_line(installed: Path, home: Path) -> str:
    """What git hands to the shell once `configure` has been run."""
    home.mkdir()
    environment = {"HOME": str(home), "PATH": f"{installed}:{os.environ['PATH']}", "GIT_CONFIG_NOSYSTEM": "1"}
    _said(str(installed / "git-credential-forge"), "configure", environment=environment)
    return _said("git", "config", "--get", "credential.helper", environment=environment).removeprefix("!").rstrip("\n")


# -- a git and its suite ----------------------------------------------------------------------------------


def _of_release(release: str, work: Path) -> Git:
    """Debian's git of a release, from its packages."""
    apt = _Apt(release, work)
    root = work / "root"
    for package in apt.download("git", *LIBRARIES):
        _said("dpkg-deb", "-x", str(package), str(root))
    loader = next((str(path) for path in sorted(root.rglob("ld-*.so*")) if path.exists()), None)
    libraries = ":".join(sorted({os.path.dirname(path) for path in glob.glob(f"{root}/**/lib*.so.*", recursive=True)}))
    if loader is None:
        raise ConformanceError(f"found no loader in {release}'s libc6")
    directory = work / "bin"
    directory.mkdir()
    start = [loader, "--library-path", libraries, f"{root}/usr/lib/git-core/git"]
    text = f'#!/bin/sh\nGIT_EXEC_PATH={shlex.quote(str(directory))} exec {shlex.join(start)} "$@"\n'
    _write_program(directory / "git", text)
    version = _version(directory / "git")
    return Git(f"{version} ({release})", version, directory, apt.suite(version))


def _of_path(path: str, work: Path) -> Git:
    """A git that is here. Its suite is that of the Debian release which has the same version."""
    found = shutil.which(path)
    if found is None:
        raise ConformanceError(f"no git at {path}")
    directory = work / "bin"
    directory.mkdir(parents=True)
    (directory / "git").symlink_to(os.path.abspath(found))
    version = _version(directory / "git")
    here = _os_release().get("VERSION_CODENAME", "")
    for release in dict.fromkeys((here, *RELEASES, *OLDER)):
        if release in (*RELEASES, *OLDER):
            apt = _Apt(release, work / release)
            if version in apt.sources():
                return Git(f"{version} ({path})", version, directory, apt.suite(version))
    raise ConformanceError(f"none of Debian's releases has the source of git {version}")


def _version(git: Path) -> str:
    """The upstream version, as Debian's source packages are named."""
    return _said(str(git), "version").split()[2]


class _Apt:
    """apt with lists, caches and sources of its own, for one release; the machine's are not touched."""

    def __init__(self, release: str, work: Path) -> None:
        self._release = release
        self._downloads = work / "downloads"
        self._work = work
        for name in ("downloads", "lists/partial", "cache/archives/partial"):
            (work / name).mkdir(parents=True)
        (work / "status").touch()
        keyrings = sorted(glob.glob("/usr/share/keyrings/debian-archive-keyring.[gp]*"))
        if not keyrings:
            raise ConformanceError("Debian's keyring is missing: apt-get install debian-archive-keyring")
        where = f"[signed-by={keyrings[0]}] {_mirror()} {release} main\n"
        (work / "sources.list").write_text(f"deb {where}deb-src {where}")
        self._run("update")

    def _run(self, *arguments: str, program: str = "apt-get") -> str:
        options = {
            "Dir::Etc::SourceList": self._work / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::Preferences": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
            "Dir::State::Lists": self._work / "lists",
            "Dir::State::Status": self._work / "status",
            "Dir::Cache": self._work / "cache",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
        }
        given = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        return _said(program, "-qq", *given, *arguments, directory=self._downloads)

    def download(self, *packages: str) -> list[Path]:
        self._run("download", *packages)
        return list(self._downloads.glob("*.deb"))

    def sources(self) -> dict[str, str]:
        """Upstream version of git -> version of the source package."""
        shown = self._run("showsrc", "--only-source", "git", program="apt-cache")
        found = re.findall(r"^Version: (.*)$", shown, re.MULTILINE)
        return {re.sub(r"^\d+:|-[^-]*$", "", version): version for version in found}

    def suite(self, version: str) -> Path:
        """git's `t/`, as far as it is needed, in a tree that the suites take for one where git was built."""
        self._run("source", "--download-only", f"git={self.sources()[version]}")
        tree = self._work / "source"
        wanted = re.compile(r"[^/]+/t/(test-lib[^/]*|lib-credential\.sh|t0303-[^/]*|oid-info/[^/]*)")
        with tarfile.open(next(self._downloads.glob("git_*.orig.tar.*"))) as archive:
            for member in archive:
                data = archive.extractfile(member) if member.isfile() and wanted.fullmatch(member.name) else None
                if data:
                    target = tree / member.name.partition("/")[2]
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(data.read())
        _make_ready(tree)
        return tree


def _make_ready(tree: Path) -> None:
    templates = tree / "templates" / "blt"
    (templates / "hooks").mkdir(parents=True)  # git 2.30's suites move it aside
    options = {
        "SHELL_PATH": "/bin/sh",
        "TEST_SHELL_PATH": "/bin/sh",
        "PERL_PATH": shutil.which("perl") or "/usr/bin/perl",
        "DIFF": "diff",
        "X": "",
        "GIT_TEST_TEMPLATE_DIR": str(templates),
    }
    (tree / "GIT-BUILD-OPTIONS").write_text("".join(f"{k}={shlex.quote(v)}\n" for k, v in options.items()))
    (tree / "t" / "helper").mkdir()
    _write_program(tree / "t" / "helper" / "test-tool", TEST_TOOL)
    if "helper_test_authtype" in (tree / "t" / "lib-credential.sh").read_text():
        (tree / "t" / SUITES["authtype"]).write_text(AUTHTYPE)


def _mirror() -> str:
    """Where this machine has Debian from."""
    listed = _said(
        *("apt-get", "indextargets", "--no-release-info", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages")
    )
    names = {*RELEASES, *OLDER, "oldstable", "stable", "testing", "unstable", _os_release().get("VERSION_CODENAME")}
    for line in listed.splitlines():
        address, _, release = line.partition(" ")
        if release in names:
            return address
    raise ConformanceError("apt knows no archive of Debian here")


def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


# -- running ----------------------------------------------------------------------------------------------


Run = tuple[Git, str, Way]
Runs = dict[Run, Outcome]


def _run_all(gits: list[Git], installed: Path, line: str) -> Runs:
    """Every suite with every helper, as many at once as there are processors: each has its own home and daemon."""
    runs = [(git, suite, way) for git in gits for suite in SUITES for way in WAYS]
    runs = [run for run in runs if (run[0].suite / "t" / SUITES[run[1]]).exists()]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(runs, pool.map(lambda run: _outcome(_run(run, installed, line)), runs), strict=True))


def _run(run: Run, installed: Path, line: str, *flags: str) -> subprocess.CompletedProcess[str]:
    git, suite, way = run
    with tempfile.TemporaryDirectory(prefix="t-", dir=git.suite) as output:
        leave = f'git credential-cache --socket "$HOME/{way.socket}" exit'  # in the home that the suite makes
        environment = {
            "HOME": output,
            "PATH": f"{installed}:{os.environ['PATH']}",
            "TEST_OUTPUT_DIRECTORY": output,
            "TEST_NO_MALLOC_CHECK": "1",
            "GIT_TEST_INSTALLED": str(git.directory),
            "GIT_TEST_CHAIN_LINT": "0",
            "GIT_TEST_CREDENTIAL_HELPER": way.helper,
            "GIT_TEST_CREDENTIAL_HELPER_TIMEOUT": way.with_timeout,
            "GIT_TEST_CREDENTIAL_HELPER_SETUP": f"test_atexit '{leave}'",
            "forge_line": line,
            "https_proxy": NOWHERE,
            "http_proxy": NOWHERE,
        }
        return subprocess.run(
            ["/bin/sh", SUITES[suite], *flags],
            cwd=git.suite / "t",
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=OVERDUE,
        )


def _outcome(done: subprocess.CompletedProcess[str]) -> Outcome:
    """What the suite says of itself, in the Test Anything Protocol."""
    results = re.findall(r"^(ok|not ok) \d+ - (.*)$", done.stdout, re.MULTILINE)
    failed = [title for verdict, title in results if verdict != "ok" or re.search(r"# (SKIP|skip|TODO)", title)]
    plan = re.search(r"^1\.\.(\d+)$", done.stdout, re.MULTILINE)
    total = int(plan[1]) if plan else 0
    passed = len(results) - len(failed)
    if total != len(results) or total == 0 or (done.returncode == 0) != (passed == total):
        failed.append(f"broke off after {len(results)} tests of {total or '?'}, exit status {done.returncode}")
    return Outcome(passed, total, failed, done.stderr.splitlines())


# -- telling ----------------------------------------------------------------------------------------------


def _table(gits: list[Git], outcomes: Runs) -> str:
    rows = [["git", "suite", *(way.title for way in WAYS), "on standard error"]]
    for git in gits:
        for suite in SUITES:
            found = [outcomes[git, suite, way] for way in WAYS if (git, suite, way) in outcomes]
            if found:
                said = sum(len(outcome.said) for outcome in found)
                counts = [f"{outcome.passed}/{outcome.total}" for outcome in found]
                rows.append([git.name, suite, *counts, f"{said} lines" if said else "nothing"])
            else:
                rows.append([git.name, suite, *("none yet" for _ in WAYS), "-"])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    )


def _explain(outcomes: Runs, installed: Path, line: str) -> bool:
    """What failed, with the suite's own words; whether anything did. `cache` is git's, and only compared with."""
    bad = False
    for (git, suite, way), outcome in outcomes.items():
        if not outcome.failed and not outcome.said:
            continue
        bad = bad or way is not CACHE
        print(f"\ngit {git.version}, {suite}, {way.title}:")
        for text in (*outcome.failed, *(f"on standard error: {text}" for text in outcome.said)):
            print(f"  {text}")
        if outcome.failed and way is not CACHE:
            print("\n".join(_run((git, suite, way), installed, line, "-v", "-i").stdout.splitlines()[-60:]))
    return bad


def _page(table: str, installed: Path) -> str:
    ours = _said(str(installed / "git-credential-forge"), "--version").strip()
    today = dt.datetime.now(tz=dt.timezone.utc).date()
    return f"""# git's own tests for credential helpers

Git has a suite for authors of credential helpers, `t0303-credential-external.sh`, and more tests that only its own
cache is put through, `helper_test_authtype` (git 2.46 and newer). Here they run unchanged, from Debian's source
package of each git, with Debian's build of that git, against the installed helper and, to compare, against
`git credential-cache`. Each test looks at standard output and standard error, byte by byte.

{table}

Passed and total are what the suite counts. The helper is named as in `credential.helper = forge`, and as
`git credential-forge configure` writes it. "On standard error" is what anybody said there that no test had
asked for. No host on the network was asked: the proxy in the environment is one that is not there.

Written by `python3 tests/git/conformance.py` on {today}, with {ours}, Python {_python(installed)}, {_system()}.
"""


def _python(installed: Path) -> str:
    first = (installed / "git-credential-forge--main").read_text(errors="replace").splitlines()[:2]
    path = re.search(r"/[^'\"\n]*python[0-9.]*", "\n".join(first[1:] if first[0] == "#!/bin/sh" else first))
    return _said(path[0], "-V").split()[1] if path else "?"


def _system() -> str:
    return _os_release().get("PRETTY_NAME", platform.system())


def _write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _said(*arguments: str, environment: dict[str, str] | None = None, directory: Path | None = None) -> str:
    """Standard output of what must succeed."""
    try:
        done = subprocess.run(
            arguments, env=environment, cwd=directory, capture_output=True, text=True, check=False, timeout=OVERDUE
        )
    except OSError as error:
        raise ConformanceError(f"{arguments[0]}: {error.strerror}") from None
    if done.returncode != 0:
        why = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise ConformanceError(f"{arguments[0]} exited {done.returncode}: {' '.join(why)}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
