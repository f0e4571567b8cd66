"""The only place that runs git: its configuration and its cache."""

from __future__ import annotations

import functools
import os
import subprocess

from git_credential_forge.errors import ForgeError

OVERDUE = 20  # seconds; git answers such questions in milliseconds, unless a disk hangs


def find(program: str) -> str | None:
    """The absolute path of a program on the PATH. Never one in the current directory: git starts helpers in the
    top of the work tree, and what lies there is somebody else's (CVE-2020-26233 and kin)."""
    for directory in os.environ.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(directory, program)
        if directory.startswith("/") and os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def run(*arguments: str, given: bytes = b"", detached: bool = False, include: str | None = None) -> tuple[int, bytes]:
    """Exit status and standard output of git. Its standard error is not shown; nothing of ours is inherited.

    `include`: a file of settings that goes before what the person says by `git -c`, as git itself hands that on.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_TRACE")}
    if include:
        quoted = "'include.path=" + include.replace("'", "'\\''") + "'"
        environment["GIT_CONFIG_PARAMETERS"] = f"{quoted} {environment.get('GIT_CONFIG_PARAMETERS', '')}".rstrip()
    try:
        done = subprocess.run(
            [_git(), *arguments],
            input=given,
            stdout=subprocess.PIPE if not detached else subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=detached,
            timeout=OVERDUE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ForgeError(f"git {arguments[0]} did not answer within {OVERDUE} s") from None
    return done.returncode, done.stdout or b""


def config(*arguments: str, include: str | None = None) -> list[tuple[str, str]]:
    """What `git config -z ARGUMENTS` lists: (key in lower case, value). A key without a value is 'true'."""
    _, out = run(*arguments, include=include)
    pairs = []
    for entry in out.decode("utf-8", "surrogateescape").split("\0"):
        key, newline, value = entry.partition("\n")
        if key:
            pairs.append((key, value if newline else "true"))
    return pairs


def urlmatch(section: str, url: str, include: str | None = None) -> dict[str, str]:
    """Each key of `section` with the value that fits `url` best, as git itself matches it."""
    used = include if include and os.path.isfile(include) else None
    pairs = config("config", "-z", "--get-urlmatch", section, url, include=used)
    return {key.rpartition(".")[2]: value for key, value in pairs}


def remote_url(name: str) -> str | None:
    """The address of a remote of this repository, or None."""
    status, out = run("config", "--get", f"remote.{name}.url")
    return out.decode("utf-8", "replace").strip() if status == 0 else None


@functools.cache
def _git() -> str:
    path = find("git")
    if path is None:
        raise ForgeError("git is not on the PATH")
    return path
