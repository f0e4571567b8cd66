"""The only place that runs git: its configuration, its cache, and helpers as git would run them."""

from __future__ import annotations

import contextlib
import functools
import os
import select
import signal
import subprocess

from git_credential_forge.errors import ForgeError

OVERDUE = 20  # seconds; git answers such questions in milliseconds, unless a disk hangs
OURS_ALONE = ("CODER_SESSION_TOKEN", "CODER_AGENT_TOKEN")  # secrets in the environment, which no child needs


def find(program: str) -> str | None:
    """The absolute path of a program on the PATH. Never one in the current directory: git starts helpers in the
    top of the work tree, and what lies there is somebody else's (CVE-2020-26233 and kin)."""
    for directory in os.environ.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(directory, program)
        if directory.startswith("/") and os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def run(*arguments: str, given: bytes = b"", detached: bool = False) -> tuple[int, bytes]:
    """Exit status and standard output of git. Its standard error is not shown; nothing of ours is inherited."""
    stands = _in_a_pipe(given)
    try:
        done = subprocess.run(
            [_git(), *arguments],
            input=given if stands is None else None,
            stdin=stands,
            stdout=subprocess.PIPE if not detached else subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(),
            start_new_session=detached,
            timeout=OVERDUE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ForgeError(f"git {arguments[0]} did not answer within {OVERDUE} s") from None
    finally:
        if stands is not None:
            os.close(stands)
    return done.returncode, done.stdout or b""


def _in_a_pipe(given: bytes) -> int | None:
    """The end to read from of a pipe in which all of it stands before anybody reads; None for what may not fit. Were we
    killed between starting git and telling it what to erase, its cache would take nothing for everything."""
    if len(given) > select.PIPE_BUF:
        return None
    end, start = os.pipe()
    os.write(start, given)
    os.close(start)
    return end


def helper(value: str, operation: str, given: bytes, patience: float) -> tuple[int, bytes]:
    """Exit status and standard output of a credential helper, started as git starts what `credential.helper` names:
    by a shell, and by git where it is a name. Raises ForgeError when it takes longer than `patience` seconds."""
    command = value[1:] if value.startswith("!") else value if os.path.isabs(value) else f"git credential-{value}"
    absolute = [part for part in os.environ.get("PATH", os.defpath).split(os.pathsep) if part.startswith("/")]
    process = subprocess.Popen(
        ["/bin/sh", "-c", f"{command} {operation}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment() | {"PATH": os.pathsep.join(absolute)},  # see `find`
        start_new_session=True,  # to end it with all that it has started
    )
    with process:
        try:
            out, _ = process.communicate(given, timeout=patience)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise ForgeError(f"no answer within {patience:.2g} s") from None
            raise
    return process.returncode, out


def environment() -> dict[str, str]:
    """The environment for what we start."""
    found = os.environ.items()
    return {name: value for name, value in found if not name.startswith("GIT_TRACE") and name not in OURS_ALONE}


def config(*arguments: str) -> list[tuple[str, str]]:
    """What `git config -z ARGUMENTS` lists: (key in lower case, value). A key without a value is 'true'."""
    _, out = run(*arguments)
    pairs = []
    for entry in out.decode("utf-8", "surrogateescape").split("\0"):
        key, newline, value = entry.partition("\n")
        if key:
            pairs.append((key, value if newline else "true"))
    return pairs


def urlmatch(section: str, url: str, file: str | None = None) -> dict[str, str]:
    """Each key of `section` with the value that fits `url` best, as git itself matches it; with `file`, of what stands
    in that one alone."""
    if file and not os.path.isfile(file):
        return {}
    where = ("--file", file, "--includes") if file else ()
    pairs = config("config", "-z", *where, "--get-urlmatch", section, url)
    return {key.rpartition(".")[2]: value for key, value in pairs}


def remote_url(name: str) -> str | None:
    """The address at which git fetches from a remote of this repository, after `insteadOf`; or None."""
    status, out = run("remote", "get-url", "--", name)
    return out.decode("utf-8", "replace").strip() if status == 0 else None


def demand() -> None:
    """Raises ForgeError where there is no git."""
    _git()


@functools.cache
def _git() -> str:
    path = find("git")
    if path is None:
        raise ForgeError("git is not on the PATH")
    return path
