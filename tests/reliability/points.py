"""Where something is killed, and what the next command may cost. Data only; `stage` plays it.

A stop is a chain of the product's trace events (GIT_TRACE_FORGE=1), in order; the process stops at the last. Where it
is empty, the point is no event: `at` says what is waited for instead.
"""

from __future__ import annotations

from typing import NamedTuple


class Cost(NamedTuple):
    """What a command made of the authorization server, by that server's own log."""

    tabs: int
    exchanges: int
    refreshes: int

    def __str__(self) -> str:
        return " / ".join(map(str, self))


MEMORY = Cost(0, 0, 0)
REFRESH = Cost(0, 0, 1)
SIGN_IN = Cost(1, 1, 0)
LOST = Cost(1, 1, 1)  # a refresh that is refused, then a sign-in

# Why a next command may need the browser.
NO_ANSWER = "the sign-in had no answer yet"
UNKEPT = "the server had given new tokens out, and the vault had not kept them yet"
NO_MEMORY = "the daemon is gone, and with it all memory: one sign-in, which says why"

SIGN_IN_WAY, REFRESH_WAY, REPAIR_WAY = "sign-in", "refresh", "repair"  # a token that has ended; one that is refused

# What is waited for where a point is no event.
EVENT, AT_PAGE, COMMITTED, IDLE = "event", "the page is open", "the server has committed", "no command runs"

TWO = "leader and successor"


class Point(NamedTuple):
    name: str  # as the page says it
    stop: str
    cost: Cost  # of the next command, where the server rotates refresh tokens
    why: str = ""  # the browser may be needed
    plain: Cost | None = None  # the same where it does not rotate; None: as `cost`
    at: str = EVENT
    victim: str = "helper"  # or "git", "git and helper", "daemon", "socket", TWO
    ends: int | None = None  # the command's exit status where it is not killed and ends well all the same

    def allowed(self, *, rotates: bool) -> Cost:
        return self.cost if rotates or self.plain is None else self.plain


_KEPT = ("session kept", "answer kept", "names written")


def _kept(after: str) -> list[Point]:
    """From the session in the cache on, nothing is lost any more."""
    points = [Point(f"vault: {step}", f"{after} > vault: {step}", MEMORY) for step in _KEPT]
    return [*points, Point("cli: answering git", "cli: answering git", MEMORY)]


def _renewing() -> list[Point]:
    arrived = "refresh: token arrived"
    return [
        Point("http: POST, the refresh is sent", "http: POST", REFRESH),
        Point("the server has committed, its answer is not read", "", LOST, UNKEPT, REFRESH, COMMITTED),
        Point(arrived, arrived, LOST, UNKEPT, REFRESH),
        *_kept(arrived),
    ]


LEADER: dict[str, list[Point]] = {
    SIGN_IN_WAY: [
        Point("flight: holding sign-in", "flight: holding sign-in", SIGN_IN, NO_ANSWER),
        Point("the person looks at the page", "", SIGN_IN, NO_ANSWER, at=AT_PAGE),
        Point("authorize: callback arrived", "authorize: callback arrived", SIGN_IN, NO_ANSWER),
        Point("http: POST, the code is sent", "authorize: callback arrived > http: POST", SIGN_IN, NO_ANSWER),
        Point("the server has committed, its answer is not read", "", SIGN_IN, UNKEPT, at=COMMITTED),
        Point("authorize: token arrived", "authorize: token arrived", SIGN_IN, UNKEPT),
        Point("http: GET, who signed in is asked", "authorize: token arrived > http: GET", SIGN_IN, UNKEPT),
        Point("vault: name noted", "vault: name noted", SIGN_IN, UNKEPT),
        *_kept("authorize: token arrived"),
    ],
    REFRESH_WAY: [Point("flight: holding refresh", "flight: holding refresh", REFRESH), *_renewing()],
    REPAIR_WAY: [
        Point("flight: holding refresh", "flight: holding refresh", REFRESH),
        Point("vault: session kept, as refused", "vault: session kept", REFRESH),
        Point("vault: names written, as refused", "vault: names written", REFRESH),
        *_renewing(),
    ],
}

# One of two that wait. The one that acts and the other one end well, and all three cost what one does.
WAITER = (
    Point("it waits", "", MEMORY, at=COMMITTED),
    Point("flight: done waiting, or holding after it", "flight: ", MEMORY),
    Point("cli: answering git", "cli: answering git", MEMORY),
)

OTHERS: dict[str, list[Point]] = {
    SIGN_IN_WAY: [
        Point("the person looks at the page", "", SIGN_IN, NO_ANSWER, at=AT_PAGE, victim="git"),
        Point("the person looks at the page", "", SIGN_IN, NO_ANSWER, at=AT_PAGE, victim="git and helper"),
        Point("authorize: callback arrived", "authorize: callback arrived", MEMORY, victim="git"),
        Point("authorize: token arrived", "authorize: token arrived", MEMORY, victim="git"),
        Point("authorize: token arrived", "authorize: token arrived", SIGN_IN, UNKEPT, victim="git and helper"),
        Point("cli: answering git", "cli: answering git", MEMORY, victim="git"),
        Point("cli: answering git", "cli: answering git", MEMORY, victim="git and helper"),
        Point("authorize: callback arrived, twice", "authorize: callback arrived", MEMORY, victim=TWO),
        Point("vault: session kept", "vault: session kept", MEMORY, victim="daemon", ends=0),
        Point("vault: names written", "vault: names written", SIGN_IN, NO_MEMORY, victim="daemon", ends=0),
        Point("no command runs, the token is good", "", SIGN_IN, NO_MEMORY, at=IDLE, victim="daemon"),
        Point("no command runs, the token is good", "", SIGN_IN, NO_MEMORY, at=IDLE, victim="socket"),
    ],
    REFRESH_WAY: [
        Point("the server has committed, its answer is not read", "", MEMORY, at=COMMITTED, victim="git"),
        Point("refresh: token arrived", "refresh: token arrived", MEMORY, victim="git"),
        Point("refresh: token arrived", "refresh: token arrived", LOST, UNKEPT, REFRESH, victim="git and helper"),
        Point("http: POST, twice", "http: POST", MEMORY, victim=TWO),
        Point("http: POST, the refresh is sent", "http: POST", MEMORY, victim="daemon", ends=0),
        Point("vault: names written", "vault: names written", SIGN_IN, NO_MEMORY, victim="daemon", ends=0),
        Point("no command runs, the token has ended", "", SIGN_IN, NO_MEMORY, at=IDLE, victim="daemon"),
    ],
    REPAIR_WAY: [
        Point("refresh: token arrived", "refresh: token arrived", MEMORY, victim="git"),
        Point("refresh: token arrived", "refresh: token arrived", LOST, UNKEPT, REFRESH, victim="git and helper"),
        Point("http: POST, twice", "http: POST", MEMORY, victim=TWO),
        Point("no command runs, the token is refused", "", SIGN_IN, NO_MEMORY, at=IDLE, victim="daemon"),
    ],
}


class Cell(NamedTuple):
    way: str
    role: str  # leader, waiter, other
    rotates: bool
    point: Point

    def __str__(self) -> str:
        rotation = "rotation" if self.rotates else "none"
        return f"{self.way}, {self.role}, {rotation}: {self.point.victim} at {self.point.name}"


def cells() -> list[Cell]:
    found = []
    for way, leader in LEADER.items():
        for rotates in (True, False):
            found += [Cell(way, "leader", rotates, point) for point in leader]
            found += [Cell(way, "waiter", rotates, point) for point in WAITER]
            found += [Cell(way, "other", rotates, point) for point in OTHERS[way]]
    return found
