"""Does memory or the cost of a file grow with the tree? tarcast's call alone, on `small` and on `million`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.contestants import Contestant
from benchmarks.report import Row, Work, markdown_table, table
from benchmarks.rounds import Conditions, measure_work
from benchmarks.stats import summarize

TREES = ("small", "million")
HEADINGS = ("work", "entries", "median s", "us per file", "against small", "peak MiB above idle")


def microseconds_per_file(work: Work, row: Row) -> float:
    return summarize(row.seconds).median / work.facts.entries * 1e6


def measure_memory(
    find_tarcast: Callable[[], Contestant], tree_of: Callable[[str], Path], conditions: Conditions
) -> list[Work]:
    """One work per tree, each in an interpreter of its own, so that no peak hides in an earlier one."""
    works = []
    for name in TREES:
        tree = tree_of(name)
        tarcast = find_tarcast()
        try:
            works.append(measure_work(name, tree, [tarcast], conditions))
        finally:
            tarcast.close()
    return works


def lines(works: list[Work]) -> list[list[str]]:
    """The rows of the table; without valid runs, a row holds the reason."""
    text = []
    base: float | None = None
    for work in works:
        row = work.rows[0]
        if not row.seconds or row.problem is not None:
            text.append([work.name, f"absent: {row.absent}" if row.absent else f"FAILED: {row.problem}"])
            continue
        cost = microseconds_per_file(work, row)
        base = cost if work.name == TREES[0] else base
        text.append(
            [
                work.name,
                f"{work.facts.entries:,}",
                f"{summarize(row.seconds).median:.3f}",
                f"{cost:.3f}",
                f"{cost / base:.2f}" if base else "-",
                f"+{(row.peak or 0) / 2**20:.1f}",
            ]
        )
    return text


def plain(works: list[Work]) -> str:
    return table(HEADINGS, lines(works)) + "\n"


def markdown(machine: dict[str, str], works: list[Work]) -> str:
    where = markdown_table(("machine", ""), list(machine.items()))
    return "\n".join(["# Memory and scaling", "", where, "", markdown_table(HEADINGS, lines(works)), ""])
