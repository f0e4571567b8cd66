"""The names file of an origin: which accounts are signed in there, and when what is held of them ends.

`account-<scheme>-<host>` beside the socket. Its first line is the account that is meant when git names none:
the launcher reads it. It stays there when its sign-in is over, as long as others live. The file's time of modification
is when the first answer or session in it ends: the launcher goes to Python from then on. Then a line for each sign-in:
end of the answer, end of the session (seconds since 1970), path of the forge, account; divided by tabs. Names and times
only.
"""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple

from git_credential_forge.daemon import Place
from git_credential_forge.origin import Origin, of_request

KEPT = 4_102_444_800  # 2100: for a session in a keychain, which goes on until the forge says that it has ended
_PREFIX = "account-"
_YEAR = 31_536_000  # seconds


class Row(NamedTuple):
    """One sign-in. `answer_end` is past when the answer has left the cache, and 0 until the first session is in it;
    `base` is '' or '/sub/path'."""

    answer_end: int
    session_end: int
    base: str
    account: str

    @property
    def kept(self) -> bool:
        """Whether the session is in a keychain, however long memory has it."""
        return self.session_end >= KEPT

    def ended(self, now: float) -> Row:
        """The same when its sign-in is over."""
        return self._replace(answer_end=0, session_end=min(self.session_end, int(now)))


def read(place: Place, origin: Origin) -> list[Row]:
    """The sign-ins of an origin, the default one first. A damaged file is none."""
    try:
        with open(_path(place, origin), encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            lines = file.read(1 << 16).split("\n")[1:]
    except OSError:
        return []
    rows = []
    for line in lines:
        parts = line.split("\t")
        if len(parts) == 4 and all(map(_is_time, parts[:2])):  # noqa: PLR2004
            rows.append(Row(int(parts[0]), int(parts[1]), parts[2], parts[3]))
    return rows


def _is_time(text: str) -> bool:
    return text.isdecimal() and len(text) < 16  # noqa: PLR2004 # digits; Python refuses to read thousands of them


def write(place: Place, origin: Origin, rows: list[Row], now: float) -> None:
    """Replace the file; without rows, remove it. Raises OSError."""
    path = _path(place, origin)
    if not rows:
        if os.path.lexists(path):
            os.unlink(path)
        return
    text = f"{rows[0].account}\n" + "".join("\t".join(map(str, row)) + "\n" for row in rows)
    aside = place.path(f"new-{os.getpid()}")
    try:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(text.encode("utf-8", "surrogateescape"))
        os.utime(aside, times=(now, _due(rows, now)))
        os.replace(aside, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(aside)
        raise


def settle(place: Place, origin: Origin, now: float) -> None:
    """Put the file right again when something in it has ended: take out what is over, and say what ends next."""
    write(place, origin, remaining(read(place, origin), now), now)


def remaining(rows: list[Row], now: float) -> list[Row]:
    """Those that have not ended. Of the forges where one has not, also the first: who names nobody means that account,
    and is not given another's token because its own sign-in is over."""
    living = {row.base for row in rows if row.session_end > now}
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(row.base, row)
    return [row for row in rows if row.session_end > now or (row.base in living and row is first[row.base])]


def overdue(place: Place, origin: Origin, now: float) -> bool:
    """Whether something in the file has ended since it was written, so that the launcher no longer trusts it."""
    try:
        return os.stat(_path(place, origin)).st_mtime <= now
    except OSError:
        return False


def stamp(place: Place, origin: Origin) -> tuple[int, int] | None:
    """Changes whenever the file does."""
    try:
        found = os.stat(_path(place, origin))
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def origins(place: Place) -> list[Origin]:
    """The origins that have sign-ins, by name."""
    found = []
    for name in sorted(os.listdir(place.directory)):
        scheme, _, host = name.removeprefix(_PREFIX).partition("-")
        origin = of_request(scheme, host) if name.startswith(_PREFIX) else None
        if origin:
            found.append(origin)
    return found


def _due(rows: list[Row], now: float) -> float:
    """When Python has to look again. Always, where several forges share the origin: a token of the one is not to
    be sent to the other, and the launcher does not know paths."""
    if any(row.base for row in rows):
        return 0
    first = min((end for row in rows for end in (row.answer_end, row.session_end) if end > now), default=0)
    return min(first, now + _YEAR)  # a time that every file system knows


def _path(place: Place, origin: Origin) -> str:
    return place.path(f"{_PREFIX}{origin.scheme}-{origin.netloc}")
