"""Keeps the tests inside: nothing of the person whose machine this is can be touched, nor any other machine.

Two nets. An audit hook raises `TestReachedOutside` in this process, before the thing is done. A child that is
started without an environment of its own lands in a throwaway home, and whoever started it is told (see `conftest`).
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import pwd
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).resolve().parents[1]
HANDED_ON = "FORGE_TESTS_MACHINE"  # to the processes of pytest-xdist, which no longer see the machine as it is
# What of a person's environment stays: programs are found, packages fetched, tests steered. CI, GIT_*, DISPLAY,
# BROWSER, SSH_*, XDG_*, proxies and certificate files change what the program does, so they go.
KEPT = ("COVERAGE_", "FORGE_", "HYPOTHESIS_", "LC_", "LD_", "PIP_", "PYENV_", "PYTEST_", "PYTHON", "UV_")
KEPT_WHOLE = {"COLUMNS", "LANG", "PATH", "TERM", "TMPDIR", "TZ", "VIRTUAL_ENV"}
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")
XDG = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR")
OURS = ("git-credential-forge", "git")
IN_HOME = (".gitconfig", ".git-credentials", ".git-credential-cache", ".netrc")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class TestReachedOutside(BaseException):  # so that no `except Exception` hides it
    """A test was about to touch something of the real user's, or another machine."""

    __test__ = False  # no class of tests, whatever its name


class Machine(NamedTuple):
    """The machine as it was before the tests began."""

    homes: tuple[str, ...]
    xdg: dict[str, str]
    certificates: dict[str, str]  # for the tests that fetch packages, and no others
    ci: bool
    coder: tuple[str, str]  # a real one, for the test that goes there, and a session token of it


reached: list[str] = []  # also what somebody caught and passed over; `conftest` looks after each test
_machine: Machine | None = None
_before: dict[str, str] = {}
_looking = False  # we, to see whether something was left there


def enter() -> Path:
    """Shut the doors, for as long as this process lives; the throwaway home that it has from now on."""
    global _machine  # noqa: PLW0603 - as lasting as the audit hook
    handed = os.environ.get(HANDED_ON)
    _machine = Machine(*json.loads(handed)) if handed else _look(os.environ)
    if not handed:
        _before.update(_traces(_machine))
    home = Path(tempfile.mkdtemp(prefix="forge-nobody-"))
    kept = {k: v for k, v in os.environ.items() if k in KEPT_WHOLE or k.startswith(KEPT)}
    os.environ.clear()
    os.environ.update(kept)
    os.environ.update({HANDED_ON: json.dumps(_machine), "HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1"})
    for name in XDG:
        os.environ[name] = str(home / name)
    if sys.version_info < (3, 12):
        # coverage follows threads from their start on, and in these Pythons of two that start at once beside an audit
        # hook one may die of that: a request to a server of ours was never answered then.
        threading.settrace(None)
    sys.addaudithook(_Guard(_machine))
    return home


def machine() -> Machine:
    assert _machine is not None
    return _machine


def _look(environment: Mapping[str, str]) -> Machine:
    home = environment.get("HOME") or "/"
    return Machine(
        tuple(sorted({os.path.realpath(home), os.path.realpath(pwd.getpwuid(os.getuid()).pw_dir)})),
        {name: os.path.realpath(environment[name]) for name in XDG if environment.get(name)},
        {name: environment[name] for name in CERTIFICATES if name in environment},
        environment.get("CI", "").lower() not in ("", "0", "false"),
        (environment.get("CODER_URL", ""), environment.get("CODER_SESSION_TOKEN", "")),
    )


def left_behind() -> list[str]:
    """What of ours and of git's has come, gone or changed in the real home since `enter`."""
    global _looking  # noqa: PLW0603
    _looking = True
    try:
        after = _traces(machine())
    finally:
        _looking = False
    return sorted({path for path, _ in _before.items() ^ after.items()})


def _traces(here: Machine) -> dict[str, str]:
    """Path to digest of the contents; empty for a directory, a socket, and what nobody may read."""
    found = {}
    for path in private(here):
        if os.path.isfile(path):
            found[path] = _digest(path)
        for directory, _, names in os.walk(path):
            found[directory] = ""
            found |= {file: _digest(file) for file in (os.path.join(directory, name) for name in names)}
    return found


def _digest(path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest() if os.path.isfile(path) else ""
    except OSError:
        return ""


def private(here: Machine) -> set[str]:
    """Paths that tests may not even read: ours and git's configuration and memory."""
    bases = [os.path.join(home, kind) for home in here.homes for kind in (".cache", ".config", ".local/state")]
    bases += here.xdg.values()
    return {os.path.join(base, name) for base in bases for name in OURS} | {
        os.path.join(home, name) for home in here.homes for name in IN_HOME
    }


class _Guard:
    """The audit hook: event and arguments, see Python's table of audit events."""

    def __init__(self, here: Machine) -> None:
        self._real = {*here.homes, *here.xdg.values()} - {"/"}
        self._unwritable = self._real | private(here)
        self._unreadable = private(here) | set(here.xdg.values())
        made = (str(ROOT / name) for name in (".venv", "build", ".hypothesis"))
        self._mine = {os.path.realpath(p) for p in (sys.prefix, sys.base_prefix, tempfile.gettempdir(), *made)}
        self._readable = self._mine | {str(ROOT)}
        self._checks: dict[str, Callable[[str, tuple[Any, ...]], None]] = {
            "open": self._open,
            "sqlite3.connect": self._write,
            **dict.fromkeys(("os.listdir", "os.scandir"), self._read),
            **dict.fromkeys(("os.chmod", "os.chown", "os.truncate", "os.utime", "os.setxattr"), self._write),
            **dict.fromkeys(("os.mkdir", "os.remove", "os.rmdir"), self._write_at),
            **dict.fromkeys(("os.rename", "os.link"), self._write_both),
            "os.symlink": lambda event, given: self._write_at(event, (given[1], given[2])),
            **dict.fromkeys(("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"), self._address),
            **dict.fromkeys(("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"), self._name),
            "subprocess.Popen": lambda event, given: self._child(event, given[0], given[3]),
            **dict.fromkeys(
                ("os.exec", "os.posix_spawn"), lambda event, given: self._child(event, given[0], given[2])
            ),
        }

    def __call__(self, event: str, given: tuple[Any, ...]) -> None:
        check = self._checks.get(event)
        if check and not _looking:
            check(event, given)

    def _open(self, event: str, given: tuple[Any, ...]) -> None:
        (self._write if given[2] & WRITING else self._read)(event, given)

    def _write(self, event: str, given: tuple[Any, ...]) -> None:
        """A file's contents or properties, through a link if it is one."""
        path = _text(given[0])
        if path is not None:
            self._change(event, os.path.realpath(path))

    def _write_at(self, event: str, given: tuple[Any, ...]) -> None:
        """An entry of a directory, which may be given by a descriptor: the link itself if it is one."""
        path, directory = _text(given[0]), given[-1]
        if path is None:
            return
        if not os.path.isabs(path) and directory >= 0:
            path = f"/proc/self/fd/{directory}/{path}"
        above, name = os.path.split(path.rstrip("/"))
        self._change(event, os.path.join(os.path.realpath(above), name))

    def _write_both(self, event: str, given: tuple[Any, ...]) -> None:
        self._write_at(event, (given[0], given[2]))
        self._write_at(event, (given[1], given[3]))

    def _change(self, event: str, path: str) -> None:
        if "__pycache__" not in path.split("/") and _below(path, self._unwritable, self._mine):
            _refuse(event, path)

    def _read(self, event: str, given: tuple[Any, ...]) -> None:
        path = os.path.realpath(_text(given[0]) or "/")
        if _below(path, self._unreadable, self._readable):
            _refuse(event, path)

    def _address(self, event: str, given: tuple[Any, ...]) -> None:
        address = given[1]
        if isinstance(address, str | bytes):
            self._write(event, (address,))
        elif isinstance(address, tuple) and isinstance(address[0], str) and not _loopback(address[0]):
            _refuse(event, str(address))

    def _name(self, event: str, given: tuple[Any, ...]) -> None:
        host = os.fsdecode(given[0] or "localhost")
        if not _loopback(host) and not _numeric(host):
            _refuse(event, host)

    def _child(self, event: str, program: Any, environment: Mapping[Any, Any] | None) -> None:
        if environment is None:
            return
        given = {os.fsdecode(k): os.path.realpath(os.fsdecode(v)) for k, v in environment.items()}
        led_out = [name for name in ("HOME", *XDG) if given.get(name) in self._real]
        if led_out or ("HOME" not in given and not {"XDG_CACHE_HOME", "XDG_CONFIG_HOME"} <= given.keys()):
            _refuse(event, f"{program!r} with {', '.join(led_out) or 'no HOME'}")


def _refuse(event: str, what: str) -> NoReturn:
    reached.append(f"{event}: {what}")
    raise TestReachedOutside(reached[-1])


def _text(path: Any) -> str | None:
    """None for a descriptor, or no path at all."""
    return os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else None


def _below(path: str, forbidden: set[str], allowed: set[str]) -> bool:
    """Whether the nearest of all the places around `path` is a forbidden one."""
    while True:
        if path in allowed or path in forbidden:
            return path in forbidden
        above = os.path.dirname(path)
        if above == path:
            return False
        path = above


def _loopback(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost") or (_numeric(host) and _parse(host).is_loopback)


def _numeric(host: str) -> bool:
    try:
        _parse(host)
    except ValueError:
        return False
    return True


def _parse(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(host.partition("%")[0])
