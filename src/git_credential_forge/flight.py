"""One process acts, the others wait and reuse what it got.

Two kinds of lock: *refresh* for an account, held for seconds; *sign-in* for an origin, held as long as a person
needs. The kernel frees a lock when its holder dies. A refusal is left beside the lock, for those who waited and
for a while after: a person who said no is not asked again by the next git of the same editor.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import re
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from git_credential_forge import daemon, say
from git_credential_forge.daemon import Place
from git_credential_forge.errors import AbandonedError, ForgeError, RefusedError, VaultError
from git_credential_forge.origin import Origin

if TYPE_CHECKING:
    from git_credential_forge.recognise import Forge

TICK = 0.04  # seconds between looks at a lock: no wait that people see, and many who wait leave room to who acts
DAY = 86_400  # seconds
REFRESH = 15  # seconds: a refresh has three tries of a few seconds each, and then gives up


@contextlib.contextmanager
def acting(
    place: Place | None,
    name: str,
    patience: float,
    gone: Callable[[], bool],
    *,
    done: Callable[[], bool] = lambda: False,
    waiting: Callable[[], None] = lambda: None,
) -> Iterator[bool]:
    """Hold the lock `name`; yields False where it was not had within `patience` seconds, or is no longer needed.

    Without a place there is nothing to hold, and nothing to share: then True at once. While the lock is not free,
    `gone` tells that nobody reads our answer any more (AbandonedError), `done` that what we wait for is there: so all
    who wait take it at once, and not one after the other. `waiting` is called once.
    """
    if place is None:
        yield True
        return
    try:
        descriptor = daemon.open_lock(place, f"lock-{name}")
    except VaultError as error:  # a directory that cannot be written any more: as without one, and said
        say.line(error.message)
        yield True
        return
    try:
        mine = _acquire(descriptor, patience, gone, done, waiting)
        say.trace(f"flight: {'holding' if mine else 'done waiting for'} {name}")
        yield mine
    finally:
        os.close(descriptor)


def _acquire(
    descriptor: int,
    patience: float,
    gone: Callable[[], bool],
    done: Callable[[], bool],
    waiting: Callable[[], None] | None,
) -> bool:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        except OSError as error:  # a file system without locks: all works, unprotected
            _unprotected(error.strerror)
            return True
        else:
            return True
        if waiting:
            waiting()
            waiting = None
        if gone():
            raise AbandonedError
        if done() or time.monotonic() >= deadline:
            return False
        time.sleep(TICK)


@functools.cache  # said once
def _unprotected(why: str) -> None:
    say.line(f"many gits at once may each sign in or refresh, because they cannot wait for each other here: {why}")


def sign_in_name(origin: Origin) -> str:
    return f"sign-in-{origin.scheme}-{origin.netloc}"


def refresh_name(origin: Origin, account: str) -> str:
    name = account
    if not re.fullmatch("[A-Za-z0-9_.~-]*", account):
        from urllib.parse import quote

        name = quote(account, safe="", errors="surrogateescape")
    name = name[:100]
    return f"refresh-{origin.scheme}-{origin.netloc}-{name}"


def remember_refusal(
    place: Place | None, forge: Forge, refusal: ForgeError, *, quiet: bool, name: str | None = None
) -> None:
    """Leave a refusal for those who wait, and with `quiet` for who comes soon. Words only. `name`: of the lock that
    they wait for, where that is not the forge's sign-in."""
    if place is None:
        return
    import json

    left = {"at": time.time(), "quiet": quiet, "of": _terms(forge), "message": refusal.message, "hints": refusal.hints}
    path = _refusal(place, forge.origin, name)
    with contextlib.suppress(OSError), open(path, "w", encoding="utf-8", opener=_private) as file:
        json.dump(left, file)


def refusal(
    place: Place | None, forge: Forge, quiet: int, since: float, name: str | None = None
) -> RefusedError | None:
    """The refusal that holds now: one of the last `quiet` seconds, or one that came while we waited. With another
    client id or endpoint it does not: the person has mended what was refused."""
    if place is None or not os.path.exists(_refusal(place, forge.origin, name)):
        return None
    import json

    try:
        with open(_refusal(place, forge.origin, name), encoding="utf-8") as file:
            left = json.load(file)
            at, message, hints = float(left["at"]), str(left["message"]), tuple(map(str, left["hints"]))
            same, pause = left["of"] == _terms(forge), quiet if left["quiet"] else 0
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not same:
        return None
    if since <= at <= time.time():
        return RefusedError(message, *hints)
    if at <= time.time() < at + pause:
        paused = f"asking again is paused until {say.until(at + pause)}"
        return RefusedError(message, f"{paused}; `git credential-forge login {forge.url}` asks now", *hints)
    return None


def forget_refusal(place: Place | None, origin: Origin, name: str | None = None) -> None:
    if place is not None:
        with contextlib.suppress(OSError):
            os.unlink(_refusal(place, origin, name))


def first_today(place: Place, name: str) -> bool:
    """Whether nobody has asked this within a day. An empty file remembers it, by its time of modification."""
    path = place.path(name)
    with contextlib.suppress(OSError):
        if 0 <= time.time() - os.stat(path).st_mtime < DAY:
            return False
    with contextlib.suppress(OSError), open(path, "wb", opener=_private):
        os.utime(path)
    return True


def put_off(place: Place | None, name: str, longest: int) -> bool:
    """Whether `put_off_for` has said so a while ago, not more than `longest` seconds."""
    if place is None:
        return False
    try:
        until = os.stat(place.path(name)).st_mtime
    except OSError:
        return False
    return time.time() < until <= time.time() + longest


def put_off_for(place: Place | None, name: str, seconds: int) -> None:
    """Leave an empty file whose time of modification is when this is tried again."""
    if place is None:
        return
    until = time.time() + seconds
    with contextlib.suppress(OSError):
        with open(place.path(name), "wb", opener=_private):
            pass
        os.utime(place.path(name), (until, until))


def _terms(forge: Forge) -> list[str | None]:
    return [forge.client_id, forge.authorize_url, forge.token_url]


def _refusal(place: Place, origin: Origin, name: str | None = None) -> str:
    return place.path(f"refusal-{name or f'{origin.scheme}-{origin.netloc}'}")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
