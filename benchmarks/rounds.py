"""One work: everyone checked once without the clock, then timed in turn, round after round."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.check import count_entries, difference, sha256
from benchmarks.contestants import Contestant
from benchmarks.measure import RunFailed, Sample, settle, warm
from benchmarks.report import Row, Work
from tarcast.bench.stats import running_order
from tarcast.bench.tree import TreeFacts, tree_facts


@dataclass(frozen=True)
class Conditions:
    """What is the same for every contestant."""

    rounds: int
    sink: str
    cold: bool
    scale: float
    where: Path  # holds the outputs while they exist, and an empty tree
    flush: bool = False  # the time ends when the output is on the disk


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _note_peak(row: Row, sample: Sample) -> None:
    if sample.peak is not None:
        row.peak = max(row.peak or 0, sample.peak)


def check_output(
    row: Row, contestant: Contestant, tree: Path, facts: TreeFacts, conditions: Conditions
) -> None:
    """The untimed run: warms the page cache, and its output must hold as many names as the tree does."""
    output = conditions.where / f"{contestant.name}.check"
    try:
        _note_peak(row, contestant.run(tree, conditions.sink, output, watch=True))
        row.output_bytes = output.stat().st_size
        count = count_entries(output)
        if count != facts.entries:
            row.problem = f"{count:,} entries in the archive, {facts.entries:,} in the tree"
        elif contestant.exact:
            row.sha256 = sha256(output)
        elif contestant.compared:
            row.problem = difference(output, tree)
            row.compared = True
    except (RunFailed, OSError, ValueError) as error:
        row.problem = str(error)
    finally:
        output.unlink(missing_ok=True)


def timed_run(contestant: Contestant, row: Row, tree: Path, conditions: Conditions) -> Sample:
    """One run with its clean-up before and after; both outside the time."""
    to_file = conditions.sink == "file"
    output = conditions.where / f"{contestant.name}.tar" if to_file else Path(os.devnull)
    settle(conditions.cold)
    if not conditions.cold:
        warm(tree, conditions.where / "warm.tar")
    if conditions.cold:  # the program itself is not what should be cold
        primed = conditions.where / f"{contestant.name}.primed"
        contestant.run(empty_tree(conditions.where), "file", primed)
        primed.unlink(missing_ok=True)
    if conditions.flush:  # that these files came and went is written too, and must not be in someone's time
        os.sync()
    try:
        sample = contestant.run(tree, conditions.sink, output, flush=conditions.flush)
        if to_file and output.stat().st_size != row.output_bytes:
            raise RunFailed(f"{output.stat().st_size:,} bytes this time, {row.output_bytes:,} when checked")
    finally:
        if to_file:
            output.unlink(missing_ok=True)
    return sample


def empty_tree(where: Path) -> Path:
    path = where / "empty"
    path.mkdir(exist_ok=True)
    return path


def measure_work(name: str, tree: Path, contestants: Sequence[Contestant], conditions: Conditions) -> Work:
    """Check and time everyone on one tree; whoever fails drops out with the reason in its row."""
    facts = tree_facts(tree)
    rows = {c.name: Row(c.name, c.kind, c.asked(conditions.sink), c.version, c.absent) for c in contestants}
    work = Work(
        name,
        conditions.scale,
        conditions.sink,
        conditions.cold,
        conditions.rounds,
        facts,
        [*rows.values()],
        flush=conditions.flush,
    )
    running = [c for c in contestants if c.absent is None]
    for contestant in running:
        check_output(rows[contestant.name], contestant, tree, facts, conditions)
    sums = {row.sha256 for row in work.rows if row.sha256 is not None}
    if len(sums) > 1:
        work.differing = [row.name for row in work.rows if row.sha256 is not None]
    for number in range(conditions.rounds):
        told = []
        for contestant in running_order(running, number):
            row = rows[contestant.name]
            if row.problem is not None:
                continue
            try:
                sample = timed_run(contestant, row, tree, conditions)
            except (RunFailed, OSError) as error:
                row.problem = f"in round {number + 1}: {error}"
                continue
            row.seconds.append(sample.seconds)
            row.cpu.append(sample.cpu)
            row.read.append(sample.read)
            if sample.cloned is not None:
                row.cloned.append(sample.cloned)
            _note_peak(row, sample)
            told.append(f"{row.name} {sample.seconds:.3f}")
        say(f"  {name} round {number + 1}/{conditions.rounds}: {', '.join(told)}")
    return work
