"""The figures as tables, and beside each target whether it is met, or missed by how much. It asserts nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import entries
import miss
import storm
import warm
from clock import Spread
from gits import Git
from memory import MB
from peers import Peer
from storm import Measured
from storm_field import Storm
from warm import Row


class Target(NamedTuple):
    what: str
    most: float
    figure: float
    unit: str = ""

    def row(self) -> tuple[str, ...]:
        form = f"{{:.{0 if self.figure >= 100 else 2}f}}{self.unit}"
        over = self.figure / self.most - 1 if self.most else float(self.figure > 0)
        verdict = "met" if over <= 0 else f"missed by {over:.1%}"
        return (self.what, f"at most {self.most:g}{self.unit}", form.format(self.figure), verdict)


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def warm_table(rows: list[Row], peers: list[Peer]) -> str:
    head = ("set-up", "state", "p50, ms", "p95, ms", *(f"to {named(peer.key)}" for peer in peers), f"to `{warm.CACHE}`")
    times = {(row.set_up, row.state): row.time for row in rows}
    lines = []
    for row in sorted(rows, key=lambda row: (not row.state, row.time.p50)):
        others = [*(peer.key for peer in peers), warm.CACHE]
        ratios = [f"{row.time / times[other, row.state]:.2f}" for other in others]
        state = "yes" if row.state else "no"
        lines.append((named(row.set_up), state, f"{row.time.p50:.2f}", f"{row.time.p95:.2f}", *ratios))
    return table(head, lines)


def warm_targets(git: Git, rows: list[Row], peers: list[Peer]) -> list[Target]:
    times = {(row.set_up, row.state): row.time for row in rows}

    def to_peer(set_up: str, *, state: bool) -> float:
        """To the faster of the peers in this run."""
        return max(times[set_up, state] / times[peer.key, state] for peer in peers)

    found = []
    if git.states:
        floor = times[warm.CONFIGURED, True] / times[warm.CACHE, True]
        found += [
            Target("as configured, with state, to the peer", 0.54, to_peer(warm.CONFIGURED, state=True)),
            Target("as configured, with state, to `cache` alone", 0.92, floor),
            Target("by absolute path, with state, to the peer", 0.70, to_peer(warm.ABSOLUTE, state=True)),
            Target("by name, with state, to the peer", 0.90, to_peer(warm.NAME, state=True)),
        ]
    found.append(Target("as configured, without state, to the peer", 0.72, to_peer(warm.CONFIGURED, state=False)))
    return [target._replace(what=f"git {git.version}: {target.what}") for target in found]


def named(set_up: str) -> str:
    return f"`cache` + oauth {set_up.removeprefix('oauth-')}" if set_up.startswith("oauth-") else set_up


def miss_targets(times: dict[str, Spread]) -> list[Target]:
    return [
        Target("miss to browser started", 0.25, times[miss.PLAIN].p50 / 1e3, " s"),
        Target("miss to browser, to importing httpx first", 0.6, times[miss.PLAIN] / times[miss.IMPORTING]),
    ]


def memory_targets(hit: dict[str, float], waiter: float, sign_in: float) -> list[Target]:
    return [
        Target("peak memory of a hit (its largest process)", 6, max(hit.values()) / MB, " MB"),
        Target("peak memory of a waiter", 25, waiter / MB, " MB"),
        Target("peak memory of a sign-in", 60, sign_in / MB, " MB"),
    ]


def entries_target(times: dict[int, Spread]) -> Target:
    most = max(entries.COUNTS)
    return Target(f"{most:,} sign-ins in memory, to one", 1.1, times[most] / times[1])


_HEAD = ("gits", "state", "tabs", "token requests", "answers", "until the last, s", "processor, s", "forge, s")


def storm_table(found: Measured) -> str:
    return table(
        (*_HEAD, "a waiter's peak, MB", "and its processor"), [(*_storm(row), *_waiter(row)) for row in found.rows]
    )


def storm_peers(found: Measured) -> str:
    return table(("helper", *_HEAD), [(named(peer.key), *_storm(row)) for peer, row in found.beside])


def _storm(row: Storm) -> tuple[str, ...]:
    counts = (str(row.tabs), str(row.requests), str(row.answers))
    return (str(row.gits), row.state, *counts, f"{row.last:.2f}", f"{row.cpu:.2f}", f"{row.forge:.2f}")


def _waiter(row: Storm) -> tuple[str, str]:
    if row.waiter is None or row.idle is None:
        return "", ""
    return f"{row.waiter / MB:.1f}", f"{row.idle:.2%}"


def storm_targets(found: Measured) -> list[Target]:
    idle = max(row.idle for row in found.rows if row.idle is not None)
    waiter = max(row.waiter for row in found.rows if row.waiter is not None)
    many = f"{storm.MANY} gits at once"
    return [
        Target(f"{many}, nothing cached, from the person's word, to {storm.MANY} in memory", 1.5, found.consent),
        Target(f"{many}, expired, to {storm.MANY} in memory", 2.5, found.refresh),
        Target(f"{many}, expired: processor time to {storm.MANY} separate refreshes", 0.5, found.cpu),
        Target(f"{many}, in memory: Pythons started", 0, found.pythons),
        Target("gits at once: processor of one that waits", 1, idle * 100, " %"),
        Target("gits at once: peak memory of one that waits", 25, waiter / MB, " MB"),
        Target("until a lone waiter answers with the result", 50, found.taken[len(found.taken) // 2] * 1e3, " ms"),
    ]


def spreads(times: dict[str, Spread]) -> list[tuple[str, ...]]:
    return [(name, f"{time.p50:.1f}", f"{time.p95:.1f}") for name, time in times.items()]
