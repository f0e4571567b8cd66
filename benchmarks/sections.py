"""The parts of a run: each measures one thing, and adds its table and its targets to the report."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import entries as many
import gits
import memory as peak
import miss as cold
import report as put
import storm as storms
import storm_forge
import warm as held
import where
from debian import MissingError
from gits import Git
from homes import Installed
from peers import Peer
from report import Target

PARTS = ("warm", "miss", "memory", "entries", "storm", "profile")
_FEW = 3  # rounds of storms, of which some take half a minute
_SLOW = 31  # rounds at most, where one takes a tenth of a second


class Bench(NamedTuple):
    """What is measured, and where."""

    at: Path
    installed: Installed
    gits: list[Git]
    peers: list[Peer]
    rounds: int

    def place(self, name: str) -> Path:
        made = self.at / name
        made.mkdir()
        return made

    @property
    def newest(self) -> Git:
        return max(self.gits, key=lambda git: [int(part) for part in git.version.split(".")])


class Report:
    """Sections in their order, and all targets."""

    def __init__(self) -> None:
        self.sections: list[tuple[str, str]] = []
        self.targets: list[Target] = []

    def add(self, title: str, text: str, targets: list[Target] | None = None) -> None:
        print(f"{title}: done", flush=True)
        self.sections.append((title, text))
        self.targets += targets or []

    def target_table(self) -> str:
        return put.table(("what", "target", "figure", ""), [target.row() for target in self.targets])


def warm(bench: Bench, report: Report) -> None:
    for git in bench.gits:
        rows = held.measure(bench.place(f"warm-{git.version}"), git, bench.installed, bench.peers, bench.rounds)
        text = (
            f"`git credential fill` and `git credential approve`, {bench.rounds} interleaved rounds, the token in "
            f"memory. Ratios are of medians.\n\n" + put.warm_table(rows, bench.peers)
        )
        report.add(f"Warm, git {git.version}", text, put.warm_targets(git, rows, bench.peers))


def miss(bench: Bench, report: Report) -> None:
    rounds = min(bench.rounds, _SLOW)
    times = cold.measure(bench.place("miss"), bench.newest, bench.installed, rounds)
    text = (
        f"From `get`, with nothing held for a forge that its challenge names, to the browser's program running; "
        f"{rounds} interleaved rounds, git {bench.newest.version}.\n\n"
        + put.table(("", "p50, ms", "p95, ms"), put.spreads(times))
    )
    report.add("Miss to browser", text, put.miss_targets(times))


def memory(bench: Bench, report: Report) -> None:
    at = bench.place("memory")
    try:
        hit = peak.hit(at, bench.newest, bench.installed)
    except MissingError as error:
        report.add("Peak memory", f"not measured: {error}")
        return
    waiter, sign_in = peak.waiter(at, bench.newest, bench.installed), peak.sign_in(at, bench.newest, bench.installed)
    rows = [(f"hit: {name}", f"{size / peak.MB:.1f}") for name, size in hit.items()]
    rows += [("waiter: Python", f"{waiter / peak.MB:.1f}"), ("sign-in over TLS: Python", f"{sign_in / peak.MB:.1f}")]
    targets = put.memory_targets(hit, waiter, sign_in)
    report.add("Peak memory", "VmHWM of single processes.\n\n" + put.table(("", "MB"), rows), targets)


def entries(bench: Bench, report: Report) -> None:
    times = many.measure(bench.place("entries"), bench.newest, bench.installed, bench.rounds)
    rows = put.spreads({f"{count:,}": time for count, time in times.items()})
    text = (
        "A hit as configured. Each sign-in is two entries in the daemon and a file; the one that is asked for came "
        "last.\n\n" + put.table(("sign-ins", "p50, ms", "p95, ms"), rows)
    )
    report.add("Many sign-ins", text, [put.entries_target(times)])


def storm(bench: Bench, report: Report) -> None:
    git, rounds = gits.over_http(), min(bench.rounds, _FEW)
    found = storms.measure(bench.place("storm"), git, bench.installed, bench.peers, rounds)
    taken = [f"{seconds * 1e3:.0f} ms" for seconds in (found.taken[len(found.taken) // 2], found.taken[-1])]
    text = (
        f"Real `git ls-remote` (git {git.version}) over TLS, all at once, against one server on this machine that "
        f"looks at the password, answers `info/refs` and takes {storm_forge.DELAY * 1e3:.0f} ms for a token. Time is "
        "from the first git's start to the last one's end; with nothing cached, and where the person denies, from the "
        "person's word, once all are known to wait, to the end of the last. Processor time is that of all gits, "
        f"helpers and the cache daemon; the forge's own stands beside it. Medians of {rounds} rounds, of 256 gits one "
        "round. Requests for a token are counted without the probe for the client id.\n\n"
        + put.storm_table(found)
        + f"\nA storm of {storms.MANY} whose token is in memory starts {found.pythons} Pythons. One "
        f"that waits alone answers {taken[0]} after the result is there (the median of {len(found.taken)}; at most "
        f"{taken[1]}).\n\nBeside it, `cache` + git-credential-oauth in the same run; this server lets each tab have "
        "its grant, which Forgejo and Gitea do not.\n\n" + put.storm_peers(found)
    )
    report.add("Many gits at once", text, put.storm_targets(found))


def profile(bench: Bench, report: Report) -> None:
    git, at = bench.newest, bench.place("profile")
    parts = []
    try:
        head = ("set-up", "programs", "forks", "system calls", "most of them")
        rows = where.calls(at, git, bench.installed, bench.peers)
        named = [(put.named(row[0]), *row[1:]) for row in rows]
        parts.append(f"`fill` and `approve` under strace, git {git.version}:\n\n" + put.table(head, named))
    except MissingError as error:
        parts.append(f"no system calls: {error}\n")
    modules = where.imports(at, git, bench.installed)
    alone = sum(module[0] for module in modules)
    dear = [(f"`{name}`", f"{own:.1f}", f"{whole:.1f}") for own, whole, name in modules[:20]]
    parts.append(
        f"Python's imports before the browser is started, by `-X importtime`: {len(modules)} modules, {alone:.0f} ms "
        "(the option itself makes them slower). Those that cost most:\n\n"
        + put.table(("module", "alone, ms", "with what it imports, ms"), dear)
    )
    report.add("Where the time goes", "\n".join(parts))
