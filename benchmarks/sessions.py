"""Measure sessions over the wire: `python -m benchmarks.sessions --work small --work mid`.

BuildKit's client gets the same tree from BuildKit's exporter and from tarcast's daemon, in turn. See the
README beside this file.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import machine, report, sessions_report
from benchmarks.arguments import positive, positive_int
from benchmarks.measure import RunFailed, settle
from benchmarks.places import base_directory, cache_directory, trees_directory
from benchmarks.rounds import say
from benchmarks.servers import (
    DOORS,
    Buildkitd,
    Original,
    Server,
    Tarcast,
    Unavailable,
    build,
    buildkit_version,
    receive,
    version_of,
)
from benchmarks.sessions_report import Row, Run, Work
from benchmarks.signals import end_in_order
from benchmarks.workloads import TREES, make
from tarcast.bench.stats import running_order

RESULTS = Path(__file__).resolve().parent / "results"
# With --quiet: how often a run is tried, and for how long others may come to an end before it is repeated.
ATTEMPTS = 4
PAUSE = 2.0


@dataclass(frozen=True)
class Conditions:
    """What is the same for everyone."""

    rounds: int
    scale: float
    doors: Sequence[str]
    check: bool
    programs: Path
    quiet: float | None = None  # percent of the machine that others may have while someone is timed


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m benchmarks.sessions",
        description="Measure exports to sessions of BuildKit's client, from tarcast and from BuildKit.",
    )
    add = p.add_argument
    add("--work", action="append", choices=sorted(TREES), required=True, help="a tree; may be repeated")
    add(
        "--via",
        action="append",
        choices=DOORS,
        help="how sessions are opened; may be repeated (default: both)",
    )
    add("--rounds", type=positive_int, default=7, help="timed runs of everyone (default 7)")
    add("--scale", type=positive, default=1.0, help="size of the trees (default 1)")
    add("--buildkitd", action="store_true", help="a whole buildkitd takes part as well (root)")
    add("--check", action="store_true", help="compare SHA-256, not only how many bytes there are")
    add(
        "--quiet",
        type=positive,
        metavar="PERCENT",
        help="repeat runs from which others took more CPU than that",
    )
    add("--dir", type=Path, help="where trees are kept (default: temp)")
    add("--save", type=Path, metavar="FILE", help="save as FILE.json and FILE.md")
    return p


def doors_of(options: argparse.Namespace) -> list[str]:
    return [door for door in DOORS if door in (options.via or DOORS)]


def refusal(options: argparse.Namespace) -> str | None:
    """Why these options make no sense together, or here."""
    if options.buildkitd and not set(doors_of(options)) & {*Buildkitd.doors}:
        return "--buildkitd takes no upgrades: it needs --via control"
    if options.buildkitd and os.geteuid() != 0:
        return "--buildkitd must be run by root: it mounts"
    return None


def default_stem(facts: dict[str, str], options: argparse.Namespace) -> Path:
    """date-commit-sessions-works, and whatever was not as usual."""
    parts = [facts["date"][:10], facts["commit"], "sessions", *dict.fromkeys(options.work)]
    if len(doors_of(options)) < len(DOORS):
        parts += doors_of(options)
    if options.buildkitd:
        parts.append("buildkitd")
    if options.scale != 1:
        parts.append(f"scale-{options.scale:g}".replace(".", "_"))
    return RESULTS / "-".join(parts)


def rows_of(
    servers: Sequence[Server], absent: dict[type[Server], str], doors: Sequence[str]
) -> list[tuple[Row, Server | None]]:
    """Each at each of its doors, door by door; who could not be started has a row that says so."""
    rows: list[tuple[Row, Server | None]] = []
    for door in doors:
        for server in servers:
            if door in server.doors:
                rows.append((Row(server.name, door, server.command, server.version), server))
        for kind, reason in absent.items():
            if door in kind.doors:
                rows.append((Row(kind.name, door, kind.command, kind.version, absent=reason), None))
    return rows


def timed_run(row: Row, server: Server, name: str, tree: Path, conditions: Conditions, cores: int) -> Run:
    """One run; another one if it was disturbed, and so on, but not for ever."""
    for _ in range(ATTEMPTS):
        settle(False)
        run = receive(conditions.programs, server, row.door, name, tree)
        taken = run.taken(cores)
        if conditions.quiet is None or taken <= conditions.quiet:
            break
        say(f"  {row.name} {row.door} {run.archive:.3f}: others took {taken:.0f}% of the machine")
        time.sleep(PAUSE)
    return run


def measure_work(
    name: str, tree: Path, entrants: Sequence[tuple[Row, Server | None]], conditions: Conditions
) -> Work:
    """Everyone once without the clock, then in turn, round after round; whoever fails drops out."""
    cores = os.cpu_count() or 1
    work = Work(name, conditions.scale, conditions.rounds, [row for row, _ in entrants], cores)
    running = [(row, server) for row, server in entrants if server is not None]
    for row, server in running:
        try:
            row.first = receive(conditions.programs, server, row.door, name, tree, conditions.check)
        except RunFailed as error:
            row.problem = f"in the warm-up: {error}"
    for number in range(conditions.rounds):
        told = []
        for row, server in running_order(running, number):
            if row.problem is not None:
                continue
            try:
                row.runs.append(timed_run(row, server, name, tree, conditions, work.cores))
            except RunFailed as error:
                row.problem = f"in round {number + 1}: {error}"
                continue
            told.append(f"{row.name} {row.door} {row.runs[-1].archive:.3f}")
        say(f"  {name} round {number + 1}/{conditions.rounds}: {', '.join(told)}")
    return work


def run(options: argparse.Namespace, cache: Path, base: Path) -> int:
    """Measure, print, save; 1 if anyone failed or if not all sent the same bytes."""
    say("building BuildKit's part, optimized: the first time takes minutes")
    programs = build(cache, options.buildkitd)
    trees_in = trees_directory(base, options.scale)
    trees = {}
    for name in dict.fromkeys(options.work):
        say(f"tree {name} (scale {options.scale:g})")
        trees[name] = make(name, trees_in, options.scale)
    facts = machine.facts(base)
    facts |= {"buildkit": f"{buildkit_version()}, compiled with optimizations"}
    facts |= {"tarcast": version_of("tarcast"), "grpcio": version_of("grpcio")}
    conditions = Conditions(
        options.rounds, options.scale, doors_of(options), options.check, programs, options.quiet
    )
    for key, value in facts.items():
        print(f"{key:14} {value}")
    print(flush=True)
    works, absent = [], {}
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sessions-", dir=cache)))
        servers: list[Server] = [Original(programs, place)]
        stack.callback(servers[0].close)
        servers.append(Tarcast(trees, place))
        stack.callback(servers[1].close)
        if options.buildkitd:
            try:
                servers.append(Buildkitd(programs, base))
                stack.callback(servers[2].close)
            except Unavailable as missing:
                absent[Buildkitd] = str(missing)
        for name, tree in trees.items():
            entrants = rows_of(servers, absent, conditions.doors)
            works.append(measure_work(name, tree, entrants, conditions))
            print(sessions_report.plain(works[-1]), flush=True)
    print("\n".join(sessions_report.LEGEND))
    text = sessions_report.markdown(facts, works)
    data = sessions_report.as_json(facts, works)
    for path in report.save(options.save or default_stem(facts, options), data, text):
        print(f"saved {os.path.relpath(path)}")
    return 1 if any(work.failed() for work in works) else 0


def main(arguments: Sequence[str] | None = None) -> int:
    p = parser()
    options = p.parse_args(arguments)
    refused = refusal(options)
    if refused is not None:
        p.error(refused)
    end_in_order()
    cache = cache_directory()
    try:
        return run(options, cache, base_directory(options.dir, cache))
    except (Unavailable, RunFailed) as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return 130


if __name__ == "__main__":
    sys.exit(main())
