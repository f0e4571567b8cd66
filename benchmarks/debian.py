"""Packages of Debian's suites, unpacked beside each other: nothing is installed, nothing of the system changes."""

from __future__ import annotations

import subprocess
from pathlib import Path

_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"


class MissingError(Exception):
    """Something to measure cannot be had here; the text says why."""


def unpack(suite: str, work: Path, *packages: str) -> Path:
    """The directory that the packages of a suite are unpacked in; fetched once. Raises MissingError."""
    root = work / suite / "-".join(packages)
    if root.is_dir():
        return root
    state = work / suite / "apt"
    options = _apt(suite, state)
    archives = work / suite / "packages"
    archives.mkdir(parents=True, exist_ok=True)
    if not (state / "updated").exists():
        _run("apt-get", *options, "-qq", "update")
        (state / "updated").touch()
    _run("apt-get", *options, "-qq", "download", *packages, at=archives)
    aside = root.with_name(root.name + ".new")
    for package in packages:
        for archive in archives.glob(f"{package}_*.deb"):
            _run("dpkg-deb", "-x", str(archive), str(aside))
    aside.rename(root)
    return root


def _apt(suite: str, state: Path) -> list[str]:
    """Options that give apt a state of its own, and one source."""
    for directory in ("lists/partial", "archives/partial"):
        (state / directory).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    (state / "sources.list").write_text(f"deb [signed-by={_KEYS}] {_archive()} {suite} main\n")
    settings = {
        "Dir::State": state,
        "Dir::State::status": state / "status",
        "Dir::Cache": state,
        "Dir::Etc::sourcelist": state / "sources.list",
        "Dir::Etc::sourceparts": "/nonexistent",
        "Acquire::Languages": "none",
    }
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


def _archive() -> str:
    """Where this machine has its own Debian packages from; it has the other suites too."""
    listed = _run("apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages")
    for line in listed.splitlines():
        label, _, address = line.partition(" ")
        if label == "Debian":
            return address
    raise MissingError("no archive of Debian's is known here; on a Debian, run apt-get update")


def _run(*command: str, at: Path | None = None) -> str:
    try:
        return subprocess.run(command, cwd=at, check=True, capture_output=True, text=True).stdout
    except FileNotFoundError:
        raise MissingError(f"{command[0]} is not here") from None
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout).strip().split("\n")[-1]
        raise MissingError(f"{command[0]}: {said}") from None
