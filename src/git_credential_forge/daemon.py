"""Where our files are, and git's cache daemon: whose it is, how it is asked, how it is started.

Beside the socket lie locks and the small files that name accounts; no secret is ever in one of them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from git_credential_forge import git
from git_credential_forge.errors import ForgeError, VaultError


class Place(NamedTuple):
    """A directory that is ours alone, and the socket in it."""

    directory: str
    socket: str

    def path(self, name: str) -> str:
        return os.path.join(self.directory, name)


def default_socket() -> str:
    """$XDG_CACHE_HOME/git-credential-forge/socket, as git has it for its own; the launcher has the same rule.
    The XDG rules call a relative path invalid, and a helper is started in many directories."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.expanduser("~/.cache")
    return os.path.join(base, "git-credential-forge", "socket")


def place(socket: str | None = None) -> Place:
    """The place for a socket, made if need be. Raises VaultError where it is not ours alone."""
    given = socket is not None
    socket = os.path.abspath(os.path.expanduser(socket)) if socket else default_socket()
    directory = os.path.dirname(socket)
    try:
        with contextlib.suppress(FileExistsError):
            os.makedirs(os.path.dirname(directory), mode=0o700, exist_ok=True)
            os.mkdir(directory, 0o700)
        _check_directory(directory, os.stat(directory), given=given)
        _check_socket(socket)
    except OSError as error:
        raise VaultError(f"nothing is kept in memory: {directory}: {error.strerror}") from None
    return Place(directory, socket)


def _check_directory(directory: str, found: os.stat_result, *, given: bool) -> None:
    if not stat.S_ISDIR(found.st_mode):
        raise VaultError(f"nothing is kept in memory: {directory} is not a directory")
    if found.st_uid != os.geteuid():
        raise VaultError(f"nothing is kept in memory: {directory} belongs to another user")
    if found.st_mode & 0o077:
        own = f"name a directory of its own, which need not be there: --socket '{directory}/forge/socket'"
        mend = own if given else f"to mend it: chmod 700 '{directory}'"  # given, it may be /tmp
        raise VaultError(f"nothing is kept in memory: others may look into {directory}", mend)


def _check_socket(socket: str) -> None:
    try:
        found = os.lstat(socket)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
        raise VaultError(f"nothing is kept in memory: {socket} is in the way, and no socket of yours")


def ask(at: Place, request: bytes) -> bytes:
    """What the cache has for a request; nothing if no daemon runs."""
    return _client(at, "get", request)


def erase(at: Place, request: bytes) -> None:
    _client(at, "erase", request)


def store(at: Place, request: bytes, lifetime: int) -> None:
    """Keep something for `lifetime` seconds, with a daemon started for it if none runs. Raises VaultError.

    git's client starts the daemon. Under a lock: of two that start one, the later takes the socket away and
    the first one's memory is lost. In a session of its own and without our descriptors: left to itself it
    holds a caller's pipe open for two hours, and dies with the terminal.
    """
    with lock(at, "lock-daemon"):
        status = _git(
            *("-c", "credentialCache.ignoreSIGHUP=true", "credential-cache"),
            *(f"--timeout={lifetime}", "--socket", at.socket, "store"),
            given=request,
            detached=True,
        )[0]
    if status != 0:
        raise VaultError("nothing is kept in memory: git credential-cache does not work here")


def _client(at: Place, operation: str, request: bytes) -> bytes:
    if not os.path.exists(at.socket):
        return b""
    return _git("credential-cache", "--socket", at.socket, operation, given=request)[1]


def _git(*arguments: str, given: bytes, detached: bool = False) -> tuple[int, bytes]:
    try:
        return git.run(*arguments, given=given, detached=detached)
    except ForgeError as error:  # a daemon that hangs
        raise VaultError(f"nothing is kept in memory: {error.message}") from None


@contextlib.contextmanager
def lock(at: Place, name: str) -> Iterator[None]:
    """Hold a lock file for a moment. For waits that a person may see, see `flight`."""
    descriptor = open_lock(at, name)
    try:
        with contextlib.suppress(OSError):  # where there are none, as in some homes on a network; `flight` says so
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def open_lock(at: Place, name: str) -> int:
    """A descriptor of a lock file. The file is never deleted: who waits for it would hold a lock on nothing."""
    try:
        return os.open(at.path(name), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise VaultError(f"nothing is kept in memory: {at.path(name)}: {error.strerror}") from None
