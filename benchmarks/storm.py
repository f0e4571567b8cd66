"""Many gits at once, real ones over TLS: with the token in memory, with nothing cached, with a token that has ended,
with one that the forge refuses, and with a person who says no. Beside them git-credential-oauth."""

from __future__ import annotations

import json
import re
import shutil
import stat
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import homes
import storm_forge
from gits import Git
from homes import Home, Installed
from peers import Peer
from storm_field import Field, Forge, Storm

WARM, NOTHING, EXPIRED, REVOKED, DENIED = "in memory", "nothing cached", "expired", "refused token", "denied"
COUNTS = (1, 8, 64, 256)
BESIDE = (8, 64)  # gits at once for the peer
_TIMES = 9  # that one waiter is timed
MANY = 64  # that the targets speak of

# Run by the installed Python: forgets what is held, and keeps a sign-in with this token and this time left.
_KEEPER = """
import json, sys, time
from git_credential_forge import daemon
from git_credential_forge.origin import of_request
from git_credential_forge.secret import Secret
from git_credential_forge.session import Session
from git_credential_forge.vault import Vault
host, account, token, refresh, left = json.load(sys.stdin)
held, origin, now = Vault(daemon.place(), 7200), of_request("https", host), int(time.time())
for row in held.rows(origin, None):
    held.forget(origin, row.base, row.account)
if token:
    held.save(origin, Session(
        account=account, access_token=Secret(token), expiry=now + left, margin=60, refresh_token=Secret(refresh),
        client_id="a4792ccc-144e-407e-86c9-5e7d8d9c3269", kind="forgejo", base="", issuer=None, scopes="",
        token_url="https://" + host + "/login/oauth/access_token", signed_in_at=now - 3600, issued_at=now - 3600))
"""

Keep = Callable[[str, int], None]


@contextmanager
def ours(at: Path, git: Git, installed: Installed, forge: Forge) -> Iterator[tuple[Field, Keep]]:
    """A field with our helper, and what keeps a sign-in there: called with a token and the seconds that it lives."""
    home = homes.home(at / "home", git, installed)
    home.run(installed.launcher, "configure")
    field = Field(at, home, forge, at / "home/.cache/git-credential-forge/socket")

    def keep(token: str, left: int) -> None:
        told = [forge.host, storm_forge.ACCOUNT, token, storm_forge.LIVING, left]
        home.run(installed.python, "-c", _KEEPER, given=json.dumps(told))

    keep("", 0)
    yield field, keep
    homes.close(home)


def one(field: Field, keep: Keep, state: str, count: int) -> Storm:
    """One storm of ours, from a state that is made anew."""
    token, left = {
        WARM: (storm_forge.GOOD, 3600),
        EXPIRED: (storm_forge.GOOD, -10),
        REVOKED: (storm_forge.BAD, 3600),
    }.get(state, ("", 0))
    keep(token, left)
    for path in (field.home.directory / ".cache/git-credential-forge").glob("refusal-*"):
        path.unlink()
    if state not in (NOTHING, DENIED):
        return field.storm(state, count, None)
    opened = field.opened_since(1)
    says = "code=good" if state == NOTHING else "error=access_denied"
    return field.storm(state, count, lambda: opened() and len(field.waiting()) == count, says)


def theirs(at: Path, home: Home, forge: Forge, count: int) -> list[Storm]:
    """Storms of `cache` and the peer: nothing cached, where each opens a tab; and expired."""
    home.set("cache --timeout 7200", "oauth")
    field = Field(at, home, forge, at / "home/.cache/git/credential/socket")
    opened = field.opened_since(count)
    found = [field.storm(NOTHING, count, opened, "code=good")]
    if home.git.challenges:  # one before 2.41 keeps no refresh token
        _end_of_token(home, forge)  # 0.4.2 does not refresh: its tabs are granted as they come
        found.append(field.storm(EXPIRED, count, lambda: True, "code=good"))
    homes.close(home)
    return found


def _end_of_token(home: Home, forge: Forge) -> None:
    """What git's cache holds after a token's end: to a git that knows the time, as good as its refresh token alone."""
    where = f"protocol=https\nhost={forge.host}\n"
    ended = f"username=oauth2\npassword=old\npassword_expiry_utc=1\noauth_refresh_token={storm_forge.LIVING}\n"
    home.run(home.git.program, "credential-cache", "erase", given=f"{where}\n")
    home.run(home.git.program, "credential-cache", "--timeout=7200", "store", given=f"{where}{ended}\n")


def separate(field: Field, keep: Keep, count: int) -> float:
    """Processor seconds of as many refreshes, each by one git alone."""
    return sum(one(field, keep, EXPIRED, 1).cpu for _ in range(count))


def pythons(field: Field, keep: Keep, installed: Installed, count: int) -> int:
    """How many Pythons a storm starts whose token is in memory: counted by a `--main` that leaves a mark."""
    at = field.home.directory / "marking"
    at.mkdir()
    launcher, main, marks = at / "git-credential-forge", at / "git-credential-forge--main", at / "marks"
    shutil.copy(installed.launcher, launcher)
    main.write_text(f"#!/bin/sh\necho started >>'{marks}'\nexec '{installed.main}' \"$@\"\n")
    main.chmod(main.stat().st_mode | stat.S_IXUSR)
    marks.touch()
    config = Path(field.home.directory, ".config/git-credential-forge/gitconfig")
    before = config.read_text()
    config.write_text(before.replace(installed.launcher, str(launcher)))
    keep(storm_forge.GOOD, 3600)
    field.storm(WARM, count, None)
    config.write_text(before)
    return len(marks.read_text().splitlines())


def taking(field: Field, keep: Keep, times: int) -> list[float]:
    """Seconds from the result's being there to the answer of one that waits, by their own traces."""
    field.home.environment["GIT_TRACE_FORGE"] = "1"
    taken = []
    for _ in range(times):
        one(field, keep, NOTHING, 2)
        said = field.said()[:2]
        there = next(at for text in said if (at := _at(text, "vault: names written")) is not None)
        answered = [_at(text, "cli: answering git") for text in said if _at(text, "vault: names written") is None]
        taken += [(at - there) % 86_400 for at in answered if at is not None]
    del field.home.environment["GIT_TRACE_FORGE"]
    return sorted(taken)


def _at(trace: str, event: str) -> float | None:
    """Seconds since midnight of the last such line."""
    found = re.findall(rf"^(\d\d):(\d\d):(\d\d\.\d\d\d) {event}$", trace, re.MULTILINE)
    return int(found[-1][0]) * 3600 + int(found[-1][1]) * 60 + float(found[-1][2]) if found else None


def median(storms: list[Storm]) -> Storm:
    """The figures in the middle; the counts are those of all, or it is an error of ours to print one."""
    first = storms[0]
    counts = {(storm.tabs, storm.requests, storm.answers) for storm in storms}
    if len(counts) > 1:
        print(f"{first.state}, {first.gits}: not the same each time: {counts}", flush=True)
    peaks = [storm.waiter for storm in storms if storm.waiter is not None]
    idles = [storm.idle for storm in storms if storm.idle is not None]
    return first._replace(
        last=statistics.median(storm.last for storm in storms),
        cpu=statistics.median(storm.cpu for storm in storms),
        forge=statistics.median(storm.forge for storm in storms),
        waiter=max(peaks, default=None),
        idle=max(idles, default=None),
    )


class Measured(NamedTuple):
    """What `measure` has found."""

    rows: list[Storm]  # medians
    beside: list[tuple[Peer, Storm]]
    consent: float  # MANY with nothing cached, from the person's word, to as many whose token is in memory
    refresh: float  # … with a token that has ended, in all
    cpu: float  # … to the processor time of as many separate refreshes
    pythons: int
    taken: list[float]  # seconds until a lone waiter answers with the result


def measure(at: Path, git: Git, installed: Installed, peers: list[Peer], rounds: int) -> Measured:
    """Storms of each size and state, `rounds` of them interleaved (one of the largest), and what is set beside them."""
    at.joinpath("ours").mkdir()
    forge = Forge(at)
    states = [WARM, NOTHING, EXPIRED, *([REVOKED] if git.states else []), DENIED]
    found: dict[tuple[int, str], list[Storm]] = {(count, state): [] for count in COUNTS for state in states}
    alone: list[float] = []
    try:
        with ours(at / "ours", git, installed, forge) as (field, keep):
            for number in range(rounds):
                for (count, state), storms in found.items():
                    if number == 0 or count <= MANY:
                        storms.append(one(field, keep, state, count))
                alone += [separate(field, keep, MANY)] if number == 0 else []
            started, taken = pythons(field, keep, installed, MANY), taking(field, keep, _TIMES)
        beside = []
        for peer in peers:
            for count in BESIDE:
                place = at / f"{peer.key}-{count}"
                place.mkdir()
                home = homes.home(place / "home", git, installed, peer)
                beside += [(peer, storm) for storm in theirs(place, home, forge, count)]
    finally:
        forge.close()
    warm, nothing, expired = (found[MANY, state] for state in (WARM, NOTHING, EXPIRED))
    return Measured(
        rows=[median(storms) for storms in found.values()],
        beside=beside,
        consent=statistics.median(storm.last / base.last for storm, base in zip(nothing, warm, strict=True)),
        refresh=statistics.median(storm.last / base.last for storm, base in zip(expired, warm, strict=True)),
        cpu=statistics.median(storm.cpu for storm in expired) / alone[0],
        pythons=started,
        taken=taken,
    )
