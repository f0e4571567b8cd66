"""All that is claimed about speed and memory, measured on this machine: `python3 benchmarks/run.py`.

Prints tables and targets, and writes them to docs/benchmarks.md if all parts were asked for. Linux; on Debian with
the peers and newer gits, elsewhere without those that cannot be had. What it fetches and builds goes to
build/benchmarks; homes, daemons and all else are gone at the end.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import clock
import gits
import homes
import peers
import sections
from debian import MissingError
from sections import Bench, Report

T = TypeVar("T")
PAGE = homes.ROOT / "docs/benchmarks.md"


def main() -> None:
    options = _options()
    work: Path = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    missing: list[str] = []
    wanted = [("this machine's git", gits.system)]
    wanted += [(f"Debian {suite}'s git", partial(gits.of_suite, suite, work)) for suite in gits.SUITES]
    found_gits = _those_there(wanted, missing)
    found_peers = _those_there(
        [
            ("Debian 12's git-credential-oauth", partial(peers.stable, work)),
            ("a current git-credential-oauth", partial(peers.current, work)),
        ],
        missing,
    )
    installed = homes.install(work, options.tree.resolve())
    first = options.real_time and clock.take_precedence()
    with tempfile.TemporaryDirectory(prefix="forge-benchmark-") as at:
        out = options.out.resolve()
        os.chdir(at)  # no repository, whose config each git would read
        bench = Bench(Path(at), installed, found_gits, found_peers, options.rounds)
        report = Report()
        clock.wait_until_quiet(options.patience)
        busy = clock.Busy()
        for part in options.only:
            getattr(sections, part)(bench, report)
        others = busy.share()
    text = _page(options, bench, report, missing, others=others, first=first)
    print(text)
    if options.only == list(sections.PARTS):
        out.write_text(text)
        print(f"written to {out}")


def _those_there(wanted: Sequence[tuple[str, Callable[[], T]]], missing: list[str]) -> list[T]:
    """What can be had here; why not the rest goes to `missing`."""
    found = []
    for what, get in wanted:
        try:
            found.append(get())
        except MissingError as error:  # noqa: PERF203 # a few, of which each may fail
            missing.append(f"{what}: {error}")
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure what the README claims about speed and memory.")
    parser.add_argument("--rounds", type=int, default=101, help="runs of each warm set-up, interleaved (101)")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=sections.PARTS,
        default=list(sections.PARTS),
        metavar="PART",
        help=f"of {', '.join(sections.PARTS)}; prints, and leaves docs/ alone",
    )
    parser.add_argument("--real-time", action="store_true", help="go before all else on this machine (root)")
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait until others are quiet (60)")
    parser.add_argument("--tree", type=Path, default=homes.ROOT, help="measure another tree than this one")
    parser.add_argument("--work", type=Path, default=homes.ROOT / "build/benchmarks", help="what is kept between runs")
    parser.add_argument("--out", type=Path, default=PAGE, help="where the page goes (docs/benchmarks.md)")
    return parser.parse_args()


def _page(
    options: argparse.Namespace, bench: Bench, report: Report, missing: list[str], *, others: float, first: bool
) -> str:
    conditions = [
        f"{dt.datetime.now(dt.timezone.utc):%Y-%m-%d %H:%M} UTC, commit {_commit(options.tree)}",
        f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Linux {platform.release()}",
        f"{os.cpu_count()} processors, {_processor()}",
        f"Python {platform.python_version()}, sh is {os.path.realpath('/bin/sh')}",
        "git " + ", ".join(git.version for git in bench.gits),
        *(f"git-credential-oauth {peer.version}: {peer.source}" for peer in bench.peers),
        f"a token of {len(homes.TOKEN)} bytes, no repository around, an empty HOME with one helper set up",
        f"others had {others:.0%} of the processors meanwhile"
        + (", and the measured programs went before them (SCHED_FIFO)" if first else ""),
        *(f"not measured: {what}" for what in missing),
    ]
    return (
        "# Benchmarks\n\nMade by `python3 benchmarks/run.py`, not by hand. Ratios travel to other machines; "
        "milliseconds do not.\n\n"
        + "".join(f"- {line}\n" for line in conditions)
        + ("\n## Targets\n\n" + report.target_table() if report.targets else "")
        + "".join(f"\n## {title}\n\n{text.rstrip()}\n" for title, text in report.sections)
    )


def _commit(tree: Path) -> str:
    command = ["git", "-C", str(tree), "describe", "--always", "--dirty=, with changes"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    main()
