"""git-credential-oauth, the fastest of the helpers that sign people in: Debian's stable one, and a current one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import debian
from debian import MissingError

_MODULE = "github.com/hickford/git-credential-oauth@latest"


class Peer(NamedTuple):
    version: str
    directory: Path  # holds `git-credential-oauth`
    source: str  # where it is from, in words

    @property
    def key(self) -> str:
        return f"oauth-{self.version}"


def stable(work: Path) -> Peer:
    """The one of Debian 12. Raises MissingError."""
    root = debian.unpack("bookworm", work, "git-credential-oauth")
    return Peer(_packaged(work, "bookworm"), root / "usr/bin", "Debian 12's package")


def current(work: Path) -> Peer:
    """The latest one, built from its Go module; where that cannot be had, Debian unstable's. Raises MissingError."""
    try:
        return _built(work)
    except MissingError as error:
        root = debian.unpack("sid", work, "git-credential-oauth")
        why = f"Debian unstable's package; not built from its module: {error}"
        return Peer(_packaged(work, "sid"), root / "usr/bin", why)


def _built(work: Path) -> Peer:
    go = shutil.which("go")
    if go is None:
        raise MissingError("go is not here")
    target = work / "go"
    program = target / "git-credential-oauth"
    if not program.exists():
        environment = {**os.environ, "GOBIN": str(target), "GOPATH": str(work / "gopath")}
        done = subprocess.run([go, "install", _MODULE], env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise MissingError(f"go install: {done.stderr.strip().splitlines()[-1].strip()}")
    told = subprocess.run([go, "version", "-m", str(program)], capture_output=True, text=True, check=True).stdout
    version = next(line.split()[2] for line in told.splitlines() if line.split()[:1] == ["mod"])
    return Peer(version.lstrip("v"), target, "built from its Go module")


def _packaged(work: Path, suite: str) -> str:
    """The version in the package's file name; 0.4.2 does not tell it."""
    archive = next((work / suite / "packages").glob("git-credential-oauth_*.deb"))
    return archive.name.split("_")[1].partition("-")[0].partition("+")[0]
