"""Does memory or the cost of a file grow with the tree? tarcast's call alone, on `small` and on `million`.

Each with tarcast's own choice of threads, or with every number of them that was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.calls import name_of, options_of
from benchmarks.contestants import Contestant
from benchmarks.report import Row, Work, identity, markdown_table
from benchmarks.rounds import Conditions, measure_work
from tarcast.bench.stats import summarize
from tarcast.bench.table import table

TREES = ("small", "million")
HEADINGS = ("work", "threads", "entries", "median s", "us per file", "against small", "peak MiB above idle")


def microseconds_per_file(work: Work, row: Row) -> float:
    return summarize(row.seconds).median / work.facts.entries * 1e6


def contestant_names(threads: Sequence[int] | None) -> list[str]:
    return [name_of({"threads": count}) for count in threads] if threads else [name_of({})]


def threads_of(row: Row) -> str:
    return str((options_of(row.name) or {}).get("threads", "default"))


def measure_memory(
    find_all: Callable[[], list[Contestant]], tree_of: Callable[[str], Path], conditions: Conditions
) -> list[Work]:
    """One work per tree, each row in an interpreter of its own, so that no peak hides in an earlier one."""
    works = []
    for name in TREES:
        tree = tree_of(name)
        contestants = find_all()
        try:
            works.append(measure_work(name, tree, contestants, conditions))
        finally:
            for contestant in contestants:
                contestant.close()
    return works


def lines(works: list[Work]) -> list[list[str]]:
    """The rows of the table; without valid runs, a row holds the reason."""
    text = []
    base: dict[str, float] = {}  # what a file of the first tree costs, by threads
    for work in works:
        for row in work.rows:
            if not row.seconds or row.problem is not None:
                reason = f"absent: {row.absent}" if row.absent else f"FAILED: {row.problem}"
                text.append([work.name, f"{threads_of(row)} threads: {reason}"])
                continue
            cost = microseconds_per_file(work, row)
            if work.name == TREES[0]:
                base[threads_of(row)] = cost
            small = base.get(threads_of(row))
            text.append(
                [
                    work.name,
                    threads_of(row),
                    f"{work.facts.entries:,}",
                    f"{summarize(row.seconds).median:.3f}",
                    f"{cost:.3f}",
                    f"{cost / small:.2f}" if small else "-",
                    f"+{(row.peak or 0) / 2**20:.1f}",
                ]
            )
    return text


def remarks(works: list[Work]) -> list[str]:
    """How it was measured; and whether all threads wrote the same, where there are several rows to tell."""
    return [f"{work.title()}; {identity(work)}" if len(work.rows) > 1 else work.title() for work in works]


def plain(works: list[Work]) -> str:
    return "\n".join([table(HEADINGS, lines(works)), "", *remarks(works), ""])


def markdown(machine: dict[str, str], works: list[Work]) -> str:
    text = ["# Memory and scaling", "", markdown_table(("machine", ""), list(machine.items())), ""]
    text += [markdown_table(HEADINGS, lines(works)), ""]
    for remark in remarks(works):
        text += [f"- {remark}"]
    return "\n".join([*text, ""])
